// Compact codes in plain C++: the reference, and what runs where there is no better one.
namespace codes {

// What sums a group's bytes: each byte by its table or tables.
struct PlainNibbles {
    const uint8_t* tables;

    void add(const uint8_t* bytes, size_t begin, size_t end, uint32_t* sums) const {
        for (size_t b = begin; b < end; ++b) {
            const uint8_t* table = tables + 32 * b;
            for (uint32_t i = 0; i < kLanes; ++i) {
                const uint8_t byte = bytes[b * kLanes + i];
                sums[i] += uint32_t(table[byte & 15]) + table[16 + (byte >> 4)];
            }
        }
    }
};

struct PlainBytes {
    const uint8_t* tables;

    void add(const uint8_t* bytes, size_t begin, size_t end, uint32_t* sums) const {
        for (size_t b = begin; b < end; ++b) {
            const uint8_t* table = tables + 256 * b;
            for (uint32_t i = 0; i < kLanes; ++i) sums[i] += table[bytes[b * kLanes + i]];
        }
    }
};

// How sums become distances.
struct PlainTerms {
    size_t n_bytes, first_byte;
    float gain, offset;
    FinerPlanes finer;
    float rest;
    uint32_t query;
    const float* bound;
};

template <class Tables>
void plain_group(const Tables& tables, const PlainTerms& terms, const CodesBlock& block,
                 uint32_t group, Sink* sink) {
    const uint32_t lanes = lanes_of(block, group);
    if (lanes == 0) return;
    const uint8_t* at = group_at(block, group);
    const uint8_t* bytes = at + kLanes * (factor_bytes(block.factors) + terms.first_byte);
    float all[kLanes] = {};
    size_t n_bytes = terms.n_bytes;
    float weight = 1;
    const auto add = [&](size_t begin, size_t end, float times) {
        uint32_t sums[kLanes] = {};
        tables.add(bytes, begin, end, sums);
        for (uint32_t i = 0; i < kLanes; ++i) all[i] += times * float(sums[i]);
    };
    for (uint32_t l = 0;; ++l) {
        const size_t first = bytes_before_split(terms.finer, n_bytes);
        add(0, first, weight);
        if (first < n_bytes) add(first, n_bytes, weight * terms.rest);
        if (l == terms.finer.n) break;
        bytes += kLanes * n_bytes;
        n_bytes = terms.finer.n_bytes[l];
        weight /= 2;
    }
    for (uint32_t i = 0; i < kLanes; ++i) {
        if ((lanes >> i & 1) == 0) continue;
        const Factors factors = factors_of(block.factors, at, i);
        const float value = terms.gain * all[i] + terms.offset;
        if (!(factors.norm - factors.scale * value <= *terms.bound)) continue;
        make_room(sink);
        report(sink, terms.query, group * kLanes + i, 0.0f);
    }
}

void nibble_scan(const NibbleQuery& query, const CodesBlock& block, const float* bound,
                 Sink* sink) {
    const PlainTerms terms = {query.n_bytes, query.first_byte, query.gain, query.offset,
                              query.finer,   query.rest,       0,          bound};
    for (uint32_t group = 0; group < groups_of(block); ++group) {
        plain_group(PlainNibbles{query.tables}, terms, block, group, sink);
    }
}

void byte_scan(const ByteQuery& query, const CodesBlock& block, const float* bound, Sink* sink) {
    const PlainTerms terms = {query.n_bytes, query.first_byte, query.gain, query.offset, {}, 0, 0,
                              bound};
    for (uint32_t group = 0; group < groups_of(block); ++group) {
        plain_group(PlainBytes{query.tables}, terms, block, group, sink);
    }
}

void nibble_tile(const NibbleTile& tile, const CodesBlock& block, Sink* sink) {
    for (uint32_t group = 0; group < groups_of(block); ++group) {
        for (uint32_t q = 0; q < tile.nq; ++q) {
            const float rest = tile.finer.split != 0 ? tile.rest[q] : 0;
            const PlainTerms terms = {
                tile.n_bytes,  tile.first_byte, tile.gain[q], tile.offset[q], tile.finer, rest, q,
                tile.bound + q};
            plain_group(PlainNibbles{tile.tables + q * tile.stride}, terms, block, group, sink);
        }
    }
}

void byte_tile(const ByteTile& tile, const CodesBlock& block, Sink* sink) {
    for (uint32_t group = 0; group < groups_of(block); ++group) {
        for (uint32_t q = 0; q < tile.nq; ++q) {
            const PlainTerms terms = {
                tile.n_bytes,  tile.first_byte, tile.gain[q], tile.offset[q], {}, 0, q,
                tile.bound + q};
            plain_group(PlainBytes{tile.tables + q * tile.stride}, terms, block, group, sink);
        }
    }
}

// The values at the set bits of dimensions first..last-1 of one level.
inline int64_t plain_level(const int16_t* values, const uint8_t* level, uint32_t first,
                           uint32_t last) {
    int64_t sum = 0;
    for (uint32_t j = first; j < last; ++j) sum += (level[j / 8] >> (j % 8) & 1) * values[j];
    return sum;
}

void grid_sums(const GridQuery& query, const uint8_t* const* codes, size_t first_byte, size_t n,
               int64_t* out) {
    for (size_t i = 0; i < n; ++i) {
        const uint8_t* level = codes[i] + first_byte;
        int64_t sum = 0;
        for (uint32_t l = 0; l < query.levels; ++l) {
            const uint32_t dims = query.level_dims[l];
            sum = 2 * sum + plain_level(query.values, level, 0, dims);
            level += (dims + 7) / 8;
        }
        out[i] = sum;
    }
}

void byte_sums(const int16_t* values, size_t dim, const uint8_t* const* codes, size_t first_byte,
               size_t n, int64_t* out) {
    for (size_t i = 0; i < n; ++i) {
        const uint8_t* const numbers = codes[i] + first_byte;
        int64_t sum = 0;
        for (size_t j = 0; j < dim; ++j) sum += int64_t(values[j]) * numbers[j];
        out[i] = sum;
    }
}

void nibble_sums(const int8_t* values, size_t dim, const uint8_t* const* codes, size_t first_byte,
                 size_t n, int64_t* out) {
    for (size_t i = 0; i < n; ++i) {
        const uint8_t* numbers = codes[i] + first_byte;
        int64_t sum = 0;
        size_t at = 0;
        for (size_t together = 64; together >= 8; together /= 2) {
            const size_t half = together / 2;
            for (; at + together <= dim; at += together, numbers += half) {
                for (size_t j = 0; j < half; ++j) {
                    const int8_t *const first = values + at + j, *const second = first + half;
                    sum += (CodesKernels::kHighValue * first[0] + first[dim]) * (numbers[j] & 15);
                    sum += (CodesKernels::kHighValue * second[0] + second[dim]) * (numbers[j] >> 4);
                }
            }
        }
        out[i] = sum;
    }
}

}  // namespace codes

constexpr CodesKernels codes_kernels = {codes::nibble_scan, codes::byte_scan, codes::nibble_tile,
                                        codes::byte_tile,   codes::grid_sums, codes::byte_sums,
                                        codes::nibble_sums};
