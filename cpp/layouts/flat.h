// The flat layout: every slot is scored.
#pragma once

#include "base/column.h"
#include "codecs/codec.h"

namespace nearbit {

// Which slots may be found.
struct Admitted {
    const uint64_t* words;  // bit i: slot i; null: all
    size_t count, of;       // so many of all slots
};

class Flat {
  public:
    // grouped: codes lie in groups (codecs/groups.h), which scans of a codec may want; else one
    // behind the other, where a single code is read at once.
    Flat(std::shared_ptr<const Codec> codec, bool grouped);

    // Room for n slots, made aside and adopted while readers are kept out.
    struct Room {
        std::vector<Memory> codes, factors;
    };
    Room room_for(size_t n) const {
        return {codes_.chunks_for(n_items(n)), factors_.chunks_for(n)};
    }
    void adopt(Room room);

    // Encodes rows straight into slots first, first + 1, ... that no reader looks at yet. Returns
    // their stretch, as a codec does.
    float encode(size_t first, const std::byte* rows, size_t n, const char* argument,
                 size_t first_row);
    // How many of the slots from first on share a group with what readers look at: those can only
    // be put while readers are kept out.
    size_t n_shared(size_t first) const { return (lanes_ - first % lanes_) % lanes_; }
    // Puts one encoded row into a slot. factor: null if the codec has none.
    void put(size_t slot, const std::byte* code, const float* factor);
    // The code in a slot: where it lies, or taken out of its group into scratch (code_bytes).
    const std::byte* code(size_t slot, std::byte* scratch) const;
    const float* factor(size_t slot) const {
        return factors_.item_bytes() != 0 ? reinterpret_cast<const float*>(factors_.at(slot))
                                          : nullptr;
    }
    void decode(size_t slot, std::byte* row) const;
    bool beyond_sample(size_t slot) const;
    // Of codes that aren't grouped: begins to fetch some from memory, and their distances.
    void prefetch(const uint32_t* slots, size_t n) const;
    void distances(const Scorer& scorer, size_t query, const uint32_t* slots, size_t n,
                   double* out) const;

    // Offers the admitted slots of begin..end-1 to the scorer's collectors. begin is a multiple of
    // 64.
    void search(const Scorer& scorer, bool many_queries, size_t begin, size_t end,
                const Admitted& admitted, Collector* const* collectors, Memory& scratch) const;

    const Codec& codec() const { return *codec_; }
    bool grouped() const { return lanes_ > 1; }
    // For files: codes (or groups of them) and factors one slot behind the other.
    size_t n_items(size_t n_slots) const { return (n_slots + lanes_ - 1) / lanes_; }  // of codes()
    Column& codes() { return codes_; }
    const Column& codes() const { return codes_; }
    Column& factors() { return factors_; }
    const Column& factors() const { return factors_; }

  private:
    template <class Visit>
    void for_each_block(size_t begin, size_t end, Visit visit) const;
    void search_chosen(const Scorer& scorer, const Block& block,
                       Collector* const* collectors) const;
    void search_packed(const Scorer& scorer, const Block& block, Collector* const* collectors,
                       Memory& scratch) const;

    std::shared_ptr<const Codec> codec_;
    size_t lanes_;  // slots to an item of codes_: those of a group, or one
    Column codes_, factors_;
};

}  // namespace nearbit
