// _core.Codec: settings in, a codec out.
#include "bindings/codec.h"

#include "bindings/arrays.h"
#include "bindings/module.h"

namespace nearbit {
namespace {

BoundCodec codec_from(const std::string& name, py::handle dim, const std::string& metric,
                      uint32_t bits, uint32_t m, bool rotated, py::handle seed) {
    const CodecSettings settings = {.name = name,
                                    .bits = bits,
                                    .m = m,
                                    .rotated = rotated,
                                    .seed = whole_from(seed, "seed", 0, size_t(INT64_MAX))};
    return {make_codec(settings, whole_from(dim, "dim", 1, kMaxBits), metric)};
}

}  // namespace

void bind_codec(py::module_& m) {
    using py::arg;
    py::class_<BoundCodec>(m, "Codec")
        .def(py::init(&codec_from), arg("name"), arg("dim"), arg("metric"), arg("bits"), arg("m"),
             arg("rotated"), arg("seed"));
}

}  // namespace nearbit
