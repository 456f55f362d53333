// One query against rows as they are stored: scan and gather.
//
// Sixteen distances are compared with the threshold at once; the only branch is taken when one of
// them is within it. Rows above kNarrowBytes go one by one.
//
// From memory, what counts is requests in flight: two streams, the halves of the block, and a
// prefetch ahead of each.
namespace bits {

constexpr size_t kAhead = 2048;

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

    // Rows i..i+15; i is a multiple of 8.
    template <class Query>
    void sixteen_rows(const Query& shape, uint32_t i, __m256i& limits) const {
        uint32_t within = 0xffff;
        if (block.admit != nullptr) {
            within &= uint32_t(block.admit[i >> 6] >> (i & 63));
            if ((i & 63) == 56) within |= uint32_t(block.admit[(i >> 6) + 1] << 8) & 0xffff;
            if (within == 0) return;
        }
        const __m256i distances = sixteen(shape, row(i));
        const __m256i below = _mm256_cmpgt_epi16(limits, distances);
        if (_mm256_testz_si256(below, below)) return;
        within &= _pext_u32(uint32_t(_mm256_movemask_epi8(below)), 0x55555555);
        alignas(32) uint16_t d[16];
        _mm256_store_si256(reinterpret_cast<__m256i*>(d), distances);
        make_room(sink);
        for (; within != 0; within &= within - 1) {
            const uint32_t j = uint32_t(_tzcnt_u32(within));
            report(sink, number, i + j, float(d[j]));
        }
        limits = limit();
    }

    // Rows i..i+7 by words; i is a multiple of 8.
    template <class Query>
    void eight_rows(const Query& shape, uint32_t i, int32_t& highest) const {
        if (block.admit != nullptr && (block.admit[i >> 6] >> (i & 63) & 0xff) == 0) return;
        const size_t n = shape.n_bytes();
        const uint8_t* at = block.rows + i * n;
        uint32_t d[8];
        for (int j = 0; j < 8; ++j) d[j] = shape.one(at + j * n);
        for (uint32_t j = 0; j < 8; ++j) {
            if (int32_t(d[j]) > highest) continue;
            if (!admitted(block.admit, i + j)) continue;
            make_room(sink);
            report(sink, number, i + j, float(d[j]));
            highest = *threshold;
        }
    }

    template <class Query>
    void narrow(const Query& shape, uint32_t end) const {
        const uint32_t steps = (end - first) / 24;
        const size_t n = shape.n_bytes();
        uint32_t i = first, k = first + 16 * steps;
        __m256i limits = limit();
        int32_t highest = *threshold;
        for (uint32_t step = 0; step < steps; ++step, i += 16, k += 8) {
            prefetch(row(i) + kAhead, 16 * n);
            prefetch(row(k) + kAhead, 8 * n);
            sixteen_rows(shape, i, limits);
            eight_rows(shape, k, highest);
        }
        for (; k + 16 <= end; k += 16) sixteen_rows(shape, k, limits);
        one_by_one(k, last);
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
