#include "layouts/gathered.h"

#include <algorithm>
#include <cmath>

#include "kernels/kernels.h"

namespace nearbit {
namespace {

template <class Number>
void widen(const std::byte* numbers, size_t n, float* out) {
    for (size_t j = 0; j < n; ++j) out[j] = float(reinterpret_cast<const Number*>(numbers)[j]);
}

// Calls use(i, j) for all i <= j < n, block by block: what lies at (j, i) stays in the cache.
template <class Use>
void for_blocks(size_t n, size_t block, Use use) {
    for (size_t first = 0; first < n; first += block) {
        for (size_t second = first; second < n; second += block) {
            for (size_t i = first; i < std::min(n, first + block); ++i) {
                for (size_t j = std::max(i, second); j < std::min(n, second + block); ++j)
                    use(i, j);
            }
        }
    }
}

double squared_length(const float* row, size_t dim) {
    double squared;
    kernels().dense.squared_norms(row, 1, dim, &squared);
    return squared;
}

}  // namespace

size_t Gathered::row_bytes(const Codec& codec) {
    return codec.output() == InputType::kBits ? codec.output_bytes() : codec.dim() * sizeof(float);
}

Gathered::Gathered(const Flat& rows, Of of)
    : from_(rows),
      metric_(rows.codec().metric()),
      of_bits_(rows.codec().output() == InputType::kBits),
      products_(metric_ == Metric::kIp && of == kRows),
      unit_(metric_ == Metric::kCosine || (metric_ == Metric::kIp && of == kDirections)),
      dim_(rows.codec().dim()),
      row_bytes_(row_bytes(rows.codec())),
      decoded_(rows.codec().output_bytes()) {}

void Gathered::take(std::span<const uint32_t> slots) {
    n_ = slots.size();
    rows_.at_least(n_ * row_bytes_);
    terms_.resize(n_);
    if (!of_bits_) {
        take_floats(slots);
        return;
    }
    for (size_t i = 0; i < n_; ++i) {
        from_.decode(slots[i], rows_.data() + i * row_bytes_);
        if (metric_ == Metric::kJaccard) terms_[i] = *from_.factor(slots[i]);
    }
}

void Gathered::take_floats(std::span<const uint32_t> slots) {
    for (size_t i = 0; i < n_; ++i) {
        float* const row = floats() + i * dim_;
        const InputType type = from_.codec().output();
        if (type == InputType::kFloat32) {
            from_.decode(slots[i], reinterpret_cast<std::byte*>(row));
        } else {
            from_.decode(slots[i], decoded_.data());
            if (type == InputType::kInt8) widen<int8_t>(decoded_.data(), dim_, row);
            if (type == InputType::kUint8) widen<uint8_t>(decoded_.data(), dim_, row);
        }
        if (!unit_) continue;
        const double squared = squared_length(row, dim_);
        const float scale = squared > 0 ? float(1 / std::sqrt(squared)) : 0;
        for (size_t j = 0; j < dim_; ++j) row[j] *= scale;
    }
}

void Gathered::move() {
    if (of_bits_ || products_ || n_ == 0) return;
    moved_by_.assign(floats(), floats() + dim_);
    move_as(*this);
    for (size_t i = 0; i < n_; ++i) {
        terms_[i] = float(squared_length(floats() + i * dim_, dim_) / 2);
    }
}

void Gathered::move_as(const Gathered& others) {
    if (of_bits_ || products_) return;
    for (size_t i = 0; i < n_; ++i) {
        float* const row = floats() + i * dim_;
        for (size_t j = 0; j < dim_; ++j) row[j] -= others.moved_by_[j];
    }
}

// Half of the pairs: the others are the same.
void Gathered::distances(size_t stride, float* out) {
    constexpr size_t kBand = 96, kBlock = 16;
    std::vector<float> squares(n_);
    for (size_t i = 0; i < n_; i += of_bits_ ? 1 : kBand) {
        if (of_bits_) {
            differing(i, *this, i, nullptr, n_ - i, out + i * stride + i);
        } else {
            products(i, std::min(kBand, n_ - i), *this, i, stride, out + i * stride + i);
        }
    }
    const bool squared = !of_bits_ && !products_;
    // Of the same kernel, so that equal rows come out as 0.
    for (size_t i = 0; squared && i < n_; ++i) squares[i] = -out[i * stride + i];
    for_blocks(n_, kBlock, [&](size_t i, size_t j) {
        float& distance = out[i * stride + j];
        if (squared) distance = std::max(0.0f, squares[i] + squares[j] + 2 * distance);
        out[j * stride + i] = distance;
    });
}

void Gathered::scores(const Gathered& others, float* out) {
    const size_t n = others.n_;
    if (of_bits_) {
        for (size_t i = 0; i < n_; ++i) differing(i, others, 0, nullptr, n, out + i * n);
        return;
    }
    products(0, n_, others, 0, n, out);
    for (size_t i = 0; i < n_; ++i) {
        for (size_t j = 0; j < n; ++j) out[i * n + j] += others.terms_[j];
    }
}

void Gathered::distances_from(size_t i, const std::vector<uint32_t>& which, float* out) {
    if (of_bits_) {
        differing(i, *this, 0, which.data(), which.size(), out);
        return;
    }
    kernels().dense.gather(products_ ? DenseForm::kIp : DenseForm::kL2, floats() + i * dim_, dim_,
                           floats(), nullptr, which.data(), which.size(), out);
}

void Gathered::products(size_t begin, size_t n, const Gathered& others, size_t first, size_t stride,
                        float* out) {
    workspace_.at_least(kernels().pairs.workspace(n, dim_) * sizeof(float));
    kernels().pairs.products(floats() + begin * dim_, n, others.floats() + first * dim_,
                             others.n_ - first, dim_, reinterpret_cast<float*>(workspace_.data()),
                             out, stride);
}

void Gathered::differing(size_t i, const Gathered& others, size_t first, const uint32_t* which,
                         size_t n, float* out) {
    counts_.resize(std::max(counts_.size(), n));
    kernels().bits.gather(bits() + i * row_bytes_, row_bytes_, others.bits() + first * row_bytes_,
                          which, n, counts_.data());
    const float* const set = others.terms_.data() + first;
    for (size_t j = 0; j < n; ++j) {
        out[j] = float(counts_[j]);
        if (metric_ != Metric::kJaccard || counts_[j] == 0) continue;
        out[j] = 2 * out[j] / (terms_[i] + set[which == nullptr ? j : which[j]] + out[j]);
    }
}

}  // namespace nearbit
