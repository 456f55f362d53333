// Dense kernels on x86-64: one query against rows of float32 or float16, and what is done once per
// row. Halves are widened as they are loaded and then go the same way, so that they give the bits
// that their float32 copies would.
//
// Every canonical distance comes from distances() below, whichever kernel asks and wherever
// the row stands, so that gather and scan give the same bits.

// With a dozen query shapes GCC gives up inlining what each row runs through, at half the speed.
#if defined(__GNUC__)
#define NEARBIT_HOT inline __attribute__((always_inline))
#else
#define NEARBIT_HOT __forceinline
#endif

// None, then all, then no lanes: read at an offset they select the first or the last of a vector.
alignas(32) constexpr int32_t kLanes[24] = {0,  0,  0,  0,  0, 0, 0, 0, -1, -1, -1, -1,
                                            -1, -1, -1, -1, 0, 0, 0, 0, 0,  0,  0,  0};

inline __m256i first_lanes(size_t n) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(kLanes + 16 - n));
}

inline __m256 last_lanes(size_t n) {
    return _mm256_castsi256_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(kLanes + n)));
}

NEARBIT_HOT __m256 load_8(const float* x) {
    return _mm256_loadu_ps(x);
}
NEARBIT_HOT __m256 load_8(const Half* x) {
    return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(x)));
}

// The first kWidth (1, 2 or 4) values of a row beside those from last on.
template <size_t kWidth>
NEARBIT_HOT __m256 load_ends(const float* x, size_t last) {
    if constexpr (kWidth == 1) return _mm256_zextps128_ps256(_mm_load_ss(x));
    if constexpr (kWidth == 2) {
        const __m64* const ends[] = {reinterpret_cast<const __m64*>(x),
                                     reinterpret_cast<const __m64*>(x + last)};
        return _mm256_zextps128_ps256(
            _mm_loadh_pi(_mm_loadl_pi(_mm_setzero_ps(), ends[0]), ends[1]));
    }
    return _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(x)), _mm_loadu_ps(x + last), 1);
}
template <size_t kWidth>
NEARBIT_HOT __m256 load_ends(const Half* x, size_t last) {
    uint64_t first = 0, end = 0;
    std::memcpy(&first, x, kWidth * sizeof(Half));
    if constexpr (kWidth > 1) std::memcpy(&end, x + last, kWidth * sizeof(Half));
    if constexpr (kWidth < 4) return _mm256_cvtph_ps(_mm_cvtsi64_si128(int64_t(first | end << 32)));
    return _mm256_cvtph_ps(_mm_set_epi64x(int64_t(end), int64_t(first)));
}

// Adds eight terms of the sum: (x - q)^2 for kL2, else q * x.
template <DenseForm kForm>
NEARBIT_HOT __m256 add_terms(__m256 q, __m256 x, __m256 sum) {
    if constexpr (kForm == DenseForm::kL2) {
        const __m256 difference = _mm256_sub_ps(x, q);
        return _mm256_fmadd_ps(difference, difference, sum);
    } else {
        return _mm256_fmadd_ps(q, x, sum);
    }
}

// The same at the end of a row, where x repeats values that were counted already: there q is 0, and
// fresh has no lane. Masked loads would do, but the prefetchers don't follow them: rows of 8 floats
// came from memory at 7 GB/s with them and at 28 without (Zen 5, bench/native/dense.cpp).
template <DenseForm kForm>
NEARBIT_HOT __m256 add_last_terms(__m256 q, __m256 x, __m256 fresh, __m256 sum) {
    if constexpr (kForm == DenseForm::kL2) {
        const __m256 difference = _mm256_and_ps(_mm256_sub_ps(x, q), fresh);
        return _mm256_fmadd_ps(difference, difference, sum);
    } else {
        return _mm256_fmadd_ps(q, x, sum);
    }
}

// The four sums over eight lanes, each ((0 + 1) + (2 + 3)) + ((4 + 5) + (6 + 7)).
NEARBIT_HOT __m128 sum_lanes(__m256 a, __m256 b, __m256 c, __m256 d) {
    const __m256 quads = _mm256_hadd_ps(_mm256_hadd_ps(a, b), _mm256_hadd_ps(c, d));
    return _mm_add_ps(_mm256_castps256_ps128(quads), _mm256_extractf128_ps(quads, 1));
}

// A query of 1, 2 to 3 or 4 to 7 dimensions (kWidth 1, 2, 4): its first kWidth values beside its
// last.
template <DenseForm kForm_, size_t kWidth>
struct NarrowQuery {
    static constexpr DenseForm kForm = kForm_;
    size_t last;
    __m256 fresh, q;

    NarrowQuery(const float* query, size_t dim) : last(dim - kWidth) {
        alignas(32) int32_t lanes_used[8] = {};
        for (size_t lane = 0; lane < 2 * kWidth; ++lane) {
            lanes_used[lane] = lane < kWidth || last + lane >= 2 * kWidth ? -1 : 0;
        }
        fresh =
            _mm256_castsi256_ps(_mm256_load_si256(reinterpret_cast<const __m256i*>(lanes_used)));
        q = _mm256_and_ps(load_ends<kWidth>(query, last), fresh);
    }

    template <class Number>
    NEARBIT_HOT __m256 lanes(const Number* x) const {
        return add_last_terms<kForm>(q, load_ends<kWidth>(x, last), fresh, _mm256_setzero_ps());
    }
};

// A query of 8 to 32 dimensions, held in kVectors registers.
template <DenseForm kForm_, int kVectors>
struct ShortQuery {
    static constexpr DenseForm kForm = kForm_;
    size_t last;
    __m256 fresh, q[kVectors];

    ShortQuery(const float* query, size_t dim)
        : last(dim - 8), fresh(last_lanes(dim - 8 * (kVectors - 1))) {
        for (int v = 0; v < kVectors - 1; ++v) q[v] = _mm256_loadu_ps(query + 8 * v);
        q[kVectors - 1] = _mm256_and_ps(_mm256_loadu_ps(query + last), fresh);
    }

    template <class Number>
    NEARBIT_HOT __m256 lanes(const Number* x) const {
        __m256 sum = _mm256_setzero_ps();
        if constexpr (kVectors > 1) sum = add_terms<kForm>(q[0], load_8(x), sum);
        if constexpr (kVectors > 2) sum = add_terms<kForm>(q[1], load_8(x + 8), sum);
        if constexpr (kVectors > 3) sum = add_terms<kForm>(q[2], load_8(x + 16), sum);
        return add_last_terms<kForm>(q[kVectors - 1], load_8(x + last), fresh, sum);
    }
};

// A query of more dimensions: four sums, 32 dimensions a step.
template <DenseForm kForm_>
struct LongQuery {
    static constexpr DenseForm kForm = kForm_;
    const float* q;
    size_t dim;
    __m256 fresh, q_last;

    LongQuery(const float* query, size_t dim_)
        : q(query),
          dim(dim_),
          fresh(last_lanes(dim_ % 8)),
          q_last(_mm256_and_ps(_mm256_loadu_ps(query + dim_ - 8), fresh)) {}

    template <class Number>
    NEARBIT_HOT __m256 lanes(const Number* x) const {
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
        if (j < dim) d = add_last_terms<kForm>(q_last, load_8(x + dim - 8), fresh, d);
        return _mm256_add_ps(_mm256_add_ps(a, b), _mm256_add_ps(c, d));
    }

    template <class Number>
    NEARBIT_HOT __m256 terms(const Number* x, size_t j, __m256 sum) const {
        return add_terms<kForm>(_mm256_loadu_ps(q + j), load_8(x + j), sum);
    }
};

// The canonical distances to n rows, 1 or 4 of them, in the first lanes; at(i) is the i-th and
// factor(i) its factor. Rows are walked one after the other: four neighbouring rows in step would
// be four streams close together, which the prefetchers like least.
template <uint32_t n, class Query, class At, class Factor>
NEARBIT_HOT __m128 distances(const Query& query, const At& at, const Factor& factor) {
    __m256 a = query.lanes(at(0)), b = a, c = a, d = a;
    if constexpr (n == 4) {
        b = query.lanes(at(1));
        c = query.lanes(at(2));
        d = query.lanes(at(3));
    }
    const __m128 sums = sum_lanes(a, b, c, d);
    if constexpr (Query::kForm == DenseForm::kL2) return sums;
    if constexpr (Query::kForm == DenseForm::kIp) return _mm_sub_ps(_mm_setzero_ps(), sums);
    const __m128 f = n == 1 ? _mm_set_ss(factor(0))
                            : _mm_setr_ps(factor(0), factor(1 % n), factor(2 % n), factor(3 % n));
    return _mm_max_ps(_mm_sub_ps(_mm_set1_ps(1.0f), _mm_mul_ps(f, sums)), _mm_setzero_ps());
}
// Of rows by their numbers. No lambdas: GCC would ask for C++'s library to clean them up at -O0.
template <class Number>
struct RowsByNumber {
    const Number* rows;
    size_t dim;
    const uint32_t* row;
    NEARBIT_HOT const Number* operator()(uint32_t i) const { return rows + row[i] * dim; }
};
struct FactorsByNumber {
    const float* factors;
    const uint32_t* row;
    NEARBIT_HOT float operator()(uint32_t i) const { return factors[row[i]]; }
};
template <uint32_t n, class Query, class Number>
NEARBIT_HOT __m128 distances(const Query& query, const Number* rows, size_t dim,
                             const float* factors, const uint32_t* row) {
    const RowsByNumber<Number> at = {rows, dim, row};
    const FactorsByNumber factor = {factors, row};
    return distances<n>(query, at, factor);
}

template <DenseForm kForm, class Body>
inline void with_length(const float* query, size_t dim, const Body& body) {
    if (dim == 1) return body(NarrowQuery<kForm, 1>(query, dim));
    if (dim < 4) return body(NarrowQuery<kForm, 2>(query, dim));
    if (dim < 8) return body(NarrowQuery<kForm, 4>(query, dim));
    if (dim == 8) return body(ShortQuery<kForm, 1>(query, dim));
    if (dim <= 16) return body(ShortQuery<kForm, 2>(query, dim));
    if (dim <= 24) return body(ShortQuery<kForm, 3>(query, dim));
    if (dim <= 32) return body(ShortQuery<kForm, 4>(query, dim));
    body(LongQuery<kForm>(query, dim));
}

// Calls body with the query in the shape that suits its form and length.
template <class Body>
inline void with_query(DenseForm form, const float* query, size_t dim, const Body& body) {
    if (form == DenseForm::kL2) return with_length<DenseForm::kL2>(query, dim, body);
    if (form == DenseForm::kIp) return with_length<DenseForm::kIp>(query, dim, body);
    with_length<DenseForm::kCosine>(query, dim, body);
}

// Chosen rows: as scan, but bound by the latency of memory where rows are far apart.
template <class Number>
void dense_gather(DenseForm form, const float* query, size_t dim, const Number* rows,
                  const float* factors, const uint32_t* which, size_t n, float* out) {
    with_query(form, query, dim, [=](const auto& q) {
        uint32_t row[4];
        size_t i = 0;
        for (; i + 4 <= n; i += 4) {
            for (size_t lane = 0; lane < 4; ++lane) {
                row[lane] = which ? which[i + lane] : uint32_t(i + lane);
            }
            _mm_storeu_ps(out + i, distances<4>(q, rows, dim, factors, row));
        }
        for (; i < n; ++i) {
            row[0] = which ? which[i] : uint32_t(i);
            _mm_store_ss(out + i, distances<1>(q, rows, dim, factors, row));
        }
    });
}

template <class Number>
void dense_gather_at(DenseForm form, const float* query, size_t dim, const Number* const* rows,
                     const float* factors, size_t n, float* out) {
    with_query(form, query, dim, [=](const auto& q) {
        size_t i = 0;
        const auto at = [&](uint32_t lane) noexcept { return rows[i + lane]; };
        const auto factor = [&](uint32_t lane) noexcept { return factors[i + lane]; };
        for (; i + 4 <= n; i += 4) _mm_storeu_ps(out + i, distances<4>(q, at, factor));
        for (; i < n; ++i) _mm_store_ss(out + i, distances<1>(q, at, factor));
    });
}

// ------------------------------------------------------------------------------------- scan

// Rows from next to end, in order, without words of 64 of which none is admitted. Single rows that
// aren't admitted are scored too: the prefetchers lose track of a stream with holes, and half of
// the rows took 1.5 times as long as all (1536 bytes each, from memory, Zen 4).
struct RowCursor {
    const uint64_t* admit;
    uint32_t next, end;

    // Puts up to n of the rows that follow into row; returns how many, 0 at the end.
    uint32_t take(uint32_t n, uint32_t* row) {
        while (admit != nullptr && next < end && admit[next / 64] >> next % 64 == 0) {
            next = (next / 64 + 1) * 64;
        }
        if (next >= end) return 0;
        const uint32_t taken = end - next < n ? end - next : n;
        for (uint32_t i = 0; i < taken; ++i) row[i] = next + i;
        next += taken;
        return taken;
    }
};

// The rows of a block, in turn from its four quarters: streams far apart come from memory
// at 31-39 GB/s where one comes at 20-32, for rows of 512 bytes to 16 KiB; prefetch instructions
// add nothing to that (Zen 5, bench/native/dense.cpp).
struct QuarterCursor {
    enum : uint32_t { kAtOnce = 64 };
    RowCursor quarter[4];

    QuarterCursor(const uint64_t* admit, uint32_t n) {
        const uint32_t length = n / 4;
        for (uint32_t s = 0; s < 4; ++s) {
            quarter[s] = {admit, s * length, s < 3 ? (s + 1) * length : n};
        }
    }

    // Puts up to 4 * kAtOnce rows into row; returns how many, 0 at the end.
    uint32_t take(uint32_t* row) {
        uint32_t rows[4][kAtOnce], n[4], taken = 0;
        for (uint32_t s = 0; s < 4; ++s) n[s] = quarter[s].take(kAtOnce, rows[s]);
        if (n[0] == kAtOnce && n[1] == kAtOnce && n[2] == kAtOnce && n[3] == kAtOnce) {
            for (uint32_t i = 0; i < kAtOnce; ++i) {
                for (uint32_t s = 0; s < 4; ++s) row[4 * i + s] = rows[s][i];
            }
            return 4 * kAtOnce;
        }
        const uint32_t few = n[0] > n[1] ? n[0] : n[1], others = n[2] > n[3] ? n[2] : n[3];
        for (uint32_t i = 0; i < few || i < others; ++i) {
            for (uint32_t s = 0; s < 4; ++s) {
                if (i < n[s]) row[taken++] = rows[s][i];
            }
        }
        return taken;
    }
};

// Bound by memory: 32 bytes of a row cost two loads, a subtraction and an FMA.
template <class Block>
void dense_scan(DenseForm form, const float* query, size_t dim, const Block& block,
                const float* threshold, Sink* sink) {
    with_query(form, query, dim, [=](const auto& q) {
        const auto* const rows = block.rows;
        const float* const factors = block.factors;
        __m128 limit = _mm_set1_ps(*threshold);
        uint32_t row[4 * QuarterCursor::kAtOnce + 3];
        QuarterCursor cursor(block.admit, block.n);
        while (const uint32_t n = cursor.take(row)) {
            row[n] = row[n + 1] = row[n + 2] = row[n - 1];
            for (uint32_t i = 0; i < n; i += 4) {
                const __m128 four = distances<4>(q, rows, dim, factors, row + i);
                uint32_t near = uint32_t(_mm_movemask_ps(_mm_cmple_ps(four, limit)));
                if (near == 0) continue;
                if (make_room(sink)) limit = _mm_set1_ps(*threshold);
                float distance[4];
                _mm_storeu_ps(distance, four);
                for (; near != 0; near = _blsr_u32(near)) {
                    const uint32_t lane = _tzcnt_u32(near);
                    if (i + lane >= n || !admitted(block.admit, row[i + lane])) continue;
                    report(sink, 0, row[i + lane], distance[lane]);
                }
            }
        }
    });
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

#include "kernels/dense_tile_x86.inl"
#include "kernels/nearest_x86.inl"
#include "kernels/pairs_x86.inl"

constexpr DenseKernels dense_kernels = {
    dense_squared_norms, dense_gather<float>,  dense_gather_at<float>, dense_scan<DenseBlock>,
    dense_tile,          dense_tile_workspace, dense_pack_queries,     dense_packed_size,
    kPackFrom,           dense_pack_signs};

// ------------------------------------------------------------------------------------- halves

void half_widen(const Half* halves, size_t n, float* out) {
    size_t i = 0;
    for (; i + 8 <= n; i += 8) _mm256_storeu_ps(out + i, load_8(halves + i));
    for (; i < n; ++i) out[i] = _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(halves[i])));
}

void half_narrow(const float* numbers, size_t n, Half* out) {
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        _mm_storeu_si128(reinterpret_cast<__m128i*>(out + i),
                         _mm256_cvtps_ph(_mm256_loadu_ps(numbers + i), _MM_FROUND_TO_NEAREST_INT));
    }
    for (; i < n; ++i) {
        out[i] = Half(
            _mm_cvtsi128_si32(_mm_cvtps_ph(_mm_load_ss(numbers + i), _MM_FROUND_TO_NEAREST_INT)));
    }
}

constexpr HalfKernels half_kernels = {half_narrow, half_widen, dense_gather<Half>,
                                      dense_gather_at<Half>, dense_scan<HalfBlock>};

constexpr NearestKernels nearest_kernels = {nearest_rows, nearest_workspace, nearest_pack,
                                            nearest_packed_size};

constexpr PairKernels pair_kernels = {pair_products, pair_workspace, pair_cover};
