// Sixteen floats, or eight doubles, side by side with AVX2: see lanes_scalar.inl.
namespace lanes {

struct Floats {
    __m256 a, b;
};
struct Doubles {
    __m256d a, b;
};

inline Floats load(const float* p) {
    return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)};
}
inline void store(float* p, const Floats& x) {
    _mm256_storeu_ps(p, x.a);
    _mm256_storeu_ps(p + 8, x.b);
}
inline Floats fill(float x) {
    return {_mm256_set1_ps(x), _mm256_set1_ps(x)};
}
inline Doubles zeros() {
    return {_mm256_setzero_pd(), _mm256_setzero_pd()};
}
inline Floats add(const Floats& x, const Floats& y) {
    return {_mm256_add_ps(x.a, y.a), _mm256_add_ps(x.b, y.b)};
}
inline Floats subtract(const Floats& x, const Floats& y) {
    return {_mm256_sub_ps(x.a, y.a), _mm256_sub_ps(x.b, y.b)};
}
inline Floats multiply(const Floats& x, const Floats& y) {
    return {_mm256_mul_ps(x.a, y.a), _mm256_mul_ps(x.b, y.b)};
}
inline Floats least(const Floats& x, const Floats& y) {
    return {_mm256_min_ps(x.a, y.a), _mm256_min_ps(x.b, y.b)};
}
inline Floats magnitude(const Floats& x) {
    const __m256 sign = _mm256_set1_ps(-0.0f);
    return {_mm256_andnot_ps(sign, x.a), _mm256_andnot_ps(sign, x.b)};
}
inline Floats truncate(const Floats& x) {
    constexpr int kToZero = _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC;
    return {_mm256_round_ps(x.a, kToZero), _mm256_round_ps(x.b, kToZero)};
}
inline __m256 with_sign(__m256 x, __m256 sign) {
    const __m256 positive = _mm256_cmp_ps(sign, _mm256_setzero_ps(), _CMP_GT_OQ);
    return _mm256_xor_ps(x, _mm256_andnot_ps(positive, _mm256_set1_ps(-0.0f)));
}
inline Floats with_sign(const Floats& x, const Floats& sign) {
    return {with_sign(x.a, sign.a), with_sign(x.b, sign.b)};
}
inline void store_bytes(uint8_t* p, const Floats& x) {
    const __m256i words = _mm256_packus_epi32(_mm256_cvttps_epi32(x.a), _mm256_cvttps_epi32(x.b));
    const __m256i in_order = _mm256_permute4x64_epi64(words, 0xd8);
    _mm_storeu_si128(
        reinterpret_cast<__m128i*>(p),
        _mm_packus_epi16(_mm256_castsi256_si128(in_order), _mm256_extracti128_si256(in_order, 1)));
}

// Products of two floats are exact in double, so fusing them into the sum changes nothing.
inline void add_products(Doubles& sums, __m256 x, __m256 y) {
    sums.a = _mm256_fmadd_pd(_mm256_cvtps_pd(_mm256_castps256_ps128(x)),
                             _mm256_cvtps_pd(_mm256_castps256_ps128(y)), sums.a);
    sums.b = _mm256_fmadd_pd(_mm256_cvtps_pd(_mm256_extractf128_ps(x, 1)),
                             _mm256_cvtps_pd(_mm256_extractf128_ps(y, 1)), sums.b);
}
inline void add_products(Doubles& sums, const Floats& x, const Floats& y) {
    add_products(sums, x.a, y.a);
    add_products(sums, x.b, y.b);
}
inline float sum(const Floats& x) {
    const __m256 eight = _mm256_add_ps(x.a, x.b);
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps(two, two, 1)));
}
inline double sum(const Doubles& x) {
    const __m256d four = _mm256_add_pd(x.a, x.b);
    const __m128d two = _mm_add_pd(_mm256_castpd256_pd128(four), _mm256_extractf128_pd(four, 1));
    return _mm_cvtsd_f64(_mm_add_sd(two, _mm_unpackhi_pd(two, two)));
}

inline uint64_t bits_of(const uint8_t* bytes, uint32_t bit) {
    const __m128i left = _mm_cvtsi32_si128(int(7 - bit));  // up to each byte's highest
    const auto* const at = reinterpret_cast<const __m256i*>(bytes);
    const __m256i low = _mm256_sll_epi16(_mm256_loadu_si256(at), left);
    const __m256i high = _mm256_sll_epi16(_mm256_loadu_si256(at + 1), left);
    return uint32_t(_mm256_movemask_epi8(low)) | uint64_t(uint32_t(_mm256_movemask_epi8(high)))
                                                     << 32;
}

// x + y where the lane has the sign +, y - x elsewhere: a step of a Hadamard transform, if y is x
// with the lanes of each pair swapped.
inline __m256 plus_minus(__m256 x, __m256 y, __m256 signs) {
    return _mm256_fmadd_ps(x, signs, y);
}

constexpr int kRadix = 4;  // rows of 16 floats that are transformed together: half the registers

// The Hadamard transform of 16 floats in the order 4, 8, 1, 2 of strides, as a matrix of 4 by 4
// that ends up transposed.
inline Floats hadamard16(const Floats& x) {
    const __m256 by4 = _mm256_setr_ps(1, 1, 1, 1, -1, -1, -1, -1);
    const __m256 by1 = _mm256_setr_ps(1, -1, 1, -1, 1, -1, 1, -1);
    const __m256 by2 = _mm256_setr_ps(1, 1, -1, -1, 1, 1, -1, -1);
    const __m256 a4 = plus_minus(x.a, _mm256_permute2f128_ps(x.a, x.a, 1), by4);
    const __m256 b4 = plus_minus(x.b, _mm256_permute2f128_ps(x.b, x.b, 1), by4);
    __m256 a = _mm256_add_ps(a4, b4), b = _mm256_sub_ps(a4, b4);
    a = plus_minus(a, _mm256_permute_ps(a, 0xb1), by1);
    b = plus_minus(b, _mm256_permute_ps(b, 0xb1), by1);
    a = plus_minus(a, _mm256_permute_ps(a, 0x4e), by2);
    b = plus_minus(b, _mm256_permute_ps(b, 0x4e), by2);
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    return {_mm256_permutevar8x32_ps(_mm256_unpacklo_ps(a, b), order),
            _mm256_permutevar8x32_ps(_mm256_unpackhi_ps(a, b), order)};
}

}  // namespace lanes
