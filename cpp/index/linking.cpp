// What an index does for its graph beside searching it.
#include "index/linking.h"

#include <algorithm>
#include <mutex>

#include "index/writing.h"
#include "layouts/bulk.h"

namespace nearbit {
namespace {

using Exclusive = std::lock_guard<RwLock>;

constexpr size_t kExclusiveRows = 64;  // of links, in one exclusive step: 256 take 200 us
// Linking all rows in bulk takes about an eighth of the time of inserting as many.
constexpr size_t kLinkAllShare = 4;
// Of repair in one call: more than what its rows bring, so that it catches up, but a call with one
// row doesn't pay for a million that were removed.
constexpr size_t kLeastSteps = 1000, kStepsForARow = 80;

void apply_staged(Linker& linker, RwLock& lock) {
    for (size_t at = 0; at < linker.n_staged(); at += kExclusiveRows) {
        const Exclusive guard(lock);
        linker.apply(at, std::min(linker.n_staged(), at + kExclusiveRows));
    }
}

}  // namespace

bool Index::Linking::links(const Store& store, size_t n_added) {
    if (store.graph == nullptr) return false;
    return store.walked() || store.ids.n_live() + n_added >= kGraphFrom;
}

Index::Linking::Linking(Store& store, const std::vector<uint32_t>& reused, size_t first,
                        size_t n_fresh, size_t told, size_t threads, Watch* watch)
    : store_(store), n_slots_(first + n_fresh) {
    const size_t n_added = reused.size() + n_fresh, n_live = store.ids.n_live();
    if (!links(store, n_added)) return;
    const bool in_bulk = can_link_in_bulk(store.finest().codec());
    if (!store.walked() || (in_bulk && kLinkAllShare * n_added >= n_live && n_added != 0)) {
        made_ = std::make_shared<Graph>(store.graph->settings());
        made_->adopt(made_->room_for(n_slots_));
        made_->reserve_dead(n_added);  // so many rows may be replaced
    }
    std::vector<uint32_t> slots = reused;
    for (size_t i = 0; i < n_fresh; ++i) slots.push_back(uint32_t(first + i));
    Words linkable = live_words(store.ids);
    linkable.resize(words_for(n_slots_));
    if (made_ != nullptr && in_bulk) {
        for (const uint32_t slot : slots) set_bit(linkable.data(), slot);
        unlinked_ = store.graph->dead();
        if (store.walked() && !store.ids.live(store.graph->entries()[0])) {
            unlinked_.push_back(store.graph->entries()[0]);
        }
        link_in_bulk(*made_, store.finest(), std::move(linkable), n_slots_, store.graph->n_bytes(),
                     told, threads, watch);
        return;
    }
    if (made_ != nullptr) {
        for_each_bit(linkable.data(), 0, n_slots_,
                     [&](size_t slot) { slots.push_back(uint32_t(slot)); });
        linkable.assign(linkable.size(), 0);
        made_->make_parents(n_slots_);
    }
    linker_.emplace(made_ != nullptr ? *made_ : *store.graph, store.finest(), std::move(linkable),
                    made_ != nullptr ? 0 : first, threads, watch);
    linker_->insert(std::move(slots), told);
}

void Index::Linking::apply(RwLock& lock) {
    if (linker_) apply_staged(*linker_, lock);
    const Exclusive guard(lock);
    if (linker_) linker_->finish(n_slots_);
    if (made_ != nullptr) store_.graph.swap(made_);  // whose old links are freed later
}

std::shared_ptr<const Graph> Index::live_graph(size_t threads, Watch* watch) const {
    const Directory& ids = store_->ids;
    if (ids.all_live()) return store_->graph;
    Linker linker(*store_->graph, store_->finest(), live_words(ids), ids.n_slots(), threads, watch);
    return linker.without_dead();
}

Words Index::live_words(const Directory& ids) {
    if (ids.all_live()) return all_of(ids.n_slots());
    return {ids.live_words(), ids.live_words() + words_for(ids.n_slots())};
}

void Index::replace_linked(const std::vector<int64_t>& ids, const Input& vectors,
                           const std::vector<uint32_t>& found, size_t threads, Watch* watch,
                           Writing& writing) {
    if (ids.empty()) return;
    check_refinable(*store_, vectors, watch);
    append(*store_, vectors, nullptr, ids, found, threads, watch, writing,
           [&] { writing.apply(); });
}

void Index::repair_links(const Writing& writing, size_t n_rows, Watch* watch) {
    if (!store_->walked()) return;
    Graph& graph = *store_->graph;
    std::optional<Linker> linker;
    for (size_t left = kLeastSteps + kStepsForARow * n_rows; left != 0; --left) {
        {
            const Writing::Step step(writing);
            if (graph.lap_ended()) {
                make_room(retired_, 1);
                {
                    const Exclusive guard(lock_);
                    graph.leave_entries();
                }
                retired_.emplace_back(calls_.now(), graph.end_lap());
            }
            const uint32_t slot = graph.next_step();
            if (slot == kNoSlot) {
                if (graph.lap_ended()) continue;
                return;
            }
            bool repaired;
            try {
                if (!linker) {
                    linker.emplace(graph, store_->finest(), live_words(store_->ids),
                                   graph.n_slots(), 1, nullptr);
                }
                repaired = linker->repair(slot);
            } catch (...) {
                graph.step_back();
                throw;
            }
            if (repaired) apply_staged(*linker, lock_);
        }
        if (watch != nullptr) watch->advance(0);
    }
}

}  // namespace nearbit
