#include "index/best.h"

#include <algorithm>

namespace nearbit {

void Best::cut() {
    std::nth_element(hits_.begin(), hits_.begin() + std::ptrdiff_t(k_ - 1), hits_.end());
    hits_.resize(k_);
    worst_ = hits_[k_ - 1];
    threshold_ = worst_.distance;
}

double Best::largest_within(float radius) {
    const float next = std::nextafter(radius, kInfinity);
    if (!std::isfinite(radius) || !std::isfinite(next)) return radius;
    const double middle = (double(radius) + double(next)) / 2;
    return float(middle) == radius ? middle : std::nextafter(middle, double(-kInfinity));
}

std::vector<Hit> Best::take() {
    std::sort(hits_.begin(), hits_.end());
    if (hits_.size() > k_) hits_.resize(k_);
    return std::move(hits_);
}

}  // namespace nearbit
