#include "base/watch.h"

namespace nearbit {

void Watch::advance(size_t amount) {
    done_.fetch_add(amount, std::memory_order_relaxed);
    if (std::this_thread::get_id() != caller_) {
        if (cancelled()) throw Cancelled();
    } else if (Clock::now() - polled_ > std::chrono::milliseconds(20)) {
        poll_now();
    }
}

void Watch::poll_now() {
    try {
        poll(done_.load(std::memory_order_relaxed), total_.load(std::memory_order_relaxed));
    } catch (...) {
        cancel();
        throw;
    }
    polled_ = Clock::now();
}

}  // namespace nearbit
