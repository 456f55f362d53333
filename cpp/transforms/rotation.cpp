#include "transforms/rotation.h"

#include <bit>
#include <cmath>

#include "base/random.h"
#include "kernels/kernels.h"

namespace nearbit {
namespace {

// How much of the other half is added: a rotation of (a, b) to .8 a + .6 b and .6 a - .8 b. Equal
// parts would make zeros of what a Hadamard transform gives for an axis, numbers of one size.
constexpr float kMix = 0.75f;
constexpr double kMixScale = 0.8;

}  // namespace

Rotation::Rotation(size_t dim, uint64_t seed)
    : dim_(dim),
      length_(std::bit_floor(dim)),
      seed_(seed),
      factors_((kRounds + 1) * dim * sizeof(float)) {
    auto* const made = reinterpret_cast<float*>(factors_.data());
    const size_t half = dim / 2;
    const double scale = 1 / std::sqrt(static_cast<double>(length_));
    Random random(seed);
    for (size_t round = 0; round <= kRounds; ++round) {
        for (size_t i = 0; i < dim; ++i) {
            double factor = 1;
            // The round before mixed the halves; the middle of an odd number was left alone.
            if (round != 0 && length_ < dim && (i < half || i >= dim - half)) factor *= kMixScale;
            if (round != kRounds) {
                if (i - first(round) < length_) factor *= scale;
                if (random.next() >> 63 != 0) factor = -factor;
            }
            made[round * dim + i] = static_cast<float>(factor);
        }
    }
}

void Rotation::apply(const float* rows, size_t n, float* out) const {
    const RotationKernels& k = kernels().rotation;
    const size_t half = dim_ / 2, other = dim_ - half;
    for (size_t row = 0; row < n; ++row, rows += dim_, out += dim_) {
        k.scale(rows, factors(0), dim_, out);
        for (size_t round = 0; round < kRounds; ++round) {
            k.hadamard(out + first(round), length_);
            const float* const factor = factors(round + 1);
            if (length_ == dim_) {
                k.scale(out, factor, dim_, out);
                continue;
            }
            k.mix(out, out + other, half, kMix, factor, factor + other);
            if (half != other) out[half] *= factor[half];
        }
    }
}

void Rotation::undo(const float* rows, size_t n, float* out) const {
    const RotationKernels& k = kernels().rotation;
    const size_t half = dim_ / 2, other = dim_ - half;
    for (size_t row = 0; row < n; ++row, rows += dim_, out += dim_) {
        k.scale(rows, factors(kRounds), dim_, out);
        for (size_t round = kRounds; round-- != 0;) {
            if (length_ != dim_) {
                for (size_t i = 0; i < half; ++i) {
                    const float a = out[i], b = out[other + i];
                    out[i] = a + kMix * b;
                    out[other + i] = kMix * a - b;
                }
            }
            k.hadamard(out + first(round), length_);
            k.scale(out, factors(round), dim_, out);
        }
    }
}

}  // namespace nearbit
