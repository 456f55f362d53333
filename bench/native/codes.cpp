// Kernels on compact codes: bytes and codes a second, in cache and from memory.
//
//   nearbit_bench --benchmark_filter=codes
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/memory.h"
#include "kernels/kernels.h"
#include "read.h"

namespace nearbit::bench {
namespace {

constexpr size_t kBlockBytes = 4 << 20;  // what a flat index hands to a kernel at a time
constexpr uint32_t kEntries = 128;       // of small tables, two of which add up to a byte at most

// Random codes with a scale of one byte, cut into blocks, and queries that a few rows in 100,000
// are within the bound of.
struct Data {
    size_t n_bytes, code_bytes;
    uint32_t n, n_in_block, nq;
    Buffer buffer;
    std::vector<uint8_t> nibbles;
    Memory bytes;
    std::vector<float> gain, offset, bound;
    std::vector<Candidate> room = std::vector<Candidate>(1024);
    Sink sink{room.data(), 0, uint32_t(room.size()), [](Sink* full) { full->count = 0; }};

    Data(const benchmark::State& state, uint32_t nq_, bool of_nibbles)
        : n_bytes(size_t(state.range(0))),
          code_bytes(n_bytes + 1),
          n(uint32_t(size_t(state.range(1)) / code_bytes / 32 * 32)),
          n_in_block(std::min(n, uint32_t(kBlockBytes / code_bytes / 64 * 64))),
          nq(nq_),
          buffer(size_t(state.range(1))),
          nibbles(nq * n_bytes * 32),
          gain(nq, 1.0f),
          offset(nq, 0.0f) {
        std::mt19937 random(5);
        for (uint8_t& entry : nibbles) entry = uint8_t(random() % kEntries);
        bytes = Memory(nq * n_bytes * 256);
        for (size_t i = 0; i < bytes.size(); ++i) byte_tables()[i] = uint8_t(random());
        // Scales are 1 to 1.06; the sums' standard deviation is 0.289 of the range times the root.
        const double looks = double(of_nibbles ? 2 * n_bytes : n_bytes);
        const double range = of_nibbles ? kEntries : 256;
        bound.assign(nq,
                     -float(1.03 * (looks * range / 2 + 4.2 * 0.289 * range * std::sqrt(looks))));
    }
    uint8_t* byte_tables() { return reinterpret_cast<uint8_t*>(bytes.data()); }
    CodesBlock block(uint32_t first) {
        return {buffer.bytes() + size_t(first) * code_bytes,
                code_bytes,
                {{0x3f800000, 0x800}, {}, 1, 0},
                nullptr,
                std::min(n_in_block, n - first),
                size_t(n) * code_bytes > size_t(kInL3)};
    }
    void count(benchmark::State& state) const {
        state.SetBytesProcessed(state.iterations() * int64_t(n * code_bytes));
        state.SetItemsProcessed(state.iterations() * int64_t(n) * nq);
        state.counters["ns_per_code"] =
            benchmark::Counter(double(state.iterations()) * n * nq / 1e9,
                               benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
    }
};

void nibble_scan(benchmark::State& state) {
    Data data(state, 1, true);
    for (auto _ : state) {
        for (uint32_t first = 0; first < data.n; first += data.n_in_block) {
            kernels().codes.nibble_scan({data.nibbles.data(), data.n_bytes, 0, 1, 0, {}},
                                        data.block(first), data.bound.data(), &data.sink);
        }
    }
    data.count(state);
}

void nibble_tile(benchmark::State& state) {
    Data data(state, uint32_t(state.range(2)), true);
    for (auto _ : state) {
        for (uint32_t first = 0; first < data.n; first += data.n_in_block) {
            kernels().codes.nibble_tile({data.nibbles.data(),
                                         32 * data.n_bytes,
                                         data.n_bytes,
                                         0,
                                         data.gain.data(),
                                         data.offset.data(),
                                         data.bound.data(),
                                         data.nq,
                                         {}},
                                        data.block(first), &data.sink);
        }
    }
    data.count(state);
}

void byte_scan(benchmark::State& state) {
    Data data(state, 1, false);
    for (auto _ : state) {
        for (uint32_t first = 0; first < data.n; first += data.n_in_block) {
            kernels().codes.byte_scan({data.byte_tables(), data.n_bytes, 0, 1, 0},
                                      data.block(first), data.bound.data(), &data.sink);
        }
    }
    data.count(state);
}

void byte_tile(benchmark::State& state) {
    Data data(state, uint32_t(state.range(2)), false);
    for (auto _ : state) {
        for (uint32_t first = 0; first < data.n; first += data.n_in_block) {
            kernels().codes.byte_tile(
                {data.byte_tables(), 256 * data.n_bytes, data.n_bytes, 0, data.gain.data(),
                 data.offset.data(), data.bound.data(), data.nq},
                data.block(first), &data.sink);
        }
    }
    data.count(state);
}

// Two levels of equal length, 256 rows at a call.
void grid_sums(benchmark::State& state) {
    const uint32_t dims[2] = {uint32_t(state.range(0)), uint32_t(state.range(0))};
    const size_t stride = dims[0] / 4;
    Buffer buffer(256 * stride);
    std::vector<int16_t> values(dims[0], 1234);
    std::vector<int64_t> out(256);
    std::vector<const uint8_t*> rows;
    for (size_t i = 0; i < 256; ++i) rows.push_back(buffer.bytes() + i * stride);
    for (auto _ : state) {
        kernels().codes.grid_sums({values.data(), dims, 2}, rows.data(), 0, 256, out.data());
        benchmark::DoNotOptimize(out.data());
    }
    state.SetBytesProcessed(state.iterations() * int64_t(256 * stride));
    state.SetItemsProcessed(state.iterations() * 256);
}

const std::vector<int64_t> kBytes = {16, 32, 48, 96};
const std::vector<int64_t> kSizes = {kInL3, kInMemory};

BENCHMARK(plain_read)->Name("codes/read")->ArgName("bytes")->ArgsProduct({kSizes});
BENCHMARK(nibble_scan)
    ->Name("codes/nibble_scan")
    ->ArgNames({"n_bytes", "bytes"})
    ->ArgsProduct({kBytes, kSizes});
BENCHMARK(nibble_tile)
    ->Name("codes/nibble_tile")
    ->ArgNames({"n_bytes", "bytes", "queries"})
    ->ArgsProduct({kBytes, kSizes, {2, 4, 32}});
BENCHMARK(byte_scan)
    ->Name("codes/byte_scan")
    ->ArgNames({"n_bytes", "bytes"})
    ->ArgsProduct({kBytes, kSizes});
BENCHMARK(byte_tile)
    ->Name("codes/byte_tile")
    ->ArgNames({"n_bytes", "bytes", "queries"})
    ->ArgsProduct({kBytes, {kInL3}, {8, 32}});
BENCHMARK(grid_sums)->Name("codes/grid_sums")->ArgName("dims")->Arg(384)->Arg(784);

}  // namespace
}  // namespace nearbit::bench
