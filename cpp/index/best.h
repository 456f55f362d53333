// The answers of one query: the k nearest within a radius, ties by smaller id.
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

#include "codecs/codec.h"
#include "index/directory.h"

namespace nearbit {

struct Hit {
    double distance;
    int64_t id;
    uint32_t slot;

    bool operator<(const Hit& other) const {
        return distance != other.distance ? distance < other.distance : id < other.id;
    }
};

// Keeps up to 2k hits and cuts them down to the k best when they fill up, which costs O(1) for each
// offer whatever their order. Without a limit (k = kAll) it keeps all within the radius.
class Best final : public Collector {
  public:
    static constexpr size_t kAll = ~size_t(0);

    // directory: whose ids the slots have; null: a slot is an id.
    Best(size_t k, float radius, const Directory* directory) : k_(k), directory_(directory) {
        threshold_ = largest_within(radius);
        worst_ = {std::nextafter(threshold_, double(kInfinity)), 0, 0};
        if (k <= 64) hits_.reserve(2 * k);
    }

    void offer(uint32_t slot, double distance) override {
        if (!(distance <= threshold_)) return;  // NaN, from a damaged file, isn't kept either
        keep({distance, directory_ != nullptr ? directory_->id_of(slot) : int64_t(slot), slot});
    }
    void keep(const Hit& hit) {
        if (!(hit < worst_)) return;
        hits_.push_back(hit);
        if (hits_.size() / 2 >= k_) cut();
    }
    // The hits, ascending; leaves none.
    std::vector<Hit> take();

    // The largest distance that rounds to the radius: what is returned as within it is within it.
    static double largest_within(float radius);

  private:
    void cut();

    size_t k_;
    Hit worst_;  // hits not below it can't be among the k best
    const Directory* directory_;
    std::vector<Hit> hits_;
};

}  // namespace nearbit
