// Every kernel on compact codes of every table against sums and distances by the book.
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <numeric>
#include <random>
#include <set>
#include <utility>
#include <vector>

#include "codecs/groups.h"
#include "fenced_bytes.h"
#include "kernels/kernels.h"

namespace nearbit {
namespace {

using Bytes = std::vector<uint8_t>;
using Random = std::mt19937;

// From about 0.5 to 8, all codes of a byte apart; two bytes are finer.
constexpr SmallFloat kByteScale = {0x3f000000, 0x00020000};
constexpr SmallFloat kWordScale = {0x3f000000, 0x00000200};
constexpr SmallFloat kByteNorm = {0x44000000, 0x00010000};
constexpr SmallFloat kWordNorm = {0x44000000, 0x00000100};
// From 0.5 to 128, a power of two every 8,192 codes.
constexpr SmallFloat kWideWord = {0x3f000000, 0x00000400};

CodeFactors factors_of(uint8_t scale_bytes, uint8_t norm_bytes) {
    return {scale_bytes == 2 ? kWordScale : kByteScale, norm_bytes == 2 ? kWordNorm : kByteNorm,
            scale_bytes, norm_bytes};
}

double decoded(const SmallFloat& kind, const uint8_t* at, uint8_t n_bytes, double of_none) {
    if (n_bytes == 0) return of_none;
    const uint32_t code = n_bytes == 2 ? at[0] | uint32_t(at[1]) << 8 : at[0];
    return code == 0 ? 0 : double(std::bit_cast<float>(kind.base + (code - 1) * kind.step));
}

// The smallest sink that the contract allows, and all that went through it.
struct Log : Sink {
    std::vector<Candidate> places = std::vector<Candidate>(kSinkRoom + 1);
    std::vector<Candidate> found;

    Log() {
        items = places.data();
        count = 0;
        capacity = uint32_t(places.size());
        drain = [](Sink* sink) { static_cast<Log*>(sink)->empty(); };
    }
    virtual ~Log() = default;
    virtual void empty() {
        ASSERT_LE(count, capacity);
        found.insert(found.end(), items, items + count);
        count = 0;
    }
};

// What a test varies.
struct Shape {
    size_t n;
    uint32_t nq;
    size_t n_bytes;         // that the query reads
    size_t before, behind;  // bytes of the payload that it doesn't
    uint8_t scale_bytes, norm_bytes;
    uint32_t most;  // that a byte adds, by nibble tables
    bool byte_tables;
    uint32_t seed;
    std::vector<uint32_t> finer = {};  // planes behind the first: bytes of each
    size_t split = 0;                  // bytes of a plane that count in full; 0: all
    bool zeros = true;                 // among factors
    float times = 1;                   // what gains and offsets are made of
};

std::ostream& operator<<(std::ostream& out, const Shape& s) {
    return out << "n " << s.n << ", queries " << s.nq << ", bytes " << s.before << "+" << s.n_bytes
               << "+" << s.behind << ", factors " << int(s.scale_bytes) << "+" << int(s.norm_bytes)
               << ", entries to " << s.most << (s.byte_tables ? ", byte tables" : "") << ", "
               << s.finer.size() << " finer planes split at " << s.split;
}

// Codes in groups, queries, and every distance between them in double.
struct Problem {
    Shape shape;
    CodeFactors factors;
    size_t code_bytes;
    FencedBytes groups, tables;
    std::vector<float> gain, offset, rest;
    std::vector<double> distances, errors;  // of query q: n from q * n

    explicit Problem(const Shape& s) : Problem(s, factors_of(s.scale_bytes, s.norm_bytes)) {}

    Problem(const Shape& s, const CodeFactors& factors_)
        : shape(s),
          factors(factors_),
          code_bytes(s.scale_bytes + s.norm_bytes + s.before + s.n_bytes +
                     std::accumulate(s.finer.begin(), s.finer.end(), s.behind)),
          groups(groups_for(s.n) * group_size(code_bytes), FencedBytes::kEndsAtFence, 32),
          tables(s.nq * stride(), FencedBytes::kEndsAtFence, s.byte_tables ? 64 : 1) {
        Random random(s.seed);
        // The items behind the last hold anything too.
        const size_t n_in_groups = groups_for(s.n) * kGroupLanes;
        Bytes codes(n_in_groups * code_bytes);
        for (uint8_t& byte : codes) byte = random() % 16 == 0 ? 0 : uint8_t(random());
        for (size_t i = 0; i < n_in_groups; ++i) {
            const auto of_item = codes.begin() + ptrdiff_t(i * code_bytes);
            if (s.zeros && i % 7 == 3) {
                std::fill_n(of_item, s.scale_bytes + s.norm_bytes, uint8_t(0));
            }
            for (uint32_t j = 0; !s.zeros && j < s.scale_bytes + s.norm_bytes; ++j) {
                of_item[j] = std::max(uint8_t(1), of_item[j]);
            }
            put_lane(group(i), code_bytes, i % kGroupLanes, &codes[i * code_bytes]);
        }
        fill_tables(random);
        for (uint32_t q = 0; q < s.nq; ++q) {
            gain.push_back(s.times * (0.25f + float(random() % 64) / 256));
            offset.push_back(s.times * (float(random() % 1000) - 500));
            rest.push_back(float(random() % 256) / 255);
            for (size_t i = 0; i < s.n; ++i) measure(q, &codes[i * code_bytes]);
        }
    }

    size_t stride() const { return shape.n_bytes * (shape.byte_tables ? 256 : 32); }
    const uint8_t* tables_of(uint32_t q) { return tables.data() + q * stride(); }
    uint8_t* group(size_t i) { return groups.data() + i / kGroupLanes * group_size(code_bytes); }

    void fill_tables(Random& random) {
        const size_t entries = shape.nq * stride();
        uint32_t most = shape.most;
        for (size_t e = 0; e < entries; ++e) {
            if (!shape.byte_tables && e % 32 == 0) most = random() % (shape.most + 1);
            if (!shape.byte_tables && e % 32 == 16) most = shape.most - most;
            // Every third query has the largest entry only.
            const bool largest = e / stride() % 3 == 2;
            tables.data()[e] = uint8_t(largest ? most : random() % (most + 1));
        }
    }

    int64_t sum_of(uint32_t q, const uint8_t* bytes, size_t n_bytes) {
        int64_t sum = 0;
        for (size_t b = 0; b < n_bytes; ++b) {
            if (shape.byte_tables) {
                sum += tables_of(q)[256 * b + bytes[b]];
            } else {
                const uint8_t* table = tables_of(q) + 32 * b;
                sum += table[bytes[b] & 15] + table[16 + (bytes[b] >> 4)];
            }
        }
        return sum;
    }

    double plane_sum(uint32_t q, const uint8_t* plane, size_t n_bytes) {
        const size_t split = shape.split == 0 ? n_bytes : std::min(n_bytes, shape.split);
        const auto first = double(sum_of(q, plane, split));
        return first + double(rest[q]) * (double(sum_of(q, plane, n_bytes)) - first);
    }

    void measure(uint32_t q, const uint8_t* code) {
        const uint8_t* payload = code + shape.scale_bytes + shape.norm_bytes + shape.before;
        double sum = plane_sum(q, payload, shape.n_bytes);
        payload += shape.n_bytes;
        for (size_t l = 0; l < shape.finer.size(); ++l) {
            sum += std::ldexp(plane_sum(q, payload, shape.finer[l]), -int(l) - 1);
            payload += shape.finer[l];
        }
        const double scale = decoded(factors.scale, code, shape.scale_bytes, 1);
        const double norm = decoded(factors.norm, code + shape.scale_bytes, shape.norm_bytes, 0);
        const double product = double(gain[q]) * sum, off = double(offset[q]);
        distances.push_back(norm - scale * (product + off));
        errors.push_back(1e-6 * (norm + scale * (std::abs(product) + std::abs(off))));
    }

    CodesBlock block(const uint64_t* admit = nullptr) {
        const bool from_memory = shape.seed % 2 != 0;
        return {groups.data(), code_bytes, factors, admit, uint32_t(shape.n), from_memory};
    }

    // A bound for each query that about one row in `per` is within.
    std::vector<float> bounds(size_t per) const {
        std::vector<float> chosen;
        for (uint32_t q = 0; q < shape.nq; ++q) {
            const auto begin = distances.begin() + ptrdiff_t(q * shape.n);
            std::vector<double> sorted(begin, begin + ptrdiff_t(shape.n));
            std::sort(sorted.begin(), sorted.end());
            chosen.push_back(shape.n == 0 ? 0 : float(sorted[shape.n / per]));
        }
        return chosen;
    }

    // With `single`, the scan of each query; else the tile.
    void run(const CodesKernels& kernels, const uint64_t* admit, const float* bound, bool single,
             Log& log) {
        const CodesBlock codes = block(admit);
        const FinerPlanes finer = {shape.finer.data(), uint32_t(shape.finer.size()), shape.split};
        if (!single && shape.byte_tables) {
            kernels.byte_tile({tables.data(), stride(), shape.n_bytes, shape.before, gain.data(),
                               offset.data(), bound, shape.nq},
                              codes, &log);
        } else if (!single) {
            kernels.nibble_tile({tables.data(), stride(), shape.n_bytes, shape.before, gain.data(),
                                 offset.data(), bound, shape.nq, finer, rest.data()},
                                codes, &log);
        } else {
            for (uint32_t q = 0; q < shape.nq; ++q) {
                const size_t known = log.found.size();
                if (shape.byte_tables) {
                    kernels.byte_scan(
                        {tables_of(q), shape.n_bytes, shape.before, gain[q], offset[q]}, codes,
                        bound + q, &log);
                } else {
                    kernels.nibble_scan({tables.data() + q * stride(), shape.n_bytes, shape.before,
                                         gain[q], offset[q], finer, rest[q]},
                                        codes, bound + q, &log);
                }
                log.Log::empty();
                for (size_t i = known; i < log.found.size(); ++i) {
                    EXPECT_EQ(log.found[i].query, 0u);
                    log.found[i].query = q;
                }
            }
        }
        log.empty();
    }

    // Whether what was reported is what is within the bounds.
    void check(const std::vector<Candidate>& found, const uint64_t* admit,
               const std::vector<float>& bound) {
        std::vector<int> times(shape.nq * shape.n);
        for (const Candidate& c : found) {
            ASSERT_LT(c.query, shape.nq);
            ASSERT_LT(c.row, shape.n);
            ++times[c.query * shape.n + c.row];
        }
        for (uint32_t q = 0; q < shape.nq; ++q) {
            for (size_t i = 0; i < shape.n; ++i) {
                const size_t at = q * shape.n + i;
                const bool may = admit == nullptr || (admit[i / 64] >> (i % 64) & 1);
                ASSERT_LE(times[at], may ? 1 : 0) << shape << ": query " << q << ", row " << i;
                if (!may || std::abs(distances[at] - double(bound[q])) <= errors[at]) continue;
                ASSERT_EQ(times[at] == 1, distances[at] <= double(bound[q]))
                    << shape << ": query " << q << ", row " << i << ", distance " << distances[at]
                    << ", bound " << bound[q];
            }
        }
    }
};

std::vector<const Kernels*> tables() {
    const Kernels* const* begin;
    const size_t n = runnable_kernels(&begin);
    return {begin, begin + n};
}

// Some rows, no row of a group, whole groups.
std::vector<uint64_t> some_admitted(size_t n, uint32_t seed) {
    Random random(seed);
    std::vector<uint64_t> admit(n / 64 + 1);
    for (size_t g = 0; g < 2 * admit.size(); ++g) {
        const uint32_t kind = random() % 4;
        const uint32_t lanes = kind == 0 ? 0 : kind == 1 ? ~0u : uint32_t(random());
        admit[g / 2] |= uint64_t(lanes) << (32 * (g & 1));
    }
    return admit;
}

void expect_right(const Shape& shape) {
    Problem problem(shape);
    const std::vector<uint64_t> admit = some_admitted(shape.n, shape.seed);
    for (const Kernels* table : tables()) {
        SCOPED_TRACE(table->isa);
        for (const size_t per : {2, 50}) {
            const std::vector<float> bound = problem.bounds(per);
            for (const bool single : {true, false}) {
                for (const uint64_t* mask : {static_cast<const uint64_t*>(nullptr), admit.data()}) {
                    Log log;
                    problem.run(table->codes, mask, bound.data(), single, log);
                    problem.check(log.found, mask, bound);
                    if (testing::Test::HasFatalFailure()) return;
                }
            }
        }
    }
}

TEST(CodesKernels, EveryNumberOfRowsUpTo140) {
    for (size_t n = 0; n <= 140; ++n) {
        expect_right({n, 3, 5, 0, 0, 1, 0, 255, false, uint32_t(n)});
        expect_right({n, 2, 4, 0, 0, 1, 2, 127, false, uint32_t(n)});
        expect_right({n, 2, 3, 0, 0, 2, 2, 255, true, uint32_t(n)});
    }
}

TEST(CodesKernels, EveryNumberOfBytes) {
    std::vector<size_t> lengths;
    for (size_t n_bytes = 1; n_bytes <= 70; ++n_bytes) lengths.push_back(n_bytes);
    for (const size_t n_bytes : {96, 126, 127, 128, 129, 130, 191, 255, 256, 257, 384, 2000})
        lengths.push_back(n_bytes);
    for (const size_t n_bytes : lengths) {
        expect_right({77, 5, n_bytes, 0, 0, 1, 2, 255, false, 1});
        expect_right({200, 3, n_bytes, 0, 0, 2, 0, 127, false, 2});
        expect_right({45, 2, n_bytes, 0, 0, 1, 0, 255, true, 3});
    }
}

// A group is judged by what its factors can be at most and at least: the nearest row is found by a
// bound hardly above its distance.
TEST(CodesKernels, ARowAtItsBoundIsFound) {
    const std::vector<float> times = {1, 0, 0x1p-20f, 0x1p12f, 0x1p90f};
    for (uint32_t seed = 0; seed < 2400; ++seed) {
        Shape shape = {32,
                       3,
                       1 + seed % 40,
                       0,
                       0,
                       uint8_t(seed % 3),
                       uint8_t(seed / 3 % 3),
                       255,
                       seed % 5 == 4,
                       seed};
        shape.zeros = false;
        shape.times = times[seed / 9 % times.size()];
        CodeFactors factors = factors_of(shape.scale_bytes, shape.norm_bytes);
        if (seed % 4 > 1 && shape.norm_bytes == 2) factors.norm = kWideWord;
        if (seed % 4 == 3 && shape.scale_bytes == 2) factors.scale = kWideWord;
        Problem problem(shape, factors);
        std::vector<float> bound;
        for (uint32_t q = 0; q < shape.nq; ++q) {
            const auto begin = problem.distances.begin() + ptrdiff_t(q * shape.n);
            const auto nearest = std::min_element(begin, begin + ptrdiff_t(shape.n));
            const double error = problem.errors[size_t(nearest - problem.distances.begin())];
            bound.push_back(float(*nearest + 4 * error));
        }
        for (const Kernels* table : tables()) {
            SCOPED_TRACE(table->isa);
            for (const bool single : {true, false}) {
                Log log;
                problem.run(table->codes, nullptr, bound.data(), single, log);
                problem.check(log.found, nullptr, bound);
                if (testing::Test::HasFatalFailure()) return;
            }
        }
    }
}

TEST(CodesKernels, FinerPlanesExcludeWhatTheFirstDoesNot) {
    const std::vector<std::vector<uint32_t>> planes = {
        {1}, {48}, {48, 48, 48}, {40, 7, 7, 1, 0, 0}, {130, 129}, {300, 300, 2, 2, 2, 2, 2}};
    for (const std::vector<uint32_t>& finer : planes) {
        for (const size_t n : {1, 31, 140, 500}) {
            for (const uint32_t nq : {1, 3, 14}) {
                expect_right({n, nq, finer[0], 0, 0, 1, 0, 255, false, 1, finer});
                expect_right({n, nq, finer[0] + 2, 1, 2, 2, 2, 255, false, 2, finer});
            }
        }
    }
}

TEST(CodesKernels, BytesBehindTheSplitCountLess) {
    const std::vector<std::vector<uint32_t>> planes = {
        {48, 40, 9}, {40, 7, 7, 1, 0, 0}, {300, 140}};
    for (const std::vector<uint32_t>& finer : planes) {
        for (const size_t split : {1, 7, 8, 40, 130}) {
            for (const uint32_t nq : {1, 3, 14}) {
                expect_right({140, nq, finer[0] + 2, 1, 2, 2, 2, 255, false, 1, finer, split});
            }
        }
    }
}

TEST(CodesKernels, TheLongestCodes) {
    expect_right({33, 3, 65536, 0, 0, 1, 0, 255, true, 1});
    expect_right({40, 3, 32768, 0, 0, 1, 0, 255, false, 1});
    expect_right({40, 3, 32768, 0, 0, 1, 0, 127, false, 1});
}

TEST(CodesKernels, EveryLayoutOfFactors) {
    for (const uint8_t scale_bytes : {0, 1, 2}) {
        for (const uint8_t norm_bytes : {0, 1, 2}) {
            expect_right({99, 3, 16, 0, 0, scale_bytes, norm_bytes, 255, false, 5});
            expect_right({99, 3, 8, 1, 2, scale_bytes, norm_bytes, 127, false, 6});
            expect_right({99, 3, 4, 2, 1, scale_bytes, norm_bytes, 0, true, 7});
        }
    }
}

TEST(CodesKernels, EveryNumberOfQueries) {
    for (uint32_t nq = 1; nq <= 13; ++nq) {
        for (const size_t n : {70, 257, 3000}) {
            expect_right({n, nq, 16, 0, 0, 1, 0, 255, false, nq});
            expect_right({n, nq, 24, 3, 0, 1, 0, 127, false, nq});
            expect_right({n, nq, 2, 0, 0, 1, 2, 255, true, nq});
        }
    }
    expect_right({20000, 6, 48, 0, 0, 1, 2, 255, false, 9});
}

TEST(CodesKernels, ABoundThatEverythingIsWithin) {
    for (const bool byte_tables : {false, true}) {
        Problem problem({500, 3, 7, 0, 0, 1, 2, 255, byte_tables, 1});
        const std::vector<float> bound(3, INFINITY);
        for (const Kernels* table : tables()) {
            for (const bool single : {true, false}) {
                Log log;
                problem.run(table->codes, nullptr, bound.data(), single, log);
                problem.check(log.found, nullptr, bound);
            }
        }
    }
}

TEST(CodesKernels, ABoundThatNothingIsWithin) {
    for (const bool byte_tables : {false, true}) {
        Problem problem({500, 3, 7, 0, 0, 1, 2, 255, byte_tables, 1});
        const std::vector<float> bound(3, -INFINITY);
        for (const Kernels* table : tables()) {
            for (const bool single : {true, false}) {
                Log log;
                problem.run(table->codes, nullptr, bound.data(), single, log);
                EXPECT_TRUE(log.found.empty()) << table->isa;
            }
        }
    }
}

// Lowers all queries' bounds when it has been drained for the first time. It has room for what
// comes after, so that not every report makes room.
struct LoweringLog : Log {
    std::vector<float>* bound;
    const std::vector<float>* lower;
    size_t before = 0;  // found by the bounds that fell

    LoweringLog() {
        places.resize(8 * kSinkRoom);
        items = places.data();
        capacity = uint32_t(places.size());
    }
    void empty() override {
        Log::empty();
        if (before != 0 || found.empty()) return;
        before = found.size();
        *bound = *lower;
    }
};

TEST(CodesKernels, BoundsThatFallAreReadAgain) {
    for (const bool byte_tables : {false, true}) {
        for (const bool single : {true, false}) {
            Problem problem({4000, 5, 9, 0, 0, 1, 0, 255, byte_tables, 4});
            for (const Kernels* table : tables()) {
                const std::vector<float> lower = problem.bounds(100);
                std::vector<float> bound = problem.bounds(2);
                const std::vector<float> first = bound;
                LoweringLog log;
                log.bound = &bound;
                log.lower = &lower;
                problem.run(table->codes, nullptr, bound.data(), single, log);
                std::vector<Candidate> within;
                size_t late = 0;  // reported after, by what the bounds were before
                for (size_t i = 0; i < log.found.size(); ++i) {
                    const Candidate& c = log.found[i];
                    const size_t at = c.query * problem.shape.n + c.row;
                    EXPECT_LE(problem.distances[at], double(first[c.query]) + problem.errors[at]);
                    if (problem.distances[at] <= double(lower[c.query]) + problem.errors[at]) {
                        within.push_back(c);
                    } else if (i >= log.before) {
                        ++late;
                    }
                }
                problem.check(within, nullptr, lower);
                EXPECT_GT(log.before, 0u) << table->isa;
                // The row in hand.
                EXPECT_LE(late, 1u) << table->isa;
            }
        }
    }
}

// Where number j of dim numbers of 4 bits is: its byte, and how far to shift it.
std::pair<size_t, int> nibble_place(size_t j, size_t dim) {
    size_t at = 0, together = 64;
    for (;; together /= 2) {
        for (; at + together <= dim; at += together) {
            if (j >= at + together) continue;
            const size_t half = together / 2;
            return {at / 2 + (j - at) % half, j - at < half ? 0 : 4};
        }
    }
}

TEST(CodesKernels, NumberSumsAreExact) {
    std::vector<size_t> dims = {192, 384, 392, 784, 16400, 65536};
    for (size_t dim = 8; dim <= 328; dim += 8) dims.push_back(dim);
    Random random(2);
    for (const size_t dim : dims) {
        for (const uint32_t bits : {4u, 8u}) {
            for (const bool extreme : {false, true}) {
                FencedBytes query(2 * dim, FencedBytes::kEndsAtFence, 2);
                constexpr size_t kRows = 5, kFirstByte = 3;
                const size_t n_bytes = dim * bits / 8;
                FencedBytes numbers(kFirstByte + kRows * n_bytes);
                auto* const ints = reinterpret_cast<int16_t*>(query.data());
                auto* const halves = reinterpret_cast<int8_t*>(query.data());
                std::vector<int> values(dim);
                for (size_t j = 0; j < dim; ++j) {
                    if (bits == 8) {
                        ints[j] = int16_t(extreme ? -4095 : int(random() % 8191) - 4095);
                        values[j] = ints[j];
                    } else {
                        halves[j] = int8_t(extreme ? -127 : int(random() % 255) - 127);
                        halves[dim + j] = int8_t(extreme ? -16 : int(random() % 33) - 16);
                        values[j] = CodesKernels::kHighValue * halves[j] + halves[dim + j];
                    }
                }
                for (size_t b = 0; b < kFirstByte + kRows * n_bytes; ++b) {
                    numbers.data()[b] = extreme ? 0xff : uint8_t(random());
                }
                std::vector<int64_t> expected(kRows), found(kRows);
                std::vector<const uint8_t*> rows;
                for (size_t i = kRows; i-- > 0;) rows.push_back(numbers.data() + i * n_bytes);
                for (size_t i = 0; i < kRows; ++i) {
                    for (size_t j = 0; j < dim; ++j) {
                        const auto [byte, shift] =
                            bits == 8 ? std::pair(j, 0) : nibble_place(j, dim);
                        const int mask = bits == 8 ? 255 : 15;
                        expected[i] +=
                            int64_t(values[j]) * (rows[i][kFirstByte + byte] >> shift & mask);
                    }
                }
                for (const Kernels* table : tables()) {
                    if (bits == 8) {
                        table->codes.byte_sums(ints, dim, rows.data(), kFirstByte, kRows,
                                               found.data());
                    } else {
                        table->codes.nibble_sums(halves, dim, rows.data(), kFirstByte, kRows,
                                                 found.data());
                    }
                    ASSERT_EQ(found, expected)
                        << table->isa << ", " << dim << " numbers of " << bits << " bits";
                }
            }
        }
    }
}

TEST(CodesKernels, GridSumsAreExact) {
    std::vector<uint32_t> all_dims;
    for (uint32_t dims = 1; dims <= 70; ++dims) all_dims.push_back(dims);
    for (const uint32_t dims : {127, 128, 129, 384, 784, 1000, 65536}) all_dims.push_back(dims);
    Random random(1);
    for (const uint32_t dims : all_dims) {
        for (uint32_t levels = 1; levels <= 8; ++levels) {
            std::vector<uint32_t> level_dims(levels, dims);
            for (uint32_t l = 1; l < levels; ++l) {
                level_dims[l] =
                    random() % 2 ? level_dims[l - 1] : uint32_t(random() % (level_dims[l - 1] + 1));
            }
            size_t payload_bytes = 0;
            for (const uint32_t d : level_dims) payload_bytes += (d + 7) / 8;
            FencedBytes query_bytes(2 * dims, FencedBytes::kEndsAtFence, 2);
            int16_t* values = reinterpret_cast<int16_t*>(query_bytes.data());
            const bool extreme = levels % 3 == 0;
            for (uint32_t j = 0; j < dims; ++j) {
                values[j] = int16_t(extreme ? -4095 : int(random() % 8191) - 4095);
            }
            const size_t n = dims > 5000 ? 3 : 7, stride = payload_bytes + levels % 2 * 3;
            const size_t first_byte = levels % 3;
            const size_t n_bytes = first_byte + (n - 1) * stride + payload_bytes;
            FencedBytes codes(n_bytes);
            for (size_t b = 0; b < n_bytes; ++b) {
                codes.data()[b] = extreme ? 0xff : uint8_t(random());
            }
            std::vector<int64_t> expected;
            for (size_t i = 0; i < n; ++i) {
                const uint8_t* level = codes.data() + i * stride + first_byte;
                int64_t sum = 0;
                for (uint32_t l = 0; l < levels; ++l) {
                    for (uint32_t j = 0; j < level_dims[l]; ++j) {
                        if (level[j / 8] >> (j % 8) & 1) {
                            sum += int64_t(values[j]) << (levels - 1 - l);
                        }
                    }
                    level += (level_dims[l] + 7) / 8;
                }
                expected.push_back(sum);
            }
            std::vector<const uint8_t*> payloads;
            for (size_t i = 0; i < n; ++i) payloads.push_back(codes.data() + i * stride);
            for (const Kernels* table : tables()) {
                std::vector<int64_t> found(n);
                const GridQuery query = {values, level_dims.data(), levels};
                table->codes.grid_sums(query, payloads.data(), first_byte, n, found.data());
                ASSERT_EQ(found, expected)
                    << table->isa << ", dims " << dims << ", levels " << levels;
            }
        }
    }
}

TEST(Groups, LanesComeOutAsTheyWentIn) {
    Random random(1);
    for (const size_t code_bytes : {1, 3, 48, 197}) {
        Bytes codes(kGroupLanes * code_bytes);
        for (uint8_t& byte : codes) byte = uint8_t(random());
        Bytes one_by_one(group_size(code_bytes)), together(group_size(code_bytes));
        for (size_t lane = 0; lane < kGroupLanes; ++lane) {
            put_lane(one_by_one.data(), code_bytes, lane, &codes[lane * code_bytes]);
        }
        put_lanes(together.data(), code_bytes, 0, 7, codes.data());
        put_lanes(together.data(), code_bytes, 7, kGroupLanes - 7, &codes[7 * code_bytes]);
        EXPECT_EQ(one_by_one, together);
        for (size_t j = 0; j < code_bytes; ++j) {
            EXPECT_EQ(together[32 * j + 5], codes[5 * code_bytes + j]);
        }
        Bytes code(code_bytes);
        take_lane(together.data(), code_bytes, 31, code.data());
        EXPECT_TRUE(std::equal(code.begin(), code.end(), &codes[31 * code_bytes]));
    }
}

}  // namespace
}  // namespace nearbit
