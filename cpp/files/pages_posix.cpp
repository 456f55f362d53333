#ifndef _WIN32

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <new>

#include "files/pages.h"
#include "files/paths.h"

namespace nearbit {
namespace {

// 0, or the errno of what is no regular file that memory can hold.
int look_at(int fd, size_t* n_bytes) {
    struct stat status;
    if (::fstat(fd, &status) != 0) return errno;
    if (S_ISDIR(status.st_mode)) return EISDIR;
    if (!S_ISREG(status.st_mode)) return EINVAL;
    if (static_cast<uintmax_t>(status.st_size) > SIZE_MAX) return EFBIG;
    *n_bytes = static_cast<size_t>(status.st_size);
    return 0;
}

}  // namespace

InputFile::InputFile(const std::string& path) : path_(path) {
    // Without O_NONBLOCK a pipe would wait for its writer before it could be refused.
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) throw_io_error(errno, path, "open");
    if (const int code = look_at(fd, &n_bytes_); code != 0) {
        ::close(fd);
        throw_io_error(code, path, "open as a regular file");
    }
    handle_ = fd;
}

InputFile::~InputFile() {
    ::close(static_cast<int>(handle_));
}

size_t InputFile::read(size_t offset, std::byte* data, size_t n_bytes) const {
    ssize_t got;
    do {
        got = ::pread(static_cast<int>(handle_), data, n_bytes, static_cast<off_t>(offset));
    } while (got < 0 && errno == EINTR);
    if (got < 0) throw_io_error(errno, path_, "read");
    return static_cast<size_t>(got);
}

std::byte* InputFile::map() const {
    void* const data =
        ::mmap(nullptr, n_bytes_, PROT_READ, MAP_SHARED, static_cast<int>(handle_), 0);
    if (data != MAP_FAILED) return static_cast<std::byte*>(data);
    if (errno == ENOMEM) throw std::bad_alloc();
    throw_io_error(errno, path_, "map");
}

void unmap(std::byte* data, size_t n_bytes) noexcept {
    ::munmap(data, n_bytes);
}

std::byte* allocate_pages(size_t n_bytes) {
    void* const data =
        ::mmap(nullptr, n_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (data == MAP_FAILED) throw std::bad_alloc();
    return static_cast<std::byte*>(data);
}

void free_pages(std::byte* data, size_t n_bytes) noexcept {
    ::munmap(data, n_bytes);
}

void drop_pages(std::byte* data, size_t n_bytes) noexcept {
    ::madvise(data, n_bytes, MADV_DONTNEED);
}

size_t page_bytes() noexcept {
    return static_cast<size_t>(::sysconf(_SC_PAGESIZE));
}

}  // namespace nearbit

#endif
