// What the bits kernels are written in, AVX-512 (VL, BITALG, VPOPCNTDQ), on 256-bit registers: all
// that is bound by arithmetic here is logic and counts, which take a third of AVX2's instructions.
namespace bits {

inline __m256i load(const void* p) {
    return _mm256_loadu_si256(static_cast<const __m256i*>(p));
}

inline void store_unaligned(void* p, __m256i x) {
    _mm256_storeu_si256(static_cast<__m256i*>(p), x);
}

// Counts of bits, in lanes that are never full: of 64 bits.
constexpr size_t kFull = ~size_t(0);

inline __m256i count_bits(__m256i x) {
    return _mm256_popcnt_epi64(x);
}

inline __m256i add_counts(__m256i a, __m256i b) {
    return _mm256_add_epi64(a, b);
}

// Their sums in four lanes of 64 bits.
inline __m256i sum_lanes(__m256i counts) {
    return counts;
}

// Adds a and b to sum, all of them planes of bits; returns the carries.
inline __m256i add_planes(__m256i& sum, __m256i a, __m256i b) {
    const __m256i carry = _mm256_ternarylogic_epi64(a, b, sum, 0xe8);
    sum = _mm256_ternarylogic_epi64(a, b, sum, 0x96);
    return carry;
}

// The majorities of p, a and b, each negated or not (bits 2, 1 and 0 of the index). Bit 4 p + 2 a +
// b of an immediate is the majority there, so negating an operand moves its bits.
inline void make_majorities(__m256i p, __m256i a, __m256i b, __m256i (&out)[8]) {
    out[0] = _mm256_ternarylogic_epi64(p, a, b, 0xe8);
    out[1] = _mm256_ternarylogic_epi64(p, a, b, 0xd4);
    out[2] = _mm256_ternarylogic_epi64(p, a, b, 0xb2);
    out[3] = _mm256_ternarylogic_epi64(p, a, b, 0x71);
    out[4] = _mm256_ternarylogic_epi64(p, a, b, 0x8e);
    out[5] = _mm256_ternarylogic_epi64(p, a, b, 0x4d);
    out[6] = _mm256_ternarylogic_epi64(p, a, b, 0x2b);
    out[7] = _mm256_ternarylogic_epi64(p, a, b, 0x17);
}

}  // namespace bits
