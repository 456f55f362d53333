// Changes: each is checked and prepared first, beside searches, and then applied in short exclusive
// steps that can't fail.
#include "index/index.h"

#include <algorithm>
#include <atomic>
#include <mutex>

#include "base/error.h"
#include "base/threads.h"
#include "codecs/dense.h"
#include "index/linking.h"
#include "index/writing.h"

namespace nearbit {
namespace {

using Exclusive = std::lock_guard<RwLock>;

constexpr size_t kEncodeBytes = size_t(256) << 10;    // of input rows, in one task of an add
constexpr size_t kExclusiveBytes = size_t(64) << 10;  // copied in one exclusive step: about 10 us
constexpr size_t kExclusiveSlots = 512;               // touched in one exclusive step
constexpr size_t kIdsAtOnce = size_t(64) << 10;       // looked at between two looks at the watch

// No two states of any index share a number: a filter that remembers one can't mistake an index for
// another that lay at the same address before.
uint64_t next_version() {
    static std::atomic<uint64_t> last{0};
    return last.fetch_add(1, std::memory_order_relaxed) + 1;
}

std::string id_text(int64_t id) {
    return "id " + std::to_string(id);
}

void check_ids(const std::vector<int64_t>& ids, Watch* watch) {
    for (size_t i = 0; i < ids.size(); ++i) {
        if (ids[i] < 0) {
            throw InvalidArgument("ids: expected ids from 0 up, got " + std::to_string(ids[i]) +
                                  " at position " + std::to_string(i));
        }
    }
    const auto not_ascending = std::adjacent_find(ids.begin(), ids.end(), std::greater_equal<>());
    if (not_ascending == ids.end()) return;
    std::vector<int64_t> sorted = ids;
    size_t compared = 0;
    std::sort(sorted.begin(), sorted.end(), [&](int64_t a, int64_t b) {
        if (++compared % kIdsAtOnce == 0 && watch != nullptr) watch->advance(0);
        return a < b;
    });
    const auto twice = std::adjacent_find(sorted.begin(), sorted.end());
    if (twice != sorted.end()) {
        throw InvalidArgument("ids: expected distinct ids, got " + std::to_string(*twice) +
                              " more than once");
    }
}

void check_refine(const Codec& codec, const Codec& refine) {
    const std::string name = refine.name();
    const bool finer =
        name == "float32" || name == "float16" || (name == "sq" && refine.settings().bits == 8);
    const bool alike = refine.dim() == codec.dim() && refine.metric() == codec.metric();
    if (codec.refines() && finer && alike) return;
    throw InvalidArgument(std::string("refine: expected ") +
                          (codec.refines() ? "float32, float16 or sq of 8 bits" : "None") +
                          " for codec '" + codec.name() + "', got '" + name + "'");
}

}  // namespace

Index::Store::Store(Codecs codecs_, const std::optional<GraphSettings>& layout)
    : codecs(std::move(codecs_)) {
    for (const auto& codec : codecs) {
        // Finer rows are read one here, one there, and so are all in a graph.
        const bool grouped = copies.empty() && codec->grouped() && !layout;
        const auto single = grouped ? nullptr : codec->single();
        forms.push_back(single != nullptr ? single : codec);
        copies.emplace_back(forms.back(), grouped);
    }
    if (layout) graph = std::make_shared<Graph>(*layout);
}

void Index::Store::stretch_to(float least) {
    float now = stretch;
    while (now < least && !stretch.compare_exchange_weak(now, least)) {
    }
}

Index::Index(std::shared_ptr<const Codec> codec, std::shared_ptr<const Codec> refine,
             std::optional<GraphSettings> layout)
    : codecs_(refine == nullptr ? Codecs{codec} : Codecs{codec, refine}), layout_(layout) {
    if (refine != nullptr) check_refine(*codec, *refine);
    bool trained = true;
    for (const auto& one : codecs_) trained = trained && one->trained();
    store_ = std::make_shared<Store>(
        trained ? codecs_ : Codecs{make_float32(codec->dim(), codec->metric())}, layout);
}

// ------------------------------------------------------------------------------------ checks

void Index::check_rows(const Input& vectors, const std::vector<int64_t>& ids, Watch* watch) const {
    if (ids.size() != vectors.n) {
        throw InvalidArgument("ids: expected one for each of " + std::to_string(vectors.n) +
                              " rows, got " + std::to_string(ids.size()));
    }
    check_ids(ids, watch);
}

void Index::check_room(const Input& vectors, size_t n) const {
    if (n <= kMaxSlots) return;
    throw InvalidArgument(std::string(vectors.argument) + ": expected at most " +
                          std::to_string(kMaxSlots) + " rows in the index, got " +
                          std::to_string(n));
}

std::vector<uint32_t> Index::find_all(const std::vector<int64_t>& ids, Watch* watch) const {
    std::vector<uint32_t> slots(ids.size());
    for (size_t i = 0; i < ids.size(); ++i) {
        slots[i] = store_->ids.find(ids[i]);
        if (i % kIdsAtOnce == 0 && watch != nullptr) watch->advance(0);
    }
    return slots;
}

void Index::check_refinable(const Store& store, const Input& vectors, Watch* watch) const {
    if (refine() == nullptr || store.refines() || !refine()->trained()) return;
    Memory code(refine()->code_bytes()), scratch;
    float factor;
    for (size_t i = 0; i < vectors.n; ++i) {
        refine()->encode(vectors.rows(i, 1, scratch), 1, code.data(), &factor, vectors.argument, i);
        if (watch != nullptr && i % 1024 == 0) watch->advance(0);
    }
}

// ------------------------------------------------------------------------------------ steps

std::vector<Index::Staged> Index::stage(const Codecs& codecs, const Input& vectors,
                                        const size_t* which, size_t n, bool told, size_t threads,
                                        Watch* watch) {
    std::vector<Staged> staged;
    for (const auto& codec : codecs) {
        staged.push_back({Memory(n * codec->code_bytes()),
                          Memory(codec->has_factors() ? n * sizeof(float) : 0)});
    }
    std::vector<float> stretches(n);
    const size_t at_once = std::max<size_t>(1, kEncodeBytes / codecs[0]->input_bytes());
    parallel_for((n + at_once - 1) / at_once, threads, watch, [&](size_t task) {
        Memory scratch;
        const size_t first = task * at_once, end = std::min(n, first + at_once);
        for (size_t i = first; i < end; ++i) {
            const size_t row = which != nullptr ? which[i] : i;
            const std::byte* const input = vectors.rows(row, 1, scratch);
            for (size_t c = 0; c < codecs.size(); ++c) {
                auto* const factors = reinterpret_cast<float*>(staged[c].factors.data());
                const float stretch = codecs[c]->encode(
                    input, 1, staged[c].codes.data() + i * codecs[c]->code_bytes(),
                    factors != nullptr ? factors + i : nullptr, vectors.argument, row);
                if (c == 0) stretches[i] = stretch;
            }
        }
        if (watch != nullptr) watch->advance(told ? end - first : 0);
    });
    for (const float stretch : stretches) staged[0].stretch = std::max(staged[0].stretch, stretch);
    return staged;
}

void Index::put(Store& store, const std::vector<Staged>& staged,
                const std::vector<uint32_t>& slots) {
    size_t row_bytes = 0;
    for (const auto& codec : store.codecs) row_bytes += codec->code_bytes();
    const size_t at_once = std::max<size_t>(1, kExclusiveBytes / row_bytes);
    for (size_t first = 0; first < slots.size(); first += at_once) {
        const Exclusive guard(lock_);
        for (size_t i = first; i < std::min(slots.size(), first + at_once); ++i) {
            for (size_t c = 0; c < store.copies.size(); ++c) {
                const size_t code_bytes = store.codecs[c]->code_bytes();
                const auto* const factors =
                    reinterpret_cast<const float*>(staged[c].factors.data());
                store.copies[c].put(slots[i], staged[c].codes.data() + i * code_bytes,
                                    factors != nullptr ? factors + i : nullptr);
            }
        }
    }
}

void Index::changed() {
    version_ = next_version();
    size_.store(store_->ids.n_live(), std::memory_order_relaxed);
}

// Slots that were removed before every call now under way began.
void Index::reclaim(const Writing& writing) {
    const Writing::Step step(writing);
    size_t gone = 0, n_free = 0;
    while (gone < retired_.size() && calls_.ended_before(retired_[gone].first)) {
        n_free += retired_[gone++].second.size();
    }
    make_room(free_, n_free);  // from here on nothing can fail
    for (size_t i = 0; i < gone; ++i) {
        free_.insert(free_.end(), retired_[i].second.begin(), retired_[i].second.end());
    }
    retired_.erase(retired_.begin(), retired_.begin() + std::ptrdiff_t(gone));
}

void Index::append(Store& store, const Input& vectors, const size_t* which,
                   const std::vector<int64_t>& ids, const std::vector<uint32_t>& replaced,
                   size_t threads, Watch* watch, Writing& writing,
                   const std::function<void()>& apply_first) {
    const size_t n = ids.size();
    reclaim(writing);
    // The slots that were freed are the present store's.
    const size_t n_reused = &store == store_.get() ? std::min(n, free_.size()) : 0;
    const size_t n_fresh = n - n_reused;
    std::vector<uint32_t> reused(free_.end() - std::ptrdiff_t(n_reused), free_.end());
    std::sort(reused.begin(), reused.end());
    Directory& directory = store.ids;
    const size_t first = directory.n_slots();
    check_room(vectors, first + n_fresh);
    if (!replaced.empty()) {
        Words live = directory.live_for_removal();
        const Exclusive guard(lock_);
        directory.note_live(std::move(live));
    }
    bool plain = n_reused == 0;
    for (size_t i = 0; plain && i < n; ++i) plain = ids[i] == int64_t(first + i);
    Directory::Growth growth = directory.prepare(n_fresh, n_reused, plain, watch);
    std::vector<std::pair<size_t, uint64_t>> admitted;
    for (const uint32_t slot : reused) {
        if (admitted.empty() || admitted.back().first != slot / 64) {
            admitted.emplace_back(slot / 64, 0);
        }
        admitted.back().second |= uint64_t(1) << (slot % 64);
    }
    {
        std::vector<Flat::Room> rooms;
        for (const Flat& copy : store.copies) rooms.push_back(copy.room_for(first + n_fresh));
        std::vector<Memory> links;
        if (store.walked()) links = store.graph->room_for(first + n_fresh);
        const Writing::Step step(writing);
        if (store.walked()) store.graph->make_parents(first + n_fresh);
        const Exclusive guard(lock_);
        if (store.walked()) store.graph->adopt(std::move(links));
        for (size_t c = 0; c < rooms.size(); ++c) store.copies[c].adopt(std::move(rooms[c]));
        directory.make_room(growth);
    }

    const auto slot_of = [&](size_t i) {
        return i < n_reused ? reused[i] : uint32_t(first + i - n_reused);
    };
    // The first rows go where readers look at something (which they don't find, or which is the
    // neighbour in a group), so by way of a copy.
    const size_t n_seen = n_reused + std::min(n_fresh, store.rows().n_shared(first));
    std::vector<uint32_t> seen;
    for (size_t i = 0; i < n_seen; ++i) seen.push_back(slot_of(i));
    const bool linked = Linking::links(store, n);
    const auto staged = stage(store.forms, vectors, which, n_seen, !linked, threads, watch);
    // Whole groups, so that no two threads write to one.
    const size_t at_once =
        std::max<size_t>(1, kEncodeBytes / codec().input_bytes() / kGroupLanes) * kGroupLanes;
    const size_t n_tasks = (n - n_seen + at_once - 1) / at_once;
    std::vector<float> stretches(n_tasks);
    parallel_for(n_tasks, threads, watch, [&](size_t task) {
        Memory scratch;
        const size_t begin = n_seen + task * at_once, end = std::min(n, begin + at_once);
        const size_t slot = slot_of(begin);
        const auto encode = [&](size_t to, size_t row, size_t n_rows) {
            const std::byte* const input = vectors.rows(row, n_rows, scratch);
            for (Flat& copy : store.copies) {
                const float stretch = copy.encode(to, input, n_rows, vectors.argument, row);
                if (&copy == &store.rows()) stretches[task] = std::max(stretches[task], stretch);
            }
        };
        if (which == nullptr) {
            encode(slot, begin, end - begin);
        } else {
            for (size_t i = begin; i < end; ++i) encode(slot + i - begin, which[i], 1);
        }
        if (watch != nullptr) watch->advance(linked ? 0 : end - begin);
    });
    put(store, staged, seen);
    if (&store == store_.get()) repair_links(writing, n, watch);
    Linking linking(store, reused, first, n_fresh, n, threads, watch);
    if (watch != nullptr) watch->poll_now();

    const int64_t largest = n == 0 ? -1 : *std::max_element(ids.begin(), ids.end());
    int64_t next_id = directory.next_id();
    if (largest == INT64_MAX) {
        next_id = -1;
    } else if (next_id >= 0) {
        next_id = std::max(next_id, largest + 1);
    }
    std::vector<uint32_t> removed = replaced;
    std::erase(removed, kNoSlot);
    make_room_for_removed(removed.size(), writing);
    apply_first();
    store.stretch_to(staged[0].stretch);
    for (const float stretch : stretches) store.stretch_to(stretch);
    {
        const Exclusive guard(lock_);
        directory.adopt(growth);
    }
    linking.apply(lock_);
    if (!linking.unlinked().empty()) {
        retired_.emplace_back(calls_.now(), std::move(linking.unlinked()));
    }
    for (size_t begin = 0; begin < n; begin += kExclusiveSlots) {
        const Exclusive guard(lock_);
        for (size_t i = begin; i < std::min(n, begin + kExclusiveSlots); ++i) {
            directory.write_id(slot_of(i), ids[i]);
            directory.enter(slot_of(i), ids[i]);
        }
    }
    free_.resize(free_.size() - n_reused);
    if (replaced.empty()) {
        const Exclusive guard(lock_);
        directory.admit(n_fresh, admitted, next_id);
        if (&store == store_.get()) changed();
        return;
    }
    for (size_t begin = 0; begin < n; begin += kExclusiveSlots) {
        const Exclusive guard(lock_);
        if (begin == 0) directory.admit_dead(n_fresh, next_id);
        for (size_t i = begin; i < std::min(n, begin + kExclusiveSlots); ++i) {
            if (replaced[i] != kNoSlot) directory.remove(replaced[i]);
            directory.revive(slot_of(i));
        }
        if (&store == store_.get()) changed();
    }
    note_removed(std::move(removed));
}

void Index::make_room_for_removed(size_t n, const Writing& writing) {
    const Writing::Step step(writing);
    if (store_->walked()) store_->graph->reserve_dead(n);
    make_room(retired_, 2);  // slots that are removed, and those of a graph that is replaced
}

void Index::note_removed(std::vector<uint32_t> slots) {
    if (store_->walked()) {
        store_->graph->note_dead(slots);
    } else {
        retired_.emplace_back(calls_.now(), std::move(slots));
    }
}

// ------------------------------------------------------------------------------------ calls

std::vector<int64_t> Index::add(const Input& vectors, const std::vector<int64_t>* given,
                                size_t threads, Watch* watch) {
    if (watch != nullptr) watch->expect(vectors.n);
    Writing writing(*this, watch);
    const Directory& directory = store_->ids;
    std::vector<int64_t> ids;
    if (given != nullptr) {
        ids = *given;
        check_rows(vectors, ids, watch);
        for (size_t i = 0; i < ids.size(); ++i) {
            if (i % kIdsAtOnce == 0 && watch != nullptr) watch->advance(0);
            if (directory.find(ids[i]) == kNoSlot) continue;
            throw InvalidArgument("ids: expected new ids, got " + id_text(ids[i]) +
                                  " which the index holds (upsert replaces)");
        }
    } else {
        check_room(vectors, vectors.n);  // before as many ids take memory
        const int64_t next = directory.next_id();
        if (next < 0 || uint64_t(INT64_MAX - next) < vectors.n) {
            throw InvalidArgument(
                "ids: expected explicit ids, got None, and no automatic ones "
                "are left after the largest");
        }
        ids.resize(vectors.n);
        for (size_t i = 0; i < ids.size(); ++i) ids[i] = next + int64_t(i);
    }
    if (ids.empty()) return ids;
    const std::shared_ptr<Store> store = store_for(vectors, vectors.n, threads, watch);
    check_refinable(*store, vectors, watch);
    append(*store, vectors, nullptr, ids, {}, threads, watch, writing, [&] { writing.apply(); });
    publish(store);
    return ids;
}

void Index::update(const std::vector<int64_t>& ids, const Input& vectors, size_t threads,
                   Watch* watch) {
    if (watch != nullptr) watch->expect(vectors.n);
    Writing writing(*this, watch);
    check_rows(vectors, ids, watch);
    const std::vector<uint32_t> slots = find_all(ids, watch);
    const auto missing = std::find(slots.begin(), slots.end(), kNoSlot);
    if (missing != slots.end()) {
        throw UnknownId("ids: " + id_text(ids[size_t(missing - slots.begin())]) +
                        " is not in the index (upsert adds)");
    }
    if (store_->walked()) {
        replace_linked(ids, vectors, slots, threads, watch, writing);
        return;
    }
    check_refinable(*store_, vectors, watch);
    const auto staged = stage(store_->forms, vectors, nullptr, vectors.n, true, threads, watch);
    if (watch != nullptr) watch->poll_now();
    writing.apply();
    store_->stretch_to(staged[0].stretch);
    put(*store_, staged, slots);
}

void Index::upsert(const std::vector<int64_t>& ids, const Input& vectors, size_t threads,
                   Watch* watch) {
    if (watch != nullptr) watch->expect(vectors.n);
    Writing writing(*this, watch);
    check_rows(vectors, ids, watch);
    const std::vector<uint32_t> found = find_all(ids, watch);
    if (store_->walked()) {
        replace_linked(ids, vectors, found, threads, watch, writing);
        return;
    }
    std::vector<size_t> old_rows, new_rows;
    std::vector<uint32_t> old_slots;
    std::vector<int64_t> new_ids;
    for (size_t i = 0; i < ids.size(); ++i) {
        if (found[i] != kNoSlot) {
            old_rows.push_back(i);
            old_slots.push_back(found[i]);
        } else {
            new_rows.push_back(i);
            new_ids.push_back(ids[i]);
        }
    }
    const std::shared_ptr<Store> store = store_for(vectors, new_rows.size(), threads, watch);
    const bool aside = store != store_;
    if (!aside && !old_rows.empty() && Linking::links(*store, new_rows.size())) {
        // A graph comes into being: of the rows as they will be.
        replace_linked(ids, vectors, found, threads, watch, writing);
        return;
    }
    for (size_t i = 0; aside && i < old_rows.size(); ++i) {
        old_slots[i] = store->ids.find(ids[old_rows[i]]);
    }
    check_refinable(*store, vectors, watch);
    const auto staged =
        stage(store->forms, vectors, old_rows.data(), old_rows.size(), true, threads, watch);
    if (aside) put(*store, staged, old_slots);  // nobody looks there yet
    append(*store, vectors, new_rows.data(), new_ids, {}, threads, watch, writing, [&] {
        writing.apply();
        store->stretch_to(staged[0].stretch);
        if (!aside) put(*store, staged, old_slots);
    });
    publish(store);
}

size_t Index::remove(const std::vector<int64_t>& ids, bool ignore_missing, Watch* watch) {
    Writing writing(*this, watch);
    check_ids(ids, watch);
    std::vector<uint32_t> slots = find_all(ids, watch);
    if (!ignore_missing) {
        const auto missing = std::find(slots.begin(), slots.end(), kNoSlot);
        if (missing != slots.end()) {
            throw UnknownId("ids: " + id_text(ids[size_t(missing - slots.begin())]) +
                            " is not in the index");
        }
    }
    std::erase(slots, kNoSlot);
    if (slots.empty()) return 0;
    Directory& directory = store_->ids;
    Words live = directory.live_for_removal();
    repair_links(writing, slots.size(), watch);
    reclaim(writing);  // here too, or removing one by one would pile them up
    make_room_for_removed(slots.size(), writing);
    writing.apply();
    for (size_t begin = 0; begin < slots.size(); begin += kExclusiveSlots) {
        const Exclusive guard(lock_);
        if (begin == 0) directory.note_live(std::move(live));
        for (size_t i = begin; i < std::min(slots.size(), begin + kExclusiveSlots); ++i) {
            directory.remove(slots[i]);
        }
        changed();
    }
    const size_t n = slots.size();
    note_removed(std::move(slots));
    return n;
}

void Index::reserve(size_t n, Watch* watch) {
    Writing writing(*this, watch);
    if (n > kMaxSlots) {
        throw InvalidArgument("n: expected at most " + std::to_string(kMaxSlots) + " rows, got " +
                              std::to_string(n));
    }
    const size_t memory = physical_memory();
    size_t row_bytes = 0;
    for (const auto& codec : store_->codecs) row_bytes += codec->code_bytes();
    if (memory != 0 && n > memory / row_bytes) throw std::bad_alloc();
    std::vector<Flat::Room> rooms;
    for (const Flat& copy : store_->copies) rooms.push_back(copy.room_for(n));
    const Exclusive guard(lock_);
    const Writing::Step step(writing);
    for (size_t c = 0; c < rooms.size(); ++c) store_->copies[c].adopt(std::move(rooms[c]));
}

std::unique_ptr<Index::Store> Index::compacted(const Codecs& codecs, size_t threads,
                                               Watch* watch) const {
    const Directory& ids = store_->ids;
    const size_t n = ids.n_live();
    auto made = std::make_unique<Store>(codecs, layout_);
    for (Flat& copy : made->copies) copy.adopt(copy.room_for(n));
    const bool plain = ids.densely_identity();
    Directory::Growth growth = made->ids.prepare(n, 0, plain, watch);
    made->ids.adopt(growth);
    std::vector<uint32_t> live;
    live.reserve(n);
    for (size_t slot = 0; slot < ids.n_slots(); ++slot) {
        if (!ids.live(slot)) continue;
        made->ids.write_id(live.size(), ids.id_of(slot));
        made->ids.enter(live.size(), ids.id_of(slot));
        live.push_back(uint32_t(slot));
        if (watch != nullptr && live.size() % 1024 == 0) watch->advance(0);
    }
    const bool same = made->codecs == store_->codecs;
    if (same) made->stretch_to(store_->stretch);
    constexpr size_t kAtOnce = 32 * kGroupLanes;
    parallel_for((n + kAtOnce - 1) / kAtOnce, threads, watch, [&](size_t task) {
        const size_t begin = task * kAtOnce, end = std::min(n, begin + kAtOnce);
        const size_t row_bytes = codec().input_bytes();
        Memory floats(same ? 0 : kAtOnce * row_bytes);
        for (size_t i = begin; !same && i < end; ++i) {
            store_->finest().decode(live[i], floats.data() + (i - begin) * row_bytes);
        }
        for (size_t c = 0; c < codecs.size(); ++c) {
            Flat& to = made->copies[c];
            if (!same) {
                const float stretch =
                    to.encode(begin, floats.data(), end - begin, "vectors", begin);
                if (c == 0) made->stretch_to(stretch);
                continue;
            }
            const Flat& from = store_->copies[c];
            Memory code(codecs[c]->code_bytes());
            for (size_t i = begin; i < end; ++i) {
                to.put(i, from.code(live[i], code.data()), from.factor(live[i]));
            }
        }
        if (watch != nullptr) watch->advance(0);
    });
    if (same && store_->walked() && n >= kGraphFrom) {
        std::vector<uint32_t> slots(ids.n_slots(), kNoSlot);
        for (size_t i = 0; i < n; ++i) slots[live[i]] = uint32_t(i);
        const auto graph = live_graph(threads, watch);
        made->graph = graph->renumbered(slots, n);
        if (!graph->has_parents()) {  // mapped until now
            const auto entries = made->graph->entries();
            reach_all(*made->graph, made->finest(), all_of(n), n, {entries.begin(), entries.end()},
                      graph->n_entered(), threads, watch);
        }
    } else {
        Linking linking(*made, {}, 0, n, 0, threads, watch);
        RwLock nobody_reads;
        linking.apply(nobody_reads);
    }
    made->ids.admit(n, {}, ids.next_id());
    return made;
}

void Index::compact(Watch* watch) {
    Writing writing(*this, watch);
    if (store_->ids.all_live()) return;
    std::shared_ptr<Store> made = compacted(store_->codecs, 1, watch);
    writing.apply();
    publish(std::move(made));
}

std::unique_ptr<Index> Index::copy(Watch* watch) const {
    const Writing writing(*this, watch, Writing::kReads);
    auto made =
        std::make_unique<Index>(codecs_[0], refine() != nullptr ? codecs_[1] : nullptr, layout_);
    made->set_default_ef(default_ef());
    made->store_ = compacted(store_->codecs, 1, watch);
    made->changed();
    return made;
}

}  // namespace nearbit
