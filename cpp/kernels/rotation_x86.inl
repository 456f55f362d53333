// Rotations with rows of 16 floats (lanes_*.inl): the bits that plain C++ gives, since each number
// is the same sum in the same order.
namespace rotation {

// R rows, transformed across.
template <int R, int kStep = 1>
inline void across(lanes::Floats (&rows)[R]) {
    if constexpr (kStep < R) {
        for (int i = 0; i < R; ++i) {
            if ((i & kStep) != 0) continue;
            const lanes::Floats a = rows[i], b = rows[i + kStep];
            rows[i] = lanes::add(a, b);
            rows[i + kStep] = lanes::subtract(a, b);
        }
        across<R, 2 * kStep>(rows);
    }
}

// n entries, of which each R * stride are transformed at the strides from `stride` on: 16 at the
// first pass, which transforms within 16 entries too.
template <int R, bool kFirst>
void pass(float* x, size_t n, size_t stride) {
    lanes::Floats rows[R];
    for (float *p = x, *const end = x + n; p != end; p += R * stride) {
        for (size_t at = 0; at < stride; at += 16) {
            for (int i = 0; i < R; ++i) rows[i] = lanes::load(p + at + size_t(i) * stride);
            if constexpr (kFirst) {
                for (int i = 0; i < R; ++i) rows[i] = lanes::hadamard16(rows[i]);
            }
            across(rows);
            for (int i = 0; i < R; ++i) lanes::store(p + at + size_t(i) * stride, rows[i]);
        }
    }
}

// A pass of the largest radix up to R. Returns the next one's stride.
template <int R, bool kFirst>
size_t widest_pass(float* x, size_t n, size_t stride) {
    if constexpr (R > 1) {
        if (n / stride < R) return widest_pass<R / 2, kFirst>(x, n, stride);
    }
    pass<R, kFirst>(x, n, stride);
    return R * stride;
}

void hadamard(float* x, size_t n) {
    if (n < 16) {
        plain_hadamard(x, n);
        return;
    }
    for (size_t stride = widest_pass<lanes::kRadix, true>(x, n, 16); stride < n;) {
        stride = widest_pass<lanes::kRadix, false>(x, n, stride);
    }
}

void scale(const float* x, const float* factors, size_t n, float* out) {
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        lanes::store(out + i, lanes::multiply(lanes::load(x + i), lanes::load(factors + i)));
    }
    plain_scale(x + i, factors + i, n - i, out + i);
}

void mix(float* a, float* b, size_t n, float share, const float* factors_a,
         const float* factors_b) {
    const lanes::Floats s = lanes::fill(share);
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        const lanes::Floats x = lanes::load(a + i), y = lanes::load(b + i);
        const lanes::Floats sum = lanes::add(x, lanes::multiply(s, y));
        const lanes::Floats difference = lanes::subtract(lanes::multiply(s, x), y);
        lanes::store(a + i, lanes::multiply(sum, lanes::load(factors_a + i)));
        lanes::store(b + i, lanes::multiply(difference, lanes::load(factors_b + i)));
    }
    plain_mix(a + i, b + i, n - i, share, factors_a + i, factors_b + i);
}

}  // namespace rotation

constexpr RotationKernels rotation_kernels = {rotation::scale, rotation::hadamard, rotation::mix};
