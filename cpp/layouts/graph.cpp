#include "layouts/graph.h"

#include <algorithm>
#include <utility>

namespace nearbit {

Graph::Graph(const GraphSettings& settings)
    : settings_(settings),
      links_(settings.degree * sizeof(uint32_t), chunk_items(settings.degree * sizeof(uint32_t))) {}

void Graph::view(size_t n_slots, std::vector<uint32_t> entries, uint64_t n_entered) {
    n_entered_ = n_entered;
    n_slots_ = n_slots;
    viewed_ = true;
    entries_ = std::move(entries);
}

void Graph::renumber(size_t slot, const std::vector<uint32_t>& slots, uint32_t* out) const {
    const uint32_t* const from = links(slot);
    size_t n = 0;
    for (size_t i = 0; i < degree() && from[i] != kNoSlot; ++i) {
        if (from[i] < slots.size()) out[n++] = slots[from[i]];  // else of a damaged file
    }
    std::fill(out + n, out + degree(), kNoSlot);
}

std::unique_ptr<Graph> Graph::renumbered(const std::vector<uint32_t>& slots, size_t n) const {
    auto made = std::make_unique<Graph>(settings_);
    made->adopt(made->room_for(n));
    made->n_slots_ = n;
    made->parents_.assign(n, kNoSlot);
    for (const uint32_t entry : entries_) made->entries_.push_back(slots[entry]);
    made->n_entered_ = n_entered_;
    for (size_t slot = 0; slot < n_slots_; ++slot) {
        if (slots[slot] == kNoSlot) continue;
        renumber(slot, slots, reinterpret_cast<uint32_t*>(made->links_.at(slots[slot])));
        const uint32_t parent = has_parents() ? parents_[slot] : kNoSlot;
        made->parents_[slots[slot]] = parent == kNoSlot ? kNoSlot : slots[parent];
    }
    return made;
}

void Graph::note_dead(const std::vector<uint32_t>& slots) {
    constexpr size_t kStepsPerDeath = 40;
    for (const uint32_t slot : slots) {
        if (slot != entries_[0]) dead_.push_back(slot);
    }
    n_due_ += kStepsPerDeath * slots.size();
}

std::vector<uint32_t> Graph::dead() const {
    std::vector<uint32_t> slots = dead_;
    slots.insert(slots.end(), leaving_.begin(), leaving_.end());
    return slots;
}

uint32_t Graph::next_step() {
    while (n_due_ != 0) {
        if (cursor_ == lap_end_) {
            if (!leaving_.empty()) return kNoSlot;
            if (dead_.empty()) {
                n_due_ = 0;
                return kNoSlot;
            }
            is_leaving_.assign(words_for(n_slots_), 0);
            leaving_.swap(dead_);
            for (const uint32_t slot : leaving_) set_bit(is_leaving_.data(), slot);
            cursor_ = 0;
            lap_end_ = n_slots_;
        }
        const auto slot = uint32_t(cursor_++);
        if (!is_vertex(slot) || test_bit(is_leaving_.data(), slot)) continue;
        --n_due_;
        return slot;
    }
    return kNoSlot;
}

void Graph::leave_entries() {
    const auto leaves = [&](uint32_t slot) {
        return slot < lap_end_ && test_bit(is_leaving_.data(), slot);
    };
    for (uint32_t& entry : entries_) {
        if (!leaves(entry)) continue;
        const uint32_t* const to = links(entry);
        const uint32_t* const near = std::find_if(to, to + degree(), [&](uint32_t slot) {
            if (slot == kNoSlot) return true;
            return is_vertex(slot) && !leaves(slot) &&
                   std::find(entries_.begin(), entries_.end(), slot) == entries_.end();
        });
        entry = near != to + degree() && *near != kNoSlot ? *near : entries_[0];
    }
}

std::vector<uint32_t> Graph::end_lap() {
    for (const uint32_t slot : leaving_) parents_[slot] = kNoSlot;
    return std::exchange(leaving_, {});
}

size_t Graph::n_bytes() const {
    const size_t of_slot = degree() + (viewed_ ? 0 : 1);
    return (n_slots_ * of_slot + entries_.size()) * sizeof(uint32_t);
}

}  // namespace nearbit
