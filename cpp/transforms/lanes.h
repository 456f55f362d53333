// A few numbers side by side: 16 bytes, what every processor of 64 bits computes at once. Compilers
// left alone with the same loops shuffle more than they add.
#pragma once

#include <cstddef>
#include <cstring>

namespace nearbit {

#ifdef __GNUC__

typedef float Floats __attribute__((vector_size(16)));
typedef double Doubles __attribute__((vector_size(16)));

#else

template <class T>
struct Lanes {
    T v[16 / sizeof(T)];
    friend Lanes operator*(T x, Lanes lanes) {
        for (T& value : lanes.v) value = x * value;
        return lanes;
    }
    Lanes& operator+=(const Lanes& other) {
        for (size_t i = 0; i < 16 / sizeof(T); ++i) v[i] += other.v[i];
        return *this;
    }
};
using Floats = Lanes<float>;
using Doubles = Lanes<double>;

#endif

// sums[r][0..C-1] += x[r] * y[0..C-1]: a step of the product of R rows and C times a few columns.
template <size_t R, size_t C, class Lane, class T>
inline void add_outer(Lane (&sums)[R][C], const T* x, size_t x_stride, const T* y) {
    Lane columns[C];
    std::memcpy(columns, y, sizeof columns);
    for (size_t r = 0; r < R; ++r) {
        const T value = x[r * x_stride];
        for (size_t c = 0; c < C; ++c) sums[r][c] += value * columns[c];
    }
}

}  // namespace nearbit
