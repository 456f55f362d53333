#include "index/run.h"

#include <algorithm>
#include <atomic>

#include "base/threads.h"

namespace nearbit {
namespace {

constexpr size_t kMostQueriesTogether = 512;
constexpr size_t kMostQueryBytes = size_t(4) << 20;  // of their codes: a unit has 64 rows at least
constexpr size_t kMostCollectorBytes = size_t(64) << 20;  // of the queries that go together
// Walks share nothing; but those that a filter leads nowhere then share a scan.
constexpr size_t kMostWalksTogether = 16, kMostFilteredTogether = 64;
constexpr double kWalkNs = 5e4;          // of a query, about
constexpr double kUnitNs = 1e6;          // a unit holds the index's lock, so a writer waits for it
constexpr double kWorthAThreadNs = 1e5;  // waking a thread costs 5 to 20 microseconds

// About what scoring a row costs. One query is bound by memory (10 bytes a nanosecond); together,
// each pair costs about its bytes / 128 (both families; bench/native).
double row_ns(double row_bytes, size_t n_queries) {
    return row_bytes / 10 + (n_queries > 1 ? double(n_queries) * row_bytes / 128 : 0);
}

// Queries that go together: neighbours with the same filter.
struct Group {
    size_t first, n;
    const Filter* filter;
    bool walks;
    std::unique_ptr<Scorer> scorer;
    std::shared_ptr<const Admit> admit;
    std::vector<std::vector<Best>> parts;
    std::atomic<size_t> parts_to_go;
};

class Run {
  public:
    Run(const Searched& searched, const Codec& codec, const SearchRequest& request,
        const TakeHits& take)
        : searched_(searched), codec_(codec), request_(request), take_(take) {
        n_rows_ = searched.n_rows();
        k_ = request.k;
        if (searched.fine() != nullptr) {
            k_ = request.range ? Best::kAll
                               : candidates_for(request.k, request.refine_factor, n_rows_);
        }
        may_walk_ = searched.walks(request, nullptr);
        const double row_bytes = double(codec.code_bytes());
        const double work_ns = may_walk_ ? double(request.queries.n) * kWalkNs
                                         : double(n_rows_) * row_ns(row_bytes, request.queries.n);
        threads_ = std::max<size_t>(
            1, size_t(std::min(double(request.threads), work_ns / kWorthAThreadNs)));
        make_groups();
        // Few groups: the rows are parted among threads instead.
        n_parts_ = groups_.size() >= threads_ || may_walk_
                       ? 1
                       : (threads_ + groups_.size() - 1) / groups_.size();
        part_rows_ = (n_rows_ / n_parts_ + 64) / 64 * 64;
        for (const auto& group : groups_) {
            group->parts.resize(n_parts_);
            group->parts_to_go = n_parts_;
        }
    }

    void go() {
        Watch* const watch = request_.watch;
        if (watch != nullptr) watch->expect(n_rows_ * request_.queries.n);
        // First, so that the calling thread waits for no other's work without polling.
        if (n_parts_ > 1) {
            parallel_for(groups_.size(), threads_, watch,
                         [&](size_t group) { prepare(*groups_[group]); });
        }
        parallel_for(groups_.size() * n_parts_, threads_, watch,
                     [&](size_t task) { search(*groups_[task / n_parts_], task % n_parts_); });
    }

  private:
    void make_groups() {
        const size_t n = request_.queries.n;
        size_t most = std::min((n + threads_ - 1) / threads_, kMostQueriesTogether);
        if (n < 8 * threads_) most = std::min(n, kMostQueriesTogether);  // better together
        const size_t k = std::min(k_, n_rows_);
        most = std::clamp<size_t>(std::min(kMostCollectorBytes / (2 * (k + 1) * sizeof(Hit)),
                                           kMostQueryBytes / codec_.query_bytes()),
                                  1, most);
        for (size_t first = 0, end; first < n; first = end) {
            const Filter* const filter = filter_of(first);
            for (end = first + 1; end < n && filter_of(end) == filter;) ++end;
            std::shared_ptr<const Admit> admit;
            if (may_walk_ && filter != nullptr) admit = searched_.admit(filter);
            const bool walks =
                may_walk_ && (filter == nullptr || searched_.walks(request_, admit.get()));
            const size_t walking = filter == nullptr ? kMostWalksTogether : kMostFilteredTogether;
            const size_t at_most =
                walks ? std::min({most, (n + threads_ - 1) / threads_, walking}) : most;
            for (size_t at = first; at < end; at += at_most) {
                auto group = std::make_unique<Group>();
                group->first = at;
                group->n = std::min(at_most, end - at);
                group->filter = filter;
                group->walks = walks;
                group->admit = admit;
                groups_.push_back(std::move(group));
            }
        }
    }

    const Filter* filter_of(size_t query) const {
        return request_.filters != nullptr ? request_.filters[query] : nullptr;
    }

    void prepare(Group& group) const {
        Memory scratch;
        const Input& queries = request_.queries;
        group.scorer = codec_.prepare(queries.rows(group.first, group.n, scratch), group.n,
                                      queries.argument, group.first);
        if (group.admit == nullptr) group.admit = searched_.admit(group.filter);
    }

    void search(Group& group, size_t part) {
        if (n_parts_ == 1) prepare(group);
        if (group.walks) {
            walk(group);
            return;
        }
        std::vector<Best>& collectors = group.parts[part];
        collectors.reserve(group.n);
        for (size_t i = 0; i < group.n; ++i) {
            collectors.push_back(searched_.collector(k_, radius_of_scan(group, i)));
        }
        std::vector<Collector*> pointers;
        for (Best& best : collectors) pointers.push_back(&best);
        scan(*group.scorer, group.n, part * part_rows_, std::min(n_rows_, (part + 1) * part_rows_),
             group.admit.get(), pointers.data());
        if (group.parts_to_go.fetch_sub(1) == 1) finish(group);
    }

    void scan(const Scorer& scorer, size_t n, size_t begin, size_t end, const Admit* admit,
              Collector* const* collectors) const {
        const double unit = kUnitNs / row_ns(double(codec_.code_bytes()), n);
        const size_t unit_rows = unit < 64 ? 64 : (size_t(std::min(unit, 1e9)) / 256 + 1) * 256;
        Memory scratch;
        for (size_t at = begin; at < end; at += unit_rows) {
            const size_t unit_end = std::min(end, at + unit_rows);
            searched_.scan(scorer, n, at, unit_end, admit, collectors, scratch);
            if (request_.watch != nullptr) request_.watch->advance((unit_end - at) * n);
        }
    }

    void walk(Group& group) const {
        std::vector<Best> found;
        std::vector<SearchCounts> counts(group.n);
        std::vector<size_t> left;  // whose walk found too little
        for (size_t i = 0; i < group.n; ++i) {
            const float radius = radius_of_scan(group, i);
            found.push_back(searched_.collector(k_, radius));
            const bool done = searched_.walk(*group.scorer, i, request_, double(radius),
                                             group.admit.get(), found[i], counts[i]);
            if (!done) left.push_back(i);
            if (request_.watch != nullptr) request_.watch->advance(done ? n_rows_ : 0);
        }
        if (!left.empty()) scan_left(group, left, found);
        for (const size_t i : left) counts[i].distances += n_scored(group);
        for (size_t i = 0; i < group.n; ++i) {
            counts[i].candidates = counts[i].distances;
            answer(group, i, found[i], counts[i]);
        }
        end(group);
    }

    void scan_left(const Group& group, const std::vector<size_t>& left,
                   std::vector<Best>& found) const {
        const Input& queries = request_.queries;
        const size_t query_bytes = codec_.input_bytes();
        Memory together(left.size() * query_bytes), scratch;
        std::vector<Collector*> collectors;
        for (size_t i = 0; i < left.size(); ++i) {
            const size_t at = left[i];
            const std::byte* const query = queries.rows(group.first + at, 1, scratch);
            std::copy_n(query, query_bytes, together.data() + i * query_bytes);
            found[at] = searched_.collector(k_, radius_of_scan(group, at));
            collectors.push_back(&found[at]);
        }
        const auto scorer =
            codec_.prepare(together.data(), left.size(), queries.argument, group.first + left[0]);
        scan(*scorer, left.size(), 0, n_rows_, group.admit.get(), collectors.data());
    }

    // On the thread that ended the group's last part.
    void finish(Group& group) {
        for (size_t i = 0; i < group.n; ++i) {
            Best& best = group.parts[0][i];
            size_t n_passed = best.n_passed();
            for (size_t part = 1; part < n_parts_; ++part) {
                n_passed += group.parts[part][i].n_passed();
                for (const Hit& hit : group.parts[part][i].take()) best.keep(hit);
            }
            const size_t n = n_scored(group);
            SearchCounts counts = {.distances = n, .candidates = codec_.grouped() ? n_passed : n};
            answer(group, i, best, counts);
        }
        end(group);
    }

    size_t n_scored(const Group& group) const {
        return group.admit != nullptr ? group.admit->count : n_rows_;
    }

    void answer(const Group& group, size_t i, Best& best, SearchCounts& counts) const {
        std::vector<Hit> hits = best.take();
        if (searched_.fine() != nullptr) hits = refined(group, i, std::move(hits), counts);
        take_(group.first + i, hits, counts);
    }

    static void end(Group& group) {
        group.parts.clear();
        group.scorer.reset();
        group.admit.reset();
    }

    float radius_of(size_t query) const {
        return request_.radii != nullptr ? request_.radii[query] : kInfinity;
    }

    // Of the k best every estimate counts, whatever the radius; all within a radius are looked for
    // as far beyond it as estimates may be wrong.
    float radius_of_scan(const Group& group, size_t i) const {
        const float radius = radius_of(group.first + i);
        if (searched_.fine() == nullptr) return radius;
        const double error = group.scorer->error(i).deviation;
        if (!request_.range || error == double(kInfinity)) return kInfinity;
        return float(double(radius) + kRangeDeviations * error * searched_.stretch());
    }

    std::vector<Hit> refined(const Group& group, size_t i, std::vector<Hit> hits,
                             SearchCounts& counts) const {
        const size_t query = group.first + i;
        const Input& queries = request_.queries;
        Memory scratch;
        const auto scorer =
            searched_.fine()->prepare(queries.rows(query, 1, scratch), 1, queries.argument, query);
        Refining refining(std::move(hits), request_.k, radius_of(query), request_.range,
                          group.scorer->error(i), searched_.stretch());
        while (searched_.refine(refining, *scorer)) {
            if (request_.watch != nullptr) request_.watch->advance(0);
        }
        counts.refined = refining.n_read();
        return refining.take();
    }

    const Searched& searched_;
    const Codec& codec_;
    const SearchRequest& request_;
    const TakeHits& take_;
    size_t n_rows_, k_, threads_, n_parts_, part_rows_;  // k_: that the scan keeps
    bool may_walk_;
    std::vector<std::unique_ptr<Group>> groups_;
};

}  // namespace

void run_search(const Searched& searched, const Codec& codec, const SearchRequest& request,
                const TakeHits& take) {
    if (request.queries.n == 0) return;
    Run(searched, codec, request, take).go();
}

}  // namespace nearbit
