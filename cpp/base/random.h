// Random numbers that are the same on every platform: whole numbers all through.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace nearbit {

// xoshiro256** (Blackman and Vigna), its state filled from the seed by splitmix64.
class Random {
  public:
    explicit Random(uint64_t seed);

    // 64 random bits.
    uint64_t next();
    // Any of 0..n-1 with the same chance; n is not 0.
    uint64_t below(uint64_t n);
    // A multiple of 2^-53 in [0, 1): exact, so the same everywhere.
    double unit() { return static_cast<double>(next() >> 11) * 0x1p-53; }

  private:
    uint64_t state_[4];
};

// k different numbers of 0..n-1, ascending, each choice with the same chance, in memory for k; k is
// at most n.
std::vector<uint64_t> sample(Random& random, uint64_t n, size_t k);

template <class Item>
void shuffle(Random& random, std::span<Item> items) {
    for (size_t n = items.size(); n > 1; --n) std::swap(items[n - 1], items[random.below(n)]);
}

}  // namespace nearbit
