#include "codecs/grid.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <iterator>

#include "base/error.h"

namespace nearbit {
namespace {

// The optimal step of a uniform grid of 2^bits levels for a normal distribution of variance 1.
constexpr double kNormalStep[] = {0, 1.5958, .9957, .5860, .3352, .1881, .1041, .0569, .0308};
// A row's direction is rounded at several steps, and the one with the best cosine is kept.
constexpr float kInverseSteps[] = {1 / .8f, 1 / .87f, 1 / .94f, 1, 1 / 1.07f, 1 / 1.15f, 1 / 1.25f};

constexpr int kLargestInt = 4095;  // of a query's numbers: 13 bits with the sign
constexpr int kHigh = CodesKernels::kHighValue;

// The bits of a byte, least significant first, as the low bits of eight bytes.
constexpr std::array<uint64_t, 256> kSpread = [] {
    std::array<uint64_t, 256> table{};
    for (uint64_t byte = 0; byte < 256; ++byte) {
        for (int bit = 0; bit < 8; ++bit) table[byte] |= (byte >> bit & 1) << (8 * bit);
    }
    return table;
}();

struct Levels {
    std::vector<uint32_t> dims;
    std::vector<uint32_t> n_bytes;
    std::vector<uint8_t> bits;  // of each dimension
    size_t split = 0;           // bytes of a plane that come before numbers of few bits; 0: none

    explicit Levels(std::vector<uint32_t> level_dims) : dims(std::move(level_dims)), bits(dims[0]) {
        for (const uint32_t n : dims) {
            n_bytes.push_back((n + 7) / 8);
            for (uint32_t j = 0; j < n; ++j) ++bits[j];
        }
        choose_split();
    }
    uint32_t count() const { return uint32_t(dims.size()); }

  private:
    // A bit more is twice the spread, of rows and of queries, so table entries are 4 times as wide.
    // What bounds are too high by is the tables' steps, as many as there are bytes.
    void choose_split() {
        double least = 0.5 * std::ldexp(double(n_bytes[0]), 2 * int(count()));
        for (uint32_t l = 1; l < count(); ++l) {
            if (n_bytes[l] == n_bytes[0]) continue;
            const double excess = std::ldexp(double(n_bytes[l]), 2 * int(count())) +
                                  std::ldexp(double(n_bytes[0] - n_bytes[l]), 2 * int(l));
            if (excess >= least) continue;
            least = excess;
            split = n_bytes[l];
        }
    }
};

class GridQueries final : public QuantisedQueries {
  public:
    GridQueries(const Levels& levels, bool single, const float* steps, const float* middles,
                const float* z, size_t n)
        : kernels_(kernels().codes), levels_(levels), single_(single), dim_(levels.dims[0]), n_(n) {
        n_bytes_ = (dim_ + 7) / 8;
        padded_ = 8 * n_bytes_;
        if (single && levels_.count() == 4) halves_ = Memory(n * 2 * padded_);
        ints_ = Memory(n * padded_ * sizeof(int16_t));
        if (!single) tables_ = Memory(n * n_bytes_ * 32);
        states_.resize(n);
        gains_.resize(n);
        offsets_.resize(n);
        rests_.resize(n);
        for (size_t q = 0; q < n; ++q) prepare(q, z + q * dim_, steps, middles);
    }

    // What counts, exactly: whole sums.
    void values(size_t q, const uint8_t* const* codes, size_t payload_at, size_t n,
                double* values) const override {
        int64_t sums[kSinglesTogether];
        if (halves_.size() != 0) {
            kernels_.nibble_sums(halves(q), padded_, codes, payload_at, n, sums);
        } else if (single_) {
            kernels_.byte_sums(ints(q), padded_, codes, payload_at, n, sums);
        } else {
            const GridQuery query = {ints(q), levels_.dims.data(), levels_.count()};
            kernels_.grid_sums(query, codes, payload_at, n, sums);
        }
        const State& s = states_[q];
        for (size_t i = 0; i < n; ++i) values[i] = s.gain * double(sums[i]) + s.offset;
    }

    void scan(const CodesBlock& block, const float* bounds, Sink* sink) const override {
        const auto* const tables = reinterpret_cast<const uint8_t*>(tables_.data());
        const FinerPlanes finer = {levels_.n_bytes.data() + 1, levels_.count() - 1, levels_.split};
        if (n_ == 1) {
            const NibbleQuery query = {tables,      n_bytes_, 0,        gains_[0],
                                       offsets_[0], finer,    rests_[0]};
            kernels_.nibble_scan(query, block, bounds, sink);
            return;
        }
        const NibbleTile tile = {tables,        n_bytes_ * 32,   n_bytes_, 0,
                                 gains_.data(), offsets_.data(), bounds,   uint32_t(n_),
                                 finer,         rests_.data()};
        kernels_.nibble_tile(tile, block, sink);
    }

    double largest(size_t q) const override {
        // All planes come to less than twice what the first does, of 255 a byte.
        const double most = 510 * std::max(1.0, double(rests_[q])) * double(n_bytes_);
        return std::abs(double(offsets_[q])) + double(gains_[q]) * most;
    }

  private:
    struct State {
        double gain, offset;  // value of a whole sum
    };

    const int16_t* ints(size_t q) const {
        return reinterpret_cast<const int16_t*>(ints_.data()) + q * padded_;
    }
    const int8_t* halves(size_t q) const {
        return reinterpret_cast<const int8_t*>(halves_.data()) + q * 2 * padded_;
    }

    void prepare(size_t q, const float* z, const float* steps, const float* middles) {
        int16_t* const out = const_cast<int16_t*>(ints(q));
        double most = 0, offset = 0;
        // A bit of the last level counts 1, so a dimension without one counts in larger steps.
        std::vector<double> products(dim_);
        for (size_t j = 0; j < dim_; ++j) {
            const double product = double(z[j]) * (steps != nullptr ? double(steps[j]) : 1.0);
            const double middle = middles != nullptr ? double(z[j]) * double(middles[j]) : 0.0;
            const double half = double(uint32_t(1) << levels_.bits[j]) / 2;  // of its numbers
            products[j] = product / double(uint32_t(1) << (levels_.count() - levels_.bits[j]));
            most = std::max(most, std::abs(products[j]));
            offset += middle - product * (half - 0.5);
        }
        const double gain = most / kLargestInt;
        for (size_t j = 0; most > 0 && j < dim_; ++j) {
            const double number = products[j] / gain;
            out[j] = int16_t(number + (number < 0 ? -0.5 : 0.5));
        }
        for (size_t j = 0; halves_.size() != 0 && j < dim_; ++j) {
            int8_t* const high = const_cast<int8_t*>(halves(q));
            high[j] = int8_t((out[j] + (out[j] < 0 ? -kHigh / 2 : kHigh / 2)) / kHigh);
            high[padded_ + j] = int8_t(out[j] - kHigh * high[j]);
        }
        states_[q] = {gain, offset};
        if (!single_) prepare_tables(q);
    }

    // One table for each four dimensions: the sums of the numbers at the set bits, less the least,
    // in steps that make the widest two that share a byte, before or behind the split, fit one;
    // rounded up, so that a sum of entries bounds that of the numbers.
    void prepare_tables(size_t q) {
        const size_t n = 2 * n_bytes_;
        const size_t split = levels_.split != 0 ? 2 * levels_.split : n;
        const int32_t step = fill_tables(q, 0, split), rest = fill_tables(q, split, n);
        double least_of_all = 0;
        for (size_t nibble = 0; nibble < n; ++nibble) {
            double weight = 0;
            for (uint32_t l = 0; l < levels_.count() && nibble < 2 * levels_.n_bytes[l]; ++l) {
                weight += std::ldexp(1.0, -int(l));
            }
            least_of_all += weight * sums_of(q, nibble).least;
        }
        // A bit of the first plane counts so many times one of the last.
        const double gain = std::ldexp(states_[q].gain, int(levels_.count()) - 1);
        gains_[q] = float(gain * step);
        rests_[q] = float(rest) / float(step);
        offsets_[q] = float(gain * least_of_all + states_[q].offset);
    }

    struct NibbleSums {
        int32_t of[16], least = 0, most = 0;
    };

    NibbleSums sums_of(size_t q, size_t nibble) const {
        const int16_t* const four = ints(q) + 4 * nibble;
        NibbleSums sums;
        for (int pattern = 0; pattern < 16; ++pattern) {
            sums.of[pattern] = 0;
            for (int b = 0; b < 4; ++b) sums.of[pattern] += (pattern >> b & 1) * four[b];
            sums.least = std::min(sums.least, sums.of[pattern]);
            sums.most = std::max(sums.most, sums.of[pattern]);
        }
        return sums;
    }

    // Returns the step.
    int32_t fill_tables(size_t q, size_t begin, size_t end) {
        int32_t widest = 1;
        for (size_t nibble = begin; nibble < end; nibble += 2) {
            const NibbleSums low = sums_of(q, nibble), high = sums_of(q, nibble + 1);
            widest = std::max(widest, low.most - low.least + high.most - high.least);
        }
        // Two entries, each rounded up by less than 1.
        const int32_t step = (widest + 252) / 253;
        auto* const tables = reinterpret_cast<uint8_t*>(tables_.data()) + q * n_bytes_ * 32;
        for (size_t nibble = begin; nibble < end; ++nibble) {
            const NibbleSums sums = sums_of(q, nibble);
            for (size_t pattern = 0; pattern < 16; ++pattern) {
                tables[16 * nibble + pattern] =
                    uint8_t((sums.of[pattern] - sums.least + step - 1) / step);
            }
        }
        return step;
    }

    const CodesKernels& kernels_;
    const Levels& levels_;
    const bool single_;
    const size_t dim_, n_;
    size_t n_bytes_, padded_;
    Memory ints_, tables_;
    Memory halves_;  // of ints, where numbers of 4 bits are summed: high and low
    std::vector<State> states_;
    std::vector<float> gains_, offsets_, rests_;  // of sums of entries
};

class Grid final : public Quantiser {
  public:
    // middles empty: a code is a direction, and each row finds its own multiple of the steps.
    // single: of numbers instead of planes, each of 4 or 8 bits (CodesKernels::byte_sums and
    // nibble_sums).
    Grid(std::vector<uint32_t> level_dims, std::vector<float> middles, std::vector<float> steps,
         bool single = false)
        : levels_(std::move(level_dims)),
          middles_(std::move(middles)),
          steps_(std::move(steps)),
          single_(single) {
        for (const uint32_t n : levels_.n_bytes) payload_bytes_ += n;
        fill_direction();
    }

    size_t dim() const override { return levels_.dims[0]; }
    size_t payload_bytes() const override { return payload_bytes_; }

    void encode(const float* r, size_t n, uint8_t* payloads, size_t stride,
                float* y) const override {
        const EncodeKernels& k = kernels().encode;
        const size_t padded = direction_.n;
        std::vector<float> row(padded), values(padded);  // where dim isn't a multiple of 16
        std::vector<uint8_t> numbers((padded + 63) / 64 * 64);
        for (size_t i = 0; i < n; ++i, r += dim(), y += dim(), payloads += stride) {
            if (!middles_.empty()) {
                round_range(r, numbers.data(), y);
            } else if (padded == dim()) {
                k.round_direction(direction_, r, numbers.data(), y);
            } else {
                std::copy_n(r, dim(), row.data());
                k.round_direction(direction_, row.data(), numbers.data(), values.data());
                std::copy_n(values.data(), dim(), y);
            }
            if (single_) {
                pack_numbers(numbers.data(), payloads);
            } else {
                k.pack_planes(numbers.data(), levels_.n_bytes.data(), levels_.count(), payloads);
            }
        }
    }

    void decode(const uint8_t* payload, float* y) const override {
        if (single_) {
            decode_numbers(payload, y);
            return;
        }
        // Eight numbers at a time, a byte each.
        std::vector<uint64_t> numbers((dim() + 7) / 8);
        for (const uint32_t n : levels_.dims) {
            const size_t whole = n / 8, rest = n % 8;
            for (size_t b = 0; b < whole; ++b) numbers[b] = 2 * numbers[b] + kSpread[payload[b]];
            if (rest != 0) {
                const uint64_t mask = (uint64_t(1) << (8 * rest)) - 1;
                uint64_t& last = numbers[whole];
                last = (last & ~mask) | ((2 * last + kSpread[payload[whole]]) & mask);
            }
            payload += (n + 7) / 8;
        }
        for (size_t j = 0; j < dim(); ++j) {
            y[j] = float(value(j, uint8_t(numbers[j / 8] >> (8 * (j % 8)))));
        }
    }

    std::unique_ptr<QuantisedQueries> prepare(const float* z, size_t n) const override {
        return std::make_unique<GridQueries>(levels_, single_,
                                             steps_.empty() ? nullptr : steps_.data(),
                                             middles_.empty() ? nullptr : middles_.data(), z, n);
    }

    std::unique_ptr<const Quantiser> single() const override {
        const bool even = levels_.dims.back() == levels_.dims.front();
        if (!even || (levels_.count() != 4 && levels_.count() != 8)) return nullptr;
        return std::make_unique<Grid>(levels_.dims, middles_, steps_, true);
    }

    void write(Fields& fields) const override {
        fields.put(levels_.count());
        for (const uint32_t n : levels_.dims) fields.put(n);
        fields.put(uint8_t(!steps_.empty()));
        fields.put(uint8_t(!middles_.empty()));
        for (const float step : steps_) fields.put(step);
        for (const float middle : middles_) fields.put(middle);
    }

  private:
    // Calls visit(j, byte, shift, mask) with where number j is in a single form, also for numbers
    // that fill the last bytes up.
    template <class Visit>
    void for_each_number(Visit visit) const {
        const size_t padded = (dim() + 7) / 8 * 8;
        if (levels_.count() == 8) {
            for (size_t j = 0; j < padded; ++j) visit(j, j, 0, 255);
            return;
        }
        for (size_t at = 0; at < padded;) {
            const size_t together = std::bit_floor(std::min<size_t>(64, padded - at));
            const size_t half = together / 2;
            for (size_t i = 0; i < half; ++i) {
                visit(at + i, at / 2 + i, 0, 15);
                visit(at + half + i, at / 2 + i, 4, 15);
            }
            at += together;
        }
    }

    // As value() says, which compilers don't put side by side.
    void decode_numbers(const uint8_t* payload, float* y) const {
        std::vector<uint8_t> unpacked;
        const uint8_t* numbers = payload;  // of 8 bits as they are
        if (levels_.count() != 8) {
            unpacked.resize((dim() + 7) / 8 * 8);
            for_each_number([&](size_t j, size_t byte, uint32_t shift, uint32_t mask) {
                unpacked[j] = uint8_t(payload[byte] >> shift & mask);
            });
            numbers = unpacked.data();
        }
        const size_t n = dim();
        const double most = double((uint32_t(1) << levels_.count()) - 1) / 2;
        const float* const steps = steps_.empty() ? nullptr : steps_.data();
        const float* const middles = middles_.empty() ? nullptr : middles_.data();
        for (size_t j = 0; j < n; ++j) {
            const double number = double(numbers[j]) - most;
            const double scaled = steps == nullptr ? number : number * double(steps[j]);
            y[j] = float(middles == nullptr ? scaled : scaled + double(middles[j]));
        }
    }

    void pack_numbers(const uint8_t* numbers, uint8_t* payload) const {
        std::fill_n(payload, payload_bytes_, uint8_t(0));
        for_each_number([&](size_t j, size_t byte, uint32_t shift, uint32_t) {
            if (j < dim()) payload[byte] = uint8_t(payload[byte] | numbers[j] << shift);
        });
    }

    // The arrays of direction_, and direction_ itself.
    void fill_direction() {
        const size_t n = (dim() + 15) / 16 * 16;
        constants_ = Memory(5 * n * sizeof(float));
        float* const steps = reinterpret_cast<float*>(constants_.data());
        float* const per_step = steps + n;
        float* const most = per_step + n;
        float* const spreads = most + n;
        float* const units = spreads + n;
        for (size_t j = 0; j < dim(); ++j) {
            const uint32_t bits = levels_.bits[j];
            steps[j] = steps_.empty() ? 1.0f : steps_[j];
            per_step[j] = 1 / steps[j];
            most[j] = float((uint32_t(1) << bits) - 1) / 2;
            spreads[j] = float(kNormalStep[bits]) / steps[j];
            units[j] = float(uint32_t(1) << (levels_.count() - bits));
        }
        const bool choose = levels_.count() > 1;
        direction_ = {dim(),
                      n,
                      steps,
                      per_step,
                      most,
                      spreads,
                      units,
                      kInverseSteps,
                      choose ? uint32_t(std::size(kInverseSteps)) : 0};
    }

    void round_range(const float* r, uint8_t* numbers, float* y) const {
        const DirectionGrid& d = direction_;
        for (size_t j = 0; j < dim(); ++j) {
            const float top = 2 * d.most[j];
            const float at = (r[j] - middles_[j]) / d.steps[j] + d.most[j];
            const auto number = uint8_t(std::clamp(at, 0.0f, top) + 0.5f);
            numbers[j] = uint8_t(float(number) * d.units[j]);
            y[j] = float(value(j, number));
        }
    }

    double value(size_t j, uint32_t number) const {
        const double y = double(number) - double((uint32_t(1) << levels_.bits[j]) - 1) / 2;
        return (steps_.empty() ? y : y * double(steps_[j])) +
               (middles_.empty() ? 0 : double(middles_[j]));
    }

    const Levels levels_;
    const std::vector<float> middles_, steps_;
    const bool single_;
    size_t payload_bytes_ = 0;
    Memory constants_;
    DirectionGrid direction_{};
};

}  // namespace

double normal_step(uint32_t bits) {
    return kNormalStep[bits];
}

std::unique_ptr<const Quantiser> make_direction_grid(std::vector<uint32_t> level_dims,
                                                     std::vector<float> steps) {
    return std::make_unique<Grid>(std::move(level_dims), std::vector<float>(), std::move(steps));
}

std::unique_ptr<const Quantiser> make_range_grid(std::vector<uint32_t> level_dims,
                                                 std::vector<float> middles,
                                                 std::vector<float> steps) {
    return std::make_unique<Grid>(std::move(level_dims), std::move(middles), std::move(steps));
}

std::unique_ptr<const Quantiser> read_grid(Cursor& fields) {
    const auto count = fields.read<uint32_t>();
    if (count < 1 || count > kMostGridBits) {
        fields.refuse("expected a grid of 1 to 8 levels, got " + std::to_string(count));
    }
    std::vector<uint32_t> level_dims;
    for (uint32_t l = 0; l < count; ++l) {
        level_dims.push_back(fields.read<uint32_t>());
        const uint32_t most = l == 0 ? uint32_t(kMaxDim) : level_dims[l - 1];
        if (level_dims[l] >= 1 && level_dims[l] <= most) continue;
        fields.refuse("expected levels of 1 to " + std::to_string(most) + " dimensions, got " +
                      std::to_string(level_dims[l]));
    }
    const auto has_steps = fields.read<uint8_t>(), has_middles = fields.read<uint8_t>();
    if (has_steps > 1 || has_middles > has_steps) {
        fields.refuse("expected whether there are steps and middles, got " +
                      std::to_string(has_steps) + " and " + std::to_string(has_middles));
    }
    std::vector<float> steps, middles;
    for (uint32_t j = 0; has_steps == 1 && j < level_dims[0]; ++j) {
        steps.push_back(fields.read<float>());
        if (std::isfinite(steps[j]) && steps[j] > 0) continue;
        fields.refuse("expected a grid's steps, got " + std::to_string(steps[j]));
    }
    for (uint32_t j = 0; has_middles == 1 && j < level_dims[0]; ++j) {
        middles.push_back(fields.read<float>());
        if (!std::isfinite(middles[j])) fields.refuse("expected a grid's middles to be finite");
    }
    return std::make_unique<Grid>(std::move(level_dims), std::move(middles), std::move(steps));
}

}  // namespace nearbit
