// Compact codecs: a row becomes a few bytes and is scored without being decoded.
//
// With c the sample's mean and T a transform, r = T(x - c) is quantised to y, and products with a
// row are estimated as <r, z> ~ s <y, z>. s makes the decoded row c + s y as long as the row is
// (around c for l2, around the origin for cosine; of an inner product the direction is quantised
// and s holds the length), so that distances are those to the decoded row. For RaBitQ and l2 it is
// |x - c|^2 / <r, y> instead: exact for z = r, and unbiased over random rotations ("RaBitQ", Gao
// and Long, SIGMOD 2024, section 3). Of s one byte is kept, or two; l2 also keeps |x - c|^2 in two.
// What a quantiser is, and how <y, z> is found, is its own affair.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "codecs/codec.h"
#include "kernels/kernels.h"
#include "transforms/transform.h"

namespace nearbit {

// Some queries, made ready for codes of one quantiser. Values are <y, z>, each one canonical
// double.
class QuantisedQueries {
  public:
    virtual ~QuantisedQueries() = default;
    // The values of n codes, at most kSinglesTogether, for query q. Payloads begin so many bytes
    // into them.
    virtual void values(size_t q, const uint8_t* const* codes, size_t payload_at, size_t n,
                        double* values) const = 0;
    // Reports every row of which norm - scale * value may be at most bounds[q]. Bounds are read
    // again whenever the sink was drained.
    virtual void scan(const CodesBlock& block, const float* bounds, Sink* sink) const = 0;
    // The largest |value| that scan may come by, for the margin of its rounding.
    virtual double largest(size_t q) const = 0;
};

class Quantiser {
  public:
    virtual ~Quantiser() = default;
    virtual size_t dim() const = 0;  // of r and z
    virtual size_t payload_bytes() const = 0;
    // Writes the payloads of n rows r, stride bytes apart, and their y.
    virtual void encode(const float* r, size_t n, uint8_t* payloads, size_t stride,
                        float* y) const = 0;
    virtual void decode(const uint8_t* payload, float* y) const = 0;
    virtual std::unique_ptr<QuantisedQueries> prepare(const float* z, size_t n) const = 0;
    // The same with payloads of as many bytes that are scored sooner one by one, but not scanned.
    // Null: there is no other form.
    virtual std::unique_ptr<const Quantiser> single() const { return nullptr; }
    virtual void write(Fields& fields) const = 0;
};

// What a codec of this kind learns.
struct CompactParts {
    Transform transform;
    std::unique_ptr<const Quantiser> quantiser;
};

// RaBitQ, SQ, PQ, PCASQ, ITQ or Sign with a metric of floats: untrained, and as write() wrote it.
std::shared_ptr<const Codec> make_compact(const CodecSettings& settings, size_t dim, Metric metric);
std::shared_ptr<const Codec> read_compact(const std::string& name, size_t dim,
                                          const std::string& metric, Cursor& fields);

}  // namespace nearbit
