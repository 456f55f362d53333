#include "transforms/transform.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>

#include "transforms/lanes.h"

namespace nearbit {
namespace {

constexpr size_t kLanes = 8;  // outputs in a panel

size_t n_panels(size_t n_out) {
    return (n_out + kLanes - 1) / kLanes;
}

// Panels of a matrix given as a function of output and input; zeros beyond the last output.
template <class Factor>
std::shared_ptr<const std::vector<float>> make_panels(size_t n_in, size_t n_out, Factor factor) {
    auto panels = std::make_shared<std::vector<float>>(n_panels(n_out) * n_in * kLanes, 0.0f);
    for (size_t out = 0; out < n_out; ++out) {
        float* at = panels->data() + (out / kLanes) * n_in * kLanes + out % kLanes;
        for (size_t in = 0; in < n_in; ++in) at[in * kLanes] = factor(out, in);
    }
    return panels;
}

// R rows times a panel. Each output is summed over the inputs in ascending order, whatever R is.
template <size_t R>
void times_panel(const float* rows, size_t n_in, const float* panel, float* out, size_t n_out,
                 size_t n_lanes) {
    Floats sums[R][kLanes * sizeof(float) / sizeof(Floats)] = {};
    for (size_t in = 0; in < n_in; ++in) add_outer(sums, rows + in, n_in, panel + in * kLanes);
    for (size_t r = 0; r < R; ++r) {
        std::memcpy(out + r * n_out, sums[r], n_lanes * sizeof(float));
    }
}

void times(const float* rows, size_t n, size_t n_in, const std::vector<float>& panels, float* out,
           size_t n_out) {
    // Some rows at a time, so that they stay in the cache while the panels pass.
    constexpr size_t kRows = 64, kTogether = 4;
    for (size_t begin = 0; begin < n; begin += kRows) {
        const size_t end = std::min(n, begin + kRows);
        for (size_t first = 0; first < n_out; first += kLanes) {
            const float* panel = panels.data() + first * n_in;
            const size_t n_lanes = std::min(kLanes, n_out - first);
            size_t row = begin;
            for (; row + kTogether <= end; row += kTogether) {
                times_panel<kTogether>(rows + row * n_in, n_in, panel, out + row * n_out + first,
                                       n_out, n_lanes);
            }
            for (; row < end; ++row) {
                times_panel<1>(rows + row * n_in, n_in, panel, out + row * n_out + first, n_out,
                               n_lanes);
            }
        }
    }
}

}  // namespace

Transform Transform::identity(size_t dim) {
    return Transform(Kind::kIdentity, dim, dim);
}

Transform Transform::rotation(size_t dim, uint64_t seed) {
    Transform made(Kind::kRotation, dim, dim);
    made.rotation_ = std::make_shared<const Rotation>(dim, seed);
    return made;
}

Transform Transform::linear(size_t in_dim, size_t out_dim, const std::vector<float>& matrix) {
    Transform made(Kind::kLinear, in_dim, out_dim);
    made.forward_ = make_panels(in_dim, out_dim,
                                [&](size_t out, size_t in) { return matrix[out * in_dim + in]; });
    made.backward_ = make_panels(out_dim, in_dim,
                                 [&](size_t in, size_t out) { return matrix[out * in_dim + in]; });
    return made;
}

void Transform::apply(const float* rows, size_t n, float* out) const {
    switch (kind_) {
        case Kind::kIdentity:
            std::copy_n(rows, n * in_dim_, out);
            return;
        case Kind::kRotation:
            rotation_->apply(rows, n, out);
            return;
        case Kind::kLinear:
            times(rows, n, in_dim_, *forward_, out, out_dim_);
            return;
    }
}

void Transform::undo(const float* rows, size_t n, float* out) const {
    switch (kind_) {
        case Kind::kIdentity:
            std::copy_n(rows, n * in_dim_, out);
            return;
        case Kind::kRotation:
            rotation_->undo(rows, n, out);
            return;
        case Kind::kLinear:
            times(rows, n, out_dim_, *backward_, out, in_dim_);
            return;
    }
}

std::vector<float> Transform::matrix() const {
    std::vector<float> matrix(out_dim_ * in_dim_);
    for (size_t out = 0; out < out_dim_; ++out) {
        const float* panel = forward_->data() + (out / kLanes) * in_dim_ * kLanes;
        for (size_t in = 0; in < in_dim_; ++in) {
            matrix[out * in_dim_ + in] = panel[in * kLanes + out % kLanes];
        }
    }
    return matrix;
}

void Transform::write(Fields& fields) const {
    fields.put(static_cast<uint32_t>(kind_));
    fields.put(static_cast<uint32_t>(in_dim_));
    fields.put(static_cast<uint32_t>(out_dim_));
    if (kind_ == Kind::kRotation) fields.put(rotation_->seed());
    if (kind_ == Kind::kLinear) {
        for (const float value : matrix()) fields.put(value);
    }
}

Transform Transform::read(Cursor& cursor) {
    const auto kind = cursor.read<uint32_t>();
    const size_t in_dim = cursor.read<uint32_t>();
    const size_t out_dim = cursor.read<uint32_t>();
    if (kind > static_cast<uint32_t>(Kind::kLinear)) {
        cursor.refuse("expected a transform of kind 0 to 2, got " + std::to_string(kind));
    }
    for (const size_t dim : {in_dim, out_dim}) {
        if (dim == 0 || dim > kMaxDim) {
            cursor.refuse("expected a transform of 1 to " + std::to_string(kMaxDim) +
                          " dimensions, got " + std::to_string(dim));
        }
    }
    if (kind == static_cast<uint32_t>(Kind::kLinear)) {
        // Before any memory is made for them: the bytes must be there.
        const uint64_t n_bytes = uint64_t(in_dim) * out_dim * sizeof(float);
        if (n_bytes > cursor.remaining()) {
            cursor.refuse("expected a matrix of " + std::to_string(n_bytes) + " bytes, got " +
                          std::to_string(cursor.remaining()));
        }
        const auto bytes = cursor.read_bytes(static_cast<size_t>(n_bytes));
        std::vector<float> matrix(in_dim * out_dim);
        std::memcpy(matrix.data(), bytes.data(), bytes.size());
        for (const float value : matrix) {
            if (!std::isfinite(value)) cursor.refuse("expected a matrix of finite numbers");
        }
        return linear(in_dim, out_dim, matrix);
    }
    if (in_dim != out_dim) {
        cursor.refuse("expected a transform that keeps " + std::to_string(in_dim) +
                      " dimensions, got one that gives " + std::to_string(out_dim));
    }
    if (kind == static_cast<uint32_t>(Kind::kIdentity)) return identity(in_dim);
    return rotation(in_dim, cursor.read<uint64_t>());
}

}  // namespace nearbit
