#include "codecs/codec.h"

#include "base/error.h"
#include "codecs/bits.h"
#include "codecs/dense.h"

namespace nearbit {
namespace {

constexpr Metric kMetrics[] = {Metric::kL2, Metric::kIp, Metric::kCosine, Metric::kHamming};

Metric metric_named(const std::string& name) {
    for (const Metric metric : kMetrics) {
        if (name == metric_name(metric)) return metric;
    }
    throw InvalidArgument("metric: expected l2, ip, cosine or hamming, got '" + name + "'");
}

void check_dim(size_t dim, size_t most, const char* of) {
    if (dim >= 1 && dim <= most) return;
    throw InvalidArgument("dim: expected 1 to " + std::to_string(most) + " " + of + ", got " +
                          std::to_string(dim));
}

void check_hamming(Metric metric, const std::string& codec) {
    if (metric == Metric::kHamming) return;
    throw InvalidArgument("metric: expected 'hamming' for codec '" + codec + "', got '" +
                          metric_name(metric) + "'");
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
    }
    return "";
}

std::shared_ptr<const Codec> make_codec(const std::string& name, size_t dim,
                                        const std::string& metric_text) {
    const Metric metric = metric_named(metric_text);
    if (name == "float32") {
        check_dim(dim, kMaxDim, "dimensions");
        if (metric == Metric::kHamming) {
            throw InvalidArgument(
                "metric: expected 'l2', 'ip' or 'cosine' for codec 'float32', got "
                "'hamming'");
        }
        return make_float32(dim, metric);
    }
    if (name == "bits") {
        check_hamming(metric, name);
        check_dim(dim, kMaxBits, "bits");
        if (dim % 8 != 0) {
            throw InvalidArgument("dim: expected a multiple of 8 bits for codec 'bits', got " +
                                  std::to_string(dim));
        }
        return make_bits(dim);
    }
    if (name == "sign") {
        check_hamming(metric, name);
        check_dim(dim, kMaxDim, "dimensions");
        return make_sign(dim);
    }
    throw InvalidArgument("codec: expected float32, bits or sign, got '" + name + "'");
}

}  // namespace nearbit
