// How long the steps of a change keep searches out: processor time of the writer from when it has
// an index's lock to when it lets go, in microseconds, and how many steps a change has.
//
//   nearbit_bench --benchmark_filter=exclusive
//
// The linker puts the two functions below in the place of the lock's own (CMakeLists.txt), so
// nothing of this is in the index itself.
#include <benchmark/benchmark.h>
#include <time.h>

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/lock.h"
#include "base/random.h"
#include "index/index.h"

extern "C" {
void __real__ZN7nearbit6RwLock4lockEv(nearbit::RwLock*);
void __real__ZN7nearbit6RwLock6unlockEv(nearbit::RwLock*);
void __wrap__ZN7nearbit6RwLock4lockEv(nearbit::RwLock*);
void __wrap__ZN7nearbit6RwLock6unlockEv(nearbit::RwLock*);
}

namespace nearbit::bench {
namespace {

bool recording = false;
double entered = 0;
std::vector<double> held;

double processor_us() {
    timespec now{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return double(now.tv_sec) * 1e6 + double(now.tv_nsec) / 1e3;
}

}  // namespace
}  // namespace nearbit::bench

void __wrap__ZN7nearbit6RwLock4lockEv(nearbit::RwLock* lock) {
    using namespace nearbit::bench;
    __real__ZN7nearbit6RwLock4lockEv(lock);
    if (recording) entered = processor_us();
}

void __wrap__ZN7nearbit6RwLock6unlockEv(nearbit::RwLock* lock) {
    using namespace nearbit::bench;
    if (recording) held.push_back(processor_us() - entered);
    __real__ZN7nearbit6RwLock6unlockEv(lock);
}

namespace nearbit::bench {
namespace {

constexpr size_t kDim = 32;

// An index of a size and more rows of the same kind.
struct Life {
    explicit Life(size_t n_rows)
        : n(n_rows),
          index(make_codec("float32", kDim, "l2"), nullptr, GraphSettings{.ef_construction = 32}) {
        for (float& number : rows) number = float(random.unit());
        for (size_t i = 0; i < n; ++i) ids[i] = int64_t(7 * i + 3);
        index.add(input(n), &ids, 2, nullptr);
    }
    // Ids that the index holds, in no order.
    std::vector<int64_t> some(size_t count) {
        for (size_t i = 0; i < count; ++i) std::swap(ids[i], ids[i + random.below(n - i)]);
        return {ids.begin(), ids.begin() + std::ptrdiff_t(count)};
    }
    Input input(size_t count) {
        const size_t first = random.below(n + 1 - count);
        return {.data = reinterpret_cast<const std::byte*>(rows.data() + first * kDim),
                .n = count,
                .width = kDim,
                .row_stride = kDim * sizeof(float),
                .item_stride = sizeof(float),
                .argument = "vectors"};
    }

    size_t n;
    Random random{1};
    std::vector<float> rows = std::vector<float>(n * kDim);
    std::vector<int64_t> ids = std::vector<int64_t>(n);
    Index index;
};

Life& life_of(size_t n) {
    static std::map<size_t, std::unique_ptr<Life>> lives;
    auto& life = lives[n];
    if (life == nullptr) life = std::make_unique<Life>(n);
    return *life;
}

double quantile(double q) {
    const auto at = held.begin() + std::ptrdiff_t(q * double(held.size() - 1));
    std::nth_element(held.begin(), at, held.end());
    return *at;
}

// Each round removes some rows, adds as many, and updates as many; the steps of one of these count.
void exclusive(benchmark::State& state, const std::string& change) {
    Life& life = life_of(size_t(state.range(0)));
    const size_t count = size_t(state.range(1));
    Index& index = life.index;
    held.clear();
    const auto timed = [&](const std::string& name, const auto& call) {
        recording = name == change;
        if (recording) state.ResumeTiming();
        call();
        if (recording) state.PauseTiming();
        recording = false;
    };
    for (auto _ : state) {
        state.PauseTiming();
        const std::vector<int64_t> gone = life.some(count), moved = life.some(count);
        timed("remove", [&] { index.remove(gone, false, nullptr); });
        timed("add", [&] { index.add(life.input(count), &gone, 1, nullptr); });
        timed("update", [&] { index.update(moved, life.input(count), 1, nullptr); });
        state.ResumeTiming();
    }
    state.counters["p50"] = quantile(0.5);
    state.counters["p99"] = quantile(0.99);
    state.counters["p99.9"] = quantile(0.999);
    state.counters["most"] = quantile(1);
    state.counters["steps"] = double(held.size()) / double(state.iterations());
}

void register_all() {
    for (const int64_t n : {100'000, 1'000'000}) {
        for (const char* change : {"add", "remove", "update"}) {
            for (const auto& [count, rounds] :
                 {std::pair{int64_t(1), 3000}, {int64_t(1000), 30}, {n / 10, 3}}) {
                benchmark::RegisterBenchmark((std::string("exclusive/") + change).c_str(),
                                             exclusive, change)
                    ->ArgNames({"rows", "changed"})
                    ->Args({n, count})
                    ->Iterations(rounds)
                    ->Unit(benchmark::kMillisecond);
            }
        }
    }
}

const bool registered = (register_all(), true);

}  // namespace
}  // namespace nearbit::bench
