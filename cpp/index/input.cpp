#include "index/input.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

namespace nearbit {
namespace {

float from_half(uint16_t half) {
    const uint32_t sign = uint32_t(half & 0x8000) << 16, exponent = half >> 10 & 31;
    const uint32_t fraction = half & 0x3ff;
    if (exponent == 0) {
        const float magnitude = std::ldexp(float(fraction), -24);
        return sign != 0 ? -magnitude : magnitude;
    }
    const uint32_t biased = exponent == 31 ? 255 : exponent + 112;
    return std::bit_cast<float>(sign | biased << 23 | fraction << 13);
}

float from_double(double x) {
    constexpr double kLargest = std::numeric_limits<float>::max();
    if (x > kLargest) return std::numeric_limits<float>::infinity();
    if (x < -kLargest) return -std::numeric_limits<float>::infinity();
    return float(x);
}

template <class Item>
Item load(const std::byte* p, bool swapped) {
    std::byte bytes[sizeof(Item)];
    std::memcpy(bytes, p, sizeof(Item));
    if (swapped) std::reverse(bytes, bytes + sizeof(Item));
    Item item;
    std::memcpy(&item, bytes, sizeof(Item));
    return item;
}

template <class Item, class Out, class Convert>
void convert_rows(const Input& in, size_t first, size_t count, Out* out, Convert convert) {
    for (size_t i = 0; i < count; ++i) {
        const std::byte* row = in.data + std::ptrdiff_t(first + i) * in.row_stride;
        for (size_t j = 0; j < in.width; ++j) {
            *out++ = convert(load<Item>(row + std::ptrdiff_t(j) * in.item_stride, in.swapped));
        }
    }
}

}  // namespace

bool Input::in_place() const {
    const size_t item_bytes = type == Type::kUint8 ? 1 : sizeof(float);
    return (type == Type::kUint8 || (type == Type::kFloat32 && !swapped)) &&
           (width <= 1 || item_stride == std::ptrdiff_t(item_bytes)) &&
           (n <= 1 || row_stride == std::ptrdiff_t(width * item_bytes)) &&
           reinterpret_cast<uintptr_t>(data) % item_bytes == 0;
}

const std::byte* Input::rows(size_t first, size_t count, Memory& scratch) const {
    if (in_place()) return data + std::ptrdiff_t(first) * row_stride;
    const auto same = [](auto item) { return item; };
    scratch.at_least(count * width * (type == Type::kUint8 ? 1 : sizeof(float)));
    float* const floats = reinterpret_cast<float*>(scratch.data());
    switch (type) {
        case Type::kFloat16:
            convert_rows<uint16_t>(*this, first, count, floats, from_half);
            break;
        case Type::kFloat32:
            convert_rows<float>(*this, first, count, floats, same);
            break;
        case Type::kFloat64:
            convert_rows<double>(*this, first, count, floats, from_double);
            break;
        case Type::kUint8:
            convert_rows<uint8_t>(*this, first, count, reinterpret_cast<uint8_t*>(scratch.data()),
                                  same);
            break;
    }
    return scratch.data();
}

}  // namespace nearbit
