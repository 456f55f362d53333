#include "base/fork.h"

#include <mutex>

#ifndef _WIN32
#include <pthread.h>
#endif

namespace nearbit {

// Never destroyed: hooks of static objects end after main.
struct ForkHooks {
    std::mutex mutex;
    ForkHook* first = nullptr;
    uint32_t generation = 0;

    static ForkHooks& all() {
        static ForkHooks* const hooks = new ForkHooks;
        return *hooks;
    }

    ForkHooks() {
#ifndef _WIN32
        pthread_atfork([] { all().mutex.lock(); }, [] { all().mutex.unlock(); },
                       [] { all().in_child(); });
#endif
    }

    void in_child() {
        ++generation;
        for (ForkHook* hook = first; hook != nullptr; hook = hook->next_) {
            hook->start_afresh_(hook->owner_);
        }
        mutex.unlock();
    }
};

ForkHook::ForkHook(void (*start_afresh)(void* owner), void* owner)
    : start_afresh_(start_afresh), owner_(owner) {
    ForkHooks& hooks = ForkHooks::all();
    const std::lock_guard guard(hooks.mutex);
    next_ = hooks.first;
    if (next_ != nullptr) next_->previous_ = this;
    hooks.first = this;
}

ForkHook::~ForkHook() {
    ForkHooks& hooks = ForkHooks::all();
    const std::lock_guard guard(hooks.mutex);
    if (next_ != nullptr) next_->previous_ = previous_;
    (previous_ != nullptr ? previous_->next_ : hooks.first) = next_;
}

uint32_t fork_generation() {
    return ForkHooks::all().generation;
}

InvalidState forked_in_callback() {
    return InvalidState(
        "progress: expected a callback that doesn't fork, got a forked child, in which the call "
        "can't "
        "go on");
}

}  // namespace nearbit
