// The walk from link to link: how a graph is searched, and how it finds what to link a row to.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "base/bits.h"
#include "layouts/graph.h"

namespace nearbit {

// The slots that a walk has scored. A bit each, and a list of the words to clear afterwards: n / 8
// bytes stay in the cache where a stamp for each slot would not.
class Visited {
  public:
    void start(size_t n_slots) {
        for (const uint32_t word : touched_) words_[word] = 0;
        touched_.clear();
        if (words_.size() < words_for(n_slots)) words_.resize(words_for(n_slots));
    }
    // False: it was there.
    bool insert(uint32_t slot) {
        uint64_t& word = words_[slot / 64];
        const uint64_t bit = uint64_t(1) << (slot % 64);
        if ((word & bit) != 0) return false;
        if (word == 0) touched_.push_back(slot / 64);
        word |= bit;
        return true;
    }

  private:
    Words words_;
    std::vector<uint32_t> touched_;
};

// The nearest slots so far, ascending. It has room for `ef` that may be found and whatever others
// lie between those: these lead on, but don't count.
class Pool {
  public:
    struct Entry {
        double distance;
        uint32_t slot;
        bool admitted, expanded;
    };

    void start(size_t ef, double radius) {
        entries_.clear();
        ef_ = ef;
        radius_ = radius;
        n_admitted_ = next_ = 0;
    }
    // Beyond it nothing can come in any more: the ef-th distance, or the radius if that is larger.
    double limit() const {
        if (n_admitted_ < ef_) return double(kInfinity);
        return std::max(entries_.back().distance, radius_);
    }
    void insert(double distance, uint32_t slot, bool admitted) {
        if (!(distance <= limit())) return;  // NaN, from a damaged file, isn't kept either
        const auto before = [](const Entry& a, const Entry& b) {
            return a.distance != b.distance ? a.distance < b.distance : a.slot < b.slot;
        };
        const Entry entry = {distance, slot, admitted, false};
        const auto at = std::upper_bound(entries_.begin(), entries_.end(), entry, before);
        next_ = std::min(next_, size_t(at - entries_.begin()));
        entries_.insert(at, entry);
        n_admitted_ += admitted;
        while (n_admitted_ >= ef_ && entries_.back().distance > radius_ &&
               (n_admitted_ > ef_ || !entries_.back().admitted)) {
            n_admitted_ -= entries_.back().admitted;
            entries_.pop_back();
        }
    }
    // The nearest entry that is not expanded yet, and from now on is; null: all are.
    const Entry* expand_next() {
        while (next_ < entries_.size() && entries_[next_].expanded) ++next_;
        if (next_ == entries_.size()) return nullptr;
        entries_[next_].expanded = true;
        return &entries_[next_++];
    }
    // The one that expand_next would give.
    const Entry* peek() const {
        size_t at = next_;
        while (at < entries_.size() && entries_[at].expanded) ++at;
        return at == entries_.size() ? nullptr : &entries_[at];
    }
    const std::vector<Entry>& entries() const { return entries_; }

  private:
    std::vector<Entry> entries_;
    size_t ef_ = 1, n_admitted_ = 0, next_ = 0;  // entries before next_ are expanded
    double radius_ = 0;
};

// What a thread needs to walk.
struct WalkScratch {
    Visited visited;
    Pool pool;
    std::vector<uint32_t> fresh;
};
// This thread's own; a walk calls nothing that walks.
WalkScratch& walk_scratch();

struct WalkEffort {
    size_t ef;              // as many of the nearest are kept, and what they link to is looked at
    double radius;          // all within it are, whatever ef is; below 0: none
    size_t most_distances;  // beyond so many it gives up
};

struct WalkCounts {
    size_t hops = 0, distances = 0;
    bool gave_up = false;
};

// Leaves the nearest slots in scratch.pool. View is what is walked:
//   n_slots()        slots from here on, from a damaged file, are passed over
//   entries()        where to begin
//   links(slot)      degree() slots, kNoSlot behind the last
//   distance(slot)   from the query
//   prefetch(slot)   begins to fetch what distance(slot) reads, prefetch_links(slot) its links
//   admits(slot)     whether it may be found
template <class View>
WalkCounts walk(const View& view, const WalkEffort& effort, WalkScratch& scratch) {
    Visited& visited = scratch.visited;
    Pool& pool = scratch.pool;
    std::vector<uint32_t>& fresh = scratch.fresh;
    const size_t n_slots = view.n_slots(), degree = view.degree();
    WalkCounts counts;
    visited.start(n_slots);
    pool.start(effort.ef, effort.radius);

    // Slots not seen before are all on their way from memory before the first is scored.
    const auto look_at = [&](const uint32_t* slots, size_t n) {
        fresh.clear();
        for (size_t i = 0; i < n && slots[i] != kNoSlot; ++i) {
            if (slots[i] >= n_slots || !visited.insert(slots[i])) continue;
            view.prefetch(slots[i]);
            fresh.push_back(slots[i]);
        }
        for (const uint32_t slot : fresh) {
            pool.insert(view.distance(slot), slot, view.admits(slot));
        }
        counts.distances += fresh.size();
    };
    look_at(view.entries().data(), view.entries().size());
    while (const Pool::Entry* const nearest = pool.expand_next()) {
        if (counts.distances > effort.most_distances) {
            counts.gave_up = true;
            break;
        }
        ++counts.hops;
        look_at(view.links(nearest->slot), degree);
        if (const Pool::Entry* const next = pool.peek()) view.prefetch_links(next->slot);
    }
    return counts;
}

}  // namespace nearbit
