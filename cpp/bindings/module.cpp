// nearbit._core: exceptions, settings of the process, and the index.
#include "bindings/module.h"

#include <pybind11/pybind11.h>

#include "base/error.h"
#include "base/threads.h"
#include "bindings/arrays.h"
#include "kernels/kernels.h"

namespace py = pybind11;

namespace nearbit {
namespace {

void bind_exceptions(py::module_& m) {
    static py::exception<CorruptFile> corrupt(m, "CorruptIndexError", PyExc_ValueError);
    corrupt.attr("__module__") = "nearbit";
    corrupt.attr("__doc__") = "A file or bytes that are not a whole, undamaged index.";
    py::register_exception_translator([](std::exception_ptr thrown) {
        try {
            std::rethrow_exception(thrown);
        } catch (const CorruptFile& error) {
            PyErr_SetString(corrupt.ptr(), error.what());
        } catch (const InvalidArgument& error) {
            PyErr_SetString(PyExc_ValueError, error.what());
        } catch (const UnknownId& error) {
            PyErr_SetString(PyExc_KeyError, error.what());
        } catch (const InvalidState& error) {
            PyErr_SetString(PyExc_RuntimeError, error.what());
        } catch (const IoError& error) {
            const py::object path =
                py::reinterpret_steal<py::object>(PyUnicode_DecodeFSDefaultAndSize(
                    error.path.data(), py::ssize_t(error.path.size())));
            const py::tuple arguments = py::make_tuple(error.code, error.what(), path);
            PyErr_SetObject(PyExc_OSError, arguments.ptr());
        }
    });
}

py::dict simd_info() {
    const Kernels* const* tables;
    const size_t n = runnable_kernels(&tables);
    py::list available;
    for (size_t i = 0; i < n; ++i) available.append(tables[i]->isa);
    py::dict info;
    info["isa"] = kernels().isa;
    info["available"] = available;
    info["threads"] = default_threads();
    return info;
}

}  // namespace
}  // namespace nearbit

PYBIND11_MODULE(_core, m, py::mod_gil_not_used()) {
    using namespace nearbit;
    m.attr("__version__") = NEARBIT_VERSION;
    bind_exceptions(m);
    try {
        kernels();  // a bad NEARBIT_ISA shows at import, not in the first search
    } catch (const InvalidArgument& error) {
        throw py::import_error(error.what());
    }
    m.def("simd_info", &simd_info);
    m.def(
        "set_threads",
        [](py::handle n) {
            set_default_threads(n.is_none() ? 0 : whole_from(n, "n", 1, kMaxThreads));
        },
        py::arg("n"));
    bind_index(m);
}
