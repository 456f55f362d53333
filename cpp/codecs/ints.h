// Int8 and UInt8: rows of small integers as they are, scored by exact integer arithmetic.
#pragma once

#include "codecs/codec.h"

namespace nearbit {

// type: kInt8 or kUint8.
std::shared_ptr<const Codec> make_ints(InputType type, size_t dim, Metric metric);

}  // namespace nearbit
