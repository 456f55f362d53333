// Hamming kernels, AVX-512: which algorithm serves how many queries, and the table.
namespace bits {

// As fast as rows at about 50 queries (Zen 4, bench/native/bits.cpp).
inline uint32_t parities_from(size_t n_bytes) {
    return n_bytes > kNarrowBytes ? ~0u : 48;
}

void tile(const uint8_t* queries, uint32_t nq, size_t n_bytes, const BitsBlock& block,
          const int32_t* thresholds, uint8_t* workspace, Sink* sink) {
    if (nq >= parities_from(n_bytes)) {
        tile_by_parities(queries, nq, n_bytes, block, thresholds, workspace, sink);
    } else {
        tile_by_rows(queries, nq, n_bytes, block, thresholds, sink);
    }
}

size_t tile_workspace(uint32_t nq, size_t n_bytes) {
    return nq >= parities_from(n_bytes) ? ParityPlan(nq, n_bytes).size() : 0;
}

}  // namespace bits

constexpr BitsKernels bits_kernels = {bits::gather, bits::scan, bits::tile, bits::tile_workspace};
