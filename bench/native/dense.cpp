// Dense kernels: bytes of rows and rows times queries a second, in cache and from memory.
//
//   nearbit_bench --benchmark_filter=dense
//
// GFLOP/s counts 2 * dim for each pair of a row and a query, whatever the kernel does.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "kernels/kernels.h"
#include "read.h"

namespace nearbit::bench {
namespace {

constexpr size_t kBlockBytes = 4 << 20;  // what a flat index hands to a kernel at a time

// A buffer of rows, cut into blocks, with queries that nothing is near to but by chance.
struct Data {
    Buffer buffer, query_buffer;
    size_t dim;
    uint32_t n, n_in_block, nq;
    std::vector<float> factors, alpha, bound;
    std::vector<Candidate> room = std::vector<Candidate>(1024);
    Sink sink{room.data(), 0, uint32_t(room.size()), [](Sink* full) { full->count = 0; }};

    Data(const benchmark::State& state, uint32_t nq_)
        : buffer(size_t(state.range(1))),
          query_buffer(nq_ * size_t(state.range(0)) * sizeof(float)),
          dim(size_t(state.range(0))),
          n(uint32_t(size_t(state.range(1)) / (dim * sizeof(float)))),
          n_in_block(std::max(1u, std::min(n, uint32_t(kBlockBytes / sizeof(float) / dim)))),
          nq(nq_),
          factors(n),
          alpha(nq, 1.0f) {
        for (Buffer* each : {&buffer, &query_buffer}) {
            const size_t count = each == &buffer ? n * dim : nq * dim;
            const auto* bits = reinterpret_cast<const uint32_t*>(each->bytes());
            for (size_t i = 0; i < count; ++i) each->floats()[i] = float(bits[i] >> 8) * 0x1p-24f;
        }
        std::vector<double> norms(n);
        kernels().dense.squared_norms(rows(0), n, dim, norms.data());
        std::copy(norms.begin(), norms.end(), factors.begin());
        for (uint32_t q = 0; q < nq; ++q) {
            std::vector<float> distances(n);
            double squared;
            kernels().dense.squared_norms(query(q), 1, dim, &squared);
            kernels().dense.gather(DenseForm::kL2, query(q), dim, rows(0), nullptr, nullptr,
                                   std::min(n, 2000u), distances.data());
            distances.resize(std::min(n, 2000u));
            bound.push_back(*std::min_element(distances.begin(), distances.end()) - float(squared));
        }
    }
    const float* rows(uint32_t first) { return buffer.floats() + first * dim; }
    const float* query(uint32_t q) { return query_buffer.floats() + q * dim; }
    DenseBlock block(uint32_t first) {
        return {rows(first), factors.data() + first, nullptr, std::min(n_in_block, n - first)};
    }
    void count(benchmark::State& state) const {
        const double pairs = double(state.iterations()) * n * nq;
        state.SetBytesProcessed(state.iterations() * int64_t(n * dim * sizeof(float)));
        state.SetItemsProcessed(int64_t(pairs));
        state.counters["GFLOP/s"] =
            benchmark::Counter(pairs * 2e-9 * double(dim), benchmark::Counter::kIsRate);
    }
};

void scan(benchmark::State& state) {
    Data data(state, 1);
    double squared;
    kernels().dense.squared_norms(data.query(0), 1, data.dim, &squared);
    const float threshold = data.bound[0] + float(squared);
    for (auto _ : state) {
        for (uint32_t first = 0; first < data.n; first += data.n_in_block) {
            kernels().dense.scan(DenseForm::kL2, data.query(0), data.dim, data.block(first),
                                 &threshold, &data.sink);
        }
    }
    data.count(state);
}

void tile(benchmark::State& state) {
    const DenseKernels& dense = kernels().dense;
    Data data(state, uint32_t(state.range(2)));
    Buffer panels(dense.packed_size(data.nq, data.dim) * sizeof(float));
    Buffer workspace(dense.tile_workspace(data.dim) * sizeof(float));
    dense.pack_queries(data.query(0), data.nq, data.dim, panels.floats());
    const DenseTile queries = {data.query(0),
                               data.nq < dense.pack_from ? nullptr : panels.floats(),
                               data.alpha.data(),
                               data.bound.data(),
                               -2.0f,
                               0.0f,
                               data.nq};
    for (auto _ : state) {
        for (uint32_t first = 0; first < data.n; first += data.n_in_block) {
            dense.tile(queries, data.dim, data.block(first), workspace.floats(), &data.sink);
        }
    }
    data.count(state);
}

// Rows in random order, 64 at a call.
void gather(benchmark::State& state) {
    Data data(state, 1);
    std::vector<uint32_t> which(data.n / 64 * 64);
    for (uint32_t i = 0; i < which.size(); ++i) which[i] = i;
    std::shuffle(which.begin(), which.end(), std::mt19937(3));
    float out[64];
    for (auto _ : state) {
        for (size_t i = 0; i < which.size(); i += 64) {
            kernels().dense.gather(DenseForm::kL2, data.query(0), data.dim, data.rows(0), nullptr,
                                   which.data() + i, 64, out);
        }
        benchmark::DoNotOptimize(out);
    }
    data.count(state);
}

void squared_norms(benchmark::State& state) {
    Data data(state, 1);
    std::vector<double> out(data.n);
    for (auto _ : state) {
        kernels().dense.squared_norms(data.rows(0), data.n, data.dim, out.data());
    }
    data.count(state);
}

void pack_signs(benchmark::State& state) {
    Data data(state, 1);
    std::vector<uint8_t> out(data.n * ((data.dim + 7) / 8));
    for (auto _ : state) {
        kernels().dense.pack_signs(data.rows(0), data.n, data.dim, out.data());
    }
    data.count(state);
}

const std::vector<int64_t> kDims = {128, 384, 784};
const std::vector<int64_t> kSizes = {kInL2, kInL3, kInMemory};

BENCHMARK(plain_read)->Name("dense/read")->ArgName("bytes")->ArgsProduct({kSizes});
BENCHMARK(scan)
    ->Name("dense/scan")
    ->ArgNames({"dim", "bytes"})
    ->ArgsProduct({{8, 30, 100, 128, 384, 784}, kSizes});
BENCHMARK(gather)->Name("dense/gather")->ArgNames({"dim", "bytes"})->ArgsProduct({kDims, kSizes});
BENCHMARK(tile)
    ->Name("dense/tile")
    ->ArgNames({"dim", "bytes", "queries"})
    ->ArgsProduct({kDims, kSizes, {2, 5, 8, 32, 1000}});
BENCHMARK(squared_norms)
    ->Name("dense/squared_norms")
    ->ArgNames({"dim", "bytes"})
    ->ArgsProduct({kDims, kSizes});
BENCHMARK(pack_signs)
    ->Name("dense/pack_signs")
    ->ArgNames({"dim", "bytes"})
    ->ArgsProduct({kDims, kSizes});

}  // namespace
}  // namespace nearbit::bench
