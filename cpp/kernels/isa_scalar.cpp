#include "kernels/kernels.h"

namespace nearbit {
namespace scalar {
namespace {

#include "kernels/bits_scalar.inl"
#include "kernels/dense_scalar.inl"
#include "kernels/sink.inl"

}  // namespace
}  // namespace scalar

extern const Kernels kScalarKernels;
const Kernels kScalarKernels = {"scalar", scalar::dense_kernels, scalar::bits_kernels};

}  // namespace nearbit
