// Candidates of a tile or scan, scored once more and canonically.
#pragma once

#include "codecs/codec.h"
#include "kernels/kernels.h"

namespace nearbit {

// Scorer has score(query, block, rows, n, collector) and bound(query, threshold), what a kernel may
// compare with. The caller sets bounds, one for each query, before the first drain.
template <class Scorer, class Bound>
struct Drain : Sink {
    Drain(const Scorer& scorer_, const Block& block_, Collector* const* collectors_,
          bool many_queries)
        : scorer(scorer_), block(block_), collectors(collectors_) {
        items = places;
        count = 0;
        capacity = many_queries ? kSinkOfMany : kSinkOfOneQuery;
        drain = [](Sink* sink) { static_cast<Drain*>(sink)->empty(); };
    }
    // Candidates of one query usually come together: score each run at once.
    void empty() {
        uint32_t rows[kSinkOfMany];
        for (uint32_t begin = 0, end; begin < count; begin = end) {
            const uint32_t q = places[begin].query;
            for (end = begin; end < count && places[end].query == q; ++end) {
                rows[end - begin] = places[end].row;
            }
            scorer.score(q, block, rows, end - begin, *collectors[q]);
            bounds[q] = scorer.bound(q, collectors[q]->threshold());
        }
        count = 0;
    }

    const Scorer& scorer;
    const Block& block;
    Collector* const* collectors;
    Bound* bounds = nullptr;
    Candidate places[kSinkOfMany];
};

}  // namespace nearbit
