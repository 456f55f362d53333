#ifndef _WIN32

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <new>

#include "files/mapping.h"
#include "files/paths.h"

namespace nearbit {
namespace {

constexpr size_t kPieceBytes = size_t{4} << 20;  // between two polls

// A regular file, opened, and its length.
class OpenFile {
  public:
    explicit OpenFile(const std::string& path) {
        // Without O_NONBLOCK a pipe would wait for its writer before it could be refused.
        fd_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
        if (fd_ < 0) throw_io_error(errno, path, "open");
        struct stat status;
        const int code = ::fstat(fd_, &status) != 0                          ? errno
                         : S_ISDIR(status.st_mode)                           ? EISDIR
                         : !S_ISREG(status.st_mode)                          ? EINVAL
                         : static_cast<uintmax_t>(status.st_size) > SIZE_MAX ? EFBIG
                                                                             : 0;
        if (code != 0) {
            ::close(fd_);
            throw_io_error(code, path, "open as a regular file");
        }
        n_bytes_ = static_cast<size_t>(status.st_size);
    }
    ~OpenFile() { ::close(fd_); }
    OpenFile(const OpenFile&) = delete;
    OpenFile& operator=(const OpenFile&) = delete;

    int fd() const { return fd_; }
    size_t n_bytes() const { return n_bytes_; }

  private:
    int fd_;
    size_t n_bytes_;
};

// nullptr on failure, with errno, and for no bytes.
std::byte* map(size_t n_bytes, int protection, int flags, int fd) {
    if (n_bytes == 0) return nullptr;
    void* const data = ::mmap(nullptr, n_bytes, protection, flags, fd, 0);
    return data == MAP_FAILED ? nullptr : static_cast<std::byte*>(data);
}

}  // namespace

std::shared_ptr<Mapping> Mapping::open(const std::string& path) {
    const OpenFile file(path);
    std::byte* const data = map(file.n_bytes(), PROT_READ, MAP_SHARED, file.fd());
    if (data == nullptr && file.n_bytes() > 0) {
        if (errno == ENOMEM) throw std::bad_alloc();
        throw_io_error(errno, path, "map");
    }
    return std::shared_ptr<Mapping>(new Mapping(data, file.n_bytes(), Kind::kFile));
}

std::shared_ptr<Mapping> Mapping::read(const std::string& path, const std::function<void()>& poll) {
    const OpenFile file(path);
    std::byte* const data =
        map(file.n_bytes(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    if (data == nullptr && file.n_bytes() > 0) throw std::bad_alloc();
    const std::shared_ptr<Mapping> mapping(new Mapping(data, file.n_bytes(), Kind::kMemory));
    for (size_t done = 0; done < file.n_bytes();) {
        if (poll) poll();
        const ssize_t got =
            ::read(file.fd(), data + done, std::min(kPieceBytes, file.n_bytes() - done));
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) throw_io_error(errno, path, "read");
        if (got == 0)
            throw CorruptFile(path + ": expected " + std::to_string(file.n_bytes()) +
                              " bytes, got " + std::to_string(done) +
                              ": it was cut off while being read");
        done += static_cast<size_t>(got);
    }
    return mapping;
}

Mapping::~Mapping() {
    if (data_ != nullptr) ::munmap(data_, n_bytes_);
}

void Mapping::discard(std::span<const std::byte> part) noexcept {
    const auto page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
    const auto offset = static_cast<size_t>(part.data() - data_);
    const size_t begin = (offset + page - 1) / page * page;
    const size_t end = (offset + part.size()) / page * page;
    if (begin < end) ::madvise(data_ + begin, end - begin, MADV_DONTNEED);
}

}  // namespace nearbit

#endif
