// k-means, and which centroid is nearest. Rows hold finite numbers with squared norms up to 8.4e37,
// as the codecs check them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/memory.h"
#include "base/watch.h"
#include "kernels/kernels.h"

namespace nearbit {

// Centroids packed for finding the nearest. Threads may share it.
class NearestCentroid {
  public:
    // centroids: k rows of dim floats, k and dim >= 1; they need not outlive this.
    NearestCentroid(const float* centroids, size_t k, size_t dim,
                    const NearestKernels& kernels = nearbit::kernels().nearest);

    // The centroid with the smallest |c|^2 / 2 - <x, c>, of equal ones the first, for n rows that
    // are stride floats apart. A row gets the same answer in any batch. Rounding can prefer one
    // whose squared distance is larger by some dim * 2^-23 * (|x| + |c|)^2; integers are exact.
    void find(const float* rows, size_t n, size_t stride, Memory& scratch, uint32_t* nearest) const;

    // Rows to give find at a time: a few milliseconds of work, unless k * dim is above 10^6.
    size_t rows_at_once() const;

  private:
    const NearestKernels* kernels_;
    size_t k_, dim_;
    Memory packed_;
};

// The same for many rows one behind the other, on up to n_threads threads. squared_distances: of
// each row from its centroid, canonical; null if nobody wants them.
void assign(const float* rows, size_t n, size_t dim, const float* centroids, size_t k,
            size_t n_threads, Watch* watch, uint32_t* nearest, float* squared_distances);

struct KMeans {
    size_t k;
    size_t iterations = 25;  // at most; fewer if no row changes its centroid
    uint64_t seed = 0;
    // k-means++ chooses the first centroids among k times so many rows, drawn at random.
    size_t seeding_rows = 8;
};

struct Clusters {
    std::vector<float> centroids;  // k x dim
    // Sum of squared distances of the rows from the centroids they were last assigned to, which are
    // the means of their rows (before they are rounded to float).
    double inertia;
    size_t iterations;  // that were run
};

// Lloyd's algorithm from k-means++ seeds. The same result, to the bit, at any number of threads.
// An empty cluster takes the farthest row of the cluster with the largest error. With fewer
// distinct rows than k, centroids repeat. Wants 1 <= k <= n < 2^32 and at least one iteration.
// Advances the watch by iterations * n in all, which the caller has it expect.
Clusters kmeans(const float* rows, size_t n, size_t dim, const KMeans& settings, size_t n_threads,
                Watch* watch);

}  // namespace nearbit
