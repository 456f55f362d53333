#include "index/best.h"

#include <algorithm>

namespace nearbit {

void Best::cut() {
    std::nth_element(hits_.begin(), hits_.begin() + std::ptrdiff_t(k_ - 1), hits_.end());
    hits_.resize(k_);
    worst_ = hits_[k_ - 1];
    threshold_ = worst_.distance;
}

std::vector<Hit> Best::take() {
    std::sort(hits_.begin(), hits_.end());
    if (hits_.size() > k_) hits_.resize(k_);
    return std::move(hits_);
}

}  // namespace nearbit
