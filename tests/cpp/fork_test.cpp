// A forked child starts afresh: nobody holds a lock there, and the pool has threads.
#include <gtest/gtest.h>

#if __has_include(<unistd.h>)
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <mutex>
#include <shared_mutex>
#include <thread>
#include <vector>

#include "base/error.h"
#include "base/lock.h"
#include "base/threads.h"

namespace nearbit {
namespace {

// Runs body in a child; the status it exits with, or -1 if a signal ended it.
template <class Body>
int in_child(Body body) {
    const pid_t child = fork();
    if (child == 0) {
        alarm(20);
        _exit(body());
    }
    int status = 0;
    EXPECT_EQ(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST(Fork, ALockIsFreeInTheChildAndHeldInTheParent) {
    RwLock lock;
    const std::lock_guard guard(lock);
    EXPECT_EQ(in_child([&] { return lock.try_lock_shared() ? 0 : 1; }), 0);
    EXPECT_FALSE(lock.try_lock_shared());
}

TEST(Fork, AChangeUnderWayMakesTheChildRefuse) {
    WriterMutex mutex;
    mutex.begin_apply();
    EXPECT_EQ(in_child([&] {
                  try {
                      mutex.lock(nullptr);
                      return 1;
                  } catch (const InvalidState&) {
                      return 0;
                  }
              }),
              0);
    mutex.end_apply();
    mutex.lock(nullptr);
    mutex.unlock();
}

TEST(Fork, AllInTheChildMayUseALockAndThePoolAtOnce) {
    parallel_for(4, 2, nullptr, [](size_t) {});
    for (int round = 0; round < 50; ++round) {
        RwLock lock;
        const auto use_both = [&] {
            std::atomic<int> ready{0};
            std::vector<std::thread> threads;
            for (int t = 0; t < 4; ++t) {
                threads.emplace_back([&] {
                    for (++ready; ready < 4;) std::this_thread::yield();
                    for (int i = 0; i < 100; ++i) const std::shared_lock guard(lock);
                    parallel_for(8, 2, nullptr, [](size_t) {});
                });
            }
            for (std::thread& thread : threads) thread.join();
            const std::lock_guard guard(lock);
            return 0;
        };
        ASSERT_EQ(in_child(use_both), 0) << "round " << round;
    }
}

}  // namespace
}  // namespace nearbit
#endif
