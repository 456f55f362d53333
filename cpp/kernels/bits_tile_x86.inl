// Batches of queries: blocks of 256 rows in shared planes (bits_parity_x86.inl).
namespace bits {

// Where things are. Queries are served in groups whose lists and counters stay in L2. Packed are
// the lists, those of a group for one chunk together, and a byte for each query, the parity of its
// bits.
struct ParityPlan {
    static constexpr size_t kGroupBytes = 768 << 10;
    size_t nq, n_bytes, chunks, counter_bytes, group;
    uint32_t top;  // counters are planes of weight 2^0 to 2^top

    ParityPlan(uint32_t nq_, size_t n_bytes_)
        : nq(nq_), n_bytes(n_bytes_), chunks((n_bytes + kChunk - 1) / kChunk), top(5) {
        while ((size_t(1) << top) <= 4 * n_bytes) ++top;
        counter_bytes = (top + 1) * kPlane;
        const size_t fitting = kGroupBytes / (counter_bytes + chunks * kPicks);
        group = nq < fitting ? nq : fitting;
    }
    // Of the group whose first query this is.
    uint32_t size_of(size_t first) const {
        return uint32_t(nq - first < group ? nq - first : group);
    }
    size_t list_at(size_t first, size_t chunk, size_t q) const {
        return (first * chunks + chunk * size_of(first) + q) * kPicks;
    }
    size_t parities_at() const { return nq * chunks * kPicks; }
    size_t packed_size() const { return parities_at() + nq; }
    // In the workspace, behind the table of a chunk.
    size_t split_at() const { return kPicks * 8 * kPlane; }
    size_t counters_at() const { return split_at() + 4 * 8 * kSplit; }
    size_t starts_at() const { return counters_at() + group * counter_bytes; }
    size_t workspace_size() const { return starts_at() + group * sizeof(uint32_t); }

    // Calls use(offset, width) for the pieces of a chunk.
    template <class Use>
    void for_pieces(size_t chunk, Use use) const {
        const size_t begin = chunk * kChunk;
        for (size_t at = begin; at < n_bytes && at < begin + kChunk; at += kPiece) {
            use(at, n_bytes - at < kPiece ? n_bytes - at : kPiece);
        }
    }

    void pack(const uint8_t* queries, uint8_t* packed) const {
        for (size_t q = 0; q < nq; ++q) {
            const size_t first = q / group * group;
            uint32_t parity = 0;
            for (size_t c = 0; c < chunks; ++c) {
                uint8_t* end = packed + list_at(first, c, q - first);
                for_pieces(c, [&](size_t at, size_t width) {
                    end = make_list(queries + q * n_bytes + at, width, &parity, end);
                });
            }
            packed[parities_at() + q] = uint8_t(parity);
        }
    }
};

// A group of queries against a block.
struct ParityPass {
    const ParityPlan& plan;
    const uint8_t* packed;
    uint32_t first, nq;  // of the group
    size_t n_bytes;
    const BitsBlock& block;
    const int32_t* thresholds;  // of the group
    uint8_t* workspace;
    Sink* sink;

    uint8_t* counters(uint32_t q) const {
        return workspace + plan.counters_at() + q * plan.counter_bytes;
    }
    const uint8_t* list(size_t chunk, uint32_t q) const {
        return packed + plan.list_at(first, chunk, q);
    }
    uint32_t parity_of(uint32_t q) const { return packed[plan.parities_at() + first + q]; }
    uint32_t& start_of(uint32_t q) const {  // what its counters began with
        return reinterpret_cast<uint32_t*>(workspace + plan.starts_at())[q];
    }

    // Counters that pass 2^top where the distance is above the threshold.
    void start(uint32_t q) const {
        const uint32_t limit = (1u << plan.top) - 1, half = uint32_t(thresholds[q]) / 2;
        const uint32_t begin = half < limit ? limit - half : 0;
        start_of(q) = begin;
        for (uint32_t w = 0; w <= plan.top; ++w) {
            store(counters(q) + w * kPlane, _mm256_set1_epi8((begin >> w & 1) != 0 ? -1 : 0));
        }
    }

    // Asks for a query's share of what the next 256 rows have in this chunk.
    void prefetch_next(uint32_t row, size_t chunk, uint32_t q) const {
        const uint8_t* const next = block.rows + (row + kRows) * n_bytes;
        const bool dense = n_bytes < 64;
        if (chunk % 2 != 0) return;
        const size_t lines = dense ? kRows * n_bytes / 64 : kRows;
        const size_t step = dense ? 64 : n_bytes;
        for (size_t i = lines * q / nq; i < lines * (q + 1) / nq; ++i) {
            _mm_prefetch(reinterpret_cast<const char*>(next + i * step + chunk * kChunk),
                         _MM_HINT_T1);
        }
    }

    // Rows row..row+255, less those behind the end.
    void rows(uint32_t row) const {
        const uint32_t n = block.n - row < kRows ? block.n - row : uint32_t(kRows);
        alignas(32) uint64_t within[4];
        for (uint32_t i = 0; i < 4; ++i) {
            within[i] = 64 * i + 64 <= n ? ~uint64_t(0)
                        : 64 * i < n     ? (uint64_t(1) << (n - 64 * i)) - 1
                                         : 0;
            if (block.admit != nullptr && within[i] != 0) within[i] &= block.admit[row / 64 + i];
        }
        if ((within[0] | within[1] | within[2] | within[3]) == 0) return;
        __m256i parity = _mm256_setzero_si256();
        for (size_t c = 0; c < plan.chunks; ++c) {
            size_t picks = 0;
            const size_t rest = n_bytes - c * kChunk;
            uint8_t* split = workspace + plan.split_at();
            if (c % 2 == 0) {
                split_rows(block.rows + row * n_bytes + c * kChunk, n_bytes, n,
                           rest < 2 * kChunk ? rest : 2 * kChunk, split);
            } else {
                split += kChunk / kPiece * 8 * kSplit;
            }
            plan.for_pieces(c, [&](size_t, size_t width) {
                parity = make_table(split, width, parity, workspace + picks * 8 * kPlane);
                picks += 8 * pairs_of(width);
                split += 8 * kSplit;
            });
            for (uint32_t q = 0; q < nq; ++q) {
                prefetch_next(row, c, q);
                if (thresholds[q] < 0) continue;
                if (c == 0) start(q);
                count_picks(workspace, list(c, q), picks, plan.top, counters(q));
                if (c + 1 < plan.chunks) continue;
                const __m256i hits =
                    _mm256_andnot_si256(load(counters(q) + plan.top * kPlane), load(within));
                if (!_mm256_testz_si256(hits, hits)) report_hits(q, row, parity, hits);
            }
        }
    }

    void report_hits(uint32_t q, uint32_t row, __m256i parity, __m256i hits) const {
        alignas(32) uint64_t hit[4], odd[4];
        store(hit, hits);
        store(odd, parity);
        const uint64_t* const planes = reinterpret_cast<const uint64_t*>(counters(q));
        for (uint32_t i = 0; i < 4; ++i) {
            make_room(sink);
            for (; hit[i] != 0; hit[i] &= hit[i] - 1) {
                const uint32_t bit = uint32_t(_tzcnt_u64(hit[i]));
                uint32_t count = 0;
                for (uint32_t w = 0; w <= plan.top; ++w) {
                    count |= uint32_t(planes[4 * w + i] >> bit & 1) << w;
                }
                const uint32_t d =
                    2 * (count - start_of(q)) + (uint32_t(odd[i] >> bit & 1) ^ parity_of(q));
                if (int32_t(d) <= thresholds[q]) {
                    report(sink, first + q, row + 64 * i + bit, float(d));
                }
            }
        }
    }
};

void tile_by_parities(const uint8_t* packed, uint32_t nq, size_t n_bytes, const BitsBlock& block,
                      const int32_t* thresholds, uint8_t* workspace, Sink* sink) {
    const ParityPlan plan(nq, n_bytes);
    for (uint32_t first = 0; first < nq; first += uint32_t(plan.group)) {
        const ParityPass pass{
            plan,      packed, first, plan.size_of(first), n_bytes, block, thresholds + first,
            workspace, sink};
        for (uint32_t row = 0; row < block.n; row += kRows) pass.rows(row);
    }
}

}  // namespace bits
