// Product quantisers: a row in m parts, each the number of its nearest centroid.
#pragma once

#include <memory>

#include "codecs/compact.h"
#include "codecs/pq_codebooks.h"

namespace nearbit {

std::unique_ptr<const Quantiser> make_pq(PqCodebooks codebooks);
std::unique_ptr<const Quantiser> read_pq(Cursor& fields);

}  // namespace nearbit
