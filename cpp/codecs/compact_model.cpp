#include "codecs/compact_model.h"

#include <algorithm>
#include <cmath>

#include "codecs/dense.h"

namespace nearbit {
namespace {

// Of inner products a row that is shorter counts as one of zeros: floats have no direction of it.
constexpr double kLeastSquared = 1e-60;

// About how many bits a dimension has.
double bits_per_number(const CodecSettings& settings, size_t dim) {
    if (settings.name == "pcasq") return double(settings.bits) / double(dim);
    return settings.name == "rabitq" || settings.name == "sq" ? settings.bits : 1;
}

}  // namespace

CompactModel::CompactModel(const CodecSettings& settings, size_t dim, Metric metric_)
    : metric(metric_) {
    // Codebooks that were learned elsewhere are for rows as they are.
    const bool given = settings.given != nullptr;
    const bool ip = metric == Metric::kIp;
    random = settings.name == "rabitq";
    unit_rows = metric == Metric::kCosine || (ip && !random && !given);
    centred = settings.name != "sign" && !given && (!ip || random);
    unbiased = metric == Metric::kL2 && random;
    // Rows of length 1 have scales that are nearly alike; one byte is enough for coarse codes, but
    // an unbiased product shows sooner what a scale is off.
    const double bits = bits_per_number(settings, dim);
    const bool coarse = metric == Metric::kCosine || bits < (unbiased ? 2 : 4);
    factors = {{}, {}, uint8_t(coarse ? 1 : 2), uint8_t(metric == Metric::kL2 ? 2 : 0)};
}

void CompactModel::measure_mean() {
    turned_mean.resize(parts.quantiser->dim());
    parts.transform.apply(mean.data(), 1, turned_mean.data());
    kernels().dense.squared_norms(mean.data(), 1, mean.size(), &mean_squared);
}

void CompactModel::transform(const float* rows, size_t n, bool to_unit, bool minus_mean,
                             const char* argument, size_t first_row, float* scratch, float* out,
                             CompactRow* about) const {
    const size_t dim = mean.size();
    const EncodeKernels& k = kernels().encode;
    for (size_t i = 0; i < n; ++i) {
        float* const row = scratch + i * dim;
        double squared = 0;
        copy_checked(rows + i * dim, 1, dim, row, &squared, argument, first_row + i);
        const float scale = to_unit ? to_length_1(squared, metric, argument, first_row + i) : 1;
        const double whole = squared * double(scale) * double(scale);
        about[i] = {whole, whole, std::sqrt(squared), 0};
        if (minus_mean) {
            about[i].squared = k.centre(row, scale, mean.data(), dim);
            continue;
        }
        for (size_t j = 0; to_unit && j < dim; ++j) row[j] *= scale;
        about[i].with_mean = k.dot(row, mean.data(), dim);
    }
    parts.transform.apply(scratch, n, out);
}

double CompactModel::length_in_scale(const CompactRow& row) const {
    return metric == Metric::kIp && unit_rows ? row.length : 1;
}

double CompactModel::scale_for(const CompactRow& row, const float* r, const float* y) const {
    const auto with_y = [&](const float* x) {
        return kernels().encode.dot(y, x, turned_mean.size());
    };
    if (row.squared == 0) return 0;
    if (unbiased) {
        // Not above 0 only where a row is so short that the transform leaves nothing of it.
        const double with_row = with_y(r);
        return with_row > 0 ? row.squared / with_row : 0;
    }
    const double with_self = with_y(y);
    if (with_self == 0) return 0;
    if (metric == Metric::kL2) return std::sqrt(row.squared / with_self);
    // |c + s y| = |x|
    const double length = std::sqrt(with_self);
    const double t = with_y(turned_mean.data()) / length;
    const double root = std::sqrt(std::max(0.0, t * t + row.whole - mean_squared));
    const double scale = std::max(0.0, root - t) / length;
    return double(unbias) * scale * length_in_scale(row);
}

float to_length_1(double squared, Metric metric, const char* argument, size_t row) {
    if (metric == Metric::kIp && squared < kLeastSquared) return 0;
    return float(inverse_norm(squared, argument, row));
}

}  // namespace nearbit
