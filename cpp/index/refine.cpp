#include "index/refine.h"

namespace nearbit {
namespace {

constexpr size_t kStepBytes = size_t(1) << 20, kStepRows = 1024;
constexpr size_t kAhead = 4;  // rows that are on their way from memory while one is scored

}  // namespace

// The worst of the hits is on top of a heap.
void Refining::Nearest::offer(uint32_t slot, double distance) {
    const Hit hit = {distance, id, slot};
    if (hits.size() == k_) {
        if (!(hit < hits.front())) return;
        std::pop_heap(hits.begin(), hits.end());
        hits.pop_back();
    }
    hits.push_back(hit);
    std::push_heap(hits.begin(), hits.end());
    if (hits.size() == k_) threshold_ = hits.front().distance;
}

Refining::Refining(std::vector<Hit> candidates, size_t k, float radius, ScoreError error)
    : candidates_(std::move(candidates)),
      reach_(error.random ? kStopDeviations * error.deviation : double(kInfinity)),
      nearest_(k, radius) {}

bool Refining::step(const Flat& fine, const Scorer& scorer) {
    const size_t row_bytes = fine.codec().code_bytes(), n = candidates_.size();
    const size_t end = std::min(n, at_ + std::clamp<size_t>(kStepBytes / row_bytes, 1, kStepRows));
    for (size_t i = at_; i < std::min(n, at_ + kAhead); ++i) fine.prefetch(candidates_[i].slot);
    for (; at_ < end; ++at_) {
        if (candidates_[at_].distance - reach_ > nearest_.threshold()) return false;
        if (at_ + kAhead < n) fine.prefetch(candidates_[at_ + kAhead].slot);
        nearest_.id = candidates_[at_].id;
        fine.score(scorer, candidates_[at_].slot, nearest_);
    }
    return at_ < n;
}

std::vector<Hit> Refining::take() {
    std::sort_heap(nearest_.hits.begin(), nearest_.hits.end());
    return std::move(nearest_.hits);
}

}  // namespace nearbit
