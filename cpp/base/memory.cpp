#include "base/memory.h"

#include <cstring>
#include <new>

#ifdef _WIN32
#include <windows.h>
#else
#include <sys/mman.h>
#include <unistd.h>
#endif

namespace nearbit {
namespace {

constexpr size_t kFromSystem = size_t(1) << 20;
constexpr std::align_val_t kAlignment{64};

}  // namespace

Memory::Memory(size_t n_bytes, [[maybe_unused]] bool huge_pages) : n_bytes_(n_bytes) {
    if (n_bytes == 0) return;
    if (n_bytes < kFromSystem) {
        data_ = static_cast<std::byte*>(::operator new(n_bytes, kAlignment));
        std::memset(data_, 0, n_bytes);
        return;
    }
#ifdef _WIN32
    void* got = VirtualAlloc(nullptr, n_bytes, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE);
    if (got == nullptr) throw std::bad_alloc();
#else
    void* got = mmap(nullptr, n_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (got == MAP_FAILED) throw std::bad_alloc();
#ifdef MADV_HUGEPAGE
    if (huge_pages) madvise(got, n_bytes, MADV_HUGEPAGE);
#endif
#endif
    data_ = static_cast<std::byte*>(got);
}

Memory::~Memory() {
    if (data_ == nullptr) return;
    if (n_bytes_ < kFromSystem) {
        ::operator delete(data_, kAlignment);
        return;
    }
#ifdef _WIN32
    VirtualFree(data_, 0, MEM_RELEASE);
#else
    munmap(data_, n_bytes_);
#endif
}

size_t physical_memory() {
#ifdef _WIN32
    MEMORYSTATUSEX status;
    status.dwLength = sizeof(status);
    return GlobalMemoryStatusEx(&status) ? size_t(status.ullTotalPhys) : 0;
#else
    const long pages = sysconf(_SC_PHYS_PAGES), page_bytes = sysconf(_SC_PAGESIZE);
    return pages > 0 && page_bytes > 0 ? size_t(pages) * size_t(page_bytes) : 0;
#endif
}

}  // namespace nearbit
