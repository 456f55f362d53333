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

constexpr size_t kRows = 256, kPlane = 32, kChunk = 32, kPicks = 4 * kChunk;

inline void store(void* p, __m256i x) {
    _mm256_store_si256(static_cast<__m256i*>(p), x);
}

// ------------------------------------------------------------------------------------- planes

// Exchanges the bits `mask << shift` of a with the bits `mask` of b.
template <int kShift>
inline void exchange(__m256i& a, __m256i& b, __m256i mask) {
    const __m256i t = _mm256_and_si256(_mm256_xor_si256(_mm256_srli_epi16(a, kShift), b), mask);
    b = _mm256_xor_si256(b, t);
    a = _mm256_xor_si256(a, _mm256_slli_epi16(t, kShift));
}

// Sixteen bytes of eight rows in the low half and of eight others in the high half. Of each byte,
// bit j of eight rows goes to one byte at out + j * kSplit.
constexpr size_t kSplit = 16 * kPlane;
inline void split_bits(const uint8_t* low, const uint8_t* high, size_t stride, uint8_t* out) {
    const __m256i halves = _mm256_set1_epi8(0x0f), pairs = _mm256_set1_epi8(0x33);
    const __m256i bits = _mm256_set1_epi8(0x55);
    __m256i v[8];
    for (size_t i = 0; i < 8; ++i) v[i] = two_halves(low + i * stride, high + i * stride);
    for (int i = 0; i < 4; ++i) exchange<4>(v[i], v[i + 4], halves);
    for (int i = 0; i < 2; ++i) exchange<2>(v[i], v[i + 2], pairs);
    for (int i = 4; i < 6; ++i) exchange<2>(v[i], v[i + 2], pairs);
    for (int i = 0; i < 8; i += 2) exchange<1>(v[i], v[i + 1], bits);
    for (size_t j = 0; j < 8; ++j) store(out + j * kSplit, v[j]);
}

// Two rounds of interleaving the bytes of a and c, b and d; four of them transpose sixteen.
inline void interleave(__m256i a, __m256i b, __m256i c, __m256i d, __m256i* out) {
    const __m256i ac = _mm256_unpacklo_epi8(a, c), ca = _mm256_unpackhi_epi8(a, c);
    const __m256i bd = _mm256_unpacklo_epi8(b, d), db = _mm256_unpackhi_epi8(b, d);
    out[0] = _mm256_unpacklo_epi8(ac, bd);
    out[1] = _mm256_unpackhi_epi8(ac, bd);
    out[2] = _mm256_unpacklo_epi8(ca, db);
    out[3] = _mm256_unpackhi_epi8(ca, db);
}

constexpr size_t kPiece = 16;  // bytes of a row that are made planes of at a time

// The planes of one piece of 256 rows: bit j of byte b at planes + (8 b + j) * kPlane.
inline void make_planes(const uint8_t* rows, size_t stride, uint8_t* split, uint8_t* planes) {
    for (size_t g = 0; g < 16; ++g) {
        const uint8_t* const low = rows + 8 * g * stride;
        split_bits(low, low + 128 * stride, stride, split + g * kPlane);
    }
    for (size_t j = 0; j < 8; ++j, split += kSplit, planes += kPlane) {
        __m256i v[16], w[16];
        for (size_t i = 0; i < 4; ++i) {
            interleave(load(split + i * kPlane), load(split + (i + 4) * kPlane),
                       load(split + (i + 8) * kPlane), load(split + (i + 12) * kPlane), v + 4 * i);
        }
        for (size_t i = 0; i < 4; ++i) interleave(v[i], v[i + 4], v[i + 8], v[i + 12], w + 4 * i);
        for (size_t b = 0; b < 16; ++b) store(planes + 8 * b * kPlane, w[b]);
    }
}

// Those of n <= 256 rows, the last of them kPiece or more before the end of the block, or copied.
// Missing rows are zeros, and so are the bytes behind width.
inline void make_some_planes(const uint8_t* rows, size_t stride, size_t n, size_t width,
                             const uint8_t* rows_end, uint8_t* split, uint8_t* planes) {
    const bool reachable = n == kRows && size_t(rows_end - rows) >= (n - 1) * stride + kPiece;
    if (reachable && width == kPiece) return make_planes(rows, stride, split, planes);
    alignas(32) uint8_t copy[kRows * kPiece];
    std::memset(copy, 0, sizeof copy);
    for (size_t r = 0; r < n; ++r) std::memcpy(copy + r * kPiece, rows + r * stride, width);
    make_planes(copy, kPiece, split, planes);
}

// The eight majorities of each pair of planes; returns the parity of all planes so far.
inline __m256i make_table(const uint8_t* planes, size_t groups, __m256i p, uint8_t* table) {
    const __m256i ones = _mm256_set1_epi8(-1);
    for (size_t g = 0; g < groups; ++g, planes += 2 * kPlane, table += 8 * kPlane) {
        const __m256i a = load(planes), b = load(planes + kPlane), u = _mm256_xor_si256(a, b);
        // Where a and b are equal they decide, elsewhere p does; and so on with a, b or p negated.
        const __m256i equal_a = _mm256_andnot_si256(u, a), other_a = _mm256_and_si256(u, a);
        const __m256i equal_p = _mm256_andnot_si256(u, p), other_p = _mm256_and_si256(u, p);
        const __m256i pab[4] = {
            _mm256_or_si256(equal_a, other_p), _mm256_or_si256(equal_p, other_a),
            _mm256_or_si256(equal_p, _mm256_xor_si256(u, other_a)),
            _mm256_or_si256(_mm256_andnot_si256(_mm256_or_si256(u, a), ones), other_p)};
        for (size_t i = 0; i < 4; ++i) {
            store(table + i * kPlane, pab[i]);
            store(table + (7 - i) * kPlane, _mm256_xor_si256(pab[i], ones));
        }
        p = _mm256_xor_si256(p, u);
    }
    return p;
}

// ------------------------------------------------------------------------------------- queries

// The picks of a byte of a query: four offsets within their pair's majorities, (p a b) * kPlane.
struct PickTable {
    uint8_t offsets[2][256][4];
    constexpr PickTable() : offsets() {
        for (int parity = 0; parity < 2; ++parity) {
            for (int byte = 0; byte < 256; ++byte) {
                int p = parity;
                for (int i = 0; i < 4; ++i) {
                    const int a = byte >> (2 * i) & 1, b = byte >> (2 * i + 1) & 1;
                    offsets[parity][byte][i] = uint8_t((p * 4 + a * 2 + b) * int(kPlane));
                    p ^= a ^ b;
                }
            }
        }
    }
};
alignas(64) constexpr PickTable kPickTable;

// The picks of one chunk, up to a multiple of 16; `parity` runs on. Behind the end all rows are
// zeros, whose majority with any parity is zero.
inline void make_list(const uint8_t* query, size_t width, uint32_t* parity, uint8_t* list) {
    size_t b = 0;
    for (; b < width; ++b) {
        std::memcpy(list + 4 * b, kPickTable.offsets[*parity][query[b]], 4);
        *parity ^= uint32_t(_mm_popcnt_u32(query[b])) & 1;
    }
    for (; b % 4 != 0; ++b) std::memset(list + 4 * b, 0, 4);
}

// What is kept of a query beside its counters.
struct QueryState {
    uint32_t parity;
    uint32_t start;  // what its counters began with
};

// Adds a and b to sum; returns the carry.
inline __m256i add_planes(__m256i& sum, __m256i a, __m256i b) {
    const __m256i u = _mm256_xor_si256(a, b);
    const __m256i carry = _mm256_or_si256(_mm256_and_si256(a, b), _mm256_and_si256(u, sum));
    sum = _mm256_xor_si256(u, sum);
    return carry;
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
