// A random rotation in D log D steps, for any number of dimensions.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/memory.h"

namespace nearbit {

constexpr size_t kMaxRotationDim = 65536;

// Four rounds of: random signs; a Hadamard transform of the first (then of the last) t entries, t
// the largest power of two that fits; and, where that leaves some out, a mixture of the two
// halves. Orthogonal up to float rounding. A row's bits depend on the row, the dimension
// and the seed alone.
class Rotation {
  public:
    // dim: 1..kMaxRotationDim.
    Rotation(size_t dim, uint64_t seed);

    size_t dim() const { return dim_; }
    uint64_t seed() const { return seed_; }

    // n rows, one behind the other; out may be rows.
    void apply(const float* rows, size_t n, float* out) const;
    // The inverse, which is the transpose.
    void undo(const float* rows, size_t n, float* out) const;

  private:
    static constexpr size_t kRounds = 4;
    const float* factors(size_t round) const {
        return reinterpret_cast<const float*>(factors_.data()) + round * dim_;
    }
    // Where a round's Hadamard transform begins.
    size_t first(size_t round) const { return round % 2 == 0 ? 0 : dim_ - length_; }

    size_t dim_, length_;
    uint64_t seed_;
    // What the entries are multiplied by before each round and after the last: signs and scales.
    Memory factors_;
};

}  // namespace nearbit
