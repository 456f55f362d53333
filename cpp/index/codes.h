// A codec without an index: training, rows to codes and back, distances, files.
//
// A code here is all that a row owns: the codec's bytes and, where it has factors, the row's four
// behind them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/watch.h"
#include "codecs/codec.h"
#include "files/output.h"
#include "index/input.h"

namespace nearbit {

inline size_t whole_code_bytes(const Codec& codec) {
    return codec.code_bytes() + (codec.has_factors() ? sizeof(float) : 0);
}

// Which of n rows a codec is trained on: all, or as many as are worth it, drawn by its seed.
std::vector<uint64_t> training_rows(const Codec& codec, size_t n);
// Those rows of a sample. All of its rows are checked.
std::vector<float> training_sample(const Codec& codec, const Input& sample, Watch* watch);
// The codec trained, or itself if there is nothing to learn.
std::shared_ptr<const Codec> train_codec(std::shared_ptr<const Codec> codec, const Input& sample,
                                         size_t threads, Watch* watch);

// codes: rows.n * whole_code_bytes(codec).
void encode_rows(const Codec& codec, const Input& rows, size_t threads, Watch* watch,
                 std::byte* codes);
// rows: codes.n * codec.output_bytes(). Codes may be any bytes.
void decode_codes(const Codec& codec, const Input& codes, size_t threads, Watch* watch,
                  std::byte* rows);
// distances: queries.n * codes.n, canonical; infinity where bytes that are no code give none.
void distances_to(const Codec& codec, const Input& queries, const Input& codes, size_t threads,
                  Watch* watch, float* distances);

// Files of trained codecs (persist.cpp).
void write_codec(const Codec& codec, Output& output);
void save_codec(const Codec& codec, const std::string& path);
std::shared_ptr<const Codec> load_codec(const std::string& path, Watch* watch);
std::shared_ptr<const Codec> codec_from_bytes(std::span<const std::byte> bytes, Watch* watch);

}  // namespace nearbit
