#include "index/refine.h"

namespace nearbit {
namespace {

constexpr size_t kStepBytes = size_t(1) << 20, kStepRows = 1024;
constexpr size_t kTogether = 8;  // rows that are scored while the next are on their way from memory
}  // namespace

// The worst of the hits is on top of a heap.
void Refining::Nearest::offer(const Hit& hit) {
    if (!(hit.distance <= threshold_)) return;  // NaN, from a damaged file, isn't kept either
    if (hits.size() == k_) {
        if (!(hit < hits.front())) return;
        std::pop_heap(hits.begin(), hits.end());
        hits.pop_back();
    }
    hits.push_back(hit);
    std::push_heap(hits.begin(), hits.end());
    if (hits.size() == k_) threshold_ = hits.front().distance;
}

Refining::Refining(std::vector<Hit> candidates, size_t k, float radius, bool range,
                   ScoreError error, double stretch)
    : candidates_(std::move(candidates)),
      reach_(error.random ? kStopDeviations * error.deviation : double(kInfinity)),
      reach_beyond_(reach_ * stretch),
      within_(range ? Best::largest_within(radius) + kRangeDeviations * error.deviation
                    : double(kInfinity)),
      nearest_(k, radius) {}

bool Refining::step(const Flat& rows, const Flat& fine, const Scorer& scorer) {
    const size_t row_bytes = fine.codec().code_bytes(), n = candidates_.size();
    const size_t begin = at_;
    const size_t end = std::min(n, at_ + std::clamp<size_t>(kStepBytes / row_bytes, 1, kStepRows));
    uint32_t slots[2 * kTogether];
    double distances[kTogether];
    while (at_ < end) {
        const size_t m = std::min(kTogether, end - at_);
        const size_t n_ahead = std::min(2 * kTogether, end - at_);
        for (size_t i = 0; i < n_ahead; ++i) slots[i] = candidates_[at_ + i].slot;
        const size_t n_asked = at_ == begin ? 0 : m;  // by the time before
        fine.prefetch(slots + n_asked, n_ahead - n_asked);
        fine.distances(scorer, 0, slots, m, distances);
        for (size_t i = 0; i < m; ++i, ++at_, ++n_read_) {
            const double estimate = candidates_[at_].distance;
            if (estimate > within_ || estimate - reach_ > nearest_.threshold()) {
                return only_beyond(rows, fine, scorer, end);
            }
            nearest_.offer({distances[i], candidates_[at_].id, slots[i]});
        }
    }
    return at_ < n;
}

// Of the others, rows like the sample can't be among the answers.
bool Refining::only_beyond(const Flat& rows, const Flat& fine, const Scorer& scorer, size_t end) {
    for (; at_ < end; ++at_) {
        const Hit& candidate = candidates_[at_];
        if (candidate.distance - reach_beyond_ > nearest_.threshold()) return false;
        if (!rows.beyond_sample(candidate.slot)) continue;
        double distance;
        fine.distances(scorer, 0, &candidate.slot, 1, &distance);
        nearest_.offer({distance, candidate.id, candidate.slot});
        ++n_read_;
    }
    return at_ < candidates_.size();
}

std::vector<Hit> Refining::take() {
    std::sort_heap(nearest_.hits.begin(), nearest_.hits.end());
    return std::move(nearest_.hits);
}

}  // namespace nearbit
