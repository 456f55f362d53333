// What is done to rows before they are coded: nothing, a rotation, or a matrix.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "files/cursor.h"
#include "transforms/rotation.h"

namespace nearbit {

class Transform {
  public:
    static constexpr size_t kMaxDim = kMaxRotationDim;

    // Dimensions are 1..kMaxDim.
    static Transform identity(size_t dim);
    static Transform rotation(size_t dim, uint64_t seed);
    // matrix: out_dim rows of in_dim finite numbers.
    static Transform linear(size_t in_dim, size_t out_dim, const std::vector<float>& matrix);

    size_t in_dim() const { return in_dim_; }
    size_t out_dim() const { return out_dim_; }
    bool is_identity() const { return kind_ == Kind::kIdentity; }

    // n rows of in_dim to n of out_dim, elsewhere in memory. A row's bits don't depend on the rows
    // it comes with.
    void apply(const float* rows, size_t n, float* out) const;
    // The transpose: n rows of out_dim to n of in_dim. The inverse, where the matrix is orthogonal.
    void undo(const float* rows, size_t n, float* out) const;

    // The matrix as it was given; of the linear kind alone.
    std::vector<float> matrix() const;

    void write(Fields& fields) const;
    // Refuses what no Transform can have written.
    static Transform read(Cursor& cursor);

  private:
    enum class Kind : uint32_t { kIdentity = 0, kRotation = 1, kLinear = 2 };
    Transform(Kind kind, size_t in_dim, size_t out_dim)
        : kind_(kind), in_dim_(in_dim), out_dim_(out_dim) {}

    Kind kind_;
    size_t in_dim_, out_dim_;
    // Shared: nothing changes them, and copies of a Transform are cheap.
    std::shared_ptr<const Rotation> rotation_;
    // The matrix for apply and its transpose for undo, each in panels of 8 outputs: for each input
    // the 8 factors side by side, so that a product reads straight on.
    std::shared_ptr<const std::vector<float>> forward_, backward_;
};

}  // namespace nearbit
