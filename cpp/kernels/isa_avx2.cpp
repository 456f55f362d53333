// AVX2, FMA, BMI2 and POPCNT: Haswell (2013), Zen (2017) and later.
#include <immintrin.h>

#include "kernels/kernels.h"

namespace nearbit {
namespace avx2 {
namespace {

#include "kernels/sink.inl"

#include "kernels/bits_avx2.inl"
#include "kernels/dense_avx2.inl"

}  // namespace
}  // namespace avx2

extern const Kernels kAvx2Kernels;
const Kernels kAvx2Kernels = {"avx2", avx2::dense_kernels, avx2::bits_kernels};

}  // namespace nearbit
