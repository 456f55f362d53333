#pragma once

#include <pybind11/pybind11.h>

namespace nearbit {

void bind_codec(pybind11::module_& m);
void bind_index(pybind11::module_& m);

}  // namespace nearbit
