// What a forked child must know: the threads of its parent are gone, and so is whoever held a lock.
#pragma once

#include <cstdint>

#include "base/error.h"

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

// For a call that finds itself in a child which its own callback forked.
InvalidState forked_in_callback();

}  // namespace nearbit
