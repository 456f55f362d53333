#include "codecs/bits.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "codecs/dense.h"
#include "kernels/kernels.h"

namespace nearbit {
namespace {

class BitsScorer final : public Scorer {
  public:
    // queries: n packed rows, which the scorer keeps.
    BitsScorer(Memory queries, size_t n, size_t n_bytes)
        : kernels_(kernels().bits), queries_(std::move(queries)), n_(n), n_bytes_(n_bytes) {
        if (n == 1) return;
        packed_ = Memory(kernels_.packed_size(uint32_t(n), n_bytes));
        kernels_.pack_queries(query(0), uint32_t(n), n_bytes, packed());
    }

    void scan(const Block& block, Collector* const* collectors, Memory& scratch) const override {
        const size_t workspace =
            n_ == 1 ? 0 : (kernels_.tile_workspace(uint32_t(n_), n_bytes_) + 63) / 64 * 64;
        scratch.at_least(workspace + n_ * sizeof(int32_t));
        Drain drain(block, collectors, n_ == 1 ? kSinkOfOneQuery : kSinkOfMany);
        drain.thresholds = reinterpret_cast<int32_t*>(scratch.data() + workspace);
        for (size_t q = 0; q < n_; ++q) drain.thresholds[q] = whole(collectors[q]->threshold());
        if (n_ == 1) {
            kernels_.scan(query(0), n_bytes_, bits_block(block), drain.thresholds, &drain);
        } else {
            kernels_.tile(query(0), packed(), uint32_t(n_), n_bytes_, bits_block(block),
                          drain.thresholds, reinterpret_cast<uint8_t*>(scratch.data()), &drain);
        }
        drain.empty();
    }

    void gather(const Block& block, const uint32_t* rows, size_t n,
                Collector* const* collectors) const override {
        constexpr size_t kAtOnce = 256;
        uint32_t distances[kAtOnce];
        for (size_t q = 0; q < n_; ++q) {
            for (size_t begin = 0; begin < n; begin += kAtOnce) {
                const size_t m = std::min(kAtOnce, n - begin);
                kernels_.gather(query(q), n_bytes_, bits_block(block).rows, rows + begin, m,
                                distances);
                for (size_t i = 0; i < m; ++i) {
                    if (float(distances[i]) <= collectors[q]->threshold()) {
                        collectors[q]->offer(block.slot(rows[begin + i]), float(distances[i]));
                    }
                }
            }
        }
    }

  private:
    struct Drain : Sink {
        Drain(const Block& block_, Collector* const* collectors_, uint32_t n_places)
            : block(block_), collectors(collectors_) {
            items = places;
            count = 0;
            capacity = n_places;
            drain = [](Sink* sink) { static_cast<Drain*>(sink)->empty(); };
        }
        void empty() {
            for (uint32_t i = 0; i < count; ++i) {
                const Candidate& c = places[i];
                collectors[c.query]->offer(block.slot(c.row), c.distance);
                thresholds[c.query] = whole(collectors[c.query]->threshold());
            }
            count = 0;
        }
        const Block& block;
        Collector* const* collectors;
        int32_t* thresholds = nullptr;
        Candidate places[kSinkOfMany];
    };

    // The largest whole distance within a threshold.
    static int32_t whole(float threshold) {
        if (threshold < 0) return -1;
        return threshold >= float(kMaxBits) ? int32_t(kMaxBits) : int32_t(threshold);
    }

    static BitsBlock bits_block(const Block& block) {
        return {reinterpret_cast<const uint8_t*>(block.codes), block.admit, block.n};
    }

    const uint8_t* query(size_t q) const {
        return reinterpret_cast<const uint8_t*>(queries_.data()) + q * n_bytes_;
    }

    uint8_t* packed() const { return reinterpret_cast<uint8_t*>(packed_.data()); }

    const BitsKernels& kernels_;
    const Memory queries_;
    Memory packed_;
    const size_t n_, n_bytes_;
};

class Bits final : public Codec {
  public:
    explicit Bits(size_t dim) : Codec(dim, Metric::kHamming) {}
    const char* name() const override { return "bits"; }
    InputType input() const override { return InputType::kBits; }
    InputType output() const override { return InputType::kBits; }
    size_t code_bytes() const override { return dim_ / 8; }
    bool has_factors() const override { return false; }

    void encode(const std::byte* rows, size_t n, std::byte* codes, float*, const char*,
                size_t) const override {
        std::memcpy(codes, rows, n * code_bytes());
    }

    void decode(const std::byte* codes, size_t n, std::byte* rows) const override {
        std::memcpy(rows, codes, n * code_bytes());
    }

    std::unique_ptr<Scorer> prepare(const std::byte* queries, size_t n, const char*,
                                    size_t) const override {
        Memory kept(n * code_bytes());
        std::memcpy(kept.data(), queries, n * code_bytes());
        return std::make_unique<BitsScorer>(std::move(kept), n, code_bytes());
    }
};

class Sign final : public Codec {
  public:
    explicit Sign(size_t dim) : Codec(dim, Metric::kHamming) {}
    const char* name() const override { return "sign"; }
    InputType input() const override { return InputType::kFloat32; }
    InputType output() const override { return InputType::kBits; }
    size_t code_bytes() const override { return (dim_ + 7) / 8; }
    bool has_factors() const override { return false; }

    void encode(const std::byte* rows, size_t n, std::byte* codes, float*, const char* argument,
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
    }

    void decode(const std::byte* codes, size_t n, std::byte* rows) const override {
        std::memcpy(rows, codes, n * code_bytes());
    }

    std::unique_ptr<Scorer> prepare(const std::byte* queries, size_t n, const char* argument,
                                    size_t first_row) const override {
        Memory kept(n * code_bytes());
        encode(queries, n, kept.data(), nullptr, argument, first_row);
        return std::make_unique<BitsScorer>(std::move(kept), n, code_bytes());
    }
};

}  // namespace

std::shared_ptr<const Codec> make_bits(size_t dim) {
    return std::make_shared<Bits>(dim);
}
std::shared_ptr<const Codec> make_sign(size_t dim) {
    return std::make_shared<Sign>(dim);
}

}  // namespace nearbit
