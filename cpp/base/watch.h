// How a long call reports its progress and can be ended early.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <thread>

namespace nearbit {

// A call was ended by its Watch; the reason is with the thread that made the call.
struct Cancelled {};

// One for each long call, made on the thread that calls. Whoever works for the call says so by
// advance() between bounded pieces of work (a few milliseconds at most) while it holds no lock but
// a changing or saving call's WriterMutex.
class Watch {
  public:
    Watch() : caller_(std::this_thread::get_id()), polled_(Clock::now()) {}
    virtual ~Watch() = default;

    // Work to come, in any unit.
    void expect(size_t total) { total_.fetch_add(total, std::memory_order_relaxed); }
    // Work done. On the calling thread it polls now and then, which may throw; elsewhere it throws
    // Cancelled once the call is ended.
    void advance(size_t amount);
    // Polls even if the last time was just now: for waits and for the end of a call.
    void poll_now();
    void cancel() { cancelled_.store(true, std::memory_order_relaxed); }
    bool cancelled() const { return cancelled_.load(std::memory_order_relaxed); }

  protected:
    // On the calling thread only. May throw to end the call.
    virtual void poll(size_t done, size_t total) = 0;

  private:
    using Clock = std::chrono::steady_clock;
    const std::thread::id caller_;
    Clock::time_point polled_;
    std::atomic<size_t> done_{0}, total_{0};
    std::atomic<bool> cancelled_{false};
};

// A part of a call's work that is counted in other units: all of it as `told` of the call's.
class WatchedPart {
  public:
    WatchedPart(Watch* watch, size_t work, size_t told)
        : watch_(watch), per_unit_(double(told) / double(work)) {}
    void advance(size_t n) {
        if (watch_ == nullptr) return;
        const size_t before = done_.fetch_add(n, std::memory_order_relaxed);
        watch_->advance(told(before + n) - told(before));
    }

  private:
    // Differences of it add up, whoever calls in which order.
    size_t told(size_t done) const { return size_t(double(done) * per_unit_ + 0.5); }

    Watch* const watch_;
    const double per_unit_;
    std::atomic<size_t> done_{0};
};

}  // namespace nearbit
