#include "bindings/calls.h"

#include "bindings/arrays.h"

namespace nearbit {

PyWatch::PyWatch(py::handle progress) : progress_(progress) {
    if (!progress.is_none() && !PyCallable_Check(progress.ptr())) {
        throw py::type_error("progress: expected a callable (done, total) or None, got " +
                             shown(progress));
    }
}

void PyWatch::poll(size_t done, size_t total) {
    const py::gil_scoped_acquire gil;
    if (PyErr_CheckSignals() != 0) throw py::error_already_set();
    if (!progress_.is_none()) progress_(done, total);
}

void PyWatch::finish() {
    if (!progress_.is_none()) poll_now();
}

}  // namespace nearbit
