// The factors of compact codes: positive floats in one or two bytes (SmallFloat of kernels.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "files/cursor.h"
#include "kernels/kernels.h"

namespace nearbit {

// For values like these: from the lowest thousandth to the largest, and a twentieth beyond. n_bytes
// is 1 or 2. What isn't above 0 counts for nothing; what a float can't hold, as the nearest it can.
SmallFloat fit_small(std::vector<double> values, size_t n_bytes);

// Writes a value in n_bytes (0: none) and returns what follows them. Of 0 and less it makes 0, of
// what else is out of range the nearest in it.
uint8_t* put_small(uint8_t* bytes, const SmallFloat& small, size_t n_bytes, double value);

// What put_small wrote, nearly; 0 of no bytes.
float take_small(const uint8_t* bytes, const SmallFloat& small, size_t n_bytes);

// Whether it is the largest value there may be, which stands for all that are larger. False of no
// bytes.
bool is_most_small(const uint8_t* bytes, size_t n_bytes);

// The largest value there may be.
float most_value(const SmallFloat& small, size_t n_bytes);

// As files hold it. Refuses what has values that aren't finite.
SmallFloat read_small(Cursor& fields, size_t n_bytes);

}  // namespace nearbit
