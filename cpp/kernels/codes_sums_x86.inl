// Compact codes on x86-64, the sums of a group.
#if defined(__GNUC__)
#define NEARBIT_HOT inline __attribute__((always_inline))
#else
#define NEARBIT_HOT __forceinline
#endif

namespace codes {

// A group's sums in 16 bits: those of items 0, 2, 4.. and of 1, 3, 5..
struct Sums {
    __m256i even, odd;

    // all: of look-ups of a byte added in 16 bits as they are; odd: of those of the odd items
    // alone, which lie in the high halves and spoil the even ones' sums by 256 times their own.
    static Sums of(__m256i all, __m256i odd) {
        return {_mm256_sub_epi16(all, _mm256_slli_epi16(odd, 8)), odd};
    }
};

}  // namespace codes
