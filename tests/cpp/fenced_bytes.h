// Memory that shows when a kernel touches a byte beside it.
#pragma once

#include <gtest/gtest.h>
#if __has_include(<sys/mman.h>)
#include <sys/mman.h>
#include <unistd.h>
#define NEARBIT_HAS_MMAP 1
#endif

#include <cstddef>
#include <cstdint>
#include <new>

namespace nearbit {

// Bytes between two unreadable pages: they end where the page behind them begins, or begin where
// the page before them ends.
class FencedBytes {
  public:
    enum Side { kEndsAtFence, kBeginsAtFence };

    explicit FencedBytes(size_t size, Side side = kEndsAtFence, size_t alignment = 1) {
#ifdef NEARBIT_HAS_MMAP
        const size_t page = size_t(sysconf(_SC_PAGESIZE));
        const size_t inside = (size + page) / page * page;
        mapped_ = inside + 2 * page;
        base_ = static_cast<uint8_t*>(
            mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
        EXPECT_NE(static_cast<void*>(base_), MAP_FAILED);
        EXPECT_EQ(mprotect(base_, page, PROT_NONE), 0);
        EXPECT_EQ(mprotect(base_ + page + inside, page, PROT_NONE), 0);
        const size_t room = (inside - size) / alignment * alignment;
        data_ = base_ + page + (side == kEndsAtFence ? room : 0);
#else
        (void)side;
        base_ = static_cast<uint8_t*>(::operator new(size + 1, std::align_val_t(64)));
        data_ = base_;
        (void)alignment;
#endif
    }
    ~FencedBytes() {
#ifdef NEARBIT_HAS_MMAP
        munmap(base_, mapped_);
#else
        ::operator delete(base_, std::align_val_t(64));
#endif
    }
    FencedBytes(const FencedBytes&) = delete;
    FencedBytes& operator=(const FencedBytes&) = delete;
    uint8_t* data() { return data_; }

  private:
    uint8_t* base_;
    uint8_t* data_;
    size_t mapped_ = 0;
};

}  // namespace nearbit
