// The kernels of halves and of small integers, of every table, against plain references.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "kernels/kernels.h"

namespace nearbit {
namespace {

constexpr DenseForm kForms[] = {DenseForm::kL2, DenseForm::kIp, DenseForm::kCosine};

std::vector<const Kernels*> tables() {
    const Kernels* const* first;
    const size_t n = runnable_kernels(&first);
    return {first, first + n};
}

std::vector<size_t> all_dims() {
    std::vector<size_t> dims;
    for (size_t dim = 1; dim <= 70; ++dim) dims.push_back(dim);
    for (size_t dim : {100, 127, 128, 384, 1000}) dims.push_back(dim);
    return dims;
}

// An array of its own on the heap, so that a sanitizer sees what is read beyond it.
template <class T>
struct Exact {
    explicit Exact(size_t n_) : n(n_), values(new T[n_]()) {}
    T* data() const { return values.get(); }
    T& operator[](size_t i) const { return values[i]; }
    size_t n;
    std::unique_ptr<T[]> values;
};

struct Log : Sink {
    std::vector<Candidate> room = std::vector<Candidate>(kSinkRoom + 1), found;

    Log() : Sink{nullptr, 0, kSinkRoom + 1, &take} { items = room.data(); }
    static void take(Sink* sink) {
        Log& log = *static_cast<Log*>(sink);
        log.found.insert(log.found.end(), log.items, log.items + log.count);
        log.count = 0;
    }
    const std::vector<Candidate>& finish() {
        take(this);
        return found;
    }
};

bool in(const uint64_t* mask, size_t i) {
    return mask == nullptr || (mask[i / 64] >> i % 64 & 1) != 0;
}

std::vector<uint64_t> some_of(size_t n) {
    std::mt19937_64 random(n);
    std::vector<uint64_t> mask((n + 63) / 64 + 1);
    for (uint64_t& word : mask) word = random() & random();
    if (mask.size() > 2) mask[1] = 0;
    return mask;
}

// ------------------------------------------------------------------------------------- halves

class HalfKernelsTest : public testing::TestWithParam<const Kernels*> {
  protected:
    const HalfKernels& half = GetParam()->half;
    const DenseKernels& dense = GetParam()->dense;
};

INSTANTIATE_TEST_SUITE_P(Isa, HalfKernelsTest, testing::ValuesIn(tables()),
                         [](const auto& table) { return std::string(table.param->isa); });

double value_of(Half half) {
    const int exponent = half >> 10 & 31, fraction = half & 0x3ff;
    const double magnitude = exponent == 31  ? (fraction == 0 ? INFINITY : NAN)
                             : exponent == 0 ? std::ldexp(fraction, -24)
                                             : std::ldexp(1024 + fraction, exponent - 25);
    return (half & 0x8000) != 0 ? -magnitude : magnitude;
}

TEST_P(HalfKernelsTest, EveryPatternIsWidenedExactlyAndComesBack) {
    for (const size_t at_once : {size_t(1), size_t(7), size_t(65536)}) {
        for (size_t first = 0; first < 65536; first += at_once) {
            const size_t n = std::min(at_once, 65536 - first);
            Exact<Half> halves(n), back(n);
            Exact<float> floats(n);
            for (size_t i = 0; i < n; ++i) halves[i] = Half(first + i);
            half.widen(halves.data(), n, floats.data());
            half.narrow(floats.data(), n, back.data());
            for (size_t i = 0; i < n; ++i) {
                const double want = value_of(halves[i]);
                if (std::isnan(want)) {
                    ASSERT_TRUE(std::isnan(floats[i]));
                    ASSERT_EQ(back[i] & 0x7c00, 0x7c00);
                    ASSERT_NE(back[i] & 0x3ff, 0);
                    continue;
                }
                ASSERT_EQ(double(floats[i]), want);
                ASSERT_EQ(std::signbit(floats[i]), std::signbit(want));
                ASSERT_EQ(back[i], halves[i]);
            }
        }
    }
}

TEST_P(HalfKernelsTest, FloatsAreNarrowedToTheNearestAndTiesToEven) {
    // Between neighbouring halves: just below the middle, the middle, just above it.
    std::vector<float> floats;
    std::vector<Half> want;
    for (uint32_t h = 0; h < 0x7c00; ++h) {
        const double next = h + 1 == 0x7c00 ? 65536 : value_of(Half(h + 1));
        const float middle = float((value_of(Half(h)) + next) / 2);
        const float close[] = {std::nextafter(middle, 0.0f), middle, std::nextafter(middle, 1e9f)};
        const Half nearest[] = {Half(h), Half(h + (h & 1)), Half(h + 1)};
        for (int i = 0; i < 3; ++i) {
            floats.insert(floats.end(), {close[i], -close[i]});
            want.insert(want.end(), {nearest[i], Half(nearest[i] | 0x8000)});
        }
    }
    for (const float huge : {65536.0f, 1e30f, INFINITY}) {
        floats.push_back(huge);
        want.push_back(0x7c00);
    }
    floats.push_back(1e-45f);
    want.push_back(0);
    std::vector<Half> got(floats.size());
    half.narrow(floats.data(), floats.size(), got.data());
    EXPECT_EQ(got, want);
}

TEST_P(HalfKernelsTest, DistancesHaveTheBitsOfTheWidenedRows) {
    std::mt19937_64 random(3);
    std::normal_distribution<float> normal;
    for (const size_t dim : all_dims()) {
        const uint32_t n = uint32_t(dim % 3 == 0 ? 300 : 1 + dim % 9);
        Exact<float> query(dim), widened(n * dim), factors(n), want(n), got(n);
        Exact<Half> rows(n * dim);
        for (size_t j = 0; j < dim; ++j) query[j] = normal(random);
        for (size_t i = 0; i < n * dim; ++i) widened[i] = normal(random);
        half.narrow(widened.data(), n * dim, rows.data());
        half.widen(rows.data(), n * dim, widened.data());
        for (uint32_t i = 0; i < n; ++i) factors[i] = 1 / (1 + float(i));
        for (const DenseForm form : kForms) {
            dense.gather(form, query.data(), dim, widened.data(), factors.data(), nullptr, n,
                         want.data());
            half.gather(form, query.data(), dim, rows.data(), factors.data(), nullptr, n,
                        got.data());
            ASSERT_EQ(std::memcmp(got.data(), want.data(), n * sizeof(float)), 0) << dim;
            const uint32_t last[] = {n - 1};
            half.gather(form, query.data(), dim, rows.data(), factors.data(), last, 1, got.data());
            ASSERT_EQ(got[0], want[n - 1]);
            std::vector<const Half*> places;
            std::vector<float> own;
            for (uint32_t i = n; i-- > 0;) {
                places.push_back(rows.data() + i * dim);
                own.push_back(factors[i]);
            }
            half.gather_at(form, query.data(), dim, places.data(), own.data(), n, got.data());
            for (uint32_t i = 0; i < n; ++i) ASSERT_EQ(got[i], want[n - 1 - i]);

            const std::vector<uint64_t> mask = some_of(n);
            for (const uint64_t* admit : {static_cast<const uint64_t*>(nullptr), mask.data()}) {
                const float threshold = want[n / 2];
                std::set<std::pair<uint32_t, float>> expected, found;
                for (uint32_t i = 0; i < n; ++i) {
                    if (want[i] <= threshold && in(admit, i)) expected.emplace(i, want[i]);
                }
                Log log;
                half.scan(form, query.data(), dim, {rows.data(), factors.data(), admit, n},
                          &threshold, &log);
                for (const Candidate& c : log.finish()) found.emplace(c.row, c.distance);
                ASSERT_EQ(found, expected) << "dim " << dim;
            }
        }
    }
}

// ------------------------------------------------------------------------------------- integers

struct Sums {
    int64_t l2 = 0, product = 0, squared_norm = 0;
};

class IntKernelsTest : public testing::TestWithParam<const Kernels*> {
  protected:
    const IntKernels& ints = GetParam()->ints;

    static int value_of(IntType type, uint8_t byte) {
        return type == IntType::kInt8 ? int8_t(byte) : byte;
    }

    static Sums sums_of(IntType type, const int16_t* q, const uint8_t* x, size_t dim) {
        Sums sums;
        for (size_t j = 0; j < dim; ++j) {
            const int64_t x_j = value_of(type, x[j]), difference = q[j] - x_j;
            sums.l2 += difference * difference;
            sums.product += q[j] * x_j;
            sums.squared_norm += x_j * x_j;
        }
        return sums;
    }

    // gather gives the sums, scan the admitted rows within bounds that some rows hold.
    void expect_exact(IntType type, size_t dim, const Exact<int16_t>& queries, uint32_t nq,
                      const Exact<uint8_t>& rows, uint32_t n, const uint64_t* admit) const {
        std::vector<double> norms(nq);
        std::vector<std::vector<Sums>> sums(nq, std::vector<Sums>(n));
        for (uint32_t q = 0; q < nq; ++q) {
            const int16_t* const query = queries.data() + q * dim;
            for (size_t j = 0; j < dim; ++j) norms[q] += double(query[j]) * query[j];
            for (uint32_t i = 0; i < n; ++i) {
                sums[q][i] = sums_of(type, query, rows.data() + i * dim, dim);
            }
        }
        for (const DenseForm form : kForms) {
            const auto value = [&](uint32_t q, uint32_t i) {
                const Sums& s = sums[q][i];
                return form == DenseForm::kL2 ? double(s.l2) : double(s.product);
            };
            const auto ratio = [&](uint32_t q, uint32_t i) {
                const double d = double(sums[q][i].product);
                return sums[q][i].squared_norm == 0
                           ? 0
                           : d * std::fabs(d) / double(sums[q][i].squared_norm);
            };
            std::vector<double> bounds(nq);
            for (uint32_t q = 0; q < nq; ++q) {
                Exact<double> got(n), squared(n);
                ints.gather(form, type, queries.data() + q * dim, dim, rows.data(), nullptr, n,
                            got.data(), form == DenseForm::kCosine ? squared.data() : nullptr);
                for (uint32_t i = 0; i < n; ++i) {
                    ASSERT_EQ(got[i], value(q, i)) << "dim " << dim << " form " << int(form);
                    if (form == DenseForm::kCosine) {
                        ASSERT_EQ(squared[i], double(sums[q][i].squared_norm));
                    }
                }
                const uint32_t which[] = {n - 1, 0, n / 2};
                ints.gather(form, type, queries.data() + q * dim, dim, rows.data(), which,
                            std::min<size_t>(3, n), got.data(), squared.data());
                ASSERT_EQ(got[0], value(q, n - 1));
                const uint32_t pick = (7 * q + 3) % n;
                bounds[q] = form == DenseForm::kL2   ? value(q, pick)
                            : form == DenseForm::kIp ? -value(q, pick)
                                                     : ratio(q, pick) * (1 + 1e-9);
            }
            const IntQueries asked = {form, type, queries.data(), norms.data(), bounds.data(), nq};
            Log log;
            ints.scan(asked, dim, {rows.data(), admit, n}, &log);
            std::set<std::pair<uint32_t, uint32_t>> found, expected;
            for (const Candidate& c : log.finish()) found.emplace(c.query, c.row);
            ASSERT_EQ(found.size(), log.found.size()) << "a candidate came twice";
            for (uint32_t q = 0; q < nq; ++q) {
                for (uint32_t i = 0; i < n; ++i) {
                    const double d = double(sums[q][i].product);
                    const bool near =
                        form == DenseForm::kL2 ? double(sums[q][i].l2) <= bounds[q]
                        : form == DenseForm::kIp
                            ? -d <= bounds[q]
                            : d * std::fabs(d) >= bounds[q] * double(sums[q][i].squared_norm);
                    if (near && in(admit, i)) expected.emplace(q, i);
                }
            }
            ASSERT_EQ(found, expected) << "dim " << dim << " form " << int(form) << " nq " << nq;
        }
    }
};

INSTANTIATE_TEST_SUITE_P(Isa, IntKernelsTest, testing::ValuesIn(tables()),
                         [](const auto& table) { return std::string(table.param->isa); });

TEST_P(IntKernelsTest, SumsAreExactAndScansCompleteAtEveryLength) {
    std::mt19937_64 random(9);
    for (const IntType type : {IntType::kInt8, IntType::kUint8}) {
        for (const size_t dim : all_dims()) {
            for (const uint32_t nq : {1u, 2u, 4u, 7u}) {
                const uint32_t n = uint32_t(dim % 5 == 0 ? 201 : 1 + dim % 11);
                Exact<int16_t> queries(nq * dim);
                Exact<uint8_t> rows(n * dim);
                for (size_t i = 0; i < nq * dim; ++i) {
                    queries[i] = int16_t(value_of(type, uint8_t(random())));
                }
                for (size_t i = 0; i < n * dim; ++i) rows[i] = uint8_t(random());
                std::fill_n(rows.data(), dim, uint8_t(0));
                expect_exact(type, dim, queries, nq, rows, n, nullptr);
                const std::vector<uint64_t> mask = some_of(n);
                expect_exact(type, dim, queries, nq, rows, n, mask.data());
            }
        }
    }
}

TEST_P(IntKernelsTest, NoSumOverflowsAtTheLargestNumbersAndLength) {
    struct Extreme {
        IntType type;
        int16_t query;
        uint8_t row;
    };
    for (const size_t dim : {size_t(65536), size_t(65535), size_t(65505)}) {
        for (const Extreme& e :
             {Extreme{IntType::kInt8, -128, 0x80}, Extreme{IntType::kInt8, -128, 0x7f},
              Extreme{IntType::kInt8, 127, 0x80}, Extreme{IntType::kUint8, 255, 255},
              Extreme{IntType::kUint8, 255, 0}, Extreme{IntType::kUint8, 0, 255}}) {
            for (const uint32_t nq : {1u, 5u}) {
                Exact<int16_t> queries(nq * dim);
                Exact<uint8_t> rows(3 * dim);
                std::fill_n(queries.data(), nq * dim, e.query);
                std::fill_n(rows.data(), 3 * dim, e.row);
                rows[dim + 1] ^= 1;
                expect_exact(e.type, dim, queries, nq, rows, 3, nullptr);
            }
        }
    }
}

}  // namespace
}  // namespace nearbit
