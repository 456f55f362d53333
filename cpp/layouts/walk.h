// The walk from link to link: how a graph is searched, and how it finds what to link a row to.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "base/bits.h"
#include "layouts/graph.h"

namespace nearbit {

// The slots that a walk has scored: a bit each, as n / 8 bytes stay in the cache where a stamp for
// each slot would not; and a list, by which few of many bits are cleared afterwards.
class Visited {
  public:
    void start(size_t n_slots) {
        if (listed_) {
            for (const uint32_t slot : slots_) words_[slot / 64] = 0;
        } else {
            std::fill_n(words_.begin(), words_for(n_slots_), uint64_t(0));
        }
        slots_.clear();
        listed_ = true;
        if (words_.size() < words_for(n_slots)) words_.resize(words_for(n_slots));
        n_slots_ = n_slots;
    }
    // Of up to n slots, which end where one is kNoSlot, those that were not there; now they are.
    // They may be read until the next are inserted. Slots that there are none of are passed over.
    std::span<const uint32_t> insert(const uint32_t* slots, size_t n) {
        if (slots_.size() > words_for(n_slots_) / kWordsCleared) {
            slots_.clear();
            listed_ = false;
        }
        const size_t before = slots_.size(), n_slots = n_slots_;
        slots_.resize(before + n);
        uint32_t* const fresh = slots_.data() + before;
        uint64_t* const words = words_.data();
        size_t n_fresh = 0;
        for (size_t i = 0; i < n && slots[i] != kNoSlot; ++i) {
            const uint32_t slot = slots[i];
            if (slot >= n_slots) continue;
            fresh[n_fresh] = slot;
            const uint64_t bit = uint64_t(1) << (slot % 64);
            n_fresh += (words[slot / 64] & bit) == 0;
            words[slot / 64] |= bit;
        }
        slots_.resize(before + n_fresh);
        return {fresh, n_fresh};
    }

  private:
    static constexpr size_t kWordsCleared = 8;  // at once, in the time of a lone one, or more
    Words words_;
    std::vector<uint32_t> slots_;
    bool listed_ = true;  // all of them
    size_t n_slots_ = 0;
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
        limit_ = double(kInfinity);
        n_admitted_ = next_ = 0;
    }
    // Beyond it nothing can come in any more: the ef-th distance, or the radius if that is larger.
    double limit() const { return limit_; }
    void insert(double distance, uint32_t slot, bool admitted) {
        if (!(distance <= limit_)) return;  // NaN, from a damaged file, isn't kept either
        const size_t at = place_of(distance, slot);
        next_ = std::min(next_, at);
        entries_.push_back({});
        Entry* const place = entries_.data() + at;
        std::memmove(place + 1, place, (entries_.size() - 1 - at) * sizeof(Entry));
        *place = {distance, slot, admitted, false};
        n_admitted_ += admitted;
        while (n_admitted_ >= ef_ && entries_.back().distance > radius_ &&
               (n_admitted_ > ef_ || !entries_.back().admitted)) {
            n_admitted_ -= entries_.back().admitted;
            entries_.pop_back();
        }
        if (n_admitted_ >= ef_) limit_ = std::max(entries_.back().distance, radius_);
    }
    // The nearest entry that is not expanded yet, and from now on is; null: all are.
    const Entry* expand_next() {
        while (next_ < entries_.size() && entries_[next_].expanded) ++next_;
        if (next_ == entries_.size()) return nullptr;
        entries_[next_].expanded = true;
        return &entries_[next_++];
    }
    const std::vector<Entry>& entries() const { return entries_; }

  private:
    // Behind all that are nearer, or as near and of smaller slots. Without branches, which would be
    // guessed wrong half of the time.
    size_t place_of(double distance, uint32_t slot) const {
        size_t first = 0;
        for (size_t n = entries_.size(); n != 0;) {
            const size_t half = (n + 1) / 2;
            const Entry& middle = entries_[first + half - 1];
            const bool behind = int(middle.distance < distance) |
                                (int(middle.distance == distance) & int(middle.slot < slot));
            first += behind ? half : 0;
            n -= half;
        }
        return first;
    }

    std::vector<Entry> entries_;
    size_t ef_ = 1, n_admitted_ = 0, next_ = 0;  // entries before next_ are expanded
    double radius_ = 0, limit_ = double(kInfinity);
};

// What a thread needs to walk.
struct WalkScratch {
    Visited visited;
    Pool pool;
    std::vector<double> distances;
};
// This thread's own; a walk calls nothing that walks.
WalkScratch& walk_scratch();

struct WalkEffort {
    size_t ef;              // as many of the nearest are kept, and what they link to is looked at
    double radius;          // all within it are, whatever ef is; below 0: none
    size_t most_distances;  // beyond so many it gives up
    size_t most_kept;       // and beyond so many in the pool, each of which costs a move of those
};

struct WalkCounts {
    size_t hops = 0, distances = 0;
    bool gave_up = false;
};

// Leaves the nearest slots in scratch.pool. View is what is walked:
//   n_slots()        slots from here on, from a damaged file, are passed over
//   degree(), entries()       most links of a slot, and where to begin
//   links(slot)      degree() slots, kNoSlot behind the last
//   prefetch(slots, n)        begins to fetch what distances reads, prefetch_links(slot) links
//   distances(slots, n, out)  from the query
//   admits(slot)     whether it may be found
template <class View>
WalkCounts walk(const View& view, const WalkEffort& effort, WalkScratch& scratch) {
    Visited& visited = scratch.visited;
    Pool& pool = scratch.pool;
    const size_t degree = view.degree();
    WalkCounts counts;
    visited.start(view.n_slots());
    pool.start(effort.ef, effort.radius);

    scratch.distances.resize(std::max(degree, view.entries().size()));
    double* const distances = scratch.distances.data();

    // Slots not seen before are all on their way from memory before the first is scored; and so are
    // the links of those that may come next.
    const auto look_at = [&](const uint32_t* slots, size_t n) {
        const std::span<const uint32_t> fresh = visited.insert(slots, n);
        view.prefetch(fresh.data(), fresh.size());
        view.distances(fresh.data(), fresh.size(), distances);
        for (size_t i = 0; i < fresh.size(); ++i) {
            if (!(distances[i] <= pool.limit())) continue;
            view.prefetch_links(fresh[i]);
            pool.insert(distances[i], fresh[i], view.admits(fresh[i]));
        }
        counts.distances += fresh.size();
    };
    look_at(view.entries().data(), view.entries().size());
    while (const Pool::Entry* const nearest = pool.expand_next()) {
        if (counts.distances > effort.most_distances || pool.entries().size() > effort.most_kept) {
            counts.gave_up = true;
            break;
        }
        ++counts.hops;
        look_at(view.links(nearest->slot), degree);
    }
    return counts;
}

}  // namespace nearbit
