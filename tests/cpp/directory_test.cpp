// A mapped table of ids that is damaged.
#include "index/directory.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace nearbit {
namespace {

TEST(Directory, ALookUpInAFullMappedTableEndsSoon) {
    const std::vector<int64_t> ids = {7};
    const std::vector<uint32_t> table(size_t(1) << 22, 0);  // the one slot, everywhere
    const Directory directory({.n_items = 1,
                               .next_id = 8,
                               .identity = false,
                               .ids = reinterpret_cast<const std::byte*>(ids.data()),
                               .table = table.data(),
                               .table_size = table.size(),
                               .copy = false,
                               .keeper = nullptr});
    EXPECT_EQ(directory.find(7), 0u);
    const auto began = std::chrono::steady_clock::now();
    for (int64_t id = 1000; id < 1500; ++id) ASSERT_EQ(directory.find(id), kNoSlot);
    // Two billion entries, if each look-up went all the way round.
    EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(2));
}

}  // namespace
}  // namespace nearbit
