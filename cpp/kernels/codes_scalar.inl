// Compact codes in plain C++: the reference, and what runs where there is no better one.
namespace codes {

// What sums a group's payload, and how a sum becomes a distance.
struct PlainNibbles {
    const uint8_t* tables;
    size_t n_bytes;

    void add(const uint8_t* payload, uint32_t* sums) const {
        for (size_t b = 0; b < n_bytes; ++b) {
            const uint8_t* table = tables + 32 * b;
            const uint8_t* bytes = payload + kLanes * b;
            for (uint32_t i = 0; i < kLanes; ++i) {
                sums[i] += uint32_t(table[bytes[i] & 15]) + table[16 + (bytes[i] >> 4)];
            }
        }
    }
};

struct PlainBytes {
    const uint8_t* tables;
    size_t n_bytes;

    void add(const uint8_t* payload, uint32_t* sums) const {
        for (size_t b = 0; b < n_bytes; ++b) {
            const uint8_t* table = tables + 256 * b;
            const uint8_t* bytes = payload + kLanes * b;
            for (uint32_t i = 0; i < kLanes; ++i) sums[i] += table[bytes[i]];
        }
    }
};

template <class Tables>
void plain_group(const Tables& tables, size_t first_byte, float gain, float offset,
                 const CodesBlock& block, uint32_t group, uint32_t query, const float* bound,
                 Sink* sink) {
    const uint32_t lanes = lanes_of(block, group);
    if (lanes == 0) return;
    const uint8_t* at = group_at(block, group);
    uint32_t sums[kLanes] = {};
    tables.add(at + kLanes * (factor_bytes(block.factors) + first_byte), sums);
    for (uint32_t i = 0; i < kLanes; ++i) {
        if ((lanes >> i & 1) == 0) continue;
        const Factors factors = factors_of(block.factors, at, i);
        if (factors.norm - factors.scale * (gain * float(sums[i]) + offset) <= *bound) {
            make_room(sink);
            report(sink, query, group * kLanes + i, 0.0f);
        }
    }
}

void nibble_scan(const NibbleQuery& query, const CodesBlock& block, const float* bound,
                 Sink* sink) {
    const PlainNibbles tables = {query.tables, query.n_bytes};
    for (uint32_t group = 0; group < groups_of(block); ++group) {
        plain_group(tables, query.first_byte, query.gain, query.offset, block, group, 0, bound,
                    sink);
    }
}

void byte_scan(const ByteQuery& query, const CodesBlock& block, const float* bound, Sink* sink) {
    const PlainBytes tables = {query.tables, query.n_bytes};
    for (uint32_t group = 0; group < groups_of(block); ++group) {
        plain_group(tables, query.first_byte, query.gain, query.offset, block, group, 0, bound,
                    sink);
    }
}

void nibble_tile(const NibbleTile& tile, const CodesBlock& block, Sink* sink) {
    for (uint32_t group = 0; group < groups_of(block); ++group) {
        for (uint32_t q = 0; q < tile.nq; ++q) {
            const PlainNibbles tables = {tile.tables + q * tile.stride, tile.n_bytes};
            plain_group(tables, tile.first_byte, tile.gain[q], tile.offset[q], block, group, q,
                        tile.bound + q, sink);
        }
    }
}

void byte_tile(const ByteTile& tile, const CodesBlock& block, Sink* sink) {
    for (uint32_t group = 0; group < groups_of(block); ++group) {
        for (uint32_t q = 0; q < tile.nq; ++q) {
            const PlainBytes tables = {tile.tables + q * tile.stride, tile.n_bytes};
            plain_group(tables, tile.first_byte, tile.gain[q], tile.offset[q], block, group, q,
                        tile.bound + q, sink);
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

void grid_sums(const GridQuery& query, const uint8_t* payload, size_t stride, const uint32_t* which,
               size_t n, int64_t* out) {
    for (size_t i = 0; i < n; ++i) {
        const uint8_t* level = payload + (which ? which[i] : i) * stride;
        int64_t sum = 0;
        for (uint32_t l = 0; l < query.levels; ++l) {
            const uint32_t dims = query.level_dims[l];
            sum = 2 * sum + plain_level(query.values, level, 0, dims);
            level += (dims + 7) / 8;
        }
        out[i] = sum;
    }
}

}  // namespace codes

constexpr CodesKernels codes_kernels = {codes::nibble_scan, codes::byte_scan, codes::nibble_tile,
                                        codes::byte_tile, codes::grid_sums};
