// A graph that two threads change while others search it, and a thread that checks each answer
// against what every id held meanwhile. NEARBIT_STRESS=20 takes so many times as long.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdlib>
#include <deque>
#include <functional>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "base/random.h"
#include "index/index.h"

namespace nearbit {
namespace {

// Whole numbers, so small that every distance is exact, and so spread that no two rows are equal.
constexpr size_t kDim = 4;
using Row = std::array<float, kDim>;

Row random_row(Random& random) {
    Row row;
    for (float& number : row) number = float(random.below(1024));
    return row;
}

float distance_of(const Row& a, const Row& b) {
    float sum = 0;
    for (size_t i = 0; i < kDim; ++i) sum += (a[i] - b[i]) * (a[i] - b[i]);
    return sum;
}

Input input(const std::vector<Row>& rows) {
    return {.data = reinterpret_cast<const std::byte*>(rows.data()),
            .n = rows.size(),
            .width = kDim,
            .row_stride = sizeof(Row),
            .item_stride = sizeof(float),
            .argument = "rows"};
}

using Time = uint64_t;
constexpr Time kNever = ~Time(0);

// An id's row: it came while a call lasted, and left while another did.
struct Version {
    Row row;
    Time coming, there = kNever, leaving = kNever, gone = kNever;
};

// What every id held, and when.
class History {
  public:
    explicit History(size_t n_ids) : versions_(n_ids) {}

    Time now() { return clock_.fetch_add(1); }
    void coming(int64_t id, const Row& row) {
        const std::lock_guard guard(mutex_);
        versions_[size_t(id)].push_back({.row = row, .coming = now()});
    }
    void there(int64_t id) {
        const std::lock_guard guard(mutex_);
        versions_[size_t(id)].back().there = now();
    }
    void leaving(int64_t id) {
        const std::lock_guard guard(mutex_);
        versions_[size_t(id)].back().leaving = now();
    }
    // The last version, or, where another came in its place, the last but one.
    void gone(int64_t id, size_t from_end) {
        const std::lock_guard guard(mutex_);
        std::vector<Version>& versions = versions_[size_t(id)];
        versions[versions.size() - from_end].gone = now();
    }
    // Calls visit(id, version, stayed) for each that may have been found in a call that began and
    // ended then; stayed: it must have been there all the while.
    template <class Visit>
    void for_each(Time began, Time ended, Visit visit) {
        const std::lock_guard guard(mutex_);
        for (size_t id = 0; id < versions_.size(); ++id) {
            for (const Version& version : versions_[id]) {
                if (version.coming > ended || version.gone < began) continue;
                visit(int64_t(id), version, version.there < began && version.leaving > ended);
            }
        }
    }

  private:
    std::atomic<Time> clock_{1};
    std::mutex mutex_;
    std::vector<std::vector<Version>> versions_;
};

// What a search was asked, and what it found.
struct Answer {
    Row query = {};
    size_t k;
    float radius = kInfinity;
    bool complete;       // all that is near must be found, not only the nearest
    bool third = false;  // of ids that can be divided by three alone
    Time began = 0, ended = 0;
    std::vector<Hit> hits = {};
};

// What is wrong with an answer; empty: nothing. A walk of little effort may miss the query's own
// row, which is noted apart.
std::string fault(const Answer& answer, History& history, bool& missed) {
    const std::vector<Hit>& hits = answer.hits;
    if (!std::is_sorted(hits.begin(), hits.end())) return "hits do not ascend";
    std::set<int64_t> found, explained;
    for (const Hit& hit : hits) {
        if (!found.insert(hit.id).second) return std::to_string(hit.id) + " was found twice";
        if (hit.distance > answer.radius) return std::to_string(hit.id) + " is too far away";
    }
    const bool full = hits.size() == answer.k;
    std::string missing;
    size_t n_stayed = 0;
    history.for_each(answer.began, answer.ended,
                     [&](int64_t id, const Version& version, bool stayed) {
                         if (answer.third && id % 3 != 0) return;
                         const float distance = distance_of(answer.query, version.row);
                         for (const Hit& hit : hits) {
                             if (hit.id == id && hit.distance == distance) explained.insert(id);
                         }
                         if (!stayed || distance > answer.radius) return;
                         ++n_stayed;
                         if (found.contains(id)) return;
                         missed = missed || distance == 0;
                         if (!answer.complete || (full && distance >= hits.back().distance)) return;
                         missing = std::to_string(id) + " was not found";
                     });
    if (!missing.empty()) return missing;
    if (explained != found) return "an id was found that did not hold such a row";
    // Within a radius a walk may miss some.
    const bool counted = answer.complete || answer.radius == kInfinity;
    return counted && hits.size() < std::min(answer.k, n_stayed) ? "too few were found" : "";
}

class Stress {
  public:
    explicit Stress(Index& index) : index_(index), history_(kIds) {
        Random random(1);
        std::vector<int64_t> ids;
        for (int64_t id = 0; id < int64_t(kIds) * 3 / 4; ++id) ids.push_back(id);
        add(ids, random);
    }

    void run() {
        const char* const times = std::getenv("NEARBIT_STRESS");
        n_rounds_ = kRounds * (times != nullptr ? size_t(std::max(1, std::atoi(times))) : 1);
        std::vector<std::thread> threads;
        for (size_t i = 0; i < kWriters; ++i) threads.emplace_back([this, i] { write(i); });
        for (size_t i = 0; i < kSearchers; ++i) threads.emplace_back([this, i] { search(i); });
        threads.emplace_back([this] { check(); });
        for (std::thread& thread : threads) thread.join();
        EXPECT_GT(n_checked_, n_rounds_);
        EXPECT_LE(n_missed_, n_checked_ / 100);
    }

  private:
    static constexpr size_t kIds = 2800, kStaying = 400;  // ids below that are never changed
    static constexpr size_t kWriters = 2, kSearchers = 2, kRounds = 24, kMostWaiting = 64;
    static constexpr size_t kMany = 600;  // above a quarter of what stays then

    // ---------------------------------------------------------------- changes
    void add(const std::vector<int64_t>& ids, Random& random) {
        const std::vector<Row> rows = come(ids, random);
        index_.add(input(rows), &ids, 1, nullptr);
        for (const int64_t id : ids) history_.there(id);
    }
    void remove(const std::vector<int64_t>& ids) {
        for (const int64_t id : ids) history_.leaving(id);
        EXPECT_EQ(index_.remove(ids, false, nullptr), ids.size());
        for (const int64_t id : ids) history_.gone(id, 1);
    }
    // Those of them that are there, and with upsert others too.
    void replace(const std::vector<int64_t>& held, std::vector<int64_t> others, Random& random) {
        for (const int64_t id : held) history_.leaving(id);
        std::vector<int64_t> ids = held;
        ids.insert(ids.end(), others.begin(), others.end());
        const std::vector<Row> rows = come(ids, random);
        if (others.empty()) {
            index_.update(ids, input(rows), 1, nullptr);
        } else {
            index_.upsert(ids, input(rows), 1, nullptr);
        }
        for (const int64_t id : ids) history_.there(id);
        for (const int64_t id : held) history_.gone(id, 2);
    }
    std::vector<Row> come(const std::vector<int64_t>& ids, Random& random) {
        std::vector<Row> rows;
        for (const int64_t id : ids) {
            rows.push_back(random_row(random));
            history_.coming(id, rows.back());
        }
        return rows;
    }

    // Each has ids of its own.
    void write(size_t writer) {
        Random random(10 + writer);
        std::vector<int64_t> held, others;
        for (size_t id = kStaying; id < kIds; ++id) {
            if (id % kWriters == writer)
                (index_.contains(int64_t(id)) ? held : others).push_back(int64_t(id));
        }
        for (size_t round = 0; round < n_rounds_; ++round) {
            const size_t most = size_t(1) << random.below(8);  // 1, 2, 4, ... 128
            const std::vector<int64_t> out = take(held, most, random);
            const std::vector<int64_t> in = take(others, most, random);
            switch (round % 5) {
                case 0:
                    remove(out);
                    add(in, random);
                    give(held, in), give(others, out);
                    break;
                case 1:
                    add(in, random);
                    remove(out);
                    give(held, in), give(others, out);
                    break;
                case 2:
                    replace(out, {}, random);
                    give(held, out), give(others, in);
                    break;
                case 3:
                    replace(out, in, random);
                    remove(in);
                    give(held, out), give(others, in);
                    break;
                default:
                    if (round % 20 == 14) index_.compact(nullptr);
                    give(held, out), give(others, in);
                    if (round % 10 == 9) renew(held, random);
            }
        }
        ++n_written_;
    }
    // Adds so many rows in a call that all are linked anew, and another graph takes the place of
    // the one that searches walk.
    void renew(std::vector<int64_t>& held, Random& random) {
        const std::vector<int64_t> many = take(held, kMany, random);
        remove(many);
        add(many, random);
        give(held, many);
    }
    static std::vector<int64_t> take(std::vector<int64_t>& from, size_t most, Random& random) {
        shuffle(random, std::span(from));
        const size_t n = std::min(most, from.size());
        std::vector<int64_t> taken(from.end() - std::ptrdiff_t(n), from.end());
        from.resize(from.size() - n);
        return taken;
    }
    static void give(std::vector<int64_t>& to, const std::vector<int64_t>& ids) {
        to.insert(to.end(), ids.begin(), ids.end());
    }

    // ---------------------------------------------------------------- searches
    void search(size_t searcher) {
        Random random(20 + searcher);
        std::vector<int64_t> thirds;
        for (int64_t id = 0; id < int64_t(kIds); id += 3) thirds.push_back(id);
        const Filter filter(std::move(thirds));
        for (size_t turn = 0; n_written_ < kWriters && !failed_; ++turn) {
            std::vector<Answer> answers(together(turn), question(turn, random));
            for (Answer& answer : answers) answer.query = somewhere(random);
            ask(answers, turn, filter);
            for (Answer& answer : answers) hand_over(std::move(answer));
        }
        ++n_searched_;
    }
    // Many queries in a call, so that much changes while it lasts: slots that were left may be used
    // again only when it ends.
    static size_t together(size_t turn) { return turn % 50 == 49 ? 400 : turn % 4 < 2 ? 20 : 1; }
    Answer question(size_t turn, Random& random) const {
        Answer answer{.k = 1 + random.below(20), .complete = turn % 3 == 0, .third = turn % 5 == 4};
        // By estimates a few of those within a radius may be missed.
        const bool estimates = index_.refine() != nullptr;
        if (turn % 7 == 6 && !(estimates && answer.complete)) answer.radius = 250 * 250;
        return answer;
    }
    // A row that the index holds now, or any.
    Row somewhere(Random& random) {
        Row row = random_row(random);
        const auto wanted = int64_t(random.below(kIds * 4 / 3));
        const Time now = history_.now();
        history_.for_each(now, now, [&](int64_t id, const Version& version, bool) {
            if (id == wanted) row = version.row;
        });
        return row;
    }
    void ask(std::vector<Answer>& answers, size_t turn, const Filter& filter) {
        const Answer& first = answers[0];
        std::vector<Row> rows;
        for (const Answer& answer : answers) rows.push_back(answer.query);
        const Input queries = input(rows);
        const std::vector<float> radii(rows.size(), first.radius);
        const std::vector<const Filter*> filters(rows.size(), first.third ? &filter : nullptr);
        const SearchRequest request = {.queries = queries,
                                       .k = first.k,
                                       .radii = radii.data(),
                                       .range = first.radius != kInfinity && turn % 2 == 0,
                                       .refine_factor = first.complete ? 1e6 : 10.0,
                                       .ef = first.complete ? kIds * 2 : 64,
                                       .exact = first.complete && turn % 2 == 0,
                                       .filters = filters.data()};
        const Time began = history_.now();
        index_.search(request, [&](size_t i, const std::vector<Hit>& hits, const SearchCounts&) {
            answers[i].hits = hits;
        });
        const Time ended = history_.now();
        for (Answer& answer : answers) answer.began = began, answer.ended = ended;
    }

    // ---------------------------------------------------------------- checks
    void hand_over(Answer answer) {
        for (;;) {
            {
                const std::lock_guard guard(mutex_);
                if (waiting_.size() < kMostWaiting) {
                    waiting_.push_back(std::move(answer));
                    return;
                }
            }
            if (failed_) return;
            std::this_thread::yield();
        }
    }
    void check() {
        for (;;) {
            const bool last = n_searched_ == kSearchers;
            Answer answer;
            {
                const std::lock_guard guard(mutex_);
                if (waiting_.empty()) {
                    if (last) return;
                } else {
                    answer = std::move(waiting_.front());
                    waiting_.pop_front();
                }
            }
            if (answer.ended == 0) {
                std::this_thread::yield();
                continue;
            }
            bool missed = false;
            const std::string wrong = fault(answer, history_, missed);
            ++n_checked_;
            n_missed_ += missed;
            if (wrong.empty()) continue;
            ADD_FAILURE() << wrong << "; k " << answer.k << ", radius " << answer.radius
                          << (answer.complete ? ", complete" : "")
                          << (answer.third ? ", filtered" : "");
            failed_ = true;
            return;
        }
    }

    Index& index_;
    History history_;
    size_t n_rounds_ = 0, n_checked_ = 0, n_missed_ = 0;
    std::atomic<size_t> n_written_{0}, n_searched_{0};  // threads that have ended
    std::atomic<bool> failed_{false};
    std::mutex mutex_;
    std::deque<Answer> waiting_;
};

constexpr GraphSettings kSmall = {.degree = 8, .ef_construction = 24};

TEST(ThreadStress, AnswersOfAGraphThatChangesAreTrue) {
    Index index(make_codec("float32", kDim, "l2"), nullptr, kSmall);
    Stress(index).run();
}

TEST(ThreadStress, AnswersOfAGraphThatChangesAndRefinesAreTrue) {
    Random random(2);
    std::vector<float> sample;
    for (int i = 0; i < 1024; ++i) {
        const Row row = random_row(random);
        sample.insert(sample.end(), row.begin(), row.end());
    }
    const auto codec = make_codec(CodecSettings{.name = "sq", .bits = 8}, kDim, "l2")
                           ->train(std::move(sample), 1, nullptr);
    Index index(codec, make_codec("float32", kDim, "l2"), kSmall);
    Stress(index).run();
}

}  // namespace
}  // namespace nearbit
