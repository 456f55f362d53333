// CRC32C (Castagnoli; RFC 3720, appendix B.4), the checksum of everything that is stored.
#pragma once

#include <cstddef>
#include <cstdint>

namespace nearbit {

// The checksum of the bytes that gave `so_far` followed by these: crc32c(b, nb, crc32c(a, na)) is
// that of a and b in one piece. Uses the processor's instruction where it has one (three streams at
// a time, 8 bytes per cycle), else crc32c_portable.
uint32_t crc32c(const void* data, size_t n_bytes, uint32_t so_far = 0) noexcept;

// The same from tables, 8 bytes a step: what the instruction is tested against.
uint32_t crc32c_portable(const void* data, size_t n_bytes, uint32_t so_far = 0) noexcept;

}  // namespace nearbit
