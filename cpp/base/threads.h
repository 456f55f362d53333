// The thread pool: one for the process, started when first needed.
#pragma once

#include <cstddef>
#include <functional>

#include "base/watch.h"

namespace nearbit {

// Calls task(i) for each i < n_tasks on up to n_threads threads, of which the caller is one;
// returns when all have ended. If tasks throw, the rest are not begun and the exception of the
// lowest i goes to the caller. With a watch, the caller polls it while it waits for others; in a
// child that is forked in that the call throws InvalidState. Any number of threads may call at
// once, and a progress callback may search.
void parallel_for(size_t n_tasks, size_t n_threads, Watch* watch,
                  const std::function<void(size_t)>& task);

// Threads a call uses when it doesn't say: set_default_threads, or else the processors that this
// process may run on.
size_t default_threads();
void set_default_threads(size_t n_threads);
constexpr size_t kMaxThreads = 1024;

}  // namespace nearbit
