// Scores the codes of a compact codec.
#pragma once

#include <cstddef>
#include <memory>

#include "codecs/codec.h"
#include "codecs/compact_model.h"

namespace nearbit {

std::unique_ptr<Scorer> make_compact_scorer(std::shared_ptr<const CompactModel> model,
                                            const float* queries, size_t n, const char* argument,
                                            size_t first_row);

}  // namespace nearbit
