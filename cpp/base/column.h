// A growing array of items of one size, in chunks that never move.
#pragma once

#include <algorithm>
#include <cstring>
#include <memory>
#include <vector>

#include "base/memory.h"

namespace nearbit {

// How many items of a size go into a chunk: a power of two, at least 64 (a word of bits), about
// 4 MiB: a scan walks a chunk's quarters side by side, far enough apart in memory.
inline size_t chunk_items(size_t item_bytes) {
    size_t items = 64;
    while (items < (size_t(1) << 20) && 2 * items * item_bytes <= (size_t(4) << 20)) items *= 2;
    return items;
}

// Room for more items at the end, so that putting them there can't fail. Grows geometrically:
// reserve() alone would copy all of them at each call.
template <class Item>
void make_room(std::vector<Item>& items, size_t more) {
    const size_t needed = items.size() + more;
    if (needed > items.capacity()) items.reserve(std::max(needed, 2 * items.capacity()));
}

class Column {
  public:
    // per_chunk: a power of two.
    Column(size_t item_bytes, size_t per_chunk) : item_bytes_(item_bytes), per_chunk_(per_chunk) {
        while ((size_t(1) << shift_) < per_chunk) ++shift_;
    }

    // Chunks for n items in all, made aside so that adopting them is quick.
    std::vector<Memory> chunks_for(size_t n) const {
        std::vector<Memory> made;
        for (size_t have = capacity(); have < n; have += per_chunk_) {
            made.emplace_back(per_chunk_ * item_bytes_, have != 0);
        }
        return made;
    }
    // Readers must be kept out of both: the list of chunks may move. adopt fails before it changes
    // anything, and not at all after make_room for as many.
    void make_room(size_t n_chunks) {
        nearbit::make_room(bases_, n_chunks);
        nearbit::make_room(owned_, n_chunks);
    }
    void adopt(std::vector<Memory> made) {
        make_room(made.size());
        for (Memory& chunk : made) {
            bases_.push_back(chunk.data());
            owned_.push_back(std::move(chunk));
        }
    }
    void grow(size_t n) { adopt(chunks_for(n)); }

    // n items that lie one behind the other in memory that keeper keeps alive; they are not
    // written.
    void view(const std::byte* items, size_t n, std::shared_ptr<const void> keeper) {
        for (size_t at = 0; at < n; at += per_chunk_) {
            bases_.push_back(const_cast<std::byte*>(items + at * item_bytes_));
        }
        keeper_ = std::move(keeper);
    }

    std::byte* at(size_t i) { return bases_[i >> shift_] + (i & (per_chunk_ - 1)) * item_bytes_; }
    const std::byte* at(size_t i) const { return const_cast<Column*>(this)->at(i); }

    // Calls visit(first, n, items) for the pieces of begin..end-1 that lie together.
    template <class Visit>
    void for_each_piece(size_t begin, size_t end, Visit visit) {
        while (begin < end) {
            const size_t n = std::min(end, (begin / per_chunk_ + 1) * per_chunk_) - begin;
            visit(begin, n, at(begin));
            begin += n;
        }
    }
    template <class Visit>
    void for_each_piece(size_t begin, size_t end, Visit visit) const {
        const_cast<Column*>(this)->for_each_piece(
            begin, end,
            [&](size_t first, size_t n, const std::byte* items) { visit(first, n, items); });
    }

    size_t item_bytes() const { return item_bytes_; }
    size_t per_chunk() const { return per_chunk_; }
    size_t capacity() const { return bases_.size() * per_chunk_; }

  private:
    size_t item_bytes_, per_chunk_;
    unsigned shift_ = 0;
    std::vector<std::byte*> bases_;
    std::vector<Memory> owned_;
    std::shared_ptr<const void> keeper_;
};

}  // namespace nearbit
