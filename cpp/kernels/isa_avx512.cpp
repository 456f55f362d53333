// AVX-512 with VL, BW, DQ, BITALG and VPOPCNTDQ: Ice Lake (2019), Zen 4 (2022) and later.
#include <immintrin.h>

#include <cmath>
#include <cstring>
#include <type_traits>

#include "kernels/kernels.h"

namespace nearbit {
namespace avx512 {
namespace {

// clang-format off: each file uses those above it
#include "kernels/sink.inl"
#include "kernels/prefetch_x86.inl"
#include "kernels/bits_vocab_avx512.inl"
#include "kernels/bits_count_x86.inl"
#include "kernels/bits_rows_x86.inl"
#include "kernels/bits_planes_x86.inl"
#include "kernels/bits_parity_x86.inl"
#include "kernels/bits_tile_x86.inl"
#include "kernels/bits_avx512.inl"
#include "kernels/nearest_vocab_avx512.inl"
#include "kernels/dense_x86.inl"
#include "kernels/ints_vocab_avx512.inl"
#include "kernels/ints_x86.inl"
#include "kernels/codes_common.inl"
#include "kernels/codes_sums_x86.inl"
#include "kernels/codes_avx512.inl"
#include "kernels/codes_x86.inl"
#include "kernels/lanes_avx512.inl"
#include "kernels/encode.inl"
#include "kernels/rotation_scalar.inl"
#include "kernels/rotation_x86.inl"
// clang-format on

}  // namespace
}  // namespace avx512

extern const Kernels kAvx512Kernels;
const Kernels kAvx512Kernels = {"avx512",
                                avx512::dense_kernels,
                                avx512::half_kernels,
                                avx512::ints_kernels,
                                avx512::bits_kernels,
                                avx512::codes_kernels,
                                avx512::nearest_kernels,
                                avx512::pair_kernels,
                                avx512::rotation_kernels,
                                avx512::encode_kernels};

}  // namespace nearbit
