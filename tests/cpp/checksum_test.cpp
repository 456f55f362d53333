#include "base/checksum.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <numeric>
#include <string>
#include <vector>

namespace nearbit {
namespace {

std::vector<uint8_t> mixed_bytes(size_t n) {
    std::vector<uint8_t> bytes(n);
    uint32_t x = 2463534242;
    for (auto& byte : bytes) {
        x ^= x << 13, x ^= x >> 17, x ^= x << 5;
        byte = static_cast<uint8_t>(x >> 24);
    }
    return bytes;
}

// RFC 3720, appendix B.4, and the check value of the catalogues of checksums.
TEST(Crc32c, gives_the_published_values) {
    std::vector<uint8_t> ascending(32);
    std::iota(ascending.begin(), ascending.end(), uint8_t{0});
    const std::vector<uint8_t> descending(ascending.rbegin(), ascending.rend());
    const std::vector<uint8_t> zeros(32, 0), ones(32, 0xFF);
    const std::string digits = "123456789";
    for (const auto crc : {crc32c, crc32c_portable}) {
        EXPECT_EQ(crc("", 0, 0), 0u);
        EXPECT_EQ(crc(zeros.data(), 32, 0), 0x8A9136AAu);
        EXPECT_EQ(crc(ones.data(), 32, 0), 0x62A8AB43u);
        EXPECT_EQ(crc(ascending.data(), 32, 0), 0x46DD794Eu);
        EXPECT_EQ(crc(descending.data(), 32, 0), 0x113FDB5Cu);
        EXPECT_EQ(crc(digits.data(), digits.size(), 0), 0xE3069283u);
    }
}

TEST(Crc32c, is_the_portable_one_at_all_lengths_and_offsets) {
    const auto bytes = mixed_bytes(300 + 16);
    for (size_t offset = 0; offset < 16; ++offset) {
        for (size_t n = 0; n <= 300; ++n) {
            const uint8_t* const p = bytes.data() + offset;
            ASSERT_EQ(crc32c(p, n), crc32c_portable(p, n)) << "offset " << offset << ", n " << n;
        }
    }
}

TEST(Crc32c, is_the_portable_one_where_streams_are_joined) {
    const auto bytes = mixed_bytes(3 * 3072 + 32);
    for (size_t blocks = 1; blocks <= 3; ++blocks) {
        for (size_t n = blocks * 3072 - 20; n <= blocks * 3072 + 20; ++n) {
            ASSERT_EQ(crc32c(bytes.data() + 3, n), crc32c_portable(bytes.data() + 3, n)) << n;
        }
    }
}

TEST(Crc32c, goes_on_from_an_earlier_part) {
    const auto bytes = mixed_bytes(4000);
    for (const auto crc : {crc32c, crc32c_portable}) {
        const uint32_t whole = crc(bytes.data(), bytes.size(), 0);
        for (size_t cut = 0; cut <= bytes.size(); cut += 7) {
            const uint32_t first = crc(bytes.data(), cut, 0);
            ASSERT_EQ(crc(bytes.data() + cut, bytes.size() - cut, first), whole) << cut;
        }
    }
}

}  // namespace
}  // namespace nearbit
