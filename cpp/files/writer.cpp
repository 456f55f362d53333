#include "files/writer.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <string>

#include "base/checksum.h"
#include "base/error.h"

namespace nearbit {
namespace {

void set_text(char (&field)[16], std::string_view text, const char* argument) {
    const bool printable =
        std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c <= '~'; });
    if (text.empty() || text.size() >= sizeof field || !printable) {
        throw InvalidArgument(std::string(argument) +
                              ": expected 1 to 15 printable ASCII characters, got '" +
                              std::string(text) + "'");
    }
    std::memcpy(field, text.data(), text.size());
}

void require(bool allowed, const char* text) {
    if (!allowed) throw InvalidState(text);
}

}  // namespace

ContainerWriter::ContainerWriter(Output& output, std::string_view isa) : output_(output) {
    FileHeader header{};
    std::memcpy(header.magic, kMagic, sizeof kMagic);
    header.version = kFormatVersion;
    header.byte_order = kByteOrder;
    set_text(header.isa, isa, "isa");
    header.checksum = crc32c(&header, offsetof(FileHeader, checksum));
    put(&header, sizeof header);
}

void ContainerWriter::begin(std::string_view name, SectionFlags flags) {
    require(state_ == State::kBetween, "begin: expected a writer between two sections");
    require(table_.size() < kMaxSections, "begin: expected at most 1024 sections");
    TableEntry entry{};
    set_text(entry.name, name, "name");
    for (const TableEntry& other : table_) {
        if (std::memcmp(other.name, entry.name, sizeof entry.name) == 0) {
            throw InvalidArgument("name: expected one section of a name, got a second '" +
                                  std::string(name) + "'");
        }
    }
    entry.flags = (flags.required ? kRequiredFlag : 0) | (flags.mappable ? kMappableFlag : 0);
    pad_to(alignment_of(entry.flags));
    entry.offset = n_bytes_;
    table_.push_back(entry);
    state_ = State::kInSection;
}

void ContainerWriter::write(const void* data, size_t n_bytes) {
    require(state_ == State::kInSection, "write: expected a writer inside a section");
    TableEntry& entry = table_.back();
    entry.checksum = crc32c(data, n_bytes, entry.checksum);
    put(data, n_bytes);
    entry.n_bytes += n_bytes;
}

void ContainerWriter::end() {
    require(state_ == State::kInSection, "end: expected a writer inside a section");
    state_ = State::kBetween;
}

void ContainerWriter::finish() {
    require(state_ == State::kBetween, "finish: expected a writer between two sections");
    pad_to(kAlignment);
    FileTrailer trailer{};
    const size_t table_bytes = table_.size() * sizeof(TableEntry);
    trailer.table_offset = n_bytes_;
    trailer.file_bytes = n_bytes_ + table_bytes + sizeof trailer;
    trailer.n_sections = static_cast<uint32_t>(table_.size());
    trailer.table_checksum = crc32c(table_.data(), table_bytes);
    trailer.checksum = crc32c(&trailer, offsetof(FileTrailer, checksum));
    put(table_.data(), table_bytes);
    put(&trailer, sizeof trailer);
    state_ = State::kFinished;
}

void ContainerWriter::put(const void* data, size_t n_bytes) {
    output_.write(data, n_bytes);
    n_bytes_ += n_bytes;
}

void ContainerWriter::pad_to(uint64_t alignment) {
    static constexpr char kZeros[kMappableAlignment] = {};
    put(kZeros, static_cast<size_t>(align_up(n_bytes_, alignment) - n_bytes_));
}

}  // namespace nearbit
