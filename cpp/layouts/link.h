// Chooses the links of a graph, for new vertices and around dead ones.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <unordered_map>
#include <vector>

#include "base/watch.h"
#include "layouts/flat.h"
#include "layouts/graph.h"
#include "layouts/walk.h"

namespace nearbit {

// A change of a graph that is made aside: rows of links that readers look at are changed in copies,
// which apply() puts in their places while readers are kept out. Rows from first_own on nobody
// looks at yet: those are written at once.
//
// Links are chosen by the finest copy of the rows and by the index's own metric. For inner products
// that links nearly all rows to long ones, which is where answers are (ip-NSW, Morozov and Babenko
// 2018); links by Euclidean distance did far worse (docs/measurements.md).
class Linker {
  public:
    // linkable: by slot, the vertices that may be linked to, and room for all that are inserted.
    Linker(Graph& graph, const Flat& rows, Words linkable, size_t first_own, size_t threads,
           Watch* watch);
    ~Linker();

    // Makes vertices of slots whose codes are in place, for which the graph has parents' places.
    // Nothing has changed if it throws, or if finish() is never called. told: how much of the
    // watch's work that is.
    void insert(std::vector<uint32_t> slots, size_t told);

    // Takes dead vertices out of a vertex's links; to be applied before anything else. False: there
    // are none.
    bool repair(uint32_t slot);

    // The graph of the linkable vertices alone, in the same slots.
    std::unique_ptr<Graph> without_dead();

    // What is still to be applied, from the first row to the last, and then where vertices are.
    // Every vertex is in reach in between.
    size_t n_staged() const { return staged_slots_.size(); }
    void apply(size_t begin, size_t end);
    void finish(size_t n_slots);

  private:
    friend void reach_all(Graph&, const Flat&, Words, size_t, std::vector<uint32_t>, uint64_t,
                          size_t, Watch*);
    struct View;
    class Among;
    // A link with the distance between its ends.
    struct Link {
        double distance;
        uint32_t slot;
        bool kept;  // whatever else there is

        bool operator<(const Link& other) const {
            return distance != other.distance ? distance < other.distance : slot < other.slot;
        }
    };
    // A link to be added to a vertex that was there before.
    struct Back {
        uint32_t target, source;
        double distance;
        const Scorer* from;  // the source
    };

    // The other links of a vertex lead elsewhere: with as many children as links, the first of many
    // equal rows would lead to these alone.
    static size_t most_children(size_t degree) { return degree / 2; }

    bool linkable(uint32_t slot) const { return test_bit(linkable_.data(), slot); }
    const uint32_t* links(uint32_t slot) const;
    uint32_t* row(uint32_t slot);  // staged if need be
    uint32_t* staged_row(size_t at) { return staged_.data() + at * graph_.degree(); }
    void stage_last(uint32_t slot);
    void clear_staged();
    std::unique_ptr<Scorer> scorer(uint32_t slot) const;
    double distance(const Scorer& from, uint32_t to) const;

    void for_each_at_once(size_t n, const std::function<void(size_t begin, size_t end)>& work);
    void insert_some(const uint32_t* slots, size_t n, WatchedPart& part);
    std::vector<Link> candidates_for(uint32_t slot, const Scorer& from) const;
    void see(uint32_t slot, const Scorer& from, std::span<const uint32_t> others,
             std::vector<Link>& candidates) const;
    // Of candidates in order, which become those that shorten the way to themselves, and a few.
    void select(std::vector<Link>& candidates) const;
    void add_back(uint32_t target, const Back* back, size_t n, std::vector<uint32_t>& orphans);
    void make_place_for(const Back& back, bool kept, std::vector<Link>& chosen) const;
    void put(uint32_t* to, const std::vector<Link>& chosen) const;
    void enter(uint32_t slot);

    // Parents (link_parents.cpp).
    void adopt(uint32_t slot);
    bool give_child(uint32_t parent, uint32_t slot);
    void attach(std::span<const uint32_t> slots, uint32_t at);
    void find_parents();
    void tidy_rows();

    // Dead vertices (link_dead.cpp).
    bool leads_to_dead(uint32_t slot) const;
    std::vector<Link> around_dead(uint32_t slot) const;
    void keep_own(uint32_t slot, std::vector<Link>& found) const;

    Graph& graph_;
    const Flat& rows_;
    Words linkable_;
    const size_t first_own_, threads_;
    Watch* const watch_;
    const double alpha_;                        // of squares
    const std::shared_ptr<const Codec> plain_;  // of decoded rows; null: they are what they are
    std::unordered_map<uint32_t, size_t> staged_at_;
    std::vector<uint32_t> staged_slots_, staged_;
    std::vector<uint32_t> inserted_;  // until finish()
    std::vector<uint32_t> entries_;
    uint64_t n_entered_;
};

// Makes every vertex one that can be reached, in a graph of n_slots slots whose links are in place
// but were not linked here: finds parents and, for a vertex that has none, makes one link to it.
void reach_all(Graph& graph, const Flat& rows, Words vertices, size_t n_slots,
               std::vector<uint32_t> entries, uint64_t n_entered, size_t threads, Watch* watch);

}  // namespace nearbit
