// Memory for rows and tables: zeroed, aligned, and free until it is touched.
#pragma once

#include <cstddef>
#include <utility>

namespace nearbit {

class Memory {
  public:
    Memory() = default;
    // Zeroed bytes, aligned to 64. From 1 MiB up they come straight from the system, so that pages
    // nobody touches cost nothing. huge_pages asks for 2 MiB pages: 2-4 % faster scans, but the
    // first touch of each costs the whole page. Throws std::bad_alloc.
    explicit Memory(size_t n_bytes, bool huge_pages = false);
    ~Memory();
    Memory(Memory&& other) noexcept { swap(other); }
    Memory& operator=(Memory&& other) noexcept {
        swap(other);
        return *this;
    }

    std::byte* data() const { return data_; }
    size_t size() const { return n_bytes_; }

    // At least n_bytes, keeping nothing: scratch space that grows as it is asked for.
    void at_least(size_t n_bytes) {
        if (n_bytes > n_bytes_) *this = Memory(n_bytes + n_bytes / 2);
    }

  private:
    void swap(Memory& other) noexcept {
        std::swap(data_, other.data_);
        std::swap(n_bytes_, other.n_bytes_);
    }
    std::byte* data_ = nullptr;
    size_t n_bytes_ = 0;
};

// Bytes of memory that this machine has; 0 if unknown.
size_t physical_memory();

}  // namespace nearbit
