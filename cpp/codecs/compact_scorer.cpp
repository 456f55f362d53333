#include "codecs/compact_scorer.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "codecs/drain.h"

namespace nearbit {
namespace {

// Above it sums in float could overflow: then rows are scored without a first pass.
constexpr double kLargestInFloat = 1e37;

class CompactScorer final : public Scorer {
  public:
    CompactScorer(std::shared_ptr<const CompactModel> model, const float* queries, size_t n,
                  const char* argument, size_t first_row)
        : model_(std::move(model)), n_(n), terms_(n), errors_(n) {
        std::vector<float> scratch(n * model_->mean.size());
        std::vector<float> z(n * model_->parts.quantiser->dim());
        std::vector<CompactRow> about(n);
        const bool l2 = model_->metric == Metric::kL2, cosine = model_->metric == Metric::kCosine;
        model_->transform(queries, n, cosine, l2, argument, first_row, scratch.data(), z.data(),
                          about.data());
        for (size_t q = 0; q < n; ++q) {
            terms_[q] = l2 ? about[q].squared : (cosine ? 1 : 0) - about[q].with_mean;
            const double length = (l2 ? 2 : 1) * std::sqrt(about[q].squared);
            errors_[q] = {length > 0 ? length * double(model_->error) : 0, model_->random};
        }
        // |q - x|^2 = |q - c|^2 + |r|^2 - 2 <r, q - c>
        if (l2) {
            for (float& number : z) number *= 2;
        }
        queries_ = model_->parts.quantiser->prepare(z.data(), n);
        const CodeFactors& f = model_->factors;
        for (size_t q = 0; q < n; ++q) {
            reach_.push_back(double(most_value(f.norm, f.norm_bytes)) +
                             double(most_value(f.scale, f.scale_bytes)) * queries_->largest(q));
            in_float_ = in_float_ && reach_[q] + std::abs(terms_[q]) < kLargestInFloat;
        }
    }

    void scan(const Block& block, Collector* const* collectors, Memory& scratch) const override {
        if (!block.grouped || !in_float_) {
            score_all(block, collectors);
            return;
        }
        scratch.at_least(n_ * sizeof(float));
        Drain<CompactScorer, float> drain(*this, block, collectors, n_ > 1);
        drain.bounds = reinterpret_cast<float*>(scratch.data());
        for (size_t q = 0; q < n_; ++q) drain.bounds[q] = bound(q, collectors[q]->threshold());
        const CodesBlock codes = {reinterpret_cast<const uint8_t*>(block.codes),
                                  model_->code_bytes(),
                                  model_->factors,
                                  block.admit,
                                  block.n,
                                  block.from_memory};
        queries_->scan(codes, drain.bounds, &drain);
        drain.empty();
    }

    void gather(const Block& block, const uint32_t* rows, size_t n,
                Collector* const* collectors) const override {
        for (size_t q = 0; q < n_; ++q) score(q, block, rows, n, *collectors[q]);
    }

    void distances(size_t query, const uint8_t* const* codes, const float*, size_t n,
                   double* out) const override {
        queries_->values(query, codes, model_->payload_at(), n, out);
        for (size_t i = 0; i < n; ++i) out[i] = double(distance_of(query, codes[i], out[i]));
    }

    ScoreError error(size_t query) const override { return errors_[query]; }

  private:
    friend struct Drain<CompactScorer, float>;

    // What a kernel may compare in float: a dozen roundings, each of at most 2^-24 of what is
    // summed.
    float bound(size_t q, double threshold) const {
        if (std::abs(threshold) == double(kInfinity)) return float(threshold);
        return float(threshold - terms_[q] +
                     0x1p-20 * (reach_[q] + std::abs(terms_[q]) + std::abs(threshold)));
    }

    void score_all(const Block& block, Collector* const* collectors) const {
        constexpr uint32_t kAtOnce = 256;
        uint32_t rows[kAtOnce];
        for (uint32_t begin = 0; begin < block.n; begin += kAtOnce) {
            size_t n = 0;
            for (uint32_t row = begin; row < std::min(block.n, begin + kAtOnce); ++row) {
                if (block.admit == nullptr || (block.admit[row / 64] >> (row % 64) & 1) != 0) {
                    rows[n++] = row;
                }
            }
            gather(block, rows, n, collectors);
        }
    }

    // Canonical distances.
    void score(size_t q, const Block& block, const uint32_t* rows, size_t n,
               Collector& collector) const {
        constexpr size_t kAtOnce = kSinglesTogether;
        const size_t code_bytes = model_->code_bytes();
        const auto* const in = reinterpret_cast<const uint8_t*>(block.codes);
        const uint8_t* codes[kAtOnce];
        std::vector<uint8_t> taken(block.grouped ? std::min(kAtOnce, n) * code_bytes : 0);
        double found[kAtOnce];
        collector.passed(n);
        for (size_t begin = 0; begin < n; begin += kAtOnce) {
            const size_t m = std::min(kAtOnce, n - begin);
            for (size_t i = 0; i < m; ++i) {
                const size_t row = rows[begin + i];
                codes[i] = in + row * code_bytes;
                if (!block.grouped) continue;
                uint8_t* const code = taken.data() + i * code_bytes;
                take_lane(in + row / kGroupLanes * group_size(code_bytes), code_bytes,
                          row % kGroupLanes, code);
                codes[i] = code;
            }
            distances(q, codes, nullptr, m, found);
            for (size_t i = 0; i < m; ++i) {
                if (found[i] <= collector.threshold()) {
                    collector.offer(block.slot(rows[begin + i]), found[i]);
                }
            }
        }
    }

    float distance_of(size_t q, const uint8_t* code, double value) const {
        constexpr double kLargest = std::numeric_limits<float>::max();
        const double distance =
            terms_[q] + double(model_->norm(code)) - double(model_->scale(code)) * value;
        const double least = model_->metric == Metric::kIp ? -kLargest : 0;
        return float(std::clamp(distance, least, kLargest));
    }

    const std::shared_ptr<const CompactModel> model_;
    const size_t n_;
    std::vector<double> terms_, reach_;
    std::vector<ScoreError> errors_;
    bool in_float_ = true;
    std::unique_ptr<QuantisedQueries> queries_;
};

}  // namespace

std::unique_ptr<Scorer> make_compact_scorer(std::shared_ptr<const CompactModel> model,
                                            const float* queries, size_t n, const char* argument,
                                            size_t first_row) {
    return std::make_unique<CompactScorer>(std::move(model), queries, n, argument, first_row);
}

}  // namespace nearbit
