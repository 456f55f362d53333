// The random generator: its numbers are part of what a seed means, so they may not change.
#include "base/random.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <map>
#include <numeric>
#include <vector>

namespace nearbit {
namespace {

TEST(Random, GivesTheGeneratorsKnownNumbers) {
    Random random(0);
    const uint64_t numbers[] = {0x99ec5f36cb75f2b4, 0xbf6e1f784956452a, 0x1a5f849d4933e6e0,
                                0x6aa594f1262d2d2c};
    for (const uint64_t number : numbers) {
        EXPECT_EQ(random.next(), number);
    }
}

TEST(Random, KeepsWhatASeedMeans) {
    Random random(2026);
    for (const uint64_t number : {109, 512, 418, 586, 994, 336, 772, 239}) {
        EXPECT_EQ(random.below(1000), number);
    }
    EXPECT_EQ(random.unit(), 0x1.b8d6a5d598b74p-1);

    Random other(7);
    EXPECT_EQ(sample(other, 1000000, 6),
              (std::vector<uint64_t>{351266, 417182, 755068, 859340, 907721, 915624}));
    std::array<int, 10> items;
    std::iota(items.begin(), items.end(), 0);
    shuffle(other, std::span<int>(items));
    EXPECT_EQ(items, (std::array<int, 10>{3, 8, 2, 4, 1, 9, 5, 0, 7, 6}));
}

TEST(Random, DrawsBelowALimitEvenly) {
    Random random(1);
    std::array<int, 6> counts{};
    for (int i = 0; i < 60000; ++i) ++counts[random.below(6)];
    for (const int count : counts) EXPECT_NEAR(count, 10000, 400);
    EXPECT_EQ(random.below(1), 0u);
    // Just over half of all numbers: half of the bits drawn must be thrown away.
    const uint64_t limit = (uint64_t(1) << 63) + 1;
    for (int i = 0; i < 100; ++i) EXPECT_LT(random.below(limit), limit);
}

TEST(Random, DrawsUnitsBelowOne) {
    Random random(5);
    double sum = 0;
    for (int i = 0; i < 10000; ++i) {
        const double unit = random.unit();
        ASSERT_GE(unit, 0);
        ASSERT_LT(unit, 1);
        sum += unit;
    }
    EXPECT_NEAR(sum / 10000, 0.5, 0.02);
}

TEST(Random, SamplesDifferentNumbersAscending) {
    Random random(3);
    for (const uint64_t n : {0, 1, 2, 10, 1000}) {
        for (size_t k = 0; k <= n; k += 1 + k / 4) {
            const std::vector<uint64_t> chosen = sample(random, n, k);
            ASSERT_EQ(chosen.size(), k);
            for (size_t i = 0; i < k; ++i) {
                ASSERT_LT(chosen[i], n);
                if (i != 0) {
                    ASSERT_LT(chosen[i - 1], chosen[i]);
                }
            }
        }
    }
    std::vector<uint64_t> all(100);
    std::iota(all.begin(), all.end(), 0);
    EXPECT_EQ(sample(random, 100, 100), all);
    EXPECT_LT(sample(random, UINT64_MAX, 1)[0], UINT64_MAX);
}

TEST(Random, SamplesEachChoiceAsOften) {
    Random random(4);
    std::map<std::vector<uint64_t>, int> counts;
    for (int i = 0; i < 10000; ++i) ++counts[sample(random, 5, 2)];
    EXPECT_EQ(counts.size(), 10u);
    for (const auto& [choice, count] : counts) EXPECT_NEAR(count, 1000, 150);
}

TEST(Random, ShufflesEachOrderAsOften) {
    Random random(6);
    std::map<std::array<int, 3>, int> counts;
    for (int i = 0; i < 6000; ++i) {
        std::array<int, 3> items{0, 1, 2};
        shuffle(random, std::span<int>(items));
        ++counts[items];
    }
    EXPECT_EQ(counts.size(), 6u);
    for (const auto& [order, count] : counts) EXPECT_NEAR(count, 1000, 150);
}

}  // namespace
}  // namespace nearbit
