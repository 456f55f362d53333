#include "codecs/dense.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <type_traits>
#include <vector>

#include "base/error.h"
#include "kernels/kernels.h"

namespace nearbit {
namespace {

// A quarter of float32's largest number, less what roundings may add to (|q| + |x|)^2.
constexpr double kLargestSquaredNorm = 8.4e37;
// Below this length a row's direction is lost in float32's denormal numbers.
constexpr double kSmallestCosineNorm = 1e-30;

std::string short_text(double x) {
    char text[32];
    std::snprintf(text, sizeof text, "%.6g", x);
    return text;
}

[[noreturn]] void refuse(const float* row, size_t dim, double squared_norm, const char* argument,
                         size_t at) {
    const std::string start = std::string(argument) + ": expected ";
    for (size_t j = 0; j < dim; ++j) {
        if (std::isfinite(row[j])) continue;
        throw InvalidArgument(start + "finite numbers, got " + number_text(row[j], at, j));
    }
    throw InvalidArgument(start +
                          "squared norms up to 8.4e37, so that no distance overflows, got " +
                          short_text(squared_norm) + " in row " + std::to_string(at));
}

// How far a tile's estimate may lie from the canonical distance, as a share of |q|^2 + |x|^2 (l2),
// |q| |x| (ip) or 1 (cosine): dim rounded additions in any order, those of the canonical function
// (at least eight sums side by side, squared differences twice the norms), and a few roundings of
// norms and sums.
double tile_error(size_t dim) {
    return (1.25 * double(dim) + 32) * 0x1p-24;
}

// The same where numbers are so small that their products underflow: half of float32's smallest for
// each product and sum of either, products of the estimate counting twice.
double tile_underflow(size_t dim) {
    return (2 * double(dim) + 32) * 0x1p-149;
}

// Squared norm's unit roundoffs are inside tile_error; this one is for storing a bound as a float.
float round_up(double x) {
    return x == double(kInfinity) ? kInfinity : std::nextafter(float(x), kInfinity);
}

// What rows consist of.
struct Floats {
    using Number = float;
    using Block = DenseBlock;
    static const DenseKernels& kernels() { return nearbit::kernels().dense; }
};
struct Halves {
    using Number = Half;
    using Block = HalfBlock;
    static const HalfKernels& kernels() { return nearbit::kernels().half; }
};

// Tiles take floats: rows of halves are widened piece by piece, and their distances have the same
// bits before and after.
template <class Rows>
class DenseScorer final : public Scorer {
  public:
    DenseScorer(Metric metric, size_t dim, const std::byte* queries, size_t n, const char* argument,
                size_t first_row)
        : kernels_(kernels().dense), metric_(metric), form_(form_of(metric)), dim_(dim), n_(n) {
        memory_ = Memory(n * dim * sizeof(float));
        queries_ = reinterpret_cast<float*>(memory_.data());
        squared_norms_.resize(n);
        copy_checked(reinterpret_cast<const float*>(queries), n, dim, queries_,
                     squared_norms_.data(), argument, first_row);
        if (metric == Metric::kCosine) {
            for (size_t q = 0; q < n; ++q) {
                const float scale = float(inverse_norm(squared_norms_[q], argument, first_row + q));
                for (size_t j = 0; j < dim; ++j) queries_[q * dim + j] *= scale;
            }
        }
        if (n > 1) prepare_tile();
    }

    void scan(const Block& block, Collector* const* collectors, Memory& scratch) const override {
        if (n_ > 1) {
            tile(block, collectors, scratch);
            return;
        }
        Drain drain(*this, block, collectors, kSinkOfOneQuery);
        float threshold = float(collectors[0]->threshold());
        drain.threshold = &threshold;
        const typename Rows::Block rows = {rows_of(block), block.factors, block.admit, block.n};
        Rows::kernels().scan(form_, queries_, dim_, rows, &threshold, &drain);
        drain.empty();
    }

    void gather(const Block& block, const uint32_t* rows, size_t n,
                Collector* const* collectors) const override {
        constexpr size_t kAtOnce = 64;
        float distances[kAtOnce];
        for (size_t q = 0; q < n_; ++q) {
            for (size_t begin = 0; begin < n; begin += kAtOnce) {
                const size_t m = std::min(kAtOnce, n - begin);
                distances_of(q, block, rows + begin, m, distances);
                for (size_t i = 0; i < m; ++i) {
                    if (distances[i] <= collectors[q]->threshold()) {
                        collectors[q]->offer(block.slot(rows[begin + i]), distances[i]);
                    }
                }
            }
        }
    }

    void distances(size_t query, const uint8_t* const* codes, const float* factors, size_t n,
                   double* out) const override {
        const typename Rows::Number* rows[kSinglesTogether] = {};
        float found[kSinglesTogether];
        for (size_t i = 0; i < n; ++i) {
            rows[i] = reinterpret_cast<const typename Rows::Number*>(codes[i]);
        }
        Rows::kernels().gather_at(form_, queries_ + query * dim_, dim_, rows, factors, n, found);
        std::copy_n(found, n, out);
    }

  private:
    // Takes candidates of scan (with their distances) and of tile (to be scored here, once more and
    // canonically) to the collectors.
    struct Drain : Sink {
        Drain(const DenseScorer& scorer_, const Block& block_, Collector* const* collectors_,
              uint32_t n_places)
            : scorer(scorer_), block(block_), collectors(collectors_) {
            items = places;
            count = 0;
            capacity = n_places;
            drain = [](Sink* sink) { static_cast<Drain*>(sink)->empty(); };
        }
        void empty() {
            if (count == 0) return;
            if (bound != nullptr) {
                score();
            } else {
                for (uint32_t i = 0; i < count; ++i) {
                    collectors[0]->offer(block.slot(places[i].row), places[i].distance);
                }
                *threshold = float(collectors[0]->threshold());
            }
            count = 0;
        }
        // Candidates of one query usually come together: score each run at once.
        void score() {
            uint32_t rows[kSinkOfMany];
            float distances[kSinkOfMany];
            for (uint32_t begin = 0, end; begin < count; begin = end) {
                const uint32_t q = places[begin].query;
                for (end = begin; end < count && places[end].query == q; ++end) {
                    rows[end - begin] = first_row + places[end].row;
                }
                scorer.distances_of(q, block, rows, end - begin, distances);
                for (uint32_t i = 0; i < end - begin; ++i) {
                    if (distances[i] <= collectors[q]->threshold()) {
                        collectors[q]->offer(block.slot(rows[i]), distances[i]);
                    }
                }
                bound[q] = scorer.tile_bound(q, float(collectors[q]->threshold()));
            }
        }

        const DenseScorer& scorer;
        const Block& block;
        Collector* const* collectors;
        float* threshold = nullptr;  // scan
        float* bound = nullptr;      // tile
        uint32_t first_row = 0;      // of the piece that a tile is made of
        Candidate places[kSinkOfMany];
    };

    static constexpr bool kWidens = std::is_same_v<Rows, Halves>;

    static const typename Rows::Number* rows_of(const Block& block) {
        return reinterpret_cast<const typename Rows::Number*>(block.codes);
    }

    void distances_of(size_t q, const Block& block, const uint32_t* rows, size_t n,
                      float* out) const {
        Rows::kernels().gather(form_, queries_ + q * dim_, dim_, rows_of(block), block.factors,
                               rows, n, out);
    }

    // A tile excludes by a lower bound of the canonical distance: the estimate less its error, with
    // the part of both that is the row's in alpha * f and the query's moved to the right-hand side.
    void prepare_tile() {
        const double error = tile_error(dim_);
        alpha_.resize(n_);
        for (size_t q = 0; q < n_; ++q) {
            alpha_[q] = metric_ == Metric::kL2   ? float(1 - error)
                        : metric_ == Metric::kIp ? -round_up(error * std::sqrt(squared_norms_[q]))
                                                 : 0.0f;
        }
        if (n_ >= kernels_.pack_from) {
            panels_ = Memory(kernels_.packed_size(n_, dim_) * sizeof(float));
            kernels_.pack_queries(queries_, n_, dim_, reinterpret_cast<float*>(panels_.data()));
        }
    }

    float tile_bound(size_t q, float threshold) const {
        if (threshold == kInfinity) return kInfinity;
        const double error = tile_error(dim_);
        const double offset = metric_ == Metric::kL2       ? (1 - error) * squared_norms_[q]
                              : metric_ == Metric::kCosine ? 1 - error
                                                           : 0;
        return round_up(double(threshold) - offset + tile_underflow(dim_));
    }

    void tile(const Block& block, Collector* const* collectors, Memory& scratch) const {
        const size_t workspace = (kernels_.tile_workspace(dim_) + 15) / 16 * 16;
        const size_t bounds = (n_ + 15) / 16 * 16;
        const size_t at_once = kWidens ? std::max<size_t>(64, kWidened / dim_ / 64 * 64) : block.n;
        scratch.at_least((workspace + bounds + (kWidens ? at_once * dim_ : 0)) * sizeof(float));
        float* const work = reinterpret_cast<float*>(scratch.data());
        Drain drain(*this, block, collectors, kSinkOfMany);
        drain.bound = work + workspace;
        for (size_t q = 0; q < n_; ++q)
            drain.bound[q] = tile_bound(q, float(collectors[q]->threshold()));
        const DenseTile tile = {.queries = queries_,
                                .panels = reinterpret_cast<const float*>(panels_.data()),
                                .alpha = alpha_.data(),
                                .bound = drain.bound,
                                .beta = metric_ == Metric::kL2   ? -2.0f
                                        : metric_ == Metric::kIp ? -1.0f
                                                                 : 0.0f,
                                .gamma = metric_ == Metric::kCosine ? -1.0f : 0.0f,
                                .nq = uint32_t(n_)};
        for (size_t at = 0; at < block.n; at += at_once) {
            DenseBlock piece = {.rows = nullptr,
                                .factors = block.factors + at,
                                .admit = block.admit != nullptr ? block.admit + at / 64 : nullptr,
                                .n = uint32_t(std::min(at_once, block.n - at))};
            if constexpr (kWidens) {
                float* const widened = work + workspace + bounds;
                Rows::kernels().widen(rows_of(block) + at * dim_, piece.n * dim_, widened);
                piece.rows = widened;
            } else {
                piece.rows = rows_of(block) + at * dim_;
            }
            drain.first_row = uint32_t(at);
            kernels_.tile(tile, dim_, piece, work, &drain);
            drain.empty();
        }
    }

    static constexpr size_t kWidened = size_t(1) << 18;  // floats at once

    const DenseKernels& kernels_;
    const Metric metric_;
    const DenseForm form_;
    const size_t dim_, n_;
    Memory memory_, panels_;
    float* queries_;
    std::vector<double> squared_norms_;
    std::vector<float> alpha_;
};

class Float32 final : public Codec {
  public:
    Float32(size_t dim, Metric metric) : Codec(dim, metric) {}
    const char* name() const override { return "float32"; }
    InputType input() const override { return InputType::kFloat32; }
    InputType output() const override { return InputType::kFloat32; }
    size_t code_bytes() const override { return dim_ * sizeof(float); }
    bool has_factors() const override { return true; }

    float encode(const std::byte* rows, size_t n, std::byte* codes, float* factors,
                 const char* argument, size_t first_row) const override {
        constexpr size_t kAtOnce = 64;
        double squared_norms[kAtOnce];
        for (size_t begin = 0; begin < n; begin += kAtOnce) {
            const size_t m = std::min(kAtOnce, n - begin);
            copy_checked(reinterpret_cast<const float*>(rows + begin * code_bytes()), m, dim_,
                         reinterpret_cast<float*>(codes + begin * code_bytes()), squared_norms,
                         argument, first_row + begin);
            for (size_t i = 0; i < m; ++i) {
                factors[begin + i] =
                    factor_of(metric_, squared_norms[i], argument, first_row + begin + i);
            }
        }
        return 0;
    }

    void decode(const std::byte* codes, size_t n, std::byte* rows) const override {
        std::memcpy(rows, codes, n * code_bytes());
    }

    std::unique_ptr<Scorer> prepare(const std::byte* queries, size_t n, const char* argument,
                                    size_t first_row) const override {
        return std::make_unique<DenseScorer<Floats>>(metric_, dim_, queries, n, argument,
                                                     first_row);
    }
};

}  // namespace

double inverse_norm(double squared_norm, const char* argument, size_t at) {
    if (squared_norm == 0) return 0;
    const double norm = std::sqrt(squared_norm);
    if (norm < kSmallestCosineNorm) {
        throw InvalidArgument(std::string(argument) +
                              ": expected zero rows or norms from 1e-30 up for cosine, got " +
                              short_text(norm) + " in row " + std::to_string(at));
    }
    return 1 / norm;
}

void copy_checked(const float* rows, size_t n, size_t dim, float* copy, double* squared_norms,
                  const char* argument, size_t first_row) {
    if (copy != rows) std::memcpy(copy, rows, n * dim * sizeof(float));
    kernels().dense.squared_norms(copy, n, dim, squared_norms);
    for (size_t i = 0; i < n; ++i) {
        if (!(squared_norms[i] <= kLargestSquaredNorm)) {
            refuse(copy + i * dim, dim, squared_norms[i], argument, first_row + i);
        }
    }
}

DenseForm form_of(Metric metric) {
    return metric == Metric::kL2   ? DenseForm::kL2
           : metric == Metric::kIp ? DenseForm::kIp
                                   : DenseForm::kCosine;
}

std::string number_text(float number, size_t row, size_t j) {
    std::string text = std::isnan(number) ? "nan" : short_text(number);
    text += " in row " + std::to_string(row) + ", dimension " + std::to_string(j);
    return text;
}

// |x|^2 may be rounded either way; tile_error's allowance covers it.
float factor_of(Metric metric, double squared_norm, const char* argument, size_t at) {
    if (metric == Metric::kL2) return float(squared_norm);
    if (metric == Metric::kIp) return float(std::sqrt(squared_norm));
    return float(inverse_norm(squared_norm, argument, at));
}

std::unique_ptr<Scorer> make_half_scorer(Metric metric, size_t dim, const std::byte* queries,
                                         size_t n, const char* argument, size_t first_row) {
    return std::make_unique<DenseScorer<Halves>>(metric, dim, queries, n, argument, first_row);
}

std::shared_ptr<const Codec> make_float32(size_t dim, Metric metric) {
    return std::make_shared<Float32>(dim, metric);
}

}  // namespace nearbit
