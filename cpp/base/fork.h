// What a forked child must know: the threads of its parent are gone, and so is whoever held a lock.
#pragma once

#include <atomic>
#include <cstdint>

namespace nearbit {

// How many forks lie between the first process and this one. Read it, compare, and start afresh
// where it has changed.
uint32_t fork_generation();

}  // namespace nearbit
