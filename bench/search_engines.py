"""What the benchmark of search compares: libraries, the settings to build them with, and to search.

An Engine is one way to search. Each of its Builds makes an index, each of its Curves searches
one with some settings fixed and an effort that grows. A library is imported by its worker alone.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache, partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from search_sets import Array, K, Set

import nearbit as nb

Settings = dict[str, Any]

# Sizes of a graph's pool, and numbers of lists.
EFS = (10, 12, 14, 16, 20, 24, 32, 40, 48, 64, 80, 96, 128, 160, 192, 256, 320, 384, 512, 768, 1024,
       1536, 2048)  # fmt: skip
PROBES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768)
DEFAULT = "default"  # effort of a library that is not told any


class Index(Protocol):
    """An index of some library, between this and the benchmark."""

    def build(self, rows: Array, threads: int) -> None:
        """Make it of rows."""

    def save(self, path: Path) -> None:
        """Write it to a file, or to a folder that this makes."""

    def load(self, path: Path) -> None:
        """Read it, into memory."""

    def prepare(self, effort: int | str, **settings: Any) -> None:
        """Set how to search from here on, which isn't timed."""

    def batch(self, queries: Array) -> Array:
        """Return ids of the K nearest, from a single thread."""

    def one(self, query: Array) -> Array:
        """Return ids for one query, which has a shape of (1, dim)."""


@dataclass(frozen=True)
class Curve:
    """Settings of searches that differ in effort."""

    efforts: tuple[int | str, ...]
    settings: Settings = field(default_factory=dict)
    default: int | str | None = None  # the library's own effort, where it has one

    @property
    def name(self) -> str:
        """Tell it from other curves of a build."""
        return shown(self.settings)


@dataclass(frozen=True)
class Build:
    """Settings of one index."""

    engine: str  # a family: its builds and curves compete on the queries that tune
    library: str  # as its distribution is called
    make: Callable[[], Index] = field(repr=False)
    settings: str
    curves: tuple[Curve, ...] = field(repr=False)
    default: bool = False  # made as the library does when told nothing

    @property
    def title(self) -> str:
        """Name it among all builds."""
        return f"{self.engine}: {self.settings}"


def shown(settings: Settings) -> str:
    """Return settings as text."""
    return ", ".join(f"{name}={value}" for name, value in settings.items())


@cache
def installed(library: str) -> str | None:
    """Return a library's version; of nearbit also what its compiled part is, or None."""
    try:
        if library != "nearbit":
            return version(library)
    except PackageNotFoundError:
        return None
    core = hashlib.sha256(Path(nb._core.__file__).read_bytes()).hexdigest()[:10]
    return f"{nb.__version__}, core {core}"


def all_builds(data: Set) -> list[Build]:
    """Ours, then the peers'."""
    found = list(ours(data))
    for peer in PEERS:
        found += peer(data)
    return found


def no_builds(data: Set) -> list[str]:
    """Return the libraries that don't take a set's rows or metric."""
    return sorted(set(LIBRARIES) - {build.library for build in all_builds(data)})


# ---------------------------------------------------------------------------------------- ours

DEGREES = (32, 24, 48)  # the first is what a graph has by default

# Codec and refine of graphs.
GRAPHS: tuple[tuple[str, Settings, str | None], ...] = (
    ("Float32", {}, None),
    ("SQ", {"bits": 8}, None),
    ("SQ", {"bits": 4}, "sq8"),
    ("RaBitQ", {"bits": 2}, "sq8"),
    ("RaBitQ", {"bits": 4}, "sq8"),
    ("RaBitQ", {"bits": 4}, "float16"),
)
BIT_GRAPHS: tuple[tuple[str, Settings, str | None], ...] = (("Bits", {}, None),)
REFINE_FACTORS = (1.5, 2, 3)


class Ours:
    """An index of nearbit."""

    def __init__(self, dim: int, metric: str, layout: Any, codec: Any, refine: Any) -> None:
        settings = {"metric": metric, "layout": layout, "codec": codec, "refine": refine}
        self.make = partial(nb.Index, dim, **{k: v for k, v in settings.items() if v is not None})

    def start(self, n: int, threads: int) -> Callable[[Array], object]:
        self.index = self.make()
        return partial(self.index.add, threads=threads)

    def build(self, rows: Array, threads: int) -> None:
        self.start(len(rows), threads)(rows)

    def save(self, path: Path) -> None:
        self.index.save(path)

    def load(self, path: Path) -> None:
        self.index = nb.load(path)

    def prepare(self, effort: int | str, **settings: Any) -> None:
        told = {} if effort == DEFAULT else {"ef": effort}
        self.search = partial(self.index.search, k=K, threads=1, **told, **settings)

    def batch(self, queries: Array) -> Array:
        return self.search(queries).ids

    one = batch

    @property
    def nbytes(self) -> int:
        return self.index.nbytes


def ours(data: Set) -> Iterator[Build]:
    """Scans, and graphs over each codec."""
    scan = (Curve((DEFAULT,), default=DEFAULT),)
    codec = nb.Bits() if data.is_bits else nb.Float32()
    make = partial(Ours, data.dim, data.metric, "flat", codec, None)
    yield Build("nearbit scan", "nearbit", make, repr(codec), scan)
    if not data.is_bits:
        codec = nb.SQ(4)
        make = partial(Ours, data.dim, data.metric, "flat", codec, "sq8")
        curves = (*scan, *(Curve((DEFAULT,), {"refine_factor": f}) for f in REFINE_FACTORS))
        yield Build("nearbit scan of codes", "nearbit", make, f"{codec!r}, sq8", curves)
    for name, settings, refine in BIT_GRAPHS if data.is_bits else GRAPHS:
        codec = getattr(nb, name)(**settings)
        engine = f"nearbit graph, {codec!r}" + (f" + {refine}" if refine else "")
        efforts = (DEFAULT, *EFS)
        curves = [Curve(efforts, default=DEFAULT)]
        if refine:
            curves += [Curve(efforts, {"refine_factor": factor}) for factor in REFINE_FACTORS]
        for degree in DEGREES:
            layout = nb.Graph() if degree == DEGREES[0] else nb.Graph(degree=degree)
            make = partial(Ours, data.dim, data.metric, layout, codec, refine)
            yield Build(engine, "nearbit", make, repr(layout), tuple(curves), layout == nb.Graph())


class LargestNorms:
    """A scan of the rows of largest norm: what inner products need least of."""

    def build(self, rows: Array, threads: int) -> None:
        self.order = np.argsort(-np.square(rows).sum(axis=1), kind="stable")
        self.rows = rows[self.order]

    def save(self, path: Path) -> None:
        with path.open("wb") as file:
            np.savez(file, order=self.order, rows=self.rows)

    def load(self, path: Path) -> None:
        with np.load(path) as arrays:
            self.order, self.rows = arrays["order"], arrays["rows"]

    def prepare(self, effort: int | str) -> None:
        self.first = self.rows[: int(effort)]

    def batch(self, queries: Array) -> Array:
        return self.order[nb.knn(queries, self.first, K, "ip", threads=1).ids]

    one = batch


def largest_norms(data: Set) -> Iterator[Build]:
    """The scan of the largest norms, for inner products."""
    if data.metric == "ip":
        n = len(data.rows)
        efforts = sorted({max(K, math.ceil(n * 2 ** (i / 2))) for i in range(-16, 1)})
        curves = (Curve(tuple(efforts)),)
        yield Build("scan of largest norms", "nearbit", LargestNorms, "nb.knn", curves)


# --------------------------------------------------------------------------------------- faiss


class Faiss:
    """An index from faiss's factory."""

    def __init__(self, dim: int, metric: str, factory: str, construction: int = 0) -> None:
        import faiss

        self.faiss, self.dim, self.metric, self.factory = faiss, dim, metric, factory
        self.construction = construction  # pool of a graph's insertions

    def start(self, n: int, threads: int) -> Callable[[Array], object]:
        faiss = self.faiss
        faiss.omp_set_num_threads(threads)
        kind = faiss.METRIC_L2 if self.metric == "l2" else faiss.METRIC_INNER_PRODUCT
        self.index = faiss.index_factory(self.dim, self.factory, kind)
        if self.construction:
            self.index.hnsw.efConstruction = self.construction
        return self.index.add

    def build(self, rows: Array, threads: int) -> None:
        add = self.start(len(rows), threads)
        self.index.train(rows)
        add(rows)

    def save(self, path: Path) -> None:
        self.faiss.write_index(self.index, str(path))

    def load(self, path: Path) -> None:
        self.index = self.faiss.read_index(str(path))
        self.faiss.omp_set_num_threads(1)

    def prepare(self, effort: int | str, **settings: Any) -> None:
        if "k_factor" in settings:
            self.index.k_factor = settings["k_factor"]
        if hasattr(self.index, "hnsw"):
            self.index.hnsw.efSearch = effort
        else:
            self.faiss.extract_index_ivf(self.index).nprobe = effort

    def batch(self, queries: Array) -> Array:
        return self.index.search(queries, K)[1]

    one = batch


class FaissBinary(Faiss):
    """A graph of bits."""

    def build(self, rows: Array, threads: int) -> None:
        self.faiss.omp_set_num_threads(threads)
        self.index = self.faiss.index_binary_factory(self.dim, self.factory)
        self.index.hnsw.efConstruction = self.construction
        self.index.add(rows)

    def save(self, path: Path) -> None:
        self.faiss.write_index_binary(self.index, str(path))

    def load(self, path: Path) -> None:
        self.index = self.faiss.read_index_binary(str(path))
        self.faiss.omp_set_num_threads(1)


def faiss_engines(data: Set) -> Iterator[Build]:
    """Graphs, and lists of 4-bit product codes with either kind of finer rows."""

    def build(engine: str, make: Callable[[], Index], name: str, *curves: Curve) -> Build:
        return Build(f"faiss {engine}", "faiss-cpu", make, name, curves)

    graph = Curve(EFS, default=16)
    if data.is_bits:
        if data.metric == "hamming":
            for m, construction in ((16, 100), (32, 200)):
                make = partial(FaissBinary, data.dim, data.metric, f"BHNSW{m}", construction)
                name = f"M={m}, efConstruction={construction}"
                yield build("IndexBinaryHNSW", make, name, graph)
        return
    for m, construction in ((32, 40), (16, 200), (32, 200)):
        make = partial(Faiss, data.dim, data.metric, f"HNSW{m}", construction)
        made = build("HNSW", make, f"M={m}, efConstruction={construction}", graph)
        default = (m, construction) == (32, 40)
        yield Build(made.engine, made.library, make, made.settings, made.curves, default)
    for m in (16, 32):
        make = partial(Faiss, data.dim, data.metric, f"HNSW{m}_SQ8", 200)
        yield build("HNSW SQ8", make, f"M={m}, efConstruction=200", graph)
    parts = next(m for m in range(data.dim // 2, 0, -1) if data.dim % m == 0)
    for finer, title in (("RFlat", "IVF PQ fast-scan"), ("Refine(SQ8)", "IVF PQ fast-scan + SQ8")):
        for n_lists in list_counts(data):
            factory = f"IVF{n_lists},PQ{parts}x4fs,{finer}"
            make = partial(Faiss, data.dim, data.metric, factory)
            curves = [Curve(probes(n_lists), {"k_factor": factor}) for factor in (4, 10, 30)]
            yield build(title, make, factory, *curves)


def list_counts(data: Set) -> tuple[int, ...]:
    """Return usual numbers of lists."""
    root = len(data.rows) ** 0.5
    return round(root), round(4 * root)


def probes(n_lists: int) -> tuple[int, ...]:
    """Return how many lists to read."""
    return tuple(n for n in PROBES if n < n_lists)


# ------------------------------------------------------------------------------------- hnswlib


class Hnswlib:
    """HNSW by its authors."""

    def __init__(self, dim: int, metric: str, **settings: int) -> None:
        import hnswlib

        # Of unit rows: its own cosine would copy every query to scale it.
        self.index = hnswlib.Index("l2" if metric == "l2" else "ip", dim)
        self.settings = settings

    def start(self, n: int, threads: int) -> Callable[[Array], object]:
        self.index.init_index(n, random_seed=100, **self.settings)
        return partial(self.index.add_items, num_threads=threads)

    def build(self, rows: Array, threads: int) -> None:
        self.start(len(rows), threads)(rows)

    def save(self, path: Path) -> None:
        self.index.save_index(str(path))

    def load(self, path: Path) -> None:
        self.index.load_index(str(path))

    def prepare(self, effort: int | str) -> None:
        self.index.set_ef(effort)

    def batch(self, queries: Array) -> Array:
        return self.index.knn_query(queries, K, num_threads=1)[0].astype(np.int64)

    one = batch


def hnswlib_engines(data: Set) -> Iterator[Build]:
    """Its graph."""
    if not data.is_bits:
        for m, construction in ((16, 200), (24, 300), (32, 400)):
            settings = {"M": m, "ef_construction": construction}
            make = partial(Hnswlib, data.dim, data.metric, **settings)
            curves = (Curve(EFS, default=10),)
            yield Build("hnswlib", "hnswlib", make, shown(settings), curves, m == 16)


# ------------------------------------------------------------------------------------- usearch


class Usearch:
    """Its graph, over numbers of some kind."""

    def __init__(self, dim: int, metric: str, dtype: str | None, **settings: int) -> None:
        from usearch.index import Index

        # Of unit rows: its own cosine would find the norms of both for every distance.
        kinds = {"l2": "l2sq", "cosine": "ip", "jaccard": "tanimoto"}
        self.index = Index(ndim=dim, metric=kinds.get(metric, metric), dtype=dtype, **settings)

    def build(self, rows: Array, threads: int) -> None:
        self.index.add(np.arange(len(rows)), rows, threads=threads)

    def save(self, path: Path) -> None:
        self.index.save(str(path))

    def load(self, path: Path) -> None:
        self.index.load(str(path))

    def prepare(self, effort: int | str) -> None:
        self.index.expansion_search = effort

    def batch(self, queries: Array) -> Array:
        found = self.index.search(queries, K, threads=1)
        # Where fewer than K are found the rest of the keys are of no meaning.
        keys = np.atleast_2d(found.keys).astype(np.int64)
        counts = np.atleast_1d(getattr(found, "counts", keys.shape[1]))
        if keys.shape[1] < K:
            keys = np.pad(keys, ((0, 0), (0, K - keys.shape[1])), constant_values=-1)
        keys[np.arange(K) >= counts[:, None]] = -1
        return keys

    def one(self, query: Array) -> Array:
        return self.index.search(query[0], K, threads=1).keys

    @property
    def nbytes(self) -> int:
        return self.index.memory_usage


def usearch_engines(data: Set) -> Iterator[Build]:
    """Its graph over float32, over its own choice, and over something smaller; or bits."""
    # Its int8 are of unit rows, whatever a row's norm was.
    floats = ("f32", None, "i8" if data.metric == "cosine" else "f16")
    for dtype in ("b1",) if data.is_bits else floats:
        for m, construction in ((16, 128), (32, 256)):
            settings = {"connectivity": m, "expansion_add": construction}
            make = partial(Usearch, data.dim, data.metric, dtype, **settings)
            curves = (Curve(EFS, default=64),)
            default = m == 16 and dtype in (None, "b1")
            engine = "usearch" + (f" {dtype}" if dtype else "")
            yield Build(engine, "usearch", make, shown(settings), curves, default)


# ----------------------------------------------------------------------------------- rabitqlib


class RaBitQ:
    """A graph or lists of rabitqlib."""

    def __init__(self, kind: str, dim: int, metric: str, **settings: Any) -> None:
        import rabitqlib

        self.lib, self.kind, self.dim, self.settings = rabitqlib, kind, dim, settings
        # On unit rows both rank alike, and its graphs are made for l2.
        self.metric = "ip" if metric == "ip" else "l2"

    def build(self, rows: Array, threads: int) -> None:
        settings, n = dict(self.settings), len(rows)
        if self.kind == "SymqgIndex":
            construction = settings.pop("ef_construction")
            self.index = self.lib.SymqgIndex(self.dim, metric=self.metric, **settings)
            self.index.build(rows, construction, num_threads=threads)
            return
        n_clusters = settings.pop("num_clusters")
        if self.kind == "IvfIndex":
            self.index = self.lib.IvfIndex(self.dim, n, n_clusters, metric=self.metric, **settings)
        else:
            self.index = self.lib.HnswIndex(self.dim, n, metric=self.metric, **settings)
        # As it advises: the second for many.
        kind = self.lib.RaBitQKMeans if n_clusters < 500 else self.lib.QGKMeans
        means = kind(self.dim, n_clusters, num_threads=threads)
        means.train(rows)
        self.index.build(rows, means.centroids, means.assignments, num_threads=threads)

    def save(self, path: Path) -> None:
        self.index.save(str(path))

    def load(self, path: Path) -> None:
        self.index = getattr(self.lib, self.kind).load(str(path))

    def prepare(self, effort: int | str) -> None:
        self.effort = effort
        # Only one of its indexes has a call of its own for many queries.
        self.search_batch = getattr(self.index, "search_batch", self.index.search)

    def batch(self, queries: Array) -> Array:
        return as_ids(self.search_batch(queries, K, self.effort, num_threads=1)[0])

    def one(self, query: Array) -> Array:
        return self.index.search(query, K, self.effort, num_threads=1)[0]


def as_ids(ids: Array) -> Array:
    """Return unsigned ids as signed, the largest of them, which pads, as -1."""
    return np.asarray(ids).astype(np.int32, casting="unsafe").astype(np.int64)


def rabitq_engines(data: Set) -> Iterator[Build]:
    """SymphonyQG, HNSW and lists over RaBitQ codes."""
    if data.is_bits:
        return

    def build(engine: str, kind: str, efforts: tuple[int, ...], **settings: Any) -> Build:
        make = partial(RaBitQ, kind, data.dim, data.metric, **settings)
        return Build(f"rabitqlib {engine}", "rabitqlib", make, shown(settings), (Curve(efforts),))

    for bits, engine in ((0, "SymQG"), (8, "SymQG 8 bit")):
        for degree, construction in ((32, 200), (32, 400), (64, 400)):
            settings = {"max_degree": degree, "ef_construction": construction}
            yield build(engine, "SymqgIndex", EFS, **settings, quantization_bits=bits)
    for bits, m in ((5, 16), (8, 16), (8, 32)):
        settings = {"M": m, "ef_construction": 200, "nbits": bits, "num_clusters": 16}
        yield build("HNSW", "HnswIndex", EFS, **settings)
    for n_clusters in list_counts(data):
        for bits in (4, 7):
            settings = {"num_clusters": n_clusters, "nbits": bits}
            yield build("IVF", "IvfIndex", probes(n_clusters), **settings)


# --------------------------------------------------------------------------------------- scann


class Scann:
    """Lists of 4-bit codes, and finer rows."""

    def __init__(self, metric: str, leaves: int, int8: bool, threshold: float | None) -> None:
        import scann
        from scann.scann_ops.py import scann_ops_pybind

        self.scann, self.ops, self.int8 = scann, scann_ops_pybind, int8
        self.metric, self.leaves = "squared_l2" if metric == "l2" else "dot_product", leaves
        name = "anisotropic_quantization_threshold"
        self.threshold = {} if threshold is None else {name: threshold}

    def build(self, rows: Array, threads: int) -> None:
        kind = self.scann.ReorderType.INT8 if self.int8 else self.scann.ReorderType.FLOAT32
        builder = self.ops.builder(rows, K, self.metric).set_n_training_threads(threads)
        sample = min(len(rows), 250_000)
        builder.tree(self.leaves, min(100, self.leaves), training_sample_size=sample)
        builder.score_ah(2, **self.threshold)
        self.index = builder.reorder(100, quantize=kind).build()

    def save(self, path: Path) -> None:
        path.mkdir()
        self.index.serialize(str(path), relative_path=True)

    def load(self, path: Path) -> None:
        self.index = self.ops.load_searcher(str(path))

    def prepare(self, effort: int | str, reorder: int) -> None:
        self.settings = {
            "final_num_neighbors": K,
            "pre_reorder_num_neighbors": reorder,
            "leaves_to_search": effort,
        }

    def batch(self, queries: Array) -> Array:
        return as_ids(self.index.search_batched(queries, **self.settings)[0])

    def one(self, query: Array) -> Array:
        return self.index.search(query[0], **self.settings)[0]


def scann_engines(data: Set) -> Iterator[Build]:
    """Its tree with float32 and int8 rows."""
    if data.is_bits:
        return
    # Its threshold is for products with rows of length 1 and some 100 dimensions.
    thresholds = (0.2, None) if data.metric == "cosine" else (None,)
    for int8, engine in ((False, "scann"), (True, "scann int8")):
        for leaves in list_counts(data):
            for threshold in thresholds:
                make = partial(Scann, data.metric, leaves, int8, threshold)
                name = f"leaves={leaves}" + (f", threshold={threshold}" if threshold else "")
                curves = tuple(Curve(probes(leaves), {"reorder": n}) for n in (30, 100, 300))
                yield Build(engine, "scann", make, name, curves)


# -------------------------------------------------------------------------------------- lorann


class Lorann:
    """Lists with a regression in each."""

    def __init__(self, metric: str, **settings: Any) -> None:
        import lorann

        self.lorann, self.settings = lorann, settings
        self.distance = lorann.L2 if metric == "l2" else lorann.IP

    def build(self, rows: Array, threads: int) -> None:
        self.index = self.lorann.LorannIndex(rows, distance=self.distance, **self.settings)
        self.index.build(n_threads=threads)

    def save(self, path: Path) -> None:
        self.index.save(str(path))

    def load(self, path: Path) -> None:
        self.index = self.lorann.LorannIndex.load(str(path))

    def prepare(self, effort: int | str, rerank: int) -> None:
        self.efforts = (effort, rerank)

    def batch(self, queries: Array) -> Array:
        return self.index.search(queries, K, *self.efforts, n_threads=1).astype(np.int64)

    def one(self, query: Array) -> Array:
        return self.index.search(query[0], K, *self.efforts, n_threads=1)


def lorann_engines(data: Set) -> Iterator[Build]:
    """Its lists at 8 and 4 bits."""
    if data.is_bits:
        return
    reduced = None if data.dim < 200 else 128 if data.dim <= 1000 else 256  # as it advises
    for bits in (8, 4):
        for n_clusters in list_counts(data):
            settings = {"n_clusters": n_clusters, "quantization_bits": bits, "global_dim": reduced}
            make = partial(Lorann, data.metric, **settings)
            curves = tuple(Curve(probes(n_clusters), {"rerank": n}) for n in (30, 100, 300))
            yield Build("lorann", "lorann", make, shown(settings), curves)


LIBRARIES = ("faiss-cpu", "hnswlib", "usearch", "rabitqlib", "scann", "lorann")
PEERS = (
    largest_norms, faiss_engines, hnswlib_engines, usearch_engines, rabitq_engines, scann_engines,
    lorann_engines,
)  # fmt: skip
