// Bits: packed bits as they are, scored by the Hamming or the Jaccard distance. Sign: the signs of
// floats, scored by the Hamming distance.
#pragma once

#include "codecs/codec.h"

namespace nearbit {

std::shared_ptr<const Codec> make_bits(size_t dim, Metric metric);
std::shared_ptr<const Codec> make_sign(size_t dim);

}  // namespace nearbit
