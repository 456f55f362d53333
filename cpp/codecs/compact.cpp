#include "codecs/compact.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <span>
#include <tuple>
#include <utility>

#include "base/error.h"
#include "base/threads.h"
#include "codecs/dense.h"
#include "codecs/grid.h"
#include "codecs/groups.h"
#include "codecs/pq.h"
#include "transforms/decompose.h"

namespace nearbit {
namespace {

constexpr size_t kTrainSize = 1024;     // a mean and ranges need no more
constexpr size_t kSampleSize = 65536;   // and gain nothing from more
constexpr size_t kFactorSample = 8192;  // rows that are encoded to learn how factors are spread
constexpr size_t kRowsAtOnce = 64;      // transformed together
constexpr size_t kRangeRows = 4096;     // of which a grid's ranges are fitted
constexpr int kRangeRounds = 10;
// Of k-means: 4, 8, 12 and 25 give the same recall (docs/measurements.md).
constexpr size_t kPqIterations = 8;
constexpr uint8_t kGiven = 2;          // in files, where else 1 says that rows are rotated
constexpr size_t kMostRotated = 4096;  // dimensions: principal components take dim^3
// Above it sums in float could overflow: then rows are scored without a first pass.
constexpr double kLargestInFloat = 1e37;

// ------------------------------------------------------------------------------- small floats

uint32_t most_code(size_t n_bytes) {
    return (uint32_t(1) << (8 * n_bytes)) - 1;
}

float value_of(const SmallFloat& small, uint32_t code) {
    return code == 0 ? 0.0f : std::bit_cast<float>(small.base + (code - 1) * small.step);
}

float most_value(const SmallFloat& small, size_t n_bytes) {
    return n_bytes == 0 ? 0.0f : value_of(small, most_code(n_bytes));
}

uint32_t code_of(const SmallFloat& small, size_t n_bytes, double value) {
    if (!(value > 0)) return 0;
    const float capped = float(std::min(value, double(most_value(small, n_bytes))));
    const uint32_t bits = std::bit_cast<uint32_t>(capped);
    if (bits <= small.base) return 1;
    return std::min(most_code(n_bytes), 1 + (bits - small.base + small.step / 2) / small.step);
}

// Values from the lowest thousandth to the largest, and a twentieth beyond. The bits of floats go
// up like a logarithm, so small and large values are rounded by the same share of them.
SmallFloat fit_small(std::vector<double> values, size_t n_bytes) {
    std::erase_if(values, [](double value) { return !(value > 0); });
    if (values.empty()) values.push_back(1);
    std::sort(values.begin(), values.end());
    const double least = std::max(values[values.size() / 1000] * 0.95, 1e-37);
    const double most = std::min(std::max(values.back() * 1.05, least), 3.4e38);
    const uint32_t base = std::bit_cast<uint32_t>(float(least));
    const uint32_t span = std::bit_cast<uint32_t>(float(most)) - base;
    const uint32_t steps = most_code(n_bytes) - 1;
    return {base, std::max<uint32_t>(1, (span + steps - 1) / steps)};
}

SmallFloat read_small(Cursor& fields, size_t n_bytes) {
    const auto base = fields.read<uint32_t>();
    const auto step = fields.read<uint32_t>();
    constexpr uint32_t kInfiniteBits = 0x7f800000;
    if (n_bytes != 0 && (base == 0 || step == 0 ||
                         base + uint64_t(most_code(n_bytes) - 1) * step >= kInfiniteBits)) {
        fields.refuse("expected the range of a factor, got " + std::to_string(base) + " and " +
                      std::to_string(step));
    }
    return {base, step};
}

// ------------------------------------------------------------------------------------ training

// Principal components, put so that the parts of a code have about equal shares ("parametric" OPQ).
Transform balanced(const float* residuals, size_t n, size_t dim, size_t m, size_t threads,
                   Watch* watch) {
    const Pca found = pca(residuals, n, dim, dim, threads, watch);
    const std::vector<size_t> chosen = balanced_components(found.values, even_subspaces(dim, m));
    std::vector<float> matrix;
    for (const size_t component : chosen) {
        for (size_t j = 0; j < dim; ++j) {
            matrix.push_back(float(found.matrix[component * dim + j]));
        }
    }
    return Transform::linear(dim, dim, matrix);
}

// A transform and codebooks, as Transform and Quantiser write them.
CompactParts read_pq_parts(Cursor& fields) {
    CompactParts parts{Transform::read(fields), read_pq(fields)};
    if (parts.transform.out_dim() != parts.quantiser->dim()) {
        fields.refuse("expected codebooks for " + std::to_string(parts.transform.out_dim()) +
                      " dimensions, got some for " + std::to_string(parts.quantiser->dim()));
    }
    return parts;
}

CompactParts given_parts(const std::string& given) {
    Cursor fields(std::as_bytes(std::span(given)), "codebooks");
    CompactParts parts = read_pq_parts(fields);
    fields.expect_end();
    return parts;
}

CompactParts parts_of(const CodecSettings& settings, std::vector<float>& residuals, size_t n,
                      size_t dim, size_t threads, Watch* watch) {
    if (settings.name == "rabitq") {
        return {Transform::rotation(dim, settings.seed), make_direction_grid(dim, settings.bits)};
    }
    if (settings.given != nullptr) return given_parts(*settings.given);
    if (settings.name == "pq") {
        Transform transform = Transform::identity(dim);
        std::vector<float> rows = residuals;
        if (settings.rotated) {
            transform = balanced(residuals.data(), n, dim, settings.m, threads, watch);
            parallel_for((n + kRowsAtOnce - 1) / kRowsAtOnce, threads, watch, [&](size_t task) {
                const size_t first = task * kRowsAtOnce, end = std::min(n, first + kRowsAtOnce);
                transform.apply(residuals.data() + first * dim, end - first,
                                rows.data() + first * dim);
                if (watch != nullptr) watch->advance(0);
            });
        }
        const PqSettings asked = {.m = settings.m,
                                  .nbits = settings.bits,
                                  .iterations = kPqIterations,
                                  .seed = settings.seed};
        return {transform, make_pq(train_pq(rows.data(), n, dim, asked, threads, watch))};
    }
    // SQ: for each dimension the middle and step that leave the least squared error, from those
    // that a normal distribution would want on.
    const uint32_t levels = uint32_t(1) << settings.bits;
    std::vector<float> middles(dim), steps(dim);
    n = std::min(n, kRangeRows);
    for (size_t j = 0; j < dim; ++j) {
        double sum = 0, squares = 0;
        for (size_t i = 0; i < n; ++i) sum += double(residuals[i * dim + j]);
        const double mean = sum / double(n);
        for (size_t i = 0; i < n; ++i) {
            const double off = double(residuals[i * dim + j]) - mean;
            squares += off * off;
        }
        const double deviation = std::sqrt(squares / double(n));
        double middle = mean, step = normal_step(settings.bits) * deviation;
        for (int round = 0; step > 0 && round < kRangeRounds; ++round) {
            // Least squares of x ~ middle + step * u over the rounded u.
            double su = 0, suu = 0, sx = 0, sxu = 0;
            const double half = double(levels - 1) / 2;
            for (size_t i = 0; i < n; ++i) {
                const double x = double(residuals[i * dim + j]);
                const double level =
                    std::round(std::clamp((x - middle) / step + half, 0.0, double(levels - 1)));
                const double u = level - half;
                su += u;
                suu += u * u;
                sx += x;
                sxu += x * u;
            }
            const double d = double(n) * suu - su * su;
            if (!(d > 0)) break;
            const double next = (double(n) * sxu - su * sx) / d;
            if (!(next > 0)) break;
            step = next;
            middle = (sx - step * su) / double(n);
        }
        middles[j] = float(middle);
        // A dimension that never changes gets a step that counts for nothing.
        steps[j] = std::max(float(step), 1e-30f);
    }
    return {Transform::identity(dim),
            make_range_grid(std::move(middles), std::move(steps), settings.bits)};
}

// ------------------------------------------------------------------------------------- scoring

struct Trained {
    std::vector<float> mean;
    CompactParts parts{Transform::identity(1), nullptr};
    CodeFactors factors;
    float shrink;  // the mean squared cosine of rows with their codes
    float error;   // how far s y is from r, as a share of |r|, times the largest |r|

    size_t payload_at() const { return size_t(factors.scale_bytes) + factors.norm_bytes; }
    size_t code_bytes() const { return payload_at() + parts.quantiser->payload_bytes(); }
    float scale(const uint8_t* code) const {
        return factor(factors.scale, code, factors.scale_bytes);
    }
    float norm(const uint8_t* code) const {
        return factor(factors.norm, code + factors.scale_bytes, factors.norm_bytes);
    }

  private:
    static float factor(const SmallFloat& small, const uint8_t* bytes, size_t n_bytes) {
        uint32_t code = 0;
        for (size_t i = 0; i < n_bytes; ++i) code |= uint32_t(bytes[i]) << (8 * i);
        return value_of(small, code);
    }
};

// Queries or rows: checked, scaled for cosine, less the mean, transformed. squared: of the rows
// before the transform.
void transform_rows(const Trained& trained, Metric metric, const float* rows, size_t n, size_t dim,
                    bool minus_mean, const char* argument, size_t first_row, float* out,
                    double* squared, double* with_mean) {
    std::vector<float> copy(std::min(n, kRowsAtOnce) * dim);
    for (size_t begin = 0; begin < n; begin += kRowsAtOnce) {
        const size_t m = std::min(kRowsAtOnce, n - begin);
        double norms[kRowsAtOnce];
        copy_checked(rows + begin * dim, m, dim, copy.data(), norms, argument, first_row + begin);
        for (size_t i = 0; i < m; ++i) {
            float* const row = copy.data() + i * dim;
            if (metric == Metric::kCosine) {
                const float scale = float(inverse_norm(norms[i], argument, first_row + begin + i));
                for (size_t j = 0; j < dim; ++j) row[j] *= scale;
            }
            double dot = 0, squares = 0;
            for (size_t j = 0; j < dim; ++j) {
                dot += double(row[j]) * double(trained.mean[j]);
                if (minus_mean) row[j] -= trained.mean[j];
                squares += double(row[j]) * double(row[j]);
            }
            squared[begin + i] = squares;
            if (with_mean != nullptr) with_mean[begin + i] = dot;
        }
        trained.parts.transform.apply(copy.data(), m, out + begin * trained.parts.quantiser->dim());
    }
}

class CompactScorer final : public Scorer {
  public:
    CompactScorer(std::shared_ptr<const Trained> trained, Metric metric, size_t dim, bool random,
                  const float* queries, size_t n, const char* argument, size_t first_row)
        : trained_(std::move(trained)), metric_(metric), n_(n), terms_(n), errors_(n) {
        std::vector<float> z(n * trained_->parts.quantiser->dim());
        std::vector<double> squared(n), with_mean(n);
        const bool l2 = metric == Metric::kL2;
        transform_rows(*trained_, metric, queries, n, dim, l2, argument, first_row, z.data(),
                       squared.data(), with_mean.data());
        for (size_t q = 0; q < n; ++q) {
            terms_[q] = l2                          ? squared[q]
                        : metric == Metric::kCosine ? 1 - with_mean[q]
                                                    : -with_mean[q];
            // <r - s y, z>, where r - s y points anywhere across r.
            const double length = (l2 ? 2 : 1) * std::sqrt(squared[q]);
            const double across = std::sqrt(std::max(1.0, double(dim) - 1));
            errors_[q] = {length > 0 ? length * double(trained_->error) / across : 0, random};
        }
        // |q - x|^2 = |q - c|^2 + |r|^2 - 2 <r, q - c>
        if (l2) {
            for (float& number : z) number *= 2;
        }
        queries_ = trained_->parts.quantiser->prepare(z.data(), n);
        const CodeFactors& f = trained_->factors;
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
        Drain drain(*this, block, collectors, n_ == 1 ? kSinkOfOneQuery : kSinkOfMany);
        drain.bounds = reinterpret_cast<float*>(scratch.data());
        for (size_t q = 0; q < n_; ++q) drain.bounds[q] = bound(q, collectors[q]->threshold());
        const CodesBlock codes = {reinterpret_cast<const uint8_t*>(block.codes),
                                  trained_->code_bytes(), trained_->factors, block.admit, block.n};
        queries_->scan(codes, drain.bounds, &drain);
        drain.empty();
    }

    void gather(const Block& block, const uint32_t* rows, size_t n,
                Collector* const* collectors) const override {
        for (size_t q = 0; q < n_; ++q) score(q, block, rows, n, *collectors[q]);
    }

    ScoreError error(size_t query) const override { return errors_[query]; }

  private:
    struct Drain : Sink {
        Drain(const CompactScorer& scorer_, const Block& block_, Collector* const* collectors_,
              uint32_t n_places)
            : scorer(scorer_), block(block_), collectors(collectors_) {
            items = places;
            count = 0;
            capacity = n_places;
            drain = [](Sink* sink) { static_cast<Drain*>(sink)->empty(); };
        }
        // Candidates of one query usually come together: score each run at once.
        void empty() {
            uint32_t rows[kSinkOfMany];
            for (uint32_t begin = 0, end; begin < count; begin = end) {
                const uint32_t q = places[begin].query;
                for (end = begin; end < count && places[end].query == q; ++end) {
                    rows[end - begin] = places[end].row;
                }
                scorer.score(q, block, rows, end - begin, *collectors[q]);
                bounds[q] = scorer.bound(q, collectors[q]->threshold());
            }
            count = 0;
        }

        const CompactScorer& scorer;
        const Block& block;
        Collector* const* collectors;
        float* bounds = nullptr;
        Candidate places[kSinkOfMany];
    };

    // What a kernel may compare in float: a dozen roundings, each of at most 2^-24 of what is
    // summed.
    float bound(size_t q, double threshold) const {
        if (threshold == kInfinity) return kInfinity;
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
        constexpr size_t kAtOnce = 32;
        const size_t code_bytes = trained_->code_bytes(), payload_at = trained_->payload_at();
        const auto* const in = reinterpret_cast<const uint8_t*>(block.codes);
        std::vector<uint8_t> codes(std::min(kAtOnce, n) * code_bytes);
        double values[kAtOnce];
        collector.passed(n);
        for (size_t begin = 0; begin < n; begin += kAtOnce) {
            const size_t m = std::min(kAtOnce, n - begin);
            for (size_t i = 0; i < m; ++i) {
                uint8_t* const code = codes.data() + i * code_bytes;
                const size_t row = rows[begin + i];
                if (block.grouped) {
                    take_lane(in + row / kGroupLanes * group_size(code_bytes), code_bytes,
                              row % kGroupLanes, code);
                } else {
                    std::memcpy(code, in + row * code_bytes, code_bytes);
                }
            }
            queries_->values(q, codes.data() + payload_at, code_bytes, m, values);
            for (size_t i = 0; i < m; ++i) {
                const float distance = distance_of(q, codes.data() + i * code_bytes, values[i]);
                if (distance <= collector.threshold()) {
                    collector.offer(block.slot(rows[begin + i]), distance);
                }
            }
        }
    }

    float distance_of(size_t q, const uint8_t* code, double value) const {
        constexpr double kLargest = std::numeric_limits<float>::max();
        const double distance =
            terms_[q] + double(trained_->norm(code)) - double(trained_->scale(code)) * value;
        const double least = metric_ == Metric::kIp ? -kLargest : 0;
        return float(std::clamp(distance, least, kLargest));
    }

    const std::shared_ptr<const Trained> trained_;
    const Metric metric_;
    const size_t n_;
    std::vector<double> terms_, reach_;
    std::vector<ScoreError> errors_;
    bool in_float_ = true;
    std::unique_ptr<QuantisedQueries> queries_;
};

// --------------------------------------------------------------------------------------- codec

class Compact final : public Codec {
  public:
    Compact(CodecSettings settings, size_t dim, Metric metric,
            std::shared_ptr<const Trained> trained)
        : Codec(dim, metric), settings_(std::move(settings)), trained_(std::move(trained)) {}

    const char* name() const override { return settings_.name.c_str(); }
    InputType input() const override { return InputType::kFloat32; }
    InputType output() const override { return InputType::kFloat32; }
    size_t code_bytes() const override { return trained_->code_bytes(); }
    // Of a grid whole numbers and tables of bytes; of parts a table of whole numbers each.
    size_t query_bytes() const override {
        return 8 * dim_ + size_t(settings_.m) * (size_t(4) << settings_.bits);
    }
    bool has_factors() const override { return false; }
    bool grouped() const override { return true; }
    bool refines() const override { return true; }
    bool trained() const override { return trained_ != nullptr; }
    size_t train_size() const override { return kTrainSize; }
    size_t sample_size() const override { return kSampleSize; }
    CodecSettings settings() const override { return settings_; }

    std::shared_ptr<const Codec> train(const float* sample, size_t n, size_t threads,
                                       Watch* watch) const override;

    void encode(const std::byte* rows, size_t n, std::byte* codes, float*, const char* argument,
                size_t first_row) const override {
        const size_t bytes = code_bytes(), z_dim = trained_->parts.quantiser->dim();
        const CodeFactors& f = trained_->factors;
        std::vector<float> z(std::min(n, kRowsAtOnce) * z_dim);
        double squared[kRowsAtOnce];
        for (size_t begin = 0; begin < n; begin += kRowsAtOnce) {
            const size_t m = std::min(kRowsAtOnce, n - begin);
            transform_rows(*trained_, metric_, reinterpret_cast<const float*>(rows) + begin * dim_,
                           m, dim_, true, argument, first_row + begin, z.data(), squared, nullptr);
            for (size_t i = 0; i < m; ++i) {
                auto* code = reinterpret_cast<uint8_t*>(codes + (begin + i) * bytes);
                const auto products = trained_->parts.quantiser->encode(
                    z.data() + i * z_dim, code + trained_->payload_at());
                code = put(code, f.scale, f.scale_bytes, scale(squared[i], products));
                put(code, f.norm, f.norm_bytes, squared[i]);
            }
        }
    }

    void decode(const std::byte* codes, size_t n, std::byte* rows) const override {
        std::vector<float> y(trained_->parts.quantiser->dim());
        for (size_t i = 0; i < n; ++i) {
            const auto* const code = reinterpret_cast<const uint8_t*>(codes) + i * code_bytes();
            auto* const row = reinterpret_cast<float*>(rows) + i * dim_;
            trained_->parts.quantiser->decode(code + trained_->payload_at(), y.data());
            trained_->parts.transform.undo(y.data(), 1, row);
            const float scale = trained_->scale(code) * trained_->shrink;
            for (size_t j = 0; j < dim_; ++j) row[j] = trained_->mean[j] + scale * row[j];
        }
    }

    std::unique_ptr<Scorer> prepare(const std::byte* queries, size_t n, const char* argument,
                                    size_t first_row) const override {
        return std::make_unique<CompactScorer>(trained_, metric_, dim_, settings_.name == "rabitq",
                                               reinterpret_cast<const float*>(queries), n, argument,
                                               first_row);
    }

    void write(Fields& fields) const override {
        fields.put(settings_.bits);
        fields.put(settings_.m);
        fields.put(settings_.given != nullptr ? kGiven : uint8_t(settings_.rotated));
        fields.put(settings_.seed);
        fields.put(uint8_t(trained()));
        if (!trained()) {
            if (settings_.given != nullptr) fields.put_bytes(*settings_.given);
            return;
        }
        for (const float number : trained_->mean) fields.put(number);
        trained_->parts.transform.write(fields);
        trained_->parts.quantiser->write(fields);
        const CodeFactors& f = trained_->factors;
        for (const uint32_t number : {f.scale.base, f.scale.step, f.norm.base, f.norm.step}) {
            fields.put(number);
        }
        fields.put(trained_->shrink);
        fields.put(trained_->error);
    }

    // The factors' bytes of these settings.
    static CodeFactors factors_for(const CodecSettings& settings, Metric metric) {
        // Rows of length 1 have scales that are nearly alike; one byte is enough for coarse codes.
        const bool coarse = metric == Metric::kCosine || settings.name == "pq" || settings.bits < 4;
        return {{}, {}, uint8_t(coarse ? 1 : 2), uint8_t(metric == Metric::kL2 ? 2 : 0)};
    }

  private:
    static uint8_t* put(uint8_t* code, const SmallFloat& small, size_t n_bytes, double value) {
        uint32_t number = n_bytes == 0 ? 0 : code_of(small, n_bytes, value);
        for (size_t i = 0; i < n_bytes; ++i, number >>= 8) *code++ = uint8_t(number);
        return code;
    }

    // |r|^2 / <r, y>; a code that points away from its row (one from another sort of rows) gets the
    // largest there is.
    static double scale(double squared, const Quantiser::Products& products) {
        if (squared == 0) return 0;
        return products.with_row > 0 ? squared / products.with_row : double(kInfinity);
    }

    const CodecSettings settings_;
    const std::shared_ptr<const Trained> trained_;
};

std::shared_ptr<const Codec> Compact::train(const float* sample, size_t n, size_t threads,
                                            Watch* watch) const {
    if (n < kTrainSize) {
        throw InvalidArgument("sample: expected at least " + std::to_string(kTrainSize) +
                              " rows for codec '" + settings_.name + "', got " + std::to_string(n));
    }
    auto made = std::make_shared<Trained>();
    std::vector<float> rows(sample, sample + n * dim_);
    std::vector<double> sums(dim_);
    for (size_t i = 0; i < n; ++i) {
        float* const row = rows.data() + i * dim_;
        if (metric_ == Metric::kCosine) {
            double squares = 0;
            for (size_t j = 0; j < dim_; ++j) squares += double(row[j]) * double(row[j]);
            const float to_one = float(inverse_norm(squares, "sample", i));
            for (size_t j = 0; j < dim_; ++j) row[j] *= to_one;
        }
        for (size_t j = 0; j < dim_; ++j) sums[j] += double(row[j]);
        if (watch != nullptr && i % 1024 == 0) watch->advance(0);
    }
    made->mean.resize(dim_);
    // Codebooks that were learned elsewhere are for rows as they are.
    for (size_t j = 0; settings_.given == nullptr && j < dim_; ++j) {
        made->mean[j] = float(sums[j] / double(n));
    }
    for (size_t i = 0; i < n; ++i) {
        for (size_t j = 0; j < dim_; ++j) rows[i * dim_ + j] -= made->mean[j];
    }
    made->parts = parts_of(settings_, rows, n, dim_, threads, watch);
    made->factors = factors_for(settings_, metric_);

    const size_t n_encoded = std::min(n, kFactorSample), z_dim = made->parts.quantiser->dim();
    std::vector<double> scales(n_encoded), norms(n_encoded), cosines(n_encoded), off(n_encoded);
    constexpr size_t kAtOnce = 64;
    parallel_for((n_encoded + kAtOnce - 1) / kAtOnce, threads, watch, [&](size_t task) {
        std::vector<float> z(z_dim);
        std::vector<uint8_t> payload(made->parts.quantiser->payload_bytes());
        for (size_t i = task * kAtOnce; i < std::min(n_encoded, (task + 1) * kAtOnce); ++i) {
            const float* const row = rows.data() + i * dim_;
            for (size_t j = 0; j < dim_; ++j) norms[i] += double(row[j]) * double(row[j]);
            made->parts.transform.apply(row, 1, z.data());
            const auto p = made->parts.quantiser->encode(z.data(), payload.data());
            if (!(norms[i] > 0 && p.with_row > 0)) continue;
            scales[i] = norms[i] / p.with_row;
            cosines[i] = p.with_row * p.with_row / (norms[i] * p.with_self);
            const double s = scales[i];
            off[i] = (norms[i] - 2 * s * p.with_row + s * s * p.with_self) / norms[i];
        }
        if (watch != nullptr) watch->advance(0);
    });
    made->factors.scale = fit_small(scales, made->factors.scale_bytes);
    if (made->factors.norm_bytes != 0) {
        made->factors.norm = fit_small(norms, made->factors.norm_bytes);
    }
    double sum = 0, sum_off = 0;
    size_t n_real = 0;
    for (size_t i = 0; i < n_encoded; ++i) {
        sum += cosines[i];
        sum_off += std::max(0.0, off[i]);
        n_real += cosines[i] > 0;
    }
    made->shrink = n_real == 0 ? 1.0f : float(sum / double(n_real));
    const double longest = std::sqrt(*std::max_element(norms.begin(), norms.end()));
    made->error = n_real == 0 ? kInfinity : float(std::sqrt(sum_off / double(n_real)) * longest);
    return std::make_shared<Compact>(settings_, dim_, metric_, std::move(made));
}

// Codebooks that were learned elsewhere, and their bytes.
std::pair<CompactParts, std::shared_ptr<const std::string>> read_given(Cursor& fields) {
    Cursor start = fields;
    CompactParts parts = read_pq_parts(fields);
    const auto bytes = start.read_bytes(start.remaining() - fields.remaining());
    return {std::move(parts), std::make_shared<const std::string>(
                                  reinterpret_cast<const char*>(bytes.data()), bytes.size())};
}

}  // namespace

std::shared_ptr<const Codec> make_compact(const CodecSettings& settings, size_t dim,
                                          Metric metric) {
    const bool any = settings.name == "rabitq";
    const uint32_t bits = settings.bits;
    if (settings.name == "pq" && (settings.m < 1 || settings.m > dim)) {
        throw InvalidArgument("codec: expected pq with m from 1 to " + std::to_string(dim) +
                              " for as many dimensions, got m = " + std::to_string(settings.m));
    }
    if (settings.rotated && dim > kMostRotated) {
        throw InvalidArgument("codec: expected rotation None beyond " +
                              std::to_string(kMostRotated) + " dimensions, got 'opq' for " +
                              std::to_string(dim));
    }
    if (settings.given != nullptr) {
        const CompactParts parts = given_parts(*settings.given);
        if (parts.quantiser->payload_bytes() != (size_t(settings.m) * bits + 7) / 8) {
            throw InvalidArgument("codec: expected codebooks of " + std::to_string(settings.m) +
                                  " parts, got others");
        }
        if (parts.transform.in_dim() != dim) {
            throw InvalidArgument("codec: expected codebooks for " + std::to_string(dim) +
                                  " dimensions, got some for " +
                                  std::to_string(parts.transform.in_dim()));
        }
    }
    if (any ? bits < 1 || bits > kMostGridBits : bits != 4 && bits != 8) {
        throw InvalidArgument("bits: expected " + std::string(any ? "1 to 8" : "4 or 8") +
                              " for codec '" + settings.name + "', got " + std::to_string(bits));
    }
    return std::make_shared<Compact>(settings, dim, metric, nullptr);
}

std::shared_ptr<const Codec> read_compact(const std::string& name, size_t dim, Metric metric,
                                          Cursor& fields) {
    CodecSettings settings = {.name = name};
    settings.bits = fields.read<uint32_t>();
    settings.m = fields.read<uint32_t>();
    const auto kind = fields.read<uint8_t>();
    if (kind > (name == "pq" ? kGiven : 1)) {
        fields.refuse("expected a kind of rotation, got " + std::to_string(kind));
    }
    settings.rotated = kind == 1;
    settings.seed = fields.read<uint64_t>();
    const auto untrained = make_compact(settings, dim, metric);  // checks what was read so far
    const auto trained = fields.read<uint8_t>();
    if (trained > 1) fields.refuse("expected 0 or 1, got " + std::to_string(trained));
    if (trained == 0 && kind == kGiven) {
        settings.given = read_given(fields).second;
        return make_compact(settings, dim, metric);
    }
    if (trained == 0) return untrained;
    auto made = std::make_shared<Trained>();
    for (size_t j = 0; j < dim; ++j) {
        made->mean.push_back(fields.read<float>());
        if (!std::isfinite(made->mean[j])) fields.refuse("expected finite numbers of a mean");
    }
    if (kind == kGiven) {
        std::tie(made->parts, settings.given) = read_given(fields);
    } else if (name == "pq") {
        made->parts = read_pq_parts(fields);
    } else {
        made->parts.transform = Transform::read(fields);
        made->parts.quantiser = read_grid(fields);
    }
    if (made->parts.transform.in_dim() != dim ||
        made->parts.transform.out_dim() != made->parts.quantiser->dim()) {
        fields.refuse("expected a transform and a grid of " + std::to_string(dim) + " dimensions");
    }
    made->factors = Compact::factors_for(settings, metric);
    made->factors.scale = read_small(fields, made->factors.scale_bytes);
    made->factors.norm = read_small(fields, made->factors.norm_bytes);
    made->shrink = fields.read<float>();
    if (!(made->shrink > 0 && made->shrink <= 1)) {
        fields.refuse("expected a share from 0 to 1, got " + std::to_string(made->shrink));
    }
    made->error = fields.read<float>();
    if (!(made->error >= 0)) {
        fields.refuse("expected an error from 0 up, got " + std::to_string(made->error));
    }
    return std::make_shared<Compact>(settings, dim, metric, std::move(made));
}

}  // namespace nearbit
