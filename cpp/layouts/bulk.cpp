#include "layouts/bulk.h"

#include <algorithm>
#include <array>
#include <bit>
#include <memory>
#include <mutex>
#include <numeric>
#include <optional>
#include <span>
#include <thread>
#include <unordered_map>

#include "base/random.h"
#include "base/threads.h"
#include "kernels/kernels.h"
#include "layouts/gathered.h"
#include "layouts/link.h"

namespace nearbit {
namespace {

// Rows of a group, and groups that a row is in. What they are worth: docs/measurements.md.
constexpr size_t kLeastTogether = 32, kMostTogether = 768;
constexpr size_t kEfPerGroup = 10, kLeastGroups = 4, kMostGroups = 32;
constexpr size_t kCandidatesPerGroup = 3;
constexpr size_t kMostLeaders = 4096;
constexpr size_t kRowsAtOnce = 256, kVerticesAtOnce = 64;
constexpr size_t kSampleShift = 4;                      // a sample has 1/16 of the rows
constexpr size_t kMixedSampleShift = kSampleShift - 1;  // of which half are chosen
// Of decoded rows that a thread keeps, and of those of all leaders.
constexpr size_t kBytesTogether = size_t(4) << 20, kLeaderBytes = size_t(16) << 20;
constexpr size_t kSpareBytes = size_t(32) << 20;
constexpr size_t kChoosing = 4, kLinkingBack = 3;  // take a row about as long as so many groups
constexpr size_t kMostRowBytes = size_t(32) << 10;

using Numbers = std::vector<uint32_t>;

struct Candidate {
    float distance;
    uint32_t number;

    bool operator<(const Candidate& other) const {
        return distance != other.distance ? distance < other.distance : number < other.number;
    }
};

// The nearest of all candidates that each row was offered, whatever the order they came in. Which
// is nearer is told by the first 16 bits of distances, and then by numbers: it need not be exact,
// and memory is bounded. Of one that comes again, at a distance that rounding made another, the
// nearer is kept.
class Nearest {
  public:
    Nearest(size_t n, size_t most)
        : most_(most),
          n_(n),
          numbers_(n * most * sizeof(uint32_t)),
          distances_(n * most * sizeof(uint16_t)) {}

    size_t size() const { return n_.size(); }
    std::span<const uint32_t> of(uint32_t row) const { return {numbers(row), n_[row]}; }

    void offer(uint32_t row, const std::vector<Candidate>& candidates) {
        const std::lock_guard guard(mutexes_[row % mutexes_.size()]);
        uint32_t* const numbers = this->numbers(row);
        uint16_t* const distances = reinterpret_cast<uint16_t*>(distances_.data()) + row * most_;
        const auto nearer = [&](uint16_t distance, uint32_t number, size_t at) {
            return distance != distances[at] ? distance < distances[at] : number < numbers[at];
        };
        size_t n = n_[row];
        for (const auto& [distance, number] : candidates) {
            const uint16_t rounded = in_order(distance);
            size_t at = size_t(std::find(numbers, numbers + n, number) - numbers);
            if (at == n && n == most_) {
                at = 0;
                for (size_t i = 1; i < n; ++i) {
                    if (nearer(distances[at], numbers[at], i)) at = i;
                }
            }
            if (at < n && !nearer(rounded, number, at)) continue;
            numbers[at] = number;
            distances[at] = rounded;
            n = std::max(n, at + 1);
        }
        n_[row] = uint16_t(n);
    }

  private:
    uint32_t* numbers(uint32_t row) const {
        return reinterpret_cast<uint32_t*>(numbers_.data()) + row * most_;
    }
    // The first bits as a number that orders as they do.
    static uint16_t in_order(float distance) {
        const uint32_t bits = std::bit_cast<uint32_t>(distance);
        return uint16_t(((bits >> 31) != 0 ? ~bits : bits | 0x80000000u) >> 16);
    }

    const size_t most_;
    std::vector<uint16_t> n_;
    Memory numbers_, distances_;
    std::array<std::mutex, 256> mutexes_;
};

// Rows go by numbers, their places in a random order, of inner products mixed with that of their
// lengths: 0 .. m - 1 are a sample for any m. Near rows alone would make a graph without long
// links, so a sample is linked by itself, too, and a sample of that, and so on.
class Builder {
  public:
    Builder(Graph& graph, const Flat& rows, const Words& vertices, size_t bytes_beside, size_t told,
            size_t threads, Watch* watch)
        : graph_(graph),
          rows_(rows),
          bytes_beside_(bytes_beside),
          threads_(threads),
          watch_(watch),
          most_together_(std::clamp<size_t>(kBytesTogether / Gathered::row_bytes(rows.codec()),
                                            kMostTogether / 8, kMostTogether)),
          groups_of_row_(std::clamp<size_t>(graph.settings().ef_construction / kEfPerGroup,
                                            kLeastGroups, kMostGroups)),
          alpha_(float(alpha_of_squares(graph.settings(), rows.codec().metric()))),
          products_(rows.codec().metric() == Metric::kIp) {
        for_each_bit(vertices.data(), 0, 64 * vertices.size(),
                     [&](size_t slot) { slots_.push_back(uint32_t(slot)); });
        Random random(graph.settings().seed);
        shuffle(random, std::span(slots_));
        part_.emplace(watch, (groups_of_row_ + kChoosing + kLinkingBack) * slots_.size(), told);
        if (products_) mix_in_longest();
    }

    void run() {
        const size_t most = most_candidates();
        for (size_t n = slots_.size();; n >>= products_ ? kMixedSampleShift : kSampleShift) {
            samples_.push_back(std::make_unique<Nearest>(n, most));
            link_sample(*samples_.back());
            if (n <= most_together_) break;
        }
        choose_among_nearest();
        samples_.clear();
        link_back();
    }

    // So that with lists of groups, and the graph beside, they take no more than what is kept of a
    // row, and a little.
    size_t most_candidates() const {
        const size_t kept = rows_.codec().code_bytes() + sizeof(uint32_t) * (graph_.degree() + 1);
        const size_t lists = sizeof(uint32_t) * (groups_of_row_ + 5);
        const size_t taken = lists + bytes_beside_ / slots_.size();
        const size_t fitting = (kept + kSpareBytes / slots_.size() - std::min(kept, taken)) /
                               (sizeof(uint32_t) + sizeof(uint16_t));
        const size_t wanted = std::max(graph_.degree(), kCandidatesPerGroup * groups_of_row_);
        return std::min(std::clamp<size_t>(wanted, 32, 96), std::max<size_t>(fitting, 16));
    }

    std::vector<uint32_t> entries() const {
        const size_t n = std::min(slots_.size(), kMostEntries);
        return {slots_.begin(), slots_.begin() + std::ptrdiff_t(n)};
    }

  private:
    struct Scratch {
        explicit Scratch(const Flat& flat)
            : rows(flat),
              directions(flat, Gathered::kDirections),
              leaders(flat, Gathered::kDirections) {}
        Gathered rows, directions, leaders;
        Memory matrix, lines;
        std::vector<std::vector<Candidate>> offers;
    };
    // This thread's, for as long as the builder lasts.
    Scratch& scratch() {
        const std::lock_guard guard(mutex_);
        auto& own = scratches_[std::this_thread::get_id()];
        if (own == nullptr) own = std::make_unique<Scratch>(rows_);
        return *own;
    }

    template <class Work>
    void for_pieces(size_t n, size_t at_once, Work work) {
        parallel_for((n + at_once - 1) / at_once, threads_, watch_, [&](size_t task) {
            work(task * at_once, std::min(n, (task + 1) * at_once));
            look();
        });
    }
    void look() const {
        if (watch_ != nullptr) watch_->advance(0);
    }
    Numbers slots_of(std::span<const uint32_t> numbers) const {
        Numbers slots;
        for (const uint32_t number : numbers) slots.push_back(slots_[number]);
        return slots;
    }
    uint32_t* row(uint32_t slot) { return const_cast<uint32_t*>(graph_.links(slot)); }

    // -------------------------------------------------------------------------- groups

    void mix_in_longest();
    void link_sample(Nearest& sample);
    void take_leaders(std::span<const uint32_t> numbers, size_t n, Gathered& leaders) const;
    void find_leaders(std::span<const uint32_t> numbers, const Gathered& leaders, size_t most,
                      uint32_t* out);
    void order_by(const Numbers& nearest, size_t n_leaders);
    void link_group(const Numbers& numbers, Nearest& sample);
    void link_in_pieces(std::span<const uint32_t> numbers, Nearest& sample);
    void link_together(std::span<const uint32_t> numbers, Nearest& sample);

    // -------------------------------------------------------------------------- choosing

    void choose_among_nearest();
    void link_back();
    void choose(const Numbers& vertices, const std::vector<Numbers>& candidates);
    void select(const Numbers& places, std::vector<float>& distances, size_t vertex,
                Gathered& gathered, Numbers& chosen) const;

    Graph& graph_;
    const Flat& rows_;
    const size_t bytes_beside_, threads_;
    Watch* const watch_;
    const size_t most_together_, groups_of_row_;
    const float alpha_;  // of squares
    const bool products_;
    Numbers slots_;  // by number
    Numbers order_;  // numbers, near rows together
    std::vector<std::unique_ptr<Nearest>> samples_;
    std::optional<WatchedPart> part_;
    std::mutex mutex_;
    std::unordered_map<std::thread::id, std::unique_ptr<Scratch>> scratches_;
};

// Rows by their nearest leaders, from what find_leaders gave.
std::vector<Numbers> grouped(std::span<const uint32_t> numbers, size_t n_leaders,
                             const Numbers& nearest) {
    const size_t most = nearest.size() / numbers.size();
    std::vector<size_t> sizes(n_leaders);
    for (const uint32_t leader : nearest) ++sizes[leader];
    std::vector<Numbers> groups(n_leaders);
    for (size_t g = 0; g < n_leaders; ++g) groups[g].reserve(sizes[g]);
    for (size_t i = 0; i < nearest.size(); ++i) groups[nearest[i]].push_back(numbers[i / most]);
    return groups;
}

// The largest inner products are those with long rows, whatever the query. So walks begin at the
// longest, and half of a sample are the longest: to find .99 of gloss-svd a quarter of the rows are
// scored that were. The other half leads to places that have no long rows.
void Builder::mix_in_longest() {
    const size_t n = slots_.size();
    std::vector<Candidate> longest(n);  // at minus their squared length
    for_pieces(n, kRowsAtOnce, [&](size_t begin, size_t end) {
        Gathered& rows = scratch().rows;
        rows.take(std::span(slots_).subspan(begin, end - begin));
        Numbers itself(1);
        for (size_t i = begin; i < end; ++i) {
            itself[0] = uint32_t(i - begin);
            rows.distances_from(i - begin, itself, &longest[i].distance);
            longest[i].number = uint32_t(i);
        }
    });
    std::sort(longest.begin(), longest.end());
    Numbers mixed;
    mixed.reserve(n);
    Words taken(words_for(n));
    const auto take = [&](uint32_t number) {
        if (test_bit(taken.data(), number)) return false;
        set_bit(taken.data(), number);
        mixed.push_back(slots_[number]);
        return true;
    };
    uint32_t random = 0;  // the first number that may not be taken yet
    for (const Candidate& row : longest) {
        take(row.number);
        while (mixed.size() > kMostEntries && random < n && !take(random)) ++random;
    }
    slots_.swap(mixed);
}

void Builder::take_leaders(std::span<const uint32_t> numbers, size_t n, Gathered& leaders) const {
    Random random(graph_.settings().seed ^ numbers[0]);
    Numbers chosen;
    for (const uint64_t i : sample(random, numbers.size(), n)) chosen.push_back(numbers[i]);
    leaders.take(slots_of(chosen));
    leaders.move();
}

// The nearest leaders of each row, `most` numbers of leaders for each.
void Builder::find_leaders(std::span<const uint32_t> numbers, const Gathered& leaders, size_t most,
                           uint32_t* out) {
    Scratch& own = scratch();
    const size_t n_leaders = leaders.size();
    std::vector<Candidate> best(most);
    for (size_t at = 0; at < numbers.size(); at += kRowsAtOnce) {
        const size_t n = std::min(kRowsAtOnce, numbers.size() - at);
        own.directions.take(slots_of(numbers.subspan(at, n)));
        own.directions.move_as(leaders);
        own.matrix.at_least(n * n_leaders * sizeof(float));
        const auto* scores = reinterpret_cast<const float*>(own.matrix.data());
        own.directions.scores(leaders, reinterpret_cast<float*>(own.matrix.data()));
        for (size_t i = 0; i < n; ++i, scores += n_leaders) {
            size_t n_best = 0;
            for (uint32_t j = 0; j < n_leaders; ++j) {
                if (n_best == most && !(scores[j] < best.back().distance)) continue;
                size_t place = n_best < most ? n_best++ : most - 1;
                for (; place > 0 && scores[j] < best[place - 1].distance; --place) {
                    best[place] = best[place - 1];
                }
                best[place] = {scores[j], j};
            }
            for (const Candidate& leader : best) *out++ = leader.number;
        }
        look();
    }
}

void Builder::link_sample(Nearest& sample) {
    Numbers all(sample.size());
    std::iota(all.begin(), all.end(), 0);
    if (all.size() <= most_together_) {
        if (order_.empty()) order_ = all;
        link_together(all, sample);
        if (samples_.size() == 1) part_->advance(groups_of_row_ * all.size());
        return;
    }
    Gathered leaders(rows_, Gathered::kDirections);
    const size_t most_leaders = std::clamp<size_t>(
        kLeaderBytes / Gathered::row_bytes(rows_.codec()), groups_of_row_, kMostLeaders);
    take_leaders(
        all, std::clamp(groups_of_row_ * all.size() / most_together_, groups_of_row_, most_leaders),
        leaders);
    std::vector<Numbers> groups;
    {
        Numbers nearest(groups_of_row_ * all.size());
        for_pieces(all.size(), kRowsAtOnce, [&](size_t begin, size_t end) {
            find_leaders(std::span(all).subspan(begin, end - begin), leaders, groups_of_row_,
                         nearest.data() + groups_of_row_ * begin);
        });
        if (order_.empty()) order_by(nearest, leaders.size());
        groups = grouped(all, leaders.size(), nearest);
    }
    for_pieces(groups.size(), 1, [&](size_t g, size_t) {
        link_group(groups[g], sample);
        if (samples_.size() == 1) part_->advance(groups[g].size());
        Numbers().swap(groups[g]);
    });
}

void Builder::order_by(const Numbers& nearest, size_t n_leaders) {
    Numbers starts(n_leaders + 1);
    for (size_t i = 0; i < nearest.size(); i += groups_of_row_) ++starts[nearest[i] + 1];
    std::partial_sum(starts.begin(), starts.end(), starts.begin());
    order_.resize(nearest.size() / groups_of_row_);
    for (uint32_t i = 0; i < order_.size(); ++i) order_[starts[nearest[groups_of_row_ * i]]++] = i;
}

// Parts a group until rows of each part can be linked together.
void Builder::link_group(const Numbers& numbers, Nearest& sample) {
    if (numbers.size() <= most_together_) {
        link_together(numbers, sample);
        return;
    }
    const size_t n_leaders = std::min(2 * numbers.size() / most_together_ + 1, kMostLeaders);
    std::vector<Numbers> groups;
    {
        Gathered& leaders = scratch().leaders;
        take_leaders(numbers, n_leaders, leaders);
        Numbers nearest(numbers.size());
        find_leaders(numbers, leaders, 1, nearest.data());
        groups = grouped(numbers, n_leaders, nearest);
    }
    Numbers few;
    for (const Numbers& group : groups) {
        if (group.size() > numbers.size() / 8 * 7) {
            link_in_pieces(group, sample);  // of equal rows, or nearly so
        } else if (group.size() >= kLeastTogether) {
            link_group(group, sample);
        } else {
            few.insert(few.end(), group.begin(), group.end());
        }
    }
    link_in_pieces(few, sample);
}

void Builder::link_in_pieces(std::span<const uint32_t> numbers, Nearest& sample) {
    for (size_t at = 0; at < numbers.size(); at += most_together_) {
        link_together(numbers.subspan(at, std::min(most_together_, numbers.size() - at)), sample);
    }
}

// Each row chooses of the others, by the rule of select() but among all of them, and is a candidate
// of those that it chose.
void Builder::link_together(std::span<const uint32_t> numbers, Nearest& sample) {
    const size_t n = numbers.size(), padded = (n + 15) / 16 * 16;
    const size_t stride = padded + 16;  // columns of a power of two would share cache lines' places
    const size_t most = std::max<size_t>(6, graph_.degree() * 3 / 16);
    Scratch& own = scratch();
    own.rows.take(slots_of(numbers));
    own.rows.move();
    own.matrix.at_least(n * stride * sizeof(float));
    float* const matrix = reinterpret_cast<float*>(own.matrix.data());
    own.rows.distances(stride, matrix);
    look();
    own.lines.at_least(3 * padded * sizeof(float));
    float* const left = reinterpret_cast<float*>(own.lines.data());
    float* const limits = left + padded;
    float* const none = limits + padded;
    std::fill_n(none, padded, kInfinity);
    own.offers.resize(std::max(own.offers.size(), n));
    for (size_t i = 0; i < n; ++i) {
        const float* const distances = matrix + i * stride;
        std::copy_n(distances, n, left);
        std::fill(left + n, left + padded, kInfinity);
        left[i] = kInfinity;
        for (size_t j = 0; j < padded; ++j) limits[j] = left[j] / alpha_;
        const float* covering = none;
        for (size_t k = 0; k < most; ++k) {
            size_t at = kernels().pairs.cover(covering, limits, left, padded);
            if (!(left[at] < kInfinity)) break;
            if (left[at] == distances[i]) {
                // Of equal rows the next, so that they make a ring: all would choose the first.
                const float* const next = std::find(left + i, left + n, distances[i]);
                if (next < left + n) at = size_t(next - left);
            }
            own.offers[i].push_back({left[at], numbers[at]});
            own.offers[at].push_back({left[at], numbers[i]});
            covering = matrix + at * stride;
            left[at] = kInfinity;
        }
    }
    for (size_t i = 0; i < n; ++i) {
        sample.offer(numbers[i], own.offers[i]);
        own.offers[i].clear();
    }
    look();
}

// ------------------------------------------------------------------------------------ choosing

void Builder::choose_among_nearest() {
    for_pieces(order_.size(), kVerticesAtOnce, [&](size_t begin, size_t end) {
        Numbers vertices;
        std::vector<Numbers> candidates;
        for (size_t at = begin; at < end; ++at) {
            const uint32_t number = order_[at];
            Numbers all;
            for (const auto& sample : samples_) {
                if (number >= sample->size()) continue;
                for (const uint32_t other : sample->of(number)) all.push_back(slots_[other]);
            }
            vertices.push_back(slots_[number]);
            candidates.push_back(std::move(all));
        }
        choose(vertices, candidates);
        part_->advance(kChoosing * (end - begin));
    });
}

// A vertex that others link to links back, unless it has nearer links enough: far rows are among
// nobody's nearest.
void Builder::link_back() {
    const size_t degree = graph_.degree();
    const auto for_links = [&](uint32_t slot, auto use) {
        const uint32_t* const to = graph_.links(slot);
        for (size_t k = 0; k < degree && to[k] != kNoSlot; ++k) use(to[k]);
    };
    std::vector<size_t> begins(*std::max_element(slots_.begin(), slots_.end()) + 2);
    for (const uint32_t slot : slots_) {
        for_links(slot, [&](uint32_t to) { ++begins[to]; });
    }
    std::partial_sum(begins.begin(), begins.end(), begins.begin());
    // Each target's from behind: its end becomes its beginning.
    Numbers sources(begins.back());
    std::for_each(slots_.rbegin(), slots_.rend(), [&](uint32_t slot) {
        for_links(slot, [&](uint32_t to) { sources[--begins[to]] = slot; });
    });
    for_pieces(order_.size(), kVerticesAtOnce, [&](size_t begin, size_t end) {
        Numbers full;
        std::vector<Numbers> candidates;
        for (size_t at = begin; at < end; ++at) {
            const uint32_t slot = slots_[order_[at]];
            Numbers all;
            for_links(slot, [&](uint32_t to) { all.push_back(to); });
            const Numbers own = all;
            for (size_t i = begins[slot]; i < begins[slot + 1]; ++i) {
                if (std::find(own.begin(), own.end(), sources[i]) == own.end()) {
                    all.push_back(sources[i]);
                }
            }
            if (all.size() <= degree) {
                std::copy(all.begin(), all.end(), row(slot));
            } else {
                full.push_back(slot);
                candidates.push_back(std::move(all));
            }
        }
        choose(full, candidates);
        part_->advance(kLinkingBack * (end - begin));
    });
}

// Makes the links of some vertices, all slots, each of its candidates.
void Builder::choose(const Numbers& vertices, const std::vector<Numbers>& candidates) {
    Scratch& own = scratch();
    Numbers all, places, chosen;
    std::vector<float> distances;
    for (size_t begin = 0, end; begin < vertices.size(); begin = end) {
        // As many as can be decoded at once; rows that are near have most candidates in common.
        all.clear();
        for (end = begin; end < vertices.size(); ++end) {
            if (end > begin && all.size() + candidates[end].size() >= 2 * most_together_) break;
            const size_t old = all.size();
            all.push_back(vertices[end]);
            all.insert(all.end(), candidates[end].begin(), candidates[end].end());
            std::sort(all.begin() + std::ptrdiff_t(old), all.end());
            std::inplace_merge(all.begin(), all.begin() + std::ptrdiff_t(old), all.end());
            all.erase(std::unique(all.begin(), all.end()), all.end());
        }
        own.rows.take(all);
        const auto place_of = [&](uint32_t slot) {
            return uint32_t(std::lower_bound(all.begin(), all.end(), slot) - all.begin());
        };
        for (size_t i = begin; i < end; ++i) {
            places.clear();
            for (const uint32_t slot : candidates[i]) places.push_back(place_of(slot));
            select(places, distances, place_of(vertices[i]), own.rows, chosen);
            uint32_t* const to = row(vertices[i]);
            for (size_t k = 0; k < graph_.degree(); ++k) {
                to[k] = k < chosen.size() ? all[chosen[k]] : kNoSlot;
            }
        }
    }
}

// By the rule of Linker::select, but without a least; what each covers is left out at once.
void Builder::select(const Numbers& places, std::vector<float>& distances, size_t vertex,
                     Gathered& gathered, Numbers& chosen) const {
    distances.resize(places.size());
    gathered.distances_from(vertex, places, distances.data());
    std::vector<Candidate> left;
    for (size_t i = 0; i < places.size(); ++i) left.push_back({distances[i], places[i]});
    std::sort(left.begin(), left.end());
    Numbers others;
    chosen.clear();
    while (!left.empty() && chosen.size() < graph_.degree()) {
        const uint32_t next = left[0].number;
        chosen.push_back(next);
        others.clear();
        for (const Candidate& candidate : left) others.push_back(candidate.number);
        gathered.distances_from(next, others, distances.data());
        size_t n = 0;
        for (size_t i = 0; i < left.size(); ++i) {
            const bool covered = distances[i] <= left[i].distance / alpha_;
            if (!covered && left[i].number != next) left[n++] = left[i];
        }
        left.resize(n);
    }
}

}  // namespace

bool can_link_in_bulk(const Codec& codec) {
    return Gathered::row_bytes(codec) <= kMostRowBytes;
}

void link_in_bulk(Graph& graph, const Flat& rows, Words vertices, size_t n_slots,
                  size_t bytes_beside, size_t told, size_t threads, Watch* watch) {
    std::vector<uint32_t> entries;
    {
        Builder builder(graph, rows, vertices, bytes_beside, told, threads, watch);
        builder.run();
        entries = builder.entries();
    }
    const size_t n = count_bits(vertices);
    reach_all(graph, rows, std::move(vertices), n_slots, std::move(entries), n, threads, watch);
}

}  // namespace nearbit
