#include "files/atomic_file.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <random>

#include "files/paths.h"

namespace nearbit {
namespace {

namespace fs = std::filesystem;

constexpr size_t kBufferBytes = size_t{1} << 20;
constexpr int kMaxLinks = 40;  // as Linux
constexpr int kMaxNames = 16;  // one name is taken with probability 2^-64

std::string to_string(const fs::path& path) {
    const auto text = path.u8string();
    return std::string(text.begin(), text.end());
}

// Absolute, so that a change of the working directory before commit() changes nothing.
fs::path follow_links(const std::string& path) {
    if (path.empty()) throw_io_error(ENOENT, path, "open");
    std::error_code error;
    fs::path target = fs::absolute(native_path(path), error);
    for (int n = 0; !error && fs::is_symlink(fs::symlink_status(target, error)); ++n) {
        if (n == kMaxLinks) throw_io_error(ELOOP, path, "follow");
        target = target.parent_path() / fs::read_symlink(target, error);
    }
    if (error && error != std::errc::no_such_file_or_directory) {
        throw_io_error(error.default_error_condition().value(), path, "follow");
    }
    return target;
}

std::string temporary_name() {
    std::random_device random;
    char name[40];
    std::snprintf(name, sizeof name, ".nearbit-%08x%08x.tmp", random(), random());
    return name;
}

}  // namespace

AtomicFile::AtomicFile(const std::string& path, FileOps& ops)
    : ops_(ops), path_(path), buffer_(new std::byte[kBufferBytes]) {
    const fs::path target = follow_links(path);
    std::error_code ignored;  // what can't be looked at can't be created beside either
    const fs::file_status status = fs::status(target, ignored);
    if (fs::is_directory(status)) throw_io_error(EISDIR, path_, "replace");
    if (fs::exists(status) && !fs::is_regular_file(status)) {
        throw_io_error(EINVAL, path_, "replace what is not a regular file");
    }
    target_ = to_string(target);
    folder_ = to_string(target.parent_path());
    create();
}

AtomicFile::~AtomicFile() {
    if (file_ >= 0) ops_.close(file_);
    if (!temporary_.empty()) ops_.remove(temporary_);
}

void AtomicFile::check(int code, const char* operation) const {
    if (code != 0) throw_io_error(code, path_, operation);
}

void AtomicFile::create() {
    int code = EEXIST;
    std::string name;
    for (int n = 0; code == EEXIST && n < kMaxNames; ++n) {
        name = to_string(native_path(folder_) / temporary_name());
        code = ops_.create(name, target_, &file_);
    }
    check(code, "create a file beside it");
    temporary_ = std::move(name);
}

void AtomicFile::write(const void* data, size_t n_bytes) {
    if (n_bytes > kBufferBytes - n_buffered_) flush();
    if (n_bytes >= kBufferBytes) {
        check(ops_.write(file_, data, n_bytes), "write");
    } else if (n_bytes > 0) {
        std::memcpy(buffer_.get() + n_buffered_, data, n_bytes);
        n_buffered_ += n_bytes;
    }
}

void AtomicFile::flush() {
    if (n_buffered_ > 0) check(ops_.write(file_, buffer_.get(), n_buffered_), "write");
    n_buffered_ = 0;
}

void AtomicFile::commit() {
    flush();
    check(ops_.sync(file_), "sync");
    const int file = file_;
    file_ = -1;  // closed even where closing fails
    check(ops_.close(file), "close");
    check(ops_.rename(temporary_, target_), "replace");
    temporary_.clear();
    check(ops_.sync_folder(folder_), "sync the folder of");
}

}  // namespace nearbit
