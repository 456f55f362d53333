// Memory that runs out at any point of a change: the index stays as it was and goes on.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <map>
#include <new>
#include <numeric>
#include <optional>
#include <string>
#include <vector>

#include "base/random.h"
#include "failing_new.h"
#include "index/index.h"

namespace nearbit {
namespace {

using Ids = std::vector<int64_t>;
using Held = std::map<int64_t, float>;  // a row's first item by its id; the others are 0

std::vector<float> rows_from(float first, size_t n, size_t dim) {
    std::vector<float> rows(n * dim);
    for (size_t i = 0; i < n; ++i) rows[i * dim] = first + float(i);
    return rows;
}

Input input(const std::vector<float>& rows, size_t dim) {
    return {.data = reinterpret_cast<const std::byte*>(rows.data()),
            .n = rows.size() / dim,
            .width = dim,
            .row_stride = std::ptrdiff_t(dim * sizeof(float)),
            .item_stride = sizeof(float),
            .argument = "vectors"};
}

Ids ids_from(int64_t first, size_t n) {
    Ids ids(n);
    std::iota(ids.begin(), ids.end(), first);
    return ids;
}

void expect_holds(const Index& index, size_t dim, const Held& held) {
    Ids expected;
    for (const auto& [id, value] : held) expected.push_back(id);
    ASSERT_EQ(index.ids(), expected);
    ASSERT_EQ(index.size(), expected.size());
    std::vector<float> rows(expected.size() * dim);
    index.get(expected, reinterpret_cast<std::byte*>(rows.data()), nullptr);
    for (size_t i = 0; i < expected.size(); ++i) {
        ASSERT_EQ(rows[i * dim], held.at(expected[i])) << "id " << expected[i];
    }
    const float last = held.rbegin()->second;
    const std::vector<float> query = rows_from(last, 1, dim);
    const Input queries = input(query, dim);
    index.search({.queries = queries, .k = 1, .refine_factor = 1e9, .threads = 1},
                 [&](size_t, const std::vector<Hit>& hits, const SearchCounts&) {
                     ASSERT_EQ(hits.size(), 1u);
                     ASSERT_EQ(held.at(hits[0].id), last);
                 });
}

// True if the change needs so many allocations: then one failed, and nothing is changed.
bool fails(long at, const std::function<void()>& change) {
    bool failed = false;
    failing_new = at;
    try {
        change();
    } catch (const std::bad_alloc&) {
        failed = true;
    }
    const bool reached = failing_new < 0;
    failing_new = -1;
    EXPECT_EQ(failed, reached) << "allocation " << at << " failed and nobody was told";
    return failed;
}

// Chunks of 64 rows, so that a few rows need several.
constexpr size_t kDim = 16384;

struct Change {
    const char* name;
    bool some_freed;  // slots wait to be used again
    std::function<void(Index&)> make;
    std::function<void(Held&)> note;
};

void put(Held& held, const Ids& ids, float first) {
    for (size_t i = 0; i < ids.size(); ++i) held[ids[i]] = first + float(i);
}

const std::vector<float> kRows = rows_from(1000, 150, kDim), kThree = rows_from(5000, 3, kDim);
const Input kInput = input(kRows, kDim), kInputOfThree = input(kThree, kDim);
const Ids kOld = {40, 58, 42}, kNew = {700, 510, 900}, kMixed = ids_from(40, 150);

std::vector<Change> changes(bool some_freed) {
    const auto put_rows = [](Ids ids, float first) {
        return [ids, first](Held& held) { put(held, ids, first); };
    };
    return {
        {"AddAutomatic", some_freed, [](Index& i) { i.add(kInput, nullptr, 1, nullptr); },
         put_rows(ids_from(60, 150), 1000)},
        {"AddOwn", some_freed, [](Index& i) { i.add(kInputOfThree, &kNew, 1, nullptr); },
         put_rows(kNew, 5000)},
        {"Upsert", some_freed, [](Index& i) { i.upsert(kMixed, kInput, 1, nullptr); },
         put_rows(kMixed, 1000)},
        {"Update", some_freed, [](Index& i) { i.update(kOld, kInputOfThree, 1, nullptr); },
         put_rows(kOld, 5000)},
        {"Remove", some_freed, [](Index& i) { i.remove(kOld, false, nullptr); },
         [](Held& held) {
             for (const int64_t id : kOld) held.erase(id);
         }},
        {"Reserve", some_freed, [](Index& i) { i.reserve(400, nullptr); }, [](Held&) {}},
        {"Compact", some_freed, [](Index& i) { i.compact(nullptr); }, [](Held&) {}},
    };
}

// Tries the change on new indexes of these codecs until no allocation of it fails.
void try_change(const Change& change, const std::shared_ptr<const Codec>& codec,
                const std::shared_ptr<const Codec>& refine) {
    const std::vector<float> rows = rows_from(0, 60, kDim);
    long at = 0;
    for (bool failed = true; failed; ++at) {
        SCOPED_TRACE("allocation " + std::to_string(at));
        Index index(codec, refine);
        Held held;
        put(held, index.add(input(rows, kDim), nullptr, 1, nullptr), 0);
        for (int64_t id = 0; change.some_freed && id < 24; id += 4) {
            index.remove({id, id + 1}, false, nullptr);
            held.erase(id);
            held.erase(id + 1);
        }
        failed = fails(at, [&] { change.make(index); });
        if (!failed) change.note(held);
        ASSERT_NO_FATAL_FAILURE(expect_holds(index, kDim, held));
        const Ids more = ids_from(10'000, 90);
        const std::vector<float> more_rows = rows_from(20'000, more.size(), kDim);
        index.add(input(more_rows, kDim), &more, 1, nullptr);
        put(held, more, 20'000);
        ASSERT_NO_FATAL_FAILURE(expect_holds(index, kDim, held));
    }
}

class Allocation : public testing::TestWithParam<Change> {};

TEST_P(Allocation, ThatFailsLeavesTheIndexAsItWas) {
    try_change(GetParam(), make_codec("float32", kDim, "l2"), nullptr);
}

std::string name_of(const testing::TestParamInfo<Change>& info) {
    return info.param.name;
}
INSTANTIATE_TEST_SUITE_P(AtTheEnd, Allocation, testing::ValuesIn(changes(false)), name_of);
INSTANTIATE_TEST_SUITE_P(InFreedSlots, Allocation, testing::ValuesIn(changes(true)), name_of);

// Some of the changes: encoding rows of that length takes its time.
TEST(AllocationOfFinerCopies, ThatFailsLeavesTheIndexAsItWas) {
    std::vector<float> sample = rows_from(0, 1024, kDim);
    for (float& number : sample) number *= 25;
    const auto codec = make_codec(CodecSettings{.name = "rabitq", .bits = 1}, kDim, "l2")
                           ->train(std::move(sample), 1, nullptr);
    for (const Change& change : changes(false)) {
        const std::string name = change.name;
        if (name != "AddOwn" && name != "Reserve") continue;
        try_change(change, codec, make_codec("float32", kDim, "l2"));
    }
}

class AllocationOfAGraph : public testing::Test {
  protected:
    static constexpr size_t kSmall = 4, kN = 2500;

    static std::vector<float> rows_at(size_t first, size_t n) {
        Random random(first);
        std::vector<float> rows(n * kSmall);
        for (float& number : rows) number = float(random.unit());
        for (size_t i = 0; i < n; ++i) rows[i * kSmall] += float(first);
        return rows;
    }
    // The same graph each time, with links to repair.
    AllocationOfAGraph() : rows_(rows_at(0, kN)) { make_anew(); }
    void make_anew() {
        index.emplace(make_codec("float32", kSmall, "l2"), nullptr,
                      GraphSettings{.degree = 4, .ef_construction = 16});
        index->add(input(rows_, kSmall), nullptr, 1, nullptr);
        index->remove(ids_from(500, 300), false, nullptr);
    }
    // Laps end, slots are used again.
    void go_on() {
        for (int64_t id = 900; id < 1100; id += 50) {
            const Ids out = ids_from(id, 50), in = ids_from(id + 9000, 50);
            const std::vector<float> fresh = rows_at(size_t(id), 50);
            index->remove(out, false, nullptr);
            index->add(input(fresh, kSmall), &in, 1, nullptr);
        }
    }
    // Walks that expand all they come to find what a scan does, or else a row isn't reached.
    void expect_reached() const {
        const Ids there = index->ids();
        const size_t k = std::min<size_t>(1000, there.size());
        for (size_t at = 0; at < there.size(); at += there.size() / 6) {
            std::vector<float> query(kSmall);
            index->get({there[at]}, reinterpret_cast<std::byte*>(query.data()), nullptr);
            std::vector<int64_t> found[2];
            for (const bool exact : {false, true}) {
                index->search(
                    {.queries = input(query, kSmall),
                     .k = k,
                     .ef = 10'000,
                     .exact = exact,
                     .threads = 1},
                    [&](size_t, const std::vector<Hit>& hits, const SearchCounts& counts) {
                        ASSERT_EQ(counts.hops == 0, exact);
                        for (const Hit& hit : hits) found[exact].push_back(hit.id);
                    });
            }
            ASSERT_EQ(found[0], found[1]);
        }
    }

    std::optional<Index> index;

  private:
    const std::vector<float> rows_;
};

// Some of the allocations: there are thousands, and each try builds it anew.
TEST_F(AllocationOfAGraph, ThatFailsLeavesTheIndexAsItWas) {
    const std::vector<float> few = rows_at(3, 40), many = rows_at(5, 700);
    const Ids ids = ids_from(5000, 40), many_ids = ids_from(5000, 700), old = ids_from(100, 40);
    const Ids gone = ids_from(200, 60);
    const std::vector<Change> all = {
        {"AddFew", true, [&](Index& i) { i.add(input(few, kSmall), &ids, 1, nullptr); }, {}},
        {"AddMany", true, [&](Index& i) { i.add(input(many, kSmall), &many_ids, 1, nullptr); }, {}},
        {"Update", true, [&](Index& i) { i.update(old, input(few, kSmall), 1, nullptr); }, {}},
        {"Remove", true, [&](Index& i) { i.remove(gone, false, nullptr); }, {}},
        {"Compact", true, [&](Index& i) { i.compact(nullptr); }, {}}};
    for (const Change& change : all) {
        long at = 0;
        for (bool failed = true; failed; at = 4 * at + 1) {
            SCOPED_TRACE(std::string(change.name) + ", allocation " + std::to_string(at));
            make_anew();
            const Ids before = index->ids();
            failed = fails(at, [&] { change.make(*index); });
            if (failed) {
                ASSERT_EQ(index->ids(), before);
            }
            go_on();
            ASSERT_NO_FATAL_FAILURE(expect_reached());
        }
    }
}

TEST_F(AllocationOfAGraph, ThatFailsTimeAndAgainLosesNoStepOfRepair) {
    for (int64_t id = 200; id < 340; ++id) {
        long at = 0;
        while (fails(at, [&] { index->remove({id}, false, nullptr); })) ++at;
    }
    go_on();
    expect_reached();
}

// Ids have chunks of their own, of half a million: the second one.
TEST(AllocationOfIds, ThatFailsLeavesTheIndexAsItWas) {
    constexpr size_t kChunk = size_t(1) << 19;
    Index index(make_codec("float32", 1, "l2"));
    const std::vector<float> rows(kChunk - 1);
    const Ids ids = ids_from(7, rows.size());
    index.add(input(rows, 1), &ids, 1, nullptr);
    const std::vector<float> two = {1, 2};
    for (long at = 0;; ++at) {
        SCOPED_TRACE("allocation " + std::to_string(at));
        if (!fails(at, [&] { index.add(input(two, 1), nullptr, 1, nullptr); })) break;
        ASSERT_EQ(index.size(), ids.size());
        ASSERT_EQ(index.ids().back(), ids.back());
    }
    std::vector<float> got(2);
    index.get({ids.back() + 1, ids.back() + 2}, reinterpret_cast<std::byte*>(got.data()), nullptr);
    EXPECT_EQ(got, two);
}

}  // namespace
}  // namespace nearbit
