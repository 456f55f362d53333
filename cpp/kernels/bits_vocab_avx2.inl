// What the bits kernels are written in, AVX2: counts of bits and bit-sliced addition.
namespace bits {

alignas(32) constexpr uint8_t kBitsOfHalf[32] = {0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4,
                                                 0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4};

inline __m256i load(const void* p) {
    return _mm256_loadu_si256(static_cast<const __m256i*>(p));
}

inline void store_unaligned(void* p, __m256i x) {
    _mm256_storeu_si256(static_cast<__m256i*>(p), x);
}

// Counts of bits, in lanes that are full after kFull of them were added: of bytes.
constexpr size_t kFull = 31;

inline __m256i count_bits(__m256i x) {
    const __m256i table = load(kBitsOfHalf), half = _mm256_set1_epi8(0x0f);
    const __m256i low = _mm256_shuffle_epi8(table, _mm256_and_si256(x, half));
    const __m256i high =
        _mm256_shuffle_epi8(table, _mm256_and_si256(_mm256_srli_epi16(x, 4), half));
    return _mm256_add_epi8(low, high);
}

inline __m256i add_counts(__m256i a, __m256i b) {
    return _mm256_add_epi8(a, b);
}

// Their sums in four lanes of 64 bits.
inline __m256i sum_lanes(__m256i counts) {
    return _mm256_sad_epu8(counts, _mm256_setzero_si256());
}

// Adds a and b to sum, all of them planes of bits; returns the carries.
inline __m256i add_planes(__m256i& sum, __m256i a, __m256i b) {
    const __m256i u = _mm256_xor_si256(a, b);
    const __m256i carry = _mm256_or_si256(_mm256_and_si256(a, b), _mm256_and_si256(u, sum));
    sum = _mm256_xor_si256(u, sum);
    return carry;
}

// The majorities of p, a and b, each negated or not (bits 2, 1 and 0 of the index).
inline void make_majorities(__m256i p, __m256i a, __m256i b, __m256i (&out)[8]) {
    const __m256i ones = _mm256_set1_epi8(-1), u = _mm256_xor_si256(a, b);
    // Where a and b are equal they decide, elsewhere p does; and so on with a, b or p negated.
    const __m256i equal_a = _mm256_andnot_si256(u, a), other_a = _mm256_and_si256(u, a);
    const __m256i equal_p = _mm256_andnot_si256(u, p), other_p = _mm256_and_si256(u, p);
    const __m256i neither = _mm256_xor_si256(_mm256_or_si256(u, a), ones);
    out[0] = _mm256_or_si256(equal_a, other_p);
    out[1] = _mm256_or_si256(equal_p, other_a);
    out[2] = _mm256_or_si256(equal_p, _mm256_xor_si256(u, other_a));
    out[3] = _mm256_or_si256(neither, other_p);
    for (int i = 0; i < 4; ++i) out[7 - i] = _mm256_xor_si256(out[i], ones);
}

}  // namespace bits
