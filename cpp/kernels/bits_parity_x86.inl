// Many queries against blocks of 256 rows: bit-sliced counting that shares half its work.
//
// A plane is 32 bytes, one bit of each of 256 rows. Write a_i, b_i for bits 2i and 2i + 1 of q ^ x,
// and p_i for the parity of all bits before them (p_0 = 0). A full adder of the three gives
//
//   p_i + a_i + b_i = p_(i+1) + 2 maj(p_i, a_i, b_i),    so    d(q, x) = p_last + 2 sum maj_i
//
// The parities are those of the rows' planes, complemented or not, and each majority is one of
// eight planes, by the three bits of the query: a table of all of them is made once for every
// query. What remains for a query is to pick one plane for two bits and to count them with
// carry-save adders,
//
//   u = a ^ b,   sum = u ^ s,   carry = (a & b) | (u & s)
//
// in planes of weight 1, 2, 4, ... These start from 2^top - 1 - threshold / 2, so that the highest,
// of weight 2^top, is set where the distance is out.
//
// Rows are taken 32 bytes, a chunk, at a time, its table of 128 * 8 planes lying in L1; between
// chunks the counters of each query are kept in the workspace.
//
// Bottleneck: 5 vector operations for a picked plane, 2.5 for 32 bytes of a row and a query; made
// for few queries, the table (24 operations for 8 planes) weighs more.
namespace bits {

constexpr size_t kChunk = 32, kPicks = 4 * kChunk;

// Planes that a piece takes part with: those of its bytes and of zeros up to a multiple of four.
inline size_t pairs_of(size_t width) {
    return (width + 3) / 4 * 2;
}

// The eight majorities of p, a and b at table + variant * kPlane; returns the parity of the three.
inline __m256i store_majorities(__m256i p, __m256i a, __m256i b, uint8_t* table) {
    __m256i variants[8];
    make_majorities(p, a, b, variants);
    for (size_t i = 0; i < 8; ++i) store(table + i * kPlane, variants[i]);
    return _mm256_xor_si256(p, _mm256_xor_si256(a, b));
}

// The table of one piece, pairs being the same bit of two neighbouring bytes; returns the parity of
// all planes so far.
inline __m256i make_table(const uint8_t* split, size_t width, __m256i p, uint8_t* table) {
    for (size_t j = 0; j < 8; ++j) {
        __m256i groups[16], planes[16];
        for (size_t i = 0; i < 16; ++i) groups[i] = load(split + j * kSplit + i * kPlane);
        transpose_bytes(groups, planes);
        for (size_t i = 0; i < pairs_of(width); ++i, table += 8 * kPlane) {
            p = store_majorities(p, planes[2 * i], planes[2 * i + 1], table);
        }
    }
    return p;
}

// ------------------------------------------------------------------------------------- queries

// Two picks for four bits a b a b of a query, lowest first, after a parity: offsets among a pair's
// majorities, (p a b) * kPlane.
struct PickTable {
    uint8_t offsets[2][16][2];
    constexpr PickTable() : offsets() {
        for (int parity = 0; parity < 2; ++parity) {
            for (int bits = 0; bits < 16; ++bits) {
                for (int i = 0, p = parity; i < 2; ++i) {
                    const int a = bits >> (2 * i) & 1, b = bits >> (2 * i + 1) & 1;
                    offsets[parity][bits][i] = uint8_t((p * 4 + a * 2 + b) * int(kPlane));
                    p ^= a ^ b;
                }
            }
        }
    }
};
constexpr PickTable kPickTable;

// The picks of one piece of a query; parity runs on. Returns their end.
inline uint8_t* make_list(const uint8_t* query, size_t width, uint32_t* parity, uint8_t* list) {
    alignas(16) uint8_t piece[kPiece] = {};
    std::memcpy(piece, query, width);
    __m128i bytes = _mm_load_si128(reinterpret_cast<const __m128i*>(piece));
    uint32_t columns[8];  // bit j of every byte
    for (int j = 7; j >= 0; --j, bytes = _mm_add_epi8(bytes, bytes)) {
        columns[j] = uint32_t(_mm_movemask_epi8(bytes));
    }
    for (uint32_t column : columns) {
        for (size_t i = 0; i < pairs_of(width); i += 2, column >>= 4, list += 2) {
            std::memcpy(list, kPickTable.offsets[*parity][column & 15], 2);
            *parity ^= uint32_t(_mm_popcnt_u32(column & 15)) & 1;
        }
    }
    return list;
}

// Counters of weights 1 to 8.
struct LowCounters {
    __m256i ones, twos, fours, eights;

    // Four picks; returns a carry of weight 4.
    __m256i four(const uint8_t* table, const uint8_t* list) {
        const __m256i a = add_planes(ones, load(table + list[0]), load(table + 256 + list[1]));
        const __m256i b =
            add_planes(ones, load(table + 512 + list[2]), load(table + 768 + list[3]));
        return add_planes(twos, a, b);
    }
    // Sixteen; returns a carry of weight 16.
    __m256i sixteen(const uint8_t* table, const uint8_t* list) {
        const __m256i a = four(table, list), b = four(table + 1024, list + 4);
        const __m256i ab = add_planes(fours, a, b);
        const __m256i c = four(table + 2048, list + 8), d = four(table + 3072, list + 12);
        const __m256i cd = add_planes(fours, c, d);
        return add_planes(eights, ab, cd);
    }
};

// Adds a plane of weight 2^w to the counters.
inline void add_carry(__m256i carry, uint32_t w, uint32_t top, uint8_t* counters) {
    for (; w <= top; ++w) {
        const __m256i old = load(counters + w * kPlane);
        store(counters + w * kPlane, _mm256_xor_si256(old, carry));
        carry = _mm256_and_si256(old, carry);
    }
}

// Adds a query's picks, a multiple of 16, to its counters.
inline void count_picks(const uint8_t* table, const uint8_t* list, size_t n, uint32_t top,
                        uint8_t* counters) {
    LowCounters low = {load(counters), load(counters + kPlane), load(counters + 2 * kPlane),
                       load(counters + 3 * kPlane)};
    __m256i sixteens = load(counters + 4 * kPlane);
    for (; n >= 32; n -= 32, table += 32 * 8 * kPlane, list += 32) {
        const __m256i a = low.sixteen(table, list);
        const __m256i b = low.sixteen(table + 16 * 8 * kPlane, list + 16);
        add_carry(add_planes(sixteens, a, b), 5, top, counters);
    }
    if (n != 0) {
        const __m256i a = low.sixteen(table, list);
        add_carry(add_planes(sixteens, a, _mm256_setzero_si256()), 5, top, counters);
    }
    store(counters, low.ones);
    store(counters + kPlane, low.twos);
    store(counters + 2 * kPlane, low.fours);
    store(counters + 3 * kPlane, low.eights);
    store(counters + 4 * kPlane, sixteens);
}

}  // namespace bits
