#include "codecs/small_float.h"

#include <algorithm>
#include <bit>
#include <string>

namespace nearbit {
namespace {

constexpr uint32_t kInfiniteBits = 0x7f800000;

uint32_t most_code(size_t n_bytes) {
    return (uint32_t(1) << (8 * n_bytes)) - 1;
}

float value_of(const SmallFloat& small, uint32_t code) {
    return code == 0 ? 0.0f : std::bit_cast<float>(small.base + (code - 1) * small.step);
}

uint32_t code_of(const SmallFloat& small, size_t n_bytes, double value) {
    if (!(value > 0)) return 0;
    const float capped = float(std::min(value, double(most_value(small, n_bytes))));
    const uint32_t bits = std::bit_cast<uint32_t>(capped);
    if (bits <= small.base) return 1;
    return std::min(most_code(n_bytes), 1 + (bits - small.base + small.step / 2) / small.step);
}

}  // namespace

// The bits of floats go up like a logarithm, so small and large values are rounded by the same
// share of them.
SmallFloat fit_small(std::vector<double> values, size_t n_bytes) {
    std::erase_if(values, [](double value) { return !(value > 0); });
    if (values.empty()) values.push_back(1);
    std::sort(values.begin(), values.end());
    const double least = std::clamp(values[values.size() / 1000] * 0.95, 1e-37, 3e38);
    const double most = std::clamp(values.back() * 1.05, least, 3.4e38);
    const uint32_t base = std::bit_cast<uint32_t>(float(least));
    const uint32_t span = std::bit_cast<uint32_t>(float(most)) - base;
    const uint32_t steps = most_code(n_bytes) - 1;
    // Rounded up, but the largest value stays finite.
    const uint32_t widest = (kInfiniteBits - 1 - base) / steps;
    return {base, std::clamp<uint32_t>((span + steps - 1) / steps, 1, widest)};
}

uint8_t* put_small(uint8_t* bytes, const SmallFloat& small, size_t n_bytes, double value) {
    uint32_t code = n_bytes == 0 ? 0 : code_of(small, n_bytes, value);
    for (size_t i = 0; i < n_bytes; ++i, code >>= 8) *bytes++ = uint8_t(code);
    return bytes;
}

float take_small(const uint8_t* bytes, const SmallFloat& small, size_t n_bytes) {
    uint32_t code = 0;
    for (size_t i = 0; i < n_bytes; ++i) code |= uint32_t(bytes[i]) << (8 * i);
    return value_of(small, code);
}

bool is_most_small(const uint8_t* bytes, size_t n_bytes) {
    return n_bytes != 0 && std::all_of(bytes, bytes + n_bytes, [](uint8_t b) { return b == 0xff; });
}

float most_value(const SmallFloat& small, size_t n_bytes) {
    return n_bytes == 0 ? 0.0f : value_of(small, most_code(n_bytes));
}

SmallFloat read_small(Cursor& fields, size_t n_bytes) {
    const auto base = fields.read<uint32_t>();
    const auto step = fields.read<uint32_t>();
    if (n_bytes != 0 && (base == 0 || step == 0 ||
                         base + uint64_t(most_code(n_bytes) - 1) * step >= kInfiniteBits)) {
        fields.refuse("expected the range of a factor, got " + std::to_string(base) + " and " +
                      std::to_string(step));
    }
    return {base, step};
}

}  // namespace nearbit
