// Bits: packed bits as they are. Sign: the signs of floats. Both are scored by the Hamming
// distance.
#pragma once

#include "codecs/codec.h"

namespace nearbit {

std::shared_ptr<const Codec> make_bits(size_t dim);
std::shared_ptr<const Codec> make_sign(size_t dim);

}  // namespace nearbit
