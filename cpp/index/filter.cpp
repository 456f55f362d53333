#include "index/filter.h"

#include <algorithm>

namespace nearbit {

Filter::Filter(std::vector<int64_t> ids) : ids_(std::move(ids)) {
    if (!std::is_sorted(ids_.begin(), ids_.end())) std::sort(ids_.begin(), ids_.end());
    ids_.erase(std::unique(ids_.begin(), ids_.end()), ids_.end());
}

size_t Filter::size() const {
    return by_bits_ ? count_bits(bits_) : ids_.size();
}

std::shared_ptr<const Admit> Filter::remembered(const State& state) const {
    const std::lock_guard guard(memo_.mutex);
    return state == memo_.state ? memo_.admit : nullptr;
}

void Filter::remember(const State& state, std::shared_ptr<const Admit> admit) const {
    const std::lock_guard guard(memo_.mutex);
    memo_.state = state;
    memo_.admit = std::move(admit);
}

}  // namespace nearbit
