// Which id is in which slot, and which slots are live.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/bits.h"
#include "base/column.h"
#include "base/watch.h"
#include "layouts/slots.h"

namespace nearbit {

// While every id equals its slot, nothing is stored but the number of slots. Otherwise a column of
// ids (8 bytes a slot) and an open-addressing table of slots (4 bytes an entry, at most three in
// four used) that finds an id by looking at the ids of the slots it holds.
//
// An entry whose slot is dead, not yet admitted, or holds another id by now matches nothing, so
// entries are put in before their rows are admitted and never taken out; the table is made anew
// when they fill it.
//
// Readers and the one writer keep apart by the index's lock: "exclusive" below means that readers
// are kept out; the other calls only look, or touch what readers don't look at.
class Directory {
  public:
    Directory();

    size_t n_slots() const { return n_slots_; }  // ever given out
    size_t n_live() const { return n_live_; }
    bool identity() const { return identity_; }
    bool live(size_t slot) const {
        return slot < n_slots_ && (all_live() || test_bit(live_.data(), slot));
    }
    bool all_live() const { return n_live_ == n_slots_; }
    // One bit for each slot, only to be read while not all_live().
    const uint64_t* live_words() const { return live_.data(); }
    int64_t id_of(size_t slot) const {
        return identity_ ? int64_t(slot) : *reinterpret_cast<const int64_t*>(ids_.at(slot));
    }
    uint32_t find(int64_t id) const;  // kNoSlot if no live slot has it
    // The largest id ever used plus one; -1: none is left.
    int64_t next_id() const { return next_id_; }
    size_t n_bytes() const;

    // A change of the writer, made ready aside: what can fail or takes time happens here.
    struct Growth {
        bool leaves_identity = false;
        std::vector<Memory> id_chunks;
        Column ids{sizeof(int64_t), 64};  // all ids, when identity is left
        std::vector<uint32_t> table;      // a new table with the live slots; empty: keep the old
        Words live;                       // room for more slots; empty: keep the old
    };
    // For n_fresh rows in new slots at the end and n_reused in freed ones. plain: every new row's
    // id will equal its slot.
    Growth prepare(size_t n_fresh, size_t n_reused, bool plain, Watch* watch) const;
    // Exclusive, both. make_room does what can still fail, and changes nothing that is seen.
    void make_room(const Growth& growth) { ids_.make_room(growth.id_chunks.size()); }
    // Leaves in growth what it replaces, to be freed when readers are let in again.
    void adopt(Growth& growth);
    // Exclusive, or for a slot that no reader looks at.
    void write_id(size_t slot, int64_t id);
    void enter(size_t slot, int64_t id);  // exclusive: into the table
    // Exclusive, and all that admits: n_fresh slots at the end, and freed ones as (word, bits)
    // pairs.
    void admit(size_t n_fresh, const std::vector<std::pair<size_t, uint64_t>>& reused,
               int64_t next_id);
    // The same in steps, once live_words() are there: first no slot is live, then each by itself.
    void admit_dead(size_t n_fresh, int64_t next_id);
    void revive(size_t slot);
    void remove(size_t slot);  // exclusive
    // Before the first remove: bits for slots that were all live until now. Exclusive; quick.
    void note_live(Words words);
    Words live_for_removal() const;  // made aside; empty if the bits are there

    // From a file. The table may be damaged when it's mapped: find checks what it reads.
    struct Stored {
        size_t n_items;  // in slots 0 .. n_items - 1
        int64_t next_id;
        bool identity;
        const std::byte* ids;  // unless identity: n_items int64
        const uint32_t* table;
        size_t table_size;  // a power of two
        bool copy;          // and make the table anew; else use both where they lie
        std::shared_ptr<const void> keeper;
    };
    // Throws CorruptFile if copied ids are negative, not below next_id, or not distinct.
    explicit Directory(const Stored& stored);
    // For a file of the live slots, one behind the other: a table that finds the i-th live slot's
    // id at i.
    std::vector<uint32_t> dense_table() const;
    // Whether the i-th live slot's id is i, so that a file needs neither ids nor table.
    bool densely_identity() const { return identity_ && all_live(); }

  private:
    static uint64_t hash(int64_t id);
    void enter_into(uint32_t* table, size_t size, size_t slot, int64_t id) const;
    void use(std::vector<uint32_t>& table);

    bool identity_ = true;
    size_t n_slots_ = 0, n_live_ = 0;
    int64_t next_id_ = 0;
    Column ids_;
    const uint32_t* table_ = nullptr;  // into own_table_ or a mapped file
    size_t table_size_ = 0, n_entries_ = 0;
    std::vector<uint32_t> own_table_;
    Words live_;  // empty until something is removed
    std::shared_ptr<const void> keeper_;
};

}  // namespace nearbit
