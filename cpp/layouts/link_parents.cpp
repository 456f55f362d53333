// Parents: by whom each vertex is reached from the first entry.
#include <algorithm>

#include "layouts/link.h"

namespace nearbit {

// A new vertex whose parent has no room: any other that links to it will do, or else what comes
// after the parent.
void Linker::adopt(uint32_t slot) {
    const uint32_t parent = graph_.parents_[slot];
    const uint32_t* const own = links(slot);
    for (size_t i = 0; i < graph_.degree() && own[i] != kNoSlot; ++i) {
        // One that comes now, too, may be below this one.
        if (own[i] == parent || !linkable(own[i])) continue;
        const uint32_t* const of = links(own[i]);
        if (std::find(of, of + graph_.degree(), slot) == of + graph_.degree()) continue;
        graph_.parents_[slot] = own[i];
        return;
    }
    graph_.parents_[slot] = kNoSlot;
    attach({&slot, 1}, parent);
}

// Makes a vertex a child of another, unless that has children enough. In a full row its link takes
// the place of the last one that leads neither to a child nor to that one's parent.
bool Linker::give_child(uint32_t parent, uint32_t slot) {
    const size_t degree = graph_.degree();
    const uint32_t* const to = links(parent);
    size_t place = degree, n_children = 0;
    for (size_t i = 0; i < degree; ++i) {
        if (to[i] == kNoSlot) {
            place = i;
            break;
        }
        if (graph_.parents_[to[i]] == parent) {
            ++n_children;
        } else if (to[i] != graph_.parents_[parent]) {
            place = i;
        }
    }
    if (n_children >= most_children(degree)) return false;
    if (std::find(to, to + degree, slot) == to + degree) row(parent)[place] = slot;
    graph_.parents_[slot] = parent;
    return true;
}

// Makes vertices that have no parents children of another, which is not below them, or, where that
// has children enough, of the first below that one that have not. There are such: children end
// somewhere.
void Linker::attach(std::span<const uint32_t> slots, uint32_t at) {
    std::vector<uint32_t> queue = {at};
    size_t i = 0;
    for (const uint32_t slot : slots) {
        for (; !give_child(queue[i], slot); ++i) {
            const uint32_t* const to = links(queue[i]);
            for (size_t j = 0; j < graph_.degree() && to[j] != kNoSlot; ++j) {
                if (graph_.parents_[to[j]] == queue[i]) queue.push_back(to[j]);
            }
        }
    }
}

// From the first entry on, the only one there is yet.
void Linker::find_parents() {
    const size_t n_slots = 64 * linkable_.size(), degree = graph_.degree();
    std::vector<uint32_t>& parents = graph_.parents_;
    parents.assign(n_slots, kNoSlot);
    std::vector<uint32_t> vertices;
    for_each_bit(linkable_.data(), 0, n_slots,
                 [&](size_t slot) { vertices.push_back(uint32_t(slot)); });
    Words reached(linkable_.size());
    std::vector<uint32_t> queue;
    // What can be reached from queue[at] and those behind it, which get so many children at most.
    const auto reach_from = [&](size_t at, size_t most) {
        for (; at < queue.size(); ++at) {
            const uint32_t* const to = links(queue[at]);
            size_t n_children = 0;
            for (size_t i = 0; i < degree && to[i] != kNoSlot && n_children < most; ++i) {
                if (test_bit(reached.data(), to[i])) continue;
                set_bit(reached.data(), to[i]);
                parents[to[i]] = queue[at];
                queue.push_back(to[i]);
                ++n_children;
            }
            if (watch_ != nullptr && at % 1024 == 0) watch_->advance(0);
        }
    };
    const auto reach = [&](uint32_t first) {
        set_bit(reached.data(), first);
        queue.push_back(first);
        reach_from(queue.size() - 1, degree);
    };
    set_bit(reached.data(), entries_[0]);
    queue.push_back(entries_[0]);
    reach_from(0, most_children(degree));
    reach_from(0, degree);  // what only those lead to that have children enough
    for (const uint32_t slot : vertices) {
        if (test_bit(reached.data(), slot)) continue;
        const uint32_t* const own = links(slot);
        const uint32_t* const near = std::find_if(own, own + degree, [&](uint32_t to) {
            return to == kNoSlot || test_bit(reached.data(), to);
        });
        const bool found = near != own + degree && *near != kNoSlot;
        attach({&slot, 1}, found ? *near : candidates_for(slot, *scorer(slot))[0].slot);
        reach(slot);
    }
}

// Of a file a row may have a link twice, one to the vertex itself, or some behind its end.
void Linker::tidy_rows() {
    const size_t degree = graph_.degree();
    for_each_bit(linkable_.data(), 0, 64 * linkable_.size(), [&](size_t slot) {
        uint32_t* const to = row(uint32_t(slot));
        size_t n = 0;
        for (size_t i = 0; i < degree; ++i) {
            const uint32_t link = to[i];
            if (link == kNoSlot || link == slot || std::find(to, to + n, link) != to + n) continue;
            to[n++] = link;
        }
        std::fill(to + n, to + degree, kNoSlot);
        if (watch_ != nullptr && slot % 1024 == 0) watch_->advance(0);
    });
}

void reach_all(Graph& graph, const Flat& rows, Words vertices, size_t n_slots,
               std::vector<uint32_t> entries, uint64_t n_entered, size_t threads, Watch* watch) {
    Linker linker(graph, rows, std::move(vertices), 0, threads, watch);
    linker.tidy_rows();
    linker.entries_ = {entries[0]};
    linker.find_parents();
    linker.entries_ = std::move(entries);
    linker.n_entered_ = n_entered;
    linker.finish(n_slots);
}

}  // namespace nearbit
