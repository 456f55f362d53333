// The graph layout: each slot is linked to others near it, and a walk from link to link comes to
// the nearest of a query (walk.h). What is here are the links and how they change in memory; link.h
// chooses them.
//
// Every vertex can be reached from the first entry: each but that has a parent that links to it,
// and the parents' parents lead there. No change takes a link from a parent to its child without
// giving the child another parent that comes from elsewhere.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/bits.h"
#include "base/column.h"
#include "base/memory.h"
#include "base/prefetch.h"
#include "codecs/codec.h"
#include "layouts/slots.h"

namespace nearbit {

struct GraphSettings {
    uint32_t degree = 32;            // most links of a vertex
    uint32_t ef_construction = 128;  // of the walk that finds what to link to
    double alpha = 1.05;             // a link is to shorten the way by this factor
    uint64_t seed = 0;
};
constexpr uint32_t kLeastDegree = 4, kMostDegree = 512;
constexpr uint32_t kMostEf = 65536;
constexpr size_t kMostEntries = 32;
constexpr uint64_t kMostEntered = uint64_t(1) << 62;  // vertices ever; that many can't come
constexpr double kLeastAlpha = 1, kMostAlpha = 2;

// Distances are squares of lengths, or behave like them, so alpha is squared; but products are no
// lengths, and have no alpha.
inline double alpha_of_squares(const GraphSettings& settings, Metric metric) {
    return metric == Metric::kIp ? 1 : settings.alpha * settings.alpha;
}

class Graph {
  public:
    explicit Graph(const GraphSettings& settings);

    const GraphSettings& settings() const { return settings_; }
    // No vertex is there yet: slots are scanned.
    bool empty() const { return entries_.empty(); }
    size_t degree() const { return settings_.degree; }
    size_t n_slots() const { return n_slots_; }  // vertices are below
    const uint32_t* links(size_t slot) const {
        return reinterpret_cast<const uint32_t*>(links_.at(slot));
    }
    void prefetch_links(size_t slot) const { prefetch(links(slot), links_.item_bytes()); }
    // Where walks begin. The first reaches all vertices and is there for ever, though its row may
    // not be live.
    std::span<const uint32_t> entries() const { return entries_; }
    size_t n_bytes() const;  // of links and parents

    // Where the writer keeps what else is known of n slots.
    void make_parents(size_t n) { parents_.resize(std::max(parents_.size(), n), kNoSlot); }
    // Room for links of n slots, made aside and adopted while readers are kept out.
    std::vector<Memory> room_for(size_t n) const { return links_.chunks_for(n); }
    void adopt(std::vector<Memory> room) { links_.adopt(std::move(room)); }

    // For files: rows of links, and how many vertices there ever were (which chooses entries).
    Column& rows() { return links_; }
    const Column& rows() const { return links_; }
    uint64_t n_entered() const { return n_entered_; }
    bool has_parents() const { return !parents_.empty(); }  // so that it can be changed
    // Rows that lie in a file, for walking alone.
    void view(size_t n_slots, std::vector<uint32_t> entries, uint64_t n_entered);
    // A vertex's links in other slots, which all that it links to have.
    void renumber(size_t slot, const std::vector<uint32_t>& slots, uint32_t* out) const;
    // The same graph in other slots, of which there are n.
    std::unique_ptr<Graph> renumbered(const std::vector<uint32_t>& slots, size_t n) const;

    // ------------------------------------------------------------------ dead vertices
    // A dead vertex still leads on. It is taken out of all links by a lap over all vertices, of
    // which each death brings some steps about; then its slot is free. So about a fortieth of all
    // vertices die while a lap lasts, and a twentieth are dead at most once all steps are done that
    // are due.
    void reserve_dead(size_t n) { make_room(dead_, n); }
    void note_dead(const std::vector<uint32_t>& slots);  // after reserve_dead
    std::vector<uint32_t> dead() const;                  // whose slots are not free yet
    // The next vertex to be taken a look at; kNoSlot: none is due, or a lap has ended.
    uint32_t next_step();
    void step_back() { --cursor_, ++n_due_; }  // that step is still to be done
    // When a lap has ended: first no walk begins at its slots any more but at a link of each that
    // stays, while readers are kept out; then what is left of them goes. No link leads to these
    // slots.
    void leave_entries();
    std::vector<uint32_t> end_lap();
    bool lap_ended() const { return cursor_ == lap_end_ && !leaving_.empty(); }

  private:
    friend class Linker;

    bool is_vertex(uint32_t slot) const { return parents_[slot] != kNoSlot || slot == entries_[0]; }

    GraphSettings settings_;
    Column links_;
    size_t n_slots_ = 0;
    bool viewed_ = false;  // and so without parents
    std::vector<uint32_t> entries_;
    // The writer's own.
    std::vector<uint32_t> parents_;         // by slot; kNoSlot: no vertex, or the first entry
    uint64_t n_entered_ = 0;                // vertices ever
    std::vector<uint32_t> dead_, leaving_;  // since the lap began; before
    Words is_leaving_;
    size_t cursor_ = 0, lap_end_ = 0, n_due_ = 0;
};

}  // namespace nearbit
