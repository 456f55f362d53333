// What turns rows into codes of grids: by the book, and with the same bits from every table.
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "fenced_bytes.h"
#include "kernels/kernels.h"

namespace nearbit {
namespace {

using Random = std::mt19937;

std::vector<const Kernels*> tables() {
    const Kernels* const* begin;
    const size_t n = runnable_kernels(&begin);
    return {begin, begin + n};
}

// Floats between fences, so that no kernel reads or writes beyond them.
struct Floats {
    FencedBytes bytes;
    size_t n;

    explicit Floats(size_t count)
        : bytes(count * sizeof(float), FencedBytes::kEndsAtFence, 4), n(count) {}
    Floats(size_t count, Random& random) : Floats(count) {
        std::normal_distribution<float> normal;
        for (size_t i = 0; i < n; ++i) data()[i] = normal(random);
    }
    float* data() { return reinterpret_cast<float*>(bytes.data()); }
    std::vector<float> copy() { return {data(), data() + n}; }
    void set(const std::vector<float>& from) { std::copy(from.begin(), from.end(), data()); }
};

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

TEST(RotationKernels, HadamardIsWhatItSaysWithTheSameBitsEverywhere) {
    Random random(1);
    for (size_t n = 1; n <= 16384; n *= 2) {
        Floats x(n, random);
        const std::vector<float> in = x.copy();
        std::vector<float> first;
        for (const Kernels* table : tables()) {
            x.set(in);
            table->rotation.hadamard(x.data(), n);
            if (first.empty()) first = x.copy();
            ASSERT_TRUE(same_bits(x.copy(), first)) << table->isa << ", n " << n;
        }
        if (n > 1024) continue;
        for (size_t i = 0; i < n; ++i) {
            double sum = 0;
            for (size_t j = 0; j < n; ++j) {
                sum += std::popcount(i & j) % 2 == 0 ? double(in[j]) : -double(in[j]);
            }
            // Place i within 16 is that of the transposed matrix.
            const size_t place = n < 16 ? i : i / 16 * 16 + i % 4 * 4 + i / 4 % 4;
            ASSERT_NEAR(double(first[place]), sum, 1e-5 * double(n)) << "n " << n << ", " << i;
        }
    }
}

TEST(RotationKernels, ScalesAndMixesAreWhatTheySayWithTheSameBitsEverywhere) {
    Random random(2);
    for (size_t n = 0; n <= 70; ++n) {
        Floats a(n, random), b(n, random), by_a(n, random), by_b(n, random), out(n);
        const std::vector<float> old_a = a.copy(), old_b = b.copy();
        for (const Kernels* table : tables()) {
            table->rotation.scale(old_a.data(), by_a.data(), n, out.data());
            a.set(old_a);
            b.set(old_b);
            table->rotation.mix(a.data(), b.data(), n, 0.75f, by_a.data(), by_b.data());
            for (size_t i = 0; i < n; ++i) {
                ASSERT_EQ(out.data()[i], old_a[i] * by_a.data()[i]) << table->isa << ", n " << n;
                const float share_b = 0.75f * old_b[i], share_a = 0.75f * old_a[i];
                const float sum = old_a[i] + share_b, difference = share_a - old_b[i];
                ASSERT_EQ(a.data()[i], sum * by_a.data()[i]) << table->isa << ", n " << n;
                ASSERT_EQ(b.data()[i], difference * by_b.data()[i]) << table->isa << ", n " << n;
            }
        }
    }
}

TEST(EncodeKernels, DotsHaveTheSameBitsEverywhere) {
    Random random(3);
    for (const size_t n : {0, 1, 7, 15, 16, 17, 31, 33, 100, 384, 1000}) {
        Floats x(n, random), y(n, random);
        double expected = 0;
        for (size_t j = 0; j < n; ++j) expected += double(x.data()[j]) * double(y.data()[j]);
        const double first = tables()[0]->encode.dot(x.data(), y.data(), n);
        EXPECT_NEAR(first, expected, 1e-12 * (1 + double(n)));
        for (const Kernels* table : tables()) {
            EXPECT_EQ(table->encode.dot(x.data(), y.data(), n), first) << table->isa << ", n " << n;
        }
    }
}

TEST(EncodeKernels, CentresHaveTheSameBitsEverywhere) {
    Random random(7);
    for (const size_t n : {0, 1, 7, 15, 16, 17, 31, 33, 100, 384, 1000}) {
        Floats x(n, random), mean(n, random);
        const std::vector<float> old = x.copy();
        double first = 0;
        for (const Kernels* table : tables()) {
            x.set(old);
            const double squared = table->encode.centre(x.data(), 0.7f, mean.data(), n);
            double expected = 0;
            for (size_t j = 0; j < n; ++j) {
                const float scaled = old[j] * 0.7f;
                ASSERT_EQ(x.data()[j], scaled - mean.data()[j]) << table->isa << ", n " << n;
                expected += double(x.data()[j]) * double(x.data()[j]);
            }
            if (table == tables()[0]) first = squared;
            EXPECT_EQ(squared, first) << table->isa << ", n " << n;
            EXPECT_NEAR(squared, expected, 1e-12 * (1 + double(n)));
        }
    }
}

// A grid of some dimensions with bits and steps of their own.
struct GridProblem {
    size_t dim, n;
    uint32_t levels;
    Floats steps, per_step, most, spreads, units;
    std::vector<uint32_t> bits;
    std::vector<float> inverses = {1 / 0.8f, 1.0f, 1 / 1.25f};

    GridProblem(size_t dims, uint32_t most_bits, Random& random)
        : dim(dims),
          n((dims + 15) / 16 * 16),
          levels(most_bits),
          steps(n),
          per_step(n),
          most(n),
          spreads(n),
          units(n) {
        for (size_t j = 0; j < n; ++j) {
            const bool there = j < dim;
            const uint32_t b = j == 0 ? levels : 1 + random() % levels;
            const float step = 0.25f + float(random() % 256) / 128;
            bits.push_back(there ? b : 0);
            steps.data()[j] = there ? step : 0;
            per_step.data()[j] = there ? 1 / step : 0;
            most.data()[j] = there ? float((1u << b) - 1) / 2 : 0;
            spreads.data()[j] = there ? 1.6f / float(b) / step : 0;
            units.data()[j] = there ? float(1u << (levels - b)) : 0;
        }
    }

    DirectionGrid grid() {
        return {dim,
                n,
                steps.data(),
                per_step.data(),
                most.data(),
                spreads.data(),
                units.data(),
                inverses.data(),
                levels == 1 ? 0 : uint32_t(inverses.size())};
    }

    // What rounding at 1 / inverse times the steps makes of the row.
    std::vector<double> rounded(const std::vector<float>& r, double inverse) {
        std::vector<double> y;
        for (size_t j = 0; j < dim; ++j) {
            const double at = std::abs(double(r[j])) * double(per_step.data()[j]) * inverse;
            const double value = std::floor(std::min(at, double(most.data()[j]))) + 0.5;
            y.push_back((r[j] > 0 ? value : -value) * double(steps.data()[j]));
        }
        return y;
    }

    double cosine(const std::vector<float>& r, const std::vector<double>& y) {
        double with_row = 0, with_self = 0, with_r = 0;
        for (size_t j = 0; j < dim; ++j) {
            with_row += double(r[j]) * y[j];
            with_self += y[j] * y[j];
            with_r += double(r[j]) * double(r[j]);
        }
        return with_row / std::sqrt(with_self * with_r);
    }
};

TEST(EncodeKernels, DirectionsAreRoundedAtTheBestMultipleWithTheSameBitsEverywhere) {
    Random random(4);
    for (const size_t dim : {1, 5, 15, 16, 17, 64, 100, 384, 1000}) {
        for (uint32_t levels = 1; levels <= 8; ++levels) {
            GridProblem problem(dim, levels, random);
            const DirectionGrid grid = problem.grid();
            Floats r(problem.n, random), y(problem.n);
            std::fill(r.data() + dim, r.data() + problem.n, 0.0f);
            const std::vector<float> row = r.copy();
            FencedBytes numbers(problem.n, FencedBytes::kEndsAtFence, 1);
            std::vector<float> first;
            std::vector<uint8_t> first_numbers;
            for (const Kernels* table : tables()) {
                table->encode.round_direction(grid, r.data(), numbers.data(), y.data());
                if (first.empty()) {
                    first = y.copy();
                    first_numbers.assign(numbers.data(), numbers.data() + problem.n);
                }
                ASSERT_TRUE(same_bits(y.copy(), first)) << table->isa << ", dim " << dim;
                ASSERT_TRUE(std::equal(first_numbers.begin(), first_numbers.end(), numbers.data()))
                    << table->isa << ", dim " << dim;
            }
            for (size_t j = 0; j < problem.n; ++j) {
                const uint32_t shift = levels - problem.bits[j];
                const uint32_t u = j < dim ? first_numbers[j] >> shift : 0;
                ASSERT_EQ(first_numbers[j], j < dim ? u << shift : 0);
                ASSERT_LT(u, 1u << problem.bits[j]);
                const float value = float(u) - problem.most.data()[j];
                ASSERT_EQ(std::abs(first[j]), std::abs(value * problem.steps.data()[j]));
                ASSERT_TRUE(j >= dim || (first[j] > 0) == (row[j] > 0));
            }
            double squares = 0;
            for (size_t j = 0; j < dim; ++j) {
                squares += std::pow(double(row[j]) * double(problem.spreads.data()[j]), 2);
            }
            const double deviation = std::sqrt(squares / double(dim));
            const std::vector<double> found(first.begin(), first.begin() + ptrdiff_t(dim));
            for (uint32_t f = 0; f < grid.n_inverses; ++f) {
                const double inverse = double(grid.inverses[f]) / deviation;
                EXPECT_GE(problem.cosine(row, found),
                          problem.cosine(row, problem.rounded(row, inverse)) - 1e-6)
                    << "dim " << dim << ", levels " << levels;
            }
        }
    }
}

TEST(EncodeKernels, RowsOfZerosAndOfExtremesAreRoundedAlikeEverywhere) {
    Random random(5);
    GridProblem problem(40, 4, random);
    for (const float size : {0.0f, -0.0f, 1e-45f, 1e-30f, 4e18f}) {
        Floats r(problem.n), y(problem.n);
        for (size_t j = 0; j < problem.dim; ++j) r.data()[j] = j % 3 == 0 ? -size : size;
        FencedBytes numbers(problem.n, FencedBytes::kEndsAtFence, 1);
        std::vector<float> first;
        for (const Kernels* table : tables()) {
            table->encode.round_direction(problem.grid(), r.data(), numbers.data(), y.data());
            if (first.empty()) first = y.copy();
            EXPECT_TRUE(same_bits(y.copy(), first)) << table->isa << ", size " << size;
            for (size_t j = 0; j < problem.dim; ++j) EXPECT_TRUE(std::abs(first[j]) > 0);
        }
    }
}

TEST(EncodeKernels, PlanesHoldTheBitsOfTheNumbers) {
    Random random(6);
    for (uint32_t levels = 1; levels <= 8; ++levels) {
        for (const uint32_t dim : {1, 8, 9, 63, 64, 65, 130, 384}) {
            std::vector<uint32_t> n_bytes = {(dim + 7) / 8};
            while (n_bytes.size() < levels) n_bytes.push_back(random() % (n_bytes.back() + 1));
            FencedBytes numbers((dim + 63) / 64 * 64, FencedBytes::kEndsAtFence, 1);
            for (size_t j = 0; j < (dim + 63) / 64 * 64; ++j) numbers.data()[j] = uint8_t(random());
            size_t size = 0;
            for (const uint32_t n : n_bytes) size += n;
            for (const Kernels* table : tables()) {
                FencedBytes out(size, FencedBytes::kEndsAtFence, 1);
                table->encode.pack_planes(numbers.data(), n_bytes.data(), levels, out.data());
                const uint8_t* plane = out.data();
                for (uint32_t l = 0; l < levels; plane += n_bytes[l++]) {
                    for (uint32_t j = 0; j < 8 * n_bytes[l]; ++j) {
                        ASSERT_EQ(plane[j / 8] >> (j % 8) & 1,
                                  numbers.data()[j] >> (levels - 1 - l) & 1)
                            << table->isa << ", dim " << dim << ", level " << l << ", " << j;
                    }
                }
            }
        }
    }
}

}  // namespace
}  // namespace nearbit
