// Grids: dimension j of a row is a whole number of bits_j bits, kept as bit planes. Level l, most
// significant first, holds a bit for each of the first level_dims[l] dimensions, no more than the
// level before.
#pragma once

#include <memory>
#include <vector>

#include "codecs/compact.h"

namespace nearbit {

// Value (u - (2^bits_j - 1) / 2) * step_j, for rows around 0. Each row is rounded at the multiple
// of the steps that leaves its code's direction nearest to its own; the multiple goes into its
// factor. steps empty: 1 everywhere, for rows whose dimensions are alike (RaBitQ's).
std::unique_ptr<const Quantiser> make_direction_grid(std::vector<uint32_t> level_dims,
                                                     std::vector<float> steps);

// Value (u - (2^bits_j - 1) / 2) * step_j + middle_j.
std::unique_ptr<const Quantiser> make_range_grid(std::vector<uint32_t> level_dims,
                                                 std::vector<float> middles,
                                                 std::vector<float> steps);

std::unique_ptr<const Quantiser> read_grid(Cursor& fields);

constexpr uint32_t kMostGridBits = 8;
// The best step of a grid of so many bits for a normal distribution of variance 1.
double normal_step(uint32_t bits);

}  // namespace nearbit
