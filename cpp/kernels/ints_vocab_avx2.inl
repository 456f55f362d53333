// The words that ints_x86.inl is written in, for AVX2: 16 numbers of 16 bits at a time.

using Wide = __m256i;
using Narrow = __m128i;
enum : size_t { kStep = 16 };

inline Narrow load_narrow(const uint8_t* x) {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(x));
}

// Up to 8 bytes as a number, without a look at what lies behind them.
inline uint64_t load_bytes(const uint8_t* x, size_t n) {
    uint64_t low = 0, high = 0;
    if (n == 8) {
        std::memcpy(&low, x, 8);
        return low;
    }
    if (n >= 4) {
        std::memcpy(&low, x, 4);
        std::memcpy(&high, x + n - 4, 4);
        return low | high << 8 * (n - 4);
    }
    for (size_t i = 0; i < n; ++i) low |= uint64_t(x[i]) << 8 * i;
    return low;
}

// n < kStep bytes and zeros behind them.
inline Narrow load_few(const uint8_t* x, size_t n) {
    if (n <= 8) return _mm_cvtsi64_si128(int64_t(load_bytes(x, n)));
    return _mm_set_epi64x(int64_t(load_bytes(x + 8, n - 8)), int64_t(load_bytes(x, 8)));
}

template <IntType kType>
inline Wide widen(Narrow x) {
    if constexpr (kType == IntType::kInt8) return _mm256_cvtepi8_epi16(x);
    return _mm256_cvtepu8_epi16(x);
}

inline Wide zero_wide() {
    return _mm256_setzero_si256();
}
inline Wide load_wide(const int16_t* x) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x));
}
inline Wide and_wide(Wide a, Wide b) {
    return _mm256_and_si256(a, b);
}
inline Wide subtract(Wide a, Wide b) {
    return _mm256_sub_epi16(a, b);
}
// Adds the sums of neighbouring products.
inline Wide add_products(Wide sum, Wide a, Wide b) {
    return _mm256_add_epi32(sum, _mm256_madd_epi16(a, b));
}
inline Wide add_wide(Wide a, Wide b) {
    return _mm256_add_epi32(a, b);
}
inline __m256i eight_lanes(Wide sum) {
    return sum;
}
