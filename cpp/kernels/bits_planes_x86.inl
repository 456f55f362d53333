// Rows to planes: 256 rows of 16 bytes each, made columns of one bit.
//
// Bits first: the bytes of eight rows trade bits (6 operations for an exchange) until one byte
// holds the same bit of eight rows. Then bytes: sixteen such groups are interleaved four times
// (vpunpck), in each half of the registers apart. Rows 0..127 are in the low halves, 128..255 in
// the high ones.
//
// About 550 cycles where four operations and two shuffles can start in a cycle.
namespace bits {

constexpr size_t kRows = 256, kPlane = 32, kPiece = 16;

inline void store(void* p, __m256i x) {
    _mm256_store_si256(static_cast<__m256i*>(p), x);
}

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

// The bytes of sixteen registers, in each half apart: register b takes byte b of each, in order.
inline void transpose_bytes(const __m256i* in, __m256i* out) {
    __m256i v[16];
    for (int i = 0; i < 4; ++i) interleave(in[i], in[i + 4], in[i + 8], in[i + 12], v + 4 * i);
    for (int i = 0; i < 4; ++i) interleave(v[i], v[i + 4], v[i + 8], v[i + 12], out + 4 * i);
}

// Where to load whole pieces of n rows from: the rows themselves or, if rows are missing or width
// is below a piece, a copy filled up with zeros.
template <size_t kMost>
struct Pieces {
    const uint8_t* rows;
    size_t stride;
    alignas(32) uint8_t copy[kMost * kPiece];

    Pieces(const uint8_t* from, size_t n_bytes, size_t n, size_t width)
        : rows(from), stride(n_bytes) {
        if (n == kMost && width == kPiece) return;
        std::memset(copy, 0, sizeof copy);
        for (size_t r = 0; r < n; ++r) std::memcpy(copy + r * kPiece, from + r * n_bytes, width);
        rows = copy;
        stride = kPiece;
    }
    const uint8_t* row(size_t r) const { return rows + r * stride; }
};

// Splits the pieces of up to 64 bytes of n <= 256 rows, all while their cache lines are at hand;
// piece i at split + i * 8 * kSplit.
inline void split_rows(const uint8_t* rows, size_t stride, size_t n, size_t width, uint8_t* split) {
    const size_t whole = n == kRows ? width / kPiece : 0;
    for (size_t g = 0; g < 16; ++g) {
        const uint8_t* const low = rows + 8 * g * stride;
        for (size_t i = 0; i < whole; ++i) {
            split_bits(low + i * kPiece, low + 128 * stride + i * kPiece, stride,
                       split + i * 8 * kSplit + g * kPlane);
        }
    }
    for (size_t i = whole; i * kPiece < width; ++i) {
        const size_t rest = width - i * kPiece;
        const Pieces<kRows> pieces(rows + i * kPiece, stride, n, rest < kPiece ? rest : kPiece);
        for (size_t g = 0; g < 16; ++g) {
            split_bits(pieces.row(8 * g), pieces.row(8 * g + 128), pieces.stride,
                       split + i * 8 * kSplit + g * kPlane);
        }
    }
}

}  // namespace bits
