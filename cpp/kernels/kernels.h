// The table of kernels: arithmetic on rows of numbers and of bits.
//
// Plain structs and function pointers only: this header is included by translation units that are
// compiled for one instruction set, and anything inline here could leak out of them with that set's
// instructions (tools/check_isa.py looks). Kernels never fail, never allocate, check nothing, and
// read no byte outside the rows they are given. No argument needs any alignment unless it says so.
//
// A kernel excludes; it doesn't decide. It reports every row whose distance (or lower bound of it)
// is at most the query's threshold, and the collectors behind the Sink keep the best.
#pragma once

#include <cstddef>
#include <cstdint>

namespace nearbit {

struct Candidate {
    uint32_t query;  // 0 for the kernels of one query
    uint32_t row;    // within the block
    float distance;  // canonical; undefined from a dense tile, a scan of integers, and scans and
                     // tiles of compact codes, whose candidates are to be re-scored
};

// Where a kernel puts candidates. When fewer than kSinkRoom places are left it calls drain, which
// empties the sink and may lower thresholds; the kernel then reads the thresholds again. What is in
// the sink when a kernel returns is the caller's to drain.
struct Sink {
    Candidate* items;
    uint32_t count;
    uint32_t capacity;  // more than kSinkRoom
    void (*drain)(Sink*);
};
// A single query's threshold falls with each drain, so it does best with a small sink: 16,384 rows
// of 32 bytes take 16.1 us, with 256 places 20.6.
enum : uint32_t { kSinkRoom = 128, kSinkOfOneQuery = kSinkRoom + 8, kSinkOfMany = 2 * kSinkRoom };

// ------------------------------------------------------------------------------------- dense
//
// Canonical distances, each one function per instruction set, so that every path that ranks gives
// the same bits:
//   kL2      sum (q_j - x_j)^2
//   kIp      -sum q_j x_j
//   kCosine  max(0, 1 - f * sum q_j x_j)     q scaled to length 1 beforehand, f = 1 / |x|
// each in at least eight sums side by side, which bounds their rounding errors.
enum class DenseForm : int { kL2, kIp, kCosine };

struct DenseBlock {
    const float* rows;  // n rows of dim floats, one behind the other
    const float*
        factors;  // one for each row: kL2 |x|^2, kIp |x|, kCosine 1 / |x| (0 for a zero row)
    const uint64_t* admit;  // bit i: row i may be reported; null: all may
    uint32_t n;
};

// The queries of a tile call. A row is reported when
//   alpha[q] * f + (beta + gamma * f) * dot(q, x) <= bound[q]
// (any order of summation and rounding). drain lowers bound[] in place.
struct DenseTile {
    const float* queries;  // nq rows of dim floats
    const float* panels;   // the same as pack_queries laid them out; null below pack_from queries
    const float* alpha;    // nq
    const float* bound;    // nq
    float beta, gamma;
    uint32_t nq;
};

struct DenseKernels {
    // sum x_j^2 of each row, summed in double: NaN or infinite exactly where a row holds either.
    void (*squared_norms)(const float* rows, size_t n, size_t dim, double* out);

    // Canonical distances from one query to chosen rows. which: row numbers; null: rows 0..n-1.
    // factors may be null unless the form is kCosine.
    void (*gather)(DenseForm form, const float* query, size_t dim, const float* rows,
                   const float* factors, const uint32_t* which, size_t n, float* out);

    // The same for n rows that lie anywhere. factors: one for each, as for gather.
    void (*gather_at)(DenseForm form, const float* query, size_t dim, const float* const* rows,
                      const float* factors, size_t n, float* out);

    // Every admitted row with canonical distance <= *threshold. block.factors as for gather.
    void (*scan)(DenseForm form, const float* query, size_t dim, const DenseBlock& block,
                 const float* threshold, Sink* sink);

    // Many queries against one block: reports supersets of what scan would.
    // workspace: tile_workspace(dim) floats, 64-byte aligned.
    void (*tile)(const DenseTile& tile, size_t dim, const DenseBlock& block, float* workspace,
                 Sink* sink);
    size_t (*tile_workspace)(size_t dim);

    // Queries in the layout that tile wants from pack_from queries on; packed_size floats, 64-byte
    // aligned.
    void (*pack_queries)(const float* queries, size_t nq, size_t dim, float* panels);
    size_t (*packed_size)(size_t nq, size_t dim);
    uint32_t pack_from;

    // bit j of the row (most significant first in each byte, as numpy.packbits) = x_j > 0; the last
    // byte is filled up with zeros. out: n rows of (dim + 7) / 8 bytes.
    void (*pack_signs)(const float* rows, size_t n, size_t dim, uint8_t* out);
};

// ------------------------------------------------------------------------------------- halves
//
// Rows of IEEE half numbers, scored against float32 queries: each canonical distance has the bits
// that DenseKernels give for the row widened to float32.
using Half = uint16_t;

struct HalfBlock {
    const Half* rows;
    const float* factors;  // as in DenseBlock
    const uint64_t* admit;
    uint32_t n;
};

struct HalfKernels {
    // To nearest, ties to even; infinite from 65520 up.
    void (*narrow)(const float* numbers, size_t n, Half* out);
    void (*widen)(const Half* halves, size_t n, float* out);

    // As those of DenseKernels.
    void (*gather)(DenseForm form, const float* query, size_t dim, const Half* rows,
                   const float* factors, const uint32_t* which, size_t n, float* out);
    void (*gather_at)(DenseForm form, const float* query, size_t dim, const Half* const* rows,
                      const float* factors, size_t n, float* out);
    void (*scan)(DenseForm form, const float* query, size_t dim, const HalfBlock& block,
                 const float* threshold, Sink* sink);
};

// ------------------------------------------------------------------------------------- integers
//
// Rows of int8 or uint8, at most 65,536 to a row, and queries of the same widened to int16. Sums
// are exact, and doubles for being so beyond 32 bits.
enum class IntType : int { kInt8, kUint8 };

struct IntBlock {
    const uint8_t* rows;  // n rows of dim numbers, one behind the other
    const uint64_t* admit;
    uint32_t n;
};

// The queries of a scan. A row is reported when
//   kL2      sum (q - x)^2 <= bound[q]
//   kIp      -sum q x <= bound[q]
//   kCosine  d * |d| >= bound[q] * sum x^2, d = sum q x, in double, which rounds
struct IntQueries {
    DenseForm form;
    IntType type;
    const int16_t* queries;       // n rows of dim
    const double* squared_norms;  // of the queries, for kL2
    const double* bound;          // drain lowers l2's and ip's and raises cosine's, in place
    uint32_t n;
};

struct IntKernels {
    // From one query to chosen rows, which: as for DenseKernels. sums: of (q - x)^2 for kL2, else
    // of q x; squared_norms: of the rows, for kCosine alone.
    void (*gather)(DenseForm form, IntType type, const int16_t* query, size_t dim,
                   const uint8_t* rows, const uint32_t* which, size_t n, double* sums,
                   double* squared_norms);

    // Candidates come without distances.
    void (*scan)(const IntQueries& queries, size_t dim, const IntBlock& block, Sink* sink);
};

// ------------------------------------------------------------------------------------- bits
//
// Canonical distance: the number of differing bits, exact. Rows of n_bytes bytes, one behind the
// other, n_bytes >= 1, at most 2^21 (so that a count is exact in a float).
struct BitsBlock {
    const uint8_t* rows;
    const uint64_t* admit;  // as in DenseBlock
    uint32_t n;
    const float* counts = nullptr;  // of set bits, one for each row; for the *_counted kernels
};

// A limit that goes with a row's count of set bits: base + per_bit * count, in float, the product
// rounded or not. Neither is negative; per_bit is at most about 1, base a count.
struct CountedLimit {
    float base, per_bit;
};

struct BitsKernels {
    void (*gather)(const uint8_t* query, size_t n_bytes, const uint8_t* rows, const uint32_t* which,
                   size_t n, uint32_t* out);

    // The same for n rows that lie anywhere.
    void (*gather_at)(const uint8_t* query, size_t n_bytes, const uint8_t* const* rows, size_t n,
                      uint32_t* out);

    // Every admitted row with distance <= *threshold; a negative threshold admits none.
    void (*scan)(const uint8_t* query, size_t n_bytes, const BitsBlock& block,
                 const int32_t* threshold, Sink* sink);

    // The same for nq queries, each with its own threshold. packed: as pack_queries made it of the
    // same queries. workspace: tile_workspace(nq, n_bytes) bytes, 64-byte aligned.
    void (*tile)(const uint8_t* queries, const uint8_t* packed, uint32_t nq, size_t n_bytes,
                 const BitsBlock& block, const int32_t* thresholds, uint8_t* workspace, Sink* sink);
    size_t (*tile_workspace)(uint32_t nq, size_t n_bytes);

    // Queries in the form that tile wants: packed_size(nq, n_bytes) bytes, which may be none.
    void (*pack_queries)(const uint8_t* queries, uint32_t nq, size_t n_bytes, uint8_t* packed);
    size_t (*packed_size)(uint32_t nq, size_t n_bytes);

    // Every admitted row whose distance is at most its own limit.
    void (*scan_counted)(const uint8_t* query, size_t n_bytes, const BitsBlock& block,
                         const CountedLimit* limit, Sink* sink);
    // The same for nq queries, each with its own limits.
    void (*tile_counted)(const uint8_t* queries, uint32_t nq, size_t n_bytes,
                         const BitsBlock& block, const CountedLimit* limits, Sink* sink);
};

// ------------------------------------------------------------------------------------- codes
//
// Compact codes, kept in groups of 32 items: byte j of item i of a group lies at group + 32 j + i,
// so that one vector holds the same byte of 32 items. A code is its factors' bytes (the scale's,
// then the norm's), then its payload. A row is reported when
//   norm - scale * (gain * sum + offset) <= bound
// in float, in any order of rounding, where sum is the integer that the query's tables and the
// row's payload make. So the caller puts a margin into the bound.

// A positive float in one or two bytes (little-endian: two byte rows of the group). 0 means 0,
// another c the float whose bits are base + (c - 1) * step: finite, and not negative, for every c.
struct SmallFloat {
    uint32_t base, step;
};

struct CodeFactors {
    SmallFloat scale, norm;
    uint8_t scale_bytes;  // 0 (then each scale is 1), 1 or 2
    uint8_t norm_bytes;   // 0 (then each norm is 0), 1 or 2
};

struct CodesBlock {
    const uint8_t* groups;  // 32-byte aligned; (n + 31) / 32 groups of 32 * code_bytes bytes
    size_t code_bytes;      // with the factors'
    CodeFactors factors;
    const uint64_t* admit;     // as in DenseBlock; row 0 is item 0 of the first group
    uint32_t n;                // items of the last group from n on hold anything
    bool from_memory = false;  // a scan of one query then asks for groups ahead
};

// Planes that lie behind a plane's bytes, one behind the other, each of no more bytes than the one
// before, and count half of it. They are looked up in the same tables, from the first on. In every
// plane bytes from `split` on count `rest` of what those before do, so that numbers which are all
// small can have tables in finer steps.
struct FinerPlanes {
    const uint32_t* n_bytes;  // n
    uint32_t n;
    size_t split;  // 0: none; only where n isn't
};

// sum: of tables[b][0][low half] + tables[b][1][high half] over the n_bytes bytes of the payload
// from first_byte on, tables[b][2][16] for the b-th of them; no byte adds more than 255. n_bytes is
// at most 32,768, so that a sum is exact in a float. Where there are finer planes, sum_1 / 2 +
// sum_2 / 4.. is added to it.
struct NibbleQuery {
    const uint8_t* tables;  // n_bytes times 32
    size_t n_bytes, first_byte;
    float gain, offset;
    FinerPlanes finer;
    float rest = 0;
};

// nq such queries on the same bytes.
struct NibbleTile {
    const uint8_t* tables;  // of query q: from tables + q * stride on
    size_t stride;
    size_t n_bytes, first_byte;
    const float *gain, *offset, *bound;  // nq each; drain lowers bound[] in place
    uint32_t nq;
    FinerPlanes finer;
    const float* rest = nullptr;  // nq, if there is a split
};

// sum: of tables[b][byte] over the same bytes, tables[b][256] for the b-th of them. n_bytes is at
// most 65,536, so that a sum is exact in a float.
struct ByteQuery {
    const uint8_t* tables;  // n_bytes times 256, 64-byte aligned
    size_t n_bytes, first_byte;
    float gain, offset;
};

struct ByteTile {
    const uint8_t* tables;  // of query q: from tables + q * stride on
    size_t stride;          // a multiple of 64
    size_t n_bytes, first_byte;
    const float *gain, *offset, *bound;
    uint32_t nq;
};

// A grid of bit planes: levels, most significant first; level l holds a bit for each of the first
// level_dims[l] dimensions (no more than the level before), least significant bit first, in
// (level_dims[l] + 7) / 8 bytes, one level behind the other. Bits that fill a byte up count for
// nothing.
struct GridQuery {
    const int16_t* values;  // one for each of level_dims[0] dimensions, -4095 to 4095
    const uint32_t* level_dims;
    uint32_t levels;  // 1 to 8; level_dims are at most 65,536
};

struct CodesKernels {
    // Every admitted row within the bound.
    void (*nibble_scan)(const NibbleQuery& query, const CodesBlock& block, const float* bound,
                        Sink* sink);
    void (*byte_scan)(const ByteQuery& query, const CodesBlock& block, const float* bound,
                      Sink* sink);

    // The same for many queries.
    void (*nibble_tile)(const NibbleTile& tile, const CodesBlock& block, Sink* sink);
    void (*byte_tile)(const ByteTile& tile, const CodesBlock& block, Sink* sink);

    // sum over l of 2^(levels - 1 - l) * (sum of the values at level l's set bits), exact, for each
    // of n payloads, from byte `first_byte` on of codes that lie anywhere.
    void (*grid_sums)(const GridQuery& query, const uint8_t* const* codes, size_t first_byte,
                      size_t n, int64_t* out);

    // sum of values_j * number_j over dim dimensions, a multiple of 8 and at most 65,536, exact,
    // for each of n rows of numbers of 8 bits, from byte `first_byte` on of codes that lie
    // anywhere. |values_j| <= 4,095.
    void (*byte_sums)(const int16_t* values, size_t dim, const uint8_t* const* codes,
                      size_t first_byte, size_t n, int64_t* out);
    // The same for numbers of 4 bits: of each 64 dimensions, then of 32, 16 and 8 of those left,
    // the first half are the low halves of bytes, the second half their high ones. A value is
    // kHighValue * values_j + values_(dim + j), where these are at most 127 and 16 in size.
    static constexpr int kHighValue = 33;
    void (*nibble_sums)(const int8_t* values, size_t dim, const uint8_t* const* codes,
                        size_t first_byte, size_t n, int64_t* out);
};

// ------------------------------------------------------------------------------------- nearest
//
// The nearest of k centroids: the least |c|^2 / 2 - <x, c>, the first of equal ones. Each is
// one float sum whose order depends on dim alone, so that a row gets the same answer in any
// batch; where all terms are integers below 2^24, it is exact. k is at most 2^31.
struct NearestKernels {
    // The centroid nearest to each of n rows of dim floats, stride floats from one to the next.
    // packed: as pack laid them out. workspace: workspace(dim) floats, 64-byte aligned.
    void (*nearest)(const float* rows, size_t n, size_t stride, size_t dim, const float* packed,
                    size_t k, float* workspace, uint32_t* out);
    size_t (*workspace)(size_t dim);

    // Centroids (k rows of dim floats) in the layout that nearest wants: packed_size floats.
    void (*pack)(const float* centroids, size_t k, size_t dim, float* packed);
    size_t (*packed_size)(size_t k, size_t dim);
};

// ------------------------------------------------------------------------------------- pairs
//
// All of some rows with all of some others, and which of them a row is linked to.
struct PairKernels {
    // out[i * stride + j] = -sum q_ik x_jk, of nq rows and n others. Each is one sum whose order
    // depends on dim alone: of either row with the other the same bits, in any batch. workspace:
    // workspace(nq, dim) floats, 64-byte aligned.
    void (*products)(const float* queries, size_t nq, const float* rows, size_t n, size_t dim,
                     float* workspace, float* out, size_t stride);
    size_t (*workspace)(size_t nq, size_t dim);

    // left_j becomes infinite where distances_j <= limits_j. Returns the first j with the least
    // left_j. n: a multiple of 16, not 0; arrays are 64-byte aligned.
    uint32_t (*cover)(const float* distances, const float* limits, float* left, size_t n);
};

// ------------------------------------------------------------------------------------- rotation
//
// Parts of transforms/rotation.h, with the same bits from every instruction set.
struct RotationKernels {
    // out_i = x_i * factors_i; out may be x.
    void (*scale)(const float* x, const float* factors, size_t n, float* out);

    // The Hadamard transform of n entries, n a power of two, unscaled. From 16 on it leaves each 16
    // entries transposed as a 4 by 4 matrix: that saves shuffling them back, and the whole is still
    // its own transpose.
    void (*hadamard)(float* x, size_t n);

    // a_i, b_i = (a_i + share * b_i) * factors_a_i, (share * a_i - b_i) * factors_b_i
    void (*mix)(float* a, float* b, size_t n, float share, const float* factors_a,
                const float* factors_b);
};

// ------------------------------------------------------------------------------------- encoding
//
// Rows to codes of grids, with the same bits from every instruction set.

// A dimension's number u stands for (u - most) * step. Arrays are filled up with zeros to n.
struct DirectionGrid {
    size_t dim, n;          // n: dim, or the next multiple of 16
    const float* steps;     // n
    const float* per_step;  // n: 1 / step
    const float* most;      // n: (2^bits - 1) / 2
    const float* spreads;   // n: what makes all |r_j| alike where rows are as the grid expects
    const float* units;     // n: 2^(levels - bits)
    const float* inverses;  // n_inverses of them to choose from; none with one level
    uint32_t n_inverses;
};

struct EncodeKernels {
    // sum x_j y_j in double.
    double (*dot)(const float* x, const float* y, size_t n);

    // x_j = x_j * scale - mean_j. Returns the sum of their squares, in double.
    double (*centre)(float* x, float scale, const float* mean, size_t n);

    // Rounds r at a multiple t of the steps, t the root mean square of spread_j r_j over one of the
    // inverses: of those the one of the best cosine. r: n floats. numbers: n, u_j times its unit.
    // y: n, (u_j - most_j) * step_j.
    void (*round_direction)(const DirectionGrid& grid, const float* r, uint8_t* numbers, float* y);

    // Bit planes of numbers of so many bits, most significant first: n_bytes[l] bytes for each, one
    // behind the other. numbers: filled up with any to a multiple of 64.
    void (*pack_planes)(const uint8_t* numbers, const uint32_t* n_bytes, uint32_t levels,
                        uint8_t* out);
};

// ------------------------------------------------------------------------------------- the table

struct Kernels {
    const char* isa;  // "scalar", "avx2", "avx512"
    DenseKernels dense;
    HalfKernels half;
    IntKernels ints;
    BitsKernels bits;
    CodesKernels codes;
    NearestKernels nearest;
    PairKernels pairs;
    RotationKernels rotation;
    EncodeKernels encode;
};

// The table in use, chosen once: the best that this processor runs, or what NEARBIT_ISA names
// (an unknown or unsupported name throws InvalidArgument with the list of what there is).
const Kernels& kernels();

// Every table that this build has and this processor runs, best last. Returns their number.
size_t runnable_kernels(const Kernels* const** tables);

}  // namespace nearbit
