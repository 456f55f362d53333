// Exact search over rows that no index holds.
#pragma once

#include "index/run.h"

namespace nearbit {

// The ids of the answers are row numbers of base. Throws InvalidArgument.
void knn(const Codec& codec, const Input& base, const SearchRequest& request, const TakeHits& take);

}  // namespace nearbit
