// A file's bytes in memory: mapped and shared with other processes, or a copy of one's own.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <string>

namespace nearbit {

class Mapping {
  public:
    // Maps the file read-only; nothing is read until it is looked at. A file that another process
    // truncates or overwrites later shows through: the price of sharing.
    static std::shared_ptr<Mapping> open(const std::string& path);

    // Reads the whole file: nothing that happens to it later shows. `poll` is called every few MiB
    // and may throw.
    static std::shared_ptr<Mapping> read(const std::string& path,
                                         const std::function<void()>& poll = {});

    ~Mapping();
    Mapping(const Mapping&) = delete;
    Mapping& operator=(const Mapping&) = delete;

    // Begin at a page.
    std::span<const std::byte> bytes() const { return {data_, n_bytes_}; }

    // Gives the whole pages inside `part` back to the system; their bytes are not to be read again.
    // Copying out a piece at a time this way never holds two copies of the file.
    void discard(std::span<const std::byte> part) noexcept;

  private:
    enum class Kind { kFile, kMemory };
    Mapping(std::byte* data, size_t n_bytes, Kind kind)
        : data_(data), n_bytes_(n_bytes), kind_(kind) {}

    std::byte* data_;
    size_t n_bytes_;
    Kind kind_;
};

}  // namespace nearbit
