// The seam between what an item is stored as and everything else.
//
// A codec turns input rows into codes and some queries into a Scorer; a layout chooses Blocks of
// codes for the Scorer to score; a Collector keeps what is worth keeping. None knows the others'
// kinds.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "base/memory.h"
#include "base/watch.h"
#include "codecs/groups.h"
#include "files/cursor.h"

namespace nearbit {

enum class Metric { kL2, kIp, kCosine, kHamming, kJaccard };
const char* metric_name(Metric metric);

enum class InputType { kFloat32, kInt8, kUint8, kBits };  // a row: dim numbers, or dim / 8 bytes

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// The best rows of one query so far. Distances are doubles, so that those of integers rank by what
// they are and not by what float32 makes of them.
class Collector {
  public:
    virtual ~Collector() = default;
    // A row in a slot at a canonical distance; those above the threshold may be left out.
    virtual void offer(uint32_t slot, double distance) = 0;
    double threshold() const { return threshold_; }
    // How many rows a first pass could not exclude, so that their whole codes were scored.
    void passed(size_t n) { n_passed_ += n; }
    size_t n_passed() const { return n_passed_; }

  protected:
    double threshold_ = kInfinity;

  private:
    size_t n_passed_ = 0;
};

// Rows one behind the other, as a codec made them.
struct Block {
    const std::byte* codes;
    const float* factors;   // one for each row, or null where the codec has none
    const uint64_t* admit;  // bit i: row i may be found; null: all may
    const uint32_t* slots;  // the slot of each row; null: first_slot, first_slot + 1, ...
    uint32_t first_slot;
    uint32_t n;
    bool grouped = false;      // codes lie in groups (codecs/groups.h); the first begins one
    bool from_memory = false;  // in turn, by one query, over more than a cache holds

    uint32_t slot(uint32_t row) const { return slots != nullptr ? slots[row] : first_slot + row; }
};

// How far a query's estimates are from the distances of the rows themselves.
struct ScoreError {
    double deviation = kInfinity;  // standard; infinite where it isn't known
    // Whether chance made it, by a random rotation, and not the rows: then a few deviations bound
    // it.
    bool random = false;
};

constexpr size_t kSinglesTogether = 32;

// Some queries, made ready. Const, so several threads may use one at once, each with scratch of its
// own.
class Scorer {
  public:
    virtual ~Scorer() = default;
    // Offers to collectors[q], for each query q, every admitted row within its threshold.
    virtual void scan(const Block& block, Collector* const* collectors, Memory& scratch) const = 0;
    // The same for chosen rows of the block, whatever its admit says.
    virtual void gather(const Block& block, const uint32_t* rows, size_t n,
                        Collector* const* collectors) const = 0;
    // The canonical distances of n codes, at most kSinglesTogether, from a query. They lie
    // anywhere, but in no group. factors: one for each, whatever it is if the codec has none.
    virtual void distances(size_t query, const uint8_t* const* codes, const float* factors,
                           size_t n, double* out) const = 0;
    // Of a query to rows like those of the training sample; for codecs that refine.
    virtual ScoreError error(size_t) const { return {}; }
};

// What a codec is asked to be; fields that it has no use for are 0.
struct CodecSettings {
    std::string name;
    uint32_t bits = 0;     // of a number; of a whole row for pcasq (factors too) and itq
    uint32_t m = 0;        // parts
    bool rotated = false;  // along principal components first
    uint64_t seed = 0;
    // Of pq: a transform and codebooks that were learned elsewhere, as files hold them; else null.
    std::shared_ptr<const std::string> given = nullptr;
};

class Codec {
  public:
    virtual ~Codec() = default;
    virtual const char* name() const = 0;
    virtual InputType input() const = 0;
    virtual InputType output() const = 0;  // what decode gives back
    virtual size_t code_bytes() const = 0;
    // What a scorer keeps of a query, about: so many go together that they stay in bounds.
    virtual size_t query_bytes() const { return code_bytes(); }
    virtual bool has_factors() const = 0;
    // Whether a scan wants codes in groups of kGroupLanes, byte by byte (codecs/groups.h). Such a
    // code holds its factors.
    virtual bool grouped() const { return false; }

    // The same codec with codes of as many bytes in the form that is scored soonest one by one, out
    // of groups. Null: it is this one's.
    virtual std::shared_ptr<const Codec> single() const { return nullptr; }

    // Whether distances are estimates, which a finer copy of the best rows can correct.
    virtual bool refines() const { return false; }

    // A codec that learns from a sample is made untrained: it can then do nothing but train. The
    // rows are those of an index, checked, scaled to length 1 for cosine by the codec itself.
    virtual bool trained() const { return true; }
    virtual size_t train_size() const { return 0; }   // rows that training wants
    virtual size_t sample_size() const { return 0; }  // rows that are worth training on
    virtual CodecSettings settings() const { return {.name = name()}; }
    // The sample is used up: it may be larger than all that an index keeps.
    virtual std::shared_ptr<const Codec> train(std::vector<float> sample, size_t threads,
                                               Watch* watch) const;
    // For files: settings and what training found, as read_codec reads them.
    virtual void write(Fields&) const {}

    // codes: n * code_bytes(); factors: n, or null if there are none. Reads each input row once:
    // the code is checked, not the caller's array, which another thread may be writing to. Throws
    // InvalidArgument naming `argument` and its row (first_row + i) if a row can't be stored.
    // Returns the rows' stretch: as many times as what the training sample said may estimates of
    // them be off (1 and less: like it), and 0 of a codec that doesn't estimate.
    virtual float encode(const std::byte* rows, size_t n, std::byte* codes, float* factors,
                         const char* argument, size_t first_row) const = 0;
    // Whether a row may have gone beyond what the training sample had, by the first bytes of its
    // code, of which there are kMostFactorBytes at most.
    static constexpr size_t kMostFactorBytes = 4;
    virtual bool beyond_sample(const std::byte*) const { return false; }
    // The finest copy of rows that codes hold, in the output type.
    virtual void decode(const std::byte* codes, size_t n, std::byte* rows) const = 0;
    // Copies and checks n input rows as queries; errors as of encode.
    virtual std::unique_ptr<Scorer> prepare(const std::byte* queries, size_t n,
                                            const char* argument, size_t first_row) const = 0;
    // A stored row as a query, for layouts that link rows with each other.
    virtual std::unique_ptr<Scorer> prepare_stored(const std::byte* code) const;

    size_t dim() const { return dim_; }
    Metric metric() const { return metric_; }
    size_t input_bytes() const {
        return input() == InputType::kBits ? dim_ / 8 : number_bytes(input());
    }
    size_t output_bytes() const {
        return output() == InputType::kBits ? code_bytes() : number_bytes(output());
    }

  protected:
    Codec(size_t dim, Metric metric) : dim_(dim), metric_(metric) {}
    const size_t dim_;
    const Metric metric_;

  private:
    size_t number_bytes(InputType type) const {
        return type == InputType::kFloat32 ? dim_ * sizeof(float) : dim_;
    }
};

constexpr size_t kMaxDim = 65536;             // of floats
constexpr size_t kMaxBits = size_t(1) << 24;  // counts of bits up to here are exact in a float

// The one table of what goes with what: throws InvalidArgument with what there is.
std::shared_ptr<const Codec> make_codec(const CodecSettings& settings, size_t dim,
                                        const std::string& metric);
std::shared_ptr<const Codec> read_codec(const std::string& name, size_t dim,
                                        const std::string& metric, Cursor& fields);
inline std::shared_ptr<const Codec> make_codec(const std::string& name, size_t dim,
                                               const std::string& metric) {
    return make_codec(CodecSettings{.name = name}, dim, metric);
}

}  // namespace nearbit
