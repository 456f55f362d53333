// The one gate for what comes from Python: arrays, ids, filters and numbers are checked here.
// Errors name the argument, what was expected and what came.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "codecs/codec.h"
#include "index/filter.h"
#include "index/input.h"

namespace nearbit {

namespace py = pybind11;

// Rows for a codec, with what keeps them alive. Accepts (n, width) and one row as (width,).
struct Rows {
    Input input;
    py::object owner;
    bool single = false;
};
Rows rows_from(py::handle object, const Codec& codec, const char* argument);
// Whole codes (index/codes.h), as rows of bytes.
Rows codes_from(py::handle object, const Codec& codec, const char* argument);

// Columns of a two-dimensional array: 1 to what a float row has dimensions, or a row of bits bytes.
size_t columns_of(const py::array& array, bool bits, const char* argument);

// An array for n rows, or for a single one, in a codec's output type.
py::array new_rows(const Codec& codec, size_t n, bool single);

// Straight from numpy: a py::array_t first makes vectors of shape and strides (150 ns).
template <class T>
py::array_t<T> new_array(size_t rows, size_t columns, bool single) {
    const auto& api = py::detail::npy_api::get();
    const Py_intptr_t shape[2] = {Py_intptr_t(rows), Py_intptr_t(columns)};
    PyObject* const made = api.PyArray_NewFromDescr_(
        api.PyArray_Type_, py::dtype::of<T>().release().ptr(), single ? 1 : 2,
        single ? shape + 1 : shape, nullptr, nullptr, 0, nullptr);
    if (made == nullptr) throw py::error_already_set();
    return py::reinterpret_steal<py::array_t<T>>(made);
}

// Ids; negative ones are left to the index, which knows whether they matter.
struct Ids {
    std::vector<int64_t> values;
    bool single = false;
};
Ids ids_from(py::handle object, const char* argument);

// A single integer; empty if it is beyond 64 bits, and so no id.
std::optional<int64_t> lone_id_from(py::handle object, const char* argument);

// Any object as an array, but no masked one.
py::array any_array(py::handle object, const char* argument);
// The same, of a dtype that rows of this type may have.
py::array array_for(InputType type, py::handle object, const char* argument);

// The filter of each query, or none at all (empty). The pointers that were made here are kept alive
// by it.
struct Filters {
    std::vector<std::shared_ptr<const Filter>> owned;
    std::vector<const Filter*> of_query;
};
Filters filters_from(py::handle object, size_t n_queries);
std::shared_ptr<Filter> filter_from(py::handle object, const char* argument);

// The bytes of an argument `data`, while it lives.
class BytesView {
  public:
    explicit BytesView(py::handle object);
    ~BytesView() { PyBuffer_Release(&view_); }
    BytesView(const BytesView&) = delete;
    BytesView& operator=(const BytesView&) = delete;
    std::span<const std::byte> bytes() const {
        return {static_cast<const std::byte*>(view_.buf), size_t(view_.len)};
    }

  private:
    Py_buffer view_;
};

// A whole number from least to most.
size_t whole_from(py::handle object, const char* argument, size_t least, size_t most);
// None: the default.
size_t threads_from(py::handle object);
// None: empty; a number or one for each query. NaN is refused.
std::vector<float> radii_from(py::handle object, size_t n_queries);
// repr and type of an object, cut to a readable length: what errors show of a bad argument.
std::string shown(py::handle object);

}  // namespace nearbit
