// Chooses the kernel table, once. Compiled for the baseline processor.
#include <cstdlib>
#include <cstring>
#include <string>

#include "base/error.h"
#include "kernels/kernels.h"

#if defined(_MSC_VER) && defined(NEARBIT_AVX2)
#include <immintrin.h>
#include <intrin.h>

#include <algorithm>
#include <initializer_list>
#elif defined(NEARBIT_AVX2)
#include <cpuid.h>
#endif

namespace nearbit {

extern const Kernels kScalarKernels;
#ifdef NEARBIT_AVX2  // CMakeLists.txt, where it adds these
extern const Kernels kAvx2Kernels;
#endif
#ifdef NEARBIT_AVX512
extern const Kernels kAvx512Kernels;
#endif

namespace {

#ifdef NEARBIT_AVX2
#ifdef _MSC_VER
struct Cpu {
    int leaf1[4], leaf7[4];
    bool saves_ymm, saves_zmm;  // the system, when it switches threads
    Cpu() {
        __cpuid(leaf1, 1);
        __cpuidex(leaf7, 7, 0);
        const uint64_t saved = leaf1[2] >> 27 & 1 ? _xgetbv(0) : 0;
        saves_ymm = (saved & 0x06) == 0x06;
        saves_zmm = (saved & 0xe6) == 0xe6;
    }
};
bool all_of(int leaf, std::initializer_list<int> bits) {
    return std::all_of(bits.begin(), bits.end(), [=](int bit) { return leaf >> bit & 1; });
}
// FMA, POPCNT, F16C; BMI, AVX2, BMI2.
bool runs_avx2() {
    const Cpu cpu;
    return cpu.saves_ymm && all_of(cpu.leaf1[2], {12, 23, 29}) && all_of(cpu.leaf7[1], {3, 5, 8});
}
// F, DQ, BW, VL; VBMI, BITALG, VPOPCNTDQ.
[[maybe_unused]] bool runs_avx512() {
    const Cpu cpu;
    return cpu.saves_zmm && all_of(cpu.leaf7[1], {16, 17, 30, 31}) &&
           all_of(cpu.leaf7[2], {1, 12, 14});
}
#else
// Not among the names that every compiler's __builtin_cpu_supports knows.
bool has_f16c() {
    unsigned a, b, c, d;
    return __get_cpuid(1, &a, &b, &c, &d) != 0 && (c >> 29 & 1) != 0;
}
// Each flag that CMakeLists.txt gives.
bool runs_avx2() {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
           __builtin_cpu_supports("popcnt") && __builtin_cpu_supports("bmi") &&
           __builtin_cpu_supports("bmi2") && has_f16c();
}
[[maybe_unused]] bool runs_avx512() {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx512bitalg") &&
           __builtin_cpu_supports("avx512vpopcntdq");
}
#endif
#endif

struct Runnable {
    const Kernels* tables[4];
    size_t n = 0;
    Runnable() {
        tables[n++] = &kScalarKernels;
#ifdef NEARBIT_AVX2
        if (runs_avx2()) tables[n++] = &kAvx2Kernels;
#endif
#ifdef NEARBIT_AVX512
        if (runs_avx2() && runs_avx512()) tables[n++] = &kAvx512Kernels;
#endif
    }
};

const Runnable& runnable() {
    static const Runnable found;
    return found;
}

const Kernels& choose() {
    const Runnable& found = runnable();
    const char* forced = std::getenv("NEARBIT_ISA");
    if (forced == nullptr || *forced == '\0') return *found.tables[found.n - 1];
    std::string names;
    for (size_t i = 0; i < found.n; ++i) {
        if (std::strcmp(found.tables[i]->isa, forced) == 0) return *found.tables[i];
        names += std::string(i ? ", " : "") + found.tables[i]->isa;
    }
    throw InvalidArgument("NEARBIT_ISA: expected one of " + names + ", got '" + forced + "'");
}

}  // namespace

const Kernels& kernels() {
    static const Kernels& chosen = choose();
    return chosen;
}

size_t runnable_kernels(const Kernels* const** tables) {
    *tables = runnable().tables;
    return runnable().n;
}

}  // namespace nearbit
