// Reads a container (docs/formats.md) from bytes in memory or mapped.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "files/cursor.h"

namespace nearbit {

class ContainerReader {
  public:
    // Checks all but the sections' content: header, table and trailer with their checksums, the
    // length, and that each section lies where the format puts it; a section that is required must
    // be among `known`. Touches no other page of a mapping and allocates by no number before it is
    // checked. The bytes outlive the reader; `source` (a path, or "bytes") begins each message.
    ContainerReader(std::span<const std::byte> bytes, std::string source,
                    std::span<const std::string_view> known);

    // The part of this that needs no more than the first and the last kEndBytes (all, if there are
    // fewer) of n_bytes: a look at a file before the rest of it is read.
    static void check_ends(std::span<const std::byte> first, std::span<const std::byte> last,
                           uint64_t n_bytes, const std::string& source);
    static constexpr size_t kEndBytes = 64;

    bool has(std::string_view name) const { return find(name) != nullptr; }
    std::span<const std::byte> section(std::string_view name) const;
    Cursor cursor(std::string_view name) const { return Cursor(section(name), where(name)); }
    // How a message about a section begins.
    std::string where(std::string_view name) const;

    // Compare the content with its checksum. `poll` is called every few MiB and may throw.
    void verify(std::string_view name, const std::function<void()>& poll = {}) const;
    // Each section, and that what lies between them is zero: so each byte of the file.
    void verify_all(const std::function<void()>& poll = {}) const;

  private:
    struct Section {
        std::string_view name;
        uint32_t checksum;
        size_t offset;
        size_t n_bytes;
    };

    [[noreturn]] void refuse(const std::string& text) const;
    [[noreturn]] void refuse_section(std::string_view name, const std::string& text) const;
    void read_table(std::span<const std::string_view> known);
    std::string_view text(const char (&field)[16], size_t offset, const char* what) const;
    const Section* find(std::string_view name) const;
    const Section& get(std::string_view name) const;
    void verify(const Section& section, const std::function<void()>& poll) const;
    void verify_zero(size_t begin, size_t end) const;

    std::span<const std::byte> bytes_;
    std::string source_;
    size_t table_offset_ = 0;
    std::vector<Section> sections_;
};

}  // namespace nearbit
