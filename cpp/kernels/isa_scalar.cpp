#include <cmath>
#include <cstring>

#include "kernels/kernels.h"

namespace nearbit {
namespace scalar {
namespace {

// clang-format off: each file uses those above it
#include "kernels/sink.inl"
#include "kernels/bits_scalar.inl"
#include "kernels/dense_scalar.inl"
#include "kernels/codes_common.inl"
#include "kernels/codes_scalar.inl"
#include "kernels/ints_scalar.inl"
#include "kernels/nearest_scalar.inl"
#include "kernels/pairs_scalar.inl"
#include "kernels/lanes_scalar.inl"
#include "kernels/encode.inl"
#include "kernels/rotation_scalar.inl"
// clang-format on

constexpr RotationKernels rotation_kernels = {rotation::plain_scale, rotation::plain_hadamard,
                                              rotation::plain_mix};

}  // namespace
}  // namespace scalar

extern const Kernels kScalarKernels;
const Kernels kScalarKernels = {"scalar",
                                scalar::dense_kernels,
                                scalar::half_kernels,
                                scalar::ints_kernels,
                                scalar::bits_kernels,
                                scalar::codes_kernels,
                                scalar::nearest_kernels,
                                scalar::pair_kernels,
                                scalar::rotation_kernels,
                                scalar::encode_kernels};

}  // namespace nearbit
