// Distances of rows as they are stored: the arithmetic.
//
//   d(q, x) = sum over bytes of popcount(q ^ x)
//
// The bits of a byte are two look-ups (vpshufb) in a table of sixteen, one for each half. Counts
// add up in bytes, at most 31 vectors before one could overflow; vpsadbw sums them into four 64-bit
// lanes. Lanes of sixteen rows are packed and added into one register of sixteen distances, in
// order. That holds for rows of up to kNarrowBytes, whose distances are positive 16-bit numbers.
//
// Bottleneck: 8 vector operations for 32 bytes and 2 for a row, 3 or 4 of them shuffles: 2.3 to 2.7
// cycles for 32 bytes where four operations and two shuffles can start in a cycle (Zen 5).
namespace bits {

constexpr size_t kNarrowBytes = 4095;

inline __m256i count_differences(const uint8_t* query, const uint8_t* row) {
    return count_bits(_mm256_xor_si256(load(query), load(row)));
}

inline uint64_t load_word(const uint8_t* p) {
    uint64_t word;
    std::memcpy(&word, p, 8);
    return word;
}

// A query whose rows are kVectors whole vectors.
template <int kVectors>
struct WholeVectors {
    const uint8_t* query;
    size_t n_bytes() const { return 32 * kVectors; }
    __m256i lanes(const uint8_t* row) const {
        __m256i counts = count_differences(query, row);
        for (int v = 1; v < kVectors; ++v) {
            counts = add_counts(counts, count_differences(query + 32 * v, row + 32 * v));
        }
        return sum_lanes(counts);
    }
};

alignas(32) constexpr uint8_t kByteMasks[96] = {
    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,
    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

// A query of any length. The bytes behind the last whole vector come from a load that ends where
// the row ends, or, if the row is shorter than that load, begins where it begins: then the row must
// lie kReach bytes or more before the end of the block.
struct AnyLength {
    static constexpr size_t kReach = 32;
    const uint8_t* query;
    size_t size, n_vectors, tail_at;
    const uint8_t* tail_mask;
    alignas(32) uint8_t short_query[32];

    AnyLength(const uint8_t* q, size_t n) : query(q), size(n), n_vectors(n / 32) {
        const size_t tail = n % 32;
        tail_at = n < 32 ? 0 : n - 32;
        tail_mask = n < 32 ? kByteMasks + 64 - tail : kByteMasks + tail;
        if (n < 32) {
            for (size_t b = 0; b < 32; ++b) short_query[b] = b < n ? q[b] : 0;
        }
    }
    size_t n_bytes() const { return size; }
    __m256i lanes(const uint8_t* row) const {
        const uint8_t* q = size < 32 ? short_query : query;
        __m256i counts = count_bits(_mm256_and_si256(
            _mm256_xor_si256(load(q + tail_at), load(row + tail_at)), load(tail_mask)));
        __m256i sums = _mm256_setzero_si256();
        size_t full = kFull - 1;
        for (size_t v = 0; v < n_vectors; ++v) {
            counts = add_counts(counts, count_differences(q + 32 * v, row + 32 * v));
            if (v + 1 == full) {
                sums = _mm256_add_epi64(sums, sum_lanes(counts));
                counts = _mm256_setzero_si256();
                full += kFull;
            }
        }
        return _mm256_add_epi64(sums, sum_lanes(counts));
    }
};

// Lanes 0 and 1 added, and lanes 2 and 3, of four registers: in each half one 32-bit sum of each.
inline __m256i add_lanes(__m256i a, __m256i b, __m256i c, __m256i d) {
    const __m256i lanes = _mm256_packus_epi32(_mm256_packus_epi32(a, b), _mm256_packus_epi32(c, d));
    return _mm256_madd_epi16(lanes, _mm256_set1_epi16(1));
}

// The distances of sixteen rows, row i at at(i). Rows are read in this order, which the prefetchers
// need (bits_rows_x86.inl).
template <class Query, class At>
inline __m256i sixteen_at(const Query& query, At at) {
    __m256i sums[4];
    for (size_t i = 0; i < 4; ++i) {
        const __m256i a = query.lanes(at(4 * i)), b = query.lanes(at(4 * i + 1));
        const __m256i c = query.lanes(at(4 * i + 2)), d = query.lanes(at(4 * i + 3));
        sums[i] = add_lanes(a, b, c, d);
    }
    const __m256i low = _mm256_packus_epi32(sums[0], sums[1]);
    const __m256i high = _mm256_packus_epi32(sums[2], sums[3]);
    return _mm256_add_epi16(_mm256_permute2x128_si256(low, high, 0x20),
                            _mm256_permute2x128_si256(low, high, 0x31));
}

// The distances of rows 0..15.
template <class Query>
inline __m256i sixteen(const Query& query, const uint8_t* rows) {
    return sixteen_at(query, [&](size_t i) { return rows + i * query.n_bytes(); });
}

// Rows of 16 bytes, two to a vector: rows i and i + 8, so that the distances come out in order.
struct Pairs {
    const uint8_t* query;
    size_t n_bytes() const { return 16; }
};

inline __m256i two_halves(const uint8_t* low, const uint8_t* high) {
    const __m128i* halves[2] = {reinterpret_cast<const __m128i*>(low),
                                reinterpret_cast<const __m128i*>(high)};
    return _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128(halves[0])),
                                   _mm_loadu_si128(halves[1]), 1);
}

inline __m256i lanes_of_pair(__m256i query, const uint8_t* row) {
    const __m256i x = two_halves(row, row + 8 * 16);
    return sum_lanes(count_bits(_mm256_xor_si256(query, x)));
}

inline __m256i sixteen(const Pairs& pairs, const uint8_t* rows) {
    const __m256i query = two_halves(pairs.query, pairs.query);
    __m256i sums[2];
    for (int i = 0; i < 2; ++i, rows += 4 * 16) {
        const __m256i a = lanes_of_pair(query, rows), b = lanes_of_pair(query, rows + 16);
        const __m256i c = lanes_of_pair(query, rows + 32), d = lanes_of_pair(query, rows + 48);
        sums[i] = add_lanes(a, b, c, d);
    }
    return _mm256_packus_epi32(sums[0], sums[1]);
}

// Rows of 8 bytes, four to a vector.
struct Quads {
    const uint8_t* query;
    size_t n_bytes() const { return 8; }
};

inline __m256i sixteen(const Quads& quads, const uint8_t* rows) {
    const __m256i query =
        _mm256_broadcastq_epi64(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(quads.query)));
    __m256i sums[4];
    for (int i = 0; i < 4; ++i) {
        sums[i] = sum_lanes(count_bits(_mm256_xor_si256(query, load(rows + 32 * i))));
    }
    // As 16-bit numbers: rows 0 1 4 5 8 9 12 13 in one half, 2 3 6 7 10 11 14 15 in the other.
    const __m256i mixed = _mm256_packus_epi32(_mm256_packus_epi32(sums[0], sums[1]),
                                              _mm256_packus_epi32(sums[2], sums[3]));
    const __m256i swapped = _mm256_permute4x64_epi64(mixed, 0x4e);
    return _mm256_permute2x128_si256(_mm256_unpacklo_epi32(mixed, swapped),
                                     _mm256_unpackhi_epi32(mixed, swapped), 0x20);
}

// Calls use with the query in the shape that is fastest for rows of 32 to kNarrowBytes bytes.
template <class Use>
inline void with_whole_rows(const uint8_t* query, size_t n_bytes, Use use) {
    switch (n_bytes) {
        case 32:
            return use(WholeVectors<1>{query});
        case 64:
            return use(WholeVectors<2>{query});
        case 96:
            return use(WholeVectors<3>{query});
        case 128:
            return use(WholeVectors<4>{query});
        case 256:
            return use(WholeVectors<8>{query});
        default:
            return use(AnyLength(query, n_bytes));
    }
}

// The same for shorter rows too, where they lie one behind the other.
template <class Use>
inline void with_shape(const uint8_t* query, size_t n_bytes, Use use) {
    if (n_bytes == 8) return use(Quads{query});
    if (n_bytes == 16) return use(Pairs{query});
    with_whole_rows(query, n_bytes, use);
}

inline uint32_t sum_of(__m256i lanes) {
    const __m128i two =
        _mm_add_epi64(_mm256_castsi256_si128(lanes), _mm256_extracti128_si256(lanes, 1));
    return uint32_t(_mm_cvtsi128_si64(_mm_add_epi64(two, _mm_unpackhi_epi64(two, two))));
}

// One distance, of a row of any length, reading nothing but the row.
inline uint32_t one_by_words(const uint8_t* query, const uint8_t* row, size_t n_bytes) {
    uint64_t sum = 0;
    size_t at = 0;
    for (; at + 8 <= n_bytes; at += 8) {
        sum += uint64_t(_mm_popcnt_u64(load_word(query + at) ^ load_word(row + at)));
    }
    for (; at < n_bytes; ++at) sum += uint64_t(_mm_popcnt_u64(uint64_t(query[at] ^ row[at])));
    return uint32_t(sum);
}
// The same, the faster way.
inline uint32_t one_distance(const uint8_t* query, const uint8_t* row, size_t n_bytes) {
    if (n_bytes < 64) return one_by_words(query, row, n_bytes);
    return sum_of(AnyLength(query, n_bytes).lanes(row));
}

}  // namespace bits
