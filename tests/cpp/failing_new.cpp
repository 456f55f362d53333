// operator new for all tests: the ordinary one, but it can be made to fail. In a file of its own,
// where no compiler sees new and free side by side and calls them mismatched.
#include "failing_new.h"

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <new>
#include <utility>

thread_local long failing_new = -1;

namespace {

void* allocate(std::size_t n_bytes, std::size_t alignment) {
    if (failing_new >= 0 && failing_new-- == 0) throw std::bad_alloc();
    n_bytes = std::max<std::size_t>(n_bytes, 1);
#ifdef _WIN32
    void* got = _aligned_malloc(n_bytes, alignment);
#else
    void* got = std::aligned_alloc(alignment, (n_bytes + alignment - 1) / alignment * alignment);
#endif
    if (got == nullptr) throw std::bad_alloc();
    return got;
}

void release(void* p) {
#ifdef _WIN32
    _aligned_free(p);
#else
    std::free(p);
#endif
}

// Not counted: who asks like this can do without (std::inplace_merge), and nobody is told.
void* allocate_or_null(std::size_t n_bytes) noexcept {
    const long left = std::exchange(failing_new, -1);
    void* got = nullptr;
    try {
        got = allocate(n_bytes, __STDCPP_DEFAULT_NEW_ALIGNMENT__);
    } catch (const std::bad_alloc&) {
    }
    failing_new = left;
    return got;
}

}  // namespace

// All forms, so that none of the sanitizers' own is left to meet another's delete.
void* operator new(std::size_t n) {
    return allocate(n, __STDCPP_DEFAULT_NEW_ALIGNMENT__);
}
void* operator new[](std::size_t n) {
    return allocate(n, __STDCPP_DEFAULT_NEW_ALIGNMENT__);
}
void* operator new(std::size_t n, std::align_val_t a) {
    return allocate(n, std::size_t(a));
}
void* operator new[](std::size_t n, std::align_val_t a) {
    return allocate(n, std::size_t(a));
}
void* operator new(std::size_t n, const std::nothrow_t&) noexcept {
    return allocate_or_null(n);
}
void* operator new[](std::size_t n, const std::nothrow_t&) noexcept {
    return allocate_or_null(n);
}
void operator delete(void* p) noexcept {
    release(p);
}
void operator delete[](void* p) noexcept {
    release(p);
}
void operator delete(void* p, std::size_t) noexcept {
    release(p);
}
void operator delete[](void* p, std::size_t) noexcept {
    release(p);
}
void operator delete(void* p, std::align_val_t) noexcept {
    release(p);
}
void operator delete[](void* p, std::align_val_t) noexcept {
    release(p);
}
void operator delete(void* p, std::size_t, std::align_val_t) noexcept {
    release(p);
}
void operator delete[](void* p, std::size_t, std::align_val_t) noexcept {
    release(p);
}
void operator delete(void* p, const std::nothrow_t&) noexcept {
    release(p);
}
void operator delete[](void* p, const std::nothrow_t&) noexcept {
    release(p);
}
