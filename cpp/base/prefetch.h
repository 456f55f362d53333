// Asks for memory before it is read.
#pragma once

#include <cstddef>
#include <cstdint>

namespace nearbit {

// Begins to fetch the lines that n bytes lie in. Without the empty assembly GCC takes this, and
// what only calls this, for functions that do nothing, and leaves out calls of them.
#if defined(__GNUC__)
inline void prefetch(const void* bytes, size_t n) {
    constexpr size_t kLine = 64;
    const char* const first = static_cast<const char*>(bytes);
    const char* line = first - reinterpret_cast<uintptr_t>(first) % kLine;
    for (; line < first + n; line += kLine) __builtin_prefetch(line);
    asm volatile("");
}
#else
inline void prefetch(const void*, size_t) {}
#endif

}  // namespace nearbit
