// How calls from Python run: without its lock, but looking for signals and reporting progress.
#pragma once

#include <pybind11/pybind11.h>

#include "base/watch.h"

namespace nearbit {

namespace py = pybind11;

// Looks for signals and calls progress(done, total); an exception from either ends the call.
class PyWatch final : public Watch {
  public:
    // progress: None or a callable. Made while Python's lock is held.
    explicit PyWatch(py::handle progress);
    // Calls progress a last time.
    void finish();

  private:
    void poll(size_t done, size_t total) override;
    py::handle progress_;  // borrowed from the caller's arguments
};

}  // namespace nearbit
