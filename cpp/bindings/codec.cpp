// _core.Codec: settings in, a codec out, and codes without an index. python/nearbit/trained.py
// documents it.
#include "bindings/codec.h"

#include "bindings/arrays.h"
#include "bindings/calls.h"
#include "bindings/module.h"
#include "index/codes.h"

namespace nearbit {
namespace {

BoundCodec codec_from(const std::string& name, py::handle dim, const std::string& metric,
                      uint32_t bits, uint32_t m, bool rotated, py::handle seed,
                      const std::string& given) {
    CodecSettings settings = {.name = name,
                              .bits = bits,
                              .m = m,
                              .rotated = rotated,
                              .seed = whole_from(seed, "seed", 0, size_t(INT64_MAX))};
    if (!given.empty()) settings.given = std::make_shared<const std::string>(given);
    return {make_codec(settings, whole_from(dim, "dim", 1, kMaxBits), metric)};
}

BoundCodec train(const BoundCodec& self, py::handle sample, py::handle threads,
                 py::handle progress) {
    const Rows rows = rows_from(sample, *self.codec, "sample");
    const size_t n_threads = threads_from(threads);
    PyWatch watch(progress);
    BoundCodec trained;
    {
        const WithoutGil released;
        trained.codec = train_codec(self.codec, rows.input, n_threads, &watch);
    }
    watch.finish();
    return trained;
}

py::array encode(const BoundCodec& self, py::handle object, py::handle threads,
                 py::handle progress) {
    const Rows rows = rows_from(object, *self.codec, "rows");
    const size_t n_threads = threads_from(threads);
    auto codes = new_array<uint8_t>(rows.input.n, whole_code_bytes(*self.codec), rows.single);
    auto* const out = reinterpret_cast<std::byte*>(codes.mutable_data());
    PyWatch watch(progress);
    {
        const WithoutGil released;
        encode_rows(*self.codec, rows.input, n_threads, &watch, out);
    }
    watch.finish();
    return codes;
}

py::array decode(const BoundCodec& self, py::handle object, py::handle threads,
                 py::handle progress) {
    const Rows codes = codes_from(object, *self.codec, "codes");
    const size_t n_threads = threads_from(threads);
    py::array rows = new_rows(*self.codec, codes.input.n, codes.single);
    auto* const out = static_cast<std::byte*>(rows.mutable_data());
    PyWatch watch(progress);
    {
        const WithoutGil released;
        decode_codes(*self.codec, codes.input, n_threads, &watch, out);
    }
    watch.finish();
    return rows;
}

// An axis for each argument that has one.
py::array distances(const BoundCodec& self, py::handle queries_object, py::handle codes_object,
                    py::handle threads, py::handle progress) {
    const Rows queries = rows_from(queries_object, *self.codec, "queries");
    const Rows codes = codes_from(codes_object, *self.codec, "codes");
    const size_t n_threads = threads_from(threads);
    std::vector<py::ssize_t> shape;
    if (!queries.single) shape.push_back(py::ssize_t(queries.input.n));
    if (!codes.single) shape.push_back(py::ssize_t(codes.input.n));
    py::array_t<float> found(shape);
    float* const out = found.mutable_data();
    PyWatch watch(progress);
    {
        const WithoutGil released;
        distances_to(*self.codec, queries.input, codes.input, n_threads, &watch, out);
    }
    watch.finish();
    return found;
}

py::bytes to_bytes(const BoundCodec& self) {
    MemoryOutput output;
    {
        const WithoutGil released;
        write_codec(*self.codec, output);
    }
    return py::bytes(output.bytes);
}

BoundCodec from_bytes(py::handle data) {
    const BytesView view(data);
    PyWatch watch{py::none()};
    const WithoutGil released;
    return {codec_from_bytes(view.bytes(), &watch)};
}

}  // namespace

void bind_codec(py::module_& m) {
    using py::arg;
    py::class_<BoundCodec>(m, "Codec")
        .def(py::init(&codec_from), arg("name"), arg("dim"), arg("metric"), arg("bits"), arg("m"),
             arg("rotated"), arg("seed"), arg("given") = py::bytes())
        .def_property_readonly("name", [](const BoundCodec& self) { return self.codec->name(); })
        .def_property_readonly("dim", [](const BoundCodec& self) { return self.codec->dim(); })
        .def_property_readonly(
            "metric", [](const BoundCodec& self) { return metric_name(self.codec->metric()); })
        .def_property_readonly("settings",
                               [](const BoundCodec& self) {
                                   const CodecSettings settings = self.codec->settings();
                                   return py::make_tuple(settings.bits, settings.m,
                                                         settings.rotated);
                               })
        .def_property_readonly("given",
                               [](const BoundCodec& self) {
                                   const auto given = self.codec->settings().given;
                                   return given != nullptr ? py::bytes(*given) : py::bytes();
                               })
        .def("code_bytes", [](const BoundCodec& self) { return whole_code_bytes(*self.codec); })
        .def("train", &train, arg("sample"), arg("threads"), arg("progress"))
        .def("encode", &encode, arg("rows"), arg("threads"), arg("progress"))
        .def("decode", &decode, arg("codes"), arg("threads"), arg("progress"))
        .def("distances", &distances, arg("queries"), arg("codes"), arg("threads"), arg("progress"))
        .def(
            "save",
            [](const BoundCodec& self, const py::bytes& path) {
                const std::string name = path;
                const WithoutGil released;
                save_codec(*self.codec, name);
            },
            arg("path"))
        .def("to_bytes", &to_bytes);

    m.def(
        "columns",
        [](py::handle sample, bool bits) {
            return columns_of(any_array(sample, "sample"), bits, "sample");
        },
        arg("sample"), arg("bits"));
    m.def(
        "load_codec",
        [](const py::bytes& path) {
            const std::string name = path;
            PyWatch watch{py::none()};
            const WithoutGil released;
            return BoundCodec{load_codec(name, &watch)};
        },
        arg("path"));
    m.def("codec_from_bytes", &from_bytes, arg("data"));
}

}  // namespace nearbit
