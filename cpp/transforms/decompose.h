// Linear algebra for fitting transforms: in double, the same bits at any number of threads.
#pragma once

#include <cstddef>
#include <vector>

#include "base/watch.h"

namespace nearbit {

// Matrices are square or as said, row by row. A watch may be null; the functions poll it between
// pieces of work. Input must be finite.

struct Covariance {
    std::vector<double> mean;    // dim
    std::vector<double> matrix;  // dim x dim; divided by n
};
// Of n rows of dim numbers; n is at least 1.
Covariance covariance(const float* rows, size_t n, size_t dim, size_t threads, Watch* watch);

struct Eigen {
    std::vector<double> values;   // descending
    std::vector<double> vectors;  // row i belongs to value i; its entry of largest size is positive
};
// Of a symmetric matrix. The vectors are orthonormal whatever it is. Throws InvalidArgument if it
// holds a number that isn't finite.
Eigen symmetric_eigen(std::vector<double> matrix, size_t dim, size_t threads, Watch* watch);

struct Pca {
    std::vector<double> mean;    // dim
    std::vector<double> values;  // dim variances, descending; none below 0
    std::vector<double> matrix;  // out_dim x dim: the directions of the largest variances
};
// out_dim is at most dim.
Pca pca(const float* rows, size_t n, size_t dim, size_t out_dim, size_t threads, Watch* watch);

// The orthogonal matrix Q for which the sum of Q[i][j] * matrix[i][j] is largest: U V' of the
// singular value decomposition U S V'. Orthogonal also where the matrix is singular, which leaves a
// choice. Throws InvalidArgument if it holds a number that isn't finite.
std::vector<double> nearest_orthogonal(const std::vector<double>& matrix, size_t dim,
                                       size_t threads, Watch* watch);

// rows x inner times inner x columns.
std::vector<double> multiply(const std::vector<double>& a, const std::vector<double>& b,
                             size_t n_rows, size_t n_inner, size_t n_columns, size_t threads,
                             Watch* watch);

}  // namespace nearbit
