// What looks at an index without changing it.
#include <algorithm>
#include <cmath>
#include <shared_mutex>

#include "base/error.h"
#include "index/index.h"
#include "layouts/walk.h"

namespace nearbit {
namespace {

using Shared = std::shared_lock<RwLock>;

// By which power of the share that a filter lets pass ef is smaller. By its root the nearest tenth
// of the rows was found with a recall of .947 to .959, wordnet-minilm.
constexpr double kEfOfShare = 0.4;
// A walk scores about so many rows for each of ef, over the share that a filter lets pass
// (wordnet-minilm, degree 32, a half allowed).
constexpr double kScoredByWalk = 16;
// What a row costs beside its bytes, in bytes of a scan (10 a nanosecond): one that a scan picks
// out by a filter, and one that a walk comes to.
constexpr double kLoneBytes = 128, kWalkedBytes = 400;
// A walk is tried that is likely to take less than this share of a scan, which queries of a call
// may share.
constexpr double kWorthTrying = 0.6;
// A walk keeps all that it scores until as many of it may be found as it looks for: after about ef
// over the share that a filter lets pass, if that leaves out no more of what is near than of the
// rest. Beyond so many times as many, and those on the way to the query, it gives up: later where a
// filter leaves out so little that it may be just what is near, such as what was seen before.
constexpr double kTooMany = 2, kOnTheWay = 128;
// Rows that a walk may keep beside those that it looks for: all within a radius, those that a
// filter leaves out, removed ones. Each that comes moves half of the others, so that so many cost
// about half of a scan of as many bytes as the square of them, times six; or little.
constexpr double kLeastKept = 4096, kBytesOfKept = 6;
constexpr size_t kSharedIds = 4096;  // looked up in one hold of the lock: about 100 us

}  // namespace

Index::Snapshot Index::snapshot() const {
    writer_.check_whole();
    const Shared guard(lock_);
    const Directory& ids = store_->ids;
    Snapshot made{store_, ids.n_slots(), ids.n_live(), nullptr, version_};
    if (!ids.all_live()) {
        const uint64_t* const words = ids.live_words();
        made.live = std::make_shared<Admit>(
            Admit{Words(words, words + words_for(ids.n_slots())), ids.n_live()});
    }
    return made;
}

// The slots that a filter admits, of those that were live when the call began.
std::shared_ptr<const Admit> Index::admit(const Snapshot& snapshot, const Filter* filter,
                                          Watch* watch) const {
    if (filter == nullptr) return snapshot.live;
    const Filter::State state{this, snapshot.version};
    if (auto known = filter->remembered(state)) return known;
    const Directory& directory = snapshot.store->ids;
    auto made = std::make_shared<Admit>();
    made->words.resize(words_for(snapshot.n_slots));
    for (size_t begin = 0; begin < filter->span(); begin += kSharedIds) {
        {
            const Shared guard(lock_);
            filter->for_each(begin, std::min(filter->span(), begin + kSharedIds), [&](int64_t id) {
                const uint32_t slot = directory.find(id);
                if (slot < snapshot.n_slots) set_bit(made->words.data(), slot);
            });
        }
        if (watch != nullptr) watch->advance(0);
    }
    if (snapshot.live != nullptr) {
        const Words& live = snapshot.live->words;
        for (size_t i = 0; i < made->words.size(); ++i) made->words[i] &= live[i];
    }
    made->count = count_bits(made->words);
    // Between the snapshot and here the ids may have changed: then this is right for this call,
    // which began before, but not for every call that finds the index in the snapshot's state.
    const Shared guard(lock_);
    if (version_ == snapshot.version) filter->remember(state, made);
    return made;
}

double Index::stretch_of(const Store& store) {
    return std::max(1.0, double(store.stretch));
}

class Index::Searching final : public Searched {
  public:
    Searching(const Index& index, Watch* watch)
        : index_(index), watch_(watch), snapshot_(index.snapshot()) {}

    const Codec& codec() const { return snapshot_.store->rows().codec(); }
    size_t n_rows() const override { return snapshot_.n_slots; }
    std::shared_ptr<const Admit> admit(const Filter* filter) const override {
        return index_.admit(snapshot_, filter, watch_);
    }
    Best collector(size_t k, float radius) const override {
        return Best(k, radius, &snapshot_.store->ids);
    }
    void scan(const Scorer& scorer, size_t n_queries, size_t begin, size_t end, const Admit* admit,
              Collector* const* collectors, Memory& scratch) const override {
        Admitted admitted = {nullptr, snapshot_.n_slots, snapshot_.n_slots};
        if (admit != nullptr) admitted = {admit->words.data(), admit->count, snapshot_.n_slots};
        const Shared guard(index_.lock_);
        snapshot_.store->rows().search(scorer, n_queries > 1, begin, end, admitted, collectors,
                                       scratch);
    }
    const Codec* fine() const override {
        return snapshot_.store->refines() ? &snapshot_.store->finest().codec() : nullptr;
    }
    double stretch() const override { return stretch_of(*snapshot_.store); }
    bool refine(Refining& refining, const Scorer& scorer) const override {
        const Shared guard(index_.lock_);
        return refining.step(snapshot_.store->rows(), snapshot_.store->finest(), scorer);
    }

    bool walks(const SearchRequest& request, const Admit* admit) const override {
        if (request.exact || (request.k > kMostWalked && !request.range)) return false;
        {
            const Shared guard(index_.lock_);
            if (!snapshot_.store->walked()) return false;
        }
        // Nearly all are removed: a walk would go on among those without an end to its pool.
        if (snapshot_.n_live < std::min(request.ef, snapshot_.n_slots / 4)) return false;
        return !filters(admit) || ef_of(request, admit) * kScoredByWalk / share_of(admit) <
                                      kWorthTrying * most_scored(request, admit);
    }
    bool walk(const Scorer& scorer, size_t query, const SearchRequest& request, double radius,
              const Admit* admit, Collector& collector, SearchCounts& counts) const override {
        const size_t n_admitted = admit != nullptr ? admit->count : n_rows();
        const double ef = ef_of(request, admit);
        const WalkEffort effort = {
            .ef = size_t(ef),
            .radius = request.range ? radius : -double(kInfinity),
            .most_distances = size_t(most_scored(request, admit)),
            .most_kept = most_kept(request, ef / (admit != nullptr ? share_of(admit) : 1), admit)};
        WalkScratch& scratch = walk_scratch();
        const Shared guard(index_.lock_);
        const WalkCounts done =
            nearbit::walk(View{*snapshot_.store, scorer, query, admit, n_rows()}, effort, scratch);
        counts.hops = done.hops;
        counts.distances = done.distances;
        size_t n_found = 0;
        for (const Pool::Entry& entry : scratch.pool.entries()) {
            if (!entry.admitted) continue;
            collector.offer(entry.slot, entry.distance);
            ++n_found;
        }
        return !done.gave_up && n_found >= std::min(request.range ? 1 : request.k, n_admitted);
    }

  private:
    // A graph as a query walks it.
    struct View {
        const Store& store;
        const Scorer& scorer;
        size_t query;
        const Admit* admit;
        size_t n_rows;  // that may be found; there may be more by now

        size_t n_slots() const { return store.graph->n_slots(); }
        size_t degree() const { return store.graph->degree(); }
        std::span<const uint32_t> entries() const { return store.graph->entries(); }
        const uint32_t* links(uint32_t slot) const { return store.graph->links(slot); }
        void prefetch(const uint32_t* slots, size_t n) const { store.rows().prefetch(slots, n); }
        void distances(const uint32_t* slots, size_t n, double* out) const {
            store.rows().distances(scorer, query, slots, n, out);
        }
        void prefetch_links(uint32_t slot) const { store.graph->prefetch_links(slot); }
        bool admits(uint32_t slot) const {
            return slot < n_rows && (admit == nullptr || test_bit(admit->words.data(), slot));
        }
    };

    // Whether a filter keeps rows out, and not only that some are removed.
    bool filters(const Admit* admit) const {
        return admit != nullptr && admit->count != snapshot_.n_live;
    }
    double share_of(const Admit* admit) const {
        return double(admit->count) / double(std::max<size_t>(1, n_rows()));
    }
    // Rows that a filter leaves lie further apart, so to find as many of the nearest takes fewer;
    // but not where it leaves those that are near to the query.
    double ef_of(const SearchRequest& request, const Admit* admit) const {
        double ef = double(request.ef);
        if (filters(admit)) {
            ef *= std::pow(double(admit->count) / double(snapshot_.n_live), kEfOfShare);
        }
        return std::max({1.0, ef, request.range ? 1 : double(request.k)});
    }
    size_t most_kept(const SearchRequest& request, double likely, const Admit* admit) const {
        const double row_bytes = double(snapshot_.store->rows().codec().code_bytes());
        const double others = std::sqrt(double(n_rows()) * row_bytes / kBytesOfKept);
        if (filters(admit) && !request.range) {
            const double share = share_of(admit);
            return size_t(
                std::max(kTooMany * likely + kOnTheWay, others / 2 * share * share * share));
        }
        const double most = std::max(kLeastKept, others);
        return size_t(std::min(4 * likely, most) + most);
    }
    // Where a filter leaves few, a walk has failed that takes as long as a scan; one for all within
    // a radius, which may find them all and not know it, half as long.
    double most_scored(const SearchRequest& request, const Admit* admit) const {
        if (filters(admit)) return worth_of_scan(admit) / (request.range ? 2 : 1);
        return request.range ? double(n_rows()) / 4 : double(n_rows());
    }
    // How many rows a walk scores while a scan goes over those that a filter leaves.
    double worth_of_scan(const Admit* admit) const {
        const double row_bytes = double(snapshot_.store->rows().codec().code_bytes());
        const double scanned =
            std::min(double(n_rows()) * row_bytes, double(admit->count) * (row_bytes + kLoneBytes));
        return scanned / (row_bytes + kWalkedBytes);
    }

    const Index& index_;
    Watch* const watch_;
    const Snapshot snapshot_;
};

void Index::search(const SearchRequest& request, const TakeHits& take) const {
    const Calls::Stay stay(calls_);
    const Searching searching(*this, request.watch);
    run_search(searching, searching.codec(), request, take);
}

bool Index::try_search_one(const std::byte* query, size_t k, float radius, double refine_factor,
                           const char* argument, std::vector<Hit>& hits,
                           SearchCounts& counts) const {
    writer_.check_whole();
    if (!lock_.try_lock_shared()) return false;
    const Shared guard(lock_, std::adopt_lock);
    const Directory& ids = store_->ids;
    const Codec& codec = store_->rows().codec();
    const Flat* const fine = store_->refines() ? &store_->finest() : nullptr;
    if (store_->walked()) return false;
    const size_t n = fine != nullptr ? candidates_for(k, refine_factor, ids.n_slots()) : k;
    const size_t fine_bytes = fine != nullptr ? n * fine->codec().code_bytes() : 0;
    if (ids.n_slots() * codec.code_bytes() + fine_bytes > kAtOnceBytes) return false;
    const std::unique_ptr<Scorer> scorer = codec.prepare(query, 1, argument, 0);
    Best best(n, fine != nullptr ? kInfinity : radius, &ids);
    Collector* const collector = &best;
    Memory scratch;
    const Admitted admitted = {ids.all_live() ? nullptr : ids.live_words(), ids.n_live(),
                               ids.n_slots()};
    store_->rows().search(*scorer, false, 0, ids.n_slots(), admitted, &collector, scratch);
    hits = best.take();
    counts = {.distances = ids.n_live(),
              .candidates = codec.grouped() ? best.n_passed() : ids.n_live()};
    if (fine == nullptr) return true;
    const std::unique_ptr<Scorer> finer = fine->codec().prepare(query, 1, argument, 0);
    Refining refining(std::move(hits), k, radius, false, scorer->error(0), stretch_of(*store_));
    while (refining.step(store_->rows(), *fine, *finer)) {
    }
    counts.refined = refining.n_read();
    hits = refining.take();
    return true;
}

bool Index::contains(int64_t id) const {
    writer_.check_whole();
    const Shared guard(lock_);
    return store_->ids.find(id) != kNoSlot;
}

std::vector<int64_t> Index::ids() const {
    const Calls::Stay stay(calls_);
    const Snapshot now = snapshot();
    std::vector<int64_t> ids;
    ids.reserve(now.n_live);
    for (size_t begin = 0; begin < now.n_slots; begin += 64 * kSharedIds) {
        const Shared guard(lock_);
        const size_t end = std::min(now.n_slots, begin + 64 * kSharedIds);
        for (size_t slot = begin; slot < end; ++slot) {
            if (now.live == nullptr || test_bit(now.live->words.data(), slot)) {
                ids.push_back(now.store->ids.id_of(slot));
            }
        }
    }
    if (!std::is_sorted(ids.begin(), ids.end())) std::sort(ids.begin(), ids.end());
    return ids;
}

void Index::get(const std::vector<int64_t>& ids, std::byte* rows, Watch* watch) const {
    writer_.check_whole();
    const size_t row_bytes = codec().output_bytes();
    const size_t at_once = std::clamp<size_t>((size_t(1) << 20) / row_bytes, 1, kSharedIds);
    for (size_t begin = 0; begin < ids.size(); begin += at_once) {
        const size_t end = std::min(ids.size(), begin + at_once);
        {
            const Shared guard(lock_);
            for (size_t i = begin; i < end; ++i) {
                const uint32_t slot = store_->ids.find(ids[i]);
                if (slot == kNoSlot) {
                    throw UnknownId("ids: id " + std::to_string(ids[i]) + " is not in the index");
                }
                store_->finest().decode(slot, rows + i * row_bytes);
            }
        }
        if (watch != nullptr) watch->advance(end - begin);
    }
}

Index::Stats Index::stats() const {
    writer_.check_whole();
    const Shared guard(lock_);
    const Directory& ids = store_->ids;
    const auto factor_bytes = [](const Codec& of) { return of.has_factors() ? sizeof(float) : 0; };
    const Codec &scanned = store_->rows().codec(), &fine = store_->finest().codec();
    const size_t fine_bytes = store_->refines() ? fine.code_bytes() + factor_bytes(fine) : 0;
    return {.n_items = ids.n_live(),
            .n_slots = ids.n_slots(),
            .code_bytes = ids.n_slots() * scanned.code_bytes(),
            .factor_bytes = ids.n_slots() * factor_bytes(scanned),
            .refine_bytes = ids.n_slots() * fine_bytes,
            .directory_bytes = ids.n_bytes(),
            .link_bytes = store_->graph != nullptr ? store_->graph->n_bytes() : 0,
            .train_size = codec().train_size(),
            .trained = !pending(),
            .stretch = store_->stretch};
}

}  // namespace nearbit
