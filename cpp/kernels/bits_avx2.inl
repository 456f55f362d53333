// Hamming kernels, AVX2: which algorithm serves how many queries, and the table.
namespace bits {

// As fast: rows and look-ups at 3 queries for short rows, and at any number for long ones; parities
// and look-ups at 12; parities and rows at 20 (Zen 4, bench/native/bits.cpp).
constexpr size_t kMostLookupBytes = 64;
constexpr uint32_t kLookupsFrom = 4;

inline uint32_t parities_from(size_t n_bytes) {
    return n_bytes > kNarrowBytes ? ~0u : n_bytes > kMostLookupBytes ? 20 : 12;
}

inline bool by_lookups(uint32_t nq, size_t n_bytes) {
    return nq >= kLookupsFrom && n_bytes <= kMostLookupBytes;
}

void tile(const uint8_t* queries, uint32_t nq, size_t n_bytes, const BitsBlock& block,
          const int32_t* thresholds, uint8_t* workspace, Sink* sink) {
    if (nq >= parities_from(n_bytes)) {
        tile_by_parities(queries, nq, n_bytes, block, thresholds, workspace, sink);
    } else if (by_lookups(nq, n_bytes)) {
        tile_by_lookups(queries, nq, n_bytes, block, thresholds, workspace, sink);
    } else {
        tile_by_rows(queries, nq, n_bytes, block, thresholds, sink);
    }
}

size_t tile_workspace(uint32_t nq, size_t n_bytes) {
    if (nq >= parities_from(n_bytes)) return ParityPlan(nq, n_bytes).size();
    return by_lookups(nq, n_bytes) ? lookup_workspace(nq, n_bytes) : 0;
}

}  // namespace bits

constexpr BitsKernels bits_kernels = {bits::gather, bits::scan, bits::tile, bits::tile_workspace};
