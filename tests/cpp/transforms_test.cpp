// Rotations, linear maps and what they are made from: are they orthogonal, whatever the input?
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "base/random.h"
#include "transforms/rotation.h"

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

}  // namespace
}  // namespace nearbit
