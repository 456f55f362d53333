// Rows as a caller holds them: any float type, strides or byte order.
#pragma once

#include <cstddef>

#include "base/memory.h"

namespace nearbit {

struct Input {
    enum class Type { kFloat16, kFloat32, kFloat64, kUint8 };  // kUint8: int8 too

    const std::byte* data = nullptr;
    size_t n = 0, width = 0;                         // rows, and items in each
    std::ptrdiff_t row_stride = 0, item_stride = 0;  // bytes
    Type type = Type::kFloat32;
    bool swapped = false;       // not this machine's byte order
    const char* argument = "";  // what errors call it

    // Rows first .. first + count - 1 as plain float32 (or bytes), one behind the other: in place
    // if they lie so, else converted into scratch.
    const std::byte* rows(size_t first, size_t count, Memory& scratch) const;
    bool in_place() const;
};

}  // namespace nearbit
