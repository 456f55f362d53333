// Links of rows that a call adds.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "index/index.h"
#include "layouts/link.h"

namespace nearbit {

// Links rows whose codes are in place, aside: those in reused slots and in n_fresh slots from first
// on. Nothing to do for a flat store, and for fewer than kGraphFrom rows; where there are as many
// for the first time, or where so many come that it takes less time, all are linked anew.
class Index::Linking {
  public:
    // told: how much of the watch's work it is.
    Linking(Store& store, const std::vector<uint32_t>& reused, size_t first, size_t n_fresh,
            size_t told, size_t threads, Watch* watch);
    // Whether there is anything to do, which takes longer than all else.
    static bool links(const Store& store, size_t n_added);

    // Puts the links into the store, in short exclusive steps that can't fail.
    void apply(RwLock& lock);
    // Slots of removed rows that no link leads to any more, once the links are applied.
    std::vector<uint32_t>& unlinked() { return unlinked_; }

  private:
    Store& store_;
    const size_t n_slots_;
    std::shared_ptr<Graph> made_;  // in the place of the store's
    std::vector<uint32_t> unlinked_;
    std::optional<Linker> linker_;
};

}  // namespace nearbit
