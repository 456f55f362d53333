// The core's exceptions. bindings/module.cpp maps each to a Python exception.
#pragma once

#include <stdexcept>
#include <string>

namespace nearbit {

// ValueError. The text names the argument, what was expected and what came.
struct InvalidArgument : std::runtime_error {
    using std::runtime_error::runtime_error;
};

// KeyError: an id that the index doesn't hold.
struct UnknownId : std::runtime_error {
    using std::runtime_error::runtime_error;
};

// RuntimeError: a call that can't be made now, such as one from inside a progress callback.
struct InvalidState : std::runtime_error {
    using std::runtime_error::runtime_error;
};

// OSError with its errno and path.
struct IoError : std::runtime_error {
    IoError(int code_, std::string path_, const std::string& what)
        : std::runtime_error(what), code(code_), path(std::move(path_)) {}
    int code;
    std::string path;
};

// nearbit.CorruptIndexError: bytes that are not a whole, undamaged index.
struct CorruptFile : std::runtime_error {
    using std::runtime_error::runtime_error;
};

}  // namespace nearbit
