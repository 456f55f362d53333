// Compact codes between their two forms: single (a code's bytes one behind the other) and in
// groups of 32 (kernels/kernels.h, CodesBlock).
#pragma once

#include <cstddef>
#include <cstdint>

namespace nearbit {

constexpr size_t kGroupLanes = 32;

constexpr size_t groups_for(size_t n) {
    return (n + kGroupLanes - 1) / kGroupLanes;
}

// Bytes of a group.
constexpr size_t group_size(size_t code_bytes) {
    return kGroupLanes * code_bytes;
}

// Writes a code over an item of a group.
void put_lane(uint8_t* group, size_t code_bytes, size_t lane, const uint8_t* code);

// The same for n items from `lane` on, their codes one behind the other.
void put_lanes(uint8_t* group, size_t code_bytes, size_t lane, size_t n, const uint8_t* codes);

// Reads an item's code.
void take_lane(const uint8_t* group, size_t code_bytes, size_t lane, uint8_t* code);

}  // namespace nearbit
