// What a forked child must know: the threads of its parent are gone, and so is whoever held a lock.
#pragma once

#include <cstdint>

namespace nearbit {

// Has its owner start afresh in a forked child, before anything else runs there: the child has one
// thread by then, so nothing else need know of forks. An owner's last member, so that whatever
// start_afresh touches is there as long as the hook.
class ForkHook {
  public:
    ForkHook(void (*start_afresh)(void* owner), void* owner);
    ~ForkHook();
    ForkHook(const ForkHook&) = delete;
    ForkHook& operator=(const ForkHook&) = delete;

  private:
    friend struct ForkHooks;
    void (*const start_afresh_)(void*);
    void* const owner_;
    ForkHook *previous_ = nullptr, *next_ = nullptr;
};

// How many forks lie between the first process and this one.
uint32_t fork_generation();

}  // namespace nearbit
