// A few queries: the bytes of 64 rows in columns, looked up in tables that the query chooses.
//
//   d(q, x) = sum over half bytes of T[q_h][x_h],    T[v][w] = popcount(v ^ w)
//
// A column is one byte of 32 rows. Its half bytes index (vpshufb) the sixteen entries of T that a
// query's half byte picks, so a query costs two look-ups and two additions for 32 bytes; splitting
// the column is shared by the queries, up to three at a time, and each table, loaded once, serves
// two columns. Bytes hold the counts of 31 columns, then they are added up in 16 bits.
//
// Bottleneck: the two shuffles in a cycle, 1 cycle for 32 bytes and a query, and 1 / queries for
// the columns.
namespace bits {

constexpr size_t kLookupRows = 64, kColumn = 32, kAtOnce = 3;

struct HalfByteDistances {
    alignas(16) uint8_t of[16][16];
    constexpr HalfByteDistances() : of() {
        for (int v = 0; v < 16; ++v) {
            for (int w = 0; w < 16; ++w) of[v][w] = uint8_t(kBitsOfHalf[v ^ w]);
        }
    }
};
constexpr HalfByteDistances kHalfByteDistances;

inline __m256i distances_from(uint8_t half_times_16) {
    const uint8_t* const table = &kHalfByteDistances.of[0][0] + half_times_16;
    return _mm256_broadcastsi128_si256(_mm_load_si128(reinterpret_cast<const __m128i*>(table)));
}

// Queries as offsets into the tables: for each byte, sixteen times its low half and its high half.
inline void make_offsets(const uint8_t* queries, size_t n, uint8_t* offsets) {
    for (size_t b = 0; b < n; ++b) {
        offsets[2 * b] = uint8_t(queries[b] << 4);
        offsets[2 * b + 1] = queries[b] & 0xf0;
    }
}

// Columns of n <= 64 rows: of rows 0..31, and kColumn * column_count(n_bytes) behind, of the
// others.
inline size_t column_count(size_t n_bytes) {
    return (n_bytes + kPiece - 1) / kPiece * kPiece;
}

inline void make_columns(const uint8_t* rows, size_t n_bytes, size_t n, uint8_t* columns) {
    for (size_t at = 0; at < n_bytes; at += kPiece) {
        const size_t width = n_bytes - at < kPiece ? n_bytes - at : kPiece;
        const Pieces<kLookupRows> pieces(rows + at, n_bytes, n, width);
        for (size_t h = 0; h < 2; ++h) {
            __m256i v[16], w[16];
            for (size_t i = 0; i < 16; ++i) {
                v[i] = two_halves(pieces.row(32 * h + i), pieces.row(32 * h + i + 16));
            }
            transpose_bytes(v, w);
            uint8_t* const out = columns + (h * column_count(n_bytes) + at) * kColumn;
            for (size_t b = 0; b < kPiece; ++b) store(out + b * kColumn, w[b]);
        }
    }
}

// Distances from kQueries queries: for each and each 32 rows, first those of rows 0..7 and 16..23,
// then the others.
template <size_t kQueries>
inline void look_up(const uint8_t* offsets, size_t n_bytes, const uint8_t* columns,
                    __m256i (*distances)[2][2]) {
    const __m256i half = _mm256_set1_epi8(0x0f), zero = _mm256_setzero_si256();
    const uint8_t* const others = columns + column_count(n_bytes) * kColumn;
    for (size_t q = 0; q < kQueries; ++q) {
        for (int i = 0; i < 4; ++i) distances[q][i / 2][i % 2] = zero;
    }
    for (size_t b = 0; b < n_bytes;) {
        const size_t end = n_bytes - b < kPiece ? n_bytes : b + kPiece;
        __m256i counts[kQueries][2];
        for (size_t q = 0; q < kQueries; ++q) counts[q][0] = counts[q][1] = zero;
        for (; b < end; ++b) {
            const __m256i x = load(columns + b * kColumn), y = load(others + b * kColumn);
            const __m256i x_low = _mm256_and_si256(x, half), y_low = _mm256_and_si256(y, half);
            const __m256i x_high = _mm256_and_si256(_mm256_srli_epi16(x, 4), half);
            const __m256i y_high = _mm256_and_si256(_mm256_srli_epi16(y, 4), half);
            for (size_t q = 0; q < kQueries; ++q) {
                const uint8_t* const at = offsets + 2 * (q * n_bytes + b);
                const __m256i low = distances_from(at[0]), high = distances_from(at[1]);
                counts[q][0] = _mm256_add_epi8(counts[q][0], _mm256_shuffle_epi8(low, x_low));
                counts[q][1] = _mm256_add_epi8(counts[q][1], _mm256_shuffle_epi8(low, y_low));
                counts[q][0] = _mm256_add_epi8(counts[q][0], _mm256_shuffle_epi8(high, x_high));
                counts[q][1] = _mm256_add_epi8(counts[q][1], _mm256_shuffle_epi8(high, y_high));
            }
        }
        for (size_t q = 0; q < kQueries; ++q) {
            for (int h = 0; h < 2; ++h) {
                distances[q][h][0] =
                    _mm256_add_epi16(distances[q][h][0], _mm256_unpacklo_epi8(counts[q][h], zero));
                distances[q][h][1] =
                    _mm256_add_epi16(distances[q][h][1], _mm256_unpackhi_epi8(counts[q][h], zero));
            }
        }
    }
}

// Up to three queries, the first of them numbered `number`, against rows row..row+63.
template <size_t kQueries>
void report_within(const uint8_t* offsets, size_t n_bytes, const uint8_t* columns, uint32_t number,
                   const int32_t* thresholds, uint32_t row, uint64_t admitted_rows, Sink* sink) {
    __m256i distances[kQueries][2][2];
    look_up<kQueries>(offsets, n_bytes, columns, distances);
    for (uint32_t q = 0; q < kQueries; ++q) {
        const __m256i limit = limits_of(thresholds[q]);
        uint64_t within = 0;
        for (int h = 0; h < 2; ++h) {
            const __m256i below = _mm256_packs_epi16(_mm256_cmpgt_epi16(limit, distances[q][h][0]),
                                                     _mm256_cmpgt_epi16(limit, distances[q][h][1]));
            within |= uint64_t(uint32_t(_mm256_movemask_epi8(below))) << (32 * h);
        }
        within &= admitted_rows;
        if (within == 0) continue;
        alignas(32) uint16_t d[64];
        for (int i = 0; i < 4; ++i) store(d + 16 * i, distances[q][i / 2][i % 2]);
        make_room(sink);
        for (; within != 0; within &= within - 1) {
            const uint32_t i = uint32_t(_tzcnt_u64(within));
            // The bits of i that say which register, which half and which place.
            const uint32_t place = (i & 32) | (i & 8) << 1 | (i & 16) >> 1 | (i & 7);
            report(sink, number + q, row + i, float(d[place]));
        }
    }
}

inline size_t lookup_workspace(size_t n_bytes) {
    return 2 * kColumn * column_count(n_bytes);
}

void tile_by_lookups(const uint8_t* offsets, uint32_t nq, size_t n_bytes, const BitsBlock& block,
                     const int32_t* thresholds, uint8_t* columns, Sink* sink) {
    for (uint32_t row = 0; row < block.n; row += kLookupRows) {
        const size_t n = block.n - row < kLookupRows ? block.n - row : kLookupRows;
        uint64_t rows = n == 64 ? ~uint64_t(0) : (uint64_t(1) << n) - 1;
        if (block.admit != nullptr) rows &= block.admit[row / 64];
        if (rows == 0) continue;
        make_columns(block.rows + row * n_bytes, n_bytes, n, columns);
        for (uint32_t q = 0; q < nq; q += kAtOnce) {
            const auto use = [&](auto run) {
                run(offsets + 2 * q * n_bytes, n_bytes, columns, q, thresholds + q, row, rows,
                    sink);
            };
            switch (nq - q) {
                case 1:
                    use(report_within<1>);
                    break;
                case 2:
                    use(report_within<2>);
                    break;
                default:
                    use(report_within<3>);
            }
        }
    }
}

}  // namespace bits
