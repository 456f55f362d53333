// Product quantisation: codebooks, codes and back.
#include "codecs/pq_codebooks.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/random.h"

namespace nearbit {
namespace {

std::vector<float> random_rows(size_t n, size_t dim, uint64_t seed) {
    Random random(seed);
    std::vector<float> rows(n * dim);
    for (float& x : rows) x = float(random.unit() * 2 - 1);
    return rows;
}

size_t code_at(const PqCodebooks& books, const uint8_t* code, size_t s) {
    if (books.nbits == 8) return code[s];
    return s % 2 == 0 ? code[s / 2] & 15 : code[s / 2] >> 4;
}

double part_distance(const PqCodebooks& books, const float* row, size_t s, size_t c) {
    const float* const centroid = books.of_subspace(s) + c * books.width(s);
    double sum = 0;
    for (size_t j = 0; j < books.width(s); ++j) {
        const double difference = double(row[books.starts[s] + j]) - centroid[j];
        sum += difference * difference;
    }
    return sum;
}

std::string message_of(const std::vector<float>& rows, size_t n, size_t dim,
                       const PqSettings& settings) {
    try {
        train_pq(rows.data(), n, dim, settings, 1, nullptr);
    } catch (const InvalidArgument& error) {
        return error.what();
    }
    return "";
}

TEST(PqCodebooks, CutsDimensionsEvenly) {
    EXPECT_EQ(even_subspaces(8, 2), (std::vector<size_t>{0, 4, 8}));
    EXPECT_EQ(even_subspaces(11, 4), (std::vector<size_t>{0, 3, 6, 9, 11}));
    EXPECT_EQ(even_subspaces(3, 3), (std::vector<size_t>{0, 1, 2, 3}));
}

TEST(PqCodebooks, CodesAreNearestAndDecodeToTheirCentroids) {
    for (const size_t nbits : {4, 8}) {
        for (const auto& [dim, m] : {std::pair<size_t, size_t>{24, 3}, {17, 5}, {5, 5}, {9, 1}}) {
            SCOPED_TRACE(std::to_string(nbits) + " bits, " + std::to_string(dim) + " in " +
                         std::to_string(m));
            const size_t n = 700;
            const std::vector<float> rows = random_rows(n, dim, dim);
            const PqCodebooks books = train_pq(
                rows.data(), n, dim, {.m = m, .nbits = nbits, .iterations = 5}, 2, nullptr);
            ASSERT_EQ(books.centroids.size(), dim << nbits);
            ASSERT_EQ(books.starts, even_subspaces(dim, m));
            ASSERT_EQ(books.code_bytes(), nbits == 8 ? m : (m + 1) / 2);
            std::vector<uint8_t> codes(n * books.code_bytes(), 0xff);
            PqEncoder(books).encode(rows.data(), n, codes.data());
            std::vector<float> decoded(n * dim);
            decode_pq(books, codes.data(), n, decoded.data());
            for (size_t i = 0; i < n; ++i) {
                const uint8_t* const code = codes.data() + i * books.code_bytes();
                if (nbits == 4 && m % 2 == 1) {
                    ASSERT_EQ(code[m / 2] >> 4, 0);
                }
                for (size_t s = 0; s < m; ++s) {
                    const float* const row = rows.data() + i * dim;
                    const size_t got = code_at(books, code, s);
                    double least = part_distance(books, row, s, 0);
                    for (size_t c = 1; c < books.k(); ++c) {
                        least = std::min(least, part_distance(books, row, s, c));
                    }
                    ASSERT_LE(part_distance(books, row, s, got), least + 1e-5);
                    for (size_t j = 0; j < books.width(s); ++j) {
                        ASSERT_EQ(decoded[i * dim + books.starts[s] + j],
                                  books.of_subspace(s)[got * books.width(s) + j]);
                    }
                }
            }
        }
    }
}

TEST(PqCodebooks, PacksTheEvenSubspaceLow) {
    // Centroid c of each subspace is c, so a row is its own code.
    PqCodebooks books{3, 3, 4, {0, 1, 2, 3}, {}};
    for (int s = 0; s < 3; ++s) {
        for (int c = 0; c < 16; ++c) books.centroids.push_back(float(c));
    }
    const std::vector<float> rows = {1, 2, 3, 15, 0, 14};
    std::vector<uint8_t> codes(4);
    PqEncoder(books).encode(rows.data(), 2, codes.data());
    EXPECT_EQ(codes, (std::vector<uint8_t>{0x21, 0x03, 0x0f, 0x0e}));
    std::vector<float> decoded(6);
    decode_pq(books, codes.data(), 2, decoded.data());
    EXPECT_EQ(decoded, rows);
}

TEST(PqCodebooks, AreTheSameAtAnyThreads) {
    // More rows than are trained on; more threads than subspaces and fewer.
    const size_t n = 5000, dim = 22;
    const std::vector<float> rows = random_rows(n, dim, 1);
    for (const size_t m : {3, 11}) {
        const PqSettings settings{.m = m, .nbits = 4, .seed = 5};
        const PqCodebooks one = train_pq(rows.data(), n, dim, settings, 1, nullptr);
        for (const size_t threads : {2, 5}) {
            EXPECT_EQ(train_pq(rows.data(), n, dim, settings, threads, nullptr).centroids,
                      one.centroids);
        }
        PqSettings other = settings;
        other.seed = 6;
        EXPECT_NE(train_pq(rows.data(), n, dim, other, 1, nullptr).centroids, one.centroids);
    }
}

TEST(PqCodebooks, RefuseWhatDoesNotFit) {
    const std::vector<float> rows = random_rows(300, 10, 1);
    EXPECT_EQ(message_of(rows, 255, 10, {.m = 5}), "sample: expected at least 256 rows, got 255");
    EXPECT_EQ(message_of(rows, 15, 10, {.m = 5, .nbits = 4}),
              "sample: expected at least 16 rows, got 15");
    EXPECT_EQ(message_of(rows, 256, 10, {.m = 5}), "");
    EXPECT_EQ(message_of(rows, 300, 10, {.m = 11}), "m: expected 1 to 10 subspaces, got 11");
    EXPECT_EQ(message_of(rows, 300, 10, {.m = 0}), "m: expected 1 to 10 subspaces, got 0");
    EXPECT_EQ(message_of(rows, 300, 10, {.m = 5, .nbits = 6}), "nbits: expected 4 or 8, got 6");
}

TEST(PqCodebooks, TakeConstantDimensionsAndEqualRows) {
    const size_t n = 400, dim = 8;
    std::vector<float> rows = random_rows(n, dim, 1);
    for (size_t i = 0; i < n; ++i) {
        rows[i * dim + 2] = 7;
        rows[i * dim + 4] = rows[i * dim + 5] = -0.1f;  // a whole subspace
    }
    const std::vector<float> equal(n * dim, 0.7f);
    for (const std::vector<float>& some : {rows, equal}) {
        const PqCodebooks books = train_pq(some.data(), n, dim, {.m = 4}, 2, nullptr);
        for (const float x : books.centroids) ASSERT_TRUE(std::isfinite(x));
        std::vector<uint8_t> codes(n * books.code_bytes());
        PqEncoder(books).encode(some.data(), n, codes.data());
        std::vector<float> decoded(n * dim);
        decode_pq(books, codes.data(), n, decoded.data());
        for (size_t i = 0; i < n; ++i) {
            ASSERT_FLOAT_EQ(decoded[i * dim + 2], some[i * dim + 2]);
            ASSERT_FLOAT_EQ(decoded[i * dim + 4], some[i * dim + 4]);
        }
    }
}

TEST(PqCodebooks, BalancesComponents) {
    const std::vector<size_t> starts = {0, 2, 4};
    // The largest with the smallest.
    EXPECT_EQ(balanced_components({1000, 100, 10, 1}, starts), (std::vector<size_t>{0, 3, 1, 2}));
    // The same where all are below 1.
    EXPECT_EQ(balanced_components({.1, .01, .001, .0001}, starts),
              (std::vector<size_t>{0, 3, 1, 2}));
    // Zero eigenvalues, a little below zero too; ragged; each component once.
    for (const std::vector<double>& eigenvalues :
         {std::vector<double>{5, 4, 3, 0, -1e-17}, std::vector<double>(5), {1, 1, 1, 1, 1}}) {
        std::vector<size_t> components = balanced_components(eigenvalues, {0, 2, 4, 5});
        std::sort(components.begin(), components.end());
        EXPECT_EQ(components, (std::vector<size_t>{0, 1, 2, 3, 4}));
    }
}

}  // namespace
}  // namespace nearbit
