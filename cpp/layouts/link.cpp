#include "layouts/link.h"

#include <algorithm>

#include "base/random.h"
#include "base/threads.h"

namespace nearbit {
namespace {

// Vertices inserted together don't see each other: at most as many as there are already, and a
// fiftieth of all (ParlayANN); but so many that threads have something to do.
constexpr size_t kLeastTogether = 256, kShareTogether = 50;
constexpr size_t kAtOnce = 8;     // vertices to a task
constexpr size_t kShareLeft = 8;  // of a row

// The other links of a vertex lead elsewhere: with as many children as links, the first of many
// equal rows would lead to these alone.
size_t most_children(size_t degree) {
    return degree / 2;
}

// Room is left for links back, each of which would have all others chosen anew: changes take .6 of
// the time for it.
size_t most_chosen(size_t degree) {
    return degree - (degree + kShareLeft - 1) / kShareLeft;
}

}  // namespace

WalkScratch& walk_scratch() {
    static thread_local WalkScratch scratch;
    return scratch;
}

// The graph with its changes, as seen from a row.
struct Linker::View {
    const Linker& linker;
    const Scorer& scorer;
    uint32_t from;

    size_t n_slots() const { return 64 * linker.linkable_.size(); }
    size_t degree() const { return linker.graph_.degree(); }
    std::span<const uint32_t> entries() const { return linker.entries_; }
    const uint32_t* links(uint32_t slot) const { return linker.links(slot); }
    void prefetch(const uint32_t* slots, size_t n) const { linker.rows_.prefetch(slots, n); }
    void distances(const uint32_t* slots, size_t n, double* out) const {
        linker.rows_.distances(scorer, 0, slots, n, out);
    }
    void prefetch_links(uint32_t slot) const { linker.graph_.prefetch_links(slot); }
    bool admits(uint32_t slot) const { return slot != from && linker.linkable(slot); }
};

Linker::Linker(Graph& graph, const Flat& rows, Words linkable, size_t first_own, size_t threads,
               Watch* watch)
    : graph_(graph),
      rows_(rows),
      linkable_(std::move(linkable)),
      first_own_(first_own),
      threads_(threads),
      watch_(watch),
      plain_(rows.codec().refines()
                 ? make_codec("float32", rows.codec().dim(), metric_name(rows.codec().metric()))
                 : nullptr),
      entries_(graph.entries_),
      n_entered_(graph.n_entered_) {}

const uint32_t* Linker::links(uint32_t slot) const {
    if (slot < first_own_ && !staged_at_.empty()) {
        const auto found = staged_at_.find(slot);
        if (found != staged_at_.end()) return staged_.data() + found->second * graph_.degree();
    }
    return graph_.links(slot);
}

uint32_t* Linker::row(uint32_t slot) {
    if (slot >= first_own_) return const_cast<uint32_t*>(graph_.links(slot));
    // Several threads may look for rows that are staged already.
    const auto found = staged_at_.find(slot);
    if (found != staged_at_.end()) return staged_row(found->second);
    staged_at_.emplace(slot, staged_slots_.size());
    staged_slots_.push_back(slot);
    const uint32_t* const now = graph_.links(slot);
    staged_.insert(staged_.end(), now, now + graph_.degree());
    return staged_row(staged_slots_.size() - 1);
}

std::unique_ptr<Scorer> Linker::scorer(uint32_t slot) const {
    return rows_.codec().prepare_stored(rows_.code(slot, nullptr));
}

double Linker::distance(const Scorer& from, uint32_t to) const {
    double distance;
    rows_.distances(from, 0, &to, 1, &distance);
    return distance;
}

// ------------------------------------------------------------------------------------ choosing

// Distances from rows that were chosen to one that is looked at. Codes whose scorers take long to
// make are decoded once.
class Linker::Among {
  public:
    Among(const Flat& rows, const Codec* plain) : rows_(rows), plain_(plain) {
        if (plain == nullptr) return;
        row_ = Memory(plain->input_bytes());
        decoded_ = Memory(plain->code_bytes());
    }
    void look_at(uint32_t slot) {
        code_ = rows_.code(slot, nullptr);
        if (plain_ == nullptr) {
            if (const float* const factor = rows_.factor(slot)) factor_ = *factor;
            return;
        }
        rows_.decode(slot, row_.data());
        plain_->encode(row_.data(), 1, decoded_.data(), &factor_, "vectors", slot);
        code_ = decoded_.data();
    }
    bool covers(double distance) const {
        for (const auto& scorer : chosen_) {
            double d;
            const auto* const code = reinterpret_cast<const uint8_t*>(code_);
            scorer->distances(0, &code, &factor_, 1, &d);
            if (d <= distance) return true;
        }
        return false;
    }
    void choose() {
        chosen_.push_back((plain_ == nullptr ? rows_.codec() : *plain_).prepare_stored(code_));
    }

  private:
    const Flat& rows_;
    const Codec* const plain_;
    const std::byte* code_ = nullptr;  // of the one that is looked at
    Memory row_, decoded_;
    float factor_ = 0;
    std::vector<std::unique_ptr<Scorer>> chosen_;
};

// A candidate is left out if one that was chosen before is nearer to it than the vertex itself by
// the factor alpha (Subramanya et al. 2019, DiskANN). Distances are squares of lengths, or behave
// like them, so alpha is squared; but products are no lengths, and have no alpha. A candidate at
// the place of a chosen one is left out, so that equal rows don't fill each other's links.
void Linker::select(std::vector<Link>& candidates) const {
    const size_t most = most_chosen(graph_.degree());
    const double alpha = rows_.codec().metric() == Metric::kIp
                             ? 1
                             : graph_.settings().alpha * graph_.settings().alpha;
    size_t n_kept_left = 0;
    for (const Link& link : candidates) n_kept_left += link.kept;
    std::vector<Link> chosen;
    Among among(rows_, plain_.get());
    for (const Link& link : candidates) {
        n_kept_left -= link.kept;
        if (!link.kept && chosen.size() + n_kept_left >= most) continue;
        among.look_at(link.slot);
        if (!link.kept && among.covers(link.distance / alpha)) continue;
        among.choose();
        chosen.push_back(link);
        if (chosen.size() >= most && n_kept_left == 0) break;
    }
    candidates = std::move(chosen);
}

std::vector<Linker::Link> Linker::candidates_for(uint32_t slot, const Scorer& from) const {
    WalkScratch& scratch = walk_scratch();
    const WalkEffort effort = {.ef = graph_.settings().ef_construction,
                               .radius = -double(kInfinity),
                               .most_distances = ~size_t(0)};
    walk(View{*this, from, slot}, effort, scratch);
    std::vector<Link> found;
    for (const Pool::Entry& entry : scratch.pool.entries()) {
        if (entry.admitted) found.push_back({entry.distance, entry.slot, false});
    }
    // Every vertex is dead.
    if (found.empty()) found.push_back({distance(from, entries_[0]), entries_[0], false});
    return found;
}

// ------------------------------------------------------------------------------------ inserting

void Linker::insert(std::vector<uint32_t> slots) {
    if (slots.empty()) return;
    // The graph depends on which rows come in one call, and not on their order: rows in an order of
    // kind would be linked without most of their neighbours there.
    Random random(graph_.settings().seed ^ n_entered_);
    std::sort(slots.begin(), slots.end());
    shuffle(random, std::span(slots));
    const size_t n_slots = 64 * linkable_.size();
    if (graph_.parents_.size() < n_slots) graph_.parents_.resize(n_slots, kNoSlot);
    size_t at = 0;
    if (entries_.empty()) {
        std::fill_n(row(slots[0]), graph_.degree(), kNoSlot);
        enter(slots[0]);
        at = 1;
    }
    const size_t n_there = count_bits(linkable_);
    const size_t most = std::max(kLeastTogether, (n_there + slots.size()) / kShareTogether);
    for (size_t n; at < slots.size(); at += n) {
        n = std::min({size_t(n_entered_), most, slots.size() - at});
        insert_some(slots.data() + at, n);
    }
}

template <class Work>
void Linker::for_each_at_once(size_t n, Work work) {
    parallel_for((n + kAtOnce - 1) / kAtOnce, threads_, watch_, [&](size_t task) {
        work(task * kAtOnce, std::min(n, (task + 1) * kAtOnce));
        if (watch_ != nullptr) watch_->advance(0);
    });
}

// Each finds its links on the graph as it is; then those that they chose link back.
void Linker::insert_some(const uint32_t* slots, size_t n) {
    const size_t degree = graph_.degree();
    for (size_t i = 0; i < n; ++i) row(slots[i]);  // all staged, before several threads write them
    std::vector<Back> backs(n * degree);
    std::vector<size_t> n_backs(n);
    for_each_at_once(n, [&](size_t begin, size_t end) {
        for (size_t i = begin; i < end; ++i) {
            const uint32_t slot = slots[i];
            std::vector<Link> chosen = candidates_for(slot, *scorer(slot));
            select(chosen);
            put(row(slot), chosen);
            for (size_t j = 0; j < chosen.size(); ++j) {
                backs[i * degree + j] = {chosen[j].slot, slot, chosen[j].distance};
            }
            n_backs[i] = chosen.size();
            graph_.parents_[slot] = chosen[0].slot;
        }
    });
    std::vector<Back> sorted;
    for (size_t i = 0; i < n; ++i) {
        const auto first = backs.begin() + std::ptrdiff_t(i * degree);
        sorted.insert(sorted.end(), first, first + std::ptrdiff_t(n_backs[i]));
    }
    std::sort(sorted.begin(), sorted.end(), [](const Back& a, const Back& b) {
        if (a.target != b.target) return a.target < b.target;
        return a.distance != b.distance ? a.distance < b.distance : a.source < b.source;
    });
    std::vector<size_t> groups;  // where each target's begin
    for (size_t i = 0; i < sorted.size(); ++i) {
        if (i != 0 && sorted[i].target == sorted[i - 1].target) continue;
        groups.push_back(i);
        row(sorted[i].target);
    }
    groups.push_back(sorted.size());
    std::vector<std::vector<uint32_t>> orphans(groups.size() - 1);
    for_each_at_once(groups.size() - 1, [&](size_t begin, size_t end) {
        for (size_t g = begin; g < end; ++g) {
            const Back* const back = sorted.data() + groups[g];
            add_back(back->target, back, groups[g + 1] - groups[g], orphans[g]);
        }
    });
    for (const auto& some : orphans) {
        for (const uint32_t slot : some) adopt(slot);
    }
    for (size_t i = 0; i < n; ++i) enter(slots[i]);
}

void Linker::enter(uint32_t slot) {
    set_bit(linkable_.data(), slot);
    ++n_entered_;
    // Each vertex with the same chance, however many come: but the first is never replaced.
    if (entries_.size() < kMostEntries) {
        entries_.push_back(slot);
        return;
    }
    const uint64_t at = Random(graph_.settings().seed ^ n_entered_).below(n_entered_);
    if (at != 0 && at < kMostEntries) entries_[at] = slot;
}

// orphans: to them go the vertices that have the target as parent but find no room.
void Linker::add_back(uint32_t target, const Back* back, size_t n, std::vector<uint32_t>& orphans) {
    const size_t degree = graph_.degree();
    uint32_t* const to = row(target);
    size_t n_links = 0, n_children = 0;
    for (; n_links < degree && to[n_links] != kNoSlot; ++n_links) {
        n_children += graph_.parents_[to[n_links]] == target;
    }
    if (n_links + n <= degree) {
        for (size_t i = 0; i < n; ++i) to[n_links + i] = back[i].source;
        return;
    }
    const auto from = scorer(target);
    std::vector<Link> candidates;
    for (size_t i = 0; i < n_links; ++i) {
        candidates.push_back({distance(*from, to[i]), to[i], graph_.parents_[to[i]] == target});
    }
    for (size_t i = 0; i < n; ++i) {
        bool child = graph_.parents_[back[i].source] == target;
        if (child && n_children >= most_children(degree)) {
            orphans.push_back(back[i].source);
            child = false;
        }
        n_children += child;
        candidates.push_back({back[i].distance, back[i].source, child});
    }
    std::sort(candidates.begin(), candidates.end());
    select(candidates);
    put(to, candidates);
}

void Linker::put(uint32_t* to, const std::vector<Link>& chosen) const {
    for (size_t i = 0; i < graph_.degree(); ++i) {
        to[i] = i < chosen.size() ? chosen[i].slot : kNoSlot;
    }
}

// ------------------------------------------------------------------------------------ parents

// A new vertex whose parent has no room: any other that links to it will do, or else what comes
// after the parent.
void Linker::adopt(uint32_t slot) {
    const uint32_t parent = graph_.parents_[slot];
    const uint32_t* const own = links(slot);
    for (size_t i = 0; i < graph_.degree() && own[i] != kNoSlot; ++i) {
        const uint32_t* const of = links(own[i]);
        if (std::find(of, of + graph_.degree(), slot) == of + graph_.degree()) continue;
        graph_.parents_[slot] = own[i];
        return;
    }
    attach(slot, parent);
}

// Makes a vertex without children a child of another or, where that has children enough, of the
// first below it that has not. There is one: children end somewhere.
void Linker::attach(uint32_t slot, uint32_t at) {
    graph_.parents_[slot] = kNoSlot;
    std::vector<uint32_t> queue = {at};
    for (size_t i = 0;; ++i) {
        const uint32_t parent = queue[i];
        uint32_t* const to = row(parent);
        uint32_t* place = nullptr;
        size_t n_children = 0;
        for (size_t j = 0; j < graph_.degree(); ++j) {
            if (to[j] == kNoSlot || to[j] == slot) {
                place = to + j;
                break;
            }
            if (graph_.parents_[to[j]] == parent) {
                ++n_children;
                queue.push_back(to[j]);
            } else {
                place = to + j;
            }
        }
        if (place == nullptr || n_children >= most_children(graph_.degree())) continue;
        *place = slot;
        graph_.parents_[slot] = parent;
        return;
    }
}

// ------------------------------------------------------------------------------------ dead ones

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
    std::erase_if(found, [&](const Link& link) { return !link.kept && ++n_others > 2 * degree; });
    return found;
}

bool Linker::leads_to_dead(uint32_t slot) const {
    const uint32_t* const own = links(slot);
    for (size_t i = 0; i < graph_.degree() && own[i] != kNoSlot; ++i) {
        if (!linkable(own[i])) return true;
    }
    return false;
}

bool Linker::repair(uint32_t slot) {
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
        select(found);
        put(row(slot), found);
        for (const uint32_t orphan : orphans) attach(orphan, slot);
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
    const auto reach = [&](uint32_t first) {
        set_bit(reached.data(), first);
        queue = {first};
        for (size_t at = 0; at < queue.size(); ++at) {
            const uint32_t* const to = links(queue[at]);
            for (size_t i = 0; i < degree && to[i] != kNoSlot; ++i) {
                if (test_bit(reached.data(), to[i])) continue;
                set_bit(reached.data(), to[i]);
                parents[to[i]] = queue[at];
                queue.push_back(to[i]);
            }
            if (watch_ != nullptr && at % 1024 == 0) watch_->advance(0);
        }
    };
    reach(entries_[0]);
    for (const uint32_t slot : vertices) {
        if (test_bit(reached.data(), slot)) continue;
        const uint32_t* const own = links(slot);
        const uint32_t* const near = std::find_if(own, own + degree, [&](uint32_t to) {
            return to == kNoSlot || test_bit(reached.data(), to);
        });
        const bool found = near != own + degree && *near != kNoSlot;
        attach(slot, found ? *near : candidates_for(slot, *scorer(slot))[0].slot);
        reach(slot);
    }
}

void reach_all(Graph& graph, const Flat& rows, Words vertices, size_t n_slots,
               std::vector<uint32_t> entries, uint64_t n_entered, size_t threads, Watch* watch) {
    Linker linker(graph, rows, std::move(vertices), 0, threads, watch);
    linker.entries_ = {entries[0]};
    linker.find_parents();
    linker.entries_ = std::move(entries);
    linker.n_entered_ = n_entered;
    linker.finish(n_slots);
}

// ------------------------------------------------------------------------------------ applying

void Linker::apply(size_t begin, size_t end) {
    const size_t degree = graph_.degree();
    for (size_t i = begin; i < end; ++i) {
        std::copy_n(staged_row(i), degree, const_cast<uint32_t*>(graph_.links(staged_slots_[i])));
    }
}

void Linker::clear_staged() {
    staged_at_.clear();
    staged_slots_.clear();
    staged_.clear();
}

void Linker::finish(size_t n_slots) {
    graph_.entries_ = entries_;
    graph_.n_entered_ = n_entered_;
    graph_.n_slots_ = n_slots;
}

}  // namespace nearbit
