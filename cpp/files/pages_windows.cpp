#ifdef _WIN32

#define NOMINMAX
#define WIN32_LEAN_AND_MEAN
#include <windows.h>

#include <algorithm>
#include <cerrno>
#include <new>

#include "files/pages.h"
#include "files/paths.h"

namespace nearbit {
namespace {

[[noreturn]] void throw_last_error(const std::string& path, const char* operation) {
    switch (::GetLastError()) {
        case ERROR_FILE_NOT_FOUND:
        case ERROR_PATH_NOT_FOUND:
        case ERROR_INVALID_NAME:
            throw_io_error(ENOENT, path, operation);
        case ERROR_ACCESS_DENIED:
        case ERROR_SHARING_VIOLATION:
            throw_io_error(EACCES, path, operation);
        case ERROR_NOT_ENOUGH_MEMORY:
        case ERROR_COMMITMENT_LIMIT:
            throw std::bad_alloc();
        default:
            throw_io_error(EIO, path, operation);
    }
}

HANDLE as_handle(intptr_t handle) {
    return reinterpret_cast<HANDLE>(handle);
}

}  // namespace

InputFile::InputFile(const std::string& path) : path_(path) {
    const std::filesystem::path native = native_path(path);
    std::error_code ignored;  // what can't be looked at can't be opened either
    if (std::filesystem::is_directory(native, ignored)) {
        throw_io_error(EISDIR, path, "open as a regular file");
    }
    // Shared for deletion: a save may replace the file while it is being read.
    const HANDLE handle =
        ::CreateFileW(native.c_str(), GENERIC_READ, FILE_SHARE_READ | FILE_SHARE_DELETE, nullptr,
                      OPEN_EXISTING, FILE_ATTRIBUTE_NORMAL, nullptr);
    if (handle == INVALID_HANDLE_VALUE) throw_last_error(path, "open");
    LARGE_INTEGER n_bytes;
    if (::GetFileType(handle) != FILE_TYPE_DISK || !::GetFileSizeEx(handle, &n_bytes)) {
        ::CloseHandle(handle);
        throw_io_error(EINVAL, path, "open as a regular file");
    }
    handle_ = reinterpret_cast<intptr_t>(handle);
    n_bytes_ = static_cast<size_t>(n_bytes.QuadPart);
}

InputFile::~InputFile() {
    ::CloseHandle(as_handle(handle_));
}

size_t InputFile::read(size_t offset, std::byte* data, size_t n_bytes) const {
    DWORD got = 0;
    OVERLAPPED from{};
    from.Offset = static_cast<DWORD>(offset);
    from.OffsetHigh = static_cast<DWORD>(uint64_t{offset} >> 32);
    const auto piece = static_cast<DWORD>(std::min(n_bytes, size_t{1} << 30));
    if (!::ReadFile(as_handle(handle_), data, piece, &got, &from)) {
        if (::GetLastError() == ERROR_HANDLE_EOF) return 0;
        throw_last_error(path_, "read");
    }
    return got;
}

std::byte* InputFile::map() const {
    const HANDLE mapping =
        ::CreateFileMappingW(as_handle(handle_), nullptr, PAGE_READONLY, 0, 0, nullptr);
    if (mapping == nullptr) throw_last_error(path_, "map");
    void* const data = ::MapViewOfFile(mapping, FILE_MAP_READ, 0, 0, n_bytes_);
    const DWORD error = ::GetLastError();
    ::CloseHandle(mapping);  // the view holds it
    ::SetLastError(error);
    if (data == nullptr) throw_last_error(path_, "map");
    return static_cast<std::byte*>(data);
}

void unmap(std::byte* data, size_t) noexcept {
    ::UnmapViewOfFile(data);
}

std::byte* allocate_pages(size_t n_bytes) {
    void* const data = ::VirtualAlloc(nullptr, n_bytes, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE);
    if (data == nullptr) throw std::bad_alloc();
    return static_cast<std::byte*>(data);
}

void free_pages(std::byte* data, size_t) noexcept {
    ::VirtualFree(data, 0, MEM_RELEASE);
}

// Reset pages stay readable, with any content.
void drop_pages(std::byte* data, size_t n_bytes) noexcept {
    ::VirtualAlloc(data, n_bytes, MEM_RESET, PAGE_READWRITE);
}

size_t page_bytes() noexcept {
    SYSTEM_INFO system;
    ::GetSystemInfo(&system);
    return system.dwPageSize;
}

}  // namespace nearbit

#endif
