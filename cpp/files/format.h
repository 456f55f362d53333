// The container's bytes, as docs/formats.md has them. Integers are little-endian.
#pragma once

#include <bit>
#include <cstdint>

namespace nearbit {

static_assert(std::endian::native == std::endian::little, "files are written as memory holds them");

// As PNG's: a byte that isn't ASCII, and line ends that a transfer in text mode would change.
inline constexpr char kMagic[8] = {'\x89', 'N', 'B', 'T', '\r', '\n', '\x1a', '\n'};
inline constexpr uint32_t kFormatVersion = 0;
inline constexpr uint32_t kByteOrder = 0x0A0B0C0D;

// The file is mapped as a whole, from its first byte, so that no larger page or mapping unit has a
// say in where a section may begin. Kernels need no more than a number's own alignment.
inline constexpr uint64_t kAlignment = 64;            // a cache line
inline constexpr uint64_t kMappableAlignment = 4096;  // a page of most systems
inline constexpr uint32_t kMaxSections = 1024;
inline constexpr uint32_t kRequiredFlag = 1;
inline constexpr uint32_t kMappableFlag = 2;

// Text fields are printable ASCII, filled up with zero bytes of which there is at least one.
struct FileHeader {
    char magic[8];
    uint32_t version;
    uint32_t byte_order;
    char isa[16];
    uint32_t reserved[7];
    uint32_t checksum;  // of what stands before it
};
static_assert(sizeof(FileHeader) == 64);

struct TableEntry {
    char name[16];
    uint32_t flags;
    uint32_t checksum;  // of the section's bytes
    uint64_t offset;
    uint64_t n_bytes;
};
static_assert(sizeof(TableEntry) == 40);

struct FileTrailer {
    uint64_t file_bytes;  // from the first of the header to the last of this
    uint64_t table_offset;
    uint32_t n_sections;
    uint32_t table_checksum;
    uint32_t reserved;
    uint32_t checksum;  // of what stands before it
};
static_assert(sizeof(FileTrailer) == 32);

// Where the next section may begin; the table begins as a section that isn't mappable.
constexpr uint64_t align_up(uint64_t offset, uint64_t alignment) {
    return (offset + alignment - 1) / alignment * alignment;
}

constexpr uint64_t alignment_of(uint32_t flags) {
    return flags & kMappableFlag ? kMappableAlignment : kAlignment;
}

}  // namespace nearbit
