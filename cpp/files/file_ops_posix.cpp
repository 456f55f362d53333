#ifndef _WIN32

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>

#include "files/file_ops.h"

namespace nearbit {
namespace {

constexpr size_t kMaxWriteBytes = size_t{1} << 30;  // macOS refuses 2 GiB and more

int fsync_whole(int fd) {
#ifdef F_FULLFSYNC
    // macOS: fsync leaves the data in the drive's cache. Not every file system has the other.
    if (::fcntl(fd, F_FULLFSYNC) == 0) return 0;
#endif
    int result;
    do {
        result = ::fsync(fd);
    } while (result != 0 && errno == EINTR);
    return result == 0 ? 0 : errno;
}

class SystemFileOps final : public FileOps {
  public:
    int create(const std::string& path, const std::string& like, int* file) override {
        struct stat status;
        const bool alike = ::stat(like.c_str(), &status) == 0;
        // Never more open than it will be: what is read through a file once opened stays readable.
        const mode_t mode = alike ? status.st_mode & 0777 : 0666;
        *file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
        if (*file < 0) return errno;
        // What the umask took away; a file system without permissions may refuse.
        if (alike) static_cast<void>(::fchmod(*file, mode));
        return 0;
    }

    int write(int file, const void* data, size_t n_bytes) override {
        const char* p = static_cast<const char*>(data);
        while (n_bytes > 0) {
            const ssize_t written = ::write(file, p, std::min(n_bytes, kMaxWriteBytes));
            if (written < 0 && errno == EINTR) continue;
            if (written < 0) return errno;
            p += written;
            n_bytes -= static_cast<size_t>(written);
        }
        return 0;
    }

    int sync(int file) override { return fsync_whole(file); }

    int close(int file) override { return ::close(file) == 0 ? 0 : errno; }

    int rename(const std::string& from, const std::string& to) override {
        return std::rename(from.c_str(), to.c_str()) == 0 ? 0 : errno;
    }

    int sync_folder(const std::string& folder) override {
        const int fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        // A folder that may be written but not read can't be synced; nor can some network folders.
        if (fd < 0) return errno == EACCES ? 0 : errno;
        const int code = fsync_whole(fd);
        ::close(fd);
        return code == EINVAL || code == ENOTSUP ? 0 : code;
    }

    int remove(const std::string& path) override { return ::unlink(path.c_str()) == 0 ? 0 : errno; }
};

}  // namespace

FileOps& system_file_ops() {
    static SystemFileOps ops;
    return ops;
}

}  // namespace nearbit

#endif
