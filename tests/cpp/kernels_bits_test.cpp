// Every kernel on bits of every table against distances counted bit by bit: equal integers, and not
// one byte touched outside the rows.
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <climits>
#include <cstring>
#include <random>
#include <tuple>
#include <type_traits>
#include <vector>

#include "fenced_bytes.h"
#include "kernels/kernels.h"

namespace nearbit {
namespace {

using Bytes = std::vector<uint8_t>;

// Rows in three clusters (near ones a few bits from their centre) and some without.
Bytes some_rows(size_t n, size_t n_bytes, uint32_t seed) {
    std::mt19937 random(seed), centres(5);
    Bytes rows(n * n_bytes);
    Bytes centre(3 * n_bytes);
    for (uint8_t& byte : centre) byte = uint8_t(centres());
    for (size_t i = 0; i < n; ++i) {
        const uint32_t kind = random() % 4;
        for (size_t b = 0; b < n_bytes; ++b) {
            uint8_t& byte = rows[i * n_bytes + b];
            if (kind == 3) {
                byte = uint8_t(random());
            } else {
                byte = centre[kind * n_bytes + b];
                if (random() % 3 == 0) byte ^= uint8_t(1u << random() % 8);
            }
        }
    }
    return rows;
}

int32_t plain_distance(const uint8_t* a, const uint8_t* b, size_t n_bytes) {
    int32_t sum = 0;
    for (size_t i = 0; i < n_bytes; ++i) sum += std::popcount(uint8_t(a[i] ^ b[i]));
    return sum;
}

struct Found {
    uint32_t query, row;
    int32_t distance;
    bool operator==(const Found&) const = default;
    bool operator<(const Found& other) const {
        return std::tie(query, distance, row) < std::tie(other.query, other.distance, other.row);
    }
};
std::ostream& operator<<(std::ostream& out, const Found& f) {
    return out << "(query " << f.query << ", row " << f.row << ", distance " << f.distance << ")";
}

// The smallest sink that the contract allows, and all that went through it.
struct Log : Sink {
    std::vector<Candidate> places = std::vector<Candidate>(kSinkRoom + 1);
    std::vector<Found> found;

    Log() {
        items = places.data();
        count = 0;
        capacity = uint32_t(places.size());
        drain = [](Sink* sink) { static_cast<Log*>(sink)->empty(); };
    }
    virtual ~Log() = default;
    virtual void empty() {
        ASSERT_LE(count, capacity);
        for (uint32_t i = 0; i < count; ++i) {
            found.push_back({items[i].query, items[i].row, int32_t(items[i].distance)});
        }
        count = 0;
    }
    std::vector<Found> sorted() {
        empty();
        std::sort(found.begin(), found.end());
        return found;
    }
};

// Queries, rows and every distance between them.
struct Problem {
    size_t n, n_bytes;
    uint32_t nq;
    Bytes rows, queries;
    std::vector<int32_t> distances;  // of query q: n from q * n
    std::vector<float> counts;       // of the rows' set bits

    Problem(size_t n_, uint32_t nq_, size_t n_bytes_, uint32_t seed = 1)
        : Problem(nq_, n_bytes_, some_rows(n_, n_bytes_, seed),
                  some_rows(nq_, n_bytes_, seed + 1000)) {}
    Problem(uint32_t nq_, size_t n_bytes_, Bytes rows_, Bytes queries_)
        : n(rows_.size() / n_bytes_),
          n_bytes(n_bytes_),
          nq(nq_),
          rows(std::move(rows_)),
          queries(std::move(queries_)) {
        const Bytes none(n_bytes);
        for (size_t i = 0; i < n; ++i) {
            counts.push_back(float(plain_distance(none.data(), &rows[i * n_bytes], n_bytes)));
        }
        for (uint32_t q = 0; q < nq; ++q) {
            for (size_t i = 0; i < n; ++i) {
                distances.push_back(
                    plain_distance(&queries[q * n_bytes], &rows[i * n_bytes], n_bytes));
            }
        }
    }

    // A threshold for each query that about one row in `per` is within.
    std::vector<int32_t> thresholds(size_t per) const {
        std::vector<int32_t> chosen;
        for (uint32_t q = 0; q < nq; ++q) {
            const auto begin = distances.begin() + ptrdiff_t(q * n);
            std::vector<int32_t> sorted(begin, begin + ptrdiff_t(n));
            std::sort(sorted.begin(), sorted.end());
            chosen.push_back(n == 0 ? 0 : sorted[n / per]);
        }
        return chosen;
    }

    // The same as limits that go with counts: in eighths, which a float holds exactly.
    std::vector<CountedLimit> counted_limits(size_t per) const {
        std::vector<CountedLimit> chosen;
        for (uint32_t q = 0; q < nq; ++q) {
            const float per_bit = float(q % 9) / 8;
            std::vector<float> sorted = {0};
            for (size_t i = 0; i < n; ++i) {
                sorted.push_back(float(distances[q * n + i]) - per_bit * counts[i]);
            }
            std::sort(sorted.begin(), sorted.end());
            chosen.push_back({std::max(0.0f, sorted[n / per]), per_bit});
        }
        return chosen;
    }

    bool within(size_t q, size_t row, int32_t threshold) const {
        return distances[q * n + row] <= threshold;
    }
    bool within(size_t q, size_t row, const CountedLimit& limit) const {
        return float(distances[q * n + row]) <= limit.base + limit.per_bit * counts[row];
    }

    template <class Limit>
    std::vector<Found> expected(uint32_t first_queries, const std::vector<Limit>& limits,
                                const uint64_t* admit = nullptr) const {
        std::vector<Found> all;
        for (uint32_t q = 0; q < first_queries; ++q) {
            for (uint32_t i = 0; i < n; ++i) {
                const bool admitted = admit == nullptr || (admit[i / 64] >> (i % 64) & 1) != 0;
                if (within(q, i, limits[q]) && admitted) {
                    all.push_back({q, i, distances[q * n + i]});
                }
            }
        }
        std::sort(all.begin(), all.end());
        return all;
    }
};

void scan(const BitsKernels& kernels, const uint8_t* query, size_t n_bytes, const BitsBlock& block,
          const int32_t* threshold, Sink* sink) {
    kernels.scan(query, n_bytes, block, threshold, sink);
}

void tile(const BitsKernels& kernels, const uint8_t* queries, uint32_t nq, size_t n_bytes,
          const BitsBlock& block, const int32_t* thresholds, Sink* sink) {
    const size_t size = kernels.tile_workspace(nq, n_bytes);
    ASSERT_LE(size, size_t(16) << 20);
    FencedBytes workspace((size + 63) / 64 * 64, FencedBytes::kEndsAtFence, 64);
    std::memset(workspace.data(), 0xa5, size);
    FencedBytes packed(kernels.packed_size(nq, n_bytes), FencedBytes::kEndsAtFence);
    kernels.pack_queries(queries, nq, n_bytes, packed.data());
    kernels.tile(queries, packed.data(), nq, n_bytes, block, thresholds, workspace.data(), sink);
}

void scan(const BitsKernels& kernels, const uint8_t* query, size_t n_bytes, const BitsBlock& block,
          const CountedLimit* limit, Sink* sink) {
    kernels.scan_counted(query, n_bytes, block, limit, sink);
}

void tile(const BitsKernels& kernels, const uint8_t* queries, uint32_t nq, size_t n_bytes,
          const BitsBlock& block, const CountedLimit* limits, Sink* sink) {
    kernels.tile_counted(queries, nq, n_bytes, block, limits, sink);
}

// A fenced copy of a problem's rows and their counts.
struct FencedRows {
    FencedBytes rows, counts;

    FencedRows(const Problem& problem, FencedBytes::Side side)
        : rows(problem.rows.size(), side), counts(4 * problem.n, side) {
        std::copy(problem.rows.begin(), problem.rows.end(), rows.data());
        std::copy(problem.counts.begin(), problem.counts.end(),
                  reinterpret_cast<float*>(counts.data()));
    }
    BitsBlock block(const Problem& problem, const uint64_t* admit) {
        return {rows.data(), admit, uint32_t(problem.n),
                reinterpret_cast<const float*>(counts.data())};
    }
};

class BitsKernelsTest : public testing::TestWithParam<const Kernels*> {
  protected:
    const BitsKernels& kernels() const { return GetParam()->bits; }

    // One query at a time, or the first nq together, over fenced copies of the rows.
    template <class Limit>
    void expect_scans(const Problem& problem, const std::vector<Limit>& limits,
                      const uint64_t* admit = nullptr) {
        for (const auto side : {FencedBytes::kEndsAtFence, FencedBytes::kBeginsAtFence}) {
            FencedRows rows(problem, side);
            FencedBytes query(problem.n_bytes, side);
            const BitsBlock block = rows.block(problem, admit);
            std::vector<Found> found;
            for (uint32_t q = 0; q < problem.nq; ++q) {
                std::memcpy(query.data(), &problem.queries[q * problem.n_bytes], problem.n_bytes);
                Log log;
                scan(kernels(), query.data(), problem.n_bytes, block, &limits[q], &log);
                for (Found f : log.sorted()) found.push_back({q, f.row, f.distance});
            }
            ASSERT_EQ(found, problem.expected(problem.nq, limits, admit));
        }
    }

    template <class Limit>
    void expect_tile(const Problem& problem, uint32_t nq, const std::vector<Limit>& limits,
                     const uint64_t* admit = nullptr) {
        for (const auto side : {FencedBytes::kEndsAtFence, FencedBytes::kBeginsAtFence}) {
            FencedRows rows(problem, side);
            FencedBytes queries(nq * problem.n_bytes, side);
            std::memcpy(queries.data(), problem.queries.data(), nq * problem.n_bytes);
            const BitsBlock block = rows.block(problem, admit);
            Log log;
            tile(kernels(), queries.data(), nq, problem.n_bytes, block, limits.data(), &log);
            ASSERT_EQ(log.sorted(), problem.expected(nq, limits, admit));
        }
    }
};

constexpr size_t kRowCounts[] = {0, 1, 2, 15, 16, 17, 31, 33, 64, 255, 256, 257, 1000};
constexpr uint32_t kQueryCounts[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 31, 32, 33, 40, 100};

std::vector<size_t> lengths() {
    std::vector<size_t> all;
    for (size_t n_bytes = 1; n_bytes <= 131; ++n_bytes) all.push_back(n_bytes);
    for (const size_t n_bytes : {160, 192, 255, 256, 257, 511, 512, 1000, 1024}) {
        all.push_back(n_bytes);
    }
    return all;
}

TEST_P(BitsKernelsTest, GatherAnswersForChosenRows) {
    for (const size_t n_bytes : lengths()) {
        SCOPED_TRACE(n_bytes);
        const Problem problem(41, 1, n_bytes, uint32_t(n_bytes));
        std::mt19937 random(3);
        std::vector<uint32_t> which(57);
        for (uint32_t& row : which) row = uint32_t(random() % problem.n);
        which.back() = uint32_t(problem.n - 1);
        for (const auto side : {FencedBytes::kEndsAtFence, FencedBytes::kBeginsAtFence}) {
            FencedBytes rows(problem.rows.size(), side), query(n_bytes, side);
            std::copy(problem.rows.begin(), problem.rows.end(), rows.data());
            std::copy(problem.queries.begin(), problem.queries.end(), query.data());
            std::vector<uint32_t> chosen(which.size()), all(problem.n);
            kernels().gather(query.data(), n_bytes, rows.data(), which.data(), which.size(),
                             chosen.data());
            kernels().gather(query.data(), n_bytes, rows.data(), nullptr, problem.n, all.data());
            for (size_t i = 0; i < which.size(); ++i) {
                ASSERT_EQ(int32_t(chosen[i]), problem.distances[which[i]]) << "row " << which[i];
            }
            for (size_t i = 0; i < problem.n; ++i) {
                ASSERT_EQ(int32_t(all[i]), problem.distances[i]) << "row " << i;
            }
            std::vector<const uint8_t*> places;
            for (const uint32_t row : which) places.push_back(rows.data() + row * n_bytes);
            std::vector<uint32_t> lone(which.size());
            kernels().gather_at(query.data(), n_bytes, places.data(), which.size(), lone.data());
            ASSERT_EQ(lone, chosen);
        }
    }
}

TEST_P(BitsKernelsTest, ScanFindsRowsOfEveryLength) {
    for (const size_t n_bytes : lengths()) {
        SCOPED_TRACE(n_bytes);
        const Problem problem(71, 9, n_bytes, uint32_t(n_bytes));
        expect_scans(problem, problem.thresholds(4));
        expect_scans(problem, problem.counted_limits(4));
        expect_scans(problem, std::vector<int32_t>(9, INT32_MAX));
    }
}

TEST_P(BitsKernelsTest, ScanFindsRowsInBlocksOfEverySize) {
    for (const size_t n_bytes : {1, 8, 13, 16, 32, 48, 64, 100, 128, 256}) {
        for (const size_t n : kRowCounts) {
            SCOPED_TRACE(testing::Message() << n_bytes << " bytes, " << n << " rows");
            const Problem problem(n, 2, n_bytes, uint32_t(n));
            expect_scans(problem, problem.thresholds(20));
            expect_scans(problem, problem.counted_limits(20));
            expect_scans(problem, std::vector<int32_t>(2, INT32_MAX));
        }
    }
}

TEST_P(BitsKernelsTest, TileFindsRowsOfEveryLength) {
    for (const size_t n_bytes : lengths()) {
        const size_t n = kRowCounts[n_bytes % std::size(kRowCounts)];
        const Problem problem(n, 40, n_bytes, uint32_t(n_bytes));
        for (const uint32_t nq : {2, 9, 40}) {
            SCOPED_TRACE(testing::Message()
                         << n_bytes << " bytes, " << n << " rows, " << nq << " queries");
            expect_tile(problem, nq, problem.thresholds(5));
            expect_tile(problem, nq, problem.counted_limits(5));
        }
    }
}

TEST_P(BitsKernelsTest, TileFindsRowsInBlocksOfEverySizeForAnyNumberOfQueries) {
    for (const size_t n_bytes : {4, 16, 32, 40, 64, 256}) {
        for (const size_t n : kRowCounts) {
            const Problem problem(n, 100, n_bytes, uint32_t(n));
            for (const uint32_t nq : kQueryCounts) {
                SCOPED_TRACE(testing::Message()
                             << n_bytes << " bytes, " << n << " rows, " << nq << " queries");
                expect_tile(problem, nq, problem.thresholds(10));
                expect_tile(problem, nq, problem.counted_limits(10));
            }
        }
    }
}

TEST_P(BitsKernelsTest, ManyQueriesAreServedInGroups) {
    const Problem problem(130, 3000, 40);
    expect_tile(problem, problem.nq, problem.thresholds(9));
}

TEST_P(BitsKernelsTest, NothingNeedsAlignment) {
    for (const size_t n_bytes : {8, 16, 20, 32, 50, 64}) {
        const Problem problem(270, 40, n_bytes);
        const std::vector<int32_t> thresholds = problem.thresholds(10);
        const std::vector<CountedLimit> limits = problem.counted_limits(10);
        alignas(64) uint8_t rows[64 * 270 + 32], queries[64 * 40 + 32];
        for (size_t shift = 0; shift < 32; ++shift) {
            SCOPED_TRACE(testing::Message() << n_bytes << " bytes, shifted by " << shift);
            uint8_t* const query = queries + 31 - shift;
            std::copy(problem.rows.begin(), problem.rows.end(), rows + shift);
            std::copy(problem.queries.begin(), problem.queries.end(), query);
            const BitsBlock block = {rows + shift, nullptr, uint32_t(problem.n),
                                     problem.counts.data()};
            Log one, few, many, counted;
            scan(kernels(), query, n_bytes, block, &thresholds[0], &one);
            tile(kernels(), query, 8, n_bytes, block, thresholds.data(), &few);
            tile(kernels(), query, 40, n_bytes, block, thresholds.data(), &many);
            tile(kernels(), query, 9, n_bytes, block, limits.data(), &counted);
            ASSERT_EQ(one.sorted(), problem.expected(1, thresholds));
            ASSERT_EQ(few.sorted(), problem.expected(8, thresholds));
            ASSERT_EQ(many.sorted(), problem.expected(40, thresholds));
            ASSERT_EQ(counted.sorted(), problem.expected(9, limits));
        }
    }
}

TEST_P(BitsKernelsTest, OnlyAdmittedRowsAreReported) {
    for (const size_t n_bytes : {5, 8, 16, 32, 44, 64}) {
        for (const size_t n : {1, 63, 65, 257, 1000}) {
            SCOPED_TRACE(testing::Message() << n_bytes << " bytes, " << n << " rows");
            const Problem problem(n, 40, n_bytes);
            std::mt19937_64 random(9);
            std::vector<uint64_t> half(n / 64 + 1), few(half.size()), none(half.size());
            for (uint64_t& word : half) word = random();
            for (uint64_t& word : few) word = random() & random() & random() & random() & random();
            for (const auto* mask : {&half, &few, &none}) {
                expect_scans(problem, problem.thresholds(3), mask->data());
                expect_scans(problem, problem.counted_limits(3), mask->data());
                for (const uint32_t nq : {2, 8, 40}) {
                    expect_tile(problem, nq, problem.thresholds(3), mask->data());
                    expect_tile(problem, nq, problem.counted_limits(3), mask->data());
                }
            }
        }
    }
}

TEST_P(BitsKernelsTest, ThresholdsAreInclusiveAndMayBeAnything) {
    for (const size_t n_bytes : {3, 8, 16, 32, 33, 64}) {
        Problem problem(300, 40, n_bytes);
        const int32_t bits = int32_t(8 * n_bytes);
        const std::vector<int32_t> values = {
            INT32_MIN, -1,  0,   1,     2,     bits / 2 - 1, bits / 2, bits / 2 + 1, bits - 1, bits,
            bits + 1,  255, 256, 32766, 32767, 32768,        65535,    65536,        INT32_MAX};
        std::vector<int32_t> mixed(problem.nq);
        for (size_t q = 0; q < mixed.size(); ++q) mixed[q] = values[q % values.size()];
        expect_scans(problem, mixed);
        for (const uint32_t nq : {2, 8, 19, 40}) expect_tile(problem, nq, mixed);
        for (const int32_t value : values) {
            SCOPED_TRACE(testing::Message() << n_bytes << " bytes, threshold " << value);
            const std::vector<int32_t> same(problem.nq, value);
            expect_tile(problem, 8, same);
            expect_tile(problem, 40, same);
        }
    }
}

TEST_P(BitsKernelsTest, ExtremeRowsAreCountedInFull) {
    for (const size_t n_bytes : {1, 16, 31, 32, 64, 255, 256, 992, 1024, 4095, 4096, 5000, 9000}) {
        SCOPED_TRACE(n_bytes);
        const size_t n = 40;
        Bytes rows(n * n_bytes), queries(40 * n_bytes);
        for (size_t i = 0; i < n; ++i) {
            const uint8_t byte = i % 3 == 0 ? 0x00 : i % 3 == 1 ? 0xff : 0x5a;
            std::fill_n(rows.begin() + ptrdiff_t(i * n_bytes), n_bytes, byte);
        }
        for (size_t q = 0; q < 40; ++q) {
            const uint8_t byte = q % 2 == 0 ? 0x00 : 0xff;
            std::fill_n(queries.begin() + ptrdiff_t(q * n_bytes), n_bytes, byte);
        }
        const Problem problem(40, n_bytes, std::move(rows), std::move(queries));
        ASSERT_EQ(*std::max_element(problem.distances.begin(), problem.distances.end()),
                  int32_t(8 * n_bytes));
        const int32_t bits = int32_t(8 * n_bytes);
        for (const int32_t threshold : {0, bits / 2, bits - 1, bits, INT32_MAX}) {
            SCOPED_TRACE(threshold);
            const std::vector<int32_t> same(problem.nq, threshold);
            expect_scans(problem, same);
            for (const uint32_t nq : {2, 8, 40}) expect_tile(problem, nq, same);
            for (const float per_bit : {0.0f, 0.5f, 1.0f}) {
                const CountedLimit limit = {float(std::min(threshold, bits)), per_bit};
                const std::vector<CountedLimit> counted(problem.nq, limit);
                expect_scans(problem, counted);
                expect_tile(problem, 2, counted);
            }
        }
    }
}

TEST_P(BitsKernelsTest, LongRowsGoThroughEveryKernel) {
    for (const size_t n_bytes : {4095, 4097, 5000, 9000}) {
        SCOPED_TRACE(n_bytes);
        const Problem problem(67, 33, n_bytes);
        expect_scans(problem, problem.thresholds(3));
        expect_scans(problem, problem.counted_limits(3));
        for (const uint32_t nq : {2, 8, 33}) {
            expect_tile(problem, nq, problem.thresholds(3));
            expect_tile(problem, nq, problem.counted_limits(3));
        }
        std::vector<uint32_t> d(problem.n);
        kernels().gather(problem.queries.data(), n_bytes, problem.rows.data(), nullptr, problem.n,
                         d.data());
        for (size_t i = 0; i < problem.n; ++i) ASSERT_EQ(int32_t(d[i]), problem.distances[i]);
    }
}

// A collector that does what a search does: keeps the k best of each query and lowers its
// threshold.
template <class Limit>
struct BestK : Log {
    size_t k;
    std::vector<Limit> thresholds;
    std::vector<std::vector<Found>> best;

    BestK(size_t k_, uint32_t nq) : k(k_), thresholds(nq, limit(1 << 24)), best(nq) {}
    static Limit limit(int32_t distance) {
        if constexpr (std::is_same_v<Limit, CountedLimit>) {
            return {float(distance), 0};
        } else {
            return distance;
        }
    }
    void empty() override {
        for (uint32_t i = 0; i < count; ++i) {
            std::vector<Found>& kept = best[items[i].query];
            const Found hit = {items[i].query, items[i].row, int32_t(items[i].distance)};
            kept.insert(std::upper_bound(kept.begin(), kept.end(), hit), hit);
            if (kept.size() > k) kept.pop_back();
            if (kept.size() == k) thresholds[items[i].query] = limit(kept.back().distance);
        }
        count = 0;
    }
};

template <class Limit>
void expect_best(const BitsKernels& kernels, const Problem& problem, size_t k) {
    const BitsBlock block = {problem.rows.data(), nullptr, uint32_t(problem.n),
                             problem.counts.data()};
    BestK<Limit> together(k, problem.nq);
    tile(kernels, problem.queries.data(), problem.nq, problem.n_bytes, block,
         together.thresholds.data(), &together);
    together.empty();
    const std::vector<int32_t> everything(problem.nq, INT32_MAX);
    const std::vector<Found> all = problem.expected(problem.nq, everything);
    for (uint32_t q = 0; q < problem.nq; ++q) {
        BestK<Limit> alone(k, 1);
        scan(kernels, &problem.queries[q * problem.n_bytes], problem.n_bytes, block,
             alone.thresholds.data(), &alone);
        alone.empty();
        for (Found& f : alone.best[0]) f.query = q;
        const auto begin = all.begin() + ptrdiff_t(q * problem.n);
        const std::vector<Found> want(begin, begin + ptrdiff_t(k));
        ASSERT_EQ(alone.best[0], want);
        ASSERT_EQ(together.best[q], want);
    }
}

TEST_P(BitsKernelsTest, LoweringThresholdsInDrainKeepsTheBestExactly) {
    for (const size_t n_bytes : {2, 8, 16, 32, 64, 100}) {
        for (const size_t k : {1, 10, 100}) {
            for (const uint32_t nq : {1, 2, 8, 33}) {
                SCOPED_TRACE(testing::Message()
                             << n_bytes << " bytes, k " << k << ", " << nq << " queries");
                const Problem problem(1500, nq, n_bytes);
                expect_best<int32_t>(kernels(), problem, k);
                expect_best<CountedLimit>(kernels(), problem, k);
            }
        }
    }
}

TEST_P(BitsKernelsTest, WorkspaceStaysSmall) {
    for (const uint32_t nq : {1u, 2u, 33u, 1000u, 65536u}) {
        for (size_t n_bytes = 1; n_bytes <= size_t(1) << 21; n_bytes = n_bytes * 3 / 2 + 1) {
            EXPECT_LE(kernels().tile_workspace(nq, n_bytes), size_t(16) << 20)
                << nq << " queries of " << n_bytes << " bytes";
        }
    }
}

std::vector<const Kernels*> tables() {
    const Kernels* const* first = nullptr;
    const size_t n = runnable_kernels(&first);
    return std::vector<const Kernels*>(first, first + n);
}

INSTANTIATE_TEST_SUITE_P(EveryTable, BitsKernelsTest, testing::ValuesIn(tables()),
                         [](const testing::TestParamInfo<const Kernels*>& table) {
                             return std::string(table.param->isa);
                         });

}  // namespace
}  // namespace nearbit
