#include "bindings/calls.h"

#include <chrono>
#include <thread>

#include "bindings/arrays.h"

#ifdef __GLIBCXX__
#include <cxxabi.h>
#endif

namespace nearbit {
namespace {

[[noreturn]] void sleep_for_ever() {
    for (;;) std::this_thread::sleep_for(std::chrono::hours(1));
}

}  // namespace

void WithoutGil::take_back(PyThreadState* state) {
#ifdef __GLIBCXX__
    try {
        PyEval_RestoreThread(state);
    } catch (abi::__forced_unwind&) {
        sleep_for_ever();
    }
#else
    PyEval_RestoreThread(state);
#endif
}

PyWatch::PyWatch(py::handle progress) : progress_(progress), thread_(PyThreadState_Get()) {
    if (!progress.is_none() && !PyCallable_Check(progress.ptr())) {
        throw py::type_error("progress: expected a callable (done, total) or None, got " +
                             shown(progress));
    }
}

void PyWatch::poll(size_t done, size_t total) {
    WithoutGil::take_back(thread_);
    try {
        if (PyErr_CheckSignals() != 0) throw py::error_already_set();
        if (!progress_.is_none() && total != 0) progress_(done, total);
    } catch (...) {
        PyEval_SaveThread();
        throw;
    }
    PyEval_SaveThread();
}

void PyWatch::finish() {
    if (progress_.is_none()) return;
    const WithoutGil released;
    poll_now();
}

}  // namespace nearbit
