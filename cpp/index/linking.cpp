// What an index does for its graph beside searching it.
#include "index/linking.h"

#include <algorithm>
#include <mutex>

#include "index/writing.h"

namespace nearbit {
namespace {

using Exclusive = std::lock_guard<RwLock>;

constexpr size_t kExclusiveRows = 256;  // of links, in one exclusive step

}  // namespace

Index::Linking::Linking(Store& store, const std::vector<uint32_t>& reused, size_t first,
                        size_t n_fresh, size_t threads, Watch* watch)
    : store_(store), n_slots_(first + n_fresh) {
    if (store.graph == nullptr) return;
    const Directory& ids = store.ids;
    const bool from_nothing = !store.walked();
    if (from_nothing && ids.n_live() + reused.size() + n_fresh < kGraphFrom) return;
    std::vector<uint32_t> slots = reused;
    Words linkable;
    if (from_nothing) {
        for (size_t slot = 0; slot < first; ++slot) {
            if (ids.live(slot)) slots.push_back(uint32_t(slot));
        }
    } else {
        linkable = live_words(ids);
    }
    linkable.resize(words_for(n_slots_));
    for (size_t i = 0; i < n_fresh; ++i) slots.push_back(uint32_t(first + i));
    if (from_nothing) {
        made_ = std::make_unique<Graph>(store.graph->settings());
        made_->adopt(made_->room_for(n_slots_));
    }
    linker_.emplace(from_nothing ? *made_ : *store.graph, store.finest(), std::move(linkable),
                    from_nothing ? 0 : first, threads, watch);
    linker_->insert(std::move(slots));
}

void Index::Linking::apply(RwLock& lock) {
    if (!linker_) return;
    for (size_t at = 0; at < linker_->n_staged(); at += kExclusiveRows) {
        const Exclusive guard(lock);
        linker_->apply(at, std::min(linker_->n_staged(), at + kExclusiveRows));
    }
    const Exclusive guard(lock);
    linker_->finish(n_slots_);
    if (made_ != nullptr) store_.graph = std::move(made_);
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
    repair_links(writing, watch);
    append(*store_, vectors, nullptr, ids, found, threads, watch, writing,
           [&] { writing.apply(); });
}

void Index::repair_links(const Writing& writing, Watch* watch) {
    if (!store_->walked()) return;
    Graph& graph = *store_->graph;
    std::optional<Linker> linker;
    for (;;) {
        if (graph.lap_ended()) {
            {
                const Writing::Step step(writing);
                make_room(retired_, 1);
            }
            {
                const Exclusive guard(lock_);
                const Writing::Step step(writing);
                graph.leave_entries();
            }
            const Writing::Step step(writing);
            retired_.emplace_back(calls_.now(), graph.end_lap());
        }
        const uint32_t slot = graph.next_step();
        if (slot == kNoSlot) {
            if (graph.lap_ended()) continue;
            return;
        }
        if (!linker) {
            linker.emplace(graph, store_->finest(), live_words(store_->ids), graph.n_slots(), 1,
                           nullptr);
        }
        if (linker->repair(slot)) {
            const Exclusive guard(lock_);
            const Writing::Step step(writing);
            linker->apply(0, linker->n_staged());
            linker->clear_staged();
        }
        if (watch != nullptr) watch->advance(0);
    }
}

}  // namespace nearbit
