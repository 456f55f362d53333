// Float32: rows as they are, scored by the exact distance. And what Float16 shares with it.
#pragma once

#include "codecs/codec.h"
#include "kernels/kernels.h"

namespace nearbit {

std::shared_ptr<const Codec> make_float32(size_t dim, Metric metric);

// 1 / |x| for cosine, 0 for a zero row. Throws InvalidArgument for lengths so small that the
// direction is lost.
double inverse_norm(double squared_norm, const char* argument, size_t at);

// Copies rows of floats and checks the copy: finite, and |x|^2 at most a quarter of float32's
// largest, so that no distance overflows. squared_norms: n. Throws InvalidArgument.
void copy_checked(const float* rows, size_t n, size_t dim, float* copy, double* squared_norms,
                  const char* argument, size_t first_row);

DenseForm form_of(Metric metric);  // of l2, ip and cosine

// A number and its place, for errors: "nan in row 2, dimension 3".
std::string number_text(float number, size_t row, size_t j);

// What goes with a row in its tile: kernels.h, DenseBlock. Throws InvalidArgument where a length is
// too small for cosine.
float factor_of(Metric metric, double squared_norm, const char* argument, size_t at);

// Float queries against rows of halves.
std::unique_ptr<Scorer> make_half_scorer(Metric metric, size_t dim, const std::byte* queries,
                                         size_t n, const char* argument, size_t first_row);

}  // namespace nearbit
