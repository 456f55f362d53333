// What several threads do at once: the pool, the locks, and an index that is searched and saved
// while it changes. Meant to run under the thread sanitizer too.
#include "base/threads.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <functional>
#include <mutex>
#include <shared_mutex>
#include <span>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "base/error.h"
#include "base/lock.h"
#include "index/index.h"

namespace nearbit {
namespace {

void run_at_once(size_t n_threads, const std::function<void(size_t)>& body) {
    std::vector<std::thread> threads;
    for (size_t t = 0; t < n_threads; ++t) threads.emplace_back(body, t);
    for (std::thread& thread : threads) thread.join();
}

// ------------------------------------------------------------------------------------ the pool

TEST(ThreadPool, RunsEveryTaskOnceForSeveralCallersAtOnce) {
    constexpr size_t kTasks = 500;
    run_at_once(3, [](size_t) {
        std::vector<int> runs(kTasks, 0);
        parallel_for(kTasks, 4, nullptr, [&](size_t i) { ++runs[i]; });
        EXPECT_EQ(runs, std::vector<int>(kTasks, 1));
    });
}

TEST(ThreadPool, GivesTheFailureOfTheLowestTaskToTheCaller) {
    std::atomic<int> waiting{0};
    const auto both_fail = [&](size_t i) {
        ++waiting;
        while (waiting < 2) std::this_thread::yield();
        throw std::runtime_error(std::to_string(i));
    };
    try {
        parallel_for(2, 2, nullptr, both_fail);
        FAIL() << "expected an exception";
    } catch (const std::runtime_error& error) {
        EXPECT_STREQ(error.what(), "0");
    }
}

struct EndsCall final : Watch {
    void poll(size_t, size_t) override { throw std::runtime_error("enough"); }
};

TEST(ThreadPool, EndsOtherThreadsTasksWhenTheWatchThrows) {
    EndsCall watch;
    const auto endless = [&](size_t) {
        for (;;) {
            watch.advance(1);
            std::this_thread::yield();
        }
    };
    try {
        parallel_for(4, 4, &watch, endless);
        FAIL() << "expected an exception";
    } catch (const std::runtime_error& error) {
        EXPECT_STREQ(error.what(), "enough");
    }
}

// ------------------------------------------------------------------------------------ the locks

TEST(ThreadLocks, ReadersNeverMeetAWriter) {
    RwLock lock;
    int a = 0, b = 0;
    run_at_once(4, [&](size_t thread) {
        for (int i = 0; i < 2000; ++i) {
            if (thread < 2) {
                const std::lock_guard guard(lock);
                ++a;
                ++b;
            } else {
                const std::shared_lock guard(lock);
                EXPECT_EQ(a, b);
            }
        }
    });
    EXPECT_EQ(a, 4000);
}

TEST(ThreadLocks, AWriterWaitsForOneButNotForLaterReaders) {
    RwLock lock;
    lock.lock_shared();
    std::atomic<bool> wrote{false};
    std::thread writer([&] {
        const std::lock_guard guard(lock);
        wrote = true;
    });
    while (lock.try_lock_shared()) {  // until the writer waits
        lock.unlock_shared();
        std::this_thread::yield();
    }
    EXPECT_FALSE(wrote);
    std::thread late([&] {
        const std::shared_lock guard(lock);
        EXPECT_TRUE(wrote);
    });
    lock.unlock_shared();
    writer.join();
    late.join();
}

TEST(ThreadLocks, TheWriterMutexRefusesItsHolder) {
    WriterMutex mutex;
    mutex.lock(nullptr);
    EXPECT_THROW(mutex.lock(nullptr), InvalidState);
    mutex.unlock();
}

TEST(ThreadLocks, CallsEndForTheirTimeOnly) {
    Calls calls;
    uint64_t removed = 0;
    {
        const Calls::Stay early(calls);
        removed = calls.now();
        EXPECT_FALSE(calls.ended_before(removed));
    }
    EXPECT_TRUE(calls.ended_before(removed));
    const Calls::Stay late(calls);
    EXPECT_TRUE(calls.ended_before(removed));
    EXPECT_FALSE(calls.ended_before(calls.now()));
}

// ------------------------------------------------------------------------------------ the index

// A row says which id it belongs to, in small whole numbers, so that every distance is exact.
constexpr size_t kDim = 3;
using Row = std::array<float, kDim>;

Row row_of(int64_t id) {
    return {float(id % 31), float(id / 31), 1};
}

float distance_of(int64_t a, int64_t b) {
    const Row p = row_of(a), q = row_of(b);
    return (p[0] - q[0]) * (p[0] - q[0]) + (p[1] - q[1]) * (p[1] - q[1]);
}

std::vector<Row> rows_of(const std::vector<int64_t>& ids) {
    std::vector<Row> rows(ids.size());
    std::transform(ids.begin(), ids.end(), rows.begin(), row_of);
    return rows;
}

Input input(const std::vector<Row>& rows) {
    return {.data = reinterpret_cast<const std::byte*>(rows.data()),
            .n = rows.size(),
            .width = kDim,
            .row_stride = sizeof(Row),
            .item_stride = sizeof(float),
            .argument = "vectors"};
}

std::vector<int64_t> range(int64_t begin, int64_t end) {
    std::vector<int64_t> ids;
    for (int64_t id = begin; id < end; ++id) ids.push_back(id);
    return ids;
}

constexpr int64_t kStay = 200, kComeAndGo = 400;  // ids below kStay stay; those up to 600 don't

// One call searches for some of the ids that stay: each is found, once, at 0; and whatever else is
// found is where its id says.
void search_and_check(const Index& index, const Filter* filter) {
    const std::vector<int64_t> asked = {0, 57, 101, kStay - 1};
    const std::vector<Row> rows = rows_of(asked);
    const Input queries = input(rows);
    const std::vector<const Filter*> filters(asked.size(), filter);
    const SearchRequest request = {.queries = queries,
                                   .k = 8,
                                   .refine_factor = 1000,
                                   .filters = filter != nullptr ? filters.data() : nullptr,
                                   .threads = 2};
    index.search(request, [&](size_t q, const std::vector<Hit>& hits, const SearchCounts&) {
        ASSERT_EQ(hits.size(), 8u);
        EXPECT_EQ(hits[0].id, asked[q]);
        EXPECT_TRUE(std::is_sorted(hits.begin(), hits.end()));
        std::vector<int64_t> found;
        for (const Hit& hit : hits) {
            EXPECT_EQ(hit.distance, distance_of(asked[q], hit.id)) << hit.id;
            found.push_back(hit.id);
        }
        std::sort(found.begin(), found.end());
        EXPECT_EQ(std::adjacent_find(found.begin(), found.end()), found.end());
    });
}

void search_beside_a_writer(Index& index) {
    const std::vector<int64_t> stay = range(0, kStay);
    index.add(input(rows_of(stay)), &stay, 1, nullptr);
    const Filter staying(stay);
    std::atomic<bool> written{false};
    std::atomic<size_t> n_searches{0};
    run_at_once(4, [&](size_t thread) {
        if (thread < 2) {
            while (!written || n_searches == 0) {
                search_and_check(index, thread == 0 ? nullptr : &staying);
                ++n_searches;
            }
            return;
        }
        if (thread == 2) {
            while (!written) {
                MemoryOutput output;
                index.write(output, nullptr);
                const auto read =
                    Index::from_bytes(std::as_bytes(std::span(output.bytes)), nullptr);
                search_and_check(*read, nullptr);
            }
            return;
        }
        for (int round = 0; round < 40; ++round) {
            const std::vector<int64_t> some = range(kStay, kStay + kComeAndGo);
            const std::vector<int64_t> half = range(kStay, kStay + kComeAndGo / 2);
            const std::vector<Row> rows = rows_of(some), half_rows = rows_of(half);
            index.add(input(half_rows), &half, 2, nullptr);
            index.upsert(some, input(rows), 2, nullptr);
            index.update(stay, input(rows_of(stay)), 1, nullptr);
            EXPECT_EQ(index.remove(some, false, nullptr), some.size());
            if (round % 8 == 7) index.compact(nullptr);
        }
        written = true;
    });
    EXPECT_EQ(index.ids(), stay);
    search_and_check(index, nullptr);
}

TEST(ThreadIndex, SearchesBesideAWriterAreRight) {
    Index index(make_codec("float32", kDim, "l2"));
    search_beside_a_writer(index);
}

TEST(ThreadIndex, SearchesOfFinerCopiesBesideAWriterAreRight) {
    std::vector<float> sample;
    for (const Row& row : rows_of(range(0, 1024)))
        sample.insert(sample.end(), row.begin(), row.end());
    const auto codec = make_codec(CodecSettings{.name = "sq", .bits = 4}, kDim, "l2")
                           ->train(std::move(sample), 1, nullptr);
    Index index(codec, make_codec("float32", kDim, "l2"));
    search_beside_a_writer(index);
}

TEST(ThreadIndex, WritersTakeTurns) {
    Index index(make_codec("float32", kDim, "l2"));
    run_at_once(3, [&](size_t thread) {
        for (int64_t i = 0; i < 30; ++i) {
            const int64_t first = (int64_t(thread) * 30 + i) * 5;
            const std::vector<int64_t> ids = range(first, first + 5);
            const std::vector<Row> rows = rows_of(ids);
            index.add(input(rows), &ids, 2, nullptr);
        }
    });
    EXPECT_EQ(index.ids(), range(0, 450));
    search_and_check(index, nullptr);
}

}  // namespace
}  // namespace nearbit
