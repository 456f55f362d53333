// _core.Index and _core.knn: arguments in, arrays out. python/nearbit/index.py documents them.
#include "index/index.h"

#include <algorithm>
#include <cmath>
#include <tuple>

#include "bindings/arrays.h"
#include "bindings/calls.h"
#include "bindings/codec.h"
#include "bindings/module.h"
#include "index/knn.h"

namespace nearbit {
namespace {

constexpr size_t kMaxK = 65536;

// ---------------------------------------------------------------------------------- results

template <class T>
py::array_t<T> array_of(const std::vector<T>& values) {
    return py::array_t<T>(py::ssize_t(values.size()), values.data());
}

// The arrays of k hits for each query, padded with -1 and infinity.
class HitArrays {
  public:
    HitArrays(size_t n, size_t k, bool single, bool counts)
        : k_(k),
          ids_(new_array<int64_t>(n, k, single)),
          distances_(new_array<float>(n, k, single)),
          id_(ids_.mutable_data()),
          distance_(distances_.mutable_data()) {
        if (!counts) return;
        const py::ssize_t shape[] = {4, py::ssize_t(n)};
        counts_ = py::array_t<int64_t>(shape);
        count_ = static_cast<int64_t*>(counts_.mutable_data());
    }
    void put(size_t query, const std::vector<Hit>& hits, const SearchCounts& counts) {
        int64_t* const ids = id_ + query * k_;
        float* const distances = distance_ + query * k_;
        for (size_t i = 0; i < hits.size(); ++i) {
            ids[i] = hits[i].id;
            distances[i] = float(hits[i].distance);
        }
        std::fill(ids + hits.size(), ids + k_, int64_t(-1));
        std::fill(distances + hits.size(), distances + k_, kInfinity);
        if (count_ == nullptr) return;
        const size_t n = size_t(counts_.shape(1));
        count_[query] = int64_t(counts.hops);
        count_[n + query] = int64_t(counts.distances);
        count_[2 * n + query] = int64_t(counts.candidates);
        count_[3 * n + query] = int64_t(counts.refined);
    }
    py::tuple take() {
        const py::object counts = count_ != nullptr ? py::object(counts_) : py::none();
        return py::make_tuple(std::move(ids_), std::move(distances_), counts);
    }

  private:
    size_t k_;
    py::array_t<int64_t> ids_;
    py::array_t<float> distances_;
    py::array counts_;  // a row for each of SearchCounts
    int64_t* id_;
    float* distance_;
    int64_t* count_ = nullptr;
};

// ---------------------------------------------------------------------------------- searching

// A number from 1 up, for an index that refines; None: the default.
double refine_factor_from(py::handle object, const Index& index) {
    if (object.is_none()) return kRefineFactor;
    const auto expected = [&](const char* what) {
        return std::string("refine_factor: expected ") + what + ", got " + shown(object);
    };
    if (index.refine() == nullptr) {
        throw py::value_error(expected("None for an index without refine"));
    }
    const char* const number = "a number from 1 up";
    if (!PyNumber_Check(object.ptr()) || PyBool_Check(object.ptr()) ||
        PyComplex_Check(object.ptr()) || py::isinstance<py::array>(object)) {
        throw py::type_error(expected(number));
    }
    const double factor = PyFloat_AsDouble(object.ptr());
    if (factor == -1 && PyErr_Occurred() != nullptr) {
        PyErr_Clear();
        throw py::value_error(expected("a number that a float64 can hold"));
    }
    if (!(factor >= 1) || !std::isfinite(factor)) throw py::value_error(expected(number));
    return factor;
}

// How far a walk looks; None: the index's default, or as many as are re-scored if that is more.
size_t ef_from(py::handle object, const Index& index, double n_rescored) {
    if (object.is_none()) {
        return std::max(index.default_ef(), size_t(std::min(n_rescored, double(kMostEf))));
    }
    if (!index.layout()) {
        throw py::value_error("ef: expected None for a flat layout, which has no effort, got " +
                              shown(object));
    }
    return whole_from(object, "ef", 1, kMostEf);
}

py::tuple search(const Index& index, py::handle queries, py::handle k_object, py::handle radius,
                 py::handle filter, py::handle ef_object, py::handle factor, bool exact, bool stats,
                 py::handle threads, py::handle progress) {
    const Rows rows = rows_from(queries, index.codec(), "queries");
    const size_t n = rows.input.n, k = whole_from(k_object, "k", 1, kMaxK);
    const std::vector<float> radii = radii_from(radius, n);
    const double refine_factor = refine_factor_from(factor, index);
    const double n_rescored = index.refine() != nullptr ? std::ceil(double(k) * refine_factor) : 0;
    const size_t ef = ef_from(ef_object, index, n_rescored);
    if (!threads.is_none())
        threads_from(threads);  // the default asks the system: not before needed
    if (n == 1 && filter.is_none() && progress.is_none()) {
        // Too short a call to be worth giving up Python's lock.
        Memory scratch;
        std::vector<Hit> hits;
        SearchCounts counts;
        if (index.try_search_one(rows.input.rows(0, 1, scratch), k,
                                 radii.empty() ? kInfinity : radii[0], refine_factor, "queries",
                                 hits, counts)) {
            HitArrays answer(n, k, rows.single, stats);
            answer.put(0, hits, counts);
            return answer.take();
        }
    }
    const size_t n_threads = threads_from(threads);
    const Filters filters = filters_from(filter, n);
    HitArrays answer(n, k, rows.single, stats);
    PyWatch watch(progress);
    {
        const WithoutGil released;
        index.search({.queries = rows.input,
                      .k = k,
                      .radii = radii.empty() ? nullptr : radii.data(),
                      .refine_factor = refine_factor,
                      .ef = ef,
                      .exact = exact,
                      .filters = filters.of_query.empty() ? nullptr : filters.of_query.data(),
                      .threads = n_threads,
                      .watch = &watch},
                     [&](size_t query, const std::vector<Hit>& hits, const SearchCounts& counts) {
                         answer.put(query, hits, counts);
                     });
    }
    watch.finish();
    return answer.take();
}

py::tuple range_search(const Index& index, py::handle queries, py::handle radius, py::handle filter,
                       py::handle limit, py::handle ef_object, bool exact, py::handle threads,
                       py::handle progress) {
    const Rows rows = rows_from(queries, index.codec(), "queries");
    const size_t n = rows.input.n;
    if (radius.is_none()) throw py::type_error("radius: expected a number, got None");
    const std::vector<float> radii = radii_from(radius, n);
    const size_t k =
        limit.is_none() ? Best::kAll : whole_from(limit, "limit", 1, size_t(INT64_MAX));
    const size_t ef = ef_from(ef_object, index, 0);
    const size_t n_threads = threads_from(threads);
    const Filters filters = filters_from(filter, n);
    std::vector<std::vector<Hit>> found(n);
    PyWatch watch(progress);
    {
        const WithoutGil released;
        index.search({.queries = rows.input,
                      .k = k,
                      .radii = radii.data(),
                      .range = true,
                      .ef = ef,
                      .exact = exact,
                      .filters = filters.of_query.empty() ? nullptr : filters.of_query.data(),
                      .threads = n_threads,
                      .watch = &watch},
                     [&](size_t query, const std::vector<Hit>& hits, const SearchCounts&) {
                         found[query] = hits;
                     });
    }
    watch.finish();
    py::array_t<int64_t> indptr(py::ssize_t(n + 1));
    int64_t* const ends = indptr.mutable_data();
    ends[0] = 0;
    for (size_t q = 0; q < n; ++q) ends[q + 1] = ends[q] + int64_t(found[q].size());
    py::array_t<int64_t> ids(py::ssize_t(ends[n]));
    py::array_t<float> distances(py::ssize_t(ends[n]));
    int64_t* id = ids.mutable_data();
    float* distance = distances.mutable_data();
    for (const std::vector<Hit>& hits : found) {
        for (const Hit& hit : hits) {
            *id++ = hit.id;
            *distance++ = float(hit.distance);
        }
    }
    return py::make_tuple(indptr, ids, distances);
}

py::tuple knn_of_arrays(py::handle queries, py::handle base, py::handle k_object,
                        const std::string& metric, py::handle threads, py::handle progress) {
    const bool bits = metric == "hamming" || metric == "jaccard";
    const py::array base_array =
        array_for(bits ? InputType::kBits : InputType::kFloat32, base, "base");
    const size_t width = columns_of(base_array, bits, "base");
    const auto codec = make_codec(bits ? "bits" : "float32", bits ? 8 * width : width, metric);
    const Rows base_rows = rows_from(base_array, *codec, "base");
    const Rows rows = rows_from(queries, *codec, "queries");
    const size_t k = whole_from(k_object, "k", 1, kMaxK), n_threads = threads_from(threads);
    HitArrays answer(rows.input.n, k, rows.single, false);
    PyWatch watch(progress);
    {
        const WithoutGil released;
        knn(*codec, base_rows.input,
            {.queries = rows.input, .k = k, .threads = n_threads, .watch = &watch},
            [&](size_t query, const std::vector<Hit>& hits, const SearchCounts& counts) {
                answer.put(query, hits, counts);
            });
    }
    watch.finish();
    return answer.take();
}

// ---------------------------------------------------------------------------------- changing

// (degree, ef_construction, alpha, seed), checked by nb.Graph; None: flat.
std::optional<GraphSettings> layout_from(py::handle graph) {
    if (graph.is_none()) return std::nullopt;
    const auto [degree, ef, alpha, seed] =
        graph.cast<std::tuple<uint32_t, uint32_t, double, uint64_t>>();
    return GraphSettings{degree, ef, alpha, seed};
}

py::array_t<int64_t> add(Index& index, py::handle vectors, py::handle ids, py::handle threads,
                         py::handle progress) {
    const Rows rows = rows_from(vectors, index.codec(), "vectors");
    Ids given;
    if (!ids.is_none()) given = ids_from(ids, "ids");
    const size_t n_threads = threads_from(threads);
    PyWatch watch(progress);
    std::vector<int64_t> added;
    {
        const WithoutGil released;
        added = index.add(rows.input, ids.is_none() ? nullptr : &given.values, n_threads, &watch);
    }
    return array_of(added);
}

size_t remove(Index& index, py::handle ids, bool ignore_missing) {
    const Ids given = ids_from(ids, "ids");
    PyWatch watch{py::none()};
    const WithoutGil released;
    return index.remove(given.values, ignore_missing, &watch);
}

void replace(Index& index, py::handle ids, py::handle vectors, py::handle threads,
             py::handle progress, bool and_add) {
    const Ids given = ids_from(ids, "ids");
    const Rows rows = rows_from(vectors, index.codec(), "vectors");
    const size_t n_threads = threads_from(threads);
    PyWatch watch(progress);
    const WithoutGil released;
    if (and_add) {
        index.upsert(given.values, rows.input, n_threads, &watch);
    } else {
        index.update(given.values, rows.input, n_threads, &watch);
    }
}

py::array get(const Index& index, py::handle ids) {
    const Ids given = ids_from(ids, "ids");
    py::array rows = new_rows(index.codec(), given.values.size(), given.single);
    auto* const out = static_cast<std::byte*>(rows.mutable_data());
    PyWatch watch{py::none()};
    {
        const WithoutGil released;
        index.get(given.values, out, &watch);
    }
    return rows;
}

// ---------------------------------------------------------------------------------- files

py::bytes to_bytes(const Index& index) {
    PyWatch watch{py::none()};
    MemoryOutput output;
    {
        const WithoutGil released;
        index.write(output, &watch);
    }
    return py::bytes(output.bytes);
}

std::unique_ptr<Index> from_bytes(py::handle data) {
    const BytesView view(data);
    PyWatch watch{py::none()};
    const WithoutGil released;
    return Index::from_bytes(view.bytes(), &watch);
}

py::dict stats(const Index& index) {
    const Index::Stats s = [&] {
        const WithoutGil released;
        return index.stats();
    }();
    py::dict result;
    result["items"] = s.n_items;
    result["slots"] = s.n_slots;
    result["code_bytes"] = s.code_bytes;
    result["factor_bytes"] = s.factor_bytes;
    result["refine_bytes"] = s.refine_bytes;
    result["id_bytes"] = s.directory_bytes;
    if (index.layout()) result["link_bytes"] = s.link_bytes;
    if (s.train_size != 0) {
        result["train_size"] = s.train_size;
        result["trained"] = s.trained;
        result["stretch"] = s.stretch;
    }
    return result;
}

}  // namespace

void bind_index(py::module_& m) {
    using py::arg;
    py::class_<Filter, std::shared_ptr<Filter>>(
        m, "Filter",
        "A prepared set of allowed ids: see Index.filter.\n\n"
        "``len`` is how many ids it holds.")
        .def("__len__", &Filter::size);

    py::class_<Index>(m, "Index")
        .def(py::init([](const BoundCodec& codec, const BoundCodec* refine, py::handle graph) {
                 return std::make_unique<Index>(
                     codec.codec, refine != nullptr ? refine->codec : nullptr, layout_from(graph));
             }),
             arg("codec"), arg("refine").none(true), arg("graph"))
        .def_property_readonly("graph",
                               [](const Index& i) -> py::object {
                                   if (!i.layout()) return py::none();
                                   return py::make_tuple(i.layout()->degree,
                                                         i.layout()->ef_construction,
                                                         i.layout()->alpha);
                               })
        .def_property(
            "ef", &Index::default_ef,
            [](Index& i, py::handle ef) { i.set_default_ef(whole_from(ef, "ef", 1, kMostEf)); })
        .def_property_readonly("dim", [](const Index& i) { return i.codec().dim(); })
        .def_property_readonly("metric",
                               [](const Index& i) { return metric_name(i.codec().metric()); })
        .def_property_readonly("codec", [](const Index& i) { return BoundCodec{i.shared_codec()}; })
        .def_property_readonly(
            "refine",
            [](const Index& i) { return i.refine() != nullptr ? i.refine()->name() : nullptr; })
        .def_property_readonly("readonly", &Index::read_only)
        .def("__len__", &Index::size)
        .def("__contains__",
             [](const Index& index, py::handle object) {
                 const std::optional<int64_t> id = lone_id_from(object, "id");
                 const WithoutGil released;
                 return id.has_value() && index.contains(*id);
             })
        .def("ids",
             [](const Index& index) {
                 std::vector<int64_t> ids;
                 {
                     const WithoutGil released;
                     ids = index.ids();
                 }
                 return array_of(ids);
             })
        .def("search", &search, arg("queries"), arg("k"), arg("radius"), arg("filter"), arg("ef"),
             arg("refine_factor"), arg("exact"), arg("stats"), arg("threads"), arg("progress"))
        .def("range_search", &range_search, arg("queries"), arg("radius"), arg("filter"),
             arg("limit"), arg("ef"), arg("exact"), arg("threads"), arg("progress"))
        .def("add", &add, arg("vectors"), arg("ids"), arg("threads"), arg("progress"))
        .def("remove", &remove, arg("ids"), arg("ignore_missing"))
        .def("replace", &replace, arg("ids"), arg("vectors"), arg("threads"), arg("progress"),
             arg("and_add"))
        .def("get", &get, arg("ids"))
        .def(
            "train",
            [](Index& index, py::handle sample, py::handle threads, py::handle progress) {
                const Rows rows = rows_from(sample, index.codec(), "sample");
                const size_t n_threads = threads_from(threads);
                PyWatch watch(progress);
                const WithoutGil released;
                index.train(rows.input, n_threads, &watch);
            },
            arg("sample"), arg("threads"), arg("progress"))
        .def("trained_codec",
             [](const Index& index) {
                 const WithoutGil released;
                 return BoundCodec{index.trained_codec()};
             })
        .def(
            "reserve",
            [](Index& index, py::handle n_object) {
                const size_t n = whole_from(n_object, "n", 0, size_t(INT64_MAX));
                PyWatch watch{py::none()};
                const WithoutGil released;
                index.reserve(n, &watch);
            },
            arg("n"))
        .def("compact",
             [](Index& index) {
                 PyWatch watch{py::none()};
                 const WithoutGil released;
                 index.compact(&watch);
             })
        .def("copy",
             [](const Index& index) {
                 PyWatch watch{py::none()};
                 const WithoutGil released;
                 return index.copy(&watch);
             })
        .def("stats", &stats)
        .def(
            "save",
            [](const Index& index, const py::bytes& path) {
                const std::string name = path;
                PyWatch watch{py::none()};
                const WithoutGil released;
                index.save(name, &watch);
            },
            arg("path"))
        .def("to_bytes", &to_bytes);

    m.def(
        "load",
        [](const py::bytes& path, bool map, bool verify) {
            const std::string name = path;
            PyWatch watch{py::none()};
            const WithoutGil released;
            return Index::load(name, map, verify, &watch);
        },
        arg("path"), arg("mmap"), arg("verify"));
    m.def("from_bytes", &from_bytes, arg("data"));
    m.def(
        "filter", [](py::handle allowed) { return filter_from(allowed, "allowed"); },
        arg("allowed"));
    m.def("knn", &knn_of_arrays, arg("queries"), arg("base"), arg("k"), arg("metric"),
          arg("threads"), arg("progress"));
}

}  // namespace nearbit
