// Sets of small numbers as words of 64 bits.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace nearbit {

using Words = std::vector<uint64_t>;

inline size_t words_for(size_t n_bits) {
    return (n_bits + 63) / 64;
}
inline bool test_bit(const uint64_t* words, size_t i) {
    return (words[i / 64] >> (i % 64) & 1) != 0;
}
inline void set_bit(uint64_t* words, size_t i) {
    words[i / 64] |= uint64_t(1) << (i % 64);
}
inline void clear_bit(uint64_t* words, size_t i) {
    words[i / 64] &= ~(uint64_t(1) << (i % 64));
}

inline size_t count_bits(const Words& words) {
    size_t count = 0;
    for (const uint64_t word : words) count += size_t(std::popcount(word));
    return count;
}

// Sets bits begin..end-1.
inline void set_range(uint64_t* words, size_t begin, size_t end) {
    for (; begin < end && begin % 64 != 0; ++begin) set_bit(words, begin);
    for (; begin + 64 <= end; begin += 64) words[begin / 64] = ~uint64_t(0);
    for (; begin < end; ++begin) set_bit(words, begin);
}

// The set of 0..n-1.
inline Words all_of(size_t n) {
    Words words(words_for(n));
    set_range(words.data(), 0, n);
    return words;
}

// Calls visit(i) for each set bit of begin..end-1, ascending; begin is a multiple of 64.
template <class Visit>
void for_each_bit(const uint64_t* words, size_t begin, size_t end, Visit visit) {
    for (size_t at = begin; at < end; at += 64) {
        uint64_t word = words[at / 64];
        if (end - at < 64) word &= (uint64_t(1) << (end - at)) - 1;
        for (; word != 0; word &= word - 1) visit(at + size_t(std::countr_zero(word)));
    }
}

}  // namespace nearbit
