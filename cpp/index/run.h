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

constexpr size_t kDefaultEf = 100;  // recall@10 of .97 on 117,659 text embeddings
// More neighbours than that are found by a scan: 1,000, and for a stored row itself.
constexpr size_t kMostWalked = 1001;

struct SearchRequest {
    const Input& queries;
    size_t k = 10;                         // Best::kAll: all within the radius
    const float* radii = nullptr;          // one for each query; null: no limit
    bool range = false;                    // all within the radii are wanted, though at most k
    double refine_factor = kRefineFactor;  // where there is a finer copy and not range
    size_t ef = kDefaultEf;                // of walks
    bool exact = false;                    // scan, whatever the layout
    const Filter* const* filters =
        nullptr;  // one for each query, a null one allows all; null: none
    size_t threads = 1;
    Watch* watch = nullptr;  // null: a call too short to be watched
};

// What was done for a query: vertices whose links a walk followed; rows that it scored or that a
// scan went over, those of them whose whole code was scored since a first pass could not exclude
// them, and those that the finer copy was asked for.
struct SearchCounts {
    size_t hops = 0, distances = 0, candidates = 0, refined = 0;
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
    // Whether a walk may come to the answers sooner than a scan. It offers what it finds to the
    // collector, and says false if it found too little: then the rows have to be scanned.
    virtual bool walks(const SearchRequest&, const Admit*) const { return false; }
    virtual bool walk(const Scorer&, size_t, const SearchRequest&, double, const Admit*, Collector&,
                      SearchCounts&) const {
        return false;
    }
    // What re-scores the best of the rows by a finer copy; null: none. And a step of it.
    virtual const Codec* fine() const { return nullptr; }
    // How many times larger than the codec says errors of estimates may be.
    virtual double stretch() const { return 1; }
    virtual bool refine(Refining&, const Scorer&) const { return false; }
};

void run_search(const Searched& searched, const Codec& codec, const SearchRequest& request,
                const TakeHits& take);

}  // namespace nearbit
