// Paths as the caller gave them (bytes on POSIX, UTF-8 on Windows) and errors that name them.
#pragma once

#include <filesystem>
#include <string>
#include <system_error>

#include "base/error.h"

namespace nearbit {

inline std::filesystem::path native_path(const std::string& path) {
#ifdef _WIN32
    return std::filesystem::path(std::u8string(path.begin(), path.end()));
#else
    return std::filesystem::path(path);
#endif
}

// `code` is an errno.
[[noreturn]] inline void throw_io_error(int code, const std::string& path,
                                        const std::string& operation) {
    throw IoError(code, path,
                  path + ": cannot " + operation + ": " + std::generic_category().message(code));
}

}  // namespace nearbit
