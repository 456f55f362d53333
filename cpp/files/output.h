// Where a container is written to: bytes one after the other.
#pragma once

#include <cstddef>
#include <string>

namespace nearbit {

class Output {
  public:
    virtual ~Output() = default;
    virtual void write(const void* data, size_t n_bytes) = 0;
};

class MemoryOutput final : public Output {
  public:
    void write(const void* data, size_t n_bytes) override {
        if (n_bytes > 0) bytes.append(static_cast<const char*>(data), n_bytes);
    }
    std::string bytes;
};

}  // namespace nearbit
