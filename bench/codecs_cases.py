"""The comparisons of compact codecs in speed: nearbit beside its peers, as data."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import data
import faiss
import numpy as np
from figures import OURS, Case, Limit, Ratio, Samples, interleave
from numpy.typing import NDArray

import nearbit as nb

try:
    import rabitqlib
except ImportError:
    rabitqlib = None
try:
    from FPSim2 import FPSim2lib
except ImportError:
    FPSim2lib = None

Array = NDArray[Any]
Search = Callable[[Array], Array]  # queries -> ids

K = 10
MEMORY = 96 << 20  # bytes of codes: more than the last level cache of most machines

# Owed and aimed at, as multiples of the rival's speed.
PQ_SCAN, LARGE_PQ_SCAN = (1.2, 1.45), (1.0, 1.25)  # of up to 32 parts, and more or from memory
RABITQ_SCAN, RABITQ_BATCH = (1.0, 1.3), (1.3, 2.0)
DENSE_SCAN = {"float16": (1.2, 1.5), "int8": (1.1, 1.5)}
INT8_OVER_FLOATS = (2.2, 3.0)
JACCARD_OVER_HAMMING = (0.6, 0.95)
FPSIM = (2.0, 3.0)
ENCODING = (1.0, 2.0)


# ---------------------------------------------------------------------------------------- data


@dataclass(frozen=True)
class Rows:
    """Rows to search by l2: the text embeddings, or so many clustered ones."""

    n: int = 0  # 0: the text embeddings
    dim: int = 384

    @property
    def title(self) -> str:
        """How its cases end."""
        return f"{self.n:,} x {self.dim}, memory" if self.n else "wordnet-minilm, cache"


@lru_cache(maxsize=1)
def arrays(rows: Rows) -> tuple[Array, Array, Array]:
    """Return rows, 200 queries and the distances of their K nearest."""
    if rows.n:
        rng = np.random.default_rng(0)
        all_rows = rng.standard_normal((rows.n + 200, rows.dim), dtype=np.float32)
        all_rows *= np.float32(1 / 3)
        centres = rng.standard_normal((1000, rows.dim), dtype=np.float32)
        all_rows += centres[rng.integers(0, 1000, len(all_rows))]
        base, queries = all_rows[: rows.n], all_rows[rows.n :]
    else:
        d = data.load("wordnet-minilm")
        base, queries = d["docs"], d["queries"][d["split"] == 2][:200]
    return base, queries, nb.knn(queries, base, K, "l2").distances


def recall(rows: Rows, ids: Array) -> float:
    """Return recall@10."""
    base, queries, truth = arrays(rows)
    return nb.metrics.recall(np.square(base[ids] - queries[:, None]).sum(axis=2), truth)


# ------------------------------------------------------------------------------------ searching

Searches = dict[str, Search]  # by side


def ours(rows: Array, codec: nb.codecs.Codec, metric: str = "l2") -> Search:
    """Fill an index of ours and return its search on one thread."""
    bits = 8 if isinstance(codec, nb.Bits) else 1
    index = nb.Index(bits * rows.shape[1], metric=metric, layout="flat", codec=codec)
    index.add(rows)
    return lambda queries: index.search(queries, K, threads=1).ids


def theirs(rows: Array, index: Any) -> Search:
    """Train and fill an index of faiss and return its search."""
    faiss.omp_set_num_threads(2)
    index.train(rows[np.random.default_rng(0).permutation(len(rows))[:65_536]])
    index.add(rows)
    return lambda queries: index.search(queries, K)[1]


def rotated(index: Any) -> Any:
    """Let an index of faiss rotate rows and queries, as RaBitQ needs."""
    return faiss.IndexPreTransform(faiss.RandomRotationMatrix(index.d, index.d), index)


@lru_cache(maxsize=1)
def pq(rows: Rows, m: int) -> Searches:
    """Return 4-bit PQ of both sides."""
    base = arrays(rows)[0]
    return {
        OURS: ours(base, nb.PQ(m, nbits=4)),
        "faiss": theirs(base, faiss.IndexPQFastScan(rows.dim, m, 4)),
    }


@lru_cache(maxsize=1)
def rabitq(rows: Rows) -> Searches:
    """Return 1-bit RaBitQ of every side."""
    base = arrays(rows)[0]
    lists = faiss.IndexIVFRaBitQFastScan(faiss.IndexFlatL2(rows.dim), rows.dim, 1)
    found = {
        OURS: ours(base, nb.RaBitQ(bits=1)),
        "faiss": theirs(base, rotated(faiss.IndexRaBitQFastScan(rows.dim))),
        "faiss, one list": theirs(base, rotated(lists)),
    }
    if rabitqlib is not None:
        index = rabitq_library(base, 1, fast=False)
        found["rabitqlib"] = lambda queries: index.search(queries, K, 1)[0].astype(np.int64)
    return found


def rabitq_library(base: Array, bits: int, *, fast: bool) -> Any:
    """Return an index of rabitqlib with one list."""
    index = rabitqlib.IvfIndex(base.shape[1], len(base), 1, bits, metric="l2")
    nowhere = np.zeros(len(base), np.uint32)
    index.build(base, base.mean(axis=0, keepdims=True), nowhere, fast_quantization=fast)
    return index


# ------------------------------------------------------------------------------------ measuring


def measure_searches(
    searches_of: Callable[[], Searches], rows: Rows, batch: int, rounds: int
) -> Samples:
    """Sample seconds a query of each side, and say what recall it has."""
    searches, queries = searches_of(), arrays(rows)[1]
    recalls = {side: recall(rows, search(queries)) for side, search in searches.items()}
    few = queries if batch > 1 else queries[:10]
    found = {f"recall of {side}": np.array([share]) for side, share in recalls.items()}
    return sample(searches, few, batch, rounds) | found


def sample(searches: Searches, queries: Array, batch: int, rounds: int) -> Samples:
    """Sample seconds a query of each side."""
    faiss.omp_set_num_threads(1)
    chunks = np.split(queries, len(queries) // batch)

    def calls_of(search: Search) -> Callable[[], None]:
        def call() -> None:
            for chunk in chunks:
                search(chunk)

        return call

    calls = {side: calls_of(search) for side, search in searches.items()}
    for call in calls.values():
        call()
    return interleave(calls, rounds, per_call=len(queries))


def measure_dense(kind: str, rounds: int) -> Samples:
    """Sample a scan of halves or of int8 beside faiss's, and of int8 beside ours of floats."""
    rng = np.random.default_rng(0)
    n, dim = (MEMORY * 2 // 384, 384) if kind == "int8" else (MEMORY // 384, 384)
    floats = rng.standard_normal((n + 10, dim), dtype=np.float32)
    if kind == "int8":
        floats = np.clip(np.rint(floats * 40), -127, 127)
    base, queries = floats[:n], floats[n:]
    scalar = faiss.ScalarQuantizer
    code = {"int8": scalar.QT_8bit_direct_signed, "float16": scalar.QT_fp16}[kind]
    peer = theirs(base, faiss.IndexScalarQuantizer(dim, code, faiss.METRIC_L2))
    if kind == "int8":
        integers = ours(base.astype(np.int8), nb.Int8())
        found: Searches = {OURS: lambda few: integers(few.astype(np.int8))}
        found["our float32"] = ours(base, nb.Float32())
    else:
        found = {OURS: ours(base, nb.Float16())}
    return sample(found | {"faiss": peer}, queries, 1, rounds)


def measure_encoding(bits: int, rounds: int) -> Samples:
    """Sample seconds to encode a row of the text embeddings."""
    base = arrays(Rows())[0][:50_000]
    trained = nb.Index(base.shape[1], metric="l2", codec=nb.RaBitQ(bits))
    trained.train(base)
    peer = rotated(faiss.IndexRaBitQFastScan(base.shape[1], faiss.METRIC_L2, 32, bits))
    peer.train(base)

    def encode_theirs() -> None:
        peer.reset()
        peer.add(base)

    calls: dict[str, Callable[[], object]] = {
        OURS: lambda: copy.copy(trained).add(base, threads=1),
        "faiss": encode_theirs,
    }
    if rabitqlib is not None:
        calls["rabitqlib"] = lambda: rabitq_library(base, bits, fast=False)
        calls["rabitqlib, fast"] = lambda: rabitq_library(base, bits, fast=True)
    faiss.omp_set_num_threads(1)
    for call in calls.values():
        call()
    return interleave(calls, rounds, per_call=len(base))


def measure_jaccard(rounds: int) -> Samples:
    """Sample one fingerprint after the other, beside our Hamming scan and FPSim2."""
    d = data.load("moses-morgan2048")
    base, queries = d["base"], d["queries"][:100]
    found = {
        OURS: ours(base, nb.Bits(), "jaccard"),
        "our hamming": ours(base, nb.Bits(), "hamming"),
    }
    if FPSim2lib is not None:
        found["FPSim2"] = fpsim(base)
    expected = nb.knn(queries, base, K, "jaccard").distances
    for side in found.keys() - {"our hamming"}:
        check_jaccard(base, queries, found[side](queries), expected, side)
    return sample(found, queries, 1, rounds)


def check_jaccard(base: Array, queries: Array, ids: Array, expected: Array, side: str) -> None:
    """Refuse answers that are not the nearest."""
    common = np.bitwise_count(base[ids] & queries[:, None]).sum(axis=2)
    either = np.bitwise_count(base[ids] | queries[:, None]).sum(axis=2)
    np.testing.assert_allclose(1 - common / either, expected, atol=1e-6, err_msg=side)


def fpsim(base: Array) -> Search:
    """Return FPSim2's search of packed bits: its engine reads files, its kernel takes arrays.

    Rows are words between an id and the number of bits set, by which they are sorted.
    """
    tanimoto, threshold = 0, 0.0

    def fields(bits: Array, ids: Array) -> Array:
        counts = np.bitwise_count(bits).sum(axis=1, dtype=np.uint64)
        # Words are big-endian in FPSim2; any order of bits gives the same counts.
        return np.column_stack([ids.astype(np.uint64), bits.view("<u8"), counts])

    table = fields(base, np.arange(len(base)))
    table = table[np.argsort(table[:, -1], kind="stable")]

    def search(queries: Array) -> Array:
        found = []
        for query in fields(queries, np.zeros(len(queries))):
            hits = FPSim2lib.GenericSearch(query, table, threshold, K, tanimoto, 0, len(table))
            found.append(hits["mol_id"][:K])
        return np.array(found, np.int64)

    return search


# ---------------------------------------------------------------------------------------- cases


def search_case(
    name: str, searches_of: Callable[[], Searches], rows: Rows, batch: int, rivals: list[Ratio]
) -> Case:
    """One comparison of scans, with the recall of each side."""
    sides = (OURS, *(bar.against for bar in rivals))
    shown = [Limit(f"recall@10 of {side}", sample=f"recall of {side}") for side in sides]
    queries = "1 query" if batch == 1 else f"{batch} queries"
    measure = partial(measure_searches, searches_of, rows, batch)
    return Case(f"{name}, {queries}, {rows.title}", (*rivals, *shown), measure, heavy=batch > 1)


def pq_cases() -> Iterator[Case]:
    """4-bit PQ; one dimension a part where only memory's speed counts."""
    for m in (16, 32, 48, 96):
        for rows, batch in itertools.product((Rows(), Rows(MEMORY * 2 // m, m)), (1, 200)):
            bar = PQ_SCAN if m <= 32 and not rows.n else LARGE_PQ_SCAN
            rivals = [Ratio("faiss", *bar)]
            yield search_case(f"PQ{m}x4", partial(pq, rows, m), rows, batch, rivals)


def rabitq_cases() -> Iterator[Case]:
    """1-bit RaBitQ."""
    sides = ["faiss", "faiss, one list", *(["rabitqlib"] if rabitqlib else [])]
    for rows, batch in itertools.product((Rows(), Rows(1_000_000)), (1, 200)):
        bar = RABITQ_SCAN if batch == 1 else RABITQ_BATCH
        rivals = [Ratio(side, *bar) for side in sides]
        yield search_case("RaBitQ 1 bit", partial(rabitq, rows), rows, batch, rivals)


def encoding_cases() -> Iterator[Case]:
    """RaBitQ codes of 384 dimensions."""
    sides = ["faiss", *(["rabitqlib", "rabitqlib, fast"] if rabitqlib else [])]
    bars = tuple(Ratio(side, *ENCODING) for side in sides)
    for bits in (1, 2, 4):
        name = f"RaBitQ {bits} bit, encoding a row, 384 dimensions"
        yield Case(name, bars, partial(measure_encoding, bits), heavy=True)


def dense_cases() -> Iterator[Case]:
    """Halves and int8 from memory."""
    for kind, bar in DENSE_SCAN.items():
        bars = [Ratio("faiss", *bar)]
        if kind == "int8":
            bars.append(Ratio("our float32", *INT8_OVER_FLOATS))
        yield Case(f"{kind} d=384, 1 query, memory", tuple(bars), partial(measure_dense, kind))


def jaccard_cases() -> Iterator[Case]:
    """Fingerprints."""
    bars = [Ratio("our hamming", *JACCARD_OVER_HAMMING)]
    if FPSim2lib is not None:
        bars.append(Ratio("FPSim2", *FPSIM))
    yield Case("jaccard 2048 bit, 1 query, moses-morgan2048", tuple(bars), measure_jaccard)


def all_cases() -> list[Case]:
    """Every case, those on the same rows next to each other."""
    return [
        *pq_cases(),
        *rabitq_cases(),
        *encoding_cases(),
        *dense_cases(),
        *jaccard_cases(),
    ]


def versions() -> dict[str, str]:
    """Name what is compared; what is missing too."""
    found = {
        "nearbit": f"{nb.__version__}, {nb.simd_info()['isa']}",
        "faiss": f"{faiss.__version__}, {faiss.SIMDConfig.get_level_name()}",
    }
    for name in ("rabitqlib", "FPSim2"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found
