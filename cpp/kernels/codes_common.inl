// Compact codes, what every instruction set shares: groups, factors, and the test of one row.
namespace codes {

constexpr uint32_t kLanes = 32;  // items of a group

inline uint32_t groups_of(const CodesBlock& block) {
    return block.n / kLanes + (block.n % kLanes != 0);
}

inline const uint8_t* group_at(const CodesBlock& block, uint32_t group) {
    return block.groups + size_t(group) * kLanes * block.code_bytes;
}

inline size_t factor_bytes(const CodeFactors& factors) {
    return size_t(factors.scale_bytes) + factors.norm_bytes;
}

// Bit i: item i of the group may be reported.
inline uint32_t lanes_of(const CodesBlock& block, uint32_t group) {
    const uint32_t rest = block.n - group * kLanes;
    const uint32_t there = rest < kLanes ? (1u << rest) - 1 : ~0u;
    if (block.admit == nullptr) return there;
    return there & uint32_t(block.admit[group / 2] >> (32 * (group & 1)));
}

inline float factor_value(const SmallFloat& kind, uint32_t code) {
    const uint32_t bits = code == 0 ? 0 : kind.base + (code - 1) * kind.step;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

// One item's factor; at: its lane in the factor's first byte row.
inline float decode_one(const SmallFloat& kind, uint32_t n_bytes, const uint8_t* at) {
    return factor_value(kind, n_bytes == 2 ? at[0] | uint32_t(at[kLanes]) << 8 : at[0]);
}

// Of a plane of so many bytes, those that don't count less.
inline size_t bytes_before_split(const FinerPlanes& finer, size_t n_bytes) {
    return finer.split != 0 && finer.split < n_bytes ? finer.split : n_bytes;
}

struct Factors {
    float scale, norm;
};

inline Factors factors_of(const CodeFactors& kinds, const uint8_t* group, uint32_t lane) {
    const uint8_t* scale = group + lane;
    const uint8_t* norm = scale + size_t(kLanes) * kinds.scale_bytes;
    return {kinds.scale_bytes == 0 ? 1.0f : decode_one(kinds.scale, kinds.scale_bytes, scale),
            kinds.norm_bytes == 0 ? 0.0f : decode_one(kinds.norm, kinds.norm_bytes, norm)};
}

}  // namespace codes
