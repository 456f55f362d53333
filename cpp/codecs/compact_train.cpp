#include "codecs/compact_train.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "base/error.h"
#include "base/threads.h"
#include "codecs/learn.h"

namespace nearbit {
namespace {

constexpr size_t kFactorSample = 8192;  // rows that are encoded to learn how factors are spread

// How far estimates are off, from what codes make of <r, r> as a share of it, and |s y|^2 as one.
void learn_spread(CompactModel& model, const std::vector<double>& kept,
                  const std::vector<double>& self, const std::vector<CompactRow>& about) {
    double sum = 0, n = 0, longest = 0, squares = 0;
    for (size_t i = 0; i < kept.size(); ++i) {
        if (!(self[i] > 0)) continue;
        sum += kept[i];
        ++n;
        longest = std::max(longest, std::sqrt(about[i].squared) * model.length_in_scale(about[i]));
    }
    if (n == 0 || !(sum > 0)) {
        model.error = kInfinity;
        return;
    }
    if (model.metric != Metric::kL2) {
        model.unbias = std::clamp(float(n / sum), kLeastUnbias, kMostUnbias);
    }
    const double unbias = double(model.unbias);
    for (size_t i = 0; i < kept.size(); ++i) {
        if (!(self[i] > 0)) continue;
        squares += std::max(0.0, 1 - 2 * unbias * kept[i] + unbias * unbias * self[i]);
    }
    const double across = std::sqrt(std::max<double>(1, double(model.mean.size()) - 1));
    // Bias, where there is some, is at most this share of the product: a third, since errors count
    // three times over.
    const double bias = std::max(0.0, 1 - unbias * sum / n) / 3;
    // Codes are right to no more digits than floats have.
    model.error = float(longest * std::max(1e-6, std::sqrt(squares / n) / across + bias));
    model.longest = float(longest);
}

}  // namespace

std::shared_ptr<const CompactModel> train_compact(const CodecSettings& settings, size_t dim,
                                                  Metric metric, std::vector<float> rows,
                                                  size_t threads, Watch* watch) {
    const size_t n = rows.size() / dim;
    if (n < kCompactTrainSize) {
        throw InvalidArgument("sample: expected at least " + std::to_string(kCompactTrainSize) +
                              " rows for codec '" + settings.name + "', got " + std::to_string(n));
    }
    auto made = std::make_shared<CompactModel>(settings, dim, metric);
    std::vector<CompactRow> about(n);
    std::vector<double> sums(dim);
    for (size_t i = 0; i < n; ++i) {
        float* const row = rows.data() + i * dim;
        double squares = 0;
        for (size_t j = 0; j < dim; ++j) squares += double(row[j]) * double(row[j]);
        about[i].length = std::sqrt(squares);
        if (made->unit_rows) {
            const float to_one = to_length_1(squares, metric, "sample", i);
            for (size_t j = 0; j < dim; ++j) row[j] *= to_one;
        }
        for (size_t j = 0; j < dim; ++j) {
            about[i].whole += double(row[j]) * double(row[j]);
            sums[j] += double(row[j]);
        }
        if (watch != nullptr && i % 1024 == 0) watch->advance(0);
    }
    made->mean.resize(dim);
    for (size_t j = 0; made->centred && j < dim; ++j) made->mean[j] = float(sums[j] / double(n));
    for (size_t i = 0; i < n; ++i) {
        for (size_t j = 0; j < dim; ++j) {
            float& number = rows[i * dim + j];
            number -= made->mean[j];
            about[i].squared += double(number) * double(number);
        }
    }
    // From all over the sample, which may be in some order of kind.
    const size_t n_encoded = std::min(n, kFactorSample);
    const auto encoded_row = [&](size_t i) { return i * n / n_encoded; };
    for (size_t i = 0; i < n_encoded; ++i) about[i] = about[encoded_row(i)];
    std::vector<float> copied;  // of rows that learn transforms
    for (size_t i = 0; settings.rotated && i < n_encoded; ++i) {
        const auto row = rows.begin() + std::ptrdiff_t(encoded_row(i) * dim);
        copied.insert(copied.end(), row, row + std::ptrdiff_t(dim));
    }
    made->parts = learn(settings, made->payload_at(), rows, dim, threads, watch);
    made->measure_mean();

    const size_t z_dim = made->parts.quantiser->dim();
    // Lengths of rows, what their codes make of <r, r>, and what of it is off.
    std::vector<double> scales(n_encoded), norms(n_encoded), kept(n_encoded), off(n_encoded);
    parallel_for(
        (n_encoded + kTransformedTogether - 1) / kTransformedTogether, threads, watch,
        [&](size_t task) {
            std::vector<float> z(z_dim), y(z_dim);
            std::vector<uint8_t> payload(made->parts.quantiser->payload_bytes());
            const size_t end = std::min(n_encoded, (task + 1) * kTransformedTogether);
            for (size_t i = task * kTransformedTogether; i < end; ++i) {
                const float* const row =
                    settings.rotated ? copied.data() + i * dim : rows.data() + encoded_row(i) * dim;
                made->parts.transform.apply(row, 1, z.data());
                made->parts.quantiser->encode(z.data(), 1, payload.data(), 0, y.data());
                norms[i] = about[i].squared;
                scales[i] = made->scale_for(about[i], z.data(), y.data());
                if (!(scales[i] > 0)) continue;
                const double s = scales[i] / made->length_in_scale(about[i]);
                kept[i] = s * kernels().encode.dot(y.data(), z.data(), z_dim) / norms[i];
                off[i] = s * s * kernels().encode.dot(y.data(), y.data(), z_dim) / norms[i];
            }
            if (watch != nullptr) watch->advance(0);
        });
    learn_spread(*made, kept, off, about);
    for (double& scale : scales) scale *= double(made->unbias);
    made->factors.scale = fit_small(scales, made->factors.scale_bytes);
    if (made->factors.norm_bytes != 0) {
        made->factors.norm = fit_small(norms, made->factors.norm_bytes);
    }
    return made;
}

}  // namespace nearbit
