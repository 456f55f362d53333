#include "files/reader.h"

#include <algorithm>
#include <cstdio>
#include <cstring>

#include "base/checksum.h"
#include "files/format.h"

namespace nearbit {
namespace {

constexpr size_t kPieceBytes = size_t{4} << 20;  // between two polls

template <class T>
T load(std::span<const std::byte> bytes, size_t offset = 0) {
    T value;
    std::memcpy(&value, bytes.data() + offset, sizeof value);
    return value;
}

std::string hex(uint32_t value) {
    char digits[9];
    std::snprintf(digits, sizeof digits, "%08x", static_cast<unsigned>(value));
    return digits;
}

[[noreturn]] void refuse_source(const std::string& source, const std::string& text) {
    throw CorruptFile(source + ": " + text);
}

std::string expected_got(uint64_t expected, uint64_t got) {
    return "expected " + std::to_string(expected) + ", got " + std::to_string(got);
}

}  // namespace

ContainerReader::ContainerReader(std::span<const std::byte> bytes, std::string source,
                                 std::span<const std::string_view> known)
    : bytes_(bytes), source_(std::move(source)) {
    const size_t end_bytes = std::min(kEndBytes, bytes.size());
    check_ends(bytes.first(end_bytes), bytes.last(end_bytes), bytes.size(), source_);
    text(load<FileHeader>(bytes_).isa, offsetof(FileHeader, isa), "header: isa");
    read_table(known);
}

void ContainerReader::check_ends(std::span<const std::byte> first, std::span<const std::byte> last,
                                 uint64_t n_bytes, const std::string& source) {
    const auto refuse = [&](const std::string& text) { refuse_source(source, text); };
    if (first.size() < sizeof kMagic || std::memcmp(first.data(), kMagic, sizeof kMagic) != 0) {
        refuse("expected a nearbit index, got something else: its first 8 bytes differ");
    }
    if (n_bytes < sizeof(FileHeader) + sizeof(FileTrailer)) {
        refuse("expected at least " + std::to_string(sizeof(FileHeader) + sizeof(FileTrailer)) +
               " bytes, got " + std::to_string(n_bytes) + ": the end is missing");
    }
    const auto header = load<FileHeader>(first);
    if (header.byte_order != kByteOrder) refuse("expected little-endian numbers, got others");
    // Before the checksum, whose place another version may have moved.
    if (header.version != kFormatVersion) {
        refuse("expected format version " + std::to_string(kFormatVersion) +
               ", the one that this build reads, got " + std::to_string(header.version));
    }
    const uint32_t checksum = crc32c(&header, offsetof(FileHeader, checksum));
    if (checksum != header.checksum) {
        refuse("header: expected checksum " + hex(header.checksum) + ", got " + hex(checksum));
    }
    const auto trailer = load<FileTrailer>(last.last(sizeof(FileTrailer)));
    if (crc32c(&trailer, offsetof(FileTrailer, checksum)) != trailer.checksum) {
        refuse("expected a trailer in the last " + std::to_string(sizeof trailer) +
               " bytes, got others: damaged, cut off, or with bytes added");
    }
    if (trailer.file_bytes != n_bytes) {
        refuse("length in bytes: " + expected_got(trailer.file_bytes, n_bytes));
    }
    if (trailer.n_sections > kMaxSections) {
        refuse("expected at most " + std::to_string(kMaxSections) + " sections, got " +
               std::to_string(trailer.n_sections));
    }
    const uint64_t trailer_offset = n_bytes - sizeof(FileTrailer);
    const uint64_t table_bytes = trailer.n_sections * sizeof(TableEntry);
    if (table_bytes > trailer_offset - sizeof(FileHeader) ||
        trailer.table_offset != trailer_offset - table_bytes) {
        refuse("expected a table of " + std::to_string(trailer.n_sections) +
               " sections right before the trailer, got one at " +
               std::to_string(trailer.table_offset));
    }
}

void ContainerReader::read_table(std::span<const std::string_view> known) {
    const size_t trailer_offset = bytes_.size() - sizeof(FileTrailer);
    const auto trailer = load<FileTrailer>(bytes_, trailer_offset);
    table_offset_ = static_cast<size_t>(trailer.table_offset);
    const size_t table_bytes = trailer_offset - table_offset_;
    const uint32_t checksum = crc32c(bytes_.data() + table_offset_, table_bytes);
    if (checksum != trailer.table_checksum) {
        refuse("table: expected checksum " + hex(trailer.table_checksum) + ", got " +
               hex(checksum));
    }

    sections_.reserve(trailer.n_sections);
    size_t end = sizeof(FileHeader);  // of the section before, never beyond table_offset_
    for (size_t at = table_offset_; at < trailer_offset; at += sizeof(TableEntry)) {
        const auto entry = load<TableEntry>(bytes_, at);
        const std::string_view name = text(entry.name, at, "table: section name");
        if (has(name)) refuse_section(name, "expected once, got twice");
        if (entry.flags & ~(kRequiredFlag | kMappableFlag)) {
            refuse_section(name, "expected flags up to 3, got " + std::to_string(entry.flags));
        }
        // One place alone is right: so there is no order, gap or overlap to check besides.
        const uint64_t offset = align_up(end, alignment_of(entry.flags));
        if (entry.offset != offset) {
            refuse_section(name, "offset: " + expected_got(offset, entry.offset));
        }
        if (offset > table_offset_ || entry.n_bytes > table_offset_ - offset) {
            refuse_section(name, "expected its end before the table, got " +
                                     std::to_string(entry.n_bytes) + " bytes from " +
                                     std::to_string(offset));
        }
        if ((entry.flags & kRequiredFlag) && std::ranges::find(known, name) == known.end()) {
            refuse_section(name,
                           "expected a name that this build knows, got a required section "
                           "that it does not");
        }
        end = static_cast<size_t>(offset + entry.n_bytes);
        sections_.push_back({name, entry.checksum, static_cast<size_t>(offset),
                             static_cast<size_t>(entry.n_bytes)});
    }
    if (table_offset_ != align_up(end, kAlignment)) {
        refuse("table: offset: " + expected_got(align_up(end, kAlignment), table_offset_));
    }
}

std::string_view ContainerReader::text(const char (&field)[16], size_t offset,
                                       const char* what) const {
    const auto* const end = std::find(field, field + sizeof field, '\0');
    const bool printable = std::all_of(static_cast<const char*>(field), end,
                                       [](char c) { return c > ' ' && c <= '~'; });
    const bool zero_after = std::all_of(end, field + sizeof field, [](char c) { return c == 0; });
    if (end == field || end == field + sizeof field || !printable || !zero_after) {
        refuse(std::string(what) + ": expected 1 to 15 printable ASCII characters, got others");
    }
    return {reinterpret_cast<const char*>(bytes_.data()) + offset,
            static_cast<size_t>(end - field)};
}

void ContainerReader::refuse(const std::string& text) const {
    refuse_source(source_, text);
}

void ContainerReader::refuse_section(std::string_view name, const std::string& text) const {
    throw CorruptFile(where(name) + ": " + text);
}

std::string ContainerReader::where(std::string_view name) const {
    return source_ + ": section '" + std::string(name) + "'";
}

const ContainerReader::Section* ContainerReader::find(std::string_view name) const {
    const auto found = std::ranges::find(sections_, name, &Section::name);
    return found == sections_.end() ? nullptr : &*found;
}

const ContainerReader::Section& ContainerReader::get(std::string_view name) const {
    const Section* const found = find(name);
    if (found == nullptr) refuse_section(name, "expected in the file, got none");
    return *found;
}

std::span<const std::byte> ContainerReader::section(std::string_view name) const {
    const Section& found = get(name);
    return bytes_.subspan(found.offset, found.n_bytes);
}

void ContainerReader::verify(std::string_view name, const std::function<void()>& poll) const {
    verify(get(name), poll);
}

void ContainerReader::verify(const Section& section, const std::function<void()>& poll) const {
    uint32_t checksum = 0;
    for (size_t done = 0; done < section.n_bytes; done += kPieceBytes) {
        if (poll) poll();
        checksum = crc32c(bytes_.data() + section.offset + done,
                          std::min(kPieceBytes, section.n_bytes - done), checksum);
    }
    if (checksum != section.checksum) {
        refuse_section(section.name,
                       "expected checksum " + hex(section.checksum) + ", got " + hex(checksum));
    }
}

void ContainerReader::verify_all(const std::function<void()>& poll) const {
    size_t end = sizeof(FileHeader);
    for (const Section& section : sections_) {
        verify_zero(end, section.offset);
        verify(section, poll);
        end = section.offset + section.n_bytes;
    }
    verify_zero(end, table_offset_);
}

void ContainerReader::verify_zero(size_t begin, size_t end) const {
    const auto padding = bytes_.subspan(begin, end - begin);
    if (std::ranges::any_of(padding, [](std::byte b) { return b != std::byte{0}; })) {
        refuse("expected zero bytes from " + std::to_string(begin) + " to " + std::to_string(end) +
               ", got others");
    }
}

}  // namespace nearbit
