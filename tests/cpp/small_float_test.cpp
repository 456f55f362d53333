// Factors of compact codes: what is written comes back, nearly.
#include "codecs/small_float.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstddef>
#include <limits>
#include <utility>
#include <vector>

#include "base/random.h"

namespace nearbit {
namespace {

constexpr double kInfinite = std::numeric_limits<double>::infinity();

double back(const SmallFloat& small, size_t n_bytes, double value) {
    uint8_t bytes[2] = {0xab, 0xcd};
    EXPECT_EQ(put_small(bytes, small, n_bytes, value), bytes + n_bytes);
    return double(take_small(bytes, small, n_bytes));
}

// Values from least to most, evenly on a logarithmic scale.
std::vector<double> values_between(double least, double most) {
    Random random(1);
    std::vector<double> values = {least, most};
    for (int i = 0; i < 500; ++i) values.push_back(least * std::pow(most / least, random.unit()));
    return values;
}

TEST(SmallFloat, ComesBackWithinHalfAStep) {
    const std::pair<double, double> ranges[] = {
        {1, 1.01}, {1, 2}, {.01, 30}, {1e-6, 1e6}, {2e-37, 1e-30}, {1e19, 1e38}, {1e-30, 3e38}};
    for (const auto& [least, most] : ranges) {
        const std::vector<double> values = values_between(least, most);
        for (const size_t n_bytes : {1, 2}) {
            const SmallFloat small = fit_small(values, n_bytes);
            // The bits of a float go up by 2^23 with each doubling, between them evenly.
            const double doublings = std::log2(most * 1.05 / (least * .95)) + 1;
            const double step = std::max(doublings / (n_bytes == 1 ? 254 : 65534), 0x1p-23);
            for (const double value : values) {
                ASSERT_NEAR(back(small, n_bytes, value), value, value * (.55 * step + 0x1p-23))
                    << least << " to " << most << " in " << n_bytes << " bytes";
            }
        }
    }
}

TEST(SmallFloat, RoundsUpAsOftenAsDown) {
    const std::vector<double> values = values_between(1, 10);
    const SmallFloat small = fit_small(values, 1);
    double sum = 0, back_sum = 0;
    for (const double value : values) {
        sum += value;
        back_sum += back(small, 1, value);
    }
    EXPECT_NEAR(back_sum / sum, 1, 1e-3);
}

TEST(SmallFloat, OfWhatIsOutOfRangeMakesTheNearest) {
    const SmallFloat small = fit_small(values_between(1, 10), 2);
    EXPECT_EQ(back(small, 2, 0), 0);
    EXPECT_EQ(back(small, 2, -5), 0);
    EXPECT_EQ(back(small, 2, std::nan("")), 0);
    EXPECT_NEAR(back(small, 2, 1e-9), .95, 1e-3);
    EXPECT_NEAR(back(small, 2, 1e-300), .95, 1e-3);
    for (const double value : {1e4, 1e39, 1e300, kInfinite}) {
        EXPECT_EQ(back(small, 2, value), double(most_value(small, 2)));
    }
    EXPECT_GE(most_value(small, 2), 10);
    EXPECT_EQ(most_value(small, 0), 0);
    EXPECT_EQ(back(small, 0, 7), 0);
}

TEST(SmallFloat, TakesAFewOutliersAndZeros) {
    std::vector<double> values = values_between(1, 2);
    for (int i = 0; i < 5000; ++i) values.push_back(1 + i * 1e-4);
    values.insert(values.end(), {1e-30, 1e-31, 0, 0, -1, std::nan("")});
    const SmallFloat small = fit_small(values, 1);
    EXPECT_NEAR(back(small, 1, 1.234), 1.234, .005);  // as without them
    EXPECT_EQ(back(fit_small({}, 1), 1, 0), 0);
    EXPECT_NEAR(back(fit_small({}, 1), 1, 1), 1, .01);
}

// Squared norms may come up to float's largest: all values stay finite, and files take them.
TEST(SmallFloat, HoldsTheLargestFloatsAndNoneThatIsInfinite) {
    for (const double least : {1e-45, 1e-37, 1., 1e30, 3.2e38, 3.36e38, 1e39, 1e300}) {
        for (const double most : {least, 3.3e38, 3.36e38, 3.4028e38, 1e39, 1e308}) {
            if (most < least) continue;
            for (const size_t n_bytes : {1, 2}) {
                const SmallFloat small = fit_small({least, (least + most) / 2, most}, n_bytes);
                const float largest = most_value(small, n_bytes);
                ASSERT_TRUE(std::isfinite(largest)) << least << " to " << most;
                ASSERT_GE(double(largest), std::min(most, 3.36e38) * (1 - 0x1p-20));
                ASSERT_GT(back(small, n_bytes, least), 0);
                Fields fields;
                fields.put(small.base);
                fields.put(small.step);
                const auto* const data = static_cast<const std::byte*>(fields.data());
                Cursor cursor({data, fields.size()}, "test");
                const SmallFloat read = read_small(cursor, n_bytes);
                ASSERT_EQ(read.base, small.base);
                ASSERT_EQ(read.step, small.step);
            }
        }
    }
}

}  // namespace
}  // namespace nearbit
