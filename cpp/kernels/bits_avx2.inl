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

void tile(const uint8_t* queries, const uint8_t* packed, uint32_t nq, size_t n_bytes,
          const BitsBlock& block, const int32_t* thresholds, uint8_t* workspace, Sink* sink) {
    if (nq >= parities_from(n_bytes)) {
        tile_by_parities(packed, nq, n_bytes, block, thresholds, workspace, sink);
    } else if (by_lookups(nq, n_bytes)) {
        tile_by_lookups(packed, nq, n_bytes, block, thresholds, workspace, sink);
    } else {
        tile_by_rows<SameLimits>(queries, nq, n_bytes, block, thresholds, sink);
    }
}

size_t tile_workspace(uint32_t nq, size_t n_bytes) {
    if (nq >= parities_from(n_bytes)) return ParityPlan(nq, n_bytes).workspace_size();
    return by_lookups(nq, n_bytes) ? lookup_workspace(n_bytes) : 0;
}

void pack_queries(const uint8_t* queries, uint32_t nq, size_t n_bytes, uint8_t* packed) {
    if (nq >= parities_from(n_bytes)) {
        ParityPlan(nq, n_bytes).pack(queries, packed);
    } else if (by_lookups(nq, n_bytes)) {
        make_offsets(queries, nq * n_bytes, packed);
    }
}

size_t packed_size(uint32_t nq, size_t n_bytes) {
    if (nq >= parities_from(n_bytes)) return ParityPlan(nq, n_bytes).packed_size();
    return by_lookups(nq, n_bytes) ? 2 * nq * n_bytes : 0;
}

}  // namespace bits

constexpr BitsKernels bits_kernels = {bits::gather,      bits::gather_at,      bits::scan,
                                      bits::tile,        bits::tile_workspace, bits::pack_queries,
                                      bits::packed_size, bits::scan_counted,   bits::tile_counted};
