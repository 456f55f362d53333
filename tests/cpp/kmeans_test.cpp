// k-means and the nearest-centroid kernels, against plain searches in double.
#include "codecs/kmeans.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <set>
#include <vector>

#include "base/error.h"
#include "base/random.h"

namespace nearbit {
namespace {

std::vector<float> random_rows(size_t n, size_t dim, uint64_t seed, float offset = 0) {
    Random random(seed);
    std::vector<float> rows(n * dim);
    for (float& x : rows) x = float(random.unit() * 2 - 1) + offset;
    return rows;
}

// Small integers, of which every product and sum is exact, and ties abound.
std::vector<float> integer_rows(size_t n, size_t dim, uint64_t seed) {
    Random random(seed);
    std::vector<float> rows(n * dim);
    for (float& x : rows) x = float(int(random.below(5)) - 2);
    return rows;
}

// n rows around n_centres centres that are far from each other.
std::vector<float> clustered_rows(size_t n, size_t dim, size_t n_centres, uint64_t seed) {
    Random random(seed);
    const std::vector<float> centres = random_rows(n_centres, dim, seed + 1);
    std::vector<float> rows(n * dim);
    for (size_t i = 0; i < n; ++i) {
        const size_t centre = size_t(random.below(n_centres));
        for (size_t j = 0; j < dim; ++j) {
            rows[i * dim + j] = 10 * centres[centre * dim + j] + float(random.unit() - 0.5);
        }
    }
    return rows;
}

double squared_distance(const float* a, const float* b, size_t dim) {
    double sum = 0;
    for (size_t j = 0; j < dim; ++j) sum += (double(a[j]) - b[j]) * (double(a[j]) - b[j]);
    return sum;
}

double squared_norm(const float* a, size_t dim) {
    return squared_distance(a, std::vector<float>(dim).data(), dim);
}

size_t brute_nearest(const float* row, const std::vector<float>& centroids, size_t k, size_t dim) {
    size_t best = 0;
    double least = std::numeric_limits<double>::infinity();
    for (size_t c = 0; c < k; ++c) {
        const double d = squared_distance(row, centroids.data() + c * dim, dim);
        if (d < least) least = d, best = c;
    }
    return best;
}

double inertia_of(const std::vector<float>& rows, size_t dim, const std::vector<float>& centroids) {
    const size_t k = centroids.size() / dim;
    double sum = 0;
    for (size_t i = 0; i < rows.size() / dim; ++i) {
        const size_t c = brute_nearest(rows.data() + i * dim, centroids, k, dim);
        sum += squared_distance(rows.data() + i * dim, centroids.data() + c * dim, dim);
    }
    return sum;
}

constexpr size_t kDims[] = {1, 2, 3, 4, 7, 8, 9, 16, 31, 33, 64, 65, 200, 384, 2100};
constexpr size_t kCounts[] = {1, 2, 5, 6, 7, 12, 16, 17, 61};
constexpr size_t kRows[] = {1, 2, 15, 16, 17, 31, 32, 33, 70};

class EveryTable : public ::testing::Test {
  protected:
    template <class Check>
    void each(const Check& check) {
        const Kernels* const* tables;
        const size_t n_tables = runnable_kernels(&tables);
        for (size_t t = 0; t < n_tables; ++t) {
            SCOPED_TRACE(tables[t]->isa);
            check(tables[t]->nearest);
        }
    }
};

using Nearest = EveryTable;

TEST_F(Nearest, IsExactOnIntegersWithTiesToTheSmallerNumber) {
    each([](const NearestKernels& kernels) {
        for (const size_t dim : kDims) {
            for (const size_t k : kCounts) {
                const std::vector<float> centroids = integer_rows(k, dim, dim + k);
                const NearestCentroid table(centroids.data(), k, dim, kernels);
                for (const size_t n : kRows) {
                    const std::vector<float> rows = integer_rows(n, dim, n);
                    std::vector<uint32_t> nearest(n + 1, 12345);
                    Memory scratch;
                    table.find(rows.data(), n, dim, scratch, nearest.data());
                    for (size_t i = 0; i < n; ++i) {
                        ASSERT_EQ(nearest[i],
                                  brute_nearest(rows.data() + i * dim, centroids, k, dim))
                            << "dim " << dim << " k " << k << " n " << n << " row " << i;
                    }
                    ASSERT_EQ(nearest[n], 12345u);
                }
            }
        }
    });
}

TEST_F(Nearest, IsNearestButForRounding) {
    each([](const NearestKernels& kernels) {
        for (const size_t dim : kDims) {
            for (const size_t k : {size_t(16), size_t(256), size_t(1000)}) {
                const size_t n = 40;
                const std::vector<float> centroids = random_rows(k, dim, 1, 3);
                const std::vector<float> rows = random_rows(n, dim, 2, 3);
                const NearestCentroid table(centroids.data(), k, dim, kernels);
                std::vector<uint32_t> nearest(n);
                Memory scratch;
                table.find(rows.data(), n, dim, scratch, nearest.data());
                for (size_t i = 0; i < n; ++i) {
                    const float* const row = rows.data() + i * dim;
                    ASSERT_LT(nearest[i], k);
                    const float* const found = centroids.data() + nearest[i] * dim;
                    const float* const best =
                        centroids.data() + brute_nearest(row, centroids, k, dim) * dim;
                    const double size =
                        std::sqrt(squared_norm(row, dim)) +
                        std::sqrt(std::max(squared_norm(found, dim), squared_norm(best, dim)));
                    ASSERT_LE(
                        squared_distance(row, found, dim),
                        squared_distance(row, best, dim) + double(dim + 2) * 0x1p-23 * size * size);
                }
            }
        }
    });
}

TEST_F(Nearest, IsTheSameInAnyBatchAndAtAnyStride) {
    each([](const NearestKernels& kernels) {
        for (const size_t dim : {3, 8, 70, 384}) {
            const size_t n = 1100, k = 50, stride = dim + 5;
            const std::vector<float> centroids = random_rows(k, dim, 5);
            const std::vector<float> rows = random_rows(n, stride, 6);
            const NearestCentroid table(centroids.data(), k, dim, kernels);
            std::vector<uint32_t> together(n), alone(n);
            Memory scratch;
            // The last row ends with the buffer: nothing behind it may be read.
            const float* const first = rows.data() + stride - dim;
            table.find(first, n, stride, scratch, together.data());
            for (size_t i = 0; i < n; ++i) {
                table.find(first + i * stride, 1, stride, scratch, &alone[i]);
            }
            ASSERT_EQ(together, alone);
        }
    });
}

TEST_F(Nearest, TakesTheLargestNorms) {
    each([](const NearestKernels& kernels) {
        const std::vector<float> centroids = {9e18f, 0, -9e18f, 0, 0, 9e18f};
        const std::vector<float> rows = {-9e18f, 1, 0, 9e18f, 1e18f, 0, 0, 0};
        const NearestCentroid table(centroids.data(), 3, 2, kernels);
        std::vector<uint32_t> nearest(4);
        Memory scratch;
        table.find(rows.data(), 4, 2, scratch, nearest.data());
        EXPECT_EQ(nearest, (std::vector<uint32_t>{1, 2, 0, 0}));
    });
}

TEST(Assign, GivesCanonicalDistancesAtAnyThreads) {
    const size_t n = 5000, dim = 24, k = 200;
    const std::vector<float> rows = random_rows(n, dim, 1), centroids = random_rows(k, dim, 2);
    std::vector<uint32_t> nearest(n), again(n);
    std::vector<float> distances(n), distances_again(n);
    assign(rows.data(), n, dim, centroids.data(), k, 1, nullptr, nearest.data(), distances.data());
    for (size_t i = 0; i < n; ++i) {
        const double d =
            squared_distance(rows.data() + i * dim, centroids.data() + nearest[i] * dim, dim);
        ASSERT_NEAR(distances[i], d, 1e-5 * d);
    }
    for (const size_t threads : {2, 5}) {
        assign(rows.data(), n, dim, centroids.data(), k, threads, nullptr, again.data(),
               distances_again.data());
        EXPECT_EQ(nearest, again);
        EXPECT_EQ(distances, distances_again);
    }
}

TEST(KMeans, IsTheSameAtAnyThreads) {
    const size_t n = 20000, dim = 20, k = 300;
    const std::vector<float> rows = random_rows(n, dim, 3);
    const KMeans settings{.k = k, .iterations = 6, .seed = 7};
    const Clusters one = kmeans(rows.data(), n, dim, settings, 1, nullptr);
    for (const size_t threads : {2, 5}) {
        const Clusters other = kmeans(rows.data(), n, dim, settings, threads, nullptr);
        EXPECT_EQ(one.centroids, other.centroids);
        EXPECT_EQ(one.inertia, other.inertia);
        EXPECT_EQ(one.iterations, other.iterations);
    }
    const KMeans other_seed{.k = k, .iterations = 6, .seed = 8};
    EXPECT_NE(one.centroids, kmeans(rows.data(), n, dim, other_seed, 1, nullptr).centroids);
}

TEST(KMeans, InertiaNeverIncreases) {
    for (const uint64_t seed : {1, 2, 3}) {
        const size_t n = 2000, dim = 10;
        const std::vector<float> rows = random_rows(n, dim, seed, 1);
        double before = std::numeric_limits<double>::infinity();
        for (size_t iterations = 1; iterations < 30; ++iterations) {
            const Clusters clusters = kmeans(
                rows.data(), n, dim, {.k = 60, .iterations = iterations, .seed = seed}, 1, nullptr);
            ASSERT_LE(clusters.inertia, before * (1 + 1e-6)) << iterations;
            // The centroids can only do better than the rows' last assignment.
            const double true_inertia = inertia_of(rows, dim, clusters.centroids);
            ASSERT_LE(true_inertia, clusters.inertia * (1 + 1e-6));
            before = clusters.inertia;
        }
    }
}

TEST(KMeans, StopsWhereNoRowChanges) {
    const size_t n = 1000, dim = 4;
    const std::vector<float> rows = clustered_rows(n, dim, 5, 4);
    const Clusters clusters = kmeans(rows.data(), n, dim, {.k = 5, .iterations = 1000}, 1, nullptr);
    EXPECT_LT(clusters.iterations, 100u);
    EXPECT_NEAR(clusters.inertia, inertia_of(rows, dim, clusters.centroids),
                1e-6 * clusters.inertia);
}

// Lloyd's algorithm in double from rows drawn at random.
double plain_lloyd(const std::vector<float>& rows, size_t dim, size_t k, uint64_t seed) {
    const size_t n = rows.size() / dim;
    Random random(seed);
    std::vector<float> centroids;
    for (const uint64_t i : sample(random, n, k)) {
        centroids.insert(centroids.end(), rows.begin() + std::ptrdiff_t(i * dim),
                         rows.begin() + std::ptrdiff_t((i + 1) * dim));
    }
    for (int iteration = 0; iteration < 25; ++iteration) {
        std::vector<double> sums(k * dim);
        std::vector<size_t> counts(k);
        for (size_t i = 0; i < n; ++i) {
            const size_t c = brute_nearest(rows.data() + i * dim, centroids, k, dim);
            ++counts[c];
            for (size_t j = 0; j < dim; ++j) sums[c * dim + j] += rows[i * dim + j];
        }
        for (size_t i = 0; i < k * dim; ++i) {
            if (counts[i / dim] != 0) centroids[i] = float(sums[i] / double(counts[i / dim]));
        }
    }
    return inertia_of(rows, dim, centroids);
}

TEST(KMeans, IsNoWorseThanLloydFromRandomRows) {
    for (const uint64_t seed : {10, 20, 30}) {
        const size_t dim = 6, k = 40;
        const std::vector<float> rows = clustered_rows(3000, dim, k, seed);
        const Clusters clusters =
            kmeans(rows.data(), 3000, dim, {.k = k, .seed = seed}, 1, nullptr);
        EXPECT_LE(clusters.inertia, plain_lloyd(rows, dim, k, seed));
    }
}

TEST(KMeans, FillsEmptyClusters) {
    // Two far groups and many copies: seeds that repeat would leave clusters empty.
    std::vector<float> rows(3000, 0);
    for (size_t i = 0; i < 40; ++i) rows[i] = float(1000 + i * i);
    const Clusters clusters =
        kmeans(rows.data(), rows.size(), 1, {.k = 41, .iterations = 60}, 1, nullptr);
    EXPECT_EQ(std::set<float>(clusters.centroids.begin(), clusters.centroids.end()).size(), 41u);
    EXPECT_EQ(clusters.inertia, 0);
}

TEST(KMeans, FillsEmptyClustersWithWhatLiesFarthestInTheWorstCluster) {
    // Half of the rows are 0, half 1000, so that the seeds are; a few rows of one lie far off.
    for (const float worst : {0.0f, 1000.0f}) {
        std::vector<float> rows(20000);
        for (size_t i = 0; i < rows.size(); ++i) rows[i] = i % 2 ? 1000.0f : 0.0f;
        for (size_t i = 0; i < 10; ++i) rows[777 + 1000 * i] = 1000 - worst + float(i);
        std::set<float> farthest;
        for (size_t i = 0; i < 20; ++i) {
            const float row = worst + float(worst == 0 ? -100 - 10 * int(i) : 100 + 10 * int(i));
            rows[111 + 900 * i] = row;
            if (i >= 6) farthest.insert(row);
        }
        const Clusters clusters = kmeans(rows.data(), rows.size(), 1,
                                         {.k = 16, .iterations = 1, .seeding_rows = 1}, 1, nullptr);
        const std::set<float> centroids(clusters.centroids.begin(), clusters.centroids.end());
        ASSERT_EQ(centroids.size(), 16u);
        for (const float row : farthest) EXPECT_EQ(centroids.count(row), 1u) << row;
    }
}

TEST(KMeans, TakesFewerDistinctRowsThanClusters) {
    for (const float value : {0.0f, 0.1f, -3e18f}) {
        const std::vector<float> rows(100 * 3, value);
        const Clusters clusters = kmeans(rows.data(), 100, 3, {.k = 16}, 1, nullptr);
        EXPECT_LE(clusters.iterations, 2u);
        for (const float x : clusters.centroids) ASSERT_FLOAT_EQ(x, value);
        EXPECT_LE(clusters.inertia, 100 * 3 * double(value) * value * 1e-12);
    }
    std::vector<float> two(100 * 3);
    for (size_t i = 0; i < two.size(); ++i) two[i] = i / 3 % 2 ? 0.3f : -5.0f;
    const Clusters clusters = kmeans(two.data(), 100, 3, {.k = 16}, 1, nullptr);
    EXPECT_LE(clusters.inertia, 1e-9);
    for (const float x : clusters.centroids) ASSERT_TRUE(std::isfinite(x));
}

TEST(KMeans, TakesOneClusterAndAsManyAsRows) {
    const std::vector<float> rows = random_rows(50, 7, 9);
    EXPECT_EQ(kmeans(rows.data(), 50, 7, {.k = 1}, 2, nullptr).iterations, 2u);
    EXPECT_LE(kmeans(rows.data(), 50, 7, {.k = 50}, 2, nullptr).inertia, 1e-12);
    EXPECT_THROW(kmeans(rows.data(), 50, 7, {.k = 51}, 2, nullptr), InvalidArgument);
    EXPECT_THROW(kmeans(rows.data(), 50, 7, {.k = 0}, 2, nullptr), InvalidArgument);
}

class Stopper : public Watch {
  public:
    size_t done = 0, total = 0, polls = 0, stop_at = ~size_t(0);

  protected:
    void poll(size_t done_now, size_t total_now) override {
        done = done_now, total = total_now;
        if (++polls >= stop_at) throw InvalidState("stop");
    }
};

TEST(KMeans, ReportsItsWorkAndCanBeStopped) {
    const std::vector<float> rows = random_rows(20000, 16, 9);
    const KMeans settings{.k = 256, .iterations = 40};
    for (const size_t threads : {1, 2}) {
        Stopper watch;
        watch.expect(40 * 20000);
        kmeans(rows.data(), 20000, 16, settings, threads, &watch);
        watch.poll_now();
        EXPECT_EQ(watch.done, watch.total);
        EXPECT_EQ(watch.total, 40u * 20000u);
        Stopper stopper;
        stopper.stop_at = 2;
        EXPECT_THROW(kmeans(rows.data(), 20000, 16, settings, threads, &stopper), InvalidState);
    }
}

}  // namespace
}  // namespace nearbit
