#include "codecs/grid.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/error.h"

namespace nearbit {
namespace {

// The optimal step of a uniform grid of 2^bits levels for a normal distribution of variance 1.
constexpr double kNormalStep[] = {0, 1.5958, .9957, .5860, .3352, .1881, .1041, .0569, .0308};
// A row's direction is rounded at several steps, and the one with the best cosine is kept.
constexpr float kSteps[] = {.8f, .87f, .94f, 1, 1.07f, 1.15f, 1.25f};

// How far, in standard deviations, what the first plane leaves open can lie above its mean before a
// value is cut off there: one in 740.
constexpr double kOpenDeviations = 3;

constexpr int kLargestInt = 4095;  // of a query's numbers: 13 bits with the sign

class GridQueries final : public QuantisedQueries {
  public:
    GridQueries(size_t dim, uint32_t bits, const float* steps, const float* middles, const float* z,
                size_t n)
        : kernels_(kernels().codes), dim_(dim), level_dims_(bits, uint32_t(dim)), n_(n) {
        n_bytes_ = (dim + 7) / 8;
        padded_ = 8 * n_bytes_;
        ints_ = Memory(n * padded_ * sizeof(int16_t));
        tables_ = Memory(n * n_bytes_ * 32);
        states_.resize(n);
        gains_.resize(n);
        offsets_.resize(n);
        for (size_t q = 0; q < n; ++q) prepare(q, z + q * dim, steps, middles);
    }

    // What counts, exactly: whole sums. A value is cut off where the first plane and the spread of
    // what it leaves open say that it can't be, so that the first plane gives an upper bound that
    // always holds, in whatever order rows come.
    void values(size_t q, const uint8_t* payloads, size_t stride, size_t n,
                double* values) const override {
        constexpr size_t kAtOnce = 64;
        int64_t first[kAtOnce], all[kAtOnce];
        const State& s = states_[q];
        GridQuery query = {ints(q), level_dims_.data(), uint32_t(level_dims_.size())};
        for (size_t begin = 0; begin < n; begin += kAtOnce) {
            const size_t m = std::min(kAtOnce, n - begin);
            const uint8_t* const at = payloads + begin * stride;
            kernels_.grid_sums(query, at, stride, nullptr, m, all);
            for (size_t i = 0; i < m; ++i) values[begin + i] = s.gain * double(all[i]) + s.offset;
            if (query.levels == 1) continue;
            const GridQuery top = {query.values, query.level_dims, 1};
            kernels_.grid_sums(top, at, stride, nullptr, m, first);
            for (size_t i = 0; i < m; ++i) {
                values[begin + i] =
                    std::min(values[begin + i], s.first_gain * double(first[i]) + s.first_offset);
            }
        }
    }

    void scan(const CodesBlock& block, const float* bounds, Sink* sink) const override {
        const auto* const tables = reinterpret_cast<const uint8_t*>(tables_.data());
        if (n_ == 1) {
            const NibbleQuery query = {tables, n_bytes_, 0, gains_[0], offsets_[0], false};
            kernels_.nibble_scan(query, block, bounds, sink);
            return;
        }
        const NibbleTile tile = {tables,          n_bytes_ * 32, n_bytes_,     0,    gains_.data(),
                                 offsets_.data(), bounds,        uint32_t(n_), false};
        kernels_.nibble_tile(tile, block, sink);
    }

    double largest(size_t q) const override {
        return std::abs(double(offsets_[q])) + double(gains_[q]) * 510 * double(n_bytes_);
    }

  private:
    struct State {
        double gain, offset;              // value of a whole sum
        double first_gain, first_offset;  // upper bound of it, of the first plane's sum
    };

    const int16_t* ints(size_t q) const {
        return reinterpret_cast<const int16_t*>(ints_.data()) + q * padded_;
    }

    void prepare(size_t q, const float* z, const float* steps, const float* middles) {
        const uint32_t bits = uint32_t(level_dims_.size());
        const double half = double(uint32_t(1) << bits) / 2;  // of the levels
        int16_t* const out = const_cast<int16_t*>(ints(q));
        double most = 0, offset = 0, first_offset = 0, squares = 0;
        for (size_t j = 0; j < dim_; ++j) {
            const double product = double(z[j]) * (steps != nullptr ? double(steps[j]) : 1.0);
            const double middle = middles != nullptr ? double(z[j]) * double(middles[j]) : 0.0;
            most = std::max(most, std::abs(product));
            offset += middle - product * (half - 0.5);
            first_offset += middle - product * half / 2;
            squares += product * product;
        }
        const double gain = most / kLargestInt;
        for (size_t j = 0; most > 0 && j < dim_; ++j) {
            const double product = double(z[j]) * (steps != nullptr ? double(steps[j]) : 1.0);
            out[j] = int16_t(std::lround(product / gain));
        }
        const double open = bits == 1 ? 0 : std::sqrt(squares * (half * half - 1) / 12);
        states_[q] = {gain, offset, gain * half, first_offset + kOpenDeviations * open};
        prepare_tables(q);
    }

    // One table for each four dimensions: the sums of the numbers at the set bits, less the least,
    // in steps that make the widest fit a byte; rounded up, so that a sum of entries bounds that of
    // the numbers.
    void prepare_tables(size_t q) {
        int32_t sums[16], widest = 1, least_of_all = 0;
        auto* const tables = reinterpret_cast<uint8_t*>(tables_.data()) + q * n_bytes_ * 32;
        const auto fill = [&](size_t nibble) {
            const int16_t* const four = ints(q) + 4 * nibble;
            int32_t least = 0, most = 0;
            for (int pattern = 0; pattern < 16; ++pattern) {
                sums[pattern] = 0;
                for (int b = 0; b < 4; ++b) sums[pattern] += (pattern >> b & 1) * four[b];
                least = std::min(least, sums[pattern]);
                most = std::max(most, sums[pattern]);
            }
            widest = std::max(widest, most - least);
            return least;
        };
        for (size_t nibble = 0; nibble < 2 * n_bytes_; ++nibble) fill(nibble);
        const int32_t step = (widest + 254) / 255;
        for (size_t nibble = 0; nibble < 2 * n_bytes_; ++nibble) {
            const int32_t least = fill(nibble);
            least_of_all += least;
            for (int pattern = 0; pattern < 16; ++pattern) {
                tables[16 * nibble + size_t(pattern)] =
                    uint8_t((sums[pattern] - least + step - 1) / step);
            }
        }
        const State& s = states_[q];
        gains_[q] = float(s.first_gain * step);
        offsets_[q] = float(s.first_gain * least_of_all + s.first_offset);
    }

    const CodesKernels& kernels_;
    const size_t dim_;
    const std::vector<uint32_t> level_dims_;
    const size_t n_;
    size_t n_bytes_, padded_;
    Memory ints_, tables_;
    std::vector<State> states_;
    std::vector<float> gains_, offsets_;
};

class Grid final : public Quantiser {
  public:
    // steps empty: a code is a direction, and each row finds its own step.
    Grid(size_t dim, uint32_t bits, std::vector<float> middles, std::vector<float> steps)
        : dim_(dim), bits_(bits), middles_(std::move(middles)), steps_(std::move(steps)) {}

    size_t dim() const override { return dim_; }
    size_t payload_bytes() const override { return plane_bytes() * bits_; }

    Products encode(const float* r, uint8_t* payload) const override {
        std::vector<int32_t> levels(dim_);
        if (steps_.empty()) {
            round_direction(r, levels.data());
        } else {
            const int32_t top = (1 << bits_) - 1;
            for (size_t j = 0; j < dim_; ++j) {
                const float at = (r[j] - middles_[j]) / steps_[j] + float(top) / 2;
                levels[j] = int32_t(std::lround(std::clamp(at, 0.0f, float(top))));
            }
        }
        std::memset(payload, 0, payload_bytes());
        Products products{0, 0};
        for (size_t j = 0; j < dim_; ++j) {
            const double y = value(j, uint32_t(levels[j]));
            products.with_row += y * double(r[j]);
            products.with_self += y * y;
        }
        for (uint32_t l = 0; l < bits_; ++l) {
            uint8_t* const plane = payload + l * plane_bytes();
            const uint32_t shift = bits_ - 1 - l;
            for (size_t j = 0; j < dim_; ++j) {
                plane[j / 8] |= uint8_t((uint32_t(levels[j]) >> shift & 1) << (j % 8));
            }
        }
        return products;
    }

    void decode(const uint8_t* payload, float* y) const override {
        for (size_t j = 0; j < dim_; ++j) {
            uint32_t level = 0;
            for (uint32_t l = 0; l < bits_; ++l) {
                level = 2 * level + (payload[l * plane_bytes() + j / 8] >> (j % 8) & 1);
            }
            y[j] = float(value(j, level));
        }
    }

    std::unique_ptr<QuantisedQueries> prepare(const float* z, size_t n) const override {
        return std::make_unique<GridQueries>(dim_, bits_, steps_.empty() ? nullptr : steps_.data(),
                                             middles_.empty() ? nullptr : middles_.data(), z, n);
    }

    void write(Fields& fields) const override {
        fields.put(uint32_t(dim_));
        fields.put(bits_);
        fields.put(uint8_t(steps_.empty()));
        for (size_t j = 0; j < steps_.size(); ++j) {
            fields.put(middles_[j]);
            fields.put(steps_[j]);
        }
    }

  private:
    size_t plane_bytes() const { return (dim_ + 7) / 8; }

    double value(size_t j, uint32_t level) const {
        const double y = double(level) - double((uint32_t(1) << bits_) - 1) / 2;
        return steps_.empty() ? y : y * double(steps_[j]) + double(middles_[j]);
    }

    void round_direction(const float* r, int32_t* levels) const {
        const int32_t half = 1 << (bits_ - 1);
        if (bits_ == 1) {
            for (size_t j = 0; j < dim_; ++j) levels[j] = r[j] > 0;
            return;
        }
        double squares = 0;
        for (size_t j = 0; j < dim_; ++j) squares += double(r[j]) * double(r[j]);
        const double deviation = std::sqrt(squares / double(dim_));
        std::vector<int32_t> tried(dim_);
        double best = -1;
        for (const float factor : kSteps) {
            const double step = double(factor) * kNormalStep[bits_] * deviation;
            const float inverse = step > 0 ? float(1 / step) : 0;
            // In four sums each, which the compiler keeps side by side.
            float with_row[4] = {}, with_self[4] = {};
            for (size_t j = 0; j < dim_; ++j) {
                const float magnitude = std::abs(r[j]);
                const int32_t k = int32_t(std::min(magnitude * inverse, float(half) - 0.5f));
                tried[j] = k;
                const float y = float(k) + 0.5f;
                with_row[j % 4] += y * magnitude;
                with_self[j % 4] += y * y;
            }
            const double row = double(with_row[0]) + with_row[1] + with_row[2] + with_row[3];
            const double self = double(with_self[0]) + with_self[1] + with_self[2] + with_self[3];
            const double cosine = row / std::sqrt(self);
            if (!(cosine > best)) continue;
            best = cosine;
            for (size_t j = 0; j < dim_; ++j) {
                levels[j] = r[j] > 0 ? half + tried[j] : half - 1 - tried[j];
            }
        }
    }

    const size_t dim_;
    const uint32_t bits_;
    const std::vector<float> middles_, steps_;
};

}  // namespace

double normal_step(uint32_t bits) {
    return kNormalStep[bits];
}

std::unique_ptr<const Quantiser> make_direction_grid(size_t dim, uint32_t bits) {
    return std::make_unique<Grid>(dim, bits, std::vector<float>(), std::vector<float>());
}

std::unique_ptr<const Quantiser> make_range_grid(std::vector<float> middles,
                                                 std::vector<float> steps, uint32_t bits) {
    const size_t dim = steps.size();
    return std::make_unique<Grid>(dim, bits, std::move(middles), std::move(steps));
}

std::unique_ptr<const Quantiser> read_grid(Cursor& fields) {
    const auto dim = fields.read<uint32_t>();
    const auto bits = fields.read<uint32_t>();
    const auto direction = fields.read<uint8_t>();
    if (dim < 1 || dim > kMaxDim || bits < 1 || bits > kMostGridBits || direction > 1) {
        fields.refuse("expected a grid's dimensions, bits and kind, got " + std::to_string(dim) +
                      ", " + std::to_string(bits) + " and " + std::to_string(direction));
    }
    if (direction == 1) return make_direction_grid(dim, bits);
    std::vector<float> middles, steps;
    for (size_t j = 0; j < dim; ++j) {
        middles.push_back(fields.read<float>());
        steps.push_back(fields.read<float>());
        if (std::isfinite(middles[j]) && std::isfinite(steps[j]) && steps[j] > 0) continue;
        fields.refuse("expected a grid's middles and steps, got " + std::to_string(middles[j]) +
                      " and " + std::to_string(steps[j]));
    }
    return make_range_grid(std::move(middles), std::move(steps), bits);
}

}  // namespace nearbit
