// Asks for memory before it is read.
#pragma once

#include <cstddef>

namespace nearbit {

// Begins to fetch n bytes. Without the empty assembly GCC takes this, and what only calls this, for
// functions that do nothing, and leaves out calls of them.
#if defined(__GNUC__)
inline void prefetch(const void* bytes, size_t n) {
    constexpr size_t kLine = 64;
    const char* const first = static_cast<const char*>(bytes);
    for (size_t at = 0; at < n; at += kLine) __builtin_prefetch(first + at);
    asm volatile("");
}
#else
inline void prefetch(const void*, size_t) {}
#endif

}  // namespace nearbit
