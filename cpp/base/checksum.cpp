#include "base/checksum.h"

#include <bit>
#include <cstring>

// A function that uses an instruction beyond the baseline carries NEARBIT_CRC_TARGET and calls
// nothing but its like: an inline function of a header compiled here could be picked for all.
#if defined(__x86_64__) || defined(_M_X64)
#include <nmmintrin.h>
#define NEARBIT_CRC_INSTRUCTION 1
#ifdef _MSC_VER
#include <intrin.h>
#define NEARBIT_CRC_TARGET
#else
#define NEARBIT_CRC_TARGET __attribute__((target("sse4.2,crc32")))
#endif
#elif defined(__ARM_FEATURE_CRC32)
#include <arm_acle.h>
#define NEARBIT_CRC_INSTRUCTION 1
#define NEARBIT_CRC_TARGET
#endif

namespace nearbit {
namespace {

constexpr uint32_t kPolynomial = 0x82F63B78;  // reflected

constexpr size_t kStreamBytes = 1024;  // of each of the three streams between two joins

// bytes[0] advances a checksum by one byte; bytes[j] by j further zero bytes. stream[i] advances
// byte i of a checksum by kStreamBytes zero bytes, which is how two streams are joined.
struct Tables {
    uint32_t bytes[8][256];
    uint32_t stream[4][256];
};

constexpr Tables make_tables() {
    Tables t{};
    for (uint32_t i = 0; i < 256; ++i) {
        uint32_t crc = i;
        for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ (crc & 1 ? kPolynomial : 0);
        t.bytes[0][i] = crc;
    }
    for (int j = 1; j < 8; ++j) {
        for (int i = 0; i < 256; ++i) {
            const uint32_t crc = t.bytes[j - 1][i];
            t.bytes[j][i] = (crc >> 8) ^ t.bytes[0][crc & 0xFF];
        }
    }
    // Advancing is linear over xor: the images of the 32 single bits give all.
    for (int bit = 0; bit < 32; ++bit) {
        uint32_t crc = uint32_t{1} << bit;
        for (size_t i = 0; i < kStreamBytes; ++i) crc = (crc >> 8) ^ t.bytes[0][crc & 0xFF];
        for (int i = 0; i < 256; ++i) {
            if (i >> (bit % 8) & 1) t.stream[bit / 8][i] ^= crc;
        }
    }
    return t;
}

constexpr Tables kTables = make_tables();

#ifdef NEARBIT_CRC_INSTRUCTION

#if defined(__ARM_FEATURE_CRC32)
bool has_instruction() {
    return true;
}
inline uint64_t step8(uint64_t crc, uint64_t word) {
    return __crc32cd(static_cast<uint32_t>(crc), word);
}
inline uint32_t step1(uint32_t crc, uint8_t byte) {
    return __crc32cb(crc, byte);
}
#else
bool has_instruction() {
#ifdef _MSC_VER
    int leaf[4];
    __cpuid(leaf, 1);
    return leaf[2] >> 20 & 1;
#else
    return __builtin_cpu_supports("sse4.2");
#endif
}
NEARBIT_CRC_TARGET inline uint64_t step8(uint64_t crc, uint64_t word) {
    return _mm_crc32_u64(crc, word);
}
NEARBIT_CRC_TARGET inline uint32_t step1(uint32_t crc, uint8_t byte) {
    return _mm_crc32_u8(crc, byte);
}
#endif

NEARBIT_CRC_TARGET inline uint64_t load8(const uint8_t* p) {
    uint64_t word;
    std::memcpy(&word, p, sizeof word);
    return word;
}

NEARBIT_CRC_TARGET inline uint64_t advance_stream(uint64_t crc) {
    return kTables.stream[0][crc & 0xFF] ^ kTables.stream[1][crc >> 8 & 0xFF] ^
           kTables.stream[2][crc >> 16 & 0xFF] ^ kTables.stream[3][crc >> 24 & 0xFF];
}

// The instruction takes 3 cycles and one can start each cycle: three independent streams.
NEARBIT_CRC_TARGET uint32_t crc32c_instruction(const uint8_t* p, size_t n_bytes, uint32_t so_far) {
    uint64_t crc = ~so_far;
    for (; n_bytes >= 3 * kStreamBytes; n_bytes -= 3 * kStreamBytes, p += 3 * kStreamBytes) {
        uint64_t second = 0, third = 0;
        for (size_t i = 0; i < kStreamBytes; i += 8) {
            crc = step8(crc, load8(p + i));
            second = step8(second, load8(p + kStreamBytes + i));
            third = step8(third, load8(p + 2 * kStreamBytes + i));
        }
        crc = advance_stream(advance_stream(crc) ^ second) ^ third;
    }
    for (; n_bytes >= 8; n_bytes -= 8, p += 8) crc = step8(crc, load8(p));
    uint32_t low = static_cast<uint32_t>(crc);
    for (; n_bytes > 0; --n_bytes, ++p) low = step1(low, *p);
    return ~low;
}

#endif  // NEARBIT_CRC_INSTRUCTION

}  // namespace

uint32_t crc32c_portable(const void* data, size_t n_bytes, uint32_t so_far) noexcept {
    const auto& t = kTables.bytes;
    const auto* p = static_cast<const uint8_t*>(data);
    uint32_t crc = ~so_far;
    if constexpr (std::endian::native == std::endian::little) {
        for (; n_bytes >= 8; n_bytes -= 8, p += 8) {
            uint32_t low, high;
            std::memcpy(&low, p, 4);
            std::memcpy(&high, p + 4, 4);
            low ^= crc;
            crc = t[7][low & 0xFF] ^ t[6][low >> 8 & 0xFF] ^ t[5][low >> 16 & 0xFF] ^
                  t[4][low >> 24] ^ t[3][high & 0xFF] ^ t[2][high >> 8 & 0xFF] ^
                  t[1][high >> 16 & 0xFF] ^ t[0][high >> 24];
        }
    }
    for (; n_bytes > 0; --n_bytes, ++p) crc = (crc >> 8) ^ t[0][(crc ^ *p) & 0xFF];
    return ~crc;
}

uint32_t crc32c(const void* data, size_t n_bytes, uint32_t so_far) noexcept {
#ifdef NEARBIT_CRC_INSTRUCTION
    static const bool instruction = has_instruction();
    if (instruction) return crc32c_instruction(static_cast<const uint8_t*>(data), n_bytes, so_far);
#endif
    return crc32c_portable(data, n_bytes, so_far);
}

}  // namespace nearbit
