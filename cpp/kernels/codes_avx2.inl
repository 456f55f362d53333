// Compact codes, what AVX2 does in its own way.
namespace codes {

constexpr int kTileQueries = 4;  // at once: their sums are 8 of 16 registers

constexpr uint32_t kByteGroups = 1;  // summed together by their bytes

// What a table of 16 << kBits entries holds for the codes' kBits + 4 lower bits, of which the
// fifth and on come as masks in each byte's highest bit: the halves' answers, and one chosen.
template <int kBits>
NEARBIT_HOT __m256i look_up(const uint8_t* table, __m256i low, const __m256i* masks) {
    if constexpr (kBits == 0) {
        const __m128i* const entries = reinterpret_cast<const __m128i*>(table);
        return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_load_si128(entries)), low);
    } else {
        return _mm256_blendv_epi8(look_up<kBits - 1>(table, low, masks),
                                  look_up<kBits - 1>(table + (8 << kBits), low, masks),
                                  masks[kBits - 1]);
    }
}

// The sums of n_bytes <= 256 bytes of a group. A byte is 42 operations: 16 look-ups in registers
// and 15 choices between them.
NEARBIT_HOT void add_bytes(const uint8_t* tables, const uint8_t* const (&payloads)[kByteGroups],
                           size_t n_bytes, Sums (&out)[kByteGroups]) {
    const __m256i half = _mm256_set1_epi8(0x0f);
    __m256i all = _mm256_setzero_si256(), odd = all;
    for (size_t b = 0; b < n_bytes; ++b) {
        const uint8_t* const at = payloads[0] + kLanes * b;
        const __m256i codes = _mm256_load_si256(reinterpret_cast<const __m256i*>(at));
        // The bits above a byte's own come from its neighbour, and below the mask.
        const __m256i masks[4] = {_mm256_slli_epi16(codes, 3), _mm256_slli_epi16(codes, 2),
                                  _mm256_slli_epi16(codes, 1), codes};
        const __m256i found = look_up<4>(tables + 256 * b, _mm256_and_si256(codes, half), masks);
        all = _mm256_add_epi16(all, found);
        odd = _mm256_add_epi16(odd, _mm256_srli_epi16(found, 8));
    }
    out[0] = Sums::of(all, odd);
}

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
