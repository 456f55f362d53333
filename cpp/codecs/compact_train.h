// Learns a compact codec from a sample of rows.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "base/watch.h"
#include "codecs/codec.h"
#include "codecs/compact_model.h"

namespace nearbit {

constexpr size_t kCompactTrainSize = 1024;  // rows: a mean and ranges need no more

// The rows are those of an index, used up. Throws InvalidArgument where there are fewer than
// kCompactTrainSize.
std::shared_ptr<const CompactModel> train_compact(const CodecSettings& settings, size_t dim,
                                                  Metric metric, std::vector<float> rows,
                                                  size_t threads, Watch* watch);

}  // namespace nearbit
