#include "transforms/rotation.h"

#include <bit>
#include <cmath>

#include "base/random.h"

#ifdef _MSC_VER
#define NEARBIT_RESTRICT __restrict
#else
#define NEARBIT_RESTRICT __restrict__
#endif

namespace nearbit {
namespace {

// How much of the other half is added: a rotation of (a, b) to .8 a + .6 b and .6 a - .8 b. Equal
// parts would make zeros of what a Hadamard transform gives for an axis, numbers of one size.
constexpr float kMix = 0.75f;
constexpr double kMixScale = 0.8;

// The butterflies of a pass: entries that lie `stride` apart, n columns side by side. Additions
// alone, in one order, so every instruction set gives the same bits.
void butterfly2(float* NEARBIT_RESTRICT a, float* NEARBIT_RESTRICT b, size_t n) {
    for (size_t i = 0; i < n; ++i) {
        const float x = a[i], y = b[i];
        a[i] = x + y;
        b[i] = x - y;
    }
}

void butterfly4(float* NEARBIT_RESTRICT a, float* NEARBIT_RESTRICT b, float* NEARBIT_RESTRICT c,
                float* NEARBIT_RESTRICT d, size_t n) {
    for (size_t i = 0; i < n; ++i) {
        const float ab = a[i] + b[i], a_b = a[i] - b[i];
        const float cd = c[i] + d[i], c_d = c[i] - d[i];
        a[i] = ab + cd;
        b[i] = a_b + c_d;
        c[i] = ab - cd;
        d[i] = a_b - c_d;
    }
}

void butterfly8(float* NEARBIT_RESTRICT a, float* NEARBIT_RESTRICT b, float* NEARBIT_RESTRICT c,
                float* NEARBIT_RESTRICT d, float* NEARBIT_RESTRICT e, float* NEARBIT_RESTRICT f,
                float* NEARBIT_RESTRICT g, float* NEARBIT_RESTRICT h, size_t n) {
    for (size_t i = 0; i < n; ++i) {
        const float ab = a[i] + b[i], a_b = a[i] - b[i];
        const float cd = c[i] + d[i], c_d = c[i] - d[i];
        const float ef = e[i] + f[i], e_f = e[i] - f[i];
        const float gh = g[i] + h[i], g_h = g[i] - h[i];
        const float p0 = ab + cd, p1 = a_b + c_d, p2 = ab - cd, p3 = a_b - c_d;
        const float q0 = ef + gh, q1 = e_f + g_h, q2 = ef - gh, q3 = e_f - g_h;
        a[i] = p0 + q0;
        b[i] = p1 + q1;
        c[i] = p2 + q2;
        d[i] = p3 + q3;
        e[i] = p0 - q0;
        f[i] = p1 - q1;
        g[i] = p2 - q2;
        h[i] = p3 - q3;
    }
}

// Four columns of four entries, in, to four rows, out.
void butterfly4_transposed(const float* NEARBIT_RESTRICT in, float* NEARBIT_RESTRICT out) {
    for (size_t i = 0; i < 4; ++i) {
        const float a = in[i], b = in[4 + i], c = in[8 + i], d = in[12 + i];
        const float ab = a + b, a_b = a - b, cd = c + d, c_d = c - d;
        out[4 * i] = ab + cd;
        out[4 * i + 1] = a_b + c_d;
        out[4 * i + 2] = ab - cd;
        out[4 * i + 3] = a_b - c_d;
    }
}

// The transform of n entries, n a power of two, unscaled. From 16 on it leaves each 16 entries
// transposed as a 4 by 4 matrix: that saves shuffling them back, and the whole is still its own
// transpose.
void hadamard(float* x, size_t n) {
    size_t stride = 1;
    if (n >= 16) {
        for (size_t at = 0; at < n; at += 16) {
            float turned[16];
            butterfly4_transposed(x + at, turned);
            butterfly4(turned, turned + 4, turned + 8, turned + 12, 4);
            for (size_t i = 0; i < 16; ++i) x[at + i] = turned[i];
        }
        stride = 16;
    }
    while (stride < n) {
        const size_t s = stride;
        const size_t radix = n / s >= 8 ? 8 : n / s;
        for (float *p = x, *const end = x + n; p != end; p += radix * s) {
            if (radix == 8) {
                butterfly8(p, p + s, p + 2 * s, p + 3 * s, p + 4 * s, p + 5 * s, p + 6 * s,
                           p + 7 * s, s);
            } else if (radix == 4) {
                butterfly4(p, p + s, p + 2 * s, p + 3 * s, s);
            } else {
                butterfly2(p, p + s, s);
            }
        }
        stride *= radix;
    }
}

}  // namespace

Rotation::Rotation(size_t dim, uint64_t seed)
    : dim_(dim), length_(std::bit_floor(dim)), seed_(seed), factors_((kRounds + 1) * dim) {
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
            factors_[round * dim + i] = static_cast<float>(factor);
        }
    }
}

void Rotation::apply(const float* rows, size_t n, float* out) const {
    const size_t half = dim_ / 2, other = dim_ - half;
    for (size_t row = 0; row < n; ++row, rows += dim_, out += dim_) {
        const float* factor = factors(0);
        for (size_t i = 0; i < dim_; ++i) out[i] = rows[i] * factor[i];
        for (size_t round = 0; round < kRounds; ++round) {
            hadamard(out + first(round), length_);
            factor = factors(round + 1);
            if (length_ == dim_) {
                for (size_t i = 0; i < dim_; ++i) out[i] *= factor[i];
                continue;
            }
            for (size_t i = 0; i < half; ++i) {
                const float a = out[i], b = out[other + i];
                out[i] = (a + kMix * b) * factor[i];
                out[other + i] = (kMix * a - b) * factor[other + i];
            }
            if (half != other) out[half] *= factor[half];
        }
    }
}

void Rotation::undo(const float* rows, size_t n, float* out) const {
    const size_t half = dim_ / 2, other = dim_ - half;
    for (size_t row = 0; row < n; ++row, rows += dim_, out += dim_) {
        const float* factor = factors(kRounds);
        for (size_t i = 0; i < dim_; ++i) out[i] = rows[i] * factor[i];
        for (size_t round = kRounds; round-- != 0;) {
            if (length_ != dim_) {
                for (size_t i = 0; i < half; ++i) {
                    const float a = out[i], b = out[other + i];
                    out[i] = a + kMix * b;
                    out[other + i] = kMix * a - b;
                }
            }
            hadamard(out + first(round), length_);
            factor = factors(round);
            for (size_t i = 0; i < dim_; ++i) out[i] *= factor[i];
        }
    }
}

}  // namespace nearbit
