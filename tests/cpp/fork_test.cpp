// A forked child starts afresh: nobody holds a lock there, and the pool has threads.
#include <gtest/gtest.h>

#if __has_include(<unistd.h>)
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
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
    // A thread that is still starting may hold a lock of the sanitizer's, and a child would too.
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
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

// Forks once, in the first poll, and is then in the child as well as in the parent.
struct ForksOnce final : Watch {
    pid_t child = -1;
    void poll(size_t, size_t) override {
        if (child != -1) return;
        child = fork();
        if (child == 0) alarm(20);
    }
};

TEST(Fork, InACallbackEndsTheCallInTheChildAndNotInTheParent) {
    ForksOnce watch;
    std::atomic<int> inside{0};
    const auto task = [&](size_t) {
        ++inside;
        while (inside < 2) std::this_thread::yield();  // until both threads are at work
        std::this_thread::sleep_for(std::chrono::milliseconds(30));
        watch.advance(1);
    };
    bool refused = false;
    try {
        parallel_for(8, 2, &watch, task);
    } catch (const InvalidState&) {
        refused = true;
    }
    if (watch.child == 0) _exit(refused ? 0 : 1);
    EXPECT_FALSE(refused);
    int status = 0;
    ASSERT_EQ(waitpid(watch.child, &status, 0), watch.child);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
}

TEST(Fork, InACallbackWhileAnotherThreadAppliesAChangeMakesTheChildRefuse) {
    WriterMutex mutex;
    mutex.lock(nullptr);
    mutex.begin_apply();
    std::thread other([&] {
        ForksOnce waits;
        bool refused = false;
        try {
            mutex.lock(&waits);
            mutex.unlock();
        } catch (const InvalidState&) {
            refused = true;
        }
        if (waits.child == 0) _exit(refused ? 0 : 1);
        int status = 0;
        EXPECT_EQ(waitpid(waits.child, &status, 0), waits.child);
        EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
    });
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    mutex.end_apply();
    mutex.unlock();
    other.join();
}

TEST(Fork, WithoutThreadsToStartTheCallerWorksAlone) {
    EXPECT_EQ(in_child([] {
                  struct rlimit none = {0, 0};
                  setrlimit(RLIMIT_NPROC, &none);
                  if (setuid(65534) != 0 && getuid() == 0) return 2;
                  std::atomic<int> n{0};
                  parallel_for(8, 4, nullptr, [&](size_t) { ++n; });
                  return n == 8 ? 0 : 1;
              }),
              0);
}

}  // namespace
}  // namespace nearbit
#endif
