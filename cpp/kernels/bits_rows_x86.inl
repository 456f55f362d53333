// One query against rows as they are stored: scan and gather.
//
// Sixteen distances are compared with their limits at once; the only branch is taken when one of
// them is within. Rows above kNarrowBytes go one by one.
//
// From memory, what counts is that the prefetchers follow: two streams, the halves of the block,
// each read strictly in order (32 GB/s on Zen 4 where a plain read makes 33; with the rows of a
// step in any other order 4 to 10, and no prefetch instruction mends that).
namespace bits {

#ifdef _MSC_VER
#define NEARBIT_COLD __declspec(noinline)
#else
#define NEARBIT_COLD __attribute__((noinline))
#endif

// A threshold as sixteen exclusive limits; no narrow distance is above 32760.
inline __m256i limits_of(int32_t threshold) {
    return _mm256_set1_epi16(int16_t(threshold < 0       ? 0
                                     : threshold < 32766 ? threshold + 1
                                                         : 32767));
}

// The limits of a block's rows: what a query's threshold comes to, read again whenever it falls.
// Here it is the same for all.
struct SameLimits {
    using Threshold = int32_t;
    __m256i limits;

    SameLimits(int32_t threshold, const BitsBlock&) : limits(limits_of(threshold)) {}
    // Sixteen exclusive limits, of rows from i on.
    __m256i sixteen(uint32_t) const { return limits; }
    static bool within(uint32_t distance, int32_t threshold, const BitsBlock&, uint32_t) {
        return int32_t(distance) <= threshold;
    }
};

// Here it goes with the row's count of set bits. Sixteen limits are 9 operations.
struct CountedLimits {
    using Threshold = CountedLimit;
    const float* counts;
    __m256 exclusive_base, per_bit;

    CountedLimits(const CountedLimit& limit, const BitsBlock& block)
        : counts(block.counts),
          exclusive_base(_mm256_set1_ps(limit.base + 1)),
          per_bit(_mm256_set1_ps(limit.per_bit)) {}
    __m256i eight(uint32_t i) const {
        return _mm256_cvttps_epi32(
            _mm256_fmadd_ps(per_bit, _mm256_loadu_ps(counts + i), exclusive_base));
    }
    __m256i sixteen(uint32_t i) const {
        return _mm256_permute4x64_epi64(_mm256_packs_epi32(eight(i), eight(i + 8)), 0xd8);
    }
    static bool within(uint32_t distance, const CountedLimit& limit, const BitsBlock& block,
                       uint32_t i) {
        return float(distance) <= limit.base + limit.per_bit * block.counts[i];
    }
};

// One query against rows first..last-1 of a block; first is a multiple of 16.
template <class Limits>
struct Pass {
    const uint8_t* query;
    size_t n_bytes;
    const BitsBlock& block;
    uint32_t first, last;
    uint32_t number;  // of the query
    const typename Limits::Threshold* threshold;
    Sink* sink;

    const uint8_t* row(size_t i) const { return block.rows + i * n_bytes; }

    void one_by_one(uint32_t begin, uint32_t end) const {
        for (uint32_t i = begin; i < end; ++i) {
            if (!admitted(block.admit, i)) continue;
            const uint32_t d = one_distance(query, row(i), n_bytes);
            if (!Limits::within(d, *threshold, block, i)) continue;
            make_room(sink);
            report(sink, number, i, float(d));
        }
    }

    Limits limits_now() const { return Limits(*threshold, block); }

    // Sixteen rows from i, a multiple of 16, of which at least one is within its limit.
    NEARBIT_COLD void report_some(__m256i distances, uint32_t within, uint32_t i) const {
        alignas(32) uint16_t d[16];
        _mm256_store_si256(reinterpret_cast<__m256i*>(d), distances);
        make_room(sink);
        for (; within != 0; within &= within - 1) {
            const uint32_t j = uint32_t(_tzcnt_u32(within));
            if (admitted(block.admit, i + j)) report(sink, number, i + j, float(d[j]));
        }
    }

    // Of the words of 64 rows that begin..end-1 lie in.
    bool any_admitted(uint32_t begin, uint32_t end) const {
        if (block.admit == nullptr) return true;
        uint64_t any = 0;
        for (uint32_t word = begin / 64; 64 * word < end; ++word) any |= block.admit[word];
        return any != 0;
    }

    template <class Query>
    void sixteen_rows(const Query& shape, const uint8_t* rows, uint32_t i, Limits& limits) const {
        const __m256i distances = sixteen(shape, rows);
        const __m256i below = _mm256_cmpgt_epi16(limits.sixteen(i), distances);
        if (_mm256_testz_si256(below, below)) return;
        const uint32_t within = _pext_u32(uint32_t(_mm256_movemask_epi8(below)), 0x55555555);
        report_some(distances, within, i);
        limits = limits_now();
    }

    template <class Query>
    void narrow(const Query& shape, uint32_t end) const {
        const uint32_t half = (end - first) / 32 * 16;
        const size_t step = 16 * shape.n_bytes();
        const uint8_t *low = row(first), *high = row(first + half);
        Limits limits = limits_now();
        // Rows that aren't admitted are left out kAtOnce at a time: asking more often takes longer,
        // and smaller holes slow a stream from memory down (as in dense_x86.inl).
        constexpr uint32_t kAtOnce = 256;
        uint32_t i = first;
        for (const uint32_t middle = first + half; i < middle;) {
            const uint32_t stop = middle - i < kAtOnce ? middle : i + kAtOnce;
            const bool some_low = any_admitted(i, stop);
            const bool some_high = any_admitted(i + half, stop + half);
            for (; i < stop; i += 16, low += step, high += step) {
                if (some_low) sixteen_rows(shape, low, i, limits);
                if (some_high) sixteen_rows(shape, high, i + half, limits);
            }
        }
        for (i += half; i + 16 <= end; i += 16) {
            if (any_admitted(i, i + 16)) sixteen_rows(shape, row(i), i, limits);
        }
        one_by_one(i, last);
    }

    void run() const {
        if (n_bytes > kNarrowBytes) return one_by_one(first, last);
        // Short rows near the block's end can't be read as whole vectors.
        uint32_t end = last;
        if (n_bytes < AnyLength::kReach) {
            const size_t bytes = block.n * n_bytes;
            const size_t reachable =
                bytes < AnyLength::kReach ? 0 : (bytes - AnyLength::kReach) / n_bytes + 1;
            if (end > reachable) end = first > reachable ? first : uint32_t(reachable);
        }
        with_shape(query, n_bytes, [&](const auto& shape) { narrow(shape, end); });
    }
};

inline void store_sixteen(uint32_t* out, __m256i distances) {
    store_unaligned(out, _mm256_cvtepu16_epi32(_mm256_castsi256_si128(distances)));
    store_unaligned(out + 8, _mm256_cvtepu16_epi32(_mm256_extracti128_si256(distances, 1)));
}

// Chosen rows, sixteen at a time where they are whole vectors or longer. Asking for the next
// sixteen beforehand makes rows of 64 bytes and more 1.5 times as fast from memory (AVX2 on Zen 4).
void gather(const uint8_t* query, size_t n_bytes, const uint8_t* rows, const uint32_t* which,
            size_t n, uint32_t* out) {
    constexpr size_t kMostAhead = 256;
    const auto at = [=](size_t i) { return rows + (which ? which[i] : i) * n_bytes; };
    size_t i = 0;
    if (n_bytes >= AnyLength::kReach && n_bytes <= kNarrowBytes) {
        with_whole_rows(query, n_bytes, [&](const auto& shape) {
            for (; i + 16 <= n; i += 16) {
                for (size_t j = i + 16; which != nullptr && j < i + 32 && j < n; ++j) {
                    for (size_t line = 0; line < n_bytes && line < kMostAhead; line += 64) {
                        _mm_prefetch(reinterpret_cast<const char*>(at(j) + line), _MM_HINT_T0);
                    }
                }
                store_sixteen(out + i, sixteen_at(shape, [&](size_t j) { return at(i + j); }));
            }
        });
    }
    for (; i < n; ++i) out[i] = one_distance(query, at(i), n_bytes);
}

void gather_at(const uint8_t* query, size_t n_bytes, const uint8_t* const* rows, size_t n,
               uint32_t* out) {
    if (n_bytes < AnyLength::kReach || n_bytes > kNarrowBytes) {
        for (size_t i = 0; i < n; ++i) out[i] = one_distance(query, rows[i], n_bytes);
        return;
    }
    with_whole_rows(query, n_bytes, [=](const auto& shape) {
        size_t i = 0;
        for (; i + 16 <= n; i += 16) {
            store_sixteen(out + i, sixteen_at(shape, [&](size_t j) { return rows[i + j]; }));
        }
        for (; i < n; ++i) out[i] = sum_of(shape.lanes(rows[i]));
    });
}

void scan(const uint8_t* query, size_t n_bytes, const BitsBlock& block, const int32_t* threshold,
          Sink* sink) {
    Pass<SameLimits>{query, n_bytes, block, 0, block.n, 0, threshold, sink}.run();
}

void scan_counted(const uint8_t* query, size_t n_bytes, const BitsBlock& block,
                  const CountedLimit* limit, Sink* sink) {
    Pass<CountedLimits>{query, n_bytes, block, 0, block.n, 0, limit, sink}.run();
}

// A few queries: rows in turn, a piece of the block that stays in L2 at a time. Two queries from
// memory take 1.3 to 1.9 times as long with pieces of 32 KiB, which L1 would hold: each piece
// breaks the streams (Zen 4, bench/native/bits.cpp).
template <class Limits>
void tile_by_rows(const uint8_t* queries, uint32_t nq, size_t n_bytes, const BitsBlock& block,
                  const typename Limits::Threshold* thresholds, Sink* sink) {
    constexpr size_t kPieceBytes = 128 << 10;
    const size_t fitting = kPieceBytes / n_bytes / 64 * 64;
    const uint32_t piece = fitting < 64 ? 64 : uint32_t(fitting);
    for (uint32_t first = 0; first < block.n; first += piece) {
        const uint32_t last = block.n - first < piece ? block.n : first + piece;
        for (uint32_t q = 0; q < nq; ++q) {
            Pass<Limits>{queries + q * n_bytes, n_bytes, block, first, last, q,
                         thresholds + q,        sink}
                .run();
        }
    }
}

void tile_counted(const uint8_t* queries, uint32_t nq, size_t n_bytes, const BitsBlock& block,
                  const CountedLimit* limits, Sink* sink) {
    tile_by_rows<CountedLimits>(queries, nq, n_bytes, block, limits, sink);
}

}  // namespace bits
