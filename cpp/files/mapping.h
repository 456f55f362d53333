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
    // and may throw. So may `check`, which sees the first and the last bytes (kEndBytes of each, or
    // all of a shorter file) and the length, before there is memory for the rest.
    using Check = std::function<void(std::span<const std::byte> first,
                                     std::span<const std::byte> last, size_t n_bytes)>;
    static constexpr size_t kEndBytes = 64;
    static std::shared_ptr<Mapping> read(const std::string& path,
                                         const std::function<void()>& poll = {},
                                         const Check& check = {});

    ~Mapping();
    Mapping(const Mapping&) = delete;
    Mapping& operator=(const Mapping&) = delete;

    // Begin at a page.
    std::span<const std::byte> bytes() const { return {data_, n_bytes_}; }

    // Gives the whole pages inside `part` of a copy back to the system (a mapped file's are the
    // system's anyway); their bytes are not to be read again. Who copies out a piece and discards
    // it, and so on, never holds two copies of the file.
    void discard(std::span<const std::byte> part) noexcept;

  private:
    enum class Kind { kFile, kMemory };
    explicit Mapping(Kind kind) : kind_(kind) {}

    std::byte* data_ = nullptr;
    size_t n_bytes_ = 0;
    Kind kind_;
};

}  // namespace nearbit
