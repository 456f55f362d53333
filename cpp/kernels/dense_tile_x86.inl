// Many queries against a block of dense rows: alpha * f + (beta + gamma * f) * <q, x> against a
// bound.
//
// Bound by FMA, two of eight lanes a cycle: 110-124 of 128 GFLOP/s on Zen 5 for 8 to 1000 queries.

// Brings the rows of the next piece into L2, a few lines at every call, while this piece is worked
// on: else the processor waits for memory at the start of each. Batches of 8 from memory went from
// 42-52 to 84-97 GFLOP/s, of 32 from 77-90 to 115 (Zen 5, bench/native/dense.cpp); in L3 those of 8
// lose a fifth. Asking for a row's lines in one tight loop is worse from memory (50-75).
struct Prefetch {
    const char* rows;
    size_t row_bytes;
    const uint32_t* row;
    uint32_t n, done = 0;
    size_t at = 0, lines_in_call;

    Prefetch(const DenseBlock& block, size_t dim, const uint32_t* row_, uint32_t n_, size_t n_calls)
        : rows(reinterpret_cast<const char*>(block.rows)),
          row_bytes(dim * sizeof(float)),
          row(row_),
          n(n_),
          lines_in_call((n * ((row_bytes + 63) / 64) + n_calls - 1) / n_calls) {}

    NEARBIT_HOT void step() {
        for (size_t i = 0; i < lines_in_call && done < n; ++i) {
            _mm_prefetch(rows + row[done] * row_bytes + at, _MM_HINT_T1);
            at += 64;
            if (at >= row_bytes) at = 0, ++done;
        }
    }
};

// The admitted rows of a block, in order.
struct AdmittedRows {
    const uint64_t* admit;
    uint32_t next, end;

    // Puts up to n of the rows that follow into row; returns how many, 0 at the end.
    uint32_t take(uint32_t n, uint32_t* row) {
        uint32_t taken = 0;
        if (admit == nullptr) {
            taken = end - next < n ? end - next : n;
            for (uint32_t i = 0; i < taken; ++i) row[i] = next + i;
            next += taken;
            return taken;
        }
        while (taken < n && next < end) {
            const uint64_t bits = admit[next / 64] >> next % 64;
            next += bits ? uint32_t(_tzcnt_u64(bits)) : 64 - next % 64;
            if (bits && next < end) row[taken++] = next++;
        }
        return taken;
    }
};

// These rows in pieces, the next one known ahead. The first are small, as it is
// after them that the bounds of a search that has just begun exclude anything.
template <uint32_t kMost>
struct Pieces {
    AdmittedRows cursor;
    uint32_t at_once = 16, most;
    uint32_t room[2][kMost + 2];
    uint32_t *row = room[0], *next = room[1];
    uint32_t n, n_next;

    Pieces(const DenseBlock& block, uint32_t most_)
        : cursor{block.admit, 0, block.n}, most(most_), n(take(row)), n_next(take(next)) {}

    uint32_t take(uint32_t* to) {
        const uint32_t taken = cursor.take(at_once < most ? at_once : most, to);
        at_once = 2 * at_once < most ? 2 * at_once : most;
        return taken;
    }

    void advance() {
        uint32_t* const done = row;
        row = next;
        n = n_next;
        next = done;
        n_next = take(next);
    }
};

// ------------------------------------------------------------------------------------- few queries

// out[r] = dots of row r with the four queries. 12 sums, 3 row vectors and 1 query vector fill the
// 16 registers; 12 FMA for 7 loads.
NEARBIT_HOT void dots_4x3(const float* const (&q)[4], const float* const (&x)[3], size_t dim,
                          __m128 (&out)[3]) {
    __m256 a0 = _mm256_setzero_ps(), a1 = a0, a2 = a0, b0 = a0, b1 = a0, b2 = a0;
    __m256 c0 = a0, c1 = a0, c2 = a0, d0 = a0, d1 = a0, d2 = a0;
    const auto step = [&](auto load) {
        const __m256 x0 = load(x[0]), x1 = load(x[1]), x2 = load(x[2]);
        __m256 y = load(q[0]);
        a0 = _mm256_fmadd_ps(y, x0, a0);
        a1 = _mm256_fmadd_ps(y, x1, a1);
        a2 = _mm256_fmadd_ps(y, x2, a2);
        y = load(q[1]);
        b0 = _mm256_fmadd_ps(y, x0, b0);
        b1 = _mm256_fmadd_ps(y, x1, b1);
        b2 = _mm256_fmadd_ps(y, x2, b2);
        y = load(q[2]);
        c0 = _mm256_fmadd_ps(y, x0, c0);
        c1 = _mm256_fmadd_ps(y, x1, c1);
        c2 = _mm256_fmadd_ps(y, x2, c2);
        y = load(q[3]);
        d0 = _mm256_fmadd_ps(y, x0, d0);
        d1 = _mm256_fmadd_ps(y, x1, d1);
        d2 = _mm256_fmadd_ps(y, x2, d2);
    };
    size_t j = 0;
    for (; j + 8 <= dim; j += 8) step([=](const float* p) { return _mm256_loadu_ps(p + j); });
    if (j < dim && j > 0) {
        const __m256 fresh = last_lanes(dim - j);
        step([=](const float* p) { return _mm256_and_ps(_mm256_loadu_ps(p + dim - 8), fresh); });
    } else if (j < dim) {
        step([=](const float* p) { return _mm256_maskload_ps(p, first_lanes(dim)); });
    }
    out[0] = sum_lanes(a0, b0, c0, d0);
    out[1] = sum_lanes(a1, b1, c1, d1);
    out[2] = sum_lanes(a2, b2, c2, d2);
}

enum : uint32_t { kMostFewRows = 384, kFewBytes = 24 << 10 };  // rows in L1 beside four queries

// Four queries by three rows, in place, for batches too small to pay for packing. Groups that are
// not full repeat a query or a row.
void tile_few(const DenseTile& tile, size_t dim, const DenseBlock& block, Sink* sink) {
    const size_t fitting = kFewBytes / sizeof(float) / dim / 3 * 3;
    const uint32_t at_once = fitting < 3              ? 3
                             : fitting > kMostFewRows ? kMostFewRows
                                                      : uint32_t(fitting);
    const size_t n_groups = (tile.nq + 3) / 4;
    for (Pieces<kMostFewRows> pieces(block, at_once); pieces.n != 0; pieces.advance()) {
        uint32_t* const row = pieces.row;
        const uint32_t n = pieces.n;
        Prefetch prefetch(block, dim, pieces.next, pieces.n_next, n_groups * ((n + 2) / 3));
        row[n] = row[n + 1] = row[n - 1];
        for (uint32_t q = 0; q < tile.nq; q += 4) {
            const uint32_t n_queries = tile.nq - q < 4 ? tile.nq - q : 4;
            const float* queries[4];
            alignas(16) float alpha[4];
            alignas(16) float bound[4];
            for (uint32_t i = 0; i < 4; ++i) {
                const uint32_t from = q + (i < n_queries ? i : n_queries - 1);
                queries[i] = tile.queries + from * dim;
                alpha[i] = tile.alpha[from];
                bound[i] = tile.bound[from];
            }
            const __m128 alphas = _mm_load_ps(alpha);
            __m128 bounds = _mm_load_ps(bound);
            for (uint32_t i = 0; i < n; i += 3) {
                const float* const rows[3] = {block.rows + row[i] * dim,
                                              block.rows + row[i + 1] * dim,
                                              block.rows + row[i + 2] * dim};
                __m128 dots[3];
                prefetch.step();
                dots_4x3(queries, rows, dim, dots);
                uint32_t near = 0;
                for (uint32_t r = 0; r < 3; ++r) {
                    const float f = block.factors[row[i + r]];
                    const __m128 slope = _mm_set1_ps(tile.beta + tile.gamma * f);
                    const __m128 score =
                        _mm_fmadd_ps(alphas, _mm_set1_ps(f), _mm_mul_ps(slope, dots[r]));
                    near |= uint32_t(_mm_movemask_ps(_mm_cmple_ps(score, bounds))) << 4 * r;
                }
                if (near == 0) continue;
                if (make_room(sink)) {
                    for (uint32_t k = 0; k < n_queries; ++k) bound[k] = tile.bound[q + k];
                    bounds = _mm_load_ps(bound);
                }
                for (; near != 0; near = _blsr_u32(near)) {
                    const uint32_t lane = _tzcnt_u32(near);
                    if (lane % 4 < n_queries && i + lane / 4 < n) {
                        report(sink, q + lane % 4, row[i + lane / 4], 0);
                    }
                }
            }
        }
    }
}

// -------------------------------------------------------------------------------- many queries

enum : uint32_t {
    // Below, packing costs more than it saves: as fast at 66 queries, 20 % slower at 32 (Zen 5).
    kPackFrom = 64,
    kPanelQueries = 6,
    kPanelRows = 16,
    kMostPanelRows = 1024,
    kPackedBytes = 256 << 10,  // of rows packed at a time: they stay in L2 under all the queries
};

// A panel of packed rows: [dim][16] values, then the 16 factors, then the 16 slopes.
inline size_t row_panel_size(size_t dim) {
    return (dim + 2) * kPanelRows;
}

inline uint32_t packed_rows(size_t dim) {
    const size_t fitting = kPackedBytes / sizeof(float) / dim / kPanelRows * kPanelRows;
    return fitting < kPanelRows       ? uint32_t(kPanelRows)
           : fitting > kMostPanelRows ? uint32_t(kMostPanelRows)
                                      : uint32_t(fitting);
}

size_t dense_tile_workspace(size_t dim) {
    return packed_rows(dim) / kPanelRows * row_panel_size(dim);
}

size_t dense_packed_size(size_t nq, size_t dim) {
    return (nq + kPanelQueries - 1) / kPanelQueries * kPanelQueries * dim;
}

// Panels of six queries, [dim][6]; the last one is filled up with zeros.
void dense_pack_queries(const float* queries, size_t nq, size_t dim, float* panels) {
    for (size_t first = 0; first < nq; first += kPanelQueries) {
        for (size_t j = 0; j < dim; ++j) {
            for (size_t q = first; q < first + kPanelQueries; ++q) {
                *panels++ = q < nq ? queries[q * dim + j] : 0.0f;
            }
        }
    }
}

// Eight dimensions of eight rows, turned into eight rows of a panel, kStride floats apart; the
// first n of them are stored.
template <size_t kStride, class Load>
NEARBIT_HOT void transpose_8x8(const float* const* x, Load load, float* out, size_t n) {
    const __m256 r0 = load(x[0]), r1 = load(x[1]), r2 = load(x[2]), r3 = load(x[3]);
    const __m256 r4 = load(x[4]), r5 = load(x[5]), r6 = load(x[6]), r7 = load(x[7]);
    const __m256 s0 = _mm256_unpacklo_ps(r0, r1), s1 = _mm256_unpackhi_ps(r0, r1);
    const __m256 s2 = _mm256_unpacklo_ps(r2, r3), s3 = _mm256_unpackhi_ps(r2, r3);
    const __m256 s4 = _mm256_unpacklo_ps(r4, r5), s5 = _mm256_unpackhi_ps(r4, r5);
    const __m256 s6 = _mm256_unpacklo_ps(r6, r7), s7 = _mm256_unpackhi_ps(r6, r7);
    const __m256 t0 = _mm256_shuffle_ps(s0, s2, 0x44), t1 = _mm256_shuffle_ps(s0, s2, 0xee);
    const __m256 t2 = _mm256_shuffle_ps(s1, s3, 0x44), t3 = _mm256_shuffle_ps(s1, s3, 0xee);
    const __m256 t4 = _mm256_shuffle_ps(s4, s6, 0x44), t5 = _mm256_shuffle_ps(s4, s6, 0xee);
    const __m256 t6 = _mm256_shuffle_ps(s5, s7, 0x44), t7 = _mm256_shuffle_ps(s5, s7, 0xee);
    const auto store = [=](size_t j, __m256 v) {
        if (j < n) _mm256_store_ps(out + j * kStride, v);
    };
    store(0, _mm256_permute2f128_ps(t0, t4, 0x20));
    store(1, _mm256_permute2f128_ps(t1, t5, 0x20));
    store(2, _mm256_permute2f128_ps(t2, t6, 0x20));
    store(3, _mm256_permute2f128_ps(t3, t7, 0x20));
    store(4, _mm256_permute2f128_ps(t0, t4, 0x31));
    store(5, _mm256_permute2f128_ps(t1, t5, 0x31));
    store(6, _mm256_permute2f128_ps(t2, t6, 0x31));
    store(7, _mm256_permute2f128_ps(t3, t7, 0x31));
}

// Packs n <= 16 rows; a panel that is not full repeats the last one.
void pack_rows(const DenseTile& tile, size_t dim, const DenseBlock& block, const uint32_t* row,
               uint32_t n, float* panel) {
    const float* x[kPanelRows];
    for (uint32_t i = 0; i < kPanelRows; ++i) {
        const uint32_t from = row[i < n ? i : n - 1];
        x[i] = block.rows + from * dim;
        panel[dim * kPanelRows + i] = block.factors[from];
        panel[(dim + 1) * kPanelRows + i] = tile.beta + tile.gamma * block.factors[from];
    }
    const __m256i tail = first_lanes(dim % 8);
    size_t j = 0;
    for (; j + 8 <= dim; j += 8) {
        const auto load = [=](const float* p) { return _mm256_loadu_ps(p + j); };
        transpose_8x8<kPanelRows>(x, load, panel + j * kPanelRows, 8);
        transpose_8x8<kPanelRows>(x + 8, load, panel + j * kPanelRows + 8, 8);
    }
    if (j < dim) {
        const auto load = [=](const float* p) { return _mm256_maskload_ps(p + j, tail); };
        transpose_8x8<kPanelRows>(x, load, panel + j * kPanelRows, dim - j);
        transpose_8x8<kPanelRows>(x + 8, load, panel + j * kPanelRows + 8, dim - j);
    }
}

// out[6][16] = dots of a panel of queries with a panel of rows. 12 sums, 2 row vectors and 1 query
// value in the 16 registers; 12 FMA for 8 loads. The sums have names: compilers spill an array.
NEARBIT_HOT void dots_6x16(const float* q, const float* x, size_t dim, float* out) {
    __m256 a0 = _mm256_setzero_ps(), a1 = a0, b0 = a0, b1 = a0, c0 = a0, c1 = a0;
    __m256 d0 = a0, d1 = a0, e0 = a0, e1 = a0, f0 = a0, f1 = a0;
    for (size_t j = 0; j < dim; ++j, q += kPanelQueries, x += kPanelRows) {
        // From L2, one line a step: 1 to 3 % faster than without (Zen 5).
        _mm_prefetch(reinterpret_cast<const char*>(x + 16 * kPanelRows), _MM_HINT_T0);
        const __m256 x0 = _mm256_load_ps(x), x1 = _mm256_load_ps(x + 8);
        __m256 y = _mm256_broadcast_ss(q);
        a0 = _mm256_fmadd_ps(y, x0, a0);
        a1 = _mm256_fmadd_ps(y, x1, a1);
        y = _mm256_broadcast_ss(q + 1);
        b0 = _mm256_fmadd_ps(y, x0, b0);
        b1 = _mm256_fmadd_ps(y, x1, b1);
        y = _mm256_broadcast_ss(q + 2);
        c0 = _mm256_fmadd_ps(y, x0, c0);
        c1 = _mm256_fmadd_ps(y, x1, c1);
        y = _mm256_broadcast_ss(q + 3);
        d0 = _mm256_fmadd_ps(y, x0, d0);
        d1 = _mm256_fmadd_ps(y, x1, d1);
        y = _mm256_broadcast_ss(q + 4);
        e0 = _mm256_fmadd_ps(y, x0, e0);
        e1 = _mm256_fmadd_ps(y, x1, e1);
        y = _mm256_broadcast_ss(q + 5);
        f0 = _mm256_fmadd_ps(y, x0, f0);
        f1 = _mm256_fmadd_ps(y, x1, f1);
    }
    const auto store = [&](uint32_t query, __m256 low, __m256 high) {
        _mm256_store_ps(out + query * kPanelRows, low);
        _mm256_store_ps(out + query * kPanelRows + 8, high);
    };
    store(0, a0, a1);
    store(1, b0, b1);
    store(2, c0, c1);
    store(3, d0, d1);
    store(4, e0, e1);
    store(5, f0, f1);
}

// Six queries by sixteen rows, both packed. The products never leave L1: a panel of them is
// compared as soon as it is summed.
void tile_many(const DenseTile& tile, size_t dim, const DenseBlock& block, float* workspace,
               Sink* sink) {
    const size_t row_panel = row_panel_size(dim);
    const size_t n_groups = (tile.nq + kPanelQueries - 1) / kPanelQueries;
    alignas(32) float dots[kPanelQueries * kPanelRows];
    for (Pieces<kMostPanelRows> pieces(block, packed_rows(dim)); pieces.n != 0; pieces.advance()) {
        const uint32_t* const row = pieces.row;
        const uint32_t n = pieces.n;
        Prefetch prefetch(block, dim, pieces.next, pieces.n_next,
                          n_groups * ((n + kPanelRows - 1) / kPanelRows));
        for (uint32_t i = 0; i < n; i += kPanelRows) {
            pack_rows(tile, dim, block, row + i, n - i < kPanelRows ? n - i : uint32_t(kPanelRows),
                      workspace + i / kPanelRows * row_panel);
        }
        for (uint32_t q = 0; q < tile.nq; q += kPanelQueries) {
            const float* const queries = tile.panels + q * dim;
            const uint32_t n_queries =
                tile.nq - q < kPanelQueries ? tile.nq - q : uint32_t(kPanelQueries);
            for (uint32_t i = 0; i < n; i += kPanelRows) {
                const float* const rows = workspace + i / kPanelRows * row_panel;
                prefetch.step();
                dots_6x16(queries, rows, dim, dots);
                const uint32_t real = n - i < kPanelRows ? (1u << (n - i)) - 1 : 0xffff;
                const float* const factors = rows + dim * kPanelRows;
                const __m256 f0 = _mm256_load_ps(factors), f1 = _mm256_load_ps(factors + 8);
                const __m256 s0 = _mm256_load_ps(factors + 16), s1 = _mm256_load_ps(factors + 24);
                for (uint32_t k = 0; k < n_queries; ++k) {
                    const __m256 alpha = _mm256_broadcast_ss(tile.alpha + q + k);
                    const __m256 bound = _mm256_broadcast_ss(tile.bound + q + k);
                    const float* const d = dots + k * kPanelRows;
                    const __m256 score0 =
                        _mm256_fmadd_ps(alpha, f0, _mm256_mul_ps(s0, _mm256_load_ps(d)));
                    const __m256 score1 =
                        _mm256_fmadd_ps(alpha, f1, _mm256_mul_ps(s1, _mm256_load_ps(d + 8)));
                    const __m256 near0 = _mm256_cmp_ps(score0, bound, _CMP_LE_OQ);
                    const __m256 near1 = _mm256_cmp_ps(score1, bound, _CMP_LE_OQ);
                    if (_mm256_testz_ps(_mm256_or_ps(near0, near1), _mm256_or_ps(near0, near1))) {
                        continue;
                    }
                    make_room(sink);
                    uint32_t near = uint32_t(_mm256_movemask_ps(near0)) |
                                    uint32_t(_mm256_movemask_ps(near1)) << 8;
                    for (near &= real; near != 0; near = _blsr_u32(near)) {
                        report(sink, q + k, row[i + _tzcnt_u32(near)], 0);
                    }
                }
            }
        }
    }
}

void dense_tile(const DenseTile& tile, size_t dim, const DenseBlock& block, float* workspace,
                Sink* sink) {
    if (tile.panels) {
        tile_many(tile, dim, block, workspace, sink);
    } else {
        tile_few(tile, dim, block, sink);
    }
}
