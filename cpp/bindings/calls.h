// How calls from Python run: without its lock, but looking for signals and reporting progress.
#pragma once

#include <pybind11/pybind11.h>

#include "base/watch.h"

namespace nearbit {

namespace py = pybind11;

// Gives up Python's lock while it lives. A thread that comes back when the interpreter is ending
// sleeps until the process is gone, as Python does itself from 3.14 on; before, Python unwinds the
// thread's stack, and other threads may still be at work on what lies there.
class WithoutGil {
  public:
    WithoutGil() : state_(PyEval_SaveThread()) {}
    ~WithoutGil() { take_back(state_); }
    WithoutGil(const WithoutGil&) = delete;
    WithoutGil& operator=(const WithoutGil&) = delete;

    static void take_back(PyThreadState* state);

  private:
    PyThreadState* state_;
};

// Looks for signals and calls progress(done, total); an exception from either ends the call. While
// the total isn't known, or where there is nothing to do, progress isn't called.
class PyWatch final : public Watch {
  public:
    // progress: None or a callable. Made while Python's lock is held.
    explicit PyWatch(py::handle progress);
    // Calls progress a last time, with Python's lock held.
    void finish();

  private:
    void poll(size_t done, size_t total) override;
    py::handle progress_;    // borrowed from the caller's arguments
    PyThreadState* thread_;  // the caller's
};

}  // namespace nearbit
