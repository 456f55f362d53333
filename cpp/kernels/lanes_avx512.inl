// Sixteen floats, or eight doubles, side by side with AVX-512: see lanes_scalar.inl. With masks
// where GCC 12 would else warn of what its own header leaves undefined.
namespace lanes {

using Floats = __m512;
using Doubles = __m512d;

constexpr __mmask16 kAllFloats = 0xffff;
constexpr __mmask8 kAllDoubles = 0xff;

inline Floats load(const float* p) {
    return _mm512_loadu_ps(p);
}
inline void store(float* p, Floats x) {
    _mm512_storeu_ps(p, x);
}
inline Floats fill(float x) {
    return _mm512_set1_ps(x);
}
inline Doubles zeros() {
    return _mm512_setzero_pd();
}
inline Floats add(Floats x, Floats y) {
    return _mm512_add_ps(x, y);
}
inline Floats subtract(Floats x, Floats y) {
    return _mm512_sub_ps(x, y);
}
inline Floats multiply(Floats x, Floats y) {
    return _mm512_mul_ps(x, y);
}
inline Floats least(Floats x, Floats y) {
    return _mm512_maskz_min_ps(kAllFloats, x, y);
}
inline Floats magnitude(Floats x) {
    return _mm512_andnot_ps(_mm512_set1_ps(-0.0f), x);
}
inline Floats truncate(Floats x) {
    return _mm512_maskz_roundscale_ps(kAllFloats, x, _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC);
}
inline Floats with_sign(Floats x, Floats sign) {
    const __mmask16 rest = _mm512_cmp_ps_mask(sign, _mm512_setzero_ps(), _CMP_NGT_UQ);
    return _mm512_mask_xor_ps(x, rest, x, _mm512_set1_ps(-0.0f));
}
inline void store_bytes(uint8_t* p, Floats x) {
    const __m512i whole = _mm512_maskz_cvttps_epi32(kAllFloats, x);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_maskz_cvtepi32_epi8(kAllFloats, whole));
}

inline __m256 low_half(Floats x) {
    return _mm512_maskz_extractf32x8_ps(kAllDoubles, x, 0);
}
inline __m256 high_half(Floats x) {
    return _mm512_maskz_extractf32x8_ps(kAllDoubles, x, 1);
}
// Products of two floats are exact in double, so fusing them into the sum changes nothing.
inline void add_products(Doubles& sums, Floats x, Floats y) {
    sums = _mm512_fmadd_pd(_mm512_maskz_cvtps_pd(kAllDoubles, low_half(x)),
                           _mm512_maskz_cvtps_pd(kAllDoubles, low_half(y)), sums);
    sums = _mm512_fmadd_pd(_mm512_maskz_cvtps_pd(kAllDoubles, high_half(x)),
                           _mm512_maskz_cvtps_pd(kAllDoubles, high_half(y)), sums);
}
inline float sum(Floats x) {
    const __m256 eight = _mm256_add_ps(low_half(x), high_half(x));
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps(two, two, 1)));
}
inline double sum(Doubles x) {
    const __m256d four = _mm256_add_pd(_mm512_maskz_extractf64x4_pd(kAllDoubles, x, 0),
                                       _mm512_maskz_extractf64x4_pd(kAllDoubles, x, 1));
    const __m128d two = _mm_add_pd(_mm256_castpd256_pd128(four), _mm256_extractf128_pd(four, 1));
    return _mm_cvtsd_f64(_mm_add_sd(two, _mm_unpackhi_pd(two, two)));
}

inline uint64_t bits_of(const uint8_t* bytes, uint32_t bit) {
    return _mm512_test_epi8_mask(_mm512_loadu_si512(bytes), _mm512_set1_epi8(char(1u << bit)));
}

constexpr int kRadix = 16;  // rows of 16 floats that are transformed together: half the registers

// The Hadamard transform of 16 floats in the order 4, 8, 1, 2 of strides, as a matrix of 4 by 4
// that ends up transposed. Of each pair a, b it makes a + b and -1 * b + a.
inline Floats hadamard16(Floats x) {
    const __m512 by4 = _mm512_setr_ps(1, 1, 1, 1, -1, -1, -1, -1, 1, 1, 1, 1, -1, -1, -1, -1);
    const __m512 by8 = _mm512_setr_ps(1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1, -1, -1, -1);
    const __m512 by1 = _mm512_setr_ps(1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1);
    const __m512 by2 = _mm512_setr_ps(1, 1, -1, -1, 1, 1, -1, -1, 1, 1, -1, -1, 1, 1, -1, -1);
    x = _mm512_fmadd_ps(x, by4, _mm512_maskz_shuffle_f32x4(kAllFloats, x, x, 0xb1));
    x = _mm512_fmadd_ps(x, by8, _mm512_maskz_shuffle_f32x4(kAllFloats, x, x, 0x4e));
    x = _mm512_fmadd_ps(x, by1, _mm512_maskz_permute_ps(kAllFloats, x, 0xb1));
    x = _mm512_fmadd_ps(x, by2, _mm512_maskz_permute_ps(kAllFloats, x, 0x4e));
    const __m512i turned = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    return _mm512_maskz_permutexvar_ps(kAllFloats, turned, x);
}

}  // namespace lanes
