// Hamming and Jaccard kernels: bytes of rows and rows times queries a second, in cache and from
// memory.
//
//   nearbit_bench --benchmark_filter=bits
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/kernels.h"
#include "read.h"

namespace nearbit::bench {
namespace {

constexpr size_t kBlockBytes = 4 << 20;  // what a flat index hands to a kernel at a time

// A buffer of random rows, cut into blocks, with queries that about one row in 10,000 is near to;
// by Jaccard distance the same rows or about as many.
struct Data {
    Buffer buffer, queries, packed, workspace;
    size_t n_bytes;
    uint32_t n, n_in_block, nq;
    std::vector<int32_t> thresholds;
    std::vector<float> counts;
    std::vector<CountedLimit> limits;
    std::vector<Candidate> room = std::vector<Candidate>(1024);
    Sink sink{room.data(), 0, uint32_t(room.size()), [](Sink* full) { full->count = 0; }};

    Data(const benchmark::State& state, uint32_t nq_)
        : buffer(size_t(state.range(1))),
          // Every buffer begins with the same bytes: one more, so that no query is a row.
          queries(nq_ * size_t(state.range(0)) / 8 + 1),
          packed(kernels().bits.packed_size(nq_, size_t(state.range(0)) / 8)),
          workspace(kernels().bits.tile_workspace(nq_, size_t(state.range(0)) / 8)),
          n_bytes(size_t(state.range(0)) / 8),
          n(uint32_t(size_t(state.range(1)) / n_bytes)),
          n_in_block(std::min(n, uint32_t(kBlockBytes / n_bytes))),
          nq(nq_) {
        const double bits = double(state.range(0));
        thresholds.assign(nq, int32_t(bits / 2 - 1.9 * std::sqrt(bits)));
        // Random rows set about half of their bits.
        limits.assign(nq, {float(thresholds[0]) / 2, float(thresholds[0] / bits)});
        kernels().bits.pack_queries(query(), nq, n_bytes, packed.bytes());
        std::vector<uint32_t> ones(n);
        const std::vector<uint8_t> none(n_bytes);
        kernels().bits.gather(none.data(), n_bytes, buffer.bytes(), nullptr, n, ones.data());
        counts.assign(ones.begin(), ones.end());
    }
    const uint8_t* query() { return queries.bytes() + 1; }
    BitsBlock block(uint32_t first) {
        return {buffer.bytes() + first * n_bytes, nullptr, std::min(n_in_block, n - first),
                counts.data() + first};
    }
    void count(benchmark::State& state) const {
        state.SetBytesProcessed(state.iterations() * int64_t(n * n_bytes));
        state.SetItemsProcessed(state.iterations() * int64_t(n) * nq);
    }
};

void scan(benchmark::State& state) {
    Data data(state, 1);
    for (auto _ : state) {
        for (uint32_t first = 0; first < data.n; first += data.n_in_block) {
            kernels().bits.scan(data.query(), data.n_bytes, data.block(first),
                                data.thresholds.data(), &data.sink);
        }
    }
    data.count(state);
}

void tile(benchmark::State& state) {
    Data data(state, uint32_t(state.range(2)));
    for (auto _ : state) {
        for (uint32_t first = 0; first < data.n; first += data.n_in_block) {
            kernels().bits.tile(data.query(), data.packed.bytes(), data.nq, data.n_bytes,
                                data.block(first), data.thresholds.data(), data.workspace.bytes(),
                                &data.sink);
        }
    }
    data.count(state);
}

void scan_counted(benchmark::State& state) {
    Data data(state, 1);
    for (auto _ : state) {
        for (uint32_t first = 0; first < data.n; first += data.n_in_block) {
            kernels().bits.scan_counted(data.query(), data.n_bytes, data.block(first),
                                        data.limits.data(), &data.sink);
        }
    }
    data.count(state);
}

void tile_counted(benchmark::State& state) {
    Data data(state, uint32_t(state.range(2)));
    for (auto _ : state) {
        for (uint32_t first = 0; first < data.n; first += data.n_in_block) {
            kernels().bits.tile_counted(data.query(), data.nq, data.n_bytes, data.block(first),
                                        data.limits.data(), &data.sink);
        }
    }
    data.count(state);
}

// One row in ten, 256 at a call, ascending: what a filter leaves.
void gather(benchmark::State& state) {
    Data data(state, 1);
    std::vector<uint32_t> which;
    std::mt19937 random(3);
    for (uint32_t i = 0; i < data.n; ++i) {
        if (random() % 10 == 0) which.push_back(i);
    }
    uint32_t out[256];
    for (auto _ : state) {
        for (size_t i = 0; i < which.size(); i += 256) {
            kernels().bits.gather(data.query(), data.n_bytes, data.buffer.bytes(), which.data() + i,
                                  std::min<size_t>(256, which.size() - i), out);
        }
        benchmark::DoNotOptimize(out);
    }
    state.SetBytesProcessed(state.iterations() * int64_t(which.size() * data.n_bytes));
    state.SetItemsProcessed(state.iterations() * int64_t(which.size()));
}

const std::vector<int64_t> kBits = {64, 128, 256, 384, 512, 1024, 2048};
const std::vector<int64_t> kSizes = {kInL2, kInL3, kInMemory};

BENCHMARK(plain_read)->Name("bits/read")->ArgName("bytes")->ArgsProduct({kSizes});
BENCHMARK(scan)->Name("bits/scan")->ArgNames({"bits", "bytes"})->ArgsProduct({kBits, kSizes});
BENCHMARK(scan_counted)
    ->Name("bits/scan_counted")
    ->ArgNames({"bits", "bytes"})
    ->ArgsProduct({kBits, kSizes});
BENCHMARK(gather)->Name("bits/gather")->ArgNames({"bits", "bytes"})->ArgsProduct({kBits, kSizes});
BENCHMARK(tile)
    ->Name("bits/tile")
    ->ArgNames({"bits", "bytes", "queries"})
    ->ArgsProduct({kBits, {kInL3, kInMemory}, {2, 4, 8, 16, 32, 64, 1000}});
BENCHMARK(tile_counted)
    ->Name("bits/tile_counted")
    ->ArgNames({"bits", "bytes", "queries"})
    ->ArgsProduct({kBits, {kInL3}, {2, 8, 64, 1000}});

}  // namespace
}  // namespace nearbit::bench
