#include "codecs/ints.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "codecs/dense.h"
#include "codecs/drain.h"
#include "kernels/kernels.h"

namespace nearbit {
namespace {

// 1 - product / (|q| |x|) from exact integers; 1 where either is zero. The root is taken of the
// squared cosine, so that rows of the same direction, whose squares are equal fractions, have equal
// distances as long as both parts are below 2^53.
double cosine_distance(double product, double q_norm, double x_norm) {
    if (product == 0) return 1;
    const double cosine = std::sqrt(product * product / (q_norm * x_norm));
    return product > 0 ? 1 - cosine : 1 + cosine;
}

class IntScorer final : public Scorer {
  public:
    IntScorer(Metric metric, IntType type, size_t dim, const std::byte* queries, size_t n)
        : kernels_(kernels().ints),
          form_(form_of(metric)),
          type_(type),
          dim_(dim),
          n_(n),
          queries_(n * dim),
          squared_norms_(n) {
        for (size_t i = 0; i < n * dim; ++i) {
            queries_[i] =
                type == IntType::kInt8 ? int16_t(int8_t(queries[i])) : int16_t(uint8_t(queries[i]));
            squared_norms_[i / dim] += double(int32_t(queries_[i]) * queries_[i]);
        }
    }

    void scan(const Block& block, Collector* const* collectors, Memory& scratch) const override {
        scratch.at_least(n_ * sizeof(double));
        Drain<IntScorer, double> drain(*this, block, collectors, n_ > 1);
        drain.bounds = reinterpret_cast<double*>(scratch.data());
        for (size_t q = 0; q < n_; ++q) drain.bounds[q] = bound(q, collectors[q]->threshold());
        const IntQueries queries = {.form = form_,
                                    .type = type_,
                                    .queries = queries_.data(),
                                    .squared_norms = squared_norms_.data(),
                                    .bound = drain.bounds,
                                    .n = uint32_t(n_)};
        kernels_.scan(queries, dim_, {rows_of(block), block.admit, block.n}, &drain);
        drain.empty();
    }

    void gather(const Block& block, const uint32_t* rows, size_t n,
                Collector* const* collectors) const override {
        for (size_t q = 0; q < n_; ++q) {
            for (size_t begin = 0; begin < n; begin += kAtOnce) {
                score(q, block, rows + begin, std::min(kAtOnce, n - begin), *collectors[q]);
            }
        }
    }

    void distances(size_t query, const uint8_t* const* codes, const float*, size_t n,
                   double* out) const override {
        for (size_t i = 0; i < n; ++i) {
            double sum, squared_norm;
            kernels_.gather(form_, type_, queries_.data() + query * dim_, dim_, codes[i], nullptr,
                            1, &sum, &squared_norm);
            out[i] = distance_of(query, sum, squared_norm);
        }
    }

  private:
    friend struct Drain<IntScorer, double>;

    static constexpr size_t kAtOnce = kSinkOfMany;

    static const uint8_t* rows_of(const Block& block) {
        return reinterpret_cast<const uint8_t*>(block.codes);
    }

    // The distances that rank: exact, but for cosine's roundings in double.
    void score(size_t q, const Block& block, const uint32_t* rows, size_t n,
               Collector& collector) const {
        double sums[kAtOnce], squared_norms[kAtOnce];
        kernels_.gather(form_, type_, queries_.data() + q * dim_, dim_, rows_of(block), rows, n,
                        sums, squared_norms);
        for (size_t i = 0; i < n; ++i) {
            const double d = distance_of(q, sums[i], squared_norms[i]);
            if (d <= collector.threshold()) collector.offer(block.slot(rows[i]), d);
        }
    }

    double distance_of(size_t q, double sum, double squared_norm) const {
        return form_ == DenseForm::kL2   ? sum
               : form_ == DenseForm::kIp ? 0 - sum
                                         : cosine_distance(sum, squared_norms_[q], squared_norm);
    }

    // What IntQueries asks of a row within the threshold. Of cosine it asks a little less: 1e-14
    // covers the few roundings, and where that of a squared cosine near 0 would not do, the product
    // is 0 or at least 1 / (|q| |x|), above 2e-10.
    double bound(size_t q, double threshold) const {
        if (form_ != DenseForm::kCosine) return threshold;
        const double least = 1 - std::clamp(threshold, -1.0, 3.0) - 1e-14;
        return least * std::fabs(least) * squared_norms_[q];
    }

    const IntKernels& kernels_;
    const DenseForm form_;
    const IntType type_;
    const size_t dim_, n_;
    std::vector<int16_t> queries_;
    std::vector<double> squared_norms_;
};

class Ints final : public Codec {
  public:
    Ints(InputType type, size_t dim, Metric metric) : Codec(dim, metric), type_(type) {}
    const char* name() const override { return type_ == InputType::kInt8 ? "int8" : "uint8"; }
    InputType input() const override { return type_; }
    InputType output() const override { return type_; }
    size_t code_bytes() const override { return dim_; }
    bool has_factors() const override { return false; }

    float encode(const std::byte* rows, size_t n, std::byte* codes, float*, const char*,
                 size_t) const override {
        std::memcpy(codes, rows, n * dim_);
        return 0;
    }

    void decode(const std::byte* codes, size_t n, std::byte* rows) const override {
        std::memcpy(rows, codes, n * dim_);
    }

    std::unique_ptr<Scorer> prepare(const std::byte* queries, size_t n, const char*,
                                    size_t) const override {
        const IntType type = type_ == InputType::kInt8 ? IntType::kInt8 : IntType::kUint8;
        return std::make_unique<IntScorer>(metric_, type, dim_, queries, n);
    }

  private:
    const InputType type_;
};

}  // namespace

std::shared_ptr<const Codec> make_ints(InputType type, size_t dim, Metric metric) {
    return std::make_shared<Ints>(type, dim, metric);
}

}  // namespace nearbit
