// Products of all pairs, and which of many rows a row is linked to, against plain loops.
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "base/memory.h"
#include "base/random.h"
#include "kernels/kernels.h"

namespace nearbit {
namespace {

constexpr float kNone = HUGE_VALF;

// Small integers, of which sums of products are exact.
std::vector<float> rows_of(size_t n, size_t dim, uint64_t seed) {
    Random random(seed);
    std::vector<float> rows(n * dim);
    for (float& x : rows) x = float(int(random.below(9)) - 4);
    return rows;
}

void for_each_table(void (*check)(const PairKernels&)) {
    const Kernels* const* tables;
    const size_t n = runnable_kernels(&tables);
    for (size_t i = 0; i < n; ++i) {
        SCOPED_TRACE(tables[i]->isa);
        check(tables[i]->pairs);
    }
}

TEST(PairKernels, ProductsAreThoseOfAllPairs) {
    for_each_table([](const PairKernels& kernels) {
        for (const size_t dim : {1, 3, 8, 33, 200}) {
            for (const auto& [nq, n] : std::vector<std::pair<size_t, size_t>>{
                     {1, 1}, {5, 40}, {6, 16}, {7, 17}, {40, 33}, {9, 700}}) {
                const std::vector<float> queries = rows_of(nq, dim, 1), rows = rows_of(n, dim, 2);
                const size_t stride = n + 3;
                std::vector<float> out(nq * stride, 7);
                Memory workspace(kernels.workspace(nq, dim) * sizeof(float));
                kernels.products(queries.data(), nq, rows.data(), n, dim,
                                 reinterpret_cast<float*>(workspace.data()), out.data(), stride);
                for (size_t i = 0; i < nq; ++i) {
                    for (size_t j = 0; j < stride; ++j) {
                        float sum = j < n ? 0 : -7;
                        for (size_t k = 0; j < n && k < dim; ++k) {
                            sum += queries[i * dim + k] * rows[j * dim + k];
                        }
                        ASSERT_EQ(out[i * stride + j], -sum) << nq << " " << n << " " << dim;
                    }
                }
            }
        }
    });
}

TEST(PairKernels, APairHasTheSameProductInAnyBatchAndOrder) {
    for_each_table([](const PairKernels& kernels) {
        constexpr size_t kDim = 57, kRows = 90;
        Random random(3);
        std::vector<float> rows(kRows * kDim), out(kRows * kRows), few(9 * kRows);
        for (float& x : rows) x = float(random.unit());
        Memory workspace(kernels.workspace(kRows, kDim) * sizeof(float));
        auto* const work = reinterpret_cast<float*>(workspace.data());
        kernels.products(rows.data(), kRows, rows.data(), kRows, kDim, work, out.data(), kRows);
        kernels.products(rows.data() + 7 * kDim, 9, rows.data() + 5 * kDim, kRows - 5, kDim, work,
                         few.data(), kRows);
        for (size_t i = 0; i < kRows; ++i) {
            for (size_t j = 0; j < kRows; ++j) {
                ASSERT_EQ(out[i * kRows + j], out[j * kRows + i]);
                if (i < 9 && j < kRows - 5) {
                    ASSERT_EQ(few[i * kRows + j], out[(i + 7) * kRows + j + 5]);
                }
            }
        }
    });
}

TEST(PairKernels, CoverLeavesOutAndFindsTheFirstLeast) {
    for_each_table([](const PairKernels& kernels) {
        Random random(4);
        for (const size_t n : {16, 32, 48, 400}) {
            for (size_t round = 0; round < 50; ++round) {
                Memory lines(4 * n * sizeof(float));
                auto* const distances = reinterpret_cast<float*>(lines.data());
                float *const limits = distances + n, *const left = limits + n,
                             *const expected = left + n;
                for (size_t j = 0; j < n; ++j) {
                    distances[j] = float(random.below(20));
                    limits[j] = float(random.below(20));
                    left[j] = random.below(4) == 0 ? kNone : float(random.below(20));
                    if (round == 0) left[j] = kNone;
                    expected[j] = distances[j] <= limits[j] ? kNone : left[j];
                }
                size_t least = 0;
                for (size_t j = 1; j < n; ++j) {
                    if (expected[j] < expected[least]) least = j;
                }
                ASSERT_EQ(kernels.cover(distances, limits, left, n), least);
                for (size_t j = 0; j < n; ++j) ASSERT_EQ(left[j], expected[j]);
            }
        }
    });
}

}  // namespace
}  // namespace nearbit
