// Slots: where rows are.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>

namespace nearbit {

constexpr uint32_t kNoSlot = std::numeric_limits<uint32_t>::max();
constexpr size_t kMaxSlots = kNoSlot;  // slots are 0 .. kMaxSlots - 1

}  // namespace nearbit
