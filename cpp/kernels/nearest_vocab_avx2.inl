// What nearest_x86.inl is written in, for AVX2: eight floats, and eight numbers of centroids.
using Floats = __m256;
using Numbers = __m256i;
// Six centroids by two vectors of rows: 12 sums and what they are made of fill the 16 registers.
enum : uint32_t { kFloats = 8, kPanelCentroids = 6 };

inline Floats all_floats(const float* x) {
    return _mm256_broadcast_ss(x);
}
inline Floats load_floats(const float* x) {
    return _mm256_load_ps(x);
}
inline void store_floats(float* x, Floats v) {
    _mm256_store_ps(x, v);
}
inline Numbers load_numbers(const uint32_t* x) {
    return _mm256_load_si256(reinterpret_cast<const __m256i*>(x));
}
inline void store_numbers(uint32_t* x, Numbers v) {
    _mm256_store_si256(reinterpret_cast<__m256i*>(x), v);
}
inline Numbers all_numbers(uint32_t x) {
    return _mm256_set1_epi32(int(x));
}
// sum - a * b, rounded once
inline Floats subtract_product(Floats a, Floats b, Floats sum) {
    return _mm256_fnmadd_ps(a, b, sum);
}
// Where score < best, score and its number take the place of best and its own.
inline void keep_less(Floats score, Numbers number, Floats& best, Numbers& best_number) {
    const Floats less = _mm256_cmp_ps(score, best, _CMP_LT_OQ);
    best = _mm256_blendv_ps(best, score, less);
    best_number = _mm256_castps_si256(
        _mm256_blendv_ps(_mm256_castsi256_ps(best_number), _mm256_castsi256_ps(number), less));
}
// a <= b ? yes : no
inline Floats where_at_most(Floats a, Floats b, Floats yes, Floats no) {
    return _mm256_blendv_ps(no, yes, _mm256_cmp_ps(a, b, _CMP_LE_OQ));
}
