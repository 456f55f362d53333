"""What the study of compression compares: every way to hold rows in few bytes, with its settings.

A codec of nearbit is a line of OURS or OURS_BY_BYTES; one that nearbit doesn't have is skipped.
"""

from __future__ import annotations

import json
import math
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import faiss
import numpy as np
from compress_sets import OVER, Array, Set
from make.packages import data_folder

import nearbit as nb

try:
    import rabitqlib
except ImportError:
    rabitqlib = None

THREADS = 2  # to train and to encode
ID_BYTES = 4  # of rabitqlib, which keeps them beside its codes

# Steps of the even grid that suits a normal variable best (of unit variance), by bits.
NORMAL_STEPS = {4: 0.3352, 8: 0.0308}


class Store(Protocol):
    """Rows in few bytes."""

    shared_bytes: int  # matrices, codebooks: what rows have in common
    train_seconds: float | None  # CPU time of training that an earlier run has done

    @property
    def row_bytes(self) -> float:
        """Every byte that a row owns, factors and scales included, but for its id."""

    def train(self, sample: Array) -> None:
        """Learn what rows have in common."""

    def add(self, rows: Array) -> None:
        """Encode rows."""

    def search(self, queries: Array, k: int, threads: int) -> Array:
        """Return the ids of the k nearest, as far as codes tell."""


@dataclass(frozen=True)
class Candidate:
    """A codec with its settings."""

    library: str
    family: str  # members compete on the validation queries, and the best is reported
    name: str
    build: Callable[[], Store] = field(repr=False)
    timed: bool = True  # not where the search is only made to see what codes are worth

    @property
    def title(self) -> str:
        """Name it among all results."""
        return f"{self.library} {self.name}"


def all_candidates(data: Set) -> list[Candidate]:
    """Ours, then the peers', the slow ones last."""
    return [*ours(data), *cuts(data), *faiss_codecs(data), *rabitq_library(data), *faiss_opq(data)]


def peer_metrics(data: Set) -> tuple[str, ...]:
    """Metrics that rank unit rows alike but not what codes say of them; else the set's own."""
    return ("l2", "ip") if data.unit else (data.metric,)


# ---------------------------------------------------------------------------------------- ours

OURS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("Float32", {}),
    ("Float16", {}),
    ("SQ", {"bits": 8}),
    ("SQ", {"bits": 4}),
    *(("RaBitQ", {"bits": bits}) for bits in (1, 2, 3, 4, 5, 6)),
    ("Sign", {}),
)

# Codecs of about n bytes a row, as settings from n: the largest that a budget has room for is used.
OURS_BY_BYTES: tuple[tuple[str, str, Callable[[int], dict[str, Any]]], ...] = (
    ("PQ", "PQ", lambda n: {"m": n}),
    ("PQ", "OPQ", lambda n: {"m": n, "rotation": "opq"}),
    ("PQ", "OPQ 4 bit", lambda n: {"m": 2 * n, "nbits": 4, "rotation": "opq"}),
    ("PCASQ", "PCASQ", lambda n: {"n_bytes": n}),
    ("ITQ", "ITQ", lambda n: {"nbits": 8 * n}),
)


class Ours:
    """An index of nearbit."""

    train_seconds = None

    def __init__(self, dim: int, metric: str, codec: nb.codecs.Codec) -> None:
        self.index = nb.Index(dim, metric=metric, layout="flat", codec=codec)
        self.shared_bytes = 0

    @property
    def row_bytes(self) -> float:
        stats = self.index.stats()
        return (stats["code_bytes"] + stats["factor_bytes"]) / stats["slots"]

    def train(self, sample: Array) -> None:
        self.index.train(sample, threads=THREADS)
        self.shared_bytes = len(self.index.to_bytes())

    def add(self, rows: Array) -> None:
        self.index.add(rows, threads=THREADS)

    def search(self, queries: Array, k: int, threads: int) -> Array:
        return self.index.search(queries, k, threads=threads).ids


def ours(data: Set) -> Iterator[Candidate]:
    """Every codec for each of its metrics that rank as the set's does."""
    for metric in ("cosine", "l2", "hamming") if data.unit else (data.metric,):
        found = [(name, our_codec(name, settings, metric)) for name, settings in OURS]
        for name, family, settings_of in OURS_BY_BYTES:
            for budget in data.budgets:
                make = partial(our_codec_of_bytes, name, settings_of, metric)
                found.append((family, largest(make, data, metric, budget)))
        for family, codec in found:
            if codec is not None:
                build = partial(Ours, data.dim, metric, codec)
                yield Candidate("nearbit", family, f"{codec!r} {metric}", build)


def our_codec(name: str, settings: dict[str, Any], metric: str) -> nb.codecs.Codec | None:
    """Return a codec, if nearbit has it and the metric goes with it."""
    kind = getattr(nb, name, None)
    return None if kind is None or metric not in kind.metrics else kind(**settings)


def our_codec_of_bytes(
    name: str, settings_of: Callable[[int], dict[str, Any]], metric: str, n: int
) -> nb.codecs.Codec | None:
    """Return a codec of about n bytes."""
    return our_codec(name, settings_of(n), metric)


def largest(
    make: Callable[[int], nb.codecs.Codec | None], data: Set, metric: str, budget: int
) -> nb.codecs.Codec | None:
    """Return make(n) for the largest n at which a row takes no more than the budget."""
    few = data.rows[:: len(data.rows) // 2_000]
    n = budget
    while n > 0 and (codec := make(n)) is not None:
        try:
            store = Ours(data.dim, metric, codec)
        except ValueError:  # such as more parts than dimensions
            return None
        store.add(few)
        excess = math.ceil(store.row_bytes - budget)
        if excess <= 0:
            return codec
        n -= excess
    return None


# ---------------------------------------------------------------------------------- transforms


class Projection:
    """Rows relative to their mean along their first principal components, or these rotated.

    For "l2" queries are treated as rows are; for "ip" the mean stays with them, since
    <q, x - mean> ranks as <q, x> does. So no peer loses by being centred.
    """

    def __init__(
        self, dim: int, metric: str, *, rotate: bool = False, unit_variance: bool = False
    ) -> None:
        self.dim, self.metric, self.rotate, self.unit_variance = dim, metric, rotate, unit_variance
        self.nbytes = 0

    def fit(self, sample: Array) -> None:
        """Find mean and components."""
        self.mean = sample.mean(axis=0)
        centred = sample - self.mean
        _, vectors = np.linalg.eigh(centred.T @ centred)
        matrix = vectors[:, ::-1][:, : self.dim]
        if self.rotate:
            rng = np.random.default_rng(0)
            matrix = matrix @ np.linalg.qr(rng.standard_normal((self.dim, self.dim)))[0]
        if self.unit_variance:
            matrix = matrix / np.sqrt(np.square(centred @ matrix).mean())
        self.matrix = matrix.astype(np.float32)
        self.nbytes = self.mean.nbytes + self.matrix.nbytes

    def rows(self, rows: Array) -> Array:
        """Transform rows."""
        return (rows - self.mean) @ self.matrix

    def queries(self, queries: Array) -> Array:
        """Transform queries."""
        return self.rows(queries) if self.metric == "l2" else queries @ self.matrix


class Widest:
    """Rows without the dimensions of least variance, so that parts are of equal size."""

    def __init__(self, dim: int) -> None:
        self.dim = dim
        self.nbytes = 4 * dim

    def fit(self, sample: Array) -> None:
        """Choose dimensions."""
        self.kept = np.sort(np.argsort(-sample.var(axis=0), kind="stable")[: self.dim])

    def rows(self, rows: Array) -> Array:
        """Transform rows or queries."""
        return np.ascontiguousarray(rows[:, self.kept])

    queries = rows


# ----------------------------------------------------------------------------------- baselines


class Cut:
    """The first principal components alone, as floats, halves or integers with one scale."""

    train_seconds = None

    def __init__(self, dim: int, metric: str, dtype: str) -> None:
        self.bits = {"float32": 32, "float16": 16, "int8": 8, "int4": 4}[dtype]
        whole = self.bits < 16
        self.projection = Projection(dim, metric, rotate=whole, unit_variance=whole)
        self.row_bytes = dim * self.bits / 8

    @property
    def shared_bytes(self) -> int:
        return self.projection.nbytes

    def train(self, sample: Array) -> None:
        self.projection.fit(sample)

    def add(self, rows: Array) -> None:
        coded = self.projection.rows(rows)
        if self.bits == 16:
            coded = coded.astype(np.float16).astype(np.float32)
        if self.bits < 16:
            step, most = NORMAL_STEPS[self.bits], 2 ** (self.bits - 1) - 1
            coded = np.clip(np.rint(coded / step), -most, most) * np.float32(step)
        self.decoded = np.ascontiguousarray(coded, np.float32)

    def search(self, queries: Array, k: int, threads: int) -> Array:
        queries = self.projection.queries(queries)
        return nb.knn(queries, self.decoded, k, self.projection.metric, threads=threads).ids


def cuts(data: Set) -> Iterator[Candidate]:
    """Fewer dimensions."""
    for metric in peer_metrics(data):
        for dtype, bits in (("float32", 32), ("float16", 16), ("int8", 8), ("int4", 4)):
            for dim in sizes(data, bits):
                build = partial(Cut, dim, metric, dtype)
                yield Candidate("numpy", f"PCA {dtype}", f"PCA{dim} {dtype} {metric}", build, False)


def sizes(data: Set, bits: float, extra: float = 0, least: float = 0, step: int = 1) -> list[int]:
    """Return the most dimensions for each budget, at so many bits each and extra bytes a row."""
    fitting = {int(min(data.dim, (b - extra) * 8 / bits)) // step * step for b in data.budgets}
    return sorted(dim for dim in fitting if dim > least * data.dim)


def rabitq_sizes(data: Set, bits: int, factors: int, step: int) -> list[int]:
    """Return dimensions that fit the budgets, and all of them if that is about a budget."""
    fitting = set(sizes(data, bits, factors, 0.6, step))
    size = data.dim * bits / 8 + factors
    if any(budget / OVER <= size <= OVER * budget for budget in data.budgets):
        fitting.add(data.dim)
    return sorted(fitting)


def parts(data: Set, most: Iterable[int]) -> list[tuple[int, int]]:
    """Return pairs of parts, no more than each of `most`, and dimensions that they divide evenly.

    Either as many parts as may be, or so few that they take nearly all dimensions.
    """
    found = set()
    for m in most:
        if m <= data.dim:
            found.add((m, data.dim // m * m))
        size = -(-data.dim // m)
        if data.dim // m * m < 0.95 * data.dim:
            found.add((data.dim // size, data.dim // size * size))
    return sorted(found)


# --------------------------------------------------------------------------------------- faiss

METRICS = {"l2": faiss.METRIC_L2, "ip": faiss.METRIC_INNER_PRODUCT}


class Faiss:
    """An index of faiss, with a transform before it or none."""

    train_seconds = None

    def __init__(
        self, make: Callable[[], faiss.Index], transform: Projection | Widest | None = None
    ) -> None:
        self.index, self.transform = make(), transform
        self.shared_bytes = 0

    @property
    def row_bytes(self) -> float:
        return self.index.sa_code_size()

    def train(self, sample: Array) -> None:
        faiss.omp_set_num_threads(THREADS)
        if self.transform is not None:
            self.transform.fit(sample)
            sample = self.transform.rows(sample)
            self.shared_bytes = self.transform.nbytes
        self.index.train(sample)
        self.shared_bytes += faiss.serialize_index(self.index).nbytes

    def add(self, rows: Array) -> None:
        faiss.omp_set_num_threads(THREADS)
        self.index.add(rows if self.transform is None else self.transform.rows(rows))

    def search(self, queries: Array, k: int, threads: int) -> Array:
        faiss.omp_set_num_threads(threads)
        queries = queries if self.transform is None else self.transform.queries(queries)
        return self.index.search(queries, k)[1]


def faiss_codecs(data: Set) -> Iterator[Candidate]:
    """All but OPQ."""

    def candidate(
        family: str, name: str, make: Callable[[], faiss.Index], *transform: Callable[[], Any]
    ) -> Candidate:
        return Candidate("faiss", family, name, lambda: Faiss(make, *(t() for t in transform)))

    for metric in peer_metrics(data):
        kind = METRICS[metric]
        for m, dim in parts(data, data.budgets):
            widest = [partial(Widest, dim)] if dim != data.dim else []
            make = partial(faiss.IndexPQ, dim, m, 8, kind)
            yield candidate("PQ", f"PQ{m}x8 {metric}", make, *widest)
        for m, dim in parts(data, [2 * budget for budget in data.budgets]):
            widest = [partial(Widest, dim)] if dim != data.dim else []
            make = partial(faiss.IndexPQFastScan, dim, m, 4, kind)
            yield candidate("PQ 4 bit", f"PQ{m}x4fs {metric}", make, *widest)
        for bits in range(1, 7):
            for dim in rabitq_sizes(data, bits, 8 if bits == 1 else 20, step=8):
                name = f"{cut(data, dim)}RaBitQ{bits}fs {metric}"
                make = partial(faiss.IndexRaBitQFastScan, dim, kind, 32, bits)
                rotated = partial(Projection, dim, metric, rotate=True)
                yield candidate("RaBitQ", name, make, rotated)
        for bits in (1, 2, 4, 8):
            code = getattr(faiss.ScalarQuantizer, f"QT_{bits}bit_eden")
            for dim in sizes(data, bits, least=0.4, step=8):
                name = f"{cut(data, dim)}EDEN{bits} {metric}"
                make = partial(faiss.IndexScalarQuantizer, dim, code, kind)
                even = partial(Projection, dim, metric, rotate=True, unit_variance=True)
                yield candidate("EDEN", name, make, even)
        for bits in (4, 6, 8):
            code = getattr(faiss.ScalarQuantizer, f"QT_{bits}bit")
            for dim in sorted({*sizes(data, bits, least=0.25, step=8), data.dim}):
                name = f"{cut(data, dim)}SQ{bits} {metric}"
                make = partial(faiss.IndexScalarQuantizer, dim, code, kind)
                first = [partial(Projection, dim, metric)] if dim < data.dim else []
                yield candidate("SQ", name, make, *first)
    for bits in (8 * budget for budget in data.budgets):
        if bits <= data.dim:
            make = partial(faiss.index_factory, data.dim, f"ITQ{bits},LSH")
            yield candidate("ITQ, LSH", f"ITQ{bits},LSH", make)
        else:
            yield candidate("ITQ, LSH", f"LSH{bits}", partial(faiss.IndexLSH, data.dim, bits))


def cut(data: Set, dim: int) -> str:
    """Name a cut to some dimensions, as faiss does."""
    return "" if dim == data.dim else f"PCA{dim},"


class FaissOPQ(Faiss):
    """OPQ and PQ with faiss's defaults, which train for minutes: kept among the data sets."""

    def __init__(self, data: Set, m: int, dim: int, metric: str) -> None:
        super().__init__(partial(faiss.index_factory, data.dim, f"OPQ{m}_{dim},PQ{m}"))
        self.metric = METRICS[metric]
        self.kept = data_folder() / f"trained-faiss-{faiss.__version__}-{data.name}-OPQ{m}.index"

    def train(self, sample: Array) -> None:
        if not self.kept.exists():
            start = time.process_time()
            super().train(sample)
            faiss.write_index(self.index, str(self.kept))
            self.kept.with_suffix(".json").write_text(json.dumps(time.process_time() - start))
        self.train_seconds = json.loads(self.kept.with_suffix(".json").read_text())
        self.index = faiss.read_index(str(self.kept))
        self.index.metric_type = faiss.downcast_index(self.index.index).metric_type = self.metric
        self.shared_bytes = self.kept.stat().st_size


def faiss_opq(data: Set) -> Iterator[Candidate]:
    """OPQ."""
    for m, dim in parts(data, data.budgets):
        for metric in peer_metrics(data):
            build = partial(FaissOPQ, data, m, dim, metric)
            yield Candidate("faiss", "OPQ", f"OPQ{m},PQ{m}x8 {metric}", build)


# ----------------------------------------------------------------------------------- rabitqlib


class RaBitQLibrary:
    """Its inverted lists, one list."""

    train_seconds = None

    def __init__(self, dim: int, metric: str, bits: int) -> None:
        self.dim, self.metric, self.bits = dim, metric, bits
        self.transform = Projection(dim, metric, rotate=True)
        self.row_bytes = 0.0
        self.shared_bytes = 0

    def train(self, sample: Array) -> None:
        self.transform.fit(sample)

    def add(self, rows: Array) -> None:
        rows = self.transform.rows(rows)
        n = len(rows)
        self.index = rabitqlib.IvfIndex(self.dim, n, 1, self.bits, metric=self.metric)
        centre = rows.mean(axis=0, keepdims=True)
        self.index.build(rows, centre, np.zeros(n, np.uint32), num_threads=THREADS)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "index"
            self.index.save(str(path))
            self.row_bytes, rest = divmod(path.stat().st_size - ID_BYTES * n, n)
        self.shared_bytes = rest + self.transform.nbytes

    def search(self, queries: Array, k: int, threads: int) -> Array:
        queries = self.transform.queries(queries)
        return self.index.search(queries, k, 1, num_threads=threads)[0].astype(np.int64)


def rabitq_library(data: Set) -> Iterator[Candidate]:
    """RaBitQ by its authors."""
    if rabitqlib is None:
        return
    for metric in peer_metrics(data):
        for bits in range(1, 7):
            for dim in rabitq_sizes(data, bits, 12 if bits == 1 else 20, step=64):
                name = f"{cut(data, dim)}RaBitQ{bits} {metric}"
                build = partial(RaBitQLibrary, dim, metric, bits)
                yield Candidate("rabitqlib", "RaBitQ", name, build)


def versions() -> dict[str, str]:
    """Name the libraries compared; those that are missing too."""
    isa = nb.simd_info()["isa"]
    level = faiss.SIMDConfig.get_level_name()
    library = "not installed" if rabitqlib is None else version("rabitqlib")
    return {
        "nearbit": f"{nb.__version__}, {isa}",
        "faiss": f"{faiss.__version__}, {level}",
        "rabitqlib": library,
        "numpy": np.__version__,
    }
