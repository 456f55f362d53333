// What the kernels are held against: one plain pass over a buffer of the same size, in the same
// run.
#pragma once

#include <benchmark/benchmark.h>
#include <immintrin.h>
#ifdef __linux__
#include <sys/mman.h>
#endif

#include <cstdint>
#include <cstdlib>
#include <new>
#include <random>

#if defined(__GNUC__)
#define NEARBIT_BENCH_AVX2 __attribute__((target("avx2")))
#else
#define NEARBIT_BENCH_AVX2
#endif

namespace nearbit::bench {

// 256 KiB lies in L2, 8 MiB in L3, 192 MiB in memory on the machines of the day.
enum : int64_t { kInL2 = 256 << 10, kInL3 = 8 << 20, kInMemory = 192 << 20 };

// Random bytes, each page touched, on huge pages where the system grants them (as numpy asks too).
class Buffer {
  public:
    explicit Buffer(size_t n_bytes) : n_bytes_((n_bytes + kHugePage - 1) / kHugePage * kHugePage) {
        data_ = static_cast<uint8_t*>(::operator new(n_bytes_, std::align_val_t(kHugePage)));
#ifdef __linux__
        madvise(data_, n_bytes_, MADV_HUGEPAGE);
#endif
        std::mt19937_64 random(7);
        for (size_t i = 0; i < n_bytes_ / 8; ++i) reinterpret_cast<uint64_t*>(data_)[i] = random();
    }
    ~Buffer() { ::operator delete(data_, std::align_val_t(kHugePage)); }
    Buffer(const Buffer&) = delete;
    Buffer& operator=(const Buffer&) = delete;

    uint8_t* bytes() { return data_; }
    float* floats() { return reinterpret_cast<float*>(data_); }

  private:
    static constexpr size_t kHugePage = 2 << 20;
    size_t n_bytes_;
    uint8_t* data_;
};

// One stream of 32-byte loads, summed. n_bytes: a multiple of 128.
NEARBIT_BENCH_AVX2 inline uint64_t read_all(const uint8_t* bytes, size_t n_bytes) {
    const __m256i* at = reinterpret_cast<const __m256i*>(bytes);
    __m256i a = _mm256_setzero_si256(), b = a, c = a, d = a;
    for (const __m256i* end = at + n_bytes / 32; at < end; at += 4) {
        a = _mm256_add_epi64(a, _mm256_loadu_si256(at));
        b = _mm256_add_epi64(b, _mm256_loadu_si256(at + 1));
        c = _mm256_add_epi64(c, _mm256_loadu_si256(at + 2));
        d = _mm256_add_epi64(d, _mm256_loadu_si256(at + 3));
    }
    uint64_t lanes[4];
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(lanes),
                        _mm256_add_epi64(_mm256_add_epi64(a, b), _mm256_add_epi64(c, d)));
    return lanes[0] + lanes[1] + lanes[2] + lanes[3];
}

// A benchmark to register beside the kernels; its argument is the number of bytes.
inline void plain_read(benchmark::State& state) {
    const size_t n_bytes = size_t(state.range(0));
    Buffer buffer(n_bytes);
    for (auto _ : state) benchmark::DoNotOptimize(read_all(buffer.bytes(), n_bytes));
    state.SetBytesProcessed(int64_t(state.iterations()) * int64_t(n_bytes));
}

}  // namespace nearbit::bench
