// Chooses the kernel table, once. Compiled for the baseline processor.
#include <cstdlib>
#include <cstring>
#include <string>

#include "base/error.h"
#include "kernels/kernels.h"

#if defined(_MSC_VER) && defined(_M_X64)
#include <immintrin.h>
#include <intrin.h>
#endif

namespace nearbit {

extern const Kernels kScalarKernels;
#if defined(__x86_64__) || defined(_M_X64)
#define NEARBIT_X86 1
extern const Kernels kAvx2Kernels;
#endif

namespace {

#ifdef NEARBIT_X86
bool runs_avx2() {
#ifdef _MSC_VER
    int leaf1[4], leaf7[4];
    __cpuid(leaf1, 1);
    __cpuidex(leaf7, 7, 0);
    const bool os_saves_ymm = (leaf1[2] >> 27 & 1) && (_xgetbv(0) & 6) == 6;
    const bool fma = leaf1[2] >> 12 & 1, popcnt = leaf1[2] >> 23 & 1, f16c = leaf1[2] >> 29 & 1;
    const bool bmi = leaf7[1] >> 3 & 1, avx2 = leaf7[1] >> 5 & 1, bmi2 = leaf7[1] >> 8 & 1;
    return os_saves_ymm && fma && popcnt && f16c && bmi && avx2 && bmi2;
#else
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
           __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("popcnt");
#endif
}
#endif

struct Runnable {
    const Kernels* tables[4];
    size_t n = 0;
    Runnable() {
        tables[n++] = &kScalarKernels;
#ifdef NEARBIT_X86
        if (runs_avx2()) tables[n++] = &kAvx2Kernels;
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
