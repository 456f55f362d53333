#include "transforms/decompose.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <string>
#include <utility>

#include "base/error.h"
#include "base/threads.h"
#include "transforms/lanes.h"

namespace nearbit {
namespace {

void advance(Watch* watch) {
    if (watch != nullptr) watch->advance(0);
}

size_t pieces(size_t n, size_t piece) {
    return (n + piece - 1) / piece;
}

// Calls task(begin, end) for pieces of 0..n-1. The pieces don't depend on the threads.
template <class Task>
void for_pieces(size_t n, size_t piece, size_t threads, Watch* watch, Task task) {
    parallel_for(pieces(n, piece), threads, watch, [&](size_t i) {
        advance(watch);
        task(i * piece, std::min(n, (i + 1) * piece));
    });
}

// ---------------------------------------------------------------------------------- covariance

constexpr size_t kTile = 64;        // columns of a tile of the matrix
constexpr size_t kTileRows = 128;   // rows taken at a time: two tiles' columns stay in the cache
constexpr size_t kSegment = 16384;  // rows summed apart, so that narrow matrices use threads too
constexpr size_t kMaxSegments = 16;

std::vector<double> mean_of(const float* rows, size_t n, size_t dim, size_t threads, Watch* watch) {
    constexpr size_t kRows = 4096;
    // Few partial sums for wide rows, whose memory would otherwise outgrow theirs.
    const size_t piece = std::max(kRows, pieces(n, 256));
    std::vector<double> sums(pieces(n, piece) * dim, 0.0);
    for_pieces(n, piece, threads, watch, [&](size_t begin, size_t end) {
        double* sum = sums.data() + begin / piece * dim;
        for (size_t r = begin; r < end; ++r) {
            if (r % 1024 == 0) advance(watch);
            const float* row = rows + r * dim;
            for (size_t i = 0; i < dim; ++i) sum[i] += row[i];
        }
    });
    std::vector<double> mean(dim, 0.0);
    for (size_t at = 0; at < sums.size(); at += dim) {
        for (size_t i = 0; i < dim; ++i) mean[i] += sums[at + i];
    }
    for (double& value : mean) value /= static_cast<double>(n);
    return mean;
}

// Columns first..first+63 of some rows, less their means, in panels of 4: for each row the 4 side
// by side. Columns beyond the last are 0.
void centre(const float* rows, size_t n, size_t dim, const double* mean, size_t first,
            double* panels) {
    for (size_t column = 0; column < kTile; column += 4) {
        double* panel = panels + column * kTileRows;
        const size_t at = first + column;
        if (at + 4 <= dim) {
            for (size_t r = 0; r < n; ++r) {
                for (size_t i = 0; i < 4; ++i) {
                    panel[r * 4 + i] = rows[r * dim + at + i] - mean[at + i];
                }
            }
        } else {
            for (size_t r = 0; r < n; ++r) {
                for (size_t i = 0; i < 4; ++i) {
                    panel[r * 4 + i] = at + i < dim ? rows[r * dim + at + i] - mean[at + i] : 0.0;
                }
            }
        }
    }
}

// Adds a's columns times b's columns, over n rows, to a tile.
void add_products(const double* a, const double* b, size_t n, double* tile) {
    for (size_t i = 0; i < kTile; i += 4) {
        for (size_t j = 0; j < kTile; j += 4) {
            const double *p = a + i * kTileRows, *q = b + j * kTileRows;
            Doubles sums[4][2] = {};
            for (size_t r = 0; r < n; ++r) add_outer(sums, p + 4 * r, 1, q + 4 * r);
            for (size_t x = 0; x < 4; ++x) {
                double four[4];
                std::memcpy(four, sums[x], sizeof four);
                for (size_t y = 0; y < 4; ++y) tile[(i + x) * kTile + j + y] += four[y];
            }
        }
    }
}

// ------------------------------------------------------------------------------- eigenvectors

void check_finite(const std::vector<double>& matrix) {
    for (const double value : matrix) {
        if (!std::isfinite(value)) {
            throw InvalidArgument("expected a matrix of finite numbers, got one with " +
                                  std::to_string(value));
        }
    }
}

// Scales by a power of two, exactly, so that the largest entry lies in [.5, 1) and squares neither
// overflow nor vanish; returns the exponent that was taken out.
int normalise(std::vector<double>& matrix) {
    double largest = 0;
    for (const double value : matrix) largest = std::max(largest, std::abs(value));
    int exponent = 0;
    std::frexp(largest, &exponent);
    if (largest == 0) return 0;
    for (double& value : matrix) value = std::ldexp(value, -exponent);
    return exponent;
}

double dot(const double* a, const double* b, size_t n) {
    double sums[4] = {};
    size_t i = 0;
    for (; i + 4 <= n; i += 4) {
        for (size_t lane = 0; lane < 4; ++lane) sums[lane] += a[i + lane] * b[i + lane];
    }
    for (; i < n; ++i) sums[0] += a[i] * b[i];
    return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

// A reflection I - factor v v' that takes x to a multiple of the first axis; x becomes v. Returns
// factor (0: x is such a multiple already, nothing to do) and the multiple.
struct Reflection {
    double factor, image;
};
Reflection reflect(double* x, size_t n) {
    const double rest = n > 1 ? dot(x + 1, x + 1, n - 1) : 0;
    // The smallest squares have lost their digits, and that little counts for nothing.
    if (rest < std::numeric_limits<double>::min() * 0x1p60) {
        return {0, x[0]};
    }
    const double length = std::sqrt(x[0] * x[0] + rest);
    const double image = x[0] > 0 ? -length : length;  // away from x[0]: no cancellation
    x[0] -= image;
    return {2 / (x[0] * x[0] + rest), image};
}

constexpr size_t kStrip = 64;  // columns that one task works on

// to[j] = sum over i of v[i] * rows[i][j], in order of i.
void combine_rows(const double* v, const double* rows, size_t n, size_t stride, size_t begin,
                  size_t end, double* to) {
    std::fill(to + begin, to + end, 0.0);
    for (size_t i = 0; i < n; ++i) {
        const double x = v[i];
        const double* row = rows + i * stride;
        for (size_t j = begin; j < end; ++j) to[j] += x * row[j];
    }
}

// Small matrices are not worth waking threads for.
size_t threads_for(size_t n, size_t threads) {
    return n < 256 ? 1 : threads;
}

// rows[i] -= factor v[i] (v' rows), for the n rows and columns begin..end-1; scratch has n_columns.
void apply_reflection(const double* v, double factor, double* rows, size_t n, size_t stride,
                      size_t n_columns, double* scratch, size_t threads, Watch* watch) {
    for_pieces(n_columns, kStrip, threads_for(n, threads), watch, [&](size_t begin, size_t end) {
        combine_rows(v, rows, n, stride, begin, end, scratch);
        for (size_t i = 0; i < n; ++i) {
            const double x = factor * v[i];
            double* row = rows + i * stride;
            for (size_t j = begin; j < end; ++j) row[j] -= x * scratch[j];
        }
    });
}

// Brings a symmetric matrix to tridiagonal form Q' A Q by reflections; returns Q, and its diagonals
// in diagonal (dim) and beside (dim - 1 used). Uses up the matrix.
std::vector<double> tridiagonalise(std::vector<double>& a, size_t dim,
                                   std::vector<double>& diagonal, std::vector<double>& beside,
                                   size_t threads, Watch* watch) {
    std::vector<double> v(dim), w(dim), factors(dim, 0.0);
    for (size_t k = 0; k + 1 < dim; ++k) {
        advance(watch);
        const size_t n = dim - k - 1;
        double* row = &a[k * dim + k + 1];  // kept there: v of this step
        diagonal[k] = a[k * dim + k];
        const Reflection reflection = reflect(row, n);
        beside[k] = reflection.image;
        factors[k] = reflection.factor;
        if (reflection.factor == 0) continue;
        double* rest = &a[(k + 1) * dim + k + 1];
        std::copy_n(row, n, v.data());
        // A - v w' - w v', where w = p - (factor/2)(p'v) v and p = factor A v.
        for_pieces(n, kStrip, threads_for(n, threads), watch, [&](size_t begin, size_t end) {
            combine_rows(v.data(), rest, n, dim, begin, end, w.data());
        });
        for (size_t i = 0; i < n; ++i) w[i] *= reflection.factor;
        const double half = reflection.factor / 2 * dot(w.data(), v.data(), n);
        for (size_t i = 0; i < n; ++i) w[i] -= half * v[i];
        for_pieces(n, kStrip, threads_for(n, threads), watch, [&](size_t begin, size_t end) {
            for (size_t i = begin; i < end; ++i) {
                double* to = rest + i * dim;
                const double x = v[i], y = w[i];
                for (size_t j = 0; j < n; ++j) to[j] -= x * w[j] + y * v[j];
            }
        });
    }
    diagonal[dim - 1] = a[dim * dim - 1];

    std::vector<double> q(dim * dim, 0.0);
    for (size_t i = 0; i < dim; ++i) q[i * dim + i] = 1;
    for (size_t k = dim - 1; k-- != 0;) {
        if (factors[k] == 0) continue;
        const size_t n = dim - k - 1;
        apply_reflection(&a[k * dim + k + 1], factors[k], &q[(k + 1) * dim + k + 1], n, dim, n,
                         w.data(), threads, watch);
    }
    return q;
}

void transpose(std::vector<double>& matrix, size_t dim) {
    for (size_t i = 0; i < dim; ++i) {
        for (size_t j = 0; j < i; ++j) std::swap(matrix[i * dim + j], matrix[j * dim + i]);
    }
}

// Rows i and i + 1 become c, s and -s, c times themselves.
struct Turn {
    size_t i;
    double c, s;
};

void turn_rows(const std::vector<Turn>& turns, std::vector<double>& rows, size_t dim,
               size_t threads, Watch* watch) {
    for_pieces(dim, kStrip, threads_for(dim, threads), watch, [&](size_t begin, size_t end) {
        for (size_t t = 0; t < turns.size(); ++t) {
            if (t % 4096 == 0) advance(watch);
            const Turn turn = turns[t];
            double* one = &rows[turn.i * dim];
            double* other = one + dim;
            for (size_t j = begin; j < end; ++j) {
                const double x = one[j], y = other[j];
                one[j] = turn.c * x + turn.s * y;
                other[j] = turn.c * y - turn.s * x;
            }
        }
    });
}

// Makes a tridiagonal matrix diagonal by implicit QR steps with Wilkinson's shift; the rows are
// turned with it. Turns are gathered and done together, strip by strip: each strip stays cached.
void diagonalise(std::vector<double>& d, std::vector<double>& e, std::vector<double>& rows,
                 size_t threads, Watch* watch) {
    const size_t dim = d.size();
    constexpr double kEpsilon = std::numeric_limits<double>::epsilon();
    double norm = 0;
    for (size_t i = 0; i < dim; ++i) {
        norm = std::max(norm, std::abs(d[i]));
        if (i + 1 < dim) norm = std::max(norm, std::abs(e[i]));
    }
    const auto negligible = [&](size_t i) {
        const double size = std::max(std::abs(d[i]) + std::abs(d[i + 1]), norm / 16);
        return std::abs(e[i]) <= kEpsilon * size;
    };
    std::vector<Turn> turns;
    const size_t enough = 32 * dim;
    size_t steps = 0;
    for (size_t end = dim - 1; end != 0;) {  // the block that is worked on ends at d[end]
        if (negligible(end - 1)) {
            e[end - 1] = 0;
            --end;
            continue;
        }
        size_t begin = end - 1;
        while (begin != 0 && !negligible(begin - 1)) --begin;
        // Never seen: a few steps for each value is what it takes.
        if (++steps > 100 * dim) throw InvalidState("eigenvalues: no convergence");

        const double gap = (d[end - 1] - d[end]) / 2, last = e[end - 1];
        const double root = std::sqrt(gap * gap + last * last);
        double x = d[begin] - (d[end] - last * (last / (gap + (gap < 0 ? -root : root))));
        double z = e[begin];
        for (size_t i = begin; i < end; ++i) {
            const double length = std::sqrt(x * x + z * z);
            const double c = length == 0 ? 1 : x / length, s = length == 0 ? 0 : z / length;
            if (i != begin) e[i - 1] = length;
            const double a = d[i], b = d[i + 1], f = e[i];
            d[i] = c * c * a + 2 * c * s * f + s * s * b;
            d[i + 1] = s * s * a - 2 * c * s * f + c * c * b;
            e[i] = c * s * (b - a) + (c * c - s * s) * f;
            if (i + 1 < end) {
                x = e[i];
                z = s * e[i + 1];
                e[i + 1] *= c;
            }
            turns.push_back({i, c, s});
        }
        if (turns.size() >= enough) {
            turn_rows(turns, rows, dim, threads, watch);
            turns.clear();
        }
    }
    turn_rows(turns, rows, dim, threads, watch);
}

}  // namespace

Covariance covariance(const float* rows, size_t n, size_t dim, size_t threads, Watch* watch) {
    Covariance result;
    result.mean = mean_of(rows, n, dim, threads, watch);
    result.matrix.resize(dim * dim);
    const size_t n_tiles = pieces(dim, kTile);
    const size_t n_pairs = n_tiles * (n_tiles + 1) / 2;
    const size_t n_segments = n_tiles > 16 ? 1 : std::min(pieces(n, kSegment), kMaxSegments);
    const size_t segment = pieces(pieces(n, n_segments), kTileRows) * kTileRows;
    std::vector<std::pair<size_t, size_t>> pairs;
    for (size_t i = 0; i < n_tiles; ++i) {
        for (size_t j = i; j < n_tiles; ++j) pairs.emplace_back(i, j);
    }
    // The tiles of a few pairs at a time, with room for each segment's sums.
    const size_t at_once = std::max<size_t>(1, 512 / n_segments);
    std::vector<double> tiles;
    for (size_t first = 0; first < n_pairs; first += at_once) {
        const size_t n_here = std::min(at_once, n_pairs - first);
        tiles.assign(n_here * n_segments * kTile * kTile, 0.0);
        parallel_for(n_here * n_segments, threads, watch, [&](size_t task) {
            const auto [i, j] = pairs[first + task / n_segments];
            double* tile = tiles.data() + task * kTile * kTile;
            const size_t begin = std::min(n, task % n_segments * segment);
            const size_t end = std::min(n, begin + segment);
            std::vector<double> a(kTile * kTileRows), b(kTile * kTileRows);
            for (size_t r = begin; r < end; r += kTileRows) {
                advance(watch);
                const size_t n_rows = std::min(end - r, kTileRows);
                centre(rows + r * dim, n_rows, dim, result.mean.data(), i * kTile, a.data());
                if (i != j) {
                    centre(rows + r * dim, n_rows, dim, result.mean.data(), j * kTile, b.data());
                }
                add_products(a.data(), i == j ? a.data() : b.data(), n_rows, tile);
            }
        });
        for (size_t here = 0; here < n_here; ++here) {
            const auto [i, j] = pairs[first + here];
            for (size_t x = 0; x < std::min(kTile, dim - i * kTile); ++x) {
                for (size_t y = 0; y < std::min(kTile, dim - j * kTile); ++y) {
                    double sum = 0;
                    for (size_t s = 0; s < n_segments; ++s) {
                        sum += tiles[((here * n_segments + s) * kTile + x) * kTile + y];
                    }
                    sum /= static_cast<double>(n);
                    const size_t row = i * kTile + x, column = j * kTile + y;
                    result.matrix[row * dim + column] = sum;
                    result.matrix[column * dim + row] = sum;
                }
            }
        }
    }
    return result;
}

Eigen symmetric_eigen(std::vector<double> matrix, size_t dim, size_t threads, Watch* watch) {
    check_finite(matrix);
    const int exponent = normalise(matrix);
    std::vector<double> diagonal(dim), beside(dim, 0.0);
    std::vector<double> rows = tridiagonalise(matrix, dim, diagonal, beside, threads, watch);
    transpose(rows, dim);
    diagonalise(diagonal, beside, rows, threads, watch);

    std::vector<size_t> order(dim);
    std::iota(order.begin(), order.end(), size_t(0));
    std::stable_sort(order.begin(), order.end(),
                     [&](size_t i, size_t j) { return diagonal[i] > diagonal[j]; });
    Eigen result;
    result.values.resize(dim);
    result.vectors.resize(dim * dim);
    for (size_t i = 0; i < dim; ++i) {
        result.values[i] = std::ldexp(diagonal[order[i]], exponent);
        const double* row = &rows[order[i] * dim];
        const double* largest = std::max_element(
            row, row + dim, [](double x, double y) { return std::abs(x) < std::abs(y); });
        const double sign = *largest < 0 ? -1 : 1;
        for (size_t j = 0; j < dim; ++j) result.vectors[i * dim + j] = sign * row[j];
    }
    return result;
}

Pca pca(const float* rows, size_t n, size_t dim, size_t out_dim, size_t threads, Watch* watch) {
    Covariance spread = covariance(rows, n, dim, threads, watch);
    Eigen eigen = symmetric_eigen(std::move(spread.matrix), dim, threads, watch);
    // Rounding may leave a variance of nothing below 0.
    for (double& value : eigen.values) value = std::max(value, 0.0);
    eigen.vectors.resize(out_dim * dim);
    return {std::move(spread.mean), std::move(eigen.values), std::move(eigen.vectors)};
}

std::vector<double> multiply(const std::vector<double>& a, const std::vector<double>& b,
                             size_t n_rows, size_t n_inner, size_t n_columns, size_t threads,
                             Watch* watch) {
    std::vector<double> product(n_rows * n_columns, 0.0);
    constexpr size_t kRows = 16;
    for_pieces(n_rows, kRows, threads, watch, [&](size_t begin, size_t end) {
        for (size_t first = 0; first < n_columns; first += kStrip) {
            advance(watch);
            const size_t last = std::min(n_columns, first + kStrip);
            for (size_t i = begin; i < end; ++i) {
                double* to = &product[i * n_columns];
                for (size_t k = 0; k < n_inner; ++k) {
                    const double x = a[i * n_inner + k];
                    const double* from = &b[k * n_columns];
                    for (size_t j = first; j < last; ++j) to[j] += x * from[j];
                }
            }
        }
    });
    return product;
}

std::vector<double> nearest_orthogonal(const std::vector<double>& matrix, size_t dim,
                                       size_t threads, Watch* watch) {
    check_finite(matrix);
    std::vector<double> m = matrix;
    normalise(m);
    std::vector<double> m_transposed = m;
    transpose(m_transposed, dim);
    // M'M = V S^2 V', so the columns of B = M V are U S. Those of small singular values are not
    // quite orthogonal, or nothing at all: the Q of B = QR is orthogonal in any case, and is U
    // where R is S, up to signs.
    const Eigen eigen = symmetric_eigen(multiply(m_transposed, m, dim, dim, dim, threads, watch),
                                        dim, threads, watch);
    // B' row by row, so that a column of B lies together.
    std::vector<double> b = multiply(eigen.vectors, m_transposed, dim, dim, dim, threads, watch);
    transpose(b, dim);
    std::vector<double> reflections(dim * dim, 0.0), scratch(dim), factors(dim), signs(dim);
    for (size_t k = 0; k < dim; ++k) {
        const size_t n = dim - k;
        double* v = &reflections[k * dim + k];
        for (size_t i = 0; i < n; ++i) v[i] = b[(k + i) * dim + k];
        const Reflection reflection = reflect(v, n);
        factors[k] = reflection.factor;
        signs[k] = reflection.image < 0 ? -1 : 1;
        if (reflection.factor == 0) continue;
        apply_reflection(v, reflection.factor, &b[k * dim + k], n, dim, n, scratch.data(), threads,
                         watch);
    }
    std::vector<double> u(dim * dim, 0.0);
    for (size_t i = 0; i < dim; ++i) u[i * dim + i] = signs[i];
    for (size_t k = dim; k-- != 0;) {
        if (factors[k] == 0) continue;
        apply_reflection(&reflections[k * dim + k], factors[k], &u[k * dim + k], dim - k, dim,
                         dim - k, scratch.data(), threads, watch);
    }
    return multiply(u, eigen.vectors, dim, dim, dim, threads, watch);
}

}  // namespace nearbit
