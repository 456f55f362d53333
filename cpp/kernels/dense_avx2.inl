// Dense float32 kernels, AVX2 and FMA: one query against rows, and what is done once per row.
//
// Every canonical distance comes from four_distances() below, whichever kernel asks and wherever
// the row stands, so that gather and scan give the same bits.

// Lanes below n of a vector, for loads that must not touch what lies behind a row.
alignas(32) constexpr int32_t kLaneMasks[16] = {-1, -1, -1, -1, -1, -1, -1, -1};

inline __m256i first_lanes(size_t n) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(kLaneMasks + 8 - n));
}

// Adds eight terms of the sum: (x - q)^2 or q * x.
template <bool kSquares>
inline __m256 add_terms(__m256 q, __m256 x, __m256 sum) {
    if constexpr (kSquares) {
        const __m256 difference = _mm256_sub_ps(x, q);
        return _mm256_fmadd_ps(difference, difference, sum);
    } else {
        return _mm256_fmadd_ps(q, x, sum);
    }
}

// The four sums over eight lanes, each ((0 + 1) + (2 + 3)) + ((4 + 5) + (6 + 7)).
inline __m128 sum_lanes(__m256 a, __m256 b, __m256 c, __m256 d) {
    const __m256 quads = _mm256_hadd_ps(_mm256_hadd_ps(a, b), _mm256_hadd_ps(c, d));
    return _mm_add_ps(_mm256_castps256_ps128(quads), _mm256_extractf128_ps(quads, 1));
}

// A query of up to 32 dimensions, held in kVectors registers. The last load of a row is masked.
template <bool kSquares, int kVectors>
struct ShortQuery {
    __m256 q[kVectors];
    __m256i last;

    ShortQuery(const float* query, size_t dim) : last(first_lanes(dim - 8 * (kVectors - 1))) {
        for (int v = 0; v < kVectors - 1; ++v) q[v] = _mm256_loadu_ps(query + 8 * v);
        q[kVectors - 1] = _mm256_maskload_ps(query + 8 * (kVectors - 1), last);
    }

    __m256 lanes(const float* x) const {
        __m256 sum = _mm256_setzero_ps();
        if constexpr (kVectors > 1) sum = add_terms<kSquares>(q[0], _mm256_loadu_ps(x), sum);
        if constexpr (kVectors > 2) sum = add_terms<kSquares>(q[1], _mm256_loadu_ps(x + 8), sum);
        if constexpr (kVectors > 3) sum = add_terms<kSquares>(q[2], _mm256_loadu_ps(x + 16), sum);
        return add_terms<kSquares>(q[kVectors - 1],
                                   _mm256_maskload_ps(x + 8 * (kVectors - 1), last), sum);
    }
};

// A query of any length: four sums, 32 dimensions a step.
template <bool kSquares>
struct LongQuery {
    const float* q;
    size_t dim;
    __m256i tail;

    LongQuery(const float* query, size_t dim_) : q(query), dim(dim_), tail(first_lanes(dim_ % 8)) {}

    __m256 lanes(const float* x) const {
        __m256 a = _mm256_setzero_ps(), b = a, c = a, d = a;
        size_t j = 0;
        for (; j + 32 <= dim; j += 32) {
            a = terms(x, j, a);
            b = terms(x, j + 8, b);
            c = terms(x, j + 16, c);
            d = terms(x, j + 24, d);
        }
        if (j + 8 <= dim) a = terms(x, j, a), j += 8;
        if (j + 8 <= dim) b = terms(x, j, b), j += 8;
        if (j + 8 <= dim) c = terms(x, j, c), j += 8;
        if (j < dim) {
            d = add_terms<kSquares>(_mm256_maskload_ps(q + j, tail),
                                    _mm256_maskload_ps(x + j, tail), d);
        }
        return _mm256_add_ps(_mm256_add_ps(a, b), _mm256_add_ps(c, d));
    }

    __m256 terms(const float* x, size_t j, __m256 sum) const {
        return add_terms<kSquares>(_mm256_loadu_ps(q + j), _mm256_loadu_ps(x + j), sum);
    }
};

// The canonical distances to four rows. The rows are walked one after the other: four neighbouring
// rows in step would be four streams close together, which the prefetchers like least.
template <DenseForm kForm, class Query>
inline __m128 four_distances(const Query& query, const float* rows, size_t dim,
                             const float* factors, const uint32_t (&row)[4]) {
    const __m256 a = query.lanes(rows + row[0] * dim);
    const __m256 b = query.lanes(rows + row[1] * dim);
    const __m256 c = query.lanes(rows + row[2] * dim);
    const __m256 d = query.lanes(rows + row[3] * dim);
    const __m128 sums = sum_lanes(a, b, c, d);
    if constexpr (kForm == DenseForm::kL2) return sums;
    if constexpr (kForm == DenseForm::kIp) return _mm_sub_ps(_mm_setzero_ps(), sums);
    const __m128 f =
        _mm_setr_ps(factors[row[0]], factors[row[1]], factors[row[2]], factors[row[3]]);
    return _mm_max_ps(_mm_sub_ps(_mm_set1_ps(1.0f), _mm_mul_ps(f, sums)), _mm_setzero_ps());
}

template <DenseForm kForm, class Body>
inline void with_query(const float* query, size_t dim, const Body& body) {
    constexpr bool kSquares = kForm == DenseForm::kL2;
    switch ((dim + 7) / 8) {
        case 1:
            return body(ShortQuery<kSquares, 1>(query, dim));
        case 2:
            return body(ShortQuery<kSquares, 2>(query, dim));
        case 3:
            return body(ShortQuery<kSquares, 3>(query, dim));
        case 4:
            return body(ShortQuery<kSquares, 4>(query, dim));
        default:
            return body(LongQuery<kSquares>(query, dim));
    }
}

// ------------------------------------------------------------------------------------- gather

template <DenseForm kForm>
void gather(const float* query, size_t dim, const float* rows, const float* factors,
            const uint32_t* which, size_t n, float* out) {
    with_query<kForm>(query, dim, [=](const auto& q) {
        for (size_t i = 0; i < n; i += 4) {
            uint32_t row[4];
            for (size_t lane = 0; lane < 4; ++lane) {
                const size_t at = i + lane < n ? i + lane : n - 1;
                row[lane] = which ? which[at] : uint32_t(at);
            }
            const __m128 distances = four_distances<kForm>(q, rows, dim, factors, row);
            if (i + 4 <= n) {
                _mm_storeu_ps(out + i, distances);
            } else {
                float four[4];
                _mm_storeu_ps(four, distances);
                for (size_t lane = 0; i + lane < n; ++lane) out[i + lane] = four[lane];
            }
        }
    });
}

// Chosen rows: as scan, but bound by the latency of memory where rows are far apart.
void dense_gather(DenseForm form, const float* query, size_t dim, const float* rows,
                  const float* factors, const uint32_t* which, size_t n, float* out) {
    switch (form) {
        case DenseForm::kL2:
            return gather<DenseForm::kL2>(query, dim, rows, factors, which, n, out);
        case DenseForm::kIp:
            return gather<DenseForm::kIp>(query, dim, rows, factors, which, n, out);
        case DenseForm::kCosine:
            return gather<DenseForm::kCosine>(query, dim, rows, factors, which, n, out);
    }
}

// ------------------------------------------------------------------------------------- scan

// Rows up to this long are taken from four places at once.
enum : size_t { kStreamedRow = 2048 };

inline uint64_t low_bits(uint32_t n) {
    return n >= 64 ? ~uint64_t(0) : (uint64_t(1) << n) - 1;
}

// Calls four(rows, n) with the admitted rows of a block, four at a time, the last time fewer (then
// the last of them repeated). kStreams 4 takes them in turn from the quarters of the block, 1 in
// order.
template <uint32_t kStreams, class Four>
inline void for_admitted(const uint64_t* admit, uint32_t first, uint32_t last, const Four& four) {
    const uint32_t stride =
        (last - first) / kStreams;  // a multiple of 64 if there are four streams
    uint32_t row[4], n = 0;
    for (uint32_t at = first; at < first + stride; at += 64) {
        uint64_t bits[kStreams], all = ~uint64_t(0);
        for (uint32_t s = 0; s < kStreams; ++s) {
            bits[s] = low_bits(last - at);
            if (admit) bits[s] &= admit[(at + s * stride) / 64];
            all &= bits[s];
        }
        if (n == 0 && all == ~uint64_t(0)) {
            for (uint32_t i = 0; i < 64; i += 4 / kStreams) {
                for (uint32_t lane = 0; lane < 4; ++lane) {
                    row[lane] = at + i + (kStreams == 1 ? lane : lane * stride);
                }
                four(row, 4);
            }
            continue;
        }
        for (uint64_t any = 1; any != 0;) {
            any = 0;
            for (uint32_t s = 0; s < kStreams; ++s) {
                if (bits[s] == 0) continue;
                row[n++] = at + s * stride + uint32_t(_tzcnt_u64(bits[s]));
                bits[s] = _blsr_u64(bits[s]);
                any |= bits[s];
                if (n == 4) four(row, n), n = 0;
            }
        }
    }
    if (n == 0) return;
    for (uint32_t lane = n; lane < 4; ++lane) row[lane] = row[n - 1];
    four(row, n);
}

template <DenseForm kForm>
void scan(const float* query, size_t dim, const DenseBlock& block, const float* threshold,
          Sink* sink) {
    with_query<kForm>(query, dim, [=](const auto& q) {
        const float* const rows = block.rows;
        const float* const factors = block.factors;
        __m128 limit = _mm_set1_ps(*threshold);
        const auto four = [&](const uint32_t (&row)[4], uint32_t n) {
            const __m128 distances = four_distances<kForm>(q, rows, dim, factors, row);
            uint32_t near = uint32_t(_mm_movemask_ps(_mm_cmple_ps(distances, limit)));
            if (near == 0) return;
            if (make_room(sink)) limit = _mm_set1_ps(*threshold);
            float distance[4];
            _mm_storeu_ps(distance, distances);
            for (near &= (1u << n) - 1; near != 0; near = _blsr_u32(near)) {
                const uint32_t lane = _tzcnt_u32(near);
                report(sink, 0, row[lane], distance[lane]);
            }
        };
        const uint32_t in_streams = dim * sizeof(float) <= kStreamedRow ? block.n / 256 * 256 : 0;
        for_admitted<4>(block.admit, 0, in_streams, four);
        for_admitted<1>(block.admit, in_streams, block.n, four);
    });
}

// Bound by memory: 32 bytes of a row cost a load, a subtraction and an FMA.
void dense_scan(DenseForm form, const float* query, size_t dim, const DenseBlock& block,
                const float* threshold, Sink* sink) {
    switch (form) {
        case DenseForm::kL2:
            return scan<DenseForm::kL2>(query, dim, block, threshold, sink);
        case DenseForm::kIp:
            return scan<DenseForm::kIp>(query, dim, block, threshold, sink);
        case DenseForm::kCosine:
            return scan<DenseForm::kCosine>(query, dim, block, threshold, sink);
    }
}

// ------------------------------------------------------------------------------------- per row

inline __m256d add_squares(const float* x, __m256d sum) {
    const __m256d wide = _mm256_cvtps_pd(_mm_loadu_ps(x));
    return _mm256_fmadd_pd(wide, wide, sum);
}

// Bound by conversions: 16 bytes need one conversion and one FMA.
void dense_squared_norms(const float* rows, size_t n, size_t dim, double* out) {
    for (size_t i = 0; i < n; ++i) {
        const float* x = rows + i * dim;
        __m256d a = _mm256_setzero_pd(), b = a, c = a, d = a;
        size_t j = 0;
        for (; j + 16 <= dim; j += 16) {
            a = add_squares(x + j, a);
            b = add_squares(x + j + 4, b);
            c = add_squares(x + j + 8, c);
            d = add_squares(x + j + 12, d);
        }
        const __m256d sums = _mm256_add_pd(_mm256_add_pd(a, b), _mm256_add_pd(c, d));
        const __m128d pair =
            _mm_add_pd(_mm256_castpd256_pd128(sums), _mm256_extractf128_pd(sums, 1));
        double sum = _mm_cvtsd_f64(_mm_add_sd(pair, _mm_unpackhi_pd(pair, pair)));
        for (; j < dim; ++j) sum += double(x[j]) * x[j];
        out[i] = sum;
    }
}

// The eight lanes are turned round before movemask, which puts lane 0 lowest.
inline uint8_t sign_byte(__m256 x) {
    const __m256 turned = _mm256_permutevar8x32_ps(x, _mm256_setr_epi32(7, 6, 5, 4, 3, 2, 1, 0));
    return uint8_t(_mm256_movemask_ps(_mm256_cmp_ps(turned, _mm256_setzero_ps(), _CMP_GT_OQ)));
}

// Bound by memory: four instructions for 32 bytes read and one written.
void dense_pack_signs(const float* rows, size_t n, size_t dim, uint8_t* out) {
    const __m256i tail = first_lanes(dim % 8);
    for (size_t i = 0; i < n; ++i, rows += dim) {
        size_t j = 0;
        for (; j + 8 <= dim; j += 8) *out++ = sign_byte(_mm256_loadu_ps(rows + j));
        if (j < dim) *out++ = sign_byte(_mm256_maskload_ps(rows + j, tail));
    }
}

#include "kernels/dense_tile_avx2.inl"

constexpr DenseKernels dense_kernels = {
    dense_squared_norms, dense_gather,      dense_scan, dense_tile,      dense_tile_workspace,
    dense_pack_queries,  dense_packed_size, kPackFrom,  dense_pack_signs};
