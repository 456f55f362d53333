// What nearest_x86.inl is written in, for AVX-512: sixteen floats, and sixteen numbers of
// centroids.
using Floats = __m512;
using Numbers = __m512i;
// Eight centroids by two vectors of rows. Six are slower on long rows (84 GFLOP/s; eight and twelve
// 110, Zen 4, 384 x 1,024), and twelve waste a third of a panel where k is 16.
enum : uint32_t { kFloats = 16, kPanelCentroids = 8 };

inline Floats all_floats(const float* x) {
    return _mm512_set1_ps(*x);
}
inline Floats load_floats(const float* x) {
    return _mm512_load_ps(x);
}
inline void store_floats(float* x, Floats v) {
    _mm512_store_ps(x, v);
}
inline Numbers load_numbers(const uint32_t* x) {
    return _mm512_load_si512(x);
}
inline void store_numbers(uint32_t* x, Numbers v) {
    _mm512_store_si512(x, v);
}
inline Numbers all_numbers(uint32_t x) {
    return _mm512_set1_epi32(int(x));
}
// sum - a * b, rounded once
inline Floats subtract_product(Floats a, Floats b, Floats sum) {
    return _mm512_fnmadd_ps(a, b, sum);
}
// Where score < best, score and its number take the place of best and its own.
inline void keep_less(Floats score, Numbers number, Floats& best, Numbers& best_number) {
    const __mmask16 less = _mm512_cmp_ps_mask(score, best, _CMP_LT_OQ);
    best = _mm512_mask_mov_ps(best, less, score);
    best_number = _mm512_mask_mov_epi32(best_number, less, number);
}
// a <= b ? yes : no
inline Floats where_at_most(Floats a, Floats b, Floats yes, Floats no) {
    return _mm512_mask_mov_ps(no, _mm512_cmp_ps_mask(a, b, _CMP_LE_OQ), yes);
}
