// One query against rows as they are stored: scan and gather.
//
// Sixteen distances are compared with the threshold at once; the only branch is taken when one of
// them is within it. Rows above kNarrowBytes go one by one.
//
// From memory, what counts is requests in flight: two streams, the halves of the block, and a
// prefetch ahead of each.
namespace bits {

#ifdef _MSC_VER
#define NEARBIT_COLD __declspec(noinline)
#else
#define NEARBIT_COLD __attribute__((noinline))
#endif

constexpr size_t kAhead = 2048;  // best of 512 to 8192 bytes, from memory, on Zen 5

inline void prefetch(const uint8_t* p, size_t n) {
    for (size_t line = 0; line < n; line += 64) {
        _mm_prefetch(reinterpret_cast<const char*>(p + line), _MM_HINT_T0);
    }
}

// One query against rows first..last-1 of a block; first is a multiple of 16.
struct Pass {
    const uint8_t* query;
    size_t n_bytes;
    const BitsBlock& block;
    uint32_t first, last;
    uint32_t number;  // of the query
    const int32_t* threshold;
    Sink* sink;

    const uint8_t* row(size_t i) const { return block.rows + i * n_bytes; }

    void one_by_one(uint32_t begin, uint32_t end) const {
        for (uint32_t i = begin; i < end; ++i) {
            if (!admitted(block.admit, i)) continue;
            const uint32_t d = one_distance(query, row(i), n_bytes);
            if (int32_t(d) > *threshold) continue;
            make_room(sink);
            report(sink, number, i, float(d));
        }
    }

    // The threshold as sixteen exclusive limits; no narrow distance is above 32760.
    __m256i limit() const {
        const int32_t t = *threshold;
        return _mm256_set1_epi16(int16_t(t < 0 ? 0 : t < 32766 ? t + 1 : 32767));
    }

    // Sixteen rows from i, a multiple of 16, of which at least one is within the limit.
    NEARBIT_COLD void report_some(__m256i distances, uint32_t within, uint32_t i) const {
        alignas(32) uint16_t d[16];
        _mm256_store_si256(reinterpret_cast<__m256i*>(d), distances);
        make_room(sink);
        for (; within != 0; within &= within - 1) {
            const uint32_t j = uint32_t(_tzcnt_u32(within));
            if (admitted(block.admit, i + j)) report(sink, number, i + j, float(d[j]));
        }
    }

    bool any_admitted(uint32_t i) const {  // of sixteen rows
        return block.admit == nullptr || (block.admit[i >> 6] >> (i & 63) & 0xffff) != 0;
    }

    template <class Query>
    void sixteen_rows(const Query& shape, const uint8_t* rows, uint32_t i, __m256i& limits) const {
        const __m256i distances = sixteen(shape, rows);
        const __m256i below = _mm256_cmpgt_epi16(limits, distances);
        if (_mm256_testz_si256(below, below)) return;
        const uint32_t within = _pext_u32(uint32_t(_mm256_movemask_epi8(below)), 0x55555555);
        report_some(distances, within, i);
        limits = limit();
    }

    template <class Query>
    void narrow(const Query& shape, uint32_t end) const {
        const uint32_t half = (end - first) / 32 * 16;
        const size_t step = 16 * shape.n_bytes();
        const uint8_t *low = row(first), *high = row(first + half);
        __m256i limits = limit();
        uint32_t i = first;
        for (; i < first + half; i += 16, low += step, high += step) {
            prefetch(low + kAhead, step);
            prefetch(high + kAhead, step);
            if (any_admitted(i)) sixteen_rows(shape, low, i, limits);
            if (any_admitted(i + half)) sixteen_rows(shape, high, i + half, limits);
        }
        i += half;
        for (; i + 16 <= end; i += 16) {
            if (any_admitted(i)) sixteen_rows(shape, row(i), i, limits);
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

void gather(const uint8_t* query, size_t n_bytes, const uint8_t* rows, const uint32_t* which,
            size_t n, uint32_t* out) {
    constexpr size_t kRowsAhead = 8, kLines = 4;
    for (size_t i = 0; i < n; ++i) {
        if (which != nullptr && i + kRowsAhead < n) {
            const uint8_t* next = rows + which[i + kRowsAhead] * n_bytes;
            for (size_t at = 0; at < n_bytes && at < 64 * kLines; at += 64) {
                _mm_prefetch(reinterpret_cast<const char*>(next + at), _MM_HINT_T0);
            }
        }
        out[i] = one_distance(query, rows + (which ? which[i] : i) * n_bytes, n_bytes);
    }
}

void scan(const uint8_t* query, size_t n_bytes, const BitsBlock& block, const int32_t* threshold,
          Sink* sink) {
    Pass{query, n_bytes, block, 0, block.n, 0, threshold, sink}.run();
}

}  // namespace bits
