#include "base/lock.h"

#include "base/error.h"

namespace nearbit {

// ------------------------------------------------------------------------------------ RwLock

bool RwLock::try_lock_shared() {
    State& s = state_;
    const std::unique_lock guard(s.mutex, std::try_to_lock);
    if (!guard || s.writing || s.writers_waiting != 0) return false;
    ++s.reading;
    return true;
}

void RwLock::lock_shared() {
    State& s = state_;
    std::unique_lock guard(s.mutex);
    if (s.writing || s.writers_waiting != 0) {
        ++s.readers_waiting;
        s.readers.wait(guard, [&] { return s.readers_let_in != 0; });
        --s.readers_let_in;
    }
    ++s.reading;
}

void RwLock::unlock_shared() {
    State& s = state_;
    const std::lock_guard guard(s.mutex);
    if (--s.reading == 0 && s.readers_let_in == 0 && s.writers_waiting != 0) s.writers.notify_one();
}

void RwLock::lock() {
    State& s = state_;
    std::unique_lock guard(s.mutex);
    ++s.writers_waiting;
    s.writers.wait(guard, [&] { return !s.writing && s.reading == 0 && s.readers_let_in == 0; });
    --s.writers_waiting;
    s.writing = true;
}

void RwLock::unlock() {
    State& s = state_;
    const std::lock_guard guard(s.mutex);
    s.writing = false;
    s.readers_let_in = s.readers_waiting;
    s.readers_waiting = 0;
    if (s.readers_let_in != 0) {
        s.readers.notify_all();
    } else {
        s.writers.notify_one();
    }
}

// ------------------------------------------------------------------------------------ WriterMutex

void WriterMutex::start_afresh() {
    if (applying_.load(std::memory_order_relaxed)) broken_.store(true, std::memory_order_relaxed);
    new (&state_) State;
}

void WriterMutex::check_whole() {
    if (broken_.load(std::memory_order_relaxed)) {
        throw InvalidState("index: this process was forked while another thread changed the index");
    }
}

void WriterMutex::lock(Watch* watch) {
    State& s = state_;
    check_whole();
    std::unique_lock guard(s.mutex);
    if (s.held && s.holder == std::this_thread::get_id()) {
        throw InvalidState(
            "index: a callback of a call that changes or saves the index can't "
            "change or save it too");
    }
    while (s.held) {
        s.free.wait_for(guard, std::chrono::milliseconds(20));
        if (!s.held || watch == nullptr) continue;
        guard.unlock();
        watch->poll_now();
        check_whole();  // the callback may have forked
        guard.lock();
    }
    s.held = true;
    s.holder = std::this_thread::get_id();
}

void WriterMutex::unlock() {
    State& s = state_;
    const std::lock_guard guard(s.mutex);
    s.held = false;
    s.holder = {};
    s.free.notify_one();
}

// ------------------------------------------------------------------------------------ Calls

// Two counters take turns: a call counts itself on the side of the current time's last bit. Time
// goes on by one only when the other side is empty, so once it has gone on twice, whoever was in at
// the start is out.
void Calls::start_afresh() {
    active_[0].store(0);
    active_[1].store(0);
}

Calls::Stay::Stay(Calls& calls) : calls_(calls), fork_(fork_generation()) {
    for (;;) {
        const uint64_t now = calls_.now_.load();
        side_ = uint32_t(now & 1);
        calls_.active_[side_].fetch_add(1);
        if (calls_.now_.load() == now) return;
        calls_.active_[side_].fetch_sub(1);
    }
}

Calls::Stay::~Stay() {
    if (fork_ == fork_generation()) calls_.active_[side_].fetch_sub(1);
}

bool Calls::ended_before(uint64_t time) {
    while (now_.load() < time + 2) {
        const uint64_t now = now_.load();
        if (active_[(now + 1) & 1].load() != 0) return false;
        now_.store(now + 1);
    }
    return true;
}

}  // namespace nearbit
