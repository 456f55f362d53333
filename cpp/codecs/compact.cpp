#include "codecs/compact.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <tuple>
#include <utility>

#include "base/error.h"
#include "base/memory.h"
#include "codecs/compact_model.h"
#include "codecs/compact_scorer.h"
#include "codecs/compact_train.h"
#include "codecs/grid.h"
#include "codecs/learn.h"
#include "codecs/small_float.h"

namespace nearbit {
namespace {

// Rows that gain something: of parts of 8 bits 256 for each centroid, of all others so many
// (docs/measurements.md).
constexpr size_t kBytePartsSample = 65536, kSampleSize = 16384;
constexpr uint8_t kGiven = 2;  // in files, where else 1 says that rows are rotated

class Compact final : public Codec {
  public:
    Compact(CodecSettings settings, size_t dim, Metric metric,
            std::shared_ptr<const CompactModel> model)
        : Codec(dim, metric), settings_(std::move(settings)), model_(std::move(model)) {}

    const char* name() const override { return settings_.name.c_str(); }
    InputType input() const override { return InputType::kFloat32; }
    InputType output() const override { return InputType::kFloat32; }
    size_t code_bytes() const override { return model_->code_bytes(); }
    // Of a grid whole numbers and tables of bytes; of parts a table of whole numbers each, and one
    // of bytes.
    size_t query_bytes() const override {
        return 8 * dim_ + size_t(settings_.m) * (size_t(5) << settings_.bits);
    }
    bool has_factors() const override { return false; }
    bool grouped() const override { return true; }
    bool refines() const override { return true; }
    bool trained() const override { return model_ != nullptr; }
    size_t train_size() const override { return kCompactTrainSize; }
    size_t sample_size() const override {
        const bool byte_parts = settings_.name == "pq" && settings_.bits == 8;
        return byte_parts && settings_.given == nullptr ? kBytePartsSample : kSampleSize;
    }
    CodecSettings settings() const override { return settings_; }

    std::shared_ptr<const Codec> train(std::vector<float> sample, size_t threads,
                                       Watch* watch) const override {
        auto model = train_compact(settings_, dim_, metric_, std::move(sample), threads, watch);
        return std::make_shared<Compact>(settings_, dim_, metric_, std::move(model));
    }

    float encode(const std::byte* rows, size_t n, std::byte* codes, float*, const char* argument,
                 size_t first_row) const override {
        const size_t bytes = code_bytes(), z_dim = model_->parts.quantiser->dim();
        const CodeFactors& f = model_->factors;
        const size_t at_once = std::min(n, kTransformedTogether);
        const Memory room(at_once * (dim_ + 2 * z_dim) * sizeof(float));
        float* const scratch = reinterpret_cast<float*>(room.data());
        float* const z = scratch + at_once * dim_;
        float* const y = z + at_once * z_dim;
        CompactRow about[kTransformedTogether];
        double most = 0;
        for (size_t begin = 0; begin < n; begin += kTransformedTogether) {
            const size_t m = std::min(kTransformedTogether, n - begin);
            model_->transform(reinterpret_cast<const float*>(rows) + begin * dim_, m,
                              model_->unit_rows, true, argument, first_row + begin, scratch, z,
                              about);
            auto* code = reinterpret_cast<uint8_t*>(codes + begin * bytes);
            model_->parts.quantiser->encode(z, m, code + model_->payload_at(), bytes, y);
            for (size_t i = 0; i < m; ++i) {
                const double scale = model_->scale_for(about[i], z + i * z_dim, y + i * z_dim);
                most = std::max(most, stretch(about[i], scale));
                code = put_small(code, f.scale, f.scale_bytes, scale);
                code = put_small(code, f.norm, f.norm_bytes, about[i].squared);
                code += model_->parts.quantiser->payload_bytes();
            }
        }
        return float(std::min(most, double(std::numeric_limits<float>::max())));
    }

    bool beyond_sample(const std::byte* code) const override {
        const CodeFactors& f = model_->factors;
        const auto* const bytes = reinterpret_cast<const uint8_t*>(code);
        static_assert(kMostFactorBytes == 4);  // of a scale and a norm
        return is_most_small(bytes, f.scale_bytes) ||
               is_most_small(bytes + f.scale_bytes, f.norm_bytes);
    }

    void decode(const std::byte* codes, size_t n, std::byte* rows) const override {
        std::vector<float> y(model_->parts.quantiser->dim());
        for (size_t i = 0; i < n; ++i) {
            const auto* const code = reinterpret_cast<const uint8_t*>(codes) + i * code_bytes();
            auto* const row = reinterpret_cast<float*>(rows) + i * dim_;
            model_->parts.quantiser->decode(code + model_->payload_at(), y.data());
            model_->parts.transform.undo(y.data(), 1, row);
            float scale = model_->scale(code) / model_->unbias;
            if (model_->unbiased) {  // too long on purpose; the length itself is there
                double squared = 0;
                for (const float number : y) squared += double(number) * double(number);
                scale = float(std::sqrt(double(model_->norm(code)) / squared));
            }
            for (size_t j = 0; j < dim_; ++j) row[j] = model_->mean[j] + scale * row[j];
        }
    }

    std::unique_ptr<Scorer> prepare(const std::byte* queries, size_t n, const char* argument,
                                    size_t first_row) const override {
        return make_compact_scorer(model_, reinterpret_cast<const float*>(queries), n, argument,
                                   first_row);
    }

    std::shared_ptr<const Codec> single() const override {
        if (model_ == nullptr) return nullptr;
        auto quantiser = model_->parts.quantiser->single();
        if (quantiser == nullptr) return nullptr;
        auto made = std::make_shared<CompactModel>(settings_, dim_, metric_);
        made->mean = model_->mean;
        made->parts = {model_->parts.transform, std::move(quantiser)};
        made->factors = model_->factors;
        made->unbias = model_->unbias;
        made->error = model_->error;
        made->longest = model_->longest;
        made->measure_mean();
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
        for (const float number : model_->mean) fields.put(number);
        model_->parts.transform.write(fields);
        model_->parts.quantiser->write(fields);
        const CodeFactors& f = model_->factors;
        for (const uint32_t number : {f.scale.base, f.scale.step, f.norm.base, f.norm.step}) {
            fields.put(number);
        }
        fields.put(model_->unbias);
        fields.put(model_->error);
        fields.put(model_->longest);
    }

  private:
    // Of an estimate: the error goes with the row's length, and where the scale that a row wants is
    // larger than all that there are, what is missing counts as bias does in training.
    double stretch(const CompactRow& row, double scale) const {
        if (!(model_->longest > 0)) return 0;  // nothing is known, and the error infinite
        const double longest = model_->longest;
        const double length = std::sqrt(row.squared) * model_->length_in_scale(row);
        const CodeFactors& f = model_->factors;
        const double most = most_value(f.scale, f.scale_bytes);
        const double missing = scale > most ? 1 - most / scale : 0;
        const double share = double(model_->error) / longest;
        return length / longest * (missing > 0 ? 1 + missing / (3 * share) : 1);
    }

    const CodecSettings settings_;
    const std::shared_ptr<const CompactModel> model_;
};

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
        const CodeFactors factors = CompactModel(settings, dim, metric).factors;
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
    std::vector<float> mean(dim);
    for (float& number : mean) {
        number = fields.read<float>();
        if (!std::isfinite(number)) fields.refuse("expected finite numbers of a mean");
    }
    CompactParts parts{Transform::identity(1), nullptr};
    if (kind == kGiven) {
        std::tie(parts, settings.given) = read_given(fields);
    } else if (name == "pq") {
        parts = read_pq_parts(fields);
    } else {
        parts = {Transform::read(fields), read_grid(fields)};
    }
    if (parts.transform.in_dim() != dim || parts.transform.out_dim() != parts.quantiser->dim()) {
        fields.refuse("expected a transform and a quantiser of " + std::to_string(dim) +
                      " dimensions");
    }
    auto made = std::make_shared<CompactModel>(settings, dim, metric);
    made->mean = std::move(mean);
    made->parts = std::move(parts);
    made->measure_mean();
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
