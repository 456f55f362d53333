// Rotations in plain C++: the reference, and what runs where there is no better one.
#ifdef _MSC_VER
#define NEARBIT_RESTRICT __restrict
#else
#define NEARBIT_RESTRICT __restrict__
#endif

namespace rotation {

// The butterflies of a pass: entries that lie `stride` apart, n columns side by side. Additions
// alone, in one order, so every instruction set gives the same bits.
inline void butterfly2(float* NEARBIT_RESTRICT a, float* NEARBIT_RESTRICT b, size_t n) {
    for (size_t i = 0; i < n; ++i) {
        const float x = a[i], y = b[i];
        a[i] = x + y;
        b[i] = x - y;
    }
}

inline void butterfly4(float* NEARBIT_RESTRICT a, float* NEARBIT_RESTRICT b,
                       float* NEARBIT_RESTRICT c, float* NEARBIT_RESTRICT d, size_t n) {
    for (size_t i = 0; i < n; ++i) {
        const float ab = a[i] + b[i], a_b = a[i] - b[i];
        const float cd = c[i] + d[i], c_d = c[i] - d[i];
        a[i] = ab + cd;
        b[i] = a_b + c_d;
        c[i] = ab - cd;
        d[i] = a_b - c_d;
    }
}

inline void butterfly8(float* NEARBIT_RESTRICT a, float* NEARBIT_RESTRICT b,
                       float* NEARBIT_RESTRICT c, float* NEARBIT_RESTRICT d,
                       float* NEARBIT_RESTRICT e, float* NEARBIT_RESTRICT f,
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
inline void butterfly4_transposed(const float* NEARBIT_RESTRICT in, float* NEARBIT_RESTRICT out) {
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
inline void plain_hadamard(float* x, size_t n) {
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

inline void plain_scale(const float* x, const float* factors, size_t n, float* out) {
    for (size_t i = 0; i < n; ++i) out[i] = x[i] * factors[i];
}

inline void plain_mix(float* NEARBIT_RESTRICT a, float* NEARBIT_RESTRICT b, size_t n, float share,
                      const float* factors_a, const float* factors_b) {
    for (size_t i = 0; i < n; ++i) {
        const float x = a[i], y = b[i];
        a[i] = (x + share * y) * factors_a[i];
        b[i] = (share * x - y) * factors_b[i];
    }
}

#undef NEARBIT_RESTRICT

}  // namespace rotation
