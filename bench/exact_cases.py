"""The comparisons of exact search: nearbit beside its peers, as data.

Import this after OPENBLAS_CORETYPE is set: the BLAS inside faiss reads it while it loads.
"""

from __future__ import annotations

import ctypes
import itertools
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import Any

import faiss
import mapped
import numpy as np
import scans
import usearch.index
from figures import OURS, Bar, Case, Limit, Ratio, Samples, interleave
from numpy.typing import NDArray

import nearbit as nb

Array = NDArray[Any]
Search = Callable[[Array], Array]

K = 10
LARGEST = np.finfo(np.float32).max
SIZES = {"cache": 8 << 20, "memory": 192 << 20}
MAPPED_BYTES = 1 << 30
MAPPING_PROCESSES = 4

# Owed and aimed at, as multiples of the rival's speed.
HAMMING_ONE = {
    (256, "cache"): (1.5, 2.0),
    (256, "memory"): (1.5, 2.0),
    (2048, "cache"): (2.0, 2.5),
    (2048, "memory"): (1.6, 2.0),
}
HAMMING_FEW = (1.8, 2.5)
HAMMING_MANY = {
    128: (3.0, 5.0),
    256: (2.0, 3.2),
    512: (2.0, 3.2),
    1024: (3.0, 5.0),
    2048: (3.0, 5.0),
}
FLOAT_ONE = (1.1, 1.25)
FLOAT_FEW = {8: (2.5, 4.0), 32: (4.0, 6.0)}
FLOAT_FEW_BLAS = {8: (1.5, 2.0), 32: (1.3, 1.7)}
FLOAT_MANY = {128: (1.0, 1.2), 384: (1.0, 1.2), 784: (0.95, 1.2)}
FILTERED = {50.0: 0.95, 10.0: 1.0, 1.0: 1.0, 0.1: 1.0}


# ---------------------------------------------------------------------------------------- data


@dataclass(frozen=True)
class Base:
    """What is searched: bits (metric hamming) or floats (metric l2 or ip)."""

    metric: str
    dim: int
    size: str
    data: str = "random"

    @property
    def row_bytes(self) -> int:
        """Bytes of a row."""
        return self.dim // 8 if self.metric == "hamming" else 4 * self.dim

    @property
    def title(self) -> str:
        """How its cases begin."""
        size = f" {self.dim} bit" if self.metric == "hamming" else f" d={self.dim}"
        return self.metric + size


@dataclass(frozen=True)
class Built:
    """A base, queries for it, and the indexes that search it."""

    base: Array
    queries: Array
    ours: nb.Index
    theirs: Any


@lru_cache(maxsize=1)
def built(base: Base) -> Built:
    """Draw the rows and fill both indexes; the last one stays for the next case."""
    n = SIZES[base.size] // base.row_bytes
    draw = draw_bits if base.metric == "hamming" else draw_floats
    rows = draw(n + 1000, base.dim, clustered=base.data == "clustered")
    vectors, queries = rows[:n], rows[n:]
    codec = "bits" if base.metric == "hamming" else "float32"
    ours = nb.Index(base.dim, metric=base.metric, layout="flat", codec=codec)
    ours.add(vectors)
    return Built(vectors, queries, ours, faiss_flat(base, vectors))


def draw_bits(n: int, bits: int, *, clustered: bool) -> Array:
    """Draw packed rows: even bits, or some 1000 centres with an eighth of the bits flipped."""
    rng = np.random.default_rng(0)
    shape = (n, bits // 8)

    def even(shape: tuple[int, ...]) -> Array:
        return rng.integers(0, 256, shape, dtype=np.uint8)

    if not clustered:
        return even(shape)
    rows = even((1000, shape[1]))[rng.integers(0, 1000, n)]
    rows ^= even(shape) & even(shape) & even(shape)
    return rows


def draw_floats(n: int, dim: int, *, clustered: bool) -> Array:
    """Draw normal rows, around 1000 normal centres at a third of their spread or around 0."""
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((n, dim), dtype=np.float32)
    if clustered:
        centres = rng.standard_normal((1000, dim), dtype=np.float32)
        rows *= np.float32(1 / 3)
        rows += centres[rng.integers(0, 1000, n)]
    return rows


def faiss_flat(base: Base, vectors: Array) -> Any:
    """Fill faiss's flat index of the same rows."""
    kinds: dict[str, Any] = {
        "hamming": faiss.IndexBinaryFlat,
        "l2": faiss.IndexFlatL2,
        "ip": faiss.IndexFlatIP,
    }
    index = kinds[base.metric](base.dim)
    index.add(vectors)
    return index


# ------------------------------------------------------------------------------------ searching


def search_ours(index: nb.Index, threads: int) -> Search:
    """Return our search as a function from queries to distances."""
    return lambda queries: index.search(queries, K, threads=threads).distances


def search_faiss(index: Any) -> Search:
    """Return theirs, as it comes: a count of multiplications decides whether BLAS runs."""
    return lambda queries: index.search(queries, K)[0]


def search_faiss_blas(index: Any) -> Search:
    """Return theirs with BLAS for every batch."""
    usual = faiss.cvar.distance_compute_blas_threshold

    def search(queries: Array) -> Array:
        faiss.cvar.distance_compute_blas_threshold = 1
        try:
            distances: Array = index.search(queries, K)[0]
        finally:
            faiss.cvar.distance_compute_blas_threshold = usual
        return distances

    return search


FAISS = {"faiss": search_faiss, "faiss with BLAS": search_faiss_blas}


def each(search: Search, chunks: list[Array]) -> Callable[[], list[Array]]:
    """Return a call that searches chunk after chunk."""
    return lambda: [search(chunk) for chunk in chunks]


def batches(queries: Array, batch: int, size: str) -> list[Array]:
    """Cut what one timed call searches, enough that the rival's rows leave the cache unnoticed."""
    count = max(batch, {"cache": 64, "memory": 2}[size])
    return [queries[i : i + batch] for i in range(0, count, batch)]


def check_equal(base: Base, ours: list[Array], theirs: list[Array]) -> None:
    """Refuse to compare searches that find different distances: bits exactly, floats nearly."""
    found, expected = np.concatenate(ours), np.concatenate(theirs)
    real = np.isfinite(found)  # faiss fills up with the largest number instead
    np.testing.assert_array_equal(real, np.abs(expected) < LARGEST)
    found, expected = found[real], expected[real]
    if base.metric == "hamming":
        np.testing.assert_array_equal(found, expected)
        return
    # faiss's BLAS path is off by a few float32 units of |x|^2 + |q|^2, some 4 * dim here.
    sign = -1 if base.metric == "ip" else 1
    np.testing.assert_allclose(found, sign * expected, rtol=1e-5, atol=1e-5 * base.dim)


# ------------------------------------------------------------------------------------ measuring


def measure_knn(
    base: Base, batch: int, threads: int, rivals: tuple[str, ...], rounds: int
) -> Samples:
    """Sample seconds a query of ours and of faiss's ways of searching the same rows."""
    both = built(base)
    faiss.omp_set_num_threads(threads)
    chunks = batches(both.queries, batch, base.size)
    calls = {OURS: each(search_ours(both.ours, threads), chunks)}
    calls |= {rival: each(FAISS[rival](both.theirs), chunks) for rival in rivals}
    ours = calls[OURS]()
    for rival in rivals:
        check_equal(base, ours, calls[rival]())
    return interleave(calls, rounds, threads, per_call=batch * len(chunks))


def measure_filtered(base: Base, percent: float, rounds: int) -> Samples:
    """Sample seconds a query with a prepared filter and without any."""
    both = built(base)
    n = len(both.base)
    allowed = np.random.default_rng(1).permutation(n)[: round(n * percent / 100)]
    prepared = both.ours.filter(allowed)
    chunks = batches(both.queries, 1, base.size)
    calls = {
        OURS: each(lambda q: both.ours.search(q, K, filter=prepared, threads=1).distances, chunks),
        "unfiltered": each(search_ours(both.ours, threads=1), chunks),
    }
    faiss.omp_set_num_threads(1)
    alone = each(search_faiss(faiss_flat(base, both.base[allowed])), chunks)
    check_equal(base, calls[OURS](), alone())
    calls["unfiltered"]()
    return interleave(calls, rounds, per_call=len(chunks))


def measure_call(rounds: int) -> Samples:
    """Sample seconds of a call that finds the one row there is."""
    row, query = np.random.default_rng(0).standard_normal((2, 1, 8), dtype=np.float32)
    ours = nb.Index(8, metric="l2", layout="flat", codec="float32")
    ours.add(row)
    theirs = faiss.IndexFlatL2(8)
    theirs.add(row)
    other = usearch.index.Index(ndim=8, metric="l2sq", dtype="f32")
    other.add(0, row[0])
    one_d = query[0]
    expected = np.float32(((row - query) ** 2).sum())
    for found in (
        ours.search(one_d, K).distances[0],
        theirs.search(query, K)[0][0, 0],
        other.search(one_d, K).distances[0],
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-5)
    faiss.omp_set_num_threads(1)
    times = 1000
    calls = {
        OURS: repeat(ours.search, one_d, times),
        "faiss": repeat(theirs.search, query, times),
        "usearch": repeat(other.search, one_d, times),
    }
    return interleave(calls, rounds, per_call=times)


def repeat(search: Callable[[Array, int], object], query: Array, times: int) -> Callable[[], None]:
    """Return a call that searches the same query many times."""

    def run() -> None:
        for _ in itertools.repeat(None, times):
            search(query, K)

    return run


# --------------------------------------------------------------------------------- mapped files


@cache
def mapped_folder() -> tempfile.TemporaryDirectory[str]:
    """Hold a large saved index until the program ends."""
    folder = tempfile.TemporaryDirectory(prefix="nearbit-bench-")
    mapped.make(Path(folder.name) / "index", MAPPED_BYTES)
    return folder


def mapped_path() -> Path:
    """Return the saved index, making it the first time."""
    return Path(mapped_folder().name) / "index"


def measure_open(seconds: Callable[[Path], float], rounds: int) -> Samples:
    """Sample seconds to map the index."""
    path = mapped_path()
    seconds(path)
    return {OURS: np.array([seconds(path) for _ in range(rounds)])}


def measure_mapping(_rounds: int) -> Samples:
    """Let several processes hold the index, once: nothing in it varies.

    Samples, one a process: copies of the file by its share of pages, and bytes of its own.
    """
    path = mapped_path()
    added = mapped.memory(path, MAPPING_PROCESSES)
    return {
        "copies": np.array([sum(one["pss"] for one in added) / path.stat().st_size]),
        "private": np.array([one["private"] for one in added], np.float64),
    }


# ---------------------------------------------------------------------------------------- cases


def knn_case(
    base: Base, batch: int, bars: tuple[Ratio, ...], threads: int = 1, **more: bool
) -> Case:
    """One comparison with faiss."""
    queries = "1 query" if batch == 1 else f"{batch:,} queries"
    if threads > 1:
        queries += f", {threads} threads"
    name = f"{base.title}, {queries}, {base.size}, {base.data}"
    rivals = tuple(bar.against for bar in bars)
    return Case(name, bars, partial(measure_knn, base, batch, threads, rivals), threads, **more)


def hamming_cases() -> Iterator[Case]:
    """Bits beside IndexBinaryFlat."""
    sizes_and_data = list(itertools.product(SIZES, ("random", "clustered")))
    for (bits, size), bar in HAMMING_ONE.items():
        for data in ("random", "clustered"):
            yield knn_case(Base("hamming", bits, size, data), 1, (Ratio("faiss", *bar),))
    for bits, (size, data), batch in itertools.product(
        (256, 512, 1024, 2048), sizes_and_data, (8, 32)
    ):
        yield knn_case(Base("hamming", bits, size, data), batch, (Ratio("faiss", *HAMMING_FEW),))
    for bits, (size, data) in itertools.product(HAMMING_MANY, sizes_and_data):
        bars = (Ratio("faiss", *HAMMING_MANY[bits]),)
        base = Base("hamming", bits, size, data)
        yield knn_case(base, 1000, bars, heavy=True, extra=size == "memory")


def float_cases() -> Iterator[Case]:
    """Floats beside IndexFlatL2 and IndexFlatIP, from memory."""
    for metric, dim, data in itertools.product(("l2", "ip"), FLOAT_MANY, ("random", "clustered")):
        base = Base(metric, dim, "memory", data)
        yield knn_case(base, 1, (Ratio("faiss", *FLOAT_ONE),))
        for batch in (8, 32):
            bars = (
                Ratio("faiss", *FLOAT_FEW[batch]),
                Ratio("faiss with BLAS", *FLOAT_FEW_BLAS[batch]),
            )
            yield knn_case(base, batch, bars, extra=(metric, data) == ("ip", "clustered"))
        many = (Ratio("faiss with BLAS", *FLOAT_MANY[dim]),)
        for threads in (1, 2):
            yield knn_case(base, 1000, many, threads, heavy=True, extra=data == "clustered")


def filter_cases() -> Iterator[Case]:
    """Prepared filters beside no filter."""
    for (metric, dim), size, (percent, owed) in itertools.product(
        (("l2", 384), ("hamming", 256)), SIZES, FILTERED.items()
    ):
        base = Base(metric, dim, size)
        name = f"filter {percent:g} % allowed, {base.title}, 1 query, {size}"
        bars = (Ratio("unfiltered", owed),)
        yield Case(name, bars, partial(measure_filtered, base, percent))


def call_cases() -> Iterator[Case]:
    """What a call costs when there is nothing to search."""
    bars: tuple[Bar, ...] = (
        Limit("us", 1e6, owed=2.0, aim=1.2),
        Ratio("faiss", 1.0),
        Ratio("usearch", 1.0),
    )
    yield Case("call, n=1, d=8", bars, measure_call)


def mapped_cases() -> Iterator[Case]:
    """A large file, mapped."""
    limit = (Limit("ms", 1e3, owed=10.0),)
    yield Case("open 1 GiB mapped", limit, partial(measure_open, mapped.open_seconds))
    fresh = partial(measure_open, mapped.open_seconds_fresh)
    yield Case("open 1 GiB mapped, fresh process", limit, fresh, heavy=True)
    held = (
        Limit("copies", owed=1.05, sample="copies"),
        Limit("MiB private each", 2**-20, sample="private"),
    )
    yield Case(f"{MAPPING_PROCESSES} processes map 1 GiB", held, measure_mapping)


def all_cases(native: Path | None) -> list[Case]:
    """Every case, those on the same rows next to each other where the order is free."""
    return [
        *hamming_cases(),
        *scans.cases(native),
        *float_cases(),
        *call_cases(),
        *filter_cases(),
        *mapped_cases(),
    ]


# ---------------------------------------------------------------------------------------- peers


def settle_allocation() -> None:
    """Give every large array pages of its own, as in a fresh process, whatever was freed before.

    Else glibc soon cuts arrays of 8 MiB from its heap, where a peer's rows may or may not start on
    a cache line: a fifth of its speed, by chance.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    m_mmap_threshold = -3
    if mallopt is not None:
        mallopt(m_mmap_threshold, 1 << 20)


def set_faiss_level(name: str | None) -> str:
    """Let faiss use this instruction set, or its best, and return its name."""
    if name is not None:
        level = getattr(faiss, f"SIMDLevel_{name}", None)
        if level is None or not faiss.SIMDConfig.is_simd_level_available(level):
            message = f"faiss level: expected one that faiss has here, such as AVX2, got {name}"
            raise ValueError(message)
        faiss.SIMDConfig.set_level(level)
    return str(faiss.SIMDConfig.get_level_name())


def versions() -> dict[str, str]:
    """Name what is compared, with instruction sets."""
    return {
        "nearbit": f"{nb.__version__}, {nb.simd_info()['isa']}",
        "faiss": f"{faiss.__version__}, {faiss.SIMDConfig.get_level_name()}",
        "usearch": usearch.__version__,
        "numpy": np.__version__,
    }
