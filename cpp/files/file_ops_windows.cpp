#ifdef _WIN32

#define NOMINMAX
#define WIN32_LEAN_AND_MEAN
#include <fcntl.h>
#include <io.h>
#include <share.h>
#include <sys/stat.h>
#include <windows.h>

#include <algorithm>
#include <cerrno>

#include "files/file_ops.h"
#include "files/paths.h"

namespace nearbit {
namespace {

constexpr size_t kMaxWriteBytes = size_t{1} << 30;  // _write counts in int

int result_of(int status) {
    return status == 0 ? 0 : errno;
}

class SystemFileOps final : public FileOps {
  public:
    // Permissions here belong to the folder: there is nothing to take over from `like`.
    int create(const std::string& path, const std::string&, int* file) override {
        return ::_wsopen_s(file, native_path(path).c_str(),
                           _O_WRONLY | _O_CREAT | _O_EXCL | _O_BINARY | _O_NOINHERIT, _SH_DENYWR,
                           _S_IREAD | _S_IWRITE);
    }

    int write(int file, const void* data, size_t n_bytes) override {
        const char* p = static_cast<const char*>(data);
        while (n_bytes > 0) {
            const auto piece = static_cast<unsigned>(std::min(n_bytes, kMaxWriteBytes));
            const int written = ::_write(file, p, piece);
            if (written <= 0) return written < 0 ? errno : ENOSPC;
            p += written;
            n_bytes -= static_cast<size_t>(written);
        }
        return 0;
    }

    int sync(int file) override { return result_of(::_commit(file)); }

    int close(int file) override { return result_of(::_close(file)); }

    int rename(const std::string& from, const std::string& to) override {
        if (::MoveFileExW(native_path(from).c_str(), native_path(to).c_str(),
                          MOVEFILE_REPLACE_EXISTING | MOVEFILE_WRITE_THROUGH)) {
            return 0;
        }
        switch (::GetLastError()) {
            case ERROR_FILE_NOT_FOUND:
            case ERROR_PATH_NOT_FOUND:
                return ENOENT;
            case ERROR_DISK_FULL:
                return ENOSPC;
            case ERROR_ACCESS_DENIED:
            case ERROR_SHARING_VIOLATION:
            case ERROR_USER_MAPPED_FILE:
                return EACCES;  // the target is open or mapped somewhere
            default:
                return EIO;
        }
    }

    // MOVEFILE_WRITE_THROUGH returned when the folder was written.
    int sync_folder(const std::string&) override { return 0; }

    int remove(const std::string& path) override {
        return result_of(::_wunlink(native_path(path).c_str()));
    }
};

}  // namespace

FileOps& system_file_ops() {
    static SystemFileOps ops;
    return ops;
}

}  // namespace nearbit

#endif
