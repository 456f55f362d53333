// Re-scoring the best of what estimates found by a finer copy of the rows.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "index/best.h"
#include "layouts/flat.h"

namespace nearbit {

constexpr double kRefineFactor = 10;  // what searches use that don't say (docs/measurements.md)
// Standard deviations of an estimate's error: beyond so many a row is taken to be where it seems. A
// search's candidates are few and come best first; within a radius every row may be one.
constexpr double kStopDeviations = 4, kRangeDeviations = 3;

// How many rows are re-scored for k answers.
inline size_t candidates_for(size_t k, double factor, size_t n_rows) {
    return std::max<size_t>(1, size_t(std::min(std::ceil(double(k) * factor), double(n_rows))));
}

// Of one query. Candidates come in the order of their estimates; as soon as those left can't be
// among the answers any more, for all that is known of the estimates' error, it ends.
class Refining {
  public:
    // candidates: ascending. range: they are all that may be within the radius, else the best.
    // stretch: how many times larger errors of rows beyond the training sample are.
    Refining(std::vector<Hit> candidates, size_t k, float radius, bool range, ScoreError error,
             double stretch);

    // Reads about a MiB of rows: one bounded unit of work. False: that was the last. rows: those
    // that estimates are of.
    bool step(const Flat& rows, const Flat& fine, const Scorer& scorer);
    size_t n_read() const { return n_read_; }
    // The answers, ascending; leaves none.
    std::vector<Hit> take();

  private:
    // Its threshold is always the k-th best distance, which Best only finds out now and then.
    class Nearest {
      public:
        Nearest(size_t k, float radius) : k_(k), threshold_(Best::largest_within(radius)) {}
        void offer(const Hit& hit);
        double threshold() const { return threshold_; }
        std::vector<Hit> hits;

      private:
        size_t k_;
        double threshold_;
    };

    bool only_beyond(const Flat& rows, const Flat& fine, const Scorer& scorer, size_t end);

    const std::vector<Hit> candidates_;
    // How far below its estimate a distance may be: of a row like the sample, and beyond it.
    const double reach_, reach_beyond_;
    const double within_;  // the largest estimate of a row like the sample that the radius may hold
    size_t at_ = 0, n_read_ = 0;
    Nearest nearest_;
};

}  // namespace nearbit
