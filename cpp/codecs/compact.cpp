#include "codecs/compact.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <span>
#include <tuple>
#include <utility>

#include "base/error.h"
#include "base/memory.h"
#include "base/threads.h"
#include "codecs/dense.h"
#include "codecs/drain.h"
#include "codecs/grid.h"
#include "codecs/groups.h"
#include "codecs/learn.h"
#include "codecs/pq.h"
#include "codecs/small_float.h"

namespace nearbit {
namespace {

constexpr size_t kTrainSize = 1024;  // a mean and ranges need no more
// Rows that gain something: of parts of 8 bits 256 for each centroid, of all others so many
// (docs/measurements.md).
constexpr size_t kBytePartsSample = 65536, kSampleSize = 16384;
constexpr size_t kFactorSample = 8192;  // rows that are encoded to learn how factors are spread
constexpr size_t kRowsAtOnce = 64;      // transformed together
constexpr float kLeastUnbias = 0.25f, kMostUnbias = 4;
constexpr uint8_t kGiven = 2;  // in files, where else 1 says that rows are rotated
// Above it sums in float could overflow: then rows are scored without a first pass.
constexpr double kLargestInFloat = 1e37;
// Of inner products a row that is shorter counts as one of zeros: floats have no direction of it.
constexpr double kLeastSquared = 1e-60;

// ------------------------------------------------------------------------------------- scoring

// What is quantised and what becomes of it.
struct Rules {
    bool unit_rows;  // directions, and queries only for cosine
    bool centred;    // less the mean
    bool unbiased;  // products with rows, over random rotations; else code and row are equally long

    // given: by codebooks that were learned elsewhere, for rows as they are.
    Rules(const CodecSettings& settings, Metric metric, bool given) {
        const bool rabitq = settings.name == "rabitq", ip = metric == Metric::kIp;
        unit_rows = metric == Metric::kCosine || (ip && !rabitq && !given);
        centred = settings.name != "sign" && !given && (!ip || rabitq);
        unbiased = metric == Metric::kL2 && rabitq;
    }
};

struct Trained {
    explicit Trained(Rules rules_) : rules(rules_) {}

    Rules rules;
    std::vector<float> mean;  // c: zeros unless rows are centred
    CompactParts parts{Transform::identity(1), nullptr};
    CodeFactors factors;
    std::vector<float> turned_mean;  // by the transform
    double mean_squared = 0;         // |c|^2
    // What takes off the bias of scales that make lengths right, over the sample: 1 for l2, where
    // norms would no longer match.
    float unbias = 1;
    // The standard deviation of <r, z> less its estimate, for a z of length 1: of the longest rows
    // of the sample, and how long those were.
    float error = 0, longest = 0;

    size_t payload_at() const { return size_t(factors.scale_bytes) + factors.norm_bytes; }
    size_t code_bytes() const { return payload_at() + parts.quantiser->payload_bytes(); }
    float scale(const uint8_t* code) const {
        return take_small(code, factors.scale, factors.scale_bytes);
    }
    float norm(const uint8_t* code) const {
        return take_small(code + factors.scale_bytes, factors.norm, factors.norm_bytes);
    }
};

void measure_mean(Trained& trained) {
    trained.turned_mean.resize(trained.parts.quantiser->dim());
    trained.parts.transform.apply(trained.mean.data(), 1, trained.turned_mean.data());
    kernels().dense.squared_norms(trained.mean.data(), 1, trained.mean.size(),
                                  &trained.mean_squared);
}

// A row, or its direction, before it is quantised; a query with no need of lengths.
struct Row {
    double squared;    // |x - c|^2, or |x|^2 where the mean stays
    double whole;      // |x|^2
    double length;     // that the row had
    double with_mean;  // <x, c>, where the mean stays
};

// What makes a row one of length 1.
float to_length_1(double squared, Metric metric, const char* argument, size_t row) {
    if (metric == Metric::kIp && squared < kLeastSquared) return 0;
    return float(inverse_norm(squared, argument, row));
}

// Queries or rows: checked, made of length 1 if asked, less the mean if asked, transformed.
// scratch: as many numbers as there are in the rows.
void transform_rows(const Trained& trained, Metric metric, const float* rows, size_t n,
                    bool to_unit, bool minus_mean, const char* argument, size_t first_row,
                    float* scratch, float* out, Row* about) {
    const size_t dim = trained.mean.size();
    const float* const mean = trained.mean.data();
    const EncodeKernels& k = kernels().encode;
    for (size_t i = 0; i < n; ++i) {
        float* const row = scratch + i * dim;
        double squared = 0;
        copy_checked(rows + i * dim, 1, dim, row, &squared, argument, first_row + i);
        const float scale = to_unit ? to_length_1(squared, metric, argument, first_row + i) : 1;
        const double whole = squared * double(scale) * double(scale);
        about[i] = {whole, whole, std::sqrt(squared), 0};
        if (minus_mean) {
            about[i].squared = k.centre(row, scale, mean, dim);
            continue;
        }
        for (size_t j = 0; to_unit && j < dim; ++j) row[j] *= scale;
        about[i].with_mean = k.dot(row, mean, dim);
    }
    trained.parts.transform.apply(scratch, n, out);
}

// Of an inner product, where directions are coded.
double length_in_scale(const Trained& trained, Metric metric, const Row& row) {
    return metric == Metric::kIp && trained.rules.unit_rows ? row.length : 1;
}

// What a code's values are to be multiplied by. r: the transformed row, y: what its code stands
// for.
double scale_of(const Trained& trained, Metric metric, const Row& row, const float* r,
                const float* y) {
    const auto with_y = [&](const float* x) {
        return kernels().encode.dot(y, x, trained.turned_mean.size());
    };
    if (row.squared == 0) return 0;
    if (trained.rules.unbiased) {
        // Not above 0 only where a row is so short that the transform leaves nothing of it.
        const double with_row = with_y(r);
        return with_row > 0 ? row.squared / with_row : 0;
    }
    const double with_self = with_y(y);
    if (with_self == 0) return 0;
    if (metric == Metric::kL2) return std::sqrt(row.squared / with_self);
    // |c + s y| = |x|
    const double length = std::sqrt(with_self);
    const double t = with_y(trained.turned_mean.data()) / length;
    const double root = std::sqrt(std::max(0.0, t * t + row.whole - trained.mean_squared));
    const double scale = std::max(0.0, root - t) / length;
    return double(trained.unbias) * scale * length_in_scale(trained, metric, row);
}

class CompactScorer final : public Scorer {
  public:
    CompactScorer(std::shared_ptr<const Trained> trained, Metric metric, bool random,
                  const float* queries, size_t n, const char* argument, size_t first_row)
        : trained_(std::move(trained)), metric_(metric), n_(n), terms_(n), errors_(n) {
        std::vector<float> scratch(n * trained_->mean.size());
        std::vector<float> z(n * trained_->parts.quantiser->dim());
        std::vector<Row> about(n);
        const bool l2 = metric == Metric::kL2, cosine = metric == Metric::kCosine;
        transform_rows(*trained_, metric, queries, n, cosine, l2, argument, first_row,
                       scratch.data(), z.data(), about.data());
        for (size_t q = 0; q < n; ++q) {
            terms_[q] = l2 ? about[q].squared : (cosine ? 1 : 0) - about[q].with_mean;
            const double length = (l2 ? 2 : 1) * std::sqrt(about[q].squared);
            errors_[q] = {length > 0 ? length * double(trained_->error) : 0, random};
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
        Drain<CompactScorer, float> drain(*this, block, collectors, n_ > 1);
        drain.bounds = reinterpret_cast<float*>(scratch.data());
        for (size_t q = 0; q < n_; ++q) drain.bounds[q] = bound(q, collectors[q]->threshold());
        const CodesBlock codes = {reinterpret_cast<const uint8_t*>(block.codes),
                                  trained_->code_bytes(),
                                  trained_->factors,
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
        queries_->values(query, codes, trained_->payload_at(), n, out);
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
        const size_t code_bytes = trained_->code_bytes();
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

// How far estimates are off, from what codes make of <r, r> as a share of it, and |s y|^2 as one.
void learn_spread(Trained& trained, Metric metric, const std::vector<double>& kept,
                  const std::vector<double>& self, const std::vector<Row>& about) {
    double sum = 0, n = 0, longest = 0, squares = 0;
    for (size_t i = 0; i < kept.size(); ++i) {
        if (!(self[i] > 0)) continue;
        sum += kept[i];
        ++n;
        longest = std::max(
            longest, std::sqrt(about[i].squared) * length_in_scale(trained, metric, about[i]));
    }
    if (n == 0 || !(sum > 0)) {
        trained.error = kInfinity;
        return;
    }
    if (metric != Metric::kL2) {
        trained.unbias = std::clamp(float(n / sum), kLeastUnbias, kMostUnbias);
    }
    const double unbias = double(trained.unbias);
    for (size_t i = 0; i < kept.size(); ++i) {
        if (!(self[i] > 0)) continue;
        squares += std::max(0.0, 1 - 2 * unbias * kept[i] + unbias * unbias * self[i]);
    }
    const double across = std::sqrt(std::max<double>(1, double(trained.mean.size()) - 1));
    // Bias, where there is some, is at most this share of the product: a third, since errors count
    // three times over.
    const double bias = std::max(0.0, 1 - unbias * sum / n) / 3;
    // Codes are right to no more digits than floats have.
    trained.error = float(longest * std::max(1e-6, std::sqrt(squares / n) / across + bias));
    trained.longest = float(longest);
}

// --------------------------------------------------------------------------------------- codec

// About how many bits a dimension has.
double bits_per_number(const CodecSettings& settings, size_t dim) {
    if (settings.name == "pcasq") return double(settings.bits) / double(dim);
    return settings.name == "rabitq" || settings.name == "sq" ? settings.bits : 1;
}

class Compact final : public Codec {
  public:
    Compact(CodecSettings settings, size_t dim, Metric metric,
            std::shared_ptr<const Trained> trained)
        : Codec(dim, metric), settings_(std::move(settings)), trained_(std::move(trained)) {}

    const char* name() const override { return settings_.name.c_str(); }
    InputType input() const override { return InputType::kFloat32; }
    InputType output() const override { return InputType::kFloat32; }
    size_t code_bytes() const override { return trained_->code_bytes(); }
    // Of a grid whole numbers and tables of bytes; of parts a table of whole numbers each, and one
    // of bytes.
    size_t query_bytes() const override {
        return 8 * dim_ + size_t(settings_.m) * (size_t(5) << settings_.bits);
    }
    bool has_factors() const override { return false; }
    bool grouped() const override { return true; }
    bool refines() const override { return true; }
    bool trained() const override { return trained_ != nullptr; }
    size_t train_size() const override { return kTrainSize; }
    size_t sample_size() const override {
        const bool byte_parts = settings_.name == "pq" && settings_.bits == 8;
        return byte_parts && settings_.given == nullptr ? kBytePartsSample : kSampleSize;
    }
    CodecSettings settings() const override { return settings_; }

    std::shared_ptr<const Codec> train(std::vector<float> sample, size_t threads,
                                       Watch* watch) const override;

    float encode(const std::byte* rows, size_t n, std::byte* codes, float*, const char* argument,
                 size_t first_row) const override {
        const size_t bytes = code_bytes(), z_dim = trained_->parts.quantiser->dim();
        const CodeFactors& f = trained_->factors;
        const size_t at_once = std::min(n, kRowsAtOnce);
        const Memory room(at_once * (dim_ + 2 * z_dim) * sizeof(float));
        float* const scratch = reinterpret_cast<float*>(room.data());
        float* const z = scratch + at_once * dim_;
        float* const y = z + at_once * z_dim;
        Row about[kRowsAtOnce];
        double most = 0;
        for (size_t begin = 0; begin < n; begin += kRowsAtOnce) {
            const size_t m = std::min(kRowsAtOnce, n - begin);
            transform_rows(*trained_, metric_, reinterpret_cast<const float*>(rows) + begin * dim_,
                           m, trained_->rules.unit_rows, true, argument, first_row + begin, scratch,
                           z, about);
            auto* code = reinterpret_cast<uint8_t*>(codes + begin * bytes);
            trained_->parts.quantiser->encode(z, m, code + trained_->payload_at(), bytes, y);
            for (size_t i = 0; i < m; ++i) {
                const double scale =
                    scale_of(*trained_, metric_, about[i], z + i * z_dim, y + i * z_dim);
                most = std::max(most, stretch(about[i], scale));
                code = put_small(code, f.scale, f.scale_bytes, scale);
                code = put_small(code, f.norm, f.norm_bytes, about[i].squared);
                code += trained_->parts.quantiser->payload_bytes();
            }
        }
        return float(std::min(most, double(std::numeric_limits<float>::max())));
    }

    bool beyond_sample(const std::byte* code) const override {
        const CodeFactors& f = trained_->factors;
        const auto* const bytes = reinterpret_cast<const uint8_t*>(code);
        static_assert(kMostFactorBytes == 4);  // of a scale and a norm
        return is_most_small(bytes, f.scale_bytes) ||
               is_most_small(bytes + f.scale_bytes, f.norm_bytes);
    }

    void decode(const std::byte* codes, size_t n, std::byte* rows) const override {
        std::vector<float> y(trained_->parts.quantiser->dim());
        for (size_t i = 0; i < n; ++i) {
            const auto* const code = reinterpret_cast<const uint8_t*>(codes) + i * code_bytes();
            auto* const row = reinterpret_cast<float*>(rows) + i * dim_;
            trained_->parts.quantiser->decode(code + trained_->payload_at(), y.data());
            trained_->parts.transform.undo(y.data(), 1, row);
            float scale = trained_->scale(code) / trained_->unbias;
            if (trained_->rules.unbiased) {  // too long on purpose; the length itself is there
                double squared = 0;
                for (const float number : y) squared += double(number) * double(number);
                scale = float(std::sqrt(double(trained_->norm(code)) / squared));
            }
            for (size_t j = 0; j < dim_; ++j) row[j] = trained_->mean[j] + scale * row[j];
        }
    }

    std::unique_ptr<Scorer> prepare(const std::byte* queries, size_t n, const char* argument,
                                    size_t first_row) const override {
        return std::make_unique<CompactScorer>(trained_, metric_, settings_.name == "rabitq",
                                               reinterpret_cast<const float*>(queries), n, argument,
                                               first_row);
    }

    std::shared_ptr<const Codec> single() const override {
        if (trained_ == nullptr) return nullptr;
        auto quantiser = trained_->parts.quantiser->single();
        if (quantiser == nullptr) return nullptr;
        auto made = std::make_shared<Trained>(trained_->rules);
        made->mean = trained_->mean;
        made->parts = {trained_->parts.transform, std::move(quantiser)};
        made->factors = trained_->factors;
        made->unbias = trained_->unbias;
        made->error = trained_->error;
        made->longest = trained_->longest;
        measure_mean(*made);
        return std::make_shared<Compact>(settings_, dim_, metric_, std::move(made));
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
        fields.put(trained_->unbias);
        fields.put(trained_->error);
        fields.put(trained_->longest);
    }

    // The factors' bytes of these settings.
    static CodeFactors factors_for(const CodecSettings& settings, size_t dim, Metric metric) {
        // Rows of length 1 have scales that are nearly alike; one byte is enough for coarse codes,
        // but an unbiased product shows sooner what a scale is off.
        const double bits = bits_per_number(settings, dim);
        const bool unbiased = Rules(settings, metric, false).unbiased;
        const bool coarse = metric == Metric::kCosine || bits < (unbiased ? 2 : 4);
        return {{}, {}, uint8_t(coarse ? 1 : 2), uint8_t(metric == Metric::kL2 ? 2 : 0)};
    }

  private:
    // Of an estimate: the error goes with the row's length, and where the scale that a row wants is
    // larger than all that there are, what is missing counts as bias does in learn_spread.
    double stretch(const Row& row, double scale) const {
        if (!(trained_->longest > 0)) return 0;  // nothing is known, and the error infinite
        const double longest = trained_->longest;
        const double length = std::sqrt(row.squared) * length_in_scale(*trained_, metric_, row);
        const CodeFactors& f = trained_->factors;
        const double most = most_value(f.scale, f.scale_bytes);
        const double missing = scale > most ? 1 - most / scale : 0;
        const double share = double(trained_->error) / longest;
        return length / longest * (missing > 0 ? 1 + missing / (3 * share) : 1);
    }

    const CodecSettings settings_;
    const std::shared_ptr<const Trained> trained_;
};

std::shared_ptr<const Codec> Compact::train(std::vector<float> rows, size_t threads,
                                            Watch* watch) const {
    const size_t n = rows.size() / dim_;
    if (n < kTrainSize) {
        throw InvalidArgument("sample: expected at least " + std::to_string(kTrainSize) +
                              " rows for codec '" + settings_.name + "', got " + std::to_string(n));
    }
    const Rules rules(settings_, metric_, settings_.given != nullptr);
    auto made = std::make_shared<Trained>(rules);
    std::vector<Row> about(n);
    std::vector<double> sums(dim_);
    for (size_t i = 0; i < n; ++i) {
        float* const row = rows.data() + i * dim_;
        double squares = 0;
        for (size_t j = 0; j < dim_; ++j) squares += double(row[j]) * double(row[j]);
        about[i].length = std::sqrt(squares);
        if (rules.unit_rows) {
            const float to_one = to_length_1(squares, metric_, "sample", i);
            for (size_t j = 0; j < dim_; ++j) row[j] *= to_one;
        }
        for (size_t j = 0; j < dim_; ++j) {
            about[i].whole += double(row[j]) * double(row[j]);
            sums[j] += double(row[j]);
        }
        if (watch != nullptr && i % 1024 == 0) watch->advance(0);
    }
    made->mean.resize(dim_);
    for (size_t j = 0; rules.centred && j < dim_; ++j) made->mean[j] = float(sums[j] / double(n));
    for (size_t i = 0; i < n; ++i) {
        for (size_t j = 0; j < dim_; ++j) {
            float& number = rows[i * dim_ + j];
            number -= made->mean[j];
            about[i].squared += double(number) * double(number);
        }
    }
    made->factors = factors_for(settings_, dim_, metric_);
    // From all over the sample, which may be in some order of kind.
    const size_t n_encoded = std::min(n, kFactorSample);
    const auto encoded_row = [&](size_t i) { return i * n / n_encoded; };
    for (size_t i = 0; i < n_encoded; ++i) about[i] = about[encoded_row(i)];
    std::vector<float> copied;  // of rows that learn transforms
    for (size_t i = 0; settings_.rotated && i < n_encoded; ++i) {
        const auto row = rows.begin() + std::ptrdiff_t(encoded_row(i) * dim_);
        copied.insert(copied.end(), row, row + std::ptrdiff_t(dim_));
    }
    made->parts = learn(settings_, made->payload_at(), rows, dim_, threads, watch);
    measure_mean(*made);

    const size_t z_dim = made->parts.quantiser->dim();
    // Lengths of rows, what their codes make of <r, r>, and what of it is off.
    std::vector<double> scales(n_encoded), norms(n_encoded), kept(n_encoded), off(n_encoded);
    parallel_for((n_encoded + kRowsAtOnce - 1) / kRowsAtOnce, threads, watch, [&](size_t task) {
        std::vector<float> z(z_dim), y(z_dim);
        std::vector<uint8_t> payload(made->parts.quantiser->payload_bytes());
        const size_t end = std::min(n_encoded, (task + 1) * kRowsAtOnce);
        for (size_t i = task * kRowsAtOnce; i < end; ++i) {
            const float* const row =
                settings_.rotated ? copied.data() + i * dim_ : rows.data() + encoded_row(i) * dim_;
            made->parts.transform.apply(row, 1, z.data());
            made->parts.quantiser->encode(z.data(), 1, payload.data(), 0, y.data());
            norms[i] = about[i].squared;
            scales[i] = scale_of(*made, metric_, about[i], z.data(), y.data());
            if (!(scales[i] > 0)) continue;
            const double s = scales[i] / length_in_scale(*made, metric_, about[i]);
            kept[i] = s * kernels().encode.dot(y.data(), z.data(), z_dim) / norms[i];
            off[i] = s * s * kernels().encode.dot(y.data(), y.data(), z_dim) / norms[i];
        }
        if (watch != nullptr) watch->advance(0);
    });
    learn_spread(*made, metric_, kept, off, about);
    for (double& scale : scales) scale *= double(made->unbias);
    made->factors.scale = fit_small(scales, made->factors.scale_bytes);
    if (made->factors.norm_bytes != 0) {
        made->factors.norm = fit_small(norms, made->factors.norm_bytes);
    }
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
    const std::string& name = settings.name;
    const uint32_t bits = settings.bits;
    const auto refuse = [&](const char* what, size_t least, size_t most, size_t got) {
        throw InvalidArgument("codec: expected " + std::string(what) + " from " +
                              std::to_string(least) + " to " + std::to_string(most) + " for '" +
                              name + "', metric '" + metric_name(metric) + "' and " +
                              std::to_string(dim) + " dimensions, got " + std::to_string(got));
    };
    if (name == "pq" && (settings.m < 1 || settings.m > dim)) refuse("m", 1, dim, settings.m);
    if (name == "rabitq" && (bits < 1 || bits > kMostGridBits)) {
        refuse("bits", 1, kMostGridBits, bits);
    }
    if ((name == "pq" || name == "sq") && bits != 4 && bits != 8) {
        throw InvalidArgument("codec: expected 4 or 8 bits for '" + name + "', got " +
                              std::to_string(bits));
    }
    const bool components = name == "pcasq" || name == "itq" || settings.rotated;
    if (components && dim > kMostRotated) {
        throw InvalidArgument("codec: expected one without principal components beyond " +
                              std::to_string(kMostRotated) + " dimensions, got '" + name +
                              "' for " + std::to_string(dim));
    }
    if (name == "itq" && (bits < 1 || bits > dim)) refuse("nbits", 1, dim, bits);
    if (name == "pcasq") {
        const CodeFactors factors = Compact::factors_for(settings, dim, metric);
        const size_t own = size_t(factors.scale_bytes) + factors.norm_bytes, got = bits / 8;
        if (got <= own || got > own + dim) refuse("n_bytes", own + 1, own + dim, got);
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
    return std::make_shared<Compact>(settings, dim, metric, nullptr);
}

std::shared_ptr<const Codec> read_compact(const std::string& name, size_t dim,
                                          const std::string& metric_text, Cursor& fields) {
    CodecSettings settings = {.name = name};
    settings.bits = fields.read<uint32_t>();
    settings.m = fields.read<uint32_t>();
    const auto kind = fields.read<uint8_t>();
    if (kind > (name == "pq" ? kGiven : 0)) {
        fields.refuse("expected a kind of rotation, got " + std::to_string(kind));
    }
    settings.rotated = kind == 1;
    settings.seed = fields.read<uint64_t>();
    const auto untrained = make_codec(settings, dim, metric_text);  // checks it all
    const Metric metric = untrained->metric();
    const auto trained = fields.read<uint8_t>();
    if (trained > 1) fields.refuse("expected 0 or 1, got " + std::to_string(trained));
    if (trained == 0 && kind == kGiven) {
        settings.given = read_given(fields).second;
        return make_compact(settings, dim, metric);
    }
    if (trained == 0) return untrained;
    auto made = std::make_shared<Trained>(Rules(settings, metric, kind == kGiven));
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
        fields.refuse("expected a transform and a quantiser of " + std::to_string(dim) +
                      " dimensions");
    }
    measure_mean(*made);
    made->factors = Compact::factors_for(settings, dim, metric);
    made->factors.scale = read_small(fields, made->factors.scale_bytes);
    made->factors.norm = read_small(fields, made->factors.norm_bytes);
    made->unbias = fields.read<float>();
    if (!(made->unbias >= kLeastUnbias && made->unbias <= kMostUnbias)) {
        fields.refuse("expected a correction of bias, got " + std::to_string(made->unbias));
    }
    made->error = fields.read<float>();
    if (!(made->error >= 0)) {
        fields.refuse("expected an error from 0 up, got " + std::to_string(made->error));
    }
    made->longest = fields.read<float>();
    if (!(made->longest >= 0 && made->longest < kInfinity)) {
        fields.refuse("expected a length, got " + std::to_string(made->longest));
    }
    return std::make_shared<Compact>(settings, dim, metric, std::move(made));
}

}  // namespace nearbit
