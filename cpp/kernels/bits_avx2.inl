// Hamming kernels, AVX2: which algorithm serves how many queries, and the table.
namespace bits {

constexpr uint32_t kParitiesFrom = 8;

// A few queries: rows in turn, a piece of the block that stays in cache at a time.
void tile_by_rows(const uint8_t* queries, uint32_t nq, size_t n_bytes, const BitsBlock& block,
                  const int32_t* thresholds, Sink* sink) {
    constexpr size_t kPieceBytes = 32 << 10;
    const size_t fitting = kPieceBytes / n_bytes / 64 * 64;
    const uint32_t piece = fitting < 64 ? 64 : uint32_t(fitting);
    for (uint32_t first = 0; first < block.n; first += piece) {
        const uint32_t last = block.n - first < piece ? block.n : first + piece;
        for (uint32_t q = 0; q < nq; ++q) {
            Pass{queries + q * n_bytes, n_bytes, block, first, last, q, thresholds + q, sink}.run();
        }
    }
}

void tile(const uint8_t* queries, uint32_t nq, size_t n_bytes, const BitsBlock& block,
          const int32_t* thresholds, uint8_t* workspace, Sink* sink) {
    if (nq >= kParitiesFrom && n_bytes <= kNarrowBytes) {
        return tile_by_parities(queries, nq, n_bytes, block, thresholds, workspace, sink);
    }
    tile_by_rows(queries, nq, n_bytes, block, thresholds, sink);
}

size_t tile_workspace(uint32_t nq, size_t n_bytes) {
    if (nq < kParitiesFrom || n_bytes > kNarrowBytes) return 0;
    return ParityPlan(nq, n_bytes).size();
}

}  // namespace bits

constexpr BitsKernels bits_kernels = {bits::gather, bits::scan, bits::tile, bits::tile_workspace};
