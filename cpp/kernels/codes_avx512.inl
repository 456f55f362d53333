// Compact codes, what AVX-512 does in its own way.
namespace codes {

constexpr int kTileQueries = 8;  // at once: their sums are 16 of 32 registers

// The values at the set bits of one level: 32 dimensions at a time, the bits being a mask.
inline int64_t level_sum(const int16_t* values, const uint8_t* level, uint32_t dims) {
    const __m512i ones = _mm512_set1_epi16(1);
    // 32 bits hold 65,536 values of 4095.
    __m512i sums = _mm512_setzero_si512();
    uint32_t j = 0;
    for (; j + 32 <= dims; j += 32) {
        uint32_t bits;
        memcpy(&bits, level + j / 8, sizeof bits);
        const __m512i some = _mm512_maskz_loadu_epi16(bits, values + j);
        sums = _mm512_add_epi32(sums, _mm512_madd_epi16(some, ones));
    }
    if (j < dims) {
        uint32_t bits = 0;
        for (uint32_t b = 0; b < (dims - j + 7) / 8; ++b) {
            bits |= uint32_t(level[j / 8 + b]) << (8 * b);
        }
        const __m512i some = _mm512_maskz_loadu_epi16(bits & ((1u << (dims - j)) - 1), values + j);
        sums = _mm512_add_epi32(sums, _mm512_madd_epi16(some, ones));
    }
    alignas(64) int32_t lanes[16];
    _mm512_store_si512(lanes, sums);
    int64_t sum = 0;
    for (const int32_t lane : lanes) sum += lane;
    return sum;
}

}  // namespace codes
