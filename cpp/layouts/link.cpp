#include "layouts/link.h"

#include <algorithm>
#include <iterator>

#include "base/random.h"
#include "base/threads.h"

namespace nearbit {
namespace {

// Vertices inserted together don't find each other on the graph, so they look at each other one by
// one: at most as many as there are already, and so few that a new place comes in several batches,
// as one would lead to itself. But so many that threads have something to do.
constexpr size_t kMostTogether = 64;
constexpr size_t kAtOnce = 2;  // vertices to a task
// Dead vertices that a walk for candidates passes; each that comes moves half of the others.
constexpr size_t kMostDeadKept = 8192;

// How many links a vertex chooses, and how many it has before those that come are chosen among.
// What these are worth: docs/measurements.md.
size_t least_chosen(size_t degree) {
    return degree / 2;
}
size_t most_chosen(size_t degree) {
    return degree - (degree + 7) / 8;
}
size_t most_unchosen(size_t degree) {
    return degree / 2 + 2;
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
      alpha_(alpha_of_squares(graph.settings(), rows.codec().metric())),
      plain_(rows.codec().refines()
                 ? make_codec("float32", rows.codec().dim(), metric_name(rows.codec().metric()))
                 : nullptr),
      entries_(graph.entries_),
      n_entered_(graph.n_entered_) {}

Linker::~Linker() {
    for (const uint32_t slot : inserted_) graph_.parents_[slot] = kNoSlot;
}

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

// Of a repair: what a vertex leads to by way of dead ones has to be linked elsewhere before.
void Linker::stage_last(uint32_t slot) {
    const size_t at = staged_at_.at(slot), last = staged_slots_.size() - 1;
    if (at == last) return;
    std::swap(staged_at_.at(slot), staged_at_.at(staged_slots_[last]));
    std::swap(staged_slots_[at], staged_slots_[last]);
    std::swap_ranges(staged_row(at), staged_row(at) + graph_.degree(), staged_row(last));
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
// the factor alpha (Subramanya et al. 2019, DiskANN). A candidate at the place of a chosen one is
// left out, so that equal rows don't fill each other's links. But half a row is filled with those
// left out: a row far from all others, of which one lies on the way to the rest, would have that
// link alone, and hardly be found.
void Linker::select(std::vector<Link>& candidates) const {
    const size_t most = most_chosen(graph_.degree()), least = least_chosen(graph_.degree());
    size_t n_kept_left = 0;
    for (const Link& link : candidates) n_kept_left += link.kept;
    std::vector<Link> chosen, covered;
    Among among(rows_, plain_.get());
    for (const Link& link : candidates) {
        n_kept_left -= link.kept;
        if (!link.kept && chosen.size() + n_kept_left >= most) continue;
        among.look_at(link.slot);
        if (!link.kept && among.covers(link.distance / alpha_)) {
            covered.push_back(link);
            continue;
        }
        among.choose();
        chosen.push_back(link);
        if (chosen.size() >= most && n_kept_left == 0) break;
    }
    for (size_t i = 0; i < covered.size() && chosen.size() < least; ++i) {
        chosen.push_back(covered[i]);
    }
    candidates = std::move(chosen);
}

std::vector<Linker::Link> Linker::candidates_for(uint32_t slot, const Scorer& from) const {
    WalkScratch& scratch = walk_scratch();
    const size_t ef = graph_.settings().ef_construction;
    const WalkEffort effort = {.ef = ef,
                               .radius = -double(kInfinity),
                               .most_distances = ~size_t(0),
                               .most_kept = ef + kMostDeadKept};
    walk(View{*this, from, slot}, effort, scratch);
    std::vector<Link> found;
    for (const Pool::Entry& entry : scratch.pool.entries()) {
        if (entry.admitted) found.push_back({entry.distance, entry.slot, false});
    }
    // Every vertex is dead, or all those that are near.
    if (found.empty()) found.push_back({distance(from, entries_[0]), entries_[0], false});
    return found;
}

// Adds others, of which it may be one, to a vertex's candidates.
void Linker::see(uint32_t slot, const Scorer& from, std::span<const uint32_t> others,
                 std::vector<Link>& candidates) const {
    std::vector<double> distances(others.size());
    rows_.distances(from, 0, others.data(), others.size(), distances.data());
    for (size_t i = 0; i < others.size(); ++i) {
        if (others[i] != slot) candidates.push_back({distances[i], others[i], false});
    }
    std::sort(candidates.begin(), candidates.end());
    const size_t most = graph_.settings().ef_construction;
    if (candidates.size() > most) candidates.resize(most);
}

// ------------------------------------------------------------------------------------ inserting

void Linker::insert(std::vector<uint32_t> slots, size_t told) {
    if (slots.empty()) return;
    inserted_ = slots;
    WatchedPart part(watch_, slots.size(), told);
    // The graph depends on which rows come in one call, and not on their order: rows in an order of
    // kind would be linked without most of their neighbours there.
    Random random(graph_.settings().seed ^ n_entered_);
    std::sort(slots.begin(), slots.end());
    shuffle(random, std::span(slots));
    size_t at = 0;
    if (entries_.empty()) {
        std::fill_n(row(slots[0]), graph_.degree(), kNoSlot);
        enter(slots[0]);
        part.advance(1);
        at = 1;
    }
    for (size_t n; at < slots.size(); at += n) {
        n = std::min({size_t(n_entered_), kMostTogether, slots.size() - at});
        insert_some(slots.data() + at, n, part);
    }
}

void Linker::for_each_at_once(size_t n, const std::function<void(size_t begin, size_t end)>& work) {
    parallel_for((n + kAtOnce - 1) / kAtOnce, threads_, watch_, [&](size_t task) {
        work(task * kAtOnce, std::min(n, (task + 1) * kAtOnce));
        if (watch_ != nullptr) watch_->advance(0);
    });
}

// Each finds its links on the graph as it is, and among those that come with it; then those that
// they chose link back.
void Linker::insert_some(const uint32_t* slots, size_t n, WatchedPart& part) {
    for (size_t i = 0; i < n; ++i) row(slots[i]);  // all staged, before several threads write them
    const size_t most_backs = graph_.degree() + 1;
    std::vector<std::unique_ptr<Scorer>> scorers(n);
    std::vector<Back> backs(n * most_backs);
    std::vector<size_t> n_backs(n);
    for_each_at_once(n, [&](size_t begin, size_t end) {
        for (size_t i = begin; i < end; ++i) {
            const uint32_t slot = slots[i];
            scorers[i] = scorer(slot);
            const Scorer* const from = scorers[i].get();
            std::vector<Link> chosen = candidates_for(slot, *from);
            const Link parent = chosen[0];  // not of those that come now, which could form a ring
            see(slot, *from, {slots, n}, chosen);
            select(chosen);
            // So that a way leads out of a place that is new.
            if (std::none_of(chosen.begin(), chosen.end(), [&](const Link& link) {
                    return link.slot == parent.slot || linkable(link.slot);
                })) {
                chosen.push_back(parent);
            }
            put(row(slot), chosen);
            graph_.parents_[slot] = parent.slot;
            Back* const back = backs.data() + i * most_backs;
            size_t& n_own = n_backs[i];
            back[n_own++] = {parent.slot, slot, parent.distance, from};
            for (const Link& link : chosen) {
                if (link.slot == parent.slot) continue;
                back[n_own++] = {link.slot, slot, link.distance, from};
            }
        }
        part.advance(end - begin);
    });
    std::vector<Back> sorted;
    for (size_t i = 0; i < n; ++i) {
        const auto first = backs.begin() + std::ptrdiff_t(i * most_backs);
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
        if (watch_ != nullptr) watch_->advance(0);
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

// Links back to those that chose a vertex. orphans: to them go the vertices that have the target as
// parent but find no room.
void Linker::add_back(uint32_t target, const Back* back, size_t n, std::vector<uint32_t>& orphans) {
    const size_t degree = graph_.degree();
    uint32_t* const to = row(target);
    const auto is_child = [&](uint32_t slot) { return graph_.parents_[slot] == target; };
    size_t n_links = 0, n_children = 0, n_new_children = 0;
    for (; n_links < degree && to[n_links] != kNoSlot; ++n_links) {
        n_children += is_child(to[n_links]);
    }
    std::vector<Back> fresh;  // but for those that come now, which may have chosen each other
    std::copy_if(back, back + n, std::back_inserter(fresh), [&](const Back& link) {
        return std::find(to, to + n_links, link.source) == to + n_links;
    });
    for (const Back& link : fresh) n_new_children += is_child(link.source);
    if (n_links + fresh.size() <= most_unchosen(degree) &&
        n_children + n_new_children <= most_children(degree)) {
        for (const Back& link : fresh) to[n_links++] = link.source;
        return;
    }
    std::vector<double> distances(n_links);
    rows_.distances(*scorer(target), 0, to, n_links, distances.data());
    std::vector<Link> chosen;
    for (size_t i = 0; i < n_links; ++i) {
        const bool kept = is_child(to[i]) || to[i] == graph_.parents_[target];
        chosen.push_back({distances[i], to[i], kept});
    }
    for (const Back& link : fresh) {
        bool child = is_child(link.source);
        if (child && n_children >= most_children(degree)) {
            orphans.push_back(link.source);
            child = false;
        }
        n_children += child;
        make_place_for(link, child, chosen);
    }
    put(to, chosen);
}

// Adds a link to those of a vertex. If that has enough, the new one takes the place of the farthest
// that it covers, or is left out if it is covered itself. If neither is so it is one more, or, of
// most_chosen, takes the place of the farthest. What is kept are children, which have to be, and
// the parent, which may be the only way out of a place that is new.
void Linker::make_place_for(const Back& back, bool kept, std::vector<Link>& chosen) const {
    const Link fresh = {back.distance, back.source, kept};
    if (chosen.size() < most_unchosen(graph_.degree())) {
        chosen.push_back(fresh);
        return;
    }
    std::vector<uint32_t> others = {fresh.slot};
    for (const Link& link : chosen) others.push_back(link.slot);
    std::vector<double> distances(others.size());
    rows_.distances(*back.from, 0, others.data(), others.size(), distances.data());
    // A row's distance to its own code, by codes that are estimates, is that to any equal row.
    const auto covers = [&](size_t i, const Link& farther) {
        return distances[i + 1] <= farther.distance / alpha_ || distances[i + 1] == distances[0];
    };
    Link* farthest = nullptr;
    Link* farthest_covered = nullptr;
    bool is_covered = false;
    for (size_t i = 0; i < chosen.size(); ++i) {
        Link& link = chosen[i];
        is_covered |= link < fresh && covers(i, fresh);
        if (link.kept) continue;
        if (farthest == nullptr || *farthest < link) farthest = &link;
        if (!(fresh < link) || !covers(i, link)) continue;
        if (farthest_covered == nullptr || *farthest_covered < link) farthest_covered = &link;
    }
    if (farthest_covered != nullptr) {
        *farthest_covered = fresh;
    } else if (!is_covered && chosen.size() < most_chosen(graph_.degree())) {
        chosen.push_back(fresh);
    } else if (farthest != nullptr && (kept || (!is_covered && fresh < *farthest))) {
        *farthest = fresh;
    }
}

void Linker::put(uint32_t* to, const std::vector<Link>& chosen) const {
    for (size_t i = 0; i < graph_.degree(); ++i) {
        to[i] = i < chosen.size() ? chosen[i].slot : kNoSlot;
    }
}

// ------------------------------------------------------------------------------------ applying

void Linker::apply(size_t begin, size_t end) {
    const size_t degree = graph_.degree();
    for (size_t i = begin; i < end; ++i) {
        std::copy_n(staged_row(i), degree, const_cast<uint32_t*>(graph_.links(staged_slots_[i])));
    }
}

void Linker::clear_staged() {
    if (staged_slots_.empty()) return;  // to clear a map takes the time of all it ever held
    staged_at_.clear();
    staged_slots_.clear();
    staged_.clear();
}

void Linker::finish(size_t n_slots) {
    graph_.entries_.swap(entries_);
    graph_.n_entered_ = n_entered_;
    graph_.n_slots_ = n_slots;
    inserted_.clear();
}

}  // namespace nearbit
