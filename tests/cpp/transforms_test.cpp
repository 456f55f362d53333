// Rotations, linear maps and what they are made from: are they orthogonal, whatever the input?
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/random.h"
#include "files/cursor.h"
#include "transforms/decompose.h"
#include "transforms/rotation.h"
#include "transforms/transform.h"

namespace nearbit {
namespace {

// Sums of units: near enough to normal numbers.
template <class Float = float>
std::vector<Float> random_numbers(size_t n, uint64_t seed) {
    Random random(seed);
    std::vector<Float> numbers(n);
    for (Float& number : numbers) {
        number = static_cast<Float>(random.unit() + random.unit() + random.unit() - 1.5);
    }
    return numbers;
}

double norm(const float* row, size_t dim) {
    double sum = 0;
    for (size_t i = 0; i < dim; ++i) sum += double(row[i]) * row[i];
    return std::sqrt(sum);
}

// ---------------------------------------------------------------------------------- rotation

std::vector<size_t> all_dims() {
    std::vector<size_t> dims;
    for (size_t dim = 1; dim <= 130; ++dim) dims.push_back(dim);
    dims.insert(dims.end(), {384, 784, 1000, 4096});
    return dims;
}

TEST(Rotation, IsOrthogonalForEveryDimension) {
    for (size_t dim = 1; dim <= 130; ++dim) {
        const Rotation rotation(dim, dim);
        std::vector<float> image(dim * dim, 0);
        for (size_t i = 0; i < dim; ++i) image[i * dim + i] = 1;
        rotation.apply(image.data(), dim, image.data());
        for (size_t i = 0; i < dim; ++i) {
            for (size_t j = 0; j <= i; ++j) {
                double dot = 0;
                for (size_t k = 0; k < dim; ++k) {
                    dot += double(image[i * dim + k]) * image[j * dim + k];
                }
                ASSERT_NEAR(dot, i == j, 1e-6) << dim;
            }
        }
    }
}

TEST(Rotation, KeepsNormsAndIsUndone) {
    std::vector<size_t> dims = all_dims();
    dims.push_back(65536);
    dims.push_back(65535);
    for (const size_t dim : dims) {
        const Rotation rotation(dim, 42);
        const std::vector<float> row = random_numbers(dim, dim);
        std::vector<float> image(dim), back(dim);
        rotation.apply(row.data(), 1, image.data());
        EXPECT_NEAR(norm(image.data(), dim) / norm(row.data(), dim), 1, 1e-6) << dim;
        rotation.undo(image.data(), 1, back.data());
        for (size_t i = 0; i < dim; ++i) ASSERT_NEAR(back[i], row[i], 4e-6) << dim;
    }
}

TEST(Rotation, UndoIsTheTranspose) {
    for (const size_t dim : {1, 2, 3, 7, 16, 24, 61, 100}) {
        const Rotation rotation(dim, 9);
        std::vector<float> axes(dim * dim, 0), there(dim * dim), back(dim * dim);
        for (size_t i = 0; i < dim; ++i) axes[i * dim + i] = 1;
        rotation.apply(axes.data(), dim, there.data());
        rotation.undo(axes.data(), dim, back.data());
        for (size_t i = 0; i < dim; ++i) {
            for (size_t j = 0; j < dim; ++j) {
                ASSERT_NEAR(there[i * dim + j], back[j * dim + i], 1e-6) << dim;
            }
        }
    }
}

TEST(Rotation, GivesARowTheSameBitsInAnyBatchAndInPlace) {
    for (const size_t dim : all_dims()) {
        constexpr size_t kRows = 5;
        const Rotation rotation(dim, 1);
        const std::vector<float> rows = random_numbers(kRows * dim, dim);
        std::vector<float> together(kRows * dim), in_place = rows, alone(dim);
        rotation.apply(rows.data(), kRows, together.data());
        rotation.apply(in_place.data(), kRows, in_place.data());
        EXPECT_EQ(together, in_place) << dim;
        for (size_t r = 0; r < kRows; ++r) {
            rotation.apply(rows.data() + r * dim, 1, alone.data());
            EXPECT_EQ(std::memcmp(alone.data(), &together[r * dim], dim * sizeof(float)), 0);
        }
    }
}

TEST(Rotation, KeepsWhatASeedMeans) {
    const float row[6] = {1, 2, 3, 4, 5, 6};
    float image[6];
    Rotation(6, 3).apply(row, 1, image);
    const uint32_t expected[6] = {0xc0a767a2, 0xc00da1cc, 0xc032a64f,
                                  0xbf8c2265, 0x40e020c5, 0xbf546dc3};
    for (size_t i = 0; i < 6; ++i) EXPECT_EQ(std::bit_cast<uint32_t>(image[i]), expected[i]);
}

TEST(Rotation, SpreadsAnAxisOverAllCoordinates) {
    for (const size_t dim : {65, 96, 100, 129, 192, 255, 384, 640, 784, 1000, 1025, 1536}) {
        double kurtosis = 0, worst = 0, smallest_share = 1;
        const Rotation rotation(dim, 11);
        for (size_t axis = 0; axis < dim; ++axis) {
            std::vector<float> row(dim, 0), image(dim);
            row[axis] = 1;
            rotation.apply(row.data(), 1, image.data());
            double fourth = 0, halves[2] = {0, 0};
            for (size_t i = 0; i < dim; ++i) {
                const double square = double(image[i]) * image[i];
                fourth += square * square * dim;
                halves[i >= dim / 2] += square;
            }
            kurtosis += fourth / dim;
            smallest_share = std::min({smallest_share, halves[0], halves[1]});
            // dim over the number of entries, if an axis went to a few.
            worst = std::max(worst, fourth);
            ;
        }
        EXPECT_LT(worst, 12) << dim;
        EXPECT_LT(kurtosis, 4) << dim;  // 3 for normal numbers
        EXPECT_GT(smallest_share, 0.2) << dim;
    }
}

TEST(Rotation, DependsOnTheSeed) {
    const std::vector<float> row = random_numbers(100, 1);
    std::vector<float> one(100), other(100);
    Rotation(100, 1).apply(row.data(), 1, one.data());
    Rotation(100, 2).apply(row.data(), 1, other.data());
    EXPECT_NE(one, other);
}

// --------------------------------------------------------------------------------- transform

std::vector<Transform> one_of_each() {
    return {Transform::identity(5), Transform::rotation(21, 77),
            Transform::linear(7, 3, random_numbers(21, 1)),
            Transform::linear(3, 20, random_numbers(60, 2))};
}

TEST(Transform, MultipliesByItsMatrixAndItsTranspose) {
    for (const size_t in_dim : {1, 3, 8, 17, 100}) {
        for (const size_t out_dim : {1, 2, 8, 15, 64, 101}) {
            const std::vector<float> matrix = random_numbers(in_dim * out_dim, in_dim);
            const Transform transform = Transform::linear(in_dim, out_dim, matrix);
            EXPECT_EQ(transform.in_dim(), in_dim);
            EXPECT_EQ(transform.out_dim(), out_dim);
            EXPECT_EQ(transform.matrix(), matrix);
            const std::vector<float> row = random_numbers(in_dim, 3);
            std::vector<float> image(out_dim), back(in_dim);
            transform.apply(row.data(), 1, image.data());
            for (size_t i = 0; i < out_dim; ++i) {
                double expected = 0;
                for (size_t j = 0; j < in_dim; ++j) {
                    expected += double(matrix[i * in_dim + j]) * row[j];
                }
                ASSERT_NEAR(image[i], expected, 1e-5);
            }
            transform.undo(image.data(), 1, back.data());
            for (size_t j = 0; j < in_dim; ++j) {
                double expected = 0;
                for (size_t i = 0; i < out_dim; ++i) {
                    expected += double(matrix[i * in_dim + j]) * image[i];
                }
                ASSERT_NEAR(back[j], expected, 1e-4);
            }
        }
    }
}

TEST(Transform, GivesARowTheSameBitsInAnyBatch) {
    std::vector<Transform> transforms = one_of_each();
    transforms.push_back(Transform::linear(384, 250, random_numbers(384 * 250, 5)));
    for (const Transform& transform : transforms) {
        constexpr size_t kRows = 135;
        const size_t in_dim = transform.in_dim(), out_dim = transform.out_dim();
        const std::vector<float> rows = random_numbers(kRows * in_dim, 8);
        std::vector<float> together(kRows * out_dim), alone(out_dim);
        std::vector<float> back(kRows * in_dim), back_alone(in_dim);
        transform.apply(rows.data(), kRows, together.data());
        transform.undo(together.data(), kRows, back.data());
        for (size_t r = 0; r < kRows; ++r) {
            transform.apply(&rows[r * in_dim], 1, alone.data());
            ASSERT_EQ(std::memcmp(alone.data(), &together[r * out_dim], out_dim * 4), 0);
            transform.undo(alone.data(), 1, back_alone.data());
            ASSERT_EQ(std::memcmp(back_alone.data(), &back[r * in_dim], in_dim * 4), 0);
        }
    }
}

TEST(Transform, IsTheSameAfterWritingAndReading) {
    for (const Transform& transform : one_of_each()) {
        Fields fields;
        transform.write(fields);
        Cursor cursor({static_cast<const std::byte*>(fields.data()), fields.size()}, "file");
        const Transform read = Transform::read(cursor);
        cursor.expect_end();
        ASSERT_EQ(read.in_dim(), transform.in_dim());
        ASSERT_EQ(read.out_dim(), transform.out_dim());
        EXPECT_EQ(read.is_identity(), transform.is_identity());
        const std::vector<float> rows = random_numbers(3 * read.in_dim(), 8);
        std::vector<float> one(3 * read.out_dim()), other(3 * read.out_dim());
        transform.apply(rows.data(), 3, one.data());
        read.apply(rows.data(), 3, other.data());
        EXPECT_EQ(one, other);
    }
}

TEST(Transform, RefusesWhatNobodyCanHaveWritten) {
    const auto refuses = [](const Fields& fields, size_t n_bytes) {
        Cursor cursor({static_cast<const std::byte*>(fields.data()), n_bytes}, "file");
        EXPECT_THROW(Transform::read(cursor), CorruptFile);
    };
    for (const Transform& transform : one_of_each()) {
        Fields fields;
        transform.write(fields);
        for (size_t n_bytes = 0; n_bytes < fields.size(); ++n_bytes) refuses(fields, n_bytes);
    }
    const auto header = [&](uint32_t kind, uint32_t in_dim, uint32_t out_dim) {
        Fields fields;
        for (const uint32_t value : {kind, in_dim, out_dim}) fields.put(value);
        for (int i = 0; i < 32; ++i) fields.put(0.5f);
        refuses(fields, fields.size());
    };
    header(3, 2, 2);
    header(UINT32_MAX, 2, 2);
    for (const uint32_t kind : {0, 1, 2}) {
        for (const uint32_t dim : {0u, 65537u, UINT32_MAX}) {
            header(kind, dim, dim);
            header(kind, 2, dim);
            header(kind, dim, 2);
        }
    }
    header(0, 2, 3);
    header(1, 2, 3);
    header(2, 65536, 65536);
    for (const float value :
         {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
          -std::numeric_limits<float>::infinity()}) {
        Fields fields;
        for (const uint32_t field : {2, 1, 2}) fields.put(field);
        fields.put(1.0f);
        fields.put(value);
        refuses(fields, fields.size());
    }
}

// -------------------------------------------------------------------------------- decompose

double distance_to_orthonormal(const std::vector<double>& rows, size_t n, size_t dim) {
    double worst = 0;
    for (size_t i = 0; i < n; ++i) {
        for (size_t j = 0; j <= i; ++j) {
            double dot = 0;
            for (size_t k = 0; k < dim; ++k) dot += rows[i * dim + k] * rows[j * dim + k];
            // Negated, so that a NaN counts too.
            const double off = std::abs(dot - (i == j));
            if (!(off <= worst)) worst = off;
        }
    }
    return worst;
}

std::vector<double> random_symmetric(size_t dim, uint64_t seed) {
    std::vector<double> matrix = random_numbers<double>(dim * dim, seed);
    for (size_t i = 0; i < dim; ++i) {
        for (size_t j = 0; j < i; ++j) matrix[i * dim + j] = matrix[j * dim + i];
    }
    return matrix;
}

TEST(Covariance, IsThatOfTheDefinition) {
    for (const auto& [n, dim] :
         {std::pair<size_t, size_t>{1, 1}, {2, 3}, {100, 64}, {333, 70}, {40000, 5}, {17, 1100}}) {
        std::vector<float> rows = random_numbers(n * dim, n);
        for (size_t i = 0; i < rows.size(); ++i) rows[i] += 100.0f + float(i % dim);
        const Covariance result = covariance(rows.data(), n, dim, 2, nullptr);
        std::vector<double> mean(dim, 0.0);
        for (size_t i = 0; i < rows.size(); ++i) mean[i % dim] += double(rows[i]) / double(n);
        for (size_t i = 0; i < dim; ++i) ASSERT_NEAR(result.mean[i], mean[i], 1e-9);
        for (size_t i = 0; i < dim; i += 1 + dim / 40) {
            for (size_t j = 0; j < dim; j += 1 + dim / 50) {
                double expected = 0;
                for (size_t r = 0; r < n; ++r) {
                    expected += (rows[r * dim + i] - mean[i]) * (rows[r * dim + j] - mean[j]);
                }
                ASSERT_NEAR(result.matrix[i * dim + j], expected / double(n), 1e-10);
                ASSERT_EQ(result.matrix[i * dim + j], result.matrix[j * dim + i]);
            }
        }
    }
}

void expect_eigen(const std::vector<double>& matrix, size_t dim) {
    const Eigen eigen = symmetric_eigen(matrix, dim, 2, nullptr);
    EXPECT_LT(distance_to_orthonormal(eigen.vectors, dim, dim), 1e-13 * double(dim + 10)) << dim;
    double size = 0;
    for (const double value : matrix) size = std::max(size, std::abs(value));
    for (size_t v = 0; v < dim; ++v) {
        const double* vector = &eigen.vectors[v * dim];
        if (v != 0) {
            EXPECT_GE(eigen.values[v - 1], eigen.values[v]);
        }
        const double* largest = std::max_element(
            vector, vector + dim, [](double x, double y) { return std::abs(x) < std::abs(y); });
        EXPECT_GT(*largest, 0);
        for (size_t i = 0; i < dim; ++i) {
            double image = 0;
            for (size_t j = 0; j < dim; ++j) image += matrix[i * dim + j] * vector[j];
            ASSERT_LE(std::abs(image - eigen.values[v] * vector[i]),
                      1e-14 * double(dim + 10) * size)
                << dim;
        }
    }
}

TEST(SymmetricEigen, SolvesRandomMatrices) {
    for (const size_t dim : {1, 2, 3, 4, 5, 8, 17, 50, 64, 100, 300}) {
        expect_eigen(random_symmetric(dim, dim), dim);
    }
}

TEST(SymmetricEigen, SolvesRepeatedExtremeAndGradedMatrices) {
    for (const size_t dim : {1, 2, 7, 40}) {
        expect_eigen(std::vector<double>(dim * dim, 0.0), dim);
        expect_eigen(std::vector<double>(dim * dim, 1.0), dim);
        std::vector<double> identity(dim * dim, 0.0), blocks(dim * dim, 0.0), graded(dim * dim);
        std::vector<double> chain(dim * dim, 0.0);
        for (size_t i = 0; i < dim; ++i) {
            identity[i * dim + i] = 3;
            for (size_t j = 0; j < dim; ++j) {
                if (i / 4 == j / 4) blocks[i * dim + j] = i == j ? 2 : -1;
                graded[i * dim + j] = std::pow(10.0, -double(i + j));
                if (i + 1 == j || j + 1 == i) chain[i * dim + j] = 1;
            }
        }
        for (const auto& matrix : {identity, blocks, graded, chain}) expect_eigen(matrix, dim);
        for (const double scale : {1e-300, 1e300}) {
            std::vector<double> matrix = random_symmetric(dim, 4);
            for (double& value : matrix) value *= scale;
            expect_eigen(matrix, dim);
        }
    }
}

TEST(SymmetricEigen, RefusesWhatIsNotFinite) {
    const double nan = std::numeric_limits<double>::quiet_NaN();
    EXPECT_THROW(symmetric_eigen({1, nan, nan, 1}, 2, 1, nullptr), InvalidArgument);
    EXPECT_THROW(nearest_orthogonal({1, nan, nan, 1}, 2, 1, nullptr), InvalidArgument);
}

TEST(Pca, FindsTheDirectionsOfARotatedBox) {
    constexpr size_t kDim = 24, kRows = 5000;
    const Rotation rotation(kDim, 5);
    std::vector<float> rows = random_numbers(kRows * kDim, 1);
    for (size_t i = 0; i < rows.size(); ++i) rows[i] *= std::pow(0.8f, float(i % kDim));
    rotation.apply(rows.data(), kRows, rows.data());
    const Pca result = pca(rows.data(), kRows, kDim, 6, 2, nullptr);
    ASSERT_EQ(result.matrix.size(), 6 * kDim);
    ASSERT_EQ(result.values.size(), kDim);
    for (size_t i = 0; i < 6; ++i) {
        std::vector<float> axis(kDim, 0);
        axis[i] = 1;
        rotation.apply(axis.data(), 1, axis.data());
        double dot = 0;
        for (size_t j = 0; j < kDim; ++j) dot += axis[j] * result.matrix[i * kDim + j];
        EXPECT_GT(std::abs(dot), 0.97);
        EXPECT_NEAR(result.values[i], 0.25 * std::pow(0.64, double(i)), 0.03);
    }
}

TEST(Pca, IsValidForDegenerateRows) {
    for (const size_t dim : {1, 2, 9, 100}) {
        const std::vector<float> row = random_numbers(dim, 3);
        for (const size_t n : {1, 2, 50}) {
            std::vector<float> equal, constant = random_numbers(n * dim, 6);
            for (size_t r = 0; r < n; ++r) equal.insert(equal.end(), row.begin(), row.end());
            for (size_t i = 0; i < n * dim; i += 2) constant[i] = 0;
            for (const std::vector<float>& rows :
                 {equal, constant, std::vector<float>(n * dim, 0.0f),
                  std::vector<float>(n * dim, 3e38f)}) {
                const Pca result = pca(rows.data(), n, dim, dim, 2, nullptr);
                EXPECT_LT(distance_to_orthonormal(result.matrix, dim, dim), 1e-12);
                for (size_t i = 0; i < dim; ++i) {
                    EXPECT_GE(result.values[i], 0);
                    EXPECT_TRUE(std::isfinite(result.values[i]));
                    EXPECT_TRUE(std::isfinite(result.mean[i]));
                }
            }
        }
    }
}

double trace_with(const std::vector<double>& a, const std::vector<double>& b) {
    double sum = 0;
    for (size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
    return sum;
}

TEST(NearestOrthogonal, FindsTheOrthogonalFactor) {
    for (const size_t dim : {1, 2, 3, 10, 64, 150}) {
        // Q times a positive matrix: Q is what must be found.
        const std::vector<double> q =
            symmetric_eigen(random_symmetric(dim, 3), dim, 1, nullptr).vectors;
        std::vector<double> basis =
            symmetric_eigen(random_symmetric(dim, 4), dim, 1, nullptr).vectors;
        std::vector<double> scaled(dim * dim), transposed(dim * dim);
        for (size_t i = 0; i < dim; ++i) {
            for (size_t j = 0; j < dim; ++j) {
                scaled[i * dim + j] = basis[i * dim + j] * (1 + double(i % 7));
                transposed[j * dim + i] = basis[i * dim + j];
            }
        }
        const std::vector<double> positive =
            multiply(transposed, scaled, dim, dim, dim, 1, nullptr);
        const std::vector<double> matrix = multiply(q, positive, dim, dim, dim, 1, nullptr);
        const std::vector<double> found = nearest_orthogonal(matrix, dim, 2, nullptr);
        for (size_t i = 0; i < dim * dim; ++i) ASSERT_NEAR(found[i], q[i], 1e-11) << dim;
    }
}

TEST(NearestOrthogonal, IsOrthogonalAndBestForSingularMatricesToo) {
    for (const size_t dim : {1, 2, 5, 40}) {
        std::vector<double> low_rank(dim * dim), nilpotent(dim * dim, 0.0), graded(dim * dim);
        const std::vector<double> a = random_numbers<double>(2 * dim, 1);
        const std::vector<double> b = random_numbers<double>(2 * dim, 2);
        const std::vector<double> noise = random_numbers<double>(dim * dim, 3);
        for (size_t i = 0; i < dim; ++i) {
            for (size_t j = 0; j < dim; ++j) {
                low_rank[i * dim + j] = a[i] * b[j] + a[dim + i] * b[dim + j];
                if (i + 1 == j) nilpotent[i * dim + j] = 1;
                graded[i * dim + j] = noise[i * dim + j] * std::pow(2.0, -double(i));
            }
        }
        for (const std::vector<double>& matrix :
             {low_rank, nilpotent, graded, noise, std::vector<double>(dim * dim, 0.0),
              std::vector<double>(dim * dim, 1e-200), std::vector<double>(dim * dim, -1e200)}) {
            const std::vector<double> found = nearest_orthogonal(matrix, dim, 2, nullptr);
            EXPECT_LT(distance_to_orthonormal(found, dim, dim), 1e-12);
            // The best that can be had is the sum of the singular values; by rounding alone those
            // of M'M come with errors of 1e-8 of the largest.
            double largest = 0;
            for (const double value : matrix) largest = std::max(largest, std::abs(value));
            if (largest == 0) continue;
            std::vector<double> scaled(dim * dim), transposed(dim * dim);
            for (size_t i = 0; i < dim; ++i) {
                for (size_t j = 0; j < dim; ++j) {
                    scaled[i * dim + j] = matrix[i * dim + j] / largest;
                    transposed[j * dim + i] = scaled[i * dim + j];
                }
            }
            double best = 0;
            for (const double value :
                 symmetric_eigen(multiply(transposed, scaled, dim, dim, dim, 1, nullptr), dim, 1,
                                 nullptr)
                     .values) {
                best += std::sqrt(std::max(value, 0.0));
            }
            EXPECT_NEAR(trace_with(found, scaled), best, 1e-6 * double(dim));
        }
    }
}

TEST(Decompose, GivesTheSameBytesAtAnyNumberOfThreads) {
    for (const auto& [n, dim] : {std::pair<size_t, size_t>{40000, 10}, {3000, 300}}) {
        const std::vector<float> rows = random_numbers(n * dim, 1);
        const Pca one = pca(rows.data(), n, dim, dim, 1, nullptr);
        const std::vector<double> orthogonal = nearest_orthogonal(one.matrix, dim, 1, nullptr);
        for (const size_t threads : {2, 5}) {
            const Pca other = pca(rows.data(), n, dim, dim, threads, nullptr);
            EXPECT_EQ(one.mean, other.mean);
            EXPECT_EQ(one.values, other.values);
            EXPECT_EQ(one.matrix, other.matrix);
            EXPECT_EQ(nearest_orthogonal(one.matrix, dim, threads, nullptr), orthogonal);
        }
    }
}

struct Impatient final : Watch {
    void poll(size_t, size_t) override { throw std::runtime_error("enough"); }
};

TEST(Decompose, EndsWhenItsWatchSaysSo) {
    constexpr size_t kDim = 700;
    const std::vector<float> rows = random_numbers(4000 * kDim, 1);
    const std::vector<double> matrix = random_symmetric(kDim, 1);
    for (const size_t threads : {1, 2}) {
        Impatient watch;
        EXPECT_THROW(covariance(rows.data(), 4000, kDim, threads, &watch), std::runtime_error);
        Impatient other;
        EXPECT_THROW(symmetric_eigen(matrix, kDim, threads, &other), std::runtime_error);
        Impatient third;
        EXPECT_THROW(nearest_orthogonal(matrix, kDim, threads, &third), std::runtime_error);
    }
}

}  // namespace
}  // namespace nearbit
