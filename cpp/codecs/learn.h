// What compact codecs learn from a sample: a transform and a quantiser.
#pragma once

#include <string>
#include <vector>

#include "base/watch.h"
#include "codecs/compact.h"

namespace nearbit {

constexpr size_t kMostRotated = 4096;  // dimensions: principal components take dim^3

// factor_bytes: of a row's bytes, those that are taken already. residuals: rows of dim floats, less
// the centre, which settings.rotated transforms in their place. The same bits at any number of
// threads.
CompactParts learn(const CodecSettings& settings, size_t factor_bytes,
                   std::vector<float>& residuals, size_t dim, size_t threads, Watch* watch);

// A transform and codebooks, as Transform and Quantiser write them; those of CodecSettings::given.
CompactParts read_pq_parts(Cursor& fields);
CompactParts given_parts(const std::string& given);

// How many of the bits that a row has each block of 8 components gets: every bit in turn goes where
// it takes most off the sum of variance^1.5 * distortion. variances: descending.
std::vector<uint32_t> spread_bits(const std::vector<double>& variances, size_t n_bytes);

}  // namespace nearbit
