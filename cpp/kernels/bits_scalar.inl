// Hamming kernels in plain C++: the reference, and what runs where there is no better one.

// Bits set in a word, by adding neighbours: no builtin is as fast on every compiler without POPCNT.
inline uint32_t popcount(uint64_t x) {
    x -= (x >> 1) & 0x5555555555555555u;
    x = (x & 0x3333333333333333u) + ((x >> 2) & 0x3333333333333333u);
    x = (x + (x >> 4)) & 0x0f0f0f0f0f0f0f0fu;
    return uint32_t((x * 0x0101010101010101u) >> 56);
}

inline uint64_t load_bytes(const uint8_t* p, size_t n) {
    uint64_t word = 0;
    for (size_t b = 0; b < n; ++b) word |= uint64_t(p[b]) << (8 * b);
    return word;
}

inline uint32_t hamming(const uint8_t* a, const uint8_t* b, size_t n_bytes) {
    uint32_t sum = 0;
    size_t at = 0;
    for (; at + 8 <= n_bytes; at += 8)
        sum += popcount(load_bytes(a + at, 8) ^ load_bytes(b + at, 8));
    if (at < n_bytes) {
        sum += popcount(load_bytes(a + at, n_bytes - at) ^ load_bytes(b + at, n_bytes - at));
    }
    return sum;
}

void bits_gather(const uint8_t* query, size_t n_bytes, const uint8_t* rows, const uint32_t* which,
                 size_t n, uint32_t* out) {
    for (size_t i = 0; i < n; ++i) {
        out[i] = hamming(query, rows + (which ? which[i] : i) * n_bytes, n_bytes);
    }
}

void bits_gather_at(const uint8_t* query, size_t n_bytes, const uint8_t* const* rows, size_t n,
                    uint32_t* out) {
    for (size_t i = 0; i < n; ++i) out[i] = hamming(query, rows[i], n_bytes);
}

void bits_scan(const uint8_t* query, size_t n_bytes, const BitsBlock& block,
               const int32_t* threshold, Sink* sink) {
    for (uint32_t row = 0; row < block.n; ++row) {
        const uint32_t d = hamming(query, block.rows + row * n_bytes, n_bytes);
        if (int32_t(d) <= *threshold && admitted(block.admit, row)) {
            make_room(sink);
            report(sink, 0, row, float(d));
        }
    }
}

void bits_tile(const uint8_t* queries, const uint8_t*, uint32_t nq, size_t n_bytes,
               const BitsBlock& block, const int32_t* thresholds, uint8_t*, Sink* sink) {
    for (uint32_t row = 0; row < block.n; ++row) {
        for (uint32_t q = 0; q < nq; ++q) {
            const uint32_t d = hamming(queries + q * n_bytes, block.rows + row * n_bytes, n_bytes);
            if (int32_t(d) <= thresholds[q] && admitted(block.admit, row)) {
                make_room(sink);
                report(sink, q, row, float(d));
            }
        }
    }
}

void bits_pack_queries(const uint8_t*, uint32_t, size_t, uint8_t*) {}

size_t bits_no_bytes(uint32_t, size_t) {
    return 0;
}

void bits_tile_counted(const uint8_t* queries, uint32_t nq, size_t n_bytes, const BitsBlock& block,
                       const CountedLimit* limits, Sink* sink) {
    for (uint32_t row = 0; row < block.n; ++row) {
        if (!admitted(block.admit, row)) continue;
        for (uint32_t q = 0; q < nq; ++q) {
            const float d =
                float(hamming(queries + q * n_bytes, block.rows + row * n_bytes, n_bytes));
            if (d <= limits[q].base + limits[q].per_bit * block.counts[row]) {
                make_room(sink);
                report(sink, q, row, d);
            }
        }
    }
}

void bits_scan_counted(const uint8_t* query, size_t n_bytes, const BitsBlock& block,
                       const CountedLimit* limit, Sink* sink) {
    bits_tile_counted(query, 1, n_bytes, block, limit, sink);
}

constexpr BitsKernels bits_kernels = {bits_gather,   bits_gather_at,    bits_scan,
                                      bits_tile,     bits_no_bytes,     bits_pack_queries,
                                      bits_no_bytes, bits_scan_counted, bits_tile_counted};
