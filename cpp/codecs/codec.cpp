#include "codecs/codec.h"

#include "base/error.h"
#include "codecs/bits.h"
#include "codecs/compact.h"
#include "codecs/dense.h"
#include "codecs/half.h"
#include "codecs/ints.h"

namespace nearbit {
namespace {

constexpr Metric kMetrics[] = {Metric::kL2, Metric::kIp, Metric::kCosine, Metric::kHamming,
                               Metric::kJaccard};

Metric metric_named(const std::string& name) {
    for (const Metric metric : kMetrics) {
        if (name == metric_name(metric)) return metric;
    }
    throw InvalidArgument("metric: expected l2, ip, cosine, hamming or jaccard, got '" + name +
                          "'");
}

void check_dim(size_t dim, size_t most, const char* of) {
    if (dim >= 1 && dim <= most) return;
    throw InvalidArgument("dim: expected 1 to " + std::to_string(most) + " " + of + ", got " +
                          std::to_string(dim));
}

bool is_compact(const std::string& name) {
    return name == "itq" || name == "rabitq" || name == "sq" || name == "pcasq" || name == "pq";
}

[[noreturn]] void refuse(Metric metric, const char* expected, const std::string& codec) {
    throw InvalidArgument(std::string("metric: expected ") + expected + " for codec '" + codec +
                          "', got '" + metric_name(metric) + "'");
}

}  // namespace

const char* metric_name(Metric metric) {
    switch (metric) {
        case Metric::kL2:
            return "l2";
        case Metric::kIp:
            return "ip";
        case Metric::kCosine:
            return "cosine";
        case Metric::kHamming:
            return "hamming";
        case Metric::kJaccard:
            return "jaccard";
    }
    return "";
}

std::unique_ptr<Scorer> Codec::prepare_stored(const std::byte* code) const {
    Memory row(output_bytes());
    decode(code, 1, row.data());
    return prepare(row.data(), 1, "vectors", 0);
}

std::shared_ptr<const Codec> Codec::train(std::vector<float>, size_t, Watch*) const {
    throw InvalidArgument(std::string("codec: expected one that is to be trained, got '") + name() +
                          "'");
}

std::shared_ptr<const Codec> make_codec(const CodecSettings& settings, size_t dim,
                                        const std::string& metric_text) {
    const std::string& name = settings.name;
    const Metric metric = metric_named(metric_text);
    const bool of_bits = metric == Metric::kHamming || metric == Metric::kJaccard;
    if (name == "float32" || name == "float16" || name == "int8" || name == "uint8") {
        check_dim(dim, kMaxDim, "dimensions");
        if (of_bits) refuse(metric, "'l2', 'ip' or 'cosine'", name);
        if (name == "float32") return make_float32(dim, metric);
        if (name == "float16") return make_float16(dim, metric);
        return make_ints(name == "int8" ? InputType::kInt8 : InputType::kUint8, dim, metric);
    }
    if (name == "bits") {
        if (!of_bits) refuse(metric, "'hamming' or 'jaccard'", name);
        check_dim(dim, kMaxBits, "bits");
        if (dim % 8 != 0) {
            throw InvalidArgument("dim: expected a multiple of 8 bits for codec 'bits', got " +
                                  std::to_string(dim));
        }
        return make_bits(dim, metric);
    }
    if (name == "sign") {
        check_dim(dim, kMaxDim, "dimensions");
        if (metric == Metric::kHamming) return make_sign(dim);
        if (of_bits) refuse(metric, "'hamming', 'l2', 'ip' or 'cosine'", name);
        return make_compact(settings, dim, metric);
    }
    if (is_compact(name)) {
        check_dim(dim, kMaxDim, "dimensions");
        if (of_bits) refuse(metric, "'l2', 'ip' or 'cosine'", name);
        return make_compact(settings, dim, metric);
    }
    throw InvalidArgument(
        "codec: expected float32, float16, int8, uint8, bits, sign, itq, rabitq, sq, pcasq or pq, "
        "got '" +
        name + "'");
}

std::shared_ptr<const Codec> read_codec(const std::string& name, size_t dim,
                                        const std::string& metric, Cursor& fields) {
    if (!is_compact(name) && !(name == "sign" && metric != "hamming")) {
        return make_codec(name, dim, metric);
    }
    return read_compact(name, dim, metric, fields);
}

}  // namespace nearbit
