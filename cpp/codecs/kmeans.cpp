#include "codecs/kmeans.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "base/error.h"
#include "base/random.h"
#include "base/threads.h"

namespace nearbit {
namespace {

constexpr size_t kAnyRows = 4096;  // rows of a task whose work for each is small

// Calls task(first, n) for pieces of n_rows rows.
template <class Task>
void for_pieces(size_t n_rows, size_t at_once, size_t n_threads, Watch* watch, const Task& task) {
    parallel_for((n_rows + at_once - 1) / at_once, n_threads, watch,
                 [&](size_t i) { task(i * at_once, std::min(at_once, n_rows - i * at_once)); });
}

// k-means++: each next centroid is a row, drawn with its squared distance from the nearest one so
// far as its weight.
class Seeding {
  public:
    Seeding(const float* rows, size_t n, size_t dim, size_t n_threads)
        : rows_(rows), n_(n), dim_(dim), n_threads_(n_threads), weights_(n), distances_(n) {}

    void run(size_t k, Random& random, Watch* watch, float* centroids) {
        size_t chosen = size_t(random.below(n_));
        for (size_t c = 0; c < k; ++c) {
            float* const centroid = centroids + c * dim_;
            std::memcpy(centroid, rows_ + chosen * dim_, dim_ * sizeof(float));
            if (c + 1 == k) return;
            weigh(centroid, c == 0, watch);
            chosen = draw(random);
            if (watch) watch->advance(0);
        }
    }

  private:
    void weigh(const float* centroid, bool first, Watch* watch) {
        // Handing a piece to another thread costs as much as some 10^5 multiplications.
        const size_t at_once = std::max<size_t>(1, (size_t(1) << 20) / dim_);
        for_pieces(n_, at_once, n_threads_, watch, [&](size_t from, size_t n) {
            float* const distances = distances_.data() + from;
            kernels().dense.gather(DenseForm::kL2, centroid, dim_, rows_ + from * dim_, nullptr,
                                   nullptr, n, distances);
            for (size_t i = 0; i < n; ++i) {
                weights_[from + i] =
                    first ? distances[i] : std::min(weights_[from + i], distances[i]);
            }
        });
    }

    // A zero total means that all rows are centroids already: any will do.
    size_t draw(Random& random) const {
        double total = 0;
        for (const float weight : weights_) total += weight;
        if (!(total > 0)) return size_t(random.below(n_));
        double rest = random.unit() * total;
        size_t last = 0;
        for (size_t i = 0; i < n_; ++i) {
            if (weights_[i] == 0) continue;
            rest -= weights_[i];
            last = i;
            if (rest < 0) break;
        }
        return last;
    }

    const float* rows_;
    const size_t n_, dim_, n_threads_;
    std::vector<float> weights_, distances_;
};

// The rows of each cluster, and what is summed over them.
class Update {
  public:
    Update(const float* rows, size_t n, size_t dim, size_t k, size_t n_threads)
        : rows_(rows),
          dim_(dim),
          k_(k),
          n_threads_(n_threads),
          squared_norms_(n),
          members_(n),
          begins_(k + 1),
          ends_(k),
          sums_(k * dim),
          errors_(k) {
        for_pieces(n, kAnyRows, n_threads, nullptr, [&](size_t from, size_t here) {
            kernels().dense.squared_norms(rows + from * dim, here, dim,
                                          squared_norms_.data() + from);
        });
    }

    // Makes each centroid the mean of its rows; gives rows to empty clusters. Returns the inertia.
    double run(std::vector<uint32_t>& nearest, float* centroids) {
        sort(nearest);
        for_pieces(k_, std::max<size_t>(1, k_ / 64), n_threads_, nullptr,
                   [&](size_t from, size_t here) {
                       for (size_t c = from; c < from + here; ++c) sum(c);
                   });
        for (size_t c = 0; c < k_; ++c) {
            if (begins_[c] == ends_[c] && !fill(c, nearest)) break;
        }
        double inertia = 0;
        for (size_t c = 0; c < k_; ++c) {
            const size_t count = ends_[c] - begins_[c];
            if (count == 0) continue;  // the centroid stays
            inertia += errors_[c];
            for (size_t j = 0; j < dim_; ++j) {
                centroids[c * dim_ + j] = float(sums_[c * dim_ + j] / double(count));
            }
        }
        return inertia;
    }

  private:
    void sort(const std::vector<uint32_t>& nearest) {
        std::fill(begins_.begin(), begins_.end(), 0);
        for (const uint32_t c : nearest) ++begins_[c + 1];
        for (size_t c = 0; c < k_; ++c) begins_[c + 1] += begins_[c];
        std::copy(begins_.begin(), begins_.end() - 1, ends_.begin());
        for (size_t i = 0; i < nearest.size(); ++i) members_[ends_[nearest[i]]++] = uint32_t(i);
    }

    // Its rows in order, so that threads decide nothing.
    void sum(size_t c) {
        double* const sums = sums_.data() + c * dim_;
        std::fill(sums, sums + dim_, 0.0);
        double squares = 0;
        for (size_t i = begins_[c]; i < ends_[c]; ++i) {
            const float* const row = rows_ + members_[i] * dim_;
            for (size_t j = 0; j < dim_; ++j) sums[j] += row[j];
            squares += squared_norms_[members_[i]];
        }
        double square = 0;
        for (size_t j = 0; j < dim_; ++j) square += sums[j] * sums[j];
        const size_t count = ends_[c] - begins_[c];
        const double error = squares - square / double(count);
        // Less is what rounding leaves of equal rows.
        errors_[c] = count > 1 && error > squares * double(count + dim_) * 0x1p-52 ? error : 0;
    }

    // The farthest row of the cluster with the largest error becomes the row of an empty one. False
    // if no cluster has two different rows.
    bool fill(size_t empty, std::vector<uint32_t>& nearest) {
        const size_t donor =
            size_t(std::max_element(errors_.begin(), errors_.end()) - errors_.begin());
        if (!(errors_[donor] > 0)) return false;
        const double* const sums = sums_.data() + donor * dim_;
        const double count = double(ends_[donor] - begins_[donor]);
        size_t farthest = begins_[donor];
        double most = 0;
        for (size_t i = begins_[donor]; i < ends_[donor]; ++i) {
            const float* const row = rows_ + members_[i] * dim_;
            double distance = 0;
            for (size_t j = 0; j < dim_; ++j) {
                const double difference = row[j] - sums[j] / count;
                distance += difference * difference;
            }
            if (distance > most) most = distance, farthest = i;
        }
        const auto at = members_.begin() + std::ptrdiff_t(farthest);
        std::rotate(at, at + 1, members_.begin() + std::ptrdiff_t(ends_[donor]));
        --ends_[donor];
        begins_[empty] = ends_[donor];
        ends_[empty] = begins_[empty] + 1;
        nearest[members_[begins_[empty]]] = uint32_t(empty);
        sum(donor);
        sum(empty);
        return true;
    }

    const float* rows_;
    const size_t dim_, k_, n_threads_;
    std::vector<double> squared_norms_;
    std::vector<uint32_t> members_;      // rows, cluster by cluster
    std::vector<size_t> begins_, ends_;  // of each cluster in members_
    std::vector<double> sums_, errors_;
};

}  // namespace

NearestCentroid::NearestCentroid(const float* centroids, size_t k, size_t dim,
                                 const NearestKernels& kernels)
    : kernels_(&kernels), k_(k), dim_(dim), packed_(kernels.packed_size(k, dim) * sizeof(float)) {
    kernels.pack(centroids, k, dim, reinterpret_cast<float*>(packed_.data()));
}

void NearestCentroid::find(const float* rows, size_t n, size_t stride, Memory& scratch,
                           uint32_t* nearest) const {
    scratch.at_least(kernels_->workspace(dim_) * sizeof(float));
    kernels_->nearest(rows, n, stride, dim_, reinterpret_cast<const float*>(packed_.data()), k_,
                      reinterpret_cast<float*>(scratch.data()), nearest);
}

size_t NearestCentroid::rows_at_once() const {
    // Multiples of what a kernel packs at a time, or nearly so.
    const size_t rows = (size_t(1) << 27) / k_ / dim_;
    return std::clamp<size_t>(rows / 512 * 512, 512, 8192);
}

void assign(const float* rows, size_t n, size_t dim, const float* centroids, size_t k,
            size_t n_threads, Watch* watch, uint32_t* nearest, float* squared_distances) {
    const NearestCentroid table(centroids, k, dim);
    for_pieces(n, table.rows_at_once(), n_threads, watch, [&](size_t from, size_t here) {
        Memory scratch;
        table.find(rows + from * dim, here, dim, scratch, nearest + from);
        for (size_t i = from; squared_distances && i < from + here; ++i) {
            kernels().dense.gather(DenseForm::kL2, rows + i * dim, dim, centroids, nullptr,
                                   nearest + i, 1, squared_distances + i);
        }
        if (watch) watch->advance(here);
    });
}

Clusters kmeans(const float* rows, size_t n, size_t dim, const KMeans& settings, size_t n_threads,
                Watch* watch) {
    const size_t k = settings.k;
    if (k < 1 || n < k) {
        throw InvalidArgument("k: expected 1 to the number of rows, " + std::to_string(n) +
                              ", got " + std::to_string(k));
    }
    Clusters clusters{std::vector<float>(k * dim), 0, 0};
    Random random(settings.seed);
    {
        const size_t n_drawn = settings.seeding_rows < n / k ? settings.seeding_rows * k : n;
        const std::vector<uint64_t> drawn = sample(random, n, n_drawn);
        std::vector<float> copy(n_drawn * dim);
        for (size_t i = 0; i < n_drawn; ++i) {
            std::memcpy(copy.data() + i * dim, rows + drawn[i] * dim, dim * sizeof(float));
        }
        Seeding(copy.data(), n_drawn, dim, n_threads)
            .run(k, random, watch, clusters.centroids.data());
    }
    Update update(rows, n, dim, k, n_threads);
    std::vector<uint32_t> nearest(n), before;
    while (clusters.iterations < settings.iterations) {
        assign(rows, n, dim, clusters.centroids.data(), k, n_threads, watch, nearest.data(),
               nullptr);
        ++clusters.iterations;
        if (nearest == before) break;
        clusters.inertia = update.run(nearest, clusters.centroids.data());
        before = nearest;
    }
    if (watch) watch->advance((settings.iterations - clusters.iterations) * n);
    return clusters;
}

}  // namespace nearbit
