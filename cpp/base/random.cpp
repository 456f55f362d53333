#include "base/random.h"

#include <algorithm>
#include <bit>
#include <unordered_set>

namespace nearbit {

Random::Random(uint64_t seed) {
    for (uint64_t& word : state_) {
        seed += 0x9e3779b97f4a7c15;
        uint64_t mixed = seed;
        mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9;
        mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111eb;
        word = mixed ^ (mixed >> 31);
    }
}

uint64_t Random::next() {
    const uint64_t result = std::rotl(state_[1] * 5, 7) * 9;
    const uint64_t shifted = state_[1] << 17;
    state_[2] ^= state_[0];
    state_[3] ^= state_[1];
    state_[1] ^= state_[2];
    state_[0] ^= state_[3];
    state_[2] ^= shifted;
    state_[3] = std::rotl(state_[3], 45);
    return result;
}

uint64_t Random::below(uint64_t n) {
    // 2^64 modulo n: without that many of the lowest values, each remainder is as frequent.
    const uint64_t surplus = (0 - n) % n;
    for (;;) {
        const uint64_t bits = next();
        if (bits >= surplus) return bits % n;
    }
}

std::vector<uint64_t> sample(Random& random, uint64_t n, size_t k) {
    // Floyd's way: for each of the last k numbers, one up to it, or itself if that is taken.
    std::unordered_set<uint64_t> taken;
    taken.reserve(k);
    std::vector<uint64_t> chosen;
    chosen.reserve(k);
    for (uint64_t last = n - k; last < n; ++last) {
        const uint64_t drawn = random.below(last + 1);
        const uint64_t pick = taken.contains(drawn) ? last : drawn;
        taken.insert(pick);
        chosen.push_back(pick);
    }
    std::sort(chosen.begin(), chosen.end());
    return chosen;
}

}  // namespace nearbit
