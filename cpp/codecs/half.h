// Float16: rows rounded to IEEE half, scored by the exact distance to float32 queries.
#pragma once

#include "codecs/codec.h"

namespace nearbit {

std::shared_ptr<const Codec> make_float16(size_t dim, Metric metric);

}  // namespace nearbit
