// Grids: dimension j of a row is a whole number of bits_j bits, kept as bit planes.
#pragma once

#include <memory>
#include <vector>

#include "codecs/compact.h"

namespace nearbit {

// The same bits everywhere, for rows whose dimensions are alike (after a random rotation). The
// row's own scale goes into its factor, so a code is a direction: RaBitQ's.
std::unique_ptr<const Quantiser> make_direction_grid(size_t dim, uint32_t bits);

// A step for each dimension, for rows as they are: value (u - (2^bits - 1) / 2) * step + middle.
std::unique_ptr<const Quantiser> make_range_grid(std::vector<float> middles,
                                                 std::vector<float> steps, uint32_t bits);

std::unique_ptr<const Quantiser> read_grid(Cursor& fields);

constexpr uint32_t kMostGridBits = 8;
// The best step of a grid of so many bits for a normal distribution of variance 1.
double normal_step(uint32_t bits);

}  // namespace nearbit
