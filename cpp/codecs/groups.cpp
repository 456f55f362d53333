#include "codecs/groups.h"

namespace nearbit {

void put_lane(uint8_t* group, size_t code_bytes, size_t lane, const uint8_t* code) {
    for (size_t j = 0; j < code_bytes; ++j) group[kGroupLanes * j + lane] = code[j];
}

void put_lanes(uint8_t* group, size_t code_bytes, size_t lane, size_t n, const uint8_t* codes) {
    // Byte row by byte row: the codes stay in L1, each line of the group is written once.
    for (size_t j = 0; j < code_bytes; ++j) {
        uint8_t* row = group + kGroupLanes * j + lane;
        for (size_t i = 0; i < n; ++i) row[i] = codes[i * code_bytes + j];
    }
}

void take_lane(const uint8_t* group, size_t code_bytes, size_t lane, uint8_t* code) {
    for (size_t j = 0; j < code_bytes; ++j) code[j] = group[kGroupLanes * j + lane];
}

}  // namespace nearbit
