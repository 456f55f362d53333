// Sixteen floats, or eight doubles, side by side in plain C++. Every instruction set adds up in the
// same lanes and the same order, so that all of them give the same bits.
namespace lanes {

struct Floats {
    float v[16];
};
struct Doubles {
    double v[8];
};

template <class Op>
inline Floats map(Floats a, const Op& op) {
    for (float& x : a.v) x = op(x);
    return a;
}
template <class Op>
inline Floats map(Floats a, const Floats& b, const Op& op) {
    for (int i = 0; i < 16; ++i) a.v[i] = op(a.v[i], b.v[i]);
    return a;
}

inline Floats load(const float* p) {
    Floats x;
    memcpy(x.v, p, sizeof x.v);
    return x;
}
inline void store(float* p, const Floats& x) {
    memcpy(p, x.v, sizeof x.v);
}
inline Floats fill(float x) {
    return map(Floats{}, [x](float) { return x; });
}
inline Doubles zeros() {
    return {};
}
inline Floats add(const Floats& a, const Floats& b) {
    return map(a, b, [](float x, float y) { return x + y; });
}
inline Floats subtract(const Floats& a, const Floats& b) {
    return map(a, b, [](float x, float y) { return x - y; });
}
inline Floats multiply(const Floats& a, const Floats& b) {
    return map(a, b, [](float x, float y) { return x * y; });
}
inline Floats least(const Floats& a, const Floats& b) {
    return map(a, b, [](float x, float y) { return x < y ? x : y; });
}
inline Floats magnitude(const Floats& a) {
    return map(a, [](float x) { return fabsf(x); });
}
// Of numbers from 0 up to less than 2^31.
inline Floats truncate(const Floats& a) {
    return map(a, [](float x) { return float(int32_t(x)); });
}
// x where sign > 0, else -x: without a branch, which no processor could predict.
inline Floats with_sign(const Floats& x, const Floats& sign) {
    return map(x, sign, [](float value, float s) { return float(2 * int(s > 0) - 1) * value; });
}
// Sixteen bytes of whole numbers from 0 to 255.
inline void store_bytes(uint8_t* p, const Floats& x) {
    for (int i = 0; i < 16; ++i) p[i] = uint8_t(x.v[i]);
}

inline void add_products(Doubles& sums, const Floats& a, const Floats& b) {
    for (int i = 0; i < 16; ++i) sums.v[i % 8] += double(a.v[i]) * double(b.v[i]);
}
inline float sum(Floats x) {
    for (int n = 8; n != 0; n /= 2) {
        for (int i = 0; i < n; ++i) x.v[i] += x.v[i + n];
    }
    return x.v[0];
}
inline double sum(Doubles x) {
    for (int n = 4; n != 0; n /= 2) {
        for (int i = 0; i < n; ++i) x.v[i] += x.v[i + n];
    }
    return x.v[0];
}

// Bit i: the given bit of byte i of 64.
inline uint64_t bits_of(const uint8_t* bytes, uint32_t bit) {
    uint64_t bits = 0;
    for (uint32_t i = 0; i < 64; ++i) bits |= uint64_t(bytes[i] >> bit & 1) << i;
    return bits;
}

}  // namespace lanes
