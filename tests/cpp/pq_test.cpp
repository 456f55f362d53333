// Product quantisers as scanned: the first pass against the canonical values.
#include "codecs/pq.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "base/memory.h"
#include "base/random.h"
#include "codecs/groups.h"

namespace nearbit {
namespace {

struct Log : Sink {
    std::vector<Candidate> places = std::vector<Candidate>(kSinkRoom + 1);
    std::vector<Candidate> found;

    Log() {
        items = places.data();
        count = 0;
        capacity = uint32_t(places.size());
        drain = [](Sink* sink) { static_cast<Log*>(sink)->empty(); };
    }
    void empty() {
        found.insert(found.end(), items, items + count);
        count = 0;
    }
};

// Codebooks whose subspaces differ in size by up to 2^spread.
PqCodebooks codebooks(size_t dim, size_t m, size_t nbits, float size, int spread, Random& random) {
    PqCodebooks books{dim, m, nbits, even_subspaces(dim, m), {}};
    for (size_t s = 0; s < m; ++s) {
        const float here = std::ldexp(size, -int(random.below(uint64_t(spread) + 1)));
        for (size_t i = 0; i < books.width(s) * books.k(); ++i) {
            books.centroids.push_back(here * float(2 * random.unit() - 1));
        }
    }
    return books;
}

// The values of codes that lie one behind the other.
void values_of(const QuantisedQueries& queries, size_t q, const std::vector<uint8_t>& codes,
               size_t bytes, double* values) {
    for (size_t at = 0; at < codes.size(); at += bytes) {
        const uint8_t* const code = &codes[at];
        queries.values(q, &code, 0, 1, values++);
    }
}

// A row whose value is what the bound asks for, or more, is always reported; few others are.
TEST(Pq, TheFirstPassMissesNothing) {
    Random random(1);
    for (const size_t nbits : {4, 8}) {
        for (const size_t m : {1, 2, 7, 48, 257, 300}) {
            for (const float size : {0.0f, 1e-18f, 1.0f, 1e15f}) {
                for (const int spread : {0, 30}) {
                    const size_t dim = m + 3, nq = 3, n = 200;
                    const auto quantiser = make_pq(codebooks(dim, m, nbits, size, spread, random));
                    std::vector<float> z(nq * dim);
                    for (float& number : z) number = float(2 * random.unit() - 1);
                    z[0] = 1000;
                    const size_t bytes = quantiser->payload_bytes();
                    std::vector<uint8_t> codes(n * bytes);
                    for (uint8_t& byte : codes) byte = uint8_t(random.next());
                    const Memory groups(groups_for(n) * group_size(bytes));
                    auto* const at = reinterpret_cast<uint8_t*>(groups.data());
                    for (size_t i = 0; i < n; ++i) {
                        put_lane(at + i / kGroupLanes * group_size(bytes), bytes, i % kGroupLanes,
                                 &codes[i * bytes]);
                    }
                    const CodesBlock block = {at, bytes, {}, nullptr, uint32_t(n)};
                    for (const size_t together : {size_t(1), nq}) {
                        const auto queries = quantiser->prepare(z.data(), together);
                        std::vector<double> values(together * n);
                        std::vector<float> bounds(together);
                        for (size_t q = 0; q < together; ++q) {
                            values_of(*queries, q, codes, bytes, &values[q * n]);
                            // So that about half of the rows are within.
                            bounds[q] = float(-values[q * n] + 0x1p-20 * queries->largest(q));
                        }
                        Log log;
                        queries->scan(block, bounds.data(), &log);
                        log.empty();
                        std::vector<int> times(together * n);
                        for (const Candidate& c : log.found) ++times[c.query * n + c.row];
                        for (size_t q = 0; q < together; ++q) {
                            for (size_t i = 0; i < n; ++i) {
                                ASSERT_LE(times[q * n + i], 1);
                                if (values[q * n + i] < values[q * n]) continue;
                                ASSERT_EQ(times[q * n + i], 1)
                                    << "m " << m << ", nbits " << nbits << ", size " << size
                                    << ", spread " << spread << ", query " << q << ", row " << i;
                            }
                        }
                    }
                }
            }
        }
    }
}

// Values against products in double, to the 2^-30 of the whole that a table's entry is rounded by.
TEST(Pq, ValuesAreProductsWithDecodedCodes) {
    Random random(2);
    for (const size_t nbits : {4, 8}) {
        const size_t dim = 50, m = 13, n = 100;
        const auto quantiser = make_pq(codebooks(dim, m, nbits, 1, 3, random));
        std::vector<float> z(dim), y(dim);
        for (float& number : z) number = float(2 * random.unit() - 1);
        const size_t bytes = quantiser->payload_bytes();
        std::vector<uint8_t> codes(n * bytes);
        for (uint8_t& byte : codes) byte = uint8_t(random.next());
        if (nbits == 4) {
            for (size_t i = 0; i < n; ++i) codes[(i + 1) * bytes - 1] &= 15;  // m is odd
        }
        std::vector<double> values(n);
        values_of(*quantiser->prepare(z.data(), 1), 0, codes, bytes, values.data());
        for (size_t i = 0; i < n; ++i) {
            quantiser->decode(&codes[i * bytes], y.data());
            double expected = 0, sizes = 0;
            for (size_t j = 0; j < dim; ++j) {
                expected += double(z[j]) * double(y[j]);
                sizes += std::abs(double(z[j]) * double(y[j]));
            }
            ASSERT_NEAR(values[i], expected, 1e-6 * (sizes + 1));
        }
    }
}

}  // namespace
}  // namespace nearbit
