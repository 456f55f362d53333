#include "index/codes.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "base/random.h"
#include "base/threads.h"
#include "codecs/dense.h"

namespace nearbit {
namespace {

constexpr size_t kPieceBytes = size_t(256) << 10;  // of rows, encoded or decoded in one task
constexpr size_t kScoredBytes = size_t(64) << 10;  // of codes, scored between two looks at a watch
constexpr size_t kMostQueries = 64;                // scored together: a few milliseconds a piece
constexpr size_t kMostQueryBytes = size_t(4) << 20;
constexpr size_t kPartsPerThread = 4;  // of the codes, where there are few queries

size_t divide_up(size_t n, size_t by) {
    return (n + by - 1) / by;
}

// Codes as a codec takes them, without factors between them.
class Apart {
  public:
    Apart(const Codec& codec, const Input& codes) : codec_(codec), codes_(codes) {}

    void take(size_t first, size_t n) {
        bytes_ = codes_.rows(first, n, converted_);
        if (!codec_.has_factors()) return;
        const size_t code_bytes = codec_.code_bytes(), whole = whole_code_bytes(codec_);
        apart_.at_least(n * code_bytes);
        factors_.resize(n);
        for (size_t i = 0; i < n; ++i) {
            const std::byte* const code = bytes_ + i * whole;
            std::memcpy(apart_.data() + i * code_bytes, code, code_bytes);
            std::memcpy(&factors_[i], code + code_bytes, sizeof(float));
        }
        bytes_ = apart_.data();
    }
    const std::byte* bytes() const { return bytes_; }
    const float* factors() const { return codec_.has_factors() ? factors_.data() : nullptr; }

  private:
    const Codec& codec_;
    const Input& codes_;
    Memory converted_, apart_;
    std::vector<float> factors_;
    const std::byte* bytes_ = nullptr;
};

// Keeps the distance of every code from one query.
class Distances final : public Collector {
  public:
    explicit Distances(float* out) : out_(out) {}
    void offer(uint32_t slot, double distance) override { out_[slot] = float(distance); }

  private:
    float* out_;
};

}  // namespace

std::vector<uint64_t> training_rows(const Codec& codec, size_t n) {
    Random random(codec.settings().seed);
    return sample(random, n, std::min(n, codec.sample_size()));
}

std::vector<float> training_sample(const Codec& codec, const Input& sample, Watch* watch) {
    if (sample.n < codec.train_size()) {
        throw InvalidArgument(std::string(sample.argument) + ": expected at least " +
                              std::to_string(codec.train_size()) + " rows for codec '" +
                              codec.name() + "', got " + std::to_string(sample.n));
    }
    const std::vector<uint64_t> chosen = training_rows(codec, sample.n);
    const auto plain = make_float32(codec.dim(), codec.metric());
    std::vector<float> rows(chosen.size() * codec.dim()), unused(codec.dim());
    Memory scratch;
    float factor;
    size_t n_kept = 0;
    for (size_t i = 0; i < sample.n; ++i) {
        const bool keep = n_kept < chosen.size() && chosen[n_kept] == i;
        float* const row = keep ? rows.data() + n_kept++ * codec.dim() : unused.data();
        plain->encode(sample.rows(i, 1, scratch), 1, reinterpret_cast<std::byte*>(row), &factor,
                      sample.argument, i);
        if (watch != nullptr && i % 1024 == 0) watch->advance(0);
    }
    return rows;
}

std::shared_ptr<const Codec> train_codec(std::shared_ptr<const Codec> codec, const Input& sample,
                                         size_t threads, Watch* watch) {
    if (codec->train_size() == 0) return codec;
    return codec->train(training_sample(*codec, sample, watch), threads, watch);
}

void encode_rows(const Codec& codec, const Input& rows, size_t threads, Watch* watch,
                 std::byte* codes) {
    const size_t code_bytes = codec.code_bytes(), whole = whole_code_bytes(codec);
    const size_t at_once = std::max<size_t>(1, kPieceBytes / codec.input_bytes());
    if (watch != nullptr) watch->expect(rows.n);
    parallel_for(divide_up(rows.n, at_once), threads, watch, [&](size_t task) {
        const size_t first = task * at_once, n = std::min(at_once, rows.n - first);
        Memory converted;
        const std::byte* const in = rows.rows(first, n, converted);
        std::byte* const out = codes + first * whole;
        if (!codec.has_factors()) {
            codec.encode(in, n, out, nullptr, rows.argument, first);
        } else {
            Memory apart(n * code_bytes);
            std::vector<float> factors(n);
            codec.encode(in, n, apart.data(), factors.data(), rows.argument, first);
            for (size_t i = 0; i < n; ++i) {
                std::memcpy(out + i * whole, apart.data() + i * code_bytes, code_bytes);
                std::memcpy(out + i * whole + code_bytes, &factors[i], sizeof(float));
            }
        }
        if (watch != nullptr) watch->advance(n);
    });
}

void decode_codes(const Codec& codec, const Input& codes, size_t threads, Watch* watch,
                  std::byte* rows) {
    const size_t row_bytes = codec.output_bytes();
    const size_t at_once = std::max<size_t>(1, kPieceBytes / row_bytes);
    if (watch != nullptr) watch->expect(codes.n);
    parallel_for(divide_up(codes.n, at_once), threads, watch, [&](size_t task) {
        const size_t first = task * at_once, n = std::min(at_once, codes.n - first);
        Apart apart(codec, codes);
        apart.take(first, n);
        codec.decode(apart.bytes(), n, rows + first * row_bytes);
        if (watch != nullptr) watch->advance(n);
    });
}

// A task is some queries and a part of the codes.
void distances_to(const Codec& codec, const Input& queries, const Input& codes, size_t threads,
                  Watch* watch, float* distances) {
    if (watch != nullptr) watch->expect(queries.n * codes.n);
    const size_t together =
        std::clamp<size_t>(kMostQueryBytes / codec.query_bytes(), 1, kMostQueries);
    const size_t at_once = std::clamp<size_t>(kScoredBytes / codec.code_bytes(), 1, 4096);
    const size_t n_groups = divide_up(queries.n, together);
    const size_t n_pieces = divide_up(codes.n, at_once);
    const size_t wanted = divide_up(kPartsPerThread * threads, std::max<size_t>(1, n_groups));
    const size_t n_parts = std::clamp<size_t>(wanted, 1, std::max<size_t>(1, n_pieces));
    const size_t part_codes = divide_up(n_pieces, n_parts) * at_once;
    std::vector<uint32_t> rows(at_once);
    for (size_t i = 0; i < at_once; ++i) rows[i] = uint32_t(i);

    parallel_for(n_groups * n_parts, threads, watch, [&](size_t task) {
        const size_t first = task / n_parts * together, nq = std::min(together, queries.n - first);
        Memory converted;
        const auto scorer =
            codec.prepare(queries.rows(first, nq, converted), nq, queries.argument, first);
        Apart apart(codec, codes);
        const size_t begin = task % n_parts * part_codes;
        const size_t end = std::min(codes.n, begin + part_codes);
        for (size_t at = begin; at < end; at += at_once) {
            const size_t n = std::min(at_once, end - at);
            apart.take(at, n);
            std::vector<Distances> collectors;
            std::vector<Collector*> pointers;
            collectors.reserve(nq);
            for (size_t q = first; q < first + nq; ++q) {
                float* const out = distances + q * codes.n + at;
                std::fill_n(out, n, kInfinity);
                collectors.emplace_back(out);
                pointers.push_back(&collectors.back());
            }
            const Block block = {.codes = apart.bytes(),
                                 .factors = apart.factors(),
                                 .admit = nullptr,
                                 .slots = nullptr,
                                 .first_slot = 0,
                                 .n = uint32_t(n)};
            scorer->gather(block, rows.data(), n, pointers.data());
            if (watch != nullptr) watch->advance(n * nq);
        }
    });
}

}  // namespace nearbit
