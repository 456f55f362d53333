// The file operations of a save, behind an interface so that a test can record them and make each
// fail.
#pragma once

#include <cstddef>
#include <string>

namespace nearbit {

// Each returns 0 or an errno.
class FileOps {
  public:
    virtual ~FileOps() = default;

    // Makes a new file for writing (EEXIST where there is one) with the permissions of the file
    // `like`, or where there is none what the umask leaves.
    virtual int create(const std::string& path, const std::string& like, int* file) = 0;
    virtual int write(int file, const void* data, size_t n_bytes) = 0;  // all of it
    virtual int sync(int file) = 0;
    virtual int close(int file) = 0;
    virtual int rename(const std::string& from, const std::string& to) = 0;  // replaces `to`
    virtual int sync_folder(const std::string& folder) = 0;
    virtual int remove(const std::string& path) = 0;
};

FileOps& system_file_ops();

}  // namespace nearbit
