// Compact codes, what AVX2 does in its own way.
namespace codes {

constexpr int kTileQueries = 4;  // at once: their sums are 8 of 16 registers

// The values at the set bits of one level: 16 dimensions at a time, 6 operations.
inline int64_t level_sum(const int16_t* values, const uint8_t* level, uint32_t dims) {
    const __m256i bit = _mm256_setr_epi16(1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096,
                                          8192, 16384, int16_t(0x8000));
    const __m256i ones = _mm256_set1_epi16(1);
    // 32 bits hold 65,536 values of 4095.
    __m256i sums = _mm256_setzero_si256();
    uint32_t j = 0;
    for (; j + 16 <= dims; j += 16) {
        uint16_t bits;
        memcpy(&bits, level + j / 8, sizeof bits);
        const __m256i set =
            _mm256_cmpeq_epi16(_mm256_and_si256(_mm256_set1_epi16(int16_t(bits)), bit), bit);
        const __m256i some =
            _mm256_and_si256(set, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(values + j)));
        sums = _mm256_add_epi32(sums, _mm256_madd_epi16(some, ones));
    }
    __m128i four = _mm_add_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256(sums, 1));
    four = _mm_add_epi32(four, _mm_unpackhi_epi64(four, four));
    const uint64_t two = uint64_t(_mm_cvtsi128_si64(four));
    int64_t sum = int64_t(int32_t(two)) + int32_t(two >> 32);
    for (; j < dims; ++j) sum += (level[j / 8] >> (j % 8) & 1) * values[j];
    return sum;
}

}  // namespace codes
