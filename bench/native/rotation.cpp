// The random rotation of one row, as a query is rotated before a scan.
//
//   nearbit_bench --benchmark_filter=rotation
#include "transforms/rotation.h"

#include <benchmark/benchmark.h>

#include <vector>

namespace nearbit::bench {
namespace {

void rotation(benchmark::State& state) {
    const size_t dim = size_t(state.range(0));
    const Rotation rotation(dim, 1);
    std::vector<float> row(dim, 1.0f), rotated(dim);
    for (auto _ : state) {
        rotation.apply(row.data(), 1, rotated.data());
        benchmark::DoNotOptimize(rotated.data());
        benchmark::ClobberMemory();
    }
}
BENCHMARK(rotation)->ArgName("dim")->Arg(384)->Arg(784)->Arg(1024)->Arg(1536);

}  // namespace
}  // namespace nearbit::bench
