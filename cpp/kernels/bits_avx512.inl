// Hamming kernels, AVX-512: which algorithm serves how many queries, and the table.
namespace bits {

// As fast as rows at about 50 queries (Zen 4, bench/native/bits.cpp).
inline uint32_t parities_from(size_t n_bytes) {
    return n_bytes > kNarrowBytes ? ~0u : 48;
}

void tile(const uint8_t* queries, const uint8_t* packed, uint32_t nq, size_t n_bytes,
          const BitsBlock& block, const int32_t* thresholds, uint8_t* workspace, Sink* sink) {
    if (nq >= parities_from(n_bytes)) {
        tile_by_parities(packed, nq, n_bytes, block, thresholds, workspace, sink);
    } else {
        tile_by_rows<SameLimits>(queries, nq, n_bytes, block, thresholds, sink);
    }
}

size_t tile_workspace(uint32_t nq, size_t n_bytes) {
    if (nq >= parities_from(n_bytes)) return ParityPlan(nq, n_bytes).workspace_size();
    return 0;
}

void pack_queries(const uint8_t* queries, uint32_t nq, size_t n_bytes, uint8_t* packed) {
    if (nq >= parities_from(n_bytes)) ParityPlan(nq, n_bytes).pack(queries, packed);
}

size_t packed_size(uint32_t nq, size_t n_bytes) {
    if (nq >= parities_from(n_bytes)) return ParityPlan(nq, n_bytes).packed_size();
    return 0;
}

}  // namespace bits

constexpr BitsKernels bits_kernels = {bits::gather,      bits::gather_at,      bits::scan,
                                      bits::tile,        bits::tile_workspace, bits::pack_queries,
                                      bits::packed_size, bits::scan_counted,   bits::tile_counted};
