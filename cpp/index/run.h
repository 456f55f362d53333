// Runs queries over rows: in groups and parts, on several threads, in bounded units of work.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "base/watch.h"
#include "codecs/codec.h"
#include "index/best.h"
#include "index/filter.h"
#include "index/input.h"
#include "index/refine.h"

namespace nearbit {

struct SearchRequest {
    const Input& queries;
    size_t k = 10;                         // Best::kAll: all within the radius
    const float* radii = nullptr;          // one for each query; null: no limit
    bool range = false;                    // all within the radii are wanted, though at most k
    double refine_factor = kRefineFactor;  // where there is a finer copy and not range
    const Filter* const* filters =
        nullptr;  // one for each query, a null one allows all; null: none
    size_t threads = 1;
    Watch* watch = nullptr;  // null: a call too short to be watched
};

// What was done for a query: rows that the scan went over, those of them whose whole code was
// scored since a first pass could not exclude them, and those that the finer copy was asked for.
struct SearchCounts {
    size_t distances = 0, candidates = 0, refined = 0;
};

// Takes a query's hits, ascending. Called once for each query, on any thread.
using TakeHits =
    std::function<void(size_t query, const std::vector<Hit>& hits, const SearchCounts& counts)>;

// What is searched: an index as it was when the call began, or plain rows.
class Searched {
  public:
    virtual ~Searched() = default;
    virtual size_t n_rows() const = 0;
    // What a filter (null: none) admits; null: every row.
    virtual std::shared_ptr<const Admit> admit(const Filter* filter) const = 0;
    virtual Best collector(size_t k, float radius) const = 0;
    // Offers rows begin..end-1 to collectors; begin is a multiple of 64. One bounded unit of work.
    virtual void scan(const Scorer& scorer, size_t n_queries, size_t begin, size_t end,
                      const Admit* admit, Collector* const* collectors, Memory& scratch) const = 0;
    // What re-scores the best of the rows by a finer copy; null: none. And a step of it.
    virtual const Codec* fine() const { return nullptr; }
    virtual bool refine(Refining&, const Scorer&) const { return false; }
};

void run_search(const Searched& searched, const Codec& codec, const SearchRequest& request,
                const TakeHits& take);

}  // namespace nearbit
