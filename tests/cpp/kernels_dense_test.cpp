// The dense kernels of every table against plain sums in double, on buffers that end at a page that
// can't be read.
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <set>
#include <utility>
#include <vector>

#include "kernels/kernels.h"

namespace nearbit {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr DenseForm kForms[] = {DenseForm::kL2, DenseForm::kIp, DenseForm::kCosine};

// n values whose last is offset values before a page that can't be read, so that every offset from
// 0 to 7 is another misalignment. The page before the first one can't be read either.
template <class T>
class Fenced {
  public:
    explicit Fenced(size_t n, size_t offset = 0) : n_(n) {
        const size_t page = size_t(sysconf(_SC_PAGESIZE));
        const size_t inner = ((n + offset) * sizeof(T) + page - 1) / page * page;
        mapped_ = inner + 2 * page;
        map_ = mmap(nullptr, mapped_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (map_ == MAP_FAILED) throw std::bad_alloc();
        uint8_t* const start = static_cast<uint8_t*>(map_) + page;
        if (inner > 0 && mprotect(start, inner, PROT_READ | PROT_WRITE) != 0)
            throw std::bad_alloc();
        data_ = reinterpret_cast<T*>(start + inner) - (n + offset);
    }
    ~Fenced() {
        if (map_) munmap(map_, mapped_);
    }
    Fenced(Fenced&& other)
        : n_(other.n_),
          mapped_(other.mapped_),
          map_(std::exchange(other.map_, nullptr)),
          data_(other.data_) {}

    size_t size() const { return n_; }
    T* data() { return data_; }
    const T* data() const { return data_; }
    T& operator[](size_t i) { return data_[i]; }
    const T& operator[](size_t i) const { return data_[i]; }
    T* begin() { return data_; }
    T* end() { return data_ + n_; }

  private:
    size_t n_, mapped_;
    void* map_;
    T* data_;
};

// 64-byte aligned, as the workspace of a tile must be.
class Aligned {
  public:
    explicit Aligned(size_t n) : values_(n + 16) {}
    float* data() {
        const auto at = reinterpret_cast<uintptr_t>(values_.data());
        return values_.data() + (64 - at % 64) % 64 / sizeof(float);
    }

  private:
    std::vector<float> values_;
};

void fill(Fenced<float>& values, uint64_t seed, double mean = 0, double scale = 1) {
    std::mt19937_64 random(seed);
    std::normal_distribution<double> normal(mean, 1);
    for (float& v : values) v = float(scale * normal(random));
}

std::vector<size_t> all_dims() {
    std::vector<size_t> dims;
    for (size_t dim = 1; dim <= 35; ++dim) dims.push_back(dim);
    for (size_t dim : {63, 64, 65, 100, 127, 128, 384, 784, 1000}) dims.push_back(dim);
    return dims;
}

double dot(const float* a, const float* b, size_t dim) {
    double sum = 0;
    for (size_t j = 0; j < dim; ++j) sum += double(a[j]) * b[j];
    return sum;
}

double true_distance(DenseForm form, const float* q, const float* x, size_t dim, float factor) {
    if (form == DenseForm::kIp) return -dot(q, x, dim);
    if (form == DenseForm::kCosine) return std::max(0.0, 1 - factor * dot(q, x, dim));
    double sum = 0;
    for (size_t j = 0; j < dim; ++j) sum += (double(q[j]) - x[j]) * (double(q[j]) - x[j]);
    return sum;
}

// What float32 sums of dim terms may be off by, in units of the sum of the terms' sizes.
double slack(size_t dim) {
    return (1.25 * double(dim) + 32) * std::ldexp(1.0, -24);
}

double term_sizes(DenseForm form, const float* q, const float* x, size_t dim, float factor) {
    if (form == DenseForm::kL2) return true_distance(form, q, x, dim, factor);
    double sum = 0;
    for (size_t j = 0; j < dim; ++j) sum += std::fabs(double(q[j]) * x[j]);
    return form == DenseForm::kIp ? sum : 1 + std::fabs(factor) * sum;
}

Fenced<float> make_factors(DenseForm form, const Fenced<float>& rows, size_t n, size_t dim) {
    Fenced<float> factors(n);
    for (size_t i = 0; i < n; ++i) {
        const double squared = dot(rows.data() + i * dim, rows.data() + i * dim, dim);
        if (form == DenseForm::kL2) factors[i] = float(squared);
        if (form == DenseForm::kIp) factors[i] = float(std::sqrt(squared));
        if (form == DenseForm::kCosine)
            factors[i] = squared > 0 ? float(1 / std::sqrt(squared)) : 0;
    }
    return factors;
}

// Bit i is set in share of 8 cases.
Fenced<uint64_t> make_mask(size_t n, unsigned share, uint64_t seed) {
    Fenced<uint64_t> mask((n + 63) / 64);
    std::mt19937_64 random(seed);
    for (size_t i = 0; i < n; ++i) {
        if (random() % 8 < share) mask[i / 64] |= uint64_t(1) << i % 64;
    }
    // Bits behind the last row mean nothing and must not be looked at.
    for (size_t i = n; i < mask.size() * 64; ++i) mask[i / 64] |= uint64_t(1) << i % 64;
    return mask;
}

bool in(const uint64_t* mask, size_t i) {
    return !mask || (mask[i / 64] >> i % 64 & 1);
}

// Gathers what is drained. The capacity is the smallest allowed, so that drains come midway.
struct Log : Sink {
    std::vector<Candidate> room = std::vector<Candidate>(kSinkRoom + 1), found;
    int drains = 0;

    Log() : Sink{nullptr, 0, kSinkRoom + 1, &take} { items = room.data(); }
    static void take(Sink* sink) {
        Log& log = *static_cast<Log*>(sink);
        EXPECT_LE(log.count, log.capacity);
        log.found.insert(log.found.end(), log.items, log.items + log.count);
        log.count = 0;
        ++log.drains;
    }
    const std::vector<Candidate>& finish() {
        take(this);
        return found;
    }
};

class DenseKernelsTest : public testing::TestWithParam<const Kernels*> {
  protected:
    const DenseKernels& dense = GetParam()->dense;

    std::vector<float> gathered(DenseForm form, const Fenced<float>& query,
                                const Fenced<float>& rows, const Fenced<float>& factors,
                                size_t n) const {
        std::vector<float> out(n);
        dense.gather(form, query.data(), query.size(), rows.data(), factors.data(), nullptr, n,
                     out.data());
        return out;
    }
};

std::vector<const Kernels*> tables() {
    const Kernels* const* first;
    const size_t n = runnable_kernels(&first);
    return {first, first + n};
}

INSTANTIATE_TEST_SUITE_P(Isa, DenseKernelsTest, testing::ValuesIn(tables()),
                         [](const auto& table) { return std::string(table.param->isa); });

// ------------------------------------------------------------------------------------- gather,
// scan

TEST_P(DenseKernelsTest, GatherIsTheDistanceAtEveryLengthAndAlignment) {
    for (const size_t dim : all_dims()) {
        for (size_t offset = 0; offset < 8; ++offset) {
            const size_t n = 1 + (dim + offset) % 6;
            Fenced<float> query(dim, (3 * offset + dim) % 8), rows(n * dim, offset);
            fill(query, dim);
            fill(rows, dim + offset + 100);
            for (const DenseForm form : kForms) {
                const Fenced<float> factors = make_factors(form, rows, n, dim);
                const std::vector<float> got = gathered(form, query, rows, factors, n);
                for (size_t i = 0; i < n; ++i) {
                    const float* x = rows.data() + i * dim;
                    const double error =
                        got[i] - true_distance(form, query.data(), x, dim, factors[i]);
                    EXPECT_LE(std::fabs(error),
                              slack(dim) * term_sizes(form, query.data(), x, dim, factors[i]))
                        << "form " << int(form) << " dim " << dim << " offset " << offset;
                }
            }
        }
    }
}

TEST_P(DenseKernelsTest, GatherOfChosenRowsHasTheSameBits) {
    std::mt19937_64 random(5);
    for (const size_t dim : all_dims()) {
        const size_t n = 37;
        Fenced<float> query(dim), rows(n * dim);
        fill(query, dim);
        fill(rows, dim + 1);
        for (const DenseForm form : kForms) {
            const Fenced<float> factors = make_factors(form, rows, n, dim);
            const std::vector<float> all = gathered(form, query, rows, factors, n);
            for (const size_t chosen : {1, 2, 3, 4, 5, 8, 11}) {
                Fenced<uint32_t> which(chosen);
                for (uint32_t& w : which) w = uint32_t(random() % n);
                Fenced<float> out(chosen);
                dense.gather(form, query.data(), dim, rows.data(), factors.data(), which.data(),
                             chosen, out.data());
                for (size_t i = 0; i < chosen; ++i) ASSERT_EQ(out[i], all[which[i]]);

                std::vector<const float*> places;
                std::vector<float> own;
                for (const uint32_t w : which) {
                    places.push_back(rows.data() + w * dim);
                    own.push_back(factors[w]);
                }
                dense.gather_at(form, query.data(), dim, places.data(), own.data(), chosen,
                                out.data());
                for (size_t i = 0; i < chosen; ++i) ASSERT_EQ(out[i], all[which[i]]);
            }
        }
    }
}

TEST_P(DenseKernelsTest, GatherNeedsNoFactorsButForCosine) {
    Fenced<float> query(19), rows(3 * 19), out(3);
    fill(query, 1);
    fill(rows, 2);
    for (const DenseForm form : {DenseForm::kL2, DenseForm::kIp}) {
        dense.gather(form, query.data(), 19, rows.data(), nullptr, nullptr, 3, out.data());
        const Fenced<float> factors = make_factors(form, rows, 3, 19);
        const std::vector<float> want = gathered(form, query, rows, factors, 3);
        EXPECT_TRUE(std::equal(want.begin(), want.end(), out.begin()));
    }
}

TEST_P(DenseKernelsTest, DistancesNearAnEdgeHoldTheirPromises) {
    const size_t dim = 48;
    Fenced<float> query(dim), rows(2 * dim), out(2);
    fill(query, 3);
    const double norm = std::sqrt(dot(query.data(), query.data(), dim));
    for (float& v : query) v = float(v / norm);
    std::copy_n(query.data(), dim, rows.data());  // the row itself, then a zero row
    const Fenced<float> factors = make_factors(DenseForm::kCosine, rows, 2, dim);
    EXPECT_EQ(gathered(DenseForm::kL2, query, rows, factors, 2)[0], 0.0f);
    const std::vector<float> cosine = gathered(DenseForm::kCosine, query, rows, factors, 2);
    EXPECT_GE(cosine[0], 0.0f);
    EXPECT_LE(cosine[0], 1e-6f);
    EXPECT_EQ(cosine[1], 1.0f);
}

// What scan must report, by gather: the admitted rows within the threshold, with the same bits.
void expect_scan(const DenseKernels& dense, DenseForm form, const Fenced<float>& query,
                 const DenseBlock& block, const std::vector<float>& distances, float threshold) {
    Log log;
    dense.scan(form, query.data(), query.size(), block, &threshold, &log);
    std::vector<std::pair<uint32_t, float>> want, got;
    for (uint32_t i = 0; i < block.n; ++i) {
        if (distances[i] <= threshold && in(block.admit, i)) want.emplace_back(i, distances[i]);
    }
    for (const Candidate& c : log.finish()) {
        EXPECT_EQ(c.query, 0u);
        got.emplace_back(c.row, c.distance);
    }
    std::sort(got.begin(), got.end());
    ASSERT_EQ(got, want) << "form " << int(form) << " dim " << query.size() << " n " << block.n
                         << " threshold " << threshold;
}

void expect_scans(const DenseKernels& dense, size_t dim, uint32_t n) {
    Fenced<float> query(dim, n % 8), rows(n * dim, (dim + n) % 8);
    fill(query, dim);
    fill(rows, dim * 1000 + n);
    for (const DenseForm form : kForms) {
        const Fenced<float> factors = make_factors(form, rows, n, dim);
        std::vector<float> distances(n);
        dense.gather(form, query.data(), dim, rows.data(), factors.data(), nullptr, n,
                     distances.data());
        std::vector<float> sorted = distances;
        std::sort(sorted.begin(), sorted.end());
        for (const int share : {-1, 0, 1, 4, 8}) {
            const Fenced<uint64_t> mask = make_mask(n, unsigned(std::max(share, 0)), n + dim);
            const DenseBlock block = {rows.data(), factors.data(),
                                      share < 0 ? nullptr : mask.data(), n};
            expect_scan(dense, form, query, block, distances, -kInfinity);
            if (n > 0) expect_scan(dense, form, query, block, distances, sorted[n / 10]);
            expect_scan(dense, form, query, block, distances, kInfinity);
        }
    }
}

TEST_P(DenseKernelsTest, ScanReportsWhatGatherSays) {
    for (const size_t dim : all_dims()) {
        for (const uint32_t n : {0, 1, 2, 3, 5, 15, 16, 17, 31, 33, 64, 100}) {
            expect_scans(dense, dim, n);
        }
    }
}

TEST_P(DenseKernelsTest, ScanOfLargeBlocksReportsWhatGatherSays) {
    for (const size_t dim : {3, 24, 40, 130, 512, 513}) {
        for (const uint32_t n : {128, 255, 256, 257, 511, 512, 1000}) expect_scans(dense, dim, n);
    }
}

TEST_P(DenseKernelsTest, ScanDrainsAndFollowsTheThreshold) {
    struct Nearest : Log {
        float threshold = kInfinity;
        Nearest() { drain = &keep; }
        static void keep(Sink* sink) {
            take(sink);
            Nearest& self = *static_cast<Nearest*>(sink);
            const auto nearer = [](const Candidate& a, const Candidate& b) {
                return std::pair(a.distance, a.row) < std::pair(b.distance, b.row);
            };
            std::sort(self.found.begin(), self.found.end(), nearer);
            if (self.found.size() > 10) self.found.resize(10);
            if (self.found.size() == 10) self.threshold = self.found.back().distance;
        }
    };
    const size_t dim = 20;
    const uint32_t n = 5000;
    Fenced<float> query(dim), rows(n * dim);
    fill(query, 1);
    fill(rows, 2);
    for (uint32_t i = 0; i < 40; ++i) {  // ties at the tenth place, in all quarters
        std::copy_n(rows.data() + 77 * dim, dim, rows.data() + i * 120 * dim);
    }
    for (const DenseForm form : kForms) {
        const Fenced<float> factors = make_factors(form, rows, n, dim);
        Nearest nearest;
        const DenseBlock block = {rows.data(), factors.data(), nullptr, n};
        dense.scan(form, query.data(), dim, block, &nearest.threshold, &nearest);
        const int midway = nearest.drains;
        Nearest::keep(&nearest);
        EXPECT_GT(midway, 1);
        EXPECT_LT(midway, 500);  // of 2,500 if the threshold were not read again
        const std::vector<float> distances = gathered(form, query, rows, factors, n);
        std::vector<std::pair<float, uint32_t>> want;
        for (uint32_t i = 0; i < n; ++i) want.emplace_back(distances[i], i);
        std::sort(want.begin(), want.end());
        for (size_t i = 0; i < 10; ++i) {
            EXPECT_EQ(std::pair(nearest.found[i].distance, nearest.found[i].row), want[i]);
        }
    }
}

// ------------------------------------------------------------------------------------- tile

// The queries of a tile, packed if their number asks for it.
struct Queries {
    Fenced<float> values;
    Fenced<float> alpha, bound;
    Aligned panels, workspace;
    DenseTile tile;

    Queries(const DenseKernels& dense, uint32_t nq, size_t dim, size_t offset)
        : values(nq * dim, offset),
          alpha(nq),
          bound(nq),
          panels(dense.packed_size(nq, dim)),
          workspace(dense.tile_workspace(dim)),
          tile{values.data(), nullptr, alpha.data(), bound.data(), 0, 0, nq} {}

    void pack(const DenseKernels& dense, size_t dim) {
        if (tile.nq < dense.pack_from) return;
        dense.pack_queries(values.data(), tile.nq, dim, panels.data());
        tile.panels = panels.data();
    }
};

// Every pair well within its bound is reported once, none well outside is.
void expect_tile(const DenseKernels& dense, uint32_t nq, size_t dim, uint32_t n, unsigned share) {
    Queries queries(dense, nq, dim, (n + nq) % 8);
    Fenced<float> rows(n * dim, (dim + n) % 8);
    fill(queries.values, dim + nq);
    fill(rows, dim * 1000 + n);
    const Fenced<float> factors = make_factors(DenseForm::kIp, rows, n, dim);
    std::mt19937_64 random(nq * n + dim);
    std::uniform_real_distribution<float> around(-1, 1);
    queries.tile.beta = around(random);
    queries.tile.gamma = around(random);
    for (float& a : queries.alpha) a = around(random);
    queries.pack(dense, dim);

    std::vector<double> scores(nq * n), sizes(nq * n);
    for (uint32_t q = 0; q < nq; ++q) {
        std::vector<double> sorted;
        for (uint32_t i = 0; i < n; ++i) {
            const double f = factors[i], slope = queries.tile.beta + queries.tile.gamma * f;
            const float* x = rows.data() + i * dim;
            const float* y = queries.values.data() + q * dim;
            scores[q * n + i] = queries.alpha[q] * f + slope * dot(y, x, dim);
            sizes[q * n + i] =
                std::fabs(queries.alpha[q] * f) +
                (1 + f) * (std::fabs(dot(y, x, dim)) + term_sizes(DenseForm::kIp, y, x, dim, 0));
            sorted.push_back(scores[q * n + i]);
        }
        std::sort(sorted.begin(), sorted.end());
        const float bounds[] = {-kInfinity, n > 0 ? float(sorted[n / 5]) : 0.0f, kInfinity};
        queries.bound[q] = bounds[(q + n) % 3];
    }

    const Fenced<uint64_t> mask = make_mask(n, share, n + dim);
    const DenseBlock block = {rows.data(), factors.data(), share < 8 ? mask.data() : nullptr, n};
    Log log;
    dense.tile(queries.tile, dim, block, queries.workspace.data(), &log);
    std::vector<int> reported(nq * n);
    for (const Candidate& c : log.finish()) {
        ASSERT_LT(c.query, nq);
        ASSERT_LT(c.row, n);
        ++reported[c.query * n + c.row];
    }
    for (uint32_t q = 0; q < nq; ++q) {
        for (uint32_t i = 0; i < n; ++i) {
            const size_t at = q * n + i;
            const double margin = slack(dim) * sizes[at];
            const bool admitted = in(block.admit, i);
            ASSERT_LE(reported[at], 1);
            if (admitted && scores[at] <= queries.bound[q] - margin) {
                ASSERT_EQ(reported[at], 1) << "nq " << nq << " dim " << dim << " n " << n;
            }
            if (!admitted || scores[at] > queries.bound[q] + margin) {
                ASSERT_EQ(reported[at], 0) << "nq " << nq << " dim " << dim << " n " << n;
            }
        }
    }
}

std::vector<uint32_t> numbers_of_queries(const DenseKernels& dense) {
    std::vector<uint32_t> numbers = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 31, 32, 33, 100};
    if (dense.pack_from < 1000) {
        for (uint32_t more = 0; more < 8; ++more) numbers.push_back(dense.pack_from - 1 + more);
    }
    return numbers;
}

TEST_P(DenseKernelsTest, TileKeepsToItsBoundsAtEveryLength) {
    const std::vector<uint32_t> nqs = numbers_of_queries(dense);
    const uint32_t ns[] = {1, 2, 3, 5, 15, 16, 17, 31, 33, 64, 100};
    size_t turn = 0;
    for (const size_t dim : all_dims()) {
        for (const uint32_t nq : nqs) {
            const uint32_t n = ns[turn % std::size(ns)];
            const unsigned shares[] = {8, 4, 8, 1, 0};
            expect_tile(dense, nq, dim, n, shares[turn++ % std::size(shares)]);
        }
    }
}

TEST_P(DenseKernelsTest, TileKeepsToItsBoundsAtEveryNumberOfRows) {
    for (const uint32_t nq : numbers_of_queries(dense)) {
        for (const uint32_t n : {0, 1, 2, 3, 5, 15, 16, 17, 31, 33, 64, 100}) {
            for (const unsigned share : {8u, 3u}) expect_tile(dense, nq, 21, n, share);
        }
    }
}

TEST_P(DenseKernelsTest, TileTakesBlocksOfThousandsOfRows) {
    for (const uint32_t nq : {3u, 100u}) {
        for (const unsigned share : {8u, 4u}) {
            expect_tile(dense, nq, 7, 3001, share);
            expect_tile(dense, nq, 130, 1500, share);
        }
    }
}

// Keeps the k nearest of each query by canonical distance and lowers the bounds, as the collectors
// of a flat search do.
struct Collectors : Log {
    const DenseKernels& dense;
    DenseForm form;
    Queries& queries;
    const DenseBlock& block;
    size_t dim, k;
    std::vector<std::set<std::pair<float, uint32_t>>> best;

    Collectors(const DenseKernels& dense_, DenseForm form_, Queries& queries_,
               const DenseBlock& block_, size_t dim_, size_t k_)
        : dense(dense_),
          form(form_),
          queries(queries_),
          block(block_),
          dim(dim_),
          k(k_),
          best(queries_.tile.nq) {
        drain = &keep;
        const double c = slack(dim);
        queries.tile.beta = form == DenseForm::kL2 ? -2.0f : form == DenseForm::kIp ? -1.0f : 0.0f;
        queries.tile.gamma = form == DenseForm::kCosine ? -1.0f : 0.0f;
        for (uint32_t q = 0; q < queries.tile.nq; ++q) {
            queries.alpha[q] = form == DenseForm::kL2   ? float(1 - c)
                               : form == DenseForm::kIp ? float(-c * std::sqrt(squared(q)))
                                                        : 0.0f;
            queries.bound[q] = kInfinity;
        }
    }
    double squared(uint32_t q) const {
        const float* y = queries.values.data() + q * dim;
        return dot(y, y, dim);
    }
    static void keep(Sink* sink) {
        Collectors& self = *static_cast<Collectors*>(sink);
        for (uint32_t i = 0; i < self.count; ++i) {
            const Candidate& candidate = self.items[i];
            auto& best = self.best[candidate.query];
            float distance;
            self.dense.gather(self.form, self.queries.values.data() + candidate.query * self.dim,
                              self.dim, self.block.rows, self.block.factors, &candidate.row, 1,
                              &distance);
            best.emplace(distance, candidate.row);
            if (best.size() > self.k) best.erase(std::prev(best.end()));
            if (best.size() < self.k) continue;
            const double kth = std::prev(best.end())->first, c = slack(self.dim);
            self.queries.bound[candidate.query] =
                float(self.form == DenseForm::kL2   ? kth - (1 - c) * self.squared(candidate.query)
                      : self.form == DenseForm::kIp ? kth
                                                    : kth - 1 + c);
        }
        self.count = 0;
        ++self.drains;
    }
};

// mean: how far off centre the data are, in units of their spread; scale: of everything.
void expect_all_neighbours(const DenseKernels& dense, DenseForm form, size_t dim, double mean,
                           double scale) {
    const uint32_t n = 400, nq = 34;
    const size_t k = 5;
    Fenced<float> rows(n * dim);
    fill(rows, dim, mean, scale);
    for (uint32_t i = 1; i < n; i += 9) {  // near and exact duplicates: the hardest to tell apart
        for (size_t j = 0; j < dim; ++j) {
            const float x = rows[(i - 1) * dim + j];
            rows[i * dim + j] = i % 2 ? std::nextafter(x, kInfinity) : x;
        }
    }
    Fenced<double> norms(n);
    dense.squared_norms(rows.data(), n, dim, norms.data());
    Fenced<float> factors(n);
    for (uint32_t i = 0; i < n; ++i) {
        factors[i] = float(form == DenseForm::kL2   ? norms[i]
                           : form == DenseForm::kIp ? std::sqrt(norms[i])
                                                    : 1 / std::sqrt(norms[i]));
    }
    const DenseBlock block = {rows.data(), factors.data(), nullptr, n};
    for (const uint32_t some : {7u, nq}) {
        Queries queries(dense, some, dim, 0);
        fill(queries.values, dim + 1, mean, scale);
        for (uint32_t q = 0; q < some; q += 2) {  // every other one: close to a row
            std::copy_n(rows.data() + (q * 9 + 1) * dim, dim, queries.values.data() + q * dim);
            queries.values[q * dim] *= 1.0001f;
        }
        if (form == DenseForm::kCosine) {
            for (uint32_t q = 0; q < some; ++q) {
                float* const y = queries.values.data() + q * dim;
                const double length = std::sqrt(dot(y, y, dim));
                for (size_t j = 0; j < dim; ++j) y[j] = float(y[j] / length);
            }
        }
        queries.pack(dense, dim);
        Collectors collectors(dense, form, queries, block, dim, k);
        dense.tile(queries.tile, dim, block, queries.workspace.data(), &collectors);
        EXPECT_GT(collectors.drains, 0);
        Collectors::keep(&collectors);
        for (uint32_t q = 0; q < some; ++q) {
            std::vector<float> distances(n);
            dense.gather(form, queries.values.data() + q * dim, dim, rows.data(), factors.data(),
                         nullptr, n, distances.data());
            std::vector<std::pair<float, uint32_t>> want;
            for (uint32_t i = 0; i < n; ++i) want.emplace_back(distances[i], i);
            std::sort(want.begin(), want.end());
            want.resize(k);
            const std::vector<std::pair<float, uint32_t>> got(collectors.best[q].begin(),
                                                              collectors.best[q].end());
            ASSERT_EQ(got, want) << "form " << int(form) << " dim " << dim << " mean " << mean
                                 << " scale " << scale << " query " << q << " of " << some;
        }
    }
}

TEST_P(DenseKernelsTest, TileNeverMissesANeighbour) {
    for (const DenseForm form : kForms) {
        for (const size_t dim : {1, 5, 32, 100, 384}) {
            for (const double mean : {0.0, 3.0, 100.0}) {
                const double largest = std::sqrt(5e37 / (double(dim) * (mean * mean + 30)));
                for (const double scale : {1.0, 1e-12, largest}) {
                    expect_all_neighbours(dense, form, dim, mean, scale);
                }
            }
        }
    }
}

TEST_P(DenseKernelsTest, LongestRowsWork) {
    const size_t dim = 65536;
    expect_scans(dense, dim, 5);
    expect_tile(dense, 3, dim, 5, 8);
    if (dense.pack_from < 1000) expect_tile(dense, dense.pack_from, dim, 18, 8);
}

// ------------------------------------------------------------------------------------- per row

TEST_P(DenseKernelsTest, SquaredNormsAreSummedInDouble) {
    for (const size_t dim : all_dims()) {
        for (size_t offset = 0; offset < 8; ++offset) {
            const size_t n = 3;
            Fenced<float> rows(n * dim, offset);
            fill(rows, dim, 0, offset % 2 ? 1e18 : 1e-30);
            Fenced<double> out(n);
            dense.squared_norms(rows.data(), n, dim, out.data());
            for (size_t i = 0; i < n; ++i) {
                const double want = dot(rows.data() + i * dim, rows.data() + i * dim, dim);
                EXPECT_NEAR(out[i] / want, 1, 1e-13);
            }
        }
    }
}

TEST_P(DenseKernelsTest, SquaredNormsShowNanAndInfinityWhereverTheyStand) {
    const float not_numbers[] = {std::nanf(""), kInfinity, -kInfinity};
    for (const size_t dim : {1, 3, 16, 37}) {
        Fenced<float> rows(3 * dim);
        Fenced<double> out(3);
        for (size_t j = 0; j < dim; ++j) {
            std::fill(rows.begin(), rows.end(), std::numeric_limits<float>::max());
            rows[dim + j] = not_numbers[j % 3];
            dense.squared_norms(rows.data(), 3, dim, out.data());
            EXPECT_TRUE(std::isfinite(out[0]) && std::isfinite(out[2]));
            EXPECT_FALSE(std::isfinite(out[1]));
        }
    }
}

TEST_P(DenseKernelsTest, PackSignsIsPackbitsOfGreaterThanZero) {
    std::mt19937_64 random(11);
    const float special[] = {0.0f, -0.0f, std::nanf(""), -kInfinity, kInfinity, 1e-45f, -1e-45f};
    for (const size_t dim : all_dims()) {
        for (size_t offset = 0; offset < 8; ++offset) {
            const size_t n = 4, n_bytes = (dim + 7) / 8;
            Fenced<float> rows(n * dim, offset);
            fill(rows, dim + offset);
            for (float& v : rows) {
                if (random() % 4 == 0) v = special[random() % std::size(special)];
            }
            Fenced<uint8_t> out(n * n_bytes, offset);
            std::vector<uint8_t> want(n * n_bytes);
            for (size_t i = 0; i < n * dim; ++i) {
                const size_t j = i % dim;
                if (rows[i] > 0) want[i / dim * n_bytes + j / 8] |= uint8_t(128 >> j % 8);
            }
            dense.pack_signs(rows.data(), n, dim, out.data());
            ASSERT_EQ(std::vector<uint8_t>(out.begin(), out.end()), want) << "dim " << dim;
        }
    }
}

}  // namespace
}  // namespace nearbit
