// AVX2, FMA, F16C, BMI2 and POPCNT: Haswell (2013), Zen (2017) and later.
#include <immintrin.h>

#include <cmath>
#include <cstring>
#include <type_traits>

#include "kernels/kernels.h"

namespace nearbit {
namespace avx2 {
namespace {

// clang-format off: each file uses those above it
#include "kernels/sink.inl"
#include "kernels/prefetch_x86.inl"
#include "kernels/bits_vocab_avx2.inl"
#include "kernels/bits_count_x86.inl"
#include "kernels/bits_rows_x86.inl"
#include "kernels/bits_planes_x86.inl"
#include "kernels/bits_lookup_avx2.inl"
#include "kernels/bits_parity_x86.inl"
#include "kernels/bits_tile_x86.inl"
#include "kernels/bits_avx2.inl"
#include "kernels/nearest_vocab_avx2.inl"
#include "kernels/dense_x86.inl"
#include "kernels/ints_vocab_avx2.inl"
#include "kernels/ints_x86.inl"
#include "kernels/codes_common.inl"
#include "kernels/codes_sums_x86.inl"
#include "kernels/codes_avx2.inl"
#include "kernels/codes_x86.inl"
#include "kernels/lanes_avx2.inl"
#include "kernels/encode.inl"
#include "kernels/rotation_scalar.inl"
#include "kernels/rotation_x86.inl"
// clang-format on

}  // namespace
}  // namespace avx2

extern const Kernels kAvx2Kernels;
const Kernels kAvx2Kernels = {"avx2",
                              avx2::dense_kernels,
                              avx2::half_kernels,
                              avx2::ints_kernels,
                              avx2::bits_kernels,
                              avx2::codes_kernels,
                              avx2::nearest_kernels,
                              avx2::pair_kernels,
                              avx2::rotation_kernels,
                              avx2::encode_kernels};

}  // namespace nearbit
