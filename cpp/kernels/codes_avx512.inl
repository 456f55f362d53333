// Compact codes, what AVX-512 does in its own way.
namespace codes {

constexpr int kTileQueries = 8;  // at once: their sums are 16 of 32 registers

constexpr uint32_t kByteGroups = 4;  // summed together by their bytes
// The sums of n_bytes <= 256 bytes of each group, two groups in a vector: two look-ups among 128
// entries and a choice between them.
NEARBIT_HOT void add_bytes(const uint8_t* tables, const uint8_t* const (&payloads)[kByteGroups],
                           size_t n_bytes, Sums (&out)[kByteGroups]) {
    constexpr uint32_t kPairs = kByteGroups / 2;
    __m512i all[kPairs], odd[kPairs];
    for (uint32_t p = 0; p < kPairs; ++p) all[p] = odd[p] = _mm512_setzero_si512();
    for (size_t b = 0; b < n_bytes; ++b, tables += 256) {
        // Four groups at once are four streams: half as fast from memory without (Zen 4).
        const auto* const ahead = reinterpret_cast<const char*>(payloads[0]) + kAhead;
        for (uint32_t i = 0; i < kByteGroups * kLanes; i += 64) {
            _mm_prefetch(ahead + kByteGroups * kLanes * b + i, _MM_HINT_T1);
        }
        const __m512i t0 = _mm512_load_si512(tables), t1 = _mm512_load_si512(tables + 64);
        const __m512i t2 = _mm512_load_si512(tables + 128), t3 = _mm512_load_si512(tables + 192);
        for (uint32_t p = 0; p < kPairs; ++p) {
            const auto* const at = payloads[2 * p] + kLanes * b;
            const auto* const behind = payloads[2 * p + 1] + kLanes * b;
            // With a mask, else GCC 12 warns of what its own header leaves undefined.
            const __m512i codes = _mm512_maskz_inserti64x4(
                0xff,
                _mm512_castsi256_si512(_mm256_load_si256(reinterpret_cast<const __m256i*>(at))),
                _mm256_load_si256(reinterpret_cast<const __m256i*>(behind)), 1);
            const __m512i found = _mm512_mask_blend_epi8(_mm512_movepi8_mask(codes),
                                                         _mm512_permutex2var_epi8(t0, codes, t1),
                                                         _mm512_permutex2var_epi8(t2, codes, t3));
            all[p] = _mm512_add_epi16(all[p], found);
            odd[p] = _mm512_add_epi16(odd[p], _mm512_srli_epi16(found, 8));
        }
    }
    alignas(64) __m256i both[2 * kByteGroups];
    for (uint32_t p = 0; p < kPairs; ++p) {
        _mm512_store_si512(both + 4 * p, all[p]);
        _mm512_store_si512(both + 4 * p + 2, odd[p]);
        for (uint32_t i = 0; i < 2; ++i) {
            out[2 * p + i] = Sums::of(both[4 * p + i], both[4 * p + 2 + i]);
        }
    }
}

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
