// nearbit._core: exceptions, settings of the process, codecs and the index.
#include "bindings/module.h"

#include <pybind11/pybind11.h>

#include <string_view>

#include "base/error.h"
#include "base/threads.h"
#include "bindings/arrays.h"
#include "kernels/kernels.h"

namespace py = pybind11;

namespace nearbit {
namespace {

// A message may quote bytes of a path or of a damaged file that are no UTF-8.
py::object text(const std::exception& error) {
    const std::string_view what = error.what();
    return py::reinterpret_steal<py::object>(
        PyUnicode_DecodeUTF8(what.data(), py::ssize_t(what.size()), "backslashreplace"));
}

void raise(PyObject* type, const std::exception& error) {
    PyErr_SetObject(type, text(error).ptr());
}

void bind_exceptions(py::module_& m) {
    static py::exception<CorruptFile> corrupt(m, "CorruptIndexError", PyExc_ValueError);
    corrupt.attr("__module__") = "nearbit";
    corrupt.attr("__doc__") = "A file or bytes that are not a whole, undamaged index or codec.";
    py::register_exception_translator([](std::exception_ptr thrown) {
        try {
            std::rethrow_exception(thrown);
        } catch (const CorruptFile& error) {
            raise(corrupt.ptr(), error);
        } catch (const InvalidArgument& error) {
            raise(PyExc_ValueError, error);
        } catch (const UnknownId& error) {
            raise(PyExc_KeyError, error);
        } catch (const InvalidState& error) {
            raise(PyExc_RuntimeError, error);
        } catch (const IoError& error) {
            const py::object path =
                py::reinterpret_steal<py::object>(PyUnicode_DecodeFSDefaultAndSize(
                    error.path.data(), py::ssize_t(error.path.size())));
            const py::tuple arguments = py::make_tuple(error.code, text(error), path);
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
    bind_codec(m);
    bind_index(m);
}
