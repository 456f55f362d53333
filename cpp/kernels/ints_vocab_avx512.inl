// The words that ints_x86.inl is written in, for AVX-512: 32 numbers of 16 bits at a time.

using Wide = __m512i;
using Narrow = __m256i;
enum : size_t { kStep = 32 };

inline Narrow load_narrow(const uint8_t* x) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x));
}

// n < kStep bytes and zeros behind them.
inline Narrow load_few(const uint8_t* x, size_t n) {
    return _mm256_maskz_loadu_epi8((uint32_t(1) << n) - 1, x);
}

template <IntType kType>
inline Wide widen(Narrow x) {
    if constexpr (kType == IntType::kInt8) return _mm512_cvtepi8_epi16(x);
    return _mm512_cvtepu8_epi16(x);
}

inline Wide zero_wide() {
    return _mm512_setzero_si512();
}
inline Wide load_wide(const int16_t* x) {
    return _mm512_loadu_si512(x);
}
inline Wide and_wide(Wide a, Wide b) {
    return _mm512_and_si512(a, b);
}
inline Wide subtract(Wide a, Wide b) {
    return _mm512_sub_epi16(a, b);
}
// Adds the sums of neighbouring products.
inline Wide add_products(Wide sum, Wide a, Wide b) {
    return _mm512_add_epi32(sum, _mm512_madd_epi16(a, b));
}
inline Wide add_wide(Wide a, Wide b) {
    return _mm512_add_epi32(a, b);
}
// Masked, since GCC 12 warns of its own header where a half is taken without a mask.
inline __m256i eight_lanes(Wide sum) {
    return _mm256_add_epi32(_mm512_maskz_extracti64x4_epi64(0xff, sum, 0),
                            _mm512_maskz_extracti64x4_epi64(0xff, sum, 1));
}
