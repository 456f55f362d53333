#include "index/filter.h"

#include <algorithm>

namespace nearbit {
namespace {

// Piece by piece, then merges these: each step takes less than 0.1 s.
void sort_ids(std::vector<int64_t>& ids, const std::function<void()>& poll) {
    constexpr size_t kPiece = size_t(1) << 19;
    const size_t n = ids.size();
    const auto at = [&](size_t i) { return ids.begin() + std::ptrdiff_t(std::min(i, n)); };
    for (size_t i = 0; i < n; i += kPiece) {
        std::sort(at(i), at(i + kPiece));
        if (poll) poll();
    }
    for (size_t run = kPiece; run < n; run *= 2) {
        for (size_t i = 0; i + run < n; i += 2 * run) {
            std::inplace_merge(at(i), at(i + run), at(i + 2 * run));
            if (poll) poll();
        }
    }
}

}  // namespace

Filter::Filter(std::vector<int64_t> ids, const std::function<void()>& poll) : ids_(std::move(ids)) {
    if (!std::is_sorted(ids_.begin(), ids_.end())) sort_ids(ids_, poll);
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
