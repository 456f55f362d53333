// Float32: rows as they are, scored by the exact distance.
#pragma once

#include "codecs/codec.h"

namespace nearbit {

std::shared_ptr<const Codec> make_float32(size_t dim, Metric metric);

// 1 / |x| for cosine, 0 for a zero row. Throws InvalidArgument for lengths so small that the
// direction is lost.
double inverse_norm(double squared_norm, const char* argument, size_t at);

// Copies rows of floats and checks the copy: finite, and |x|^2 at most a quarter of float32's
// largest, so that no distance overflows. squared_norms: n. Throws InvalidArgument.
void copy_checked(const float* rows, size_t n, size_t dim, float* copy, double* squared_norms,
                  const char* argument, size_t first_row);

}  // namespace nearbit
