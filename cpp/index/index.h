// The index: ids and rows in, nearest ids out; many readers beside one writer.
#pragma once

#include <atomic>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/lock.h"
#include "base/watch.h"
#include "codecs/codec.h"
#include "files/mapping.h"
#include "files/output.h"
#include "index/best.h"
#include "index/directory.h"
#include "index/filter.h"
#include "index/input.h"
#include "index/run.h"
#include "layouts/flat.h"
#include "layouts/graph.h"

namespace nearbit {

class ContainerWriter;

class Index {
  public:
    // refine: of the finer copy of each row that re-scores what the codec found; null: none. Throws
    // InvalidArgument if the two don't go together.
    // layout: of a graph; null: flat.
    explicit Index(std::shared_ptr<const Codec> codec,
                   std::shared_ptr<const Codec> refine = nullptr,
                   std::optional<GraphSettings> layout = std::nullopt);

    // As they were asked for: what they learned is with the rows that are stored by them.
    const Codec& codec() const { return *codecs_[0]; }
    const std::shared_ptr<const Codec>& shared_codec() const { return codecs_[0]; }
    // With what it learned. Throws InvalidArgument while it has not.
    std::shared_ptr<const Codec> trained_codec() const;
    const Codec* refine() const { return codecs_.size() > 1 ? codecs_[1].get() : nullptr; }
    const std::optional<GraphSettings>& layout() const { return layout_; }
    bool read_only() const { return read_only_; }
    // What walks of a graph take that are not told.
    size_t default_ef() const { return default_ef_.load(std::memory_order_relaxed); }
    void set_default_ef(size_t ef) { default_ef_.store(ef, std::memory_order_relaxed); }

    // ------------------------------------------------------------------ reading (search.cpp)
    size_t size() const { return size_.load(std::memory_order_relaxed); }
    bool contains(int64_t id) const;
    std::vector<int64_t> ids() const;  // ascending
    // Rows from the finest copy held, in the codec's output type. Throws UnknownId.
    void get(const std::vector<int64_t>& ids, std::byte* rows, Watch* watch) const;
    void search(const SearchRequest& request, const TakeHits& take) const;
    // One query without a filter, at once and on this thread; false if it would have to wait or
    // look at more than kAtOnceBytes of codes and finer rows. For calls that keep Python's lock.
    bool try_search_one(const std::byte* query, size_t k, float radius, double refine_factor,
                        const char* argument, std::vector<Hit>& hits, SearchCounts& counts) const;
    static constexpr size_t kAtOnceBytes = size_t(128) << 10;

    struct Stats {
        size_t n_items, n_slots, code_bytes, factor_bytes, refine_bytes, directory_bytes,
            link_bytes;
        size_t train_size;  // 0: nothing to train
        bool trained;
        double stretch;
    };
    Stats stats() const;

    // ------------------------------------------------------------------ changing (index.cpp)
    // Each throws before it changes anything, or not at all. ids: null for automatic ones.
    std::vector<int64_t> add(const Input& vectors, const std::vector<int64_t>* ids, size_t threads,
                             Watch* watch);
    size_t remove(const std::vector<int64_t>& ids, bool ignore_missing, Watch* watch);
    void update(const std::vector<int64_t>& ids, const Input& vectors, size_t threads,
                Watch* watch);
    void upsert(const std::vector<int64_t>& ids, const Input& vectors, size_t threads,
                Watch* watch);
    void reserve(size_t n, Watch* watch);
    void compact(Watch* watch);
    // Trains the codec on a sample instead of the first rows. Nothing to do for one that needs
    // none.
    void train(const Input& rows, size_t threads, Watch* watch);

    // ------------------------------------------------------------------ files (persist.cpp)
    std::unique_ptr<Index> copy(Watch* watch) const;
    void write(Output& output, Watch* watch) const;
    void save(const std::string& path, Watch* watch) const;
    // verify: compare the checksums of all sections, not only of the header. A mapped file always
    // is used in place and the index then is read-only.
    static std::unique_ptr<Index> load(const std::string& path, bool map, bool verify,
                                       Watch* watch);
    static std::unique_ptr<Index> from_bytes(std::span<const std::byte> bytes, Watch* watch);

  private:
    // What rows are stored by: what scans read, then the finer copy's if there is one.
    using Codecs = std::vector<std::shared_ptr<const Codec>>;
    // All that compact() replaces at once. A search keeps the store that it began with.
    struct Store {
        Store(Codecs codecs, const std::optional<GraphSettings>& layout);
        const Flat& rows() const { return copies.front(); }
        const Flat& finest() const { return copies.back(); }
        bool refines() const { return copies.size() > 1; }

        const Codecs codecs;       // of floats as they are alone, until there is training
        Codecs forms;              // the same as copies hold them: in groups, or for single codes
        std::vector<Flat> copies;  // of each row by each codec, all in the same slot
        Directory ids;
        std::shared_ptr<Graph> graph;  // null: flat
        bool walked() const { return graph != nullptr && !graph->empty(); }
        // Of all rows that ever came: as many times as what the training sample said may estimates
        // be off.
        std::atomic<float> stretch{0};
        void stretch_to(float least);
    };
    // What was admitted when a call began: it looks no further.
    struct Snapshot {
        std::shared_ptr<const Store> store;
        size_t n_slots, n_live;
        std::shared_ptr<const Admit> live;  // null: all are
        uint64_t version;
    };
    // A call that keeps writers out, from its start to its end.
    class Writing;
    static constexpr size_t kGraphFrom = 2048;  // fewer rows are scanned sooner than walked
    // Rows encoded aside by one codec, for slots that readers look at.
    struct Staged {
        Memory codes, factors;
        float stretch = 0;
    };
    class Searching;

    // How many times larger than codecs say errors of estimates may be.
    static double stretch_of(const Store& store);
    Snapshot snapshot() const;
    std::shared_ptr<const Admit> admit(const Snapshot& snapshot, const Filter* filter,
                                       Watch* watch) const;

    void check_rows(const Input& vectors, const std::vector<int64_t>& ids, Watch* watch) const;
    void check_room(const Input& vectors, size_t n) const;  // for n slots in all
    // Slots of ids, which must be distinct; kNoSlot for those that aren't there.
    std::vector<uint32_t> find_all(const std::vector<int64_t>& ids, Watch* watch) const;
    // Throws if the finer copy couldn't hold rows that wait as floats for training.
    void check_refinable(const Store& store, const Input& vectors, Watch* watch) const;
    // Encodes rows which (null: 0 .. n - 1) of vectors aside, by each codec.
    static std::vector<Staged> stage(const Codecs& codecs, const Input& vectors,
                                     const size_t* which, size_t n, bool told, size_t threads,
                                     Watch* watch);
    // Puts staged rows into slots in short exclusive steps.
    void put(Store& store, const std::vector<Staged>& staged, const std::vector<uint32_t>& slots);
    class Linking;
    static Words live_words(const Directory& ids);  // a bit for each slot
    // The graph of the live rows, each in its slot: the store's own if that has no others.
    std::shared_ptr<const Graph> live_graph(size_t threads, Watch* watch) const;
    // Takes dead vertices out of links, as far as that is due and not too much for a call that
    // changes n_rows.
    void repair_links(const Writing& writing, size_t n_rows, Watch* watch);
    // update and upsert of a graph: rows in slots of their own, where linked ones can't be changed.
    // found: the slots that had the ids until now.
    void replace_linked(const std::vector<int64_t>& ids, const Input& vectors,
                        const std::vector<uint32_t>& found, size_t threads, Watch* watch,
                        Writing& writing);
    // Before slots are removed, so that afterwards nothing can fail; and what then becomes of them.
    void make_room_for_removed(size_t n, const Writing& writing);
    void note_removed(std::vector<uint32_t> slots);
    // Everything of an add but choosing and checking ids: rows which (null: all) of vectors.
    // apply_first is called when nothing can fail any more.
    void append(Store& store, const Input& vectors, const size_t* which,
                const std::vector<int64_t>& ids, const std::vector<uint32_t>& replaced,
                size_t threads, Watch* watch, Writing& writing,
                const std::function<void()>& apply_first);
    void reclaim(const Writing& writing);
    void changed();  // exclusive: ids or slots are not what they were
    // The rows that are live one behind the other, stored by codecs: the present ones, or after
    // training those that it gave.
    std::unique_ptr<Store> compacted(const Codecs& codecs, size_t threads, Watch* watch) const;
    // Where a call with more rows has to put them: the store as it is or, if training is due, one
    // aside that has all rows by the codecs then trained. publish puts that in the other's place.
    // Rows are held as floats because a codec is not trained yet.
    bool pending() const { return std::strcmp(store_->codecs[0]->name(), codecs_[0]->name()) != 0; }
    std::shared_ptr<Store> store_for(const Input& vectors, size_t n_more, size_t threads,
                                     Watch* watch) const;
    std::vector<float> sample_with(const Input& vectors, const Codec& codec, Watch* watch) const;
    // The codecs trained, each on a sample of its own: a second one would double the peak.
    using SampleFor = std::function<std::vector<float>(const Codec&)>;
    Codecs trained_on(const SampleFor& sample, size_t threads, Watch* watch) const;
    void publish(std::shared_ptr<Store> store);
    void open_graph(std::vector<uint32_t> entries, uint64_t n_entered, size_t n, bool in_place,
                    const std::string& source, Watch* watch);
    void write_groups(ContainerWriter& writer, const Flat& rows, Watch* watch) const;
    static std::unique_ptr<Index> open(std::shared_ptr<Mapping> mapping,
                                       std::span<const std::byte> bytes, const std::string& source,
                                       bool in_place, bool verify, Watch* watch);

    const Codecs codecs_;
    const std::optional<GraphSettings> layout_;
    std::atomic<size_t> default_ef_{kDefaultEf};
    bool read_only_ = false;
    std::shared_ptr<Store> store_;  // guarded by lock_
    uint64_t version_ = 0;          // guarded by lock_; no state of ids and slots has another's
    std::atomic<size_t> size_{0};   // len(index) without the lock
    mutable RwLock lock_;
    mutable WriterMutex writer_;
    mutable Calls calls_;
    // The writer's own: slots to use again, and those whose readers may not be gone yet.
    std::vector<uint32_t> free_;
    std::vector<std::pair<uint64_t, std::vector<uint32_t>>> retired_;
};

}  // namespace nearbit
