#include "codecs/bits.h"

#include <algorithm>
#include <cstring>
#include <type_traits>
#include <vector>

#include "codecs/dense.h"
#include "kernels/kernels.h"

namespace nearbit {
namespace {

// Distances are the number of differing bits; a limit is the largest within a threshold.
struct Hamming {
    using Limit = int32_t;

    Limit limit(size_t, float threshold) const {
        if (threshold < 0) return -1;
        return threshold >= float(kMaxBits) ? int32_t(kMaxBits) : int32_t(threshold);
    }
    float distance(size_t, float differing, const float*, uint32_t) const { return differing; }
};

// 1 - |a and b| / |a or b|. Of h differing bits and p set ones, |a or b| = (p_a + p_b + h) / 2 and
// what is not in both is h. Integers as far as the one division, so the same everywhere; rounded to
// float once.
struct Jaccard {
    using Limit = CountedLimit;
    std::vector<float> counts;  // of each query's set bits

    // A row is within t where h <= t / (2 - t) * (p_a + p_b); at 1 all are. The margin of 2^-20
    // covers what rounds, each time by at most 2^-23 of the limit: the distance to float, base and
    // per_bit, the kernel's product and sum.
    Limit limit(size_t q, float threshold) const {
        const double t = std::clamp(double(threshold), 0.0, 1.0);
        const double per_bit = t / (2 - t) * (1 + 0x1p-20);
        return {float(per_bit * double(counts[q])), float(per_bit)};
    }
    // of: the counts of rows.
    float distance(size_t q, float differing, const float* of, uint32_t row) const {
        const double sum = double(counts[q]) + double(of[row]) + double(differing);
        return sum == 0 ? 0 : float(2 * double(differing) / sum);
    }
};

template <class Measure>
class BitsScorer final : public Scorer {
  public:
    // queries: n packed rows, which the scorer keeps.
    BitsScorer(Memory queries, size_t n, size_t n_bytes, Measure measure)
        : kernels_(kernels().bits),
          measure_(std::move(measure)),
          queries_(std::move(queries)),
          n_(n),
          n_bytes_(n_bytes) {
        if (n == 1 || kCounted) return;
        packed_ = Memory(kernels_.packed_size(uint32_t(n), n_bytes));
        kernels_.pack_queries(query(0), uint32_t(n), n_bytes, packed());
    }

    void scan(const Block& block, Collector* const* collectors, Memory& scratch) const override {
        const size_t workspace =
            n_ == 1 || kCounted ? 0
                                : (kernels_.tile_workspace(uint32_t(n_), n_bytes_) + 63) / 64 * 64;
        scratch.at_least(workspace + n_ * sizeof(Limit));
        Drain drain(measure_, block, collectors, n_ == 1 ? kSinkOfOneQuery : kSinkOfMany);
        drain.limits = reinterpret_cast<Limit*>(scratch.data() + workspace);
        for (size_t q = 0; q < n_; ++q) {
            drain.limits[q] = measure_.limit(q, float(collectors[q]->threshold()));
        }
        run(bits_block(block), drain.limits, reinterpret_cast<uint8_t*>(scratch.data()), &drain);
        drain.empty();
    }

    void gather(const Block& block, const uint32_t* rows, size_t n,
                Collector* const* collectors) const override {
        constexpr size_t kAtOnce = 256;
        uint32_t differing[kAtOnce];
        for (size_t q = 0; q < n_; ++q) {
            for (size_t begin = 0; begin < n; begin += kAtOnce) {
                const size_t m = std::min(kAtOnce, n - begin);
                kernels_.gather(query(q), n_bytes_, bits_block(block).rows, rows + begin, m,
                                differing);
                for (size_t i = 0; i < m; ++i) {
                    const uint32_t row = rows[begin + i];
                    const float distance =
                        measure_.distance(q, float(differing[i]), block.factors, row);
                    if (distance <= collectors[q]->threshold()) {
                        collectors[q]->offer(block.slot(row), distance);
                    }
                }
            }
        }
    }

    void distances(size_t q, const uint8_t* const* codes, const float* factors, size_t n,
                   double* out) const override {
        uint32_t differing[kSinglesTogether];
        kernels_.gather_at(query(q), n_bytes_, codes, n, differing);
        for (size_t i = 0; i < n; ++i) {
            out[i] = double(measure_.distance(q, float(differing[i]), factors, uint32_t(i)));
        }
    }

  private:
    using Limit = typename Measure::Limit;
    static constexpr bool kCounted = std::is_same_v<Limit, CountedLimit>;

    struct Drain : Sink {
        Drain(const Measure& measure_, const Block& block_, Collector* const* collectors_,
              uint32_t n_places)
            : measure(measure_), block(block_), collectors(collectors_) {
            items = places;
            count = 0;
            capacity = n_places;
            drain = [](Sink* sink) { static_cast<Drain*>(sink)->empty(); };
        }
        void empty() {
            for (uint32_t i = 0; i < count; ++i) {
                const Candidate& c = places[i];
                Collector& collector = *collectors[c.query];
                collector.offer(block.slot(c.row),
                                measure.distance(c.query, c.distance, block.factors, c.row));
                limits[c.query] = measure.limit(c.query, float(collector.threshold()));
            }
            count = 0;
        }
        const Measure& measure;
        const Block& block;
        Collector* const* collectors;
        Limit* limits = nullptr;
        Candidate places[kSinkOfMany];
    };

    void run(const BitsBlock& block, const int32_t* limits, uint8_t* workspace, Sink* sink) const {
        if (n_ == 1) {
            kernels_.scan(query(0), n_bytes_, block, limits, sink);
        } else {
            kernels_.tile(query(0), packed(), uint32_t(n_), n_bytes_, block, limits, workspace,
                          sink);
        }
    }

    void run(const BitsBlock& block, const CountedLimit* limits, uint8_t*, Sink* sink) const {
        if (n_ == 1) {
            kernels_.scan_counted(query(0), n_bytes_, block, limits, sink);
        } else {
            kernels_.tile_counted(query(0), uint32_t(n_), n_bytes_, block, limits, sink);
        }
    }

    static BitsBlock bits_block(const Block& block) {
        return {reinterpret_cast<const uint8_t*>(block.codes), block.admit, block.n, block.factors};
    }

    const uint8_t* query(size_t q) const {
        return reinterpret_cast<const uint8_t*>(queries_.data()) + q * n_bytes_;
    }

    uint8_t* packed() const { return reinterpret_cast<uint8_t*>(packed_.data()); }

    const BitsKernels& kernels_;
    const Measure measure_;
    const Memory queries_;
    Memory packed_;
    const size_t n_, n_bytes_;
};

class Bits : public Codec {
  public:
    explicit Bits(size_t dim, Metric metric = Metric::kHamming) : Codec(dim, metric) {}
    const char* name() const override { return "bits"; }
    InputType input() const override { return InputType::kBits; }
    InputType output() const override { return InputType::kBits; }
    size_t code_bytes() const override { return dim_ / 8; }
    bool has_factors() const override { return false; }

    float encode(const std::byte* rows, size_t n, std::byte* codes, float*, const char*,
                 size_t) const override {
        std::memcpy(codes, rows, n * code_bytes());
        return 0;
    }

    void decode(const std::byte* codes, size_t n, std::byte* rows) const override {
        std::memcpy(rows, codes, n * code_bytes());
    }

    std::unique_ptr<Scorer> prepare(const std::byte* queries, size_t n, const char*,
                                    size_t) const override {
        return std::make_unique<BitsScorer<Hamming>>(copy(queries, n), n, code_bytes(), Hamming{});
    }

  protected:
    Memory copy(const std::byte* queries, size_t n) const {
        Memory kept(n * code_bytes());
        std::memcpy(kept.data(), queries, n * code_bytes());
        return kept;
    }
};

// A row's factor is the number of its set bits.
class JaccardBits final : public Bits {
  public:
    explicit JaccardBits(size_t dim) : Bits(dim, Metric::kJaccard), none_(code_bytes()) {}
    bool has_factors() const override { return true; }

    float encode(const std::byte* rows, size_t n, std::byte* codes, float* factors,
                 const char* argument, size_t first_row) const override {
        Bits::encode(rows, n, codes, nullptr, argument, first_row);
        count(codes, n, factors);
        return 0;
    }

    std::unique_ptr<Scorer> prepare(const std::byte* queries, size_t n, const char*,
                                    size_t) const override {
        Memory kept = copy(queries, n);
        Jaccard measure{std::vector<float>(n)};
        count(kept.data(), n, measure.counts.data());
        return std::make_unique<BitsScorer<Jaccard>>(std::move(kept), n, code_bytes(),
                                                     std::move(measure));
    }

  private:
    // As the distances from a row without any.
    void count(const std::byte* codes, size_t n, float* counts) const {
        constexpr size_t kAtOnce = 256;
        uint32_t whole[kAtOnce];
        for (size_t begin = 0; begin < n; begin += kAtOnce) {
            const size_t m = std::min(kAtOnce, n - begin);
            kernels().bits.gather(reinterpret_cast<const uint8_t*>(none_.data()), code_bytes(),
                                  reinterpret_cast<const uint8_t*>(codes + begin * code_bytes()),
                                  nullptr, m, whole);
            std::copy_n(whole, m, counts + begin);
        }
    }

    const Memory none_;
};

class Sign final : public Codec {
  public:
    explicit Sign(size_t dim) : Codec(dim, Metric::kHamming) {}
    const char* name() const override { return "sign"; }
    InputType input() const override { return InputType::kFloat32; }
    InputType output() const override { return InputType::kBits; }
    size_t code_bytes() const override { return (dim_ + 7) / 8; }
    bool has_factors() const override { return false; }

    float encode(const std::byte* rows, size_t n, std::byte* codes, float*, const char* argument,
                 size_t first_row) const override {
        // The floats are not kept, so the copy that is checked is made here, piece by piece.
        const size_t at_once = std::max<size_t>(1, 8192 / dim_);
        std::vector<float> copy(at_once * dim_);
        std::vector<double> squared_norms(at_once);
        for (size_t begin = 0; begin < n; begin += at_once) {
            const size_t m = std::min(at_once, n - begin);
            copy_checked(reinterpret_cast<const float*>(rows + begin * input_bytes()), m, dim_,
                         copy.data(), squared_norms.data(), argument, first_row + begin);
            kernels().dense.pack_signs(copy.data(), m, dim_,
                                       reinterpret_cast<uint8_t*>(codes + begin * code_bytes()));
        }
        return 0;
    }

    void decode(const std::byte* codes, size_t n, std::byte* rows) const override {
        std::memcpy(rows, codes, n * code_bytes());
    }

    std::unique_ptr<Scorer> prepare(const std::byte* queries, size_t n, const char* argument,
                                    size_t first_row) const override {
        Memory kept(n * code_bytes());
        encode(queries, n, kept.data(), nullptr, argument, first_row);
        return std::make_unique<BitsScorer<Hamming>>(std::move(kept), n, code_bytes(), Hamming{});
    }
    std::unique_ptr<Scorer> prepare_stored(const std::byte* code) const override {
        Memory kept(code_bytes());
        std::memcpy(kept.data(), code, code_bytes());
        return std::make_unique<BitsScorer<Hamming>>(std::move(kept), 1, code_bytes(), Hamming{});
    }
};

}  // namespace

std::shared_ptr<const Codec> make_bits(size_t dim, Metric metric) {
    if (metric == Metric::kJaccard) return std::make_shared<JaccardBits>(dim);
    return std::make_shared<Bits>(dim);
}
std::shared_ptr<const Codec> make_sign(size_t dim) {
    return std::make_shared<Sign>(dim);
}

}  // namespace nearbit
