// Files opened for reading and pages of memory, as each system has them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace nearbit {

class InputFile {
  public:
    explicit InputFile(const std::string& path);  // IoError unless it is a regular file
    ~InputFile();
    InputFile(const InputFile&) = delete;
    InputFile& operator=(const InputFile&) = delete;

    size_t n_bytes() const { return n_bytes_; }  // when it was opened

    // Some of the bytes from `offset` on, at least one; 0 at the end.
    size_t read(size_t offset, std::byte* data, size_t n_bytes) const;

    // The whole of it, which isn't empty, read-only and shared.
    std::byte* map() const;

  private:
    std::string path_;
    intptr_t handle_ = -1;
    size_t n_bytes_ = 0;
};

void unmap(std::byte* data, size_t n_bytes) noexcept;

// Zero pages of one's own; at least one byte.
std::byte* allocate_pages(size_t n_bytes);
void free_pages(std::byte* data, size_t n_bytes) noexcept;
// Lets go of the content of whole pages.
void drop_pages(std::byte* data, size_t n_bytes) noexcept;
size_t page_bytes() noexcept;

}  // namespace nearbit
