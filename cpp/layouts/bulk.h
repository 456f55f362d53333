// Links all rows of a graph at once. Distances inside groups of near rows are products of blocks,
// several times cheaper than as many that are met one by one on walks; rows are in several groups,
// so that what is near but parted in one is together in another (PiPNN, arXiv 2602.21247).
#pragma once

#include "base/bits.h"
#include "base/watch.h"
#include "layouts/flat.h"
#include "layouts/graph.h"

namespace nearbit {

// Not rows so long that groups of them take too much memory.
bool can_link_in_bulk(const Codec& codec);

// Makes the vertices' links, in a graph that has none but room for n_slots. The same on any number
// of threads. Makes each vertex one that can be reached, too. bytes_beside: of the graph that is
// searched meanwhile, so much less memory is taken for this one. told: how much of the watch's work
// that is.
void link_in_bulk(Graph& graph, const Flat& rows, Words vertices, size_t n_slots,
                  size_t bytes_beside, size_t told, size_t threads, Watch* watch);

}  // namespace nearbit
