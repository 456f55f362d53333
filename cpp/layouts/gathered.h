// Stored rows taken together and decoded once, for distances between all of them.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/memory.h"
#include "layouts/flat.h"

namespace nearbit {

// Distances that order as the index's own do: squares of lengths for l2 and cosine.
class Gathered {
  public:
    // kDirections: of inner products, which part rows by where they point to and not by how long
    // they are. Else the same.
    enum Of { kRows, kDirections };
    explicit Gathered(const Flat& rows, Of of = kRows);
    static size_t row_bytes(const Codec& codec);

    // Takes the rows of slots in the place of those before.
    void take(std::span<const uint32_t> slots);
    // Moves rows by the first of them, or as others were, so that what is small beside the distance
    // from the origin is not lost in rounding. Products would change: rows for them stay.
    void move();
    void move_as(const Gathered& others);

    size_t size() const { return n_; }
    // From each row to each; from one to the next are stride floats. From equal ones 0, but for
    // products. Two rows have the same distance in any batch, but for what moving rounds.
    void distances(size_t stride, float* out);
    // From each row to each of the others, which were moved, less what doesn't order them.
    void scores(const Gathered& others, float* out);
    // From row i to chosen ones.
    void distances_from(size_t i, const std::vector<uint32_t>& which, float* out);

  private:
    float* floats() const { return reinterpret_cast<float*>(rows_.data()); }
    const uint8_t* bits() const { return reinterpret_cast<const uint8_t*>(rows_.data()); }
    void take_floats(std::span<const uint32_t> slots);
    // Of n rows from begin on with others from first on.
    void products(size_t begin, size_t n, const Gathered& others, size_t first, size_t stride,
                  float* out);
    // Bits that row i has other than n others, those from first on or chosen ones.
    void differing(size_t i, const Gathered& others, size_t first, const uint32_t* which, size_t n,
                   float* out);

    const Flat& from_;
    const Metric metric_;
    const bool of_bits_, products_, unit_;
    const size_t dim_, row_bytes_;
    size_t n_ = 0;
    Memory rows_, decoded_, workspace_;
    std::vector<float> terms_;  // of each row: set bits; or half of its squared length, once moved
    std::vector<float> moved_by_;
    std::vector<uint32_t> counts_;
};

}  // namespace nearbit
