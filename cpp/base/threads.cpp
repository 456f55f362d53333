#include "base/threads.h"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <system_error>
#include <thread>

#include "base/fork.h"

#ifdef __linux__
#include <sched.h>
#endif

namespace nearbit {
namespace {

// One parallel_for under way. Helpers come and go; the caller waits until none is inside.
struct Job {
    Job(const std::function<void(size_t)>& task_, size_t n_tasks_, Watch* watch_, size_t helpers)
        : task(task_), n_tasks(n_tasks_), watch(watch_), wanted(helpers) {}

    const std::function<void(size_t)>& task;
    const size_t n_tasks;
    Watch* const watch;
    const uint32_t fork = fork_generation();
    std::atomic<size_t> next{0};
    size_t wanted;      // helpers still welcome; guarded by the pool's mutex
    size_t inside = 0;  // helpers at work; guarded by the pool's mutex
    std::mutex mutex;   // guards the failure
    size_t failed_at = SIZE_MAX;
    std::exception_ptr failure;

    void work() {
        for (;;) {
            const size_t i = next.fetch_add(1, std::memory_order_relaxed);
            if (i >= n_tasks) return;
            try {
                task(i);
            } catch (const Cancelled&) {
                fail(SIZE_MAX - 1);  // whoever cancelled has the reason
            } catch (...) {
                if (forked()) throw;
                fail(i);
            }
            if (forked()) throw forked_in_callback();
        }
    }

    // In a child that a callback of the watch forked: no helper is there, though some may count as
    // inside, and any mutex may be held for ever.
    bool forked() const { return fork != fork_generation(); }

    void fail(size_t at) {
        next.store(n_tasks, std::memory_order_relaxed);
        const std::lock_guard guard(mutex);
        if (at >= failed_at) return;
        failed_at = at;
        failure = std::current_exception();
    }
};

class Pool {
  public:
    void run(Job& job) {
        {
            const std::lock_guard guard(mutex_);
            while (n_threads_ < job.wanted && n_threads_ < kMaxThreads) {
                try {
                    std::thread([this] { serve(); }).detach();
                } catch (const std::system_error&) {
                    break;  // go on with the threads there are, be it the caller alone
                }
                ++n_threads_;
            }
            jobs_.push_back(&job);
        }
        work_.notify_all();
        job.work();
        std::unique_lock guard(mutex_);
        jobs_.erase(std::remove(jobs_.begin(), jobs_.end(), &job), jobs_.end());
        while (job.inside != 0) {
            done_.wait_for(guard, std::chrono::milliseconds(20));
            if (job.watch == nullptr || job.inside == 0 || job.watch->cancelled()) continue;
            guard.unlock();
            try {
                job.watch->poll_now();
            } catch (...) {
                if (job.forked()) throw;
                job.fail(0);
            }
            if (job.forked()) throw forked_in_callback();
            guard.lock();
        }
    }

  private:
    void serve() {
        std::unique_lock guard(mutex_);
        for (;;) {
            const auto open = std::find_if(jobs_.begin(), jobs_.end(),
                                           [](const Job* job) { return job->wanted != 0; });
            if (open == jobs_.end()) {
                work_.wait(guard);
                continue;
            }
            Job& job = **open;
            --job.wanted;
            ++job.inside;
            guard.unlock();
            job.work();
            guard.lock();
            if (--job.inside == 0) done_.notify_all();
        }
    }

    std::mutex mutex_;
    std::condition_variable work_, done_;
    std::deque<Job*> jobs_;
    size_t n_threads_ = 0;
};

// Never destroyed: its threads are not joined at exit, and may outlive every static object. A
// forked child has none of the threads, so it gets a pool of its own.
Pool* pool = new Pool;
const ForkHook pool_hook([](void*) { pool = new Pool; }, nullptr);

std::atomic<size_t> chosen_threads{0};

size_t usable_processors() {
#ifdef __linux__
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof(set), &set) == 0) return size_t(std::max(1, CPU_COUNT(&set)));
#endif
    return std::max(1u, std::thread::hardware_concurrency());
}

}  // namespace

void parallel_for(size_t n_tasks, size_t n_threads, Watch* watch,
                  const std::function<void(size_t)>& task) {
    n_threads = std::min(n_threads, n_tasks);
    if (n_threads <= 1) {
        for (size_t i = 0; i < n_tasks; ++i) task(i);
        return;
    }
    Job job(task, n_tasks, watch, n_threads - 1);
    pool->run(job);
    if (job.failure) std::rethrow_exception(job.failure);
}

size_t default_threads() {
    const size_t chosen = chosen_threads.load(std::memory_order_relaxed);
    return chosen != 0 ? chosen : usable_processors();
}

void set_default_threads(size_t n_threads) {
    chosen_threads.store(n_threads, std::memory_order_relaxed);
}

}  // namespace nearbit
