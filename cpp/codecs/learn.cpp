#include "codecs/learn.h"

#include <algorithm>
#include <cmath>
#include <span>

#include "base/random.h"
#include "base/threads.h"
#include "codecs/grid.h"
#include "codecs/pq.h"
#include "transforms/decompose.h"

namespace nearbit {
namespace {

constexpr size_t kRowsAtOnce = 64;   // transformed together
constexpr size_t kRangeRows = 4096;  // of which a grid's ranges are fitted
constexpr int kRangeRounds = 10;
constexpr size_t kRangesAtOnce = 16;  // dimensions fitted in one task
// Of k-means: 4, 8, 12 and 25 give the same recall (docs/measurements.md).
constexpr size_t kPqIterations = 8;
constexpr size_t kItqRows = 4096;
constexpr int kItqRounds = 20;
constexpr size_t kBlock = 8;  // components that get the same bits: one byte of a plane
// Above 1 it favours what varies most, which ranks better than the least squared error does
// (docs/measurements.md: .4 and .5 are alike).
constexpr double kVariancePower = 1.5;
constexpr float kLeastStep = 1e-30f;  // of a dimension that never changes

// Puts what becomes of each row in its place, where it leaves numbers over if it is shorter.
void transform_in_place(const Transform& transform, std::vector<float>& rows, size_t threads,
                        Watch* watch) {
    const size_t in = transform.in_dim(), out = transform.out_dim(), n = rows.size() / in;
    parallel_for((n + kRowsAtOnce - 1) / kRowsAtOnce, threads, watch, [&](size_t task) {
        const size_t first = task * kRowsAtOnce, here = std::min(kRowsAtOnce, n - first);
        std::vector<float> made(here * out);
        transform.apply(rows.data() + first * in, here, made.data());
        for (size_t i = 0; i < here; ++i) {
            std::copy_n(made.data() + i * out, out, rows.data() + (first + i) * in);
        }
        if (watch != nullptr) watch->advance(0);
    });
}

// Rows of n_columns numbers, those of `chosen`.
std::vector<float> chosen_rows(const std::vector<double>& matrix, size_t n_columns,
                               const std::vector<size_t>& chosen) {
    std::vector<float> made;
    for (const size_t row : chosen) {
        for (size_t j = 0; j < n_columns; ++j) made.push_back(float(matrix[row * n_columns + j]));
    }
    return made;
}

CompactParts learn_pq(const CodecSettings& settings, std::vector<float>& residuals, size_t dim,
                      size_t threads, Watch* watch) {
    const size_t n = residuals.size() / dim;
    const PqSettings asked = {.m = settings.m,
                              .nbits = settings.bits,
                              .iterations = kPqIterations,
                              .seed = settings.seed};
    if (!settings.rotated) {
        return {Transform::identity(dim),
                make_pq(train_pq(residuals.data(), n, dim, asked, threads, watch))};
    }
    // Principal components, put so that the parts of a code have about equal shares ("parametric"
    // OPQ).
    const Pca found = pca(residuals.data(), n, dim, dim, threads, watch);
    const auto order = balanced_components(found.values, even_subspaces(dim, settings.m));
    const Transform transform = Transform::linear(dim, dim, chosen_rows(found.matrix, dim, order));
    transform_in_place(transform, residuals, threads, watch);
    return {transform, make_pq(train_pq(residuals.data(), n, dim, asked, threads, watch))};
}

// For each dimension the middle and step that leave the least squared error, from those that a
// normal distribution would want on.
CompactParts learn_sq(uint32_t bits, const std::vector<float>& residuals, size_t n, size_t dim,
                      size_t threads, Watch* watch) {
    const uint32_t levels = uint32_t(1) << bits;
    std::vector<float> middles(dim), steps(dim);
    // From all over the sample, which may be in some order of kind.
    std::vector<const float*> rows(std::min(n, kRangeRows));
    for (size_t i = 0; i < rows.size(); ++i) rows[i] = residuals.data() + i * n / rows.size() * dim;
    n = rows.size();
    const auto fit = [&](size_t j) {
        double sum = 0, squares = 0;
        for (size_t i = 0; i < n; ++i) sum += double(rows[i][j]);
        const double mean = sum / double(n);
        for (size_t i = 0; i < n; ++i) {
            const double off = double(rows[i][j]) - mean;
            squares += off * off;
        }
        const double deviation = std::sqrt(squares / double(n));
        double middle = mean, step = normal_step(bits) * deviation;
        for (int round = 0; step > 0 && round < kRangeRounds; ++round) {
            // Least squares of x ~ middle + step * u over the rounded u.
            double su = 0, suu = 0, sx = 0, sxu = 0;
            const double half = double(levels - 1) / 2;
            for (size_t i = 0; i < n; ++i) {
                const double x = double(rows[i][j]);
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
        steps[j] = std::max(float(step), kLeastStep);
    };
    parallel_for((dim + kRangesAtOnce - 1) / kRangesAtOnce, threads, watch, [&](size_t task) {
        const size_t first = task * kRangesAtOnce, end = std::min(dim, first + kRangesAtOnce);
        for (size_t j = first; j < end; ++j) fit(j);
        if (watch != nullptr) watch->advance(0);
    });
    return {Transform::identity(dim), make_range_grid(std::vector<uint32_t>(bits, uint32_t(dim)),
                                                      std::move(middles), std::move(steps))};
}

// Principal components with bits by their variances. Those with equal bits are rotated among
// themselves, so that their variances are alike too.
CompactParts learn_pcasq(size_t payload_bytes, uint64_t seed, const std::vector<float>& residuals,
                         size_t n, size_t dim, size_t threads, Watch* watch) {
    const Pca found = pca(residuals.data(), n, dim, dim, threads, watch);
    const std::vector<uint32_t> bits = spread_bits(found.values, payload_bytes);
    std::vector<uint32_t> level_dims(bits[0]);
    for (uint32_t l = 0; l < bits[0]; ++l) {
        const auto above = std::count_if(bits.begin(), bits.end(), [&](auto b) { return b > l; });
        level_dims[l] = uint32_t(std::min(dim, kBlock * size_t(above)));
    }
    const size_t kept = level_dims[0];
    std::vector<float> matrix(found.matrix.begin(),
                              found.matrix.begin() + std::ptrdiff_t(kept * dim));
    std::vector<float> steps(kept), middles(kept);
    for (size_t begin = 0, end; begin < kept; begin = end) {
        const uint32_t b = bits[begin / kBlock];
        end = level_dims[b - 1];
        const size_t width = end - begin;
        const Transform rotation = Transform::rotation(width, seed + b);
        std::vector<float> column(width), turned(width);
        for (size_t j = 0; j < dim; ++j) {
            for (size_t i = 0; i < width; ++i) column[i] = matrix[(begin + i) * dim + j];
            rotation.apply(column.data(), 1, turned.data());
            for (size_t i = 0; i < width; ++i) matrix[(begin + i) * dim + j] = turned[i];
        }
        double variance = 0;
        for (size_t i = begin; i < end; ++i) variance += found.values[i];
        const double step = normal_step(b) * std::sqrt(variance / double(width));
        std::fill(steps.begin() + std::ptrdiff_t(begin), steps.begin() + std::ptrdiff_t(end),
                  std::max(float(step), kLeastStep));
    }
    bool centred = true;
    for (size_t i = 0; i < kept; ++i) {
        double middle = 0;
        for (size_t j = 0; j < dim; ++j) middle += double(matrix[i * dim + j]) * found.mean[j];
        middles[i] = float(middle);
        centred = centred && std::abs(middle) < 1e-3 * double(steps[i]);
    }
    const Transform transform = Transform::linear(dim, kept, matrix);
    return {transform,
            centred ? make_direction_grid(std::move(level_dims), std::move(steps))
                    : make_range_grid(std::move(level_dims), std::move(middles), std::move(steps))};
}

// Gong and Lazebnik, "Iterative Quantization", CVPR 2011: the rotation of the first principal
// components that brings them nearest to the corners of a cube.
CompactParts learn_itq(size_t n_bits, uint64_t seed, const std::vector<float>& residuals, size_t n,
                       size_t dim, size_t threads, Watch* watch) {
    const Pca found = pca(residuals.data(), n, dim, n_bits, threads, watch);
    const Transform onto = Transform::linear(
        dim, n_bits, std::vector<float>(found.matrix.begin(), found.matrix.end()));
    Random random(seed);
    std::vector<float> drawn;
    for (const uint64_t row : sample(random, n, std::min(n, kItqRows))) {
        const auto first = residuals.begin() + std::ptrdiff_t(row * dim);
        drawn.insert(drawn.end(), first, first + std::ptrdiff_t(dim));
    }
    transform_in_place(onto, drawn, threads, watch);
    const size_t n_drawn = drawn.size() / dim;
    std::vector<double> rows;
    for (size_t i = 0; i < n_drawn; ++i) {
        const auto first = drawn.begin() + std::ptrdiff_t(i * dim);
        rows.insert(rows.end(), first, first + std::ptrdiff_t(n_bits));
    }
    std::vector<float> identity(n_bits * n_bits), start(n_bits * n_bits);
    for (size_t i = 0; i < n_bits; ++i) identity[i * n_bits + i] = 1;
    Transform::rotation(n_bits, seed).apply(identity.data(), n_bits, start.data());
    // rows * rotation are the turned rows.
    std::vector<double> rotation(start.begin(), start.end());
    for (int round = 0; round < kItqRounds; ++round) {
        std::vector<double> signs =
            multiply(rows, rotation, n_drawn, n_bits, n_bits, threads, watch);
        std::vector<double> rows_transposed(rows.size());
        for (size_t i = 0; i < n_drawn; ++i) {
            for (size_t j = 0; j < n_bits; ++j) {
                rows_transposed[j * n_drawn + i] = rows[i * n_bits + j];
                signs[i * n_bits + j] = signs[i * n_bits + j] > 0 ? 1 : -1;
            }
        }
        rotation = nearest_orthogonal(
            multiply(rows_transposed, signs, n_bits, n_drawn, n_bits, threads, watch), n_bits,
            threads, watch);
    }
    std::vector<double> turn(n_bits * n_bits);
    for (size_t i = 0; i < n_bits; ++i) {
        for (size_t j = 0; j < n_bits; ++j) turn[j * n_bits + i] = rotation[i * n_bits + j];
    }
    const auto matrix = multiply(turn, found.matrix, n_bits, n_bits, dim, threads, watch);
    return {Transform::linear(dim, n_bits, std::vector<float>(matrix.begin(), matrix.end())),
            make_direction_grid({uint32_t(n_bits)}, {})};
}

}  // namespace

std::vector<uint32_t> spread_bits(const std::vector<double>& variances, size_t n_bytes) {
    // Of the best even grid of 0 to 8 bits for a normal distribution of variance 1.
    constexpr double kDistortion[] = {1,       .3634,  .1188,   .03744, .01154,
                                      .003495, .00104, .000304, .000088};
    std::vector<double> weights((variances.size() + kBlock - 1) / kBlock);
    for (size_t j = 0; j < variances.size(); ++j) {
        weights[j / kBlock] += std::pow(std::max(variances[j], 0.0), kVariancePower);
    }
    std::vector<uint32_t> bits(weights.size());
    for (size_t spent = 0; spent < n_bytes; ++spent) {
        size_t best = weights.size();
        double most = -1;
        for (size_t block = 0; block < weights.size(); ++block) {
            if (bits[block] == kMostGridBits) continue;
            const double gain =
                weights[block] * (kDistortion[bits[block]] - kDistortion[bits[block] + 1]);
            if (gain > most) {
                most = gain;
                best = block;
            }
        }
        if (best == weights.size()) break;
        ++bits[best];
    }
    return bits;
}

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

CompactParts learn(const CodecSettings& settings, size_t factor_bytes,
                   std::vector<float>& residuals, size_t dim, size_t threads, Watch* watch) {
    const std::string& name = settings.name;
    const size_t n = residuals.size() / dim;
    if (settings.given != nullptr) return given_parts(*settings.given);
    if (name == "pq") return learn_pq(settings, residuals, dim, threads, watch);
    if (name == "sq") return learn_sq(settings.bits, residuals, n, dim, threads, watch);
    if (name == "pcasq") {
        return learn_pcasq(settings.bits / 8 - factor_bytes, settings.seed, residuals, n, dim,
                           threads, watch);
    }
    if (name == "itq") {
        return learn_itq(settings.bits, settings.seed, residuals, n, dim, threads, watch);
    }
    if (name == "sign") return {Transform::identity(dim), make_direction_grid({uint32_t(dim)}, {})};
    return {Transform::rotation(dim, settings.seed),
            make_direction_grid(std::vector<uint32_t>(settings.bits, uint32_t(dim)), {})};
}

}  // namespace nearbit
