// Dead vertices: what links to them is linked to what lies beyond.
#include <algorithm>

#include "layouts/link.h"

namespace nearbit {

// The nearest of live links, and of those of dead ones in their place; and live children of dead
// children: those the vertex has to keep.
std::vector<Linker::Link> Linker::around_dead(uint32_t slot) const {
    const size_t degree = graph_.degree();
    const uint32_t* const own = links(slot);
    std::vector<uint32_t> near, children, dead;
    for (size_t i = 0; i < degree && own[i] != kNoSlot; ++i) {
        const bool child = graph_.parents_[own[i]] == slot;
        if (linkable(own[i])) {
            (child ? children : near).push_back(own[i]);
            continue;
        }
        const uint32_t* const beyond = links(own[i]);
        for (size_t j = 0; j < degree && beyond[j] != kNoSlot; ++j) {
            if (linkable(beyond[j])) near.push_back(beyond[j]);
        }
        if (child) dead.push_back(own[i]);
    }
    for (size_t i = 0; i < dead.size(); ++i) {
        const uint32_t* const below = links(dead[i]);
        for (size_t j = 0; j < degree && below[j] != kNoSlot; ++j) {
            if (graph_.parents_[below[j]] != dead[i]) continue;
            (linkable(below[j]) ? children : dead).push_back(below[j]);
        }
    }
    std::sort(near.begin(), near.end());
    near.erase(std::unique(near.begin(), near.end()), near.end());
    std::sort(children.begin(), children.end());
    std::vector<uint32_t> all = children;
    for (const uint32_t other : near) {
        if (other == slot || std::binary_search(children.begin(), children.end(), other)) continue;
        all.push_back(other);
    }
    rows_.prefetch(all.data(), all.size());
    std::vector<double> distances(all.size());
    rows_.distances(*scorer(slot), 0, all.data(), all.size(), distances.data());
    std::vector<Link> found;
    for (size_t i = 0; i < all.size(); ++i) {
        found.push_back({distances[i], all[i], i < children.size()});
    }
    std::sort(found.begin(), found.end());
    // Of a hundred, the farther ones are rarely chosen, and cost as much as the others to look at.
    size_t n_others = 0;
    std::erase_if(found, [&](const Link& link) {
        if (link.kept || std::find(own, own + degree, link.slot) != own + degree) return false;
        return ++n_others > 2 * degree;
    });
    return found;
}

bool Linker::leads_to_dead(uint32_t slot) const {
    const uint32_t* const own = links(slot);
    for (size_t i = 0; i < graph_.degree() && own[i] != kNoSlot; ++i) {
        if (!linkable(own[i])) return true;
    }
    return false;
}

// The links of a vertex to live ones stay: some were made for those they lead to.
void Linker::keep_own(uint32_t slot, std::vector<Link>& found) const {
    const uint32_t* const own = links(slot);
    const uint32_t* const end = own + graph_.degree();
    size_t n_kept = 0;
    for (const Link& link : found) n_kept += link.kept;
    for (Link& link : found) {
        if (link.kept || n_kept == graph_.degree() || std::find(own, end, link.slot) == end)
            continue;
        link.kept = true;
        ++n_kept;
    }
}

bool Linker::repair(uint32_t slot) {
    clear_staged();
    if (!leads_to_dead(slot)) return false;
    std::vector<Link> found = around_dead(slot);
    std::vector<uint32_t> children, orphans, parents_before;
    for (Link& link : found) {
        if (!link.kept) continue;
        children.push_back(link.slot);
        parents_before.push_back(graph_.parents_[link.slot]);
        if (children.size() <= most_children(graph_.degree())) continue;
        link.kept = false;
        orphans.push_back(link.slot);
    }
    try {
        for (const uint32_t child : children) graph_.parents_[child] = slot;
        for (const uint32_t orphan : orphans) graph_.parents_[orphan] = kNoSlot;
        keep_own(slot, found);
        select(found);
        put(row(slot), found);
        attach(orphans, slot);
        stage_last(slot);
    } catch (...) {  // out of memory: the links are as they were, and so are parents
        for (size_t i = 0; i < children.size(); ++i) {
            graph_.parents_[children[i]] = parents_before[i];
        }
        clear_staged();
        throw;
    }
    return true;
}

std::unique_ptr<Graph> Linker::without_dead() {
    auto made = std::make_unique<Graph>(graph_.settings());
    const size_t n_slots = graph_.n_slots(), degree = graph_.degree();
    made->adopt(made->room_for(n_slots));
    for_each_at_once(n_slots, [&](size_t begin, size_t end) {
        for (size_t slot = begin; slot < end; ++slot) {
            auto* const to = const_cast<uint32_t*>(made->links(slot));
            std::vector<Link> found;
            if (linkable(uint32_t(slot)) && !leads_to_dead(uint32_t(slot))) {
                std::copy_n(links(uint32_t(slot)), degree, to);
                continue;
            }
            if (linkable(uint32_t(slot))) found = around_dead(uint32_t(slot));
            for (Link& link : found) link.kept = false;
            keep_own(uint32_t(slot), found);
            select(found);
            put(to, found);
        }
    });
    std::vector<uint32_t> entries;
    for (const uint32_t entry : entries_) {
        if (linkable(entry)) entries.push_back(entry);
    }
    for (size_t slot = 0; entries.empty() && slot < n_slots; ++slot) {
        if (linkable(uint32_t(slot))) entries.push_back(uint32_t(slot));
    }
    reach_all(*made, rows_, linkable_, n_slots, std::move(entries), n_entered_, threads_, watch_);
    return made;
}

}  // namespace nearbit
