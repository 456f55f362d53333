#include "files/mapping.h"

#include <algorithm>

#include "base/error.h"
#include "files/pages.h"

namespace nearbit {
namespace {

constexpr size_t kPieceBytes = size_t{4} << 20;  // between two polls

// The file's bytes from `offset` on, in pieces that may not all have come when `poll` throws.
void read_all(const InputFile& file, const std::string& path, size_t offset,
              std::span<std::byte> to, const std::function<void()>& poll) {
    for (size_t done = 0; done < to.size();) {
        if (poll) poll();
        const size_t got =
            file.read(offset + done, to.data() + done, std::min(kPieceBytes, to.size() - done));
        if (got == 0) {
            throw CorruptFile(path + ": expected " + std::to_string(file.n_bytes()) +
                              " bytes, got " + std::to_string(offset + done) +
                              ": cut off while it was read");
        }
        done += got;
    }
}

}  // namespace

std::shared_ptr<Mapping> Mapping::open(const std::string& path) {
    const InputFile file(path);
    const std::shared_ptr<Mapping> mapping(new Mapping(Kind::kFile));
    if (file.n_bytes() > 0) mapping->data_ = file.map();
    mapping->n_bytes_ = file.n_bytes();
    return mapping;
}

std::shared_ptr<Mapping> Mapping::read(const std::string& path, const std::function<void()>& poll,
                                       const Check& check) {
    const InputFile file(path);
    if (check) {
        std::byte ends[2][kEndBytes];
        const size_t n = std::min(kEndBytes, file.n_bytes());
        read_all(file, path, 0, {ends[0], n}, {});
        read_all(file, path, file.n_bytes() - n, {ends[1], n}, {});
        check({ends[0], n}, {ends[1], n}, file.n_bytes());
    }
    const std::shared_ptr<Mapping> mapping(new Mapping(Kind::kMemory));
    if (file.n_bytes() > 0) mapping->data_ = allocate_pages(file.n_bytes());
    mapping->n_bytes_ = file.n_bytes();
    read_all(file, path, 0, {mapping->data_, file.n_bytes()}, poll);
    return mapping;
}

Mapping::~Mapping() {
    if (data_ == nullptr) return;
    if (kind_ == Kind::kFile) {
        unmap(data_, n_bytes_);
    } else {
        free_pages(data_, n_bytes_);
    }
}

void Mapping::discard(std::span<const std::byte> part) noexcept {
    if (kind_ == Kind::kFile) return;
    const size_t page = page_bytes();
    const auto offset = static_cast<size_t>(part.data() - data_);
    const size_t begin = (offset + page - 1) / page * page;
    const size_t end = (offset + part.size()) / page * page;
    if (begin < end) drop_pages(data_ + begin, end - begin);
}

}  // namespace nearbit
