#include "codecs/pq_codebooks.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>

#include "base/error.h"
#include "base/random.h"
#include "base/threads.h"

namespace nearbit {
namespace {

constexpr size_t kTrainingRows = 256;  // for each centroid
constexpr size_t kRowsAtOnce = 256;    // encoded subspace by subspace: 1,000 dimensions fit in L2

[[noreturn]] void refuse(const char* argument, const std::string& expected,
                         const std::string& got) {
    throw InvalidArgument(std::string(argument) + ": expected " + expected + ", got " + got);
}

void check(const PqSettings& settings, size_t dim) {
    if (settings.nbits != 4 && settings.nbits != 8) {
        refuse("nbits", "4 or 8", std::to_string(settings.nbits));
    }
    if (settings.m < 1 || settings.m > dim) {
        refuse("m", "1 to " + std::to_string(dim) + " subspaces", std::to_string(settings.m));
    }
}

}  // namespace

std::vector<size_t> even_subspaces(size_t dim, size_t m) {
    std::vector<size_t> starts(m + 1);
    for (size_t s = 0; s < m; ++s) starts[s + 1] = starts[s] + dim / m + (s < dim % m);
    return starts;
}

PqCodebooks train_pq(const float* rows, size_t n, size_t dim, const PqSettings& settings,
                     size_t n_threads, Watch* watch) {
    check(settings, dim);
    PqCodebooks books{dim, settings.m, settings.nbits, even_subspaces(dim, settings.m), {}};
    const size_t k = books.k();
    if (n < k) {
        refuse("sample", "at least " + std::to_string(k) + " rows", std::to_string(n));
    }
    books.centroids.resize(k * dim);

    Random random(settings.seed);
    const std::vector<uint64_t> drawn = sample(random, n, std::min(n, kTrainingRows * k));
    std::vector<uint64_t> seeds(books.m);
    for (uint64_t& seed : seeds) seed = random.next();
    if (watch) watch->expect(books.m * settings.iterations * drawn.size());

    // A thread for each subspace, or all of them for each in turn where those are few.
    const bool apart = books.m >= n_threads;
    parallel_for(books.m, apart ? n_threads : 1, watch, [&](size_t s) {
        const size_t width = books.width(s);
        std::vector<float> parts(drawn.size() * width);
        for (size_t i = 0; i < drawn.size(); ++i) {
            std::memcpy(parts.data() + i * width, rows + drawn[i] * dim + books.starts[s],
                        width * sizeof(float));
        }
        const KMeans means{.k = k, .iterations = settings.iterations, .seed = seeds[s]};
        const Clusters clusters =
            kmeans(parts.data(), drawn.size(), width, means, apart ? 1 : n_threads, watch);
        std::copy(clusters.centroids.begin(), clusters.centroids.end(),
                  books.centroids.begin() + std::ptrdiff_t(books.starts[s] * k));
    });
    return books;
}

PqEncoder::PqEncoder(const PqCodebooks& codebooks)
    : dim_(codebooks.dim),
      nbits_(codebooks.nbits),
      code_bytes_(codebooks.code_bytes()),
      starts_(codebooks.starts) {
    subspaces_.reserve(codebooks.m);
    for (size_t s = 0; s < codebooks.m; ++s) {
        subspaces_.emplace_back(codebooks.of_subspace(s), codebooks.k(), codebooks.width(s));
    }
}

void PqEncoder::encode(const float* rows, size_t n, uint8_t* codes) const {
    Memory scratch;
    uint32_t nearest[kRowsAtOnce];
    for (size_t done = 0; done < n; done += kRowsAtOnce) {
        const size_t here = std::min(kRowsAtOnce, n - done);
        const float* const from = rows + done * dim_;
        uint8_t* const to = codes + done * code_bytes_;
        for (size_t s = 0; s < subspaces_.size(); ++s) {
            subspaces_[s].find(from + starts_[s], here, dim_, scratch, nearest);
            if (nbits_ == 8) {
                for (size_t i = 0; i < here; ++i) to[i * code_bytes_ + s] = uint8_t(nearest[i]);
            } else if (s % 2 == 0) {
                for (size_t i = 0; i < here; ++i) to[i * code_bytes_ + s / 2] = uint8_t(nearest[i]);
            } else {
                for (size_t i = 0; i < here; ++i) {
                    to[i * code_bytes_ + s / 2] |= uint8_t(nearest[i] << 4);
                }
            }
        }
    }
}

void decode_pq(const PqCodebooks& codebooks, const uint8_t* codes, size_t n, float* rows) {
    for (size_t i = 0; i < n; ++i, codes += codebooks.code_bytes(), rows += codebooks.dim) {
        for (size_t s = 0; s < codebooks.m; ++s) {
            const size_t c = codebooks.nbits == 8 ? codes[s] : codes[s / 2] >> s % 2 * 4 & 15;
            std::memcpy(rows + codebooks.starts[s],
                        codebooks.of_subspace(s) + c * codebooks.width(s),
                        codebooks.width(s) * sizeof(float));
        }
    }
}

std::vector<size_t> balanced_components(const std::vector<double>& eigenvalues,
                                        const std::vector<size_t>& starts) {
    const size_t m = starts.size() - 1;
    // Against the smallest eigenvalue, so that no logarithm is negative: with bare ones the largest
    // few would all go to one subspace. Those that are zero but for rounding count as equal.
    const double floor = std::max(eigenvalues.front() * 1e-12, eigenvalues.back());
    std::vector<size_t> components(eigenvalues.size()), next(starts.begin(), starts.end() - 1);
    std::vector<double> logs(m);
    for (size_t i = 0; i < eigenvalues.size(); ++i) {
        size_t to = m;
        for (size_t s = 0; s < m; ++s) {
            if (next[s] < starts[s + 1] && (to == m || logs[s] < logs[to])) to = s;
        }
        components[next[to]++] = i;
        if (eigenvalues[i] > floor) logs[to] += std::log(eigenvalues[i] / floor);
    }
    return components;
}

}  // namespace nearbit
