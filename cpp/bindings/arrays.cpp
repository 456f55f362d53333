#include "bindings/arrays.h"

#include <cmath>
#include <string_view>

#include "base/error.h"
#include "base/threads.h"
#include "bindings/calls.h"
#include "index/codes.h"

namespace nearbit {
namespace {

py::object numpy() {
    return py::module_::import("numpy");
}

// UTF-8 of any str, also of one with lone surrogates.
std::string utf8(const py::str& text) {
    const auto bytes = py::reinterpret_steal<py::bytes>(
        PyUnicode_AsEncodedString(text.ptr(), "utf-8", "backslashreplace"));
    if (!bytes) throw py::error_already_set();
    return bytes;
}

std::string text_of(py::handle object) {
    return utf8(py::str(object));
}

std::string dtype_name(const py::array& array) {
    return text_of(array.dtype());
}

std::string shape_text(const py::array& array) {
    return text_of(array.attr("shape"));
}

std::string type_name(py::handle object) {
    return Py_TYPE(object.ptr())->tp_name;
}

// What came, for errors: the dtype, and the object unless it is an array.
std::string got(py::handle object, const py::array& array) {
    return (py::isinstance<py::array>(object) ? "" : shown(object) + " of ") + dtype_name(array);
}

bool is_list(py::handle object) {
    return PyList_Check(object.ptr()) || PyTuple_Check(object.ptr());
}

bool is_bool(py::handle object) {
    const std::string_view type = Py_TYPE(object.ptr())->tp_name;
    return PyBool_Check(object.ptr()) || type == "numpy.bool" || type == "numpy.bool_";
}

// What makes an array of itself may have __index__ and __float__ as well, for when it has one item.
bool is_array_like(py::handle object) {
    return py::isinstance<py::array>(object) || py::hasattr(object, "__array__");
}

Input::Type float_type(size_t item_bytes) {
    return item_bytes == 2   ? Input::Type::kFloat16
           : item_bytes == 4 ? Input::Type::kFloat32
                             : Input::Type::kFloat64;
}

// Lists are read as the dtype that is wanted; arrays must have it, or another float dtype.
py::array floats_from(py::array array, py::handle object, const char* argument) {
    const char kind = array.dtype().kind();
    if ((kind == 'i' || kind == 'u') && is_list(object)) {
        return array.attr("astype")("float64");
    }
    if (kind != 'f') {
        throw py::type_error(std::string(argument) +
                             ": expected float32 (or another float dtype), "
                             "got " +
                             dtype_name(array));
    }
    if (array.itemsize() > 8) return array.attr("astype")("float64");
    return array;
}

py::array bytes_from(py::array array, py::handle object, InputType type, const char* argument) {
    const char kind = array.dtype().kind();
    const bool is_signed = type == InputType::kInt8;
    const char* const dtype = is_signed ? "int8" : "uint8";
    if ((kind == 'i' || kind == 'u') && is_list(object)) {
        const int least = is_signed ? -128 : 0, most = least + 255;
        if (array.size() != 0 &&
            (array.attr("min")() < py::int_(least) || array.attr("max")() > py::int_(most))) {
            throw py::value_error(std::string(argument) + ": expected " +
                                  (type == InputType::kBits ? "bytes" : "integers") + " from " +
                                  std::to_string(least) + " to " + std::to_string(most) + ", got " +
                                  text_of(array.attr("min")()) + " to " +
                                  text_of(array.attr("max")()));
        }
        return array.attr("astype")(dtype);
    }
    if (kind != (is_signed ? 'i' : 'u') || array.itemsize() != 1) {
        throw py::type_error(
            std::string(argument) + ": expected " + dtype +
            (type == InputType::kBits ? " (bits as numpy.packbits packs them)" : "") + ", got " +
            dtype_name(array));
    }
    return array;
}

bool swapped(const py::array& array) {
    const char order = array.dtype().byteorder();
    return order == '>' ? std::endian::native == std::endian::little
                        : order == '<' && std::endian::native == std::endian::big;
}

std::vector<int64_t> id_values(const py::array& array, const char* argument) {
    if (array.dtype().kind() == 'u' && array.itemsize() == 8 && array.size() != 0) {
        const py::object largest = array.attr("max")();
        if (largest.cast<uint64_t>() > uint64_t(INT64_MAX)) {
            throw py::value_error(std::string(argument) + ": expected ids below 2**63, got " +
                                  text_of(largest));
        }
    }
    const auto plain =
        py::array_t<int64_t, py::array::c_style | py::array::forcecast>::ensure(array);
    if (!plain) throw py::error_already_set();
    return {plain.data(), plain.data() + plain.size()};
}

}  // namespace

std::string shown(py::handle object) {
    std::string text;
    try {
        const py::str whole = py::repr(object);
        const bool fits = py::len(whole) <= 60;
        text = fits ? utf8(whole) : utf8(py::str(whole[py::slice(0, 57, 1)])) + "...";
    } catch (py::error_already_set& error) {  // such as an integer of more than 4300 digits
        if (!error.matches(PyExc_Exception)) throw;
        text = "what has no repr";
    }
    return text + " (" + type_name(object) + ")";
}

py::array any_array(py::handle object, const char* argument) {
    if (py::isinstance<py::array>(object)) {
        const auto plain_type = py::detail::npy_api::get().PyArray_Type_;
        if (Py_TYPE(object.ptr()) != plain_type && py::hasattr(object, "mask")) {
            throw py::type_error(std::string(argument) +
                                 ": expected a plain array, got a masked "
                                 "one (fill or drop what is masked first)");
        }
        return py::reinterpret_borrow<py::array>(object);
    }
    if (object.is_none()) {
        throw py::type_error(std::string(argument) + ": expected an array, got None");
    }
    py::array array;
    try {
        array = numpy().attr("asarray")(object);
    } catch (py::error_already_set& error) {
        if (!error.matches(PyExc_ValueError) && !error.matches(PyExc_TypeError)) throw;
        throw py::value_error(std::string(argument) + ": expected an array, got " + shown(object) +
                              " (" + text_of(error.value()) + ")");
    }
    if (array.dtype().kind() == 'O' && py::hasattr(object, "__dlpack__")) {
        array = numpy().attr("from_dlpack")(object);
    }
    return array;
}

py::array array_for(InputType type, py::handle object, const char* argument) {
    py::array array = any_array(object, argument);
    return type == InputType::kFloat32 ? floats_from(std::move(array), object, argument)
                                       : bytes_from(std::move(array), object, type, argument);
}

std::optional<int64_t> lone_id_from(py::handle object, const char* argument) {
    if (is_bool(object) || !PyIndex_Check(object.ptr()) || py::isinstance<py::array>(object)) {
        throw py::type_error(std::string(argument) + ": expected an integer, got " + shown(object));
    }
    const auto index = py::reinterpret_steal<py::object>(PyNumber_Index(object.ptr()));
    if (!index) throw py::error_already_set();
    int overflow = 0;
    const long long value = PyLong_AsLongLongAndOverflow(index.ptr(), &overflow);
    if (overflow != 0) return std::nullopt;
    return value;
}

// expected: what errors call `width` items.
static Rows rows_of(py::array array, size_t width, Input::Type type, const std::string& expected,
                    const char* argument) {
    const auto ndim = array.ndim();
    if (ndim != 1 && ndim != 2) {
        const std::string w = std::to_string(width);
        throw py::value_error(std::string(argument) + ": expected shape (n, " + w + ") or (" + w +
                              ",), got " + shape_text(array));
    }
    if (size_t(array.shape(ndim - 1)) != width) {
        throw py::value_error(std::string(argument) + ": expected " + expected + ", got " +
                              std::to_string(array.shape(ndim - 1)));
    }
    Rows rows;
    rows.single = ndim == 1;
    rows.input = {.data = static_cast<const std::byte*>(array.data()),
                  .n = rows.single ? 1 : size_t(array.shape(0)),
                  .width = width,
                  .row_stride = rows.single ? 0 : array.strides(0),
                  .item_stride = array.strides(ndim - 1),
                  .type = type,
                  .swapped = swapped(array),
                  .argument = argument};
    rows.owner = std::move(array);
    return rows;
}

Rows rows_from(py::handle object, const Codec& codec, const char* argument) {
    py::array array = array_for(codec.input(), object, argument);
    if (codec.input() == InputType::kBits) {
        const size_t width = codec.dim() / 8;
        return rows_of(std::move(array), width, Input::Type::kUint8,
                       std::to_string(width) + " bytes (" + std::to_string(8 * width) + " bits)",
                       argument);
    }
    const auto type = codec.input() == InputType::kFloat32 ? float_type(size_t(array.itemsize()))
                                                           : Input::Type::kUint8;
    return rows_of(std::move(array), codec.dim(), type, std::to_string(codec.dim()) + " dimensions",
                   argument);
}

Rows codes_from(py::handle object, const Codec& codec, const char* argument) {
    const size_t width = whole_code_bytes(codec);
    return rows_of(array_for(InputType::kUint8, object, argument), width, Input::Type::kUint8,
                   std::to_string(width) + " bytes", argument);
}

size_t columns_of(const py::array& array, bool bits, const char* argument) {
    if (array.ndim() != 2) {
        throw py::value_error(std::string(argument) + ": expected shape (n, d), got " +
                              shape_text(array));
    }
    const size_t columns = size_t(array.shape(1)), most = bits ? kMaxBits / 8 : kMaxDim;
    if (columns == 0 || columns > most) {
        throw py::value_error(std::string(argument) + ": expected 1 to " + std::to_string(most) +
                              " columns, got " + std::to_string(columns));
    }
    return columns;
}

py::array new_rows(const Codec& codec, size_t n, bool single) {
    const size_t bytes = codec.output_bytes();
    switch (codec.output()) {
        case InputType::kFloat32:
            return new_array<float>(n, bytes / sizeof(float), single);
        case InputType::kInt8:
            return new_array<int8_t>(n, bytes, single);
        default:
            return new_array<uint8_t>(n, bytes, single);
    }
}

BytesView::BytesView(py::handle object) {
    if (PyObject_GetBuffer(object.ptr(), &view_, PyBUF_SIMPLE) != 0) {
        PyErr_Clear();
        throw py::type_error("data: expected bytes, got " + shown(object));
    }
}

static int64_t id_from(py::handle object, const char* argument) {
    const std::optional<int64_t> id = lone_id_from(object, argument);
    if (id.has_value()) return *id;
    throw py::value_error(std::string(argument) + ": expected ids below 2**63, got " +
                          shown(object));
}

Ids ids_from(py::handle object, const char* argument) {
    const std::string wanted = std::string(argument) + ": expected integers, got ";
    if (is_bool(object)) throw py::type_error(wanted + shown(object));
    if (PyIndex_Check(object.ptr()) && !is_array_like(object)) {
        return {{id_from(object, argument)}, true};
    }
    const py::array array = any_array(object, argument);
    const char kind = array.dtype().kind();
    if (array.ndim() > 1) {
        throw py::value_error(std::string(argument) + ": expected shape (n,), got " +
                              shape_text(array));
    }
    if (array.size() == 0 && is_list(object)) return {};
    if (kind == 'O' && is_list(object)) {  // Python integers beyond 64 bits, or no integers
        for (const py::handle item : object) {
            if (!PyLong_Check(item.ptr())) throw py::type_error(wanted + shown(item));
            id_from(item, argument);
        }
    }
    if (kind != 'i' && kind != 'u') throw py::type_error(wanted + got(object, array));
    return {id_values(array, argument), array.ndim() == 0};
}

std::shared_ptr<Filter> filter_from(py::handle object, const char* argument) {
    py::list listed;
    if (PyAnySet_Check(object.ptr())) {
        listed = py::list(py::reinterpret_borrow<py::object>(object));
        object = listed;
    }
    const std::string wanted =
        std::string(argument) + ": expected ids (integers) or a bool array indexed by id, got ";
    if (is_bool(object) || (PyIndex_Check(object.ptr()) && !is_array_like(object))) {
        throw py::type_error(wanted + shown(object));
    }
    const py::array array = any_array(object, argument);
    const char kind = array.dtype().kind();
    const bool listed_none = array.size() == 0 && is_list(object);
    if (kind != 'b' && kind != 'i' && kind != 'u' && !listed_none) {
        throw py::type_error(wanted + got(object, array));
    }
    if (array.ndim() != 1) {
        throw py::value_error(std::string(argument) + ": expected shape (n,), got " +
                              shape_text(array));
    }
    if (kind == 'b') {
        const auto allowed = array.unchecked<bool, 1>();
        const size_t n = size_t(array.size());
        Words words(words_for(n));
        for (size_t i = 0; i < n; ++i) {
            if (allowed(py::ssize_t(i))) set_bit(words.data(), i);
        }
        return std::make_shared<Filter>(std::move(words), n);
    }
    if (listed_none) return std::make_shared<Filter>(std::vector<int64_t>());
    std::vector<int64_t> ids = id_values(array, argument);
    for (const int64_t id : ids) {
        if (id < 0) {
            throw py::value_error(std::string(argument) + ": expected ids from 0 up, got " +
                                  std::to_string(id));
        }
    }
    // Sorting many takes seconds; for few, to give up Python's lock may cost more than it brings.
    if (ids.size() <= 65536) return std::make_shared<Filter>(std::move(ids));
    PyWatch watch{py::none()};
    const WithoutGil released;
    return std::make_shared<Filter>(std::move(ids), [&] { watch.advance(0); });
}

Filters filters_from(py::handle object, size_t n_queries) {
    Filters filters;
    if (object.is_none()) return filters;
    const auto add = [&](py::handle one) {
        std::shared_ptr<const Filter> filter;
        if (!one.is_none()) {
            filter = py::isinstance<Filter>(one) ? one.cast<std::shared_ptr<Filter>>()
                                                 : filter_from(one, "filter");
            filters.owned.push_back(filter);
        }
        filters.of_query.push_back(filter.get());
    };
    bool one_for_each = false;
    py::tuple items;  // a list of one's own: what its items run may change the caller's
    if (is_list(object)) {
        items = py::reinterpret_steal<py::tuple>(PySequence_Tuple(object.ptr()));
        if (!items) throw py::error_already_set();
        for (const py::handle item : items) {
            one_for_each = one_for_each || item.is_none() || py::isinstance<Filter>(item) ||
                           is_list(item) || PyAnySet_Check(item.ptr()) ||
                           PyRange_Check(item.ptr()) ||
                           (py::isinstance<py::array>(item) &&
                            py::reinterpret_borrow<py::array>(item).ndim() > 0);
        }
    }
    if (!one_for_each) {
        add(object);
        filters.of_query.resize(n_queries, filters.of_query[0]);
        return filters;
    }
    if (items.size() != n_queries) {
        throw py::value_error("filter: expected one for each of " + std::to_string(n_queries) +
                              " queries, got " + std::to_string(items.size()));
    }
    for (const py::handle item : items) add(item);
    return filters;
}

size_t whole_from(py::handle object, const char* argument, size_t least, size_t most) {
    const auto message = [=] {
        return std::string(argument) + ": expected an integer from " + std::to_string(least) +
               " to " + std::to_string(most) + ", got " + shown(object);
    };
    if (is_bool(object) || !PyIndex_Check(object.ptr()) || py::isinstance<py::array>(object)) {
        throw py::type_error(message());
    }
    const auto index = py::reinterpret_steal<py::object>(PyNumber_Index(object.ptr()));
    if (!index) throw py::error_already_set();
    int overflow = 0;
    const long long value = PyLong_AsLongLongAndOverflow(index.ptr(), &overflow);
    if (overflow != 0 || value < 0 || size_t(value) < least || size_t(value) > most) {
        throw py::value_error(message());
    }
    return size_t(value);
}

size_t threads_from(py::handle object) {
    return object.is_none() ? default_threads() : whole_from(object, "threads", 1, kMaxThreads);
}

std::vector<float> radii_from(py::handle object, size_t n_queries) {
    std::vector<float> radii;
    if (object.is_none()) return radii;
    const bool plain_float = PyFloat_CheckExact(object.ptr());
    if (plain_float || (PyNumber_Check(object.ptr()) && !is_bool(object) &&
                        !PyComplex_Check(object.ptr()) && !is_array_like(object))) {
        const double radius = PyFloat_AsDouble(object.ptr());
        if (radius == -1 && PyErr_Occurred() != nullptr) {
            if (!PyErr_ExceptionMatches(PyExc_OverflowError)) throw py::error_already_set();
            PyErr_Clear();
            throw py::value_error("radius: expected a number that a float64 can hold, got " +
                                  shown(object));
        }
        if (std::isnan(radius)) throw py::value_error("radius: expected a number, got nan");
        radii.assign(n_queries, float(radius));
        return radii;
    }
    const py::array array = any_array(object, "radius");
    const char kind = array.dtype().kind();
    if (kind != 'f' && kind != 'i' && kind != 'u') {
        throw py::type_error("radius: expected a number or one for each query, got " +
                             got(object, array));
    }
    if (array.ndim() > 1 || (array.ndim() == 1 && size_t(array.size()) != n_queries)) {
        throw py::value_error("radius: expected a number or one for each of " +
                              std::to_string(n_queries) + " queries, got shape " +
                              shape_text(array));
    }
    const auto plain =
        py::array_t<double, py::array::c_style | py::array::forcecast>::ensure(array);
    if (!plain) throw py::error_already_set();
    for (py::ssize_t i = 0; i < plain.size(); ++i) {
        if (std::isnan(plain.data()[i])) throw py::value_error("radius: expected numbers, got nan");
        radii.push_back(float(plain.data()[i]));
    }
    if (array.ndim() == 0) radii.resize(n_queries, radii[0]);
    return radii;
}

}  // namespace nearbit
