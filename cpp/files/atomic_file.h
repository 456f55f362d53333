// A file that appears whole or not at all: written beside the target, synced, renamed over it.
#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "files/file_ops.h"
#include "files/output.h"

namespace nearbit {

class AtomicFile final : public Output {
  public:
    // The target may be missing; a link is followed, and what it points at replaced. Throws IoError
    // as every call here does.
    explicit AtomicFile(const std::string& path, FileOps& ops = system_file_ops());
    // Removes what was written unless it was committed. (A killed process leaves it behind, as
    // .nearbit-*.tmp beside the target.)
    ~AtomicFile() override;
    AtomicFile(const AtomicFile&) = delete;
    AtomicFile& operator=(const AtomicFile&) = delete;

    void write(const void* data, size_t n_bytes) override;

    // Until here the target is as it was. When this returns it is the new file, also after a crash
    // of the machine. When it throws it is the old one, but for an error of syncing the folder: the
    // new file is then in place, and a crash of the machine may bring the old one back.
    void commit();

  private:
    void check(int code, const char* operation) const;
    void create();
    void flush();

    FileOps& ops_;
    std::string path_;    // as given, for messages
    std::string target_;  // absolute, links followed
    std::string folder_;
    std::string temporary_;  // empty when there is none (any more)
    int file_ = -1;          // -1 when closed
    std::unique_ptr<std::byte[]> buffer_;
    size_t n_buffered_ = 0;
};

}  // namespace nearbit
