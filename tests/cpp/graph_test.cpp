// The graph's promises that no answer shows by itself: every vertex is reached from the first
// entry, whatever the rows and the order of changes; rows of links are what they should be.
#include "layouts/graph.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>
#include <set>
#include <string>

#include "base/random.h"
#include "layouts/bulk.h"
#include "layouts/link.h"
#include "layouts/walk.h"

namespace nearbit {
namespace {

constexpr size_t kDim = 8;

// A graph as an index keeps it, without ids and locks.
class Kept {
  public:
    explicit Kept(const GraphSettings& settings, const std::string& metric = "l2")
        : codec_(make_codec("float32", kDim, metric)),
          rows_(codec_, false),
          graph_(std::make_unique<Graph>(settings)) {}

    enum How { kInserted, kInBulk };
    // kInBulk: all that are there are linked anew.
    void add(const std::vector<float>& rows, How how = kInserted, size_t threads = 1) {
        const size_t n = rows.size() / kDim, first = n_slots_;
        std::vector<uint32_t> slots;
        for (size_t i = 0; i < n; ++i) {
            if (free_.empty()) {
                slots.push_back(uint32_t(n_slots_++));
            } else {
                slots.push_back(free_.back());
                free_.pop_back();
            }
        }
        rows_.adopt(rows_.room_for(n_slots_));
        graph_->adopt(graph_->room_for(n_slots_));
        live_.resize(words_for(n_slots_));
        for (size_t i = 0; i < n; ++i) {
            rows_.encode(slots[i], reinterpret_cast<const std::byte*>(rows.data() + i * kDim), 1,
                         "vectors", i);
        }
        if (how == kInBulk) {
            for (const uint32_t slot : slots) set_bit(live_.data(), slot);
            auto made = std::make_unique<Graph>(graph_->settings());
            made->adopt(made->room_for(n_slots_));
            link_in_bulk(*made, rows_, live_, n_slots_, 0, 0, threads, nullptr);
            graph_ = std::move(made);
            return;
        }
        Linker linker(*graph_, rows_, live_, graph_->empty() ? 0 : first, threads, nullptr);
        graph_->make_parents(n_slots_);
        linker.insert(slots, 0);
        linker.apply(0, linker.n_staged());
        linker.finish(n_slots_);
        for (const uint32_t slot : slots) set_bit(live_.data(), slot);
    }

    void remove(const std::vector<uint32_t>& slots) {
        for (const uint32_t slot : slots) clear_bit(live_.data(), slot);
        graph_->reserve_dead(slots.size());
        graph_->note_dead(slots);
    }

    // after_row: called once a row of links is in its place.
    void repair(const std::function<void()>& after_row = nullptr) {
        Linker linker(*graph_, rows_, live_, n_slots_, 1, nullptr);
        for (;;) {
            if (graph_->lap_ended()) {
                graph_->leave_entries();
                for (const uint32_t slot : graph_->end_lap()) free_.push_back(slot);
            }
            const uint32_t slot = graph_->next_step();
            if (slot == kNoSlot) {
                if (graph_->lap_ended()) continue;
                return;
            }
            if (!linker.repair(slot)) continue;
            most_staged_ = std::max(most_staged_, linker.n_staged());
            for (size_t i = 0; i < linker.n_staged(); ++i) {
                linker.apply(i, i + 1);
                if (after_row) after_row();
            }
        }
    }

    void drop_dead() {
        Linker linker(*graph_, rows_, live_, n_slots_, 1, nullptr);
        graph_ = linker.without_dead();
    }

    // What is wrong with it; empty: nothing.
    std::string flaw() const {
        Words reached(words_for(n_slots_));
        std::vector<uint32_t> queue = {graph_->entries()[0]};
        set_bit(reached.data(), queue[0]);
        for (size_t at = 0; at < queue.size(); ++at) {
            const uint32_t* const links = graph_->links(queue[at]);
            std::set<uint32_t> seen = {queue[at]};
            bool ended = false;
            for (size_t i = 0; i < graph_->degree(); ++i) {
                if (links[i] == kNoSlot) {
                    ended = true;
                    continue;
                }
                std::string where = std::to_string(queue[at]);
                where += " has a link, the " + std::to_string(i) + "th, that";
                if (ended) return where + " is behind the end";
                if (links[i] >= n_slots_) return where + " leads nowhere";
                if (!seen.insert(links[i]).second) return where + " is there twice, or its own";
                if (test_bit(reached.data(), links[i])) continue;
                set_bit(reached.data(), links[i]);
                queue.push_back(links[i]);
            }
        }
        for (size_t slot = 0; slot < n_slots_; ++slot) {
            if (live(slot) && !test_bit(reached.data(), slot)) {
                return std::to_string(slot) + " is not reached";
            }
        }
        return "";
    }
    // Links from live vertices to dead ones.
    size_t n_dead_links() const {
        size_t n = 0;
        for (size_t slot = 0; slot < n_slots_; ++slot) {
            const uint32_t* const links = graph_->links(slot);
            for (size_t i = 0; live(slot) && i < graph_->degree() && links[i] != kNoSlot; ++i) {
                n += !live(links[i]);
            }
        }
        return n;
    }

    bool live(size_t slot) const { return test_bit(live_.data(), slot); }
    size_t n_slots() const { return n_slots_; }
    size_t most_staged() const { return most_staged_; }  // rows of links, by one repair
    const Graph& graph() const { return *graph_; }

  private:
    std::shared_ptr<const Codec> codec_;
    Flat rows_;
    std::unique_ptr<Graph> graph_;
    Words live_;
    size_t n_slots_ = 0, most_staged_ = 0;
    std::vector<uint32_t> free_;
};

GraphSettings small() {
    return {.degree = 6, .ef_construction = 24, .alpha = 1.1, .seed = 3};
}

using Rows = std::function<std::vector<float>(Random&, size_t)>;

std::vector<float> uniform(Random& random, size_t n) {
    std::vector<float> rows(n * kDim);
    for (float& number : rows) number = float(random.unit());
    return rows;
}

// Rows that have made other libraries' graphs fall apart.
const std::vector<std::pair<std::string, Rows>> kKinds = {
    {"uniform", uniform},
    {"constant", [](Random&, size_t n) { return std::vector<float>(n * kDim, 1.0f); }},
    {"zeros", [](Random&, size_t n) { return std::vector<float>(n * kDim); }},
    {"few places",
     [](Random& random, size_t n) {
         std::vector<float> rows(n * kDim);
         for (size_t i = 0; i < n; ++i) {
             const auto place = float(random.below(7));
             for (size_t j = 0; j < kDim; ++j) rows[i * kDim + j] = place;
         }
         return rows;
     }},
    {"sorted",
     [](Random&, size_t n) {
         std::vector<float> rows(n * kDim);
         for (size_t i = 0; i < n; ++i) rows[i * kDim] = float(i);
         return rows;
     }},
    {"clusters far apart", [](Random& random, size_t n) {
         std::vector<float> rows = uniform(random, n);
         for (size_t i = 0; i < n; ++i) rows[i * kDim] += 1000 * float(i * 20 / n);
         return rows;
     }}};

TEST(Graph, ReachesEveryVertexHoweverTheyCome) {
    for (const auto& [name, rows] : kKinds) {
        for (const char* metric : {"l2", "cosine", "ip"}) {
            Random random(1);
            Kept all(small(), metric), pieces(small(), metric);
            all.add(rows(random, 700));
            EXPECT_EQ(all.flaw(), "") << name << " " << metric;
            for (size_t n : {1, 1, 1, 50, 7, 300, 1, 1, 90}) {
                pieces.add(rows(random, n));
                ASSERT_EQ(pieces.flaw(), "") << name << " " << metric << ", piece of " << n;
            }
        }
    }
}

TEST(Graph, ReachesEveryVertexThatIsLinkedInBulk) {
    for (const auto& [name, rows] : kKinds) {
        for (const char* metric : {"l2", "cosine", "ip"}) {
            // Fewer than go together, as many, a few more, and so many that groups are parted.
            for (const size_t n : {1, 2, 3, 40, 768, 770, 2500}) {
                Random random(n);
                Kept kept(small(), metric);
                kept.add(rows(random, n), Kept::kInBulk);
                ASSERT_EQ(kept.flaw(), "") << name << " " << metric << ", " << n;
                kept.add(rows(random, 20));
                ASSERT_EQ(kept.flaw(), "") << name << " " << metric << ", 20 beside " << n;
            }
        }
    }
}

TEST(Graph, LinksEveryRowInBulkToItsNearest) {
    Random random(5);
    const std::vector<float> rows = uniform(random, 3000);
    Kept kept({.degree = 16});
    kept.add(rows, Kept::kInBulk);
    size_t n_linked = 0;
    for (size_t i = 0; i < 3000; ++i) {
        size_t nearest = 0;
        double least = double(kInfinity);
        for (size_t j = 0; j < 3000; ++j) {
            double distance = 0;
            for (size_t k = 0; k < kDim; ++k) {
                distance += std::pow(double(rows[i * kDim + k]) - rows[j * kDim + k], 2);
            }
            if (j != i && distance < least) least = distance, nearest = j;
        }
        const uint32_t* const links = kept.graph().links(i);
        n_linked += std::find(links, links + 16, uint32_t(nearest)) != links + 16;
    }
    EXPECT_GT(n_linked, 2990u);
}

TEST(Graph, ReachesEveryVertexThroughChange) {
    for (const auto& [name, rows] : kKinds) {
        Random random(2);
        Kept kept(small());
        kept.add(rows(random, 400), name == "uniform" ? Kept::kInBulk : Kept::kInserted);
        for (size_t round = 0; round < 40; ++round) {
            std::vector<uint32_t> gone;
            // Every other round all of a neighbourhood of slots, so that whole families die.
            const size_t first = random.below(kept.n_slots());
            for (size_t i = 0; i < kept.n_slots() && gone.size() < 40; ++i) {
                const size_t slot = (first + i) % kept.n_slots();
                if (kept.live(slot) && (round % 2 == 0 || random.below(4) == 0)) {
                    gone.push_back(uint32_t(slot));
                }
            }
            kept.remove(gone);
            ASSERT_EQ(kept.flaw(), "") << name << ", round " << round;
            kept.repair();
            ASSERT_EQ(kept.flaw(), "") << name << ", repaired, round " << round;
            kept.add(rows(random, 40));
            ASSERT_EQ(kept.flaw(), "") << name << ", added, round " << round;
        }
        // 1,600 came after the first 400: slots were used again.
        EXPECT_LT(kept.n_slots(), 650u) << name;
        kept.drop_dead();
        EXPECT_EQ(kept.flaw(), "") << name;
        EXPECT_EQ(kept.n_dead_links(), 0u) << name;
    }
}

// Where most rows go at once many others hang on one repair, which readers see in pieces.
TEST(Graph, ReachesEveryVertexWhileARepairIsApplied) {
    size_t most_staged = 0;
    for (const auto& [name, rows] : kKinds) {
        Random random(11);
        Kept kept(small());
        kept.add(rows(random, 1000));
        for (const size_t share : {10, 2}) {  // the second finds what the first left of parents
            std::vector<uint32_t> gone;
            for (uint32_t slot = 0; slot < 1000; ++slot) {
                if (kept.live(slot) && random.below(share) != 0) gone.push_back(slot);
            }
            kept.remove(gone);
            kept.repair([&, kind = name] { EXPECT_EQ(kept.flaw(), "") << kind; });
        }
        EXPECT_EQ(kept.n_dead_links(), 0u) << name;
        most_staged = std::max(most_staged, kept.most_staged());
    }
    EXPECT_GT(most_staged, 20u);
}

TEST(Graph, SurvivesTheDeathOfAll) {
    Random random(3);
    Kept kept(small());
    kept.add(uniform(random, 300));
    std::vector<uint32_t> all;
    for (uint32_t slot = 0; slot < 300; ++slot) all.push_back(slot);
    kept.remove(all);
    kept.repair();
    kept.add(uniform(random, 200));
    EXPECT_EQ(kept.flaw(), "");
    kept.repair();
    EXPECT_EQ(kept.flaw(), "");
}

TEST(Graph, KeepsEntriesThatCameWhileALapLasted) {
    Random random(5);
    Kept kept(small());
    kept.add(uniform(random, 300));
    const auto entries_now = [&] {
        return std::vector<uint32_t>(kept.graph().entries().begin(), kept.graph().entries().end());
    };
    // Some of those where walks begin, but for the first.
    const std::vector<uint32_t> at_first = entries_now();
    const std::set<uint32_t> gone(at_first.begin() + 1, at_first.begin() + 8);
    kept.remove({gone.begin(), gone.end()});
    kept.repair();  // all but the end of a lap
    ASSERT_EQ(entries_now(), at_first);
    kept.add(uniform(random, 300));
    const std::vector<uint32_t> before = entries_now();
    ASSERT_GT(*std::max_element(before.begin(), before.end()), 400u);
    std::vector<uint32_t> others;
    for (uint32_t slot = 0; others.size() < 3; ++slot) {
        if (kept.live(slot) && std::find(before.begin(), before.end(), slot) == before.end()) {
            others.push_back(slot);
        }
    }
    kept.remove(others);
    kept.repair();  // the rest of it
    const std::vector<uint32_t> after = entries_now();
    size_t n_replaced = 0;
    for (size_t i = 0; i < before.size(); ++i) {
        if (gone.count(before[i]) == 0) {
            EXPECT_EQ(after[i], before[i]);
        } else {
            EXPECT_EQ(gone.count(after[i]), 0u);
            EXPECT_TRUE(kept.live(after[i]));
            ++n_replaced;
        }
    }
    EXPECT_GE(n_replaced, 1u);
    EXPECT_EQ(std::set<uint32_t>(after.begin(), after.end()).size(), after.size());
}

TEST(Graph, IsTheSameOnAnyNumberOfThreads) {
    for (const Kept::How how : {Kept::kInserted, Kept::kInBulk}) {
        for (const auto& [name, rows] : kKinds) {
            Random random(4);
            const std::vector<float> first = rows(random, how == Kept::kInBulk ? 2500 : 900);
            const std::vector<float> second = rows(random, 100);
            Kept one(small()), three(small());
            one.add(first, how), one.add(second, how);
            three.add(first, how, 3), three.add(second, how, 3);
            for (size_t slot = 0; slot < one.n_slots(); ++slot) {
                ASSERT_TRUE(std::equal(one.graph().links(slot), one.graph().links(slot) + 6,
                                       three.graph().links(slot)))
                    << name;
            }
        }
    }
}

TEST(Pool, KeepsTheNearestThatMayBeFoundAndWhatLiesBetween) {
    Pool pool;
    pool.start(2, -1);
    pool.insert(5, 1, true);
    pool.insert(3, 2, false);
    EXPECT_EQ(pool.limit(), double(kInfinity));
    pool.insert(4, 3, true);
    EXPECT_EQ(pool.limit(), 5);
    pool.insert(6, 4, true);
    pool.insert(4.5, 5, false);
    pool.insert(1, 6, true);
    EXPECT_EQ(pool.limit(), 4);  // neither 5 nor, behind the last that counts, 4.5
    std::vector<uint32_t> slots;
    while (const Pool::Entry* const entry = pool.expand_next()) slots.push_back(entry->slot);
    EXPECT_EQ(slots, (std::vector<uint32_t>{6, 2, 3}));
    pool.insert(2, 7, false);
    EXPECT_EQ(pool.expand_next()->slot, 7u);
    EXPECT_EQ(pool.expand_next(), nullptr);
    pool.insert(std::nan(""), 8, true);
    EXPECT_EQ(pool.entries().size(), 4u);
}

TEST(Pool, KeepsAllWithinARadius) {
    Pool pool;
    pool.start(1, 3);
    for (uint32_t slot = 0; slot < 6; ++slot) pool.insert(slot, slot, true);
    EXPECT_EQ(pool.entries().size(), 4u);
    EXPECT_EQ(pool.limit(), 3);
}

// Each walk scores all entries, and begins at those that are near: a graph whose rows have all been
// replaced some times still has as many.
TEST(Graph, KeepsItsEntriesHoweverManyRowsGo) {
    Random random(8);
    Kept kept(small());
    kept.add(uniform(random, 600), Kept::kInBulk);
    for (int round = 0; round < 60; ++round) {
        std::vector<uint32_t> slots, gone;
        for (uint32_t slot = 0; slot < kept.n_slots(); ++slot) {
            if (kept.live(slot)) slots.push_back(slot);
        }
        for (const uint64_t i : sample(random, slots.size(), 60)) gone.push_back(slots[i]);
        kept.remove(gone);
        kept.repair();
        kept.add(uniform(random, 60));
    }
    const auto entries = kept.graph().entries();
    const std::set<uint32_t> different(entries.begin(), entries.end());
    EXPECT_EQ(entries.size(), kMostEntries);
    EXPECT_GE(different.size(), kMostEntries - 4);
    EXPECT_EQ(kept.flaw(), "");
}

// Walks of a thread share what marks visited slots, whatever indexes they are of.
TEST(Visited, IsEmptyAtEachStart) {
    Random random(4);
    Visited visited;
    for (const size_t n_slots : {65536, 65536, 1000, 65536, 0, 2048, 65536, 100000, 65536}) {
        for (const size_t n_inserted : {100, 5000, 100}) {  // few are cleared one by one
            visited.start(n_slots);
            std::set<uint32_t> seen;
            for (size_t done = 0; done < n_inserted; done += 20) {
                std::vector<uint32_t> slots;
                for (size_t i = 0; i < 20; ++i) {
                    slots.push_back(uint32_t(random.below(n_slots + n_slots / 8 + 1)));
                }
                slots[17] = slots[3];
                slots[18] = kNoSlot;
                std::vector<uint32_t> fresh;
                for (size_t i = 0; i < 18; ++i) {
                    if (slots[i] < n_slots && seen.insert(slots[i]).second) {
                        fresh.push_back(slots[i]);
                    }
                }
                const auto got = visited.insert(slots.data(), slots.size());
                ASSERT_EQ(std::vector<uint32_t>(got.begin(), got.end()), fresh);
            }
        }
    }
}

TEST(Walk, PassesOverLinksThatLeadNowhere) {
    struct View {
        std::vector<uint32_t> all = {1, 4000000000u, 2, kNoSlot}, first = {0};
        size_t n_slots() const { return 3; }
        size_t degree() const { return 4; }
        std::span<const uint32_t> entries() const { return first; }
        const uint32_t* links(uint32_t) const { return all.data(); }
        void prefetch(const uint32_t*, size_t) const {}
        void distances(const uint32_t* slots, size_t n, double* out) const {
            std::copy_n(slots, n, out);
        }
        void prefetch_links(uint32_t) const {}
        bool admits(uint32_t) const { return true; }
    };
    WalkScratch scratch;
    const WalkEffort effort = {.ef = 8, .radius = -1, .most_distances = 100, .most_kept = 100};
    const WalkCounts counts = walk(View{}, effort, scratch);
    EXPECT_EQ(scratch.pool.entries().size(), 3u);
    EXPECT_EQ(counts.distances, 3u);
    EXPECT_EQ(counts.hops, 3u);
}

}  // namespace
}  // namespace nearbit
