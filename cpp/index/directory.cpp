#include "index/directory.h"

#include <algorithm>
#include <string>

#include "base/error.h"

namespace nearbit {
namespace {

constexpr size_t kIdsPerChunk = size_t(1) << 19;  // 4 MiB
constexpr size_t kIdsAtOnce = size_t(64) << 10;   // entered between two looks at the watch

// The most entries of a mapped table that one look-up takes, so that damage can't make it walk all
// of a large one. In a sound table, at most three in four used, the longest run of n spread entries
// is about ln(n) / 0.038: 600 for the 2^32 that there can be (0.038 = 0.75 - 1 - ln 0.75). Tables
// as dense_table() makes them are at most five in eight used: 240.
constexpr size_t kMaxMappedProbes = 4096;

// A table for n entries, at most five in eight used at first.
size_t table_size_for(size_t n) {
    size_t size = 16;
    while (size * 5 / 8 < n) size *= 2;
    return size;
}

size_t capacity_of(size_t table_size) {
    return table_size * 3 / 4;
}

}  // namespace

Directory::Directory() : ids_(sizeof(int64_t), kIdsPerChunk) {}

// The finalizer of SplitMix64: sequential ids spread over the whole table.
uint64_t Directory::hash(int64_t id) {
    uint64_t x = uint64_t(id);
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

uint32_t Directory::find(int64_t id) const {
    if (id < 0) return kNoSlot;
    if (identity_) {
        return size_t(id) < n_slots_ && live(size_t(id)) ? uint32_t(id) : kNoSlot;
    }
    if (table_size_ == 0) return kNoSlot;
    size_t at = size_t(hash(id)) & (table_size_ - 1);
    const size_t most = own_table_.empty() ? kMaxMappedProbes : table_size_;
    for (size_t probes = 0; probes < std::min(most, table_size_); ++probes) {
        const uint32_t slot = table_[at];
        if (slot == kNoSlot) return kNoSlot;
        if (slot < n_slots_ && live(slot) && id_of(slot) == id) return slot;
        at = (at + 1) & (table_size_ - 1);
    }
    return kNoSlot;
}

void Directory::enter_into(uint32_t* table, size_t size, size_t slot, int64_t id) const {
    size_t at = size_t(hash(id)) & (size - 1);
    while (table[at] != kNoSlot) at = (at + 1) & (size - 1);
    table[at] = uint32_t(slot);
}

size_t Directory::n_bytes() const {
    return (identity_ ? 0 : n_slots_ * sizeof(int64_t)) + table_size_ * sizeof(uint32_t) +
           (all_live() ? 0 : words_for(n_slots_) * sizeof(uint64_t));
}

Directory::Growth Directory::prepare(size_t n_fresh, size_t n_reused, bool plain,
                                     Watch* watch) const {
    Growth growth;
    const size_t n_slots = n_slots_ + n_fresh;
    const size_t n_words = words_for(n_slots);
    if (!live_.empty() && live_.size() < n_words) {
        growth.live = live_;
        growth.live.resize(std::max(n_words, 2 * live_.size()));
    }
    if (identity_ && plain) return growth;
    growth.leaves_identity = identity_;
    const size_t n_entries = n_fresh + n_reused;
    if (growth.leaves_identity) {
        growth.ids = Column(sizeof(int64_t), kIdsPerChunk);
        growth.ids.grow(n_slots);
        for (size_t slot = 0; slot < n_slots_; ++slot) {
            *reinterpret_cast<int64_t*>(growth.ids.at(slot)) = int64_t(slot);
        }
    } else {
        growth.id_chunks = ids_.chunks_for(n_slots);
    }
    if (growth.leaves_identity || n_entries_ + n_entries > capacity_of(table_size_)) {
        growth.table.assign(table_size_for(n_live_ + n_entries), kNoSlot);
        for (size_t slot = 0; slot < n_slots_; ++slot) {
            if (live(slot)) enter_into(growth.table.data(), growth.table.size(), slot, id_of(slot));
            if (slot % kIdsAtOnce == 0 && watch != nullptr) watch->advance(0);
        }
    }
    return growth;
}

void Directory::use(std::vector<uint32_t>& table) {
    own_table_.swap(table);
    table_ = own_table_.data();
    table_size_ = own_table_.size();
    n_entries_ = n_live_;
}

void Directory::adopt(Growth& growth) {
    if (growth.leaves_identity) {
        ids_ = std::move(growth.ids);  // there were none
        identity_ = false;
    } else {
        ids_.adopt(std::move(growth.id_chunks));
    }
    if (!growth.table.empty()) use(growth.table);
    if (!growth.live.empty()) live_.swap(growth.live);
}

void Directory::write_id(size_t slot, int64_t id) {
    if (!identity_) *reinterpret_cast<int64_t*>(ids_.at(slot)) = id;
}

void Directory::enter(size_t slot, int64_t id) {
    if (identity_) return;
    enter_into(own_table_.data(), own_table_.size(), slot, id);
    ++n_entries_;
}

void Directory::admit(size_t n_fresh, const std::vector<std::pair<size_t, uint64_t>>& reused,
                      int64_t next_id) {
    if (!live_.empty()) set_range(live_.data(), n_slots_, n_slots_ + n_fresh);
    n_slots_ += n_fresh;
    n_live_ += n_fresh;
    for (const auto& [word, bits] : reused) {
        live_[word] |= bits;
        n_live_ += size_t(std::popcount(bits));
    }
    next_id_ = next_id;
}

void Directory::admit_dead(size_t n_fresh, int64_t next_id) {
    n_slots_ += n_fresh;
    next_id_ = next_id;
}

void Directory::revive(size_t slot) {
    set_bit(live_.data(), slot);
    ++n_live_;
}

Words Directory::live_for_removal() const {
    return live_.empty() ? all_of(n_slots_) : Words();
}

void Directory::note_live(Words words) {
    if (words.empty()) return;
    live_ = std::move(words);
}

void Directory::remove(size_t slot) {
    clear_bit(live_.data(), slot);
    --n_live_;
}

std::vector<uint32_t> Directory::dense_table() const {
    std::vector<uint32_t> table(table_size_for(n_live_), kNoSlot);
    size_t i = 0;
    for (size_t slot = 0; slot < n_slots_; ++slot) {
        if (live(slot)) enter_into(table.data(), table.size(), i++, id_of(slot));
    }
    return table;
}

Directory::Directory(const Stored& stored) : Directory() {
    identity_ = stored.identity;
    n_slots_ = n_live_ = stored.n_items;
    next_id_ = stored.next_id;
    if (identity_) return;
    if (!stored.copy) {
        ids_.view(stored.ids, n_slots_, stored.keeper);
        table_ = stored.table;
        table_size_ = stored.table_size;
        keeper_ = stored.keeper;
        return;
    }
    ids_.grow(n_slots_);
    ids_.for_each_piece(0, n_slots_, [&](size_t first, size_t n, std::byte* ids) {
        std::memcpy(ids, stored.ids + first * sizeof(int64_t), n * sizeof(int64_t));
    });
    std::vector<uint32_t> table(table_size_for(n_live_), kNoSlot);
    for (size_t slot = 0; slot < n_slots_; ++slot) {
        const int64_t id = id_of(slot);
        if (id < 0 || (next_id_ >= 0 && id >= next_id_)) {
            throw CorruptFile("section 'ids': expected ids from 0, below " +
                              std::to_string(next_id_) + ", got " + std::to_string(id));
        }
        enter_into(table.data(), table.size(), slot, id);
    }
    use(table);
    for (size_t slot = 0; slot < n_slots_; ++slot) {
        if (find(id_of(slot)) != slot) {
            throw CorruptFile("section 'ids': id " + std::to_string(id_of(slot)) +
                              " stands more than once");
        }
    }
}

}  // namespace nearbit
