// Product quantisation: a row is cut into m subspaces, and each part is stored as the number of the
// nearest of 2^nbits centroids.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/watch.h"
#include "codecs/kmeans.h"

namespace nearbit {

struct PqCodebooks {
    size_t dim, m, nbits;        // nbits is 4 or 8
    std::vector<size_t> starts;  // subspace s: dimensions starts[s] to starts[s + 1]; m + 1 of them
    std::vector<float> centroids;  // subspace by subspace, centroid by centroid

    size_t k() const { return size_t(1) << nbits; }
    size_t width(size_t s) const { return starts[s + 1] - starts[s]; }
    const float* of_subspace(size_t s) const { return centroids.data() + starts[s] * k(); }
    size_t code_bytes() const { return (m * nbits + 7) / 8; }
};

struct PqSettings {
    size_t m;
    size_t nbits = 8;
    size_t iterations = 25;  // of k-means
    uint64_t seed = 0;
};

// m subspaces whose sizes differ by one at most, the larger ones first.
std::vector<size_t> even_subspaces(size_t dim, size_t m);

// k-means in each of even_subspaces(dim, m), on at most 256 rows for each centroid, drawn at
// random. The same codebooks, to the bit, at any number of threads. Throws InvalidArgument for
// settings that don't fit dim and for fewer rows than centroids.
PqCodebooks train_pq(const float* rows, size_t n, size_t dim, const PqSettings& settings,
                     size_t n_threads, Watch* watch);

// Rows to codes of code_bytes() bytes: a byte for each subspace, or with 4 bits one for each two of
// them, the first in its low half; the half that an odd m leaves is 0. Threads may share it.
class PqEncoder {
  public:
    // The codebooks need not outlive this.
    explicit PqEncoder(const PqCodebooks& codebooks);

    // A row gets the same code in any batch.
    void encode(const float* rows, size_t n, uint8_t* codes) const;

  private:
    const size_t dim_, nbits_, code_bytes_;
    const std::vector<size_t> starts_;
    std::vector<NearestCentroid> subspaces_;
};

// The centroids that the codes stand for, n rows of dim floats.
void decode_pq(const PqCodebooks& codebooks, const uint8_t* codes, size_t n, float* rows);

// Which principal component, by its place in the descending eigenvalues, goes to each dimension, so
// that the subspaces have about equal products of eigenvalues (Ge et al., Optimized Product
// Quantization): each in turn goes to the subspace with the smallest so far that has room.
std::vector<size_t> balanced_components(const std::vector<double>& eigenvalues,
                                        const std::vector<size_t>& starts);

}  // namespace nearbit
