// A Hamming scan of codes much larger than the cache beside a plain read of as many bytes by as
// many threads; bench/exact.py --native makes a ratio of the two.
//
//   nearbit_bench --benchmark_filter=beside
//
// Each thread has its share of the bytes. One thread is timed in CPU time, two in wall time.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cmath>

#include "kernels/kernels.h"
#include "read.h"

namespace nearbit::bench {
namespace {

constexpr size_t kBlockBytes = 4 << 20;  // what a flat index hands to a kernel at a time

void count(benchmark::State& state, size_t n_bytes) {
    state.SetBytesProcessed(int64_t(state.iterations()) * int64_t(n_bytes));
}

void read(benchmark::State& state) {
    const size_t n_bytes = size_t(kInMemory) / size_t(state.threads());
    Buffer buffer(n_bytes);
    for (auto _ : state) benchmark::DoNotOptimize(read_all(buffer.bytes(), n_bytes));
    count(state, n_bytes);
}

void scan(benchmark::State& state) {
    const size_t n_bytes = size_t(kInMemory) / size_t(state.threads());
    const size_t bits = size_t(state.range(0)), row_bytes = bits / 8;
    Buffer buffer(n_bytes), query(row_bytes);
    // Random codes differ in bits/2 +- sqrt(bits)/2 places: about as many rows pass as for the
    // nearest ten.
    const int32_t threshold = int32_t(double(bits) / 2 - 2.4 * std::sqrt(double(bits)));
    Candidate places[kSinkOfOneQuery];
    Sink sink{places, 0, kSinkOfOneQuery, [](Sink* full) { full->count = 0; }};
    for (auto _ : state) {
        for (size_t at = 0; at < n_bytes; at += kBlockBytes) {
            const size_t n = std::min(kBlockBytes, n_bytes - at) / row_bytes;
            const BitsBlock block = {buffer.bytes() + at, nullptr, uint32_t(n)};
            // Every buffer begins with the same bytes.
            kernels().bits.scan(query.bytes() + 1, row_bytes, block, &threshold, &sink);
        }
        benchmark::DoNotOptimize(sink.count);
        sink.count = 0;
    }
    count(state, n_bytes);
}

BENCHMARK(read)->Name("beside/read");
BENCHMARK(read)->Name("beside/read")->Threads(2)->UseRealTime();
BENCHMARK(scan)->Name("beside/scan")->ArgName("bits")->RangeMultiplier(2)->Range(256, 2048);
BENCHMARK(scan)
    ->Name("beside/scan")
    ->ArgName("bits")
    ->RangeMultiplier(2)
    ->Range(256, 2048)
    ->Threads(2)
    ->UseRealTime();

}  // namespace
}  // namespace nearbit::bench
