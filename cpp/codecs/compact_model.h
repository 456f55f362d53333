// What a compact codec has learned, and what that makes of a row before and after it is quantised.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "codecs/codec.h"
#include "codecs/compact.h"
#include "codecs/small_float.h"
#include "kernels/kernels.h"
#include "transforms/transform.h"

namespace nearbit {

constexpr size_t kTransformedTogether = 64;  // rows
constexpr float kLeastUnbias = 0.25f, kMostUnbias = 4;

// A row, or its direction, before it is quantised; a query with no need of lengths.
struct CompactRow {
    double squared;    // |x - c|^2, or |x|^2 where the mean stays
    double whole;      // |x|^2
    double length;     // that the row had
    double with_mean;  // <x, c>, where the mean stays
};

struct CompactModel {
    // Of nothing learned: rules, and the bytes of factors.
    CompactModel(const CodecSettings& settings, size_t dim, Metric metric);

    const Metric metric;
    // What is quantised and what becomes of it.
    bool unit_rows;  // directions, and queries only for cosine
    bool centred;    // less the mean
    bool random;     // errors are by chance, as the rotation is
    bool unbiased;   // products with rows, over rotations; else code and row are equally long

    std::vector<float> mean;  // c: zeros unless rows are centred
    CompactParts parts{Transform::identity(1), nullptr};
    CodeFactors factors;
    std::vector<float> turned_mean;  // by the transform
    double mean_squared = 0;         // |c|^2
    // What takes off the bias of scales that make lengths right, over the sample: 1 for l2, where
    // norms would no longer match.
    float unbias = 1;
    // The standard deviation of <r, z> less its estimate, for a z of length 1: of the longest rows
    // of the sample, and how long those were.
    float error = 0, longest = 0;

    size_t payload_at() const { return size_t(factors.scale_bytes) + factors.norm_bytes; }
    size_t code_bytes() const { return payload_at() + parts.quantiser->payload_bytes(); }
    float scale(const uint8_t* code) const {
        return take_small(code, factors.scale, factors.scale_bytes);
    }
    float norm(const uint8_t* code) const {
        return take_small(code + factors.scale_bytes, factors.norm, factors.norm_bytes);
    }

    // Finds turned_mean and mean_squared.
    void measure_mean();
    // Queries or rows: checked, made of length 1 if asked, less the mean if asked, transformed.
    // scratch: as many numbers as there are in the rows.
    void transform(const float* rows, size_t n, bool to_unit, bool minus_mean, const char* argument,
                   size_t first_row, float* scratch, float* out, CompactRow* about) const;
    // Of an inner product, where directions are coded; else 1.
    double length_in_scale(const CompactRow& row) const;
    // What a code's values are to be multiplied by. r: the transformed row, y: what its code stands
    // for.
    double scale_for(const CompactRow& row, const float* r, const float* y) const;
};

// What makes a row one of length 1.
float to_length_1(double squared, Metric metric, const char* argument, size_t row);

}  // namespace nearbit
