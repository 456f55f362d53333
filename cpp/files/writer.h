// Writes a container (docs/formats.md) in one pass: header, sections, table, trailer.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "files/format.h"
#include "files/output.h"

namespace nearbit {

struct SectionFlags {
    bool required = true;   // a reader that doesn't know the name must refuse the file
    bool mappable = false;  // begins at a page of 4 KiB: for arrays that are used in place
};

class ContainerWriter {
  public:
    // `isa`: name of the kernels in use when it is written. The output outlives the writer.
    ContainerWriter(Output& output, std::string_view isa);

    // Names: 1 to 15 printable ASCII characters, each name once.
    void begin(std::string_view name, SectionFlags flags);
    void write(const void* data, size_t n_bytes);
    void end();
    void finish();  // without it, or after an exception, what was written is no container

    uint64_t n_bytes() const { return n_bytes_; }

  private:
    void put(const void* data, size_t n_bytes);
    void pad_to(uint64_t alignment);

    enum class State { kBetween, kInSection, kFinished };

    Output& output_;
    State state_ = State::kBetween;
    uint64_t n_bytes_ = 0;
    std::vector<TableEntry> table_;
};

}  // namespace nearbit
