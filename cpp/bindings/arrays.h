// The one gate for what comes from Python: arrays, ids, filters and numbers are checked here.
// Errors name the argument, what was expected and what came.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <memory>
#include <optional>
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

// Ids; negative ones are left to the index, which knows whether they matter.
struct Ids {
    std::vector<int64_t> values;
    bool single = false;
};
Ids ids_from(py::handle object, const char* argument);

// A single integer; empty if it is beyond 64 bits, and so no id.
std::optional<int64_t> lone_id_from(py::handle object, const char* argument);

// Any object as an array of a dtype that rows of this type may have.
py::array array_for(InputType type, py::handle object, const char* argument);

// The filter of each query, or none at all (empty). The pointers that were made here are kept alive
// by it.
struct Filters {
    std::vector<std::shared_ptr<const Filter>> owned;
    std::vector<const Filter*> of_query;
};
Filters filters_from(py::handle object, size_t n_queries);
std::shared_ptr<Filter> filter_from(py::handle object, const char* argument);

// A whole number from least to most.
size_t whole_from(py::handle object, const char* argument, size_t least, size_t most);
// None: the default.
size_t threads_from(py::handle object);
// None: empty; a number or one for each query. NaN is refused.
std::vector<float> radii_from(py::handle object, size_t n_queries);
// repr and type of an object, cut to a readable length: what errors show of a bad argument.
std::string shown(py::handle object);

}  // namespace nearbit
