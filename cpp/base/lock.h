// Locks of an index: many readers beside one writer. All of them start afresh in a forked child.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <new>
#include <thread>

#include "base/fork.h"
#include "base/watch.h"

namespace nearbit {

// A fair reader-writer lock for holds of about a millisecond: a writer waits for the readers that
// are in, then goes before those who came after it; readers who waited go before the next writer.
class RwLock {
  public:
    bool try_lock_shared();
    void lock_shared();
    void unlock_shared();
    void lock();
    void unlock();

  private:
    struct State {
        std::mutex mutex;
        std::condition_variable readers, writers;
        uint32_t reading = 0, readers_waiting = 0, writers_waiting = 0;
        uint32_t readers_let_in = 0;  // waiting readers who go before the next writer
        bool writing = false;
    };
    State state_;
    // In a child nobody is in: the parent's readers and writers are not there.
    ForkHook fork_hook_{[](void* lock) { new (&static_cast<RwLock*>(lock)->state_) State; }, this};
};

// One writer at a time, for a whole call; the others wait. The holder may not come again from a
// callback, and a child forked in the middle of a write may not write at all.
class WriterMutex {
  public:
    // Polls the watch (null: none) while it waits. Throws InvalidState on re-entry.
    void lock(Watch* watch);
    void unlock();
    // Between begin_apply and end_apply the index is between two states: a child forked there can't
    // go on with it.
    void begin_apply() { applying_.exchange(true); }  // before what follows, in memory too
    void end_apply() { applying_.store(false, std::memory_order_release); }
    // Throws InvalidState if this process was forked while another thread applied a change.
    void check_whole();

  private:
    struct State {
        std::mutex mutex;
        std::condition_variable free;
        bool held = false;
        std::thread::id holder;
    };
    void start_afresh();
    State state_;
    std::atomic<bool> applying_{false}, broken_{false};
    ForkHook fork_hook_{[](void* mutex) { static_cast<WriterMutex*>(mutex)->start_afresh(); },
                        this};
};

// Which calls are under way, so that a slot freed during a call is not reused before it ends.
class Calls {
  public:
    // A call's stay. Calls that begin after a change has been applied can't see what it removed.
    class Stay {
      public:
        explicit Stay(Calls& calls);
        ~Stay();
        Stay(const Stay&) = delete;
        Stay& operator=(const Stay&) = delete;

      private:
        Calls& calls_;
        uint32_t fork_, side_;
    };
    // Now, as a point in time for ended_before. One thread at a time (the writer).
    uint64_t now() const { return now_.load(); }
    // True once every call that was under way at that time has ended.
    bool ended_before(uint64_t time);

  private:
    void start_afresh();
    std::atomic<uint64_t> now_{0};
    std::atomic<int64_t> active_[2] = {0, 0};
    ForkHook fork_hook_{[](void* calls) { static_cast<Calls*>(calls)->start_afresh(); }, this};
};

}  // namespace nearbit
