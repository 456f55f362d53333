"""What the benchmark of search searches: real rows as data.py says, and synthetic ones."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Annotated, Any

import compress_sets
import data
import numpy as np
import typer
from numpy.typing import NDArray

import nearbit as nb

Array = NDArray[Any]

K = 10
MOST_QUERIES = 4_000  # of which one half tunes and the other reports

SYNTHETIC = "15 normal variables through a fixed random network 15-64-96, and noise of 0.01"


@dataclass(frozen=True)
class Set:
    """Rows, queries to choose settings by, and other queries to report."""

    name: str
    metric: str  # l2, cosine (rows and queries are unit vectors), ip, hamming or jaccard
    about: str
    rows: Array  # float32, or packed bits
    tune: Array
    report: Array

    @property
    def dim(self) -> int:
        """Dimensions of a row; of bits, bits."""
        return self.rows.shape[1] * (8 if self.is_bits else 1)

    @property
    def is_bits(self) -> bool:
        """Whether rows are packed bits."""
        return self.metric in ("hamming", "jaccard")

    @cached_property
    def digest(self) -> str:
        """A name for the rows alone: sets may share them."""
        return hashlib.sha256(self.rows.data).hexdigest()[:12]

    @cached_property
    def truth(self) -> dict[str, Array]:
        """Distances of the K nearest of either kind of queries."""
        found = {}
        for part in ("tune", "report"):
            queries = self.queries(part)
            ids = nb.knn(queries, self.rows, K, self.metric, threads=2).ids
            found[part] = distances(self.metric, queries, self.rows, ids)
        return found

    def queries(self, part: str) -> Array:
        """Return queries of a kind."""
        return {"tune": self.tune, "report": self.report}[part]

    def recalls(self, part: str, ids: Array) -> Array:
        """Return for each query the share of its K nearest among the ids, by distance."""
        found = distances(self.metric, self.queries(part), self.rows, ids)
        farthest = self.truth[part].max(axis=1, keepdims=True)
        return (found <= farthest + 1e-5 * np.abs(farthest)).sum(axis=1) / K

    def with_rows(self, n: int) -> Set:
        """Return the set with n of its rows, in their order."""
        kept = np.sort(np.random.default_rng(0).permutation(len(self.rows))[:n])
        rows = np.ascontiguousarray(self.rows[kept])
        return replace(self, name=f"{self.name}-{n}", about=f"{self.about}; {n:,} rows", rows=rows)


def distances(metric: str, queries: Array, rows: Array, ids: Array) -> Array:
    """Return distances of each query to the rows of its ids; infinity for -1 or an id again."""
    if metric in ("hamming", "jaccard"):
        result = bit_distances(metric, queries, rows, ids)
    else:
        result = compress_sets.distances("ip" if metric == "ip" else "l2", queries, rows, ids)
    # Sorted, an id again stands next to itself.
    order = np.argsort(ids, axis=1, kind="stable")
    ascending = np.take_along_axis(ids, order, axis=1)
    again = np.zeros(ids.shape, bool)
    np.put_along_axis(again, order[:, 1:], ascending[:, 1:] == ascending[:, :-1], axis=1)
    result[again | (ids < 0)] = np.inf
    return result


def bit_distances(metric: str, queries: Array, rows: Array, ids: Array) -> Array:
    """Return how many bits differ, or which share of those set in either."""
    result = np.empty(ids.shape)
    for i, (query, row_ids) in enumerate(zip(queries, ids, strict=True)):
        near = rows[row_ids]
        differing = np.bitwise_count(near ^ query).sum(axis=1, dtype=np.int64)
        if metric == "jaccard":
            either = np.bitwise_count(near | query).sum(axis=1, dtype=np.int64)
            result[i] = differing / np.maximum(either, 1)
        else:
            result[i] = differing
    return result


def make(name: str, metric: str, about: str, rows: Array, queries: Array) -> Set:
    """Return a set of which a random half of the queries tunes."""
    queries = queries[np.random.default_rng(0).permutation(len(queries))[:MOST_QUERIES]]
    half = len(queries) // 2
    return Set(name, metric, about, np.ascontiguousarray(rows), queries[:half], queries[half:])


# ----------------------------------------------------------------------------------- the sets


def fashion_mnist() -> Set:
    """Grey images of clothes, pixel by pixel."""
    d = data.load("fashion-mnist")
    rows, queries = (d[part].astype(np.float32) for part in ("base", "queries"))
    return make("fashion-mnist", "l2", "images, pixel by pixel", rows, queries)


def wordnet_minilm(queries: str = "queries") -> Set:
    """Definitions as text embeddings; queries are names, or sentences with the word in them."""
    d = data.load("wordnet-minilm")
    names = queries == "queries"
    name = "wordnet-minilm" + ("" if names else f"-{queries}")
    about = "definitions embedded; queries are " + ("names" if names else "example sentences")
    return make(name, "cosine", about, d["docs"], d[queries])


def wordnet_minilm_ip() -> Set:
    """The same rows at different lengths, as a recommender's: exp(0.3 N(0, 1))."""
    rows = compress_sets.wordnet_minilm_ip().rows
    about = "definitions embedded, times exp(0.3 N(0, 1)); queries are names"
    queries = data.load("wordnet-minilm")["queries"]
    return make("wordnet-minilm-ip", "ip", about, rows, queries)


def photo_sift() -> Set:
    """Local descriptors of photographs; 10,000 of them are held out, and give the queries."""
    rows = data.load("photo-sift")["base"].astype(np.float32)
    held_out = np.random.default_rng(0).permutation(len(rows))[:10_000]
    about = "descriptors of photographs; 10,000 held out give the queries"
    return make("photo-sift", "l2", about, np.delete(rows, held_out, axis=0), rows[held_out])


def gloss_svd() -> Set:
    """Words and texts as factors of a matrix: norms of rows are spread widely."""
    d = data.load("gloss-svd")
    rows, queries = d["items"].astype(np.float32), d["users"].astype(np.float32)
    queries = queries[np.abs(queries).max(axis=1) > 0]  # to zero all rows are equal
    return make("gloss-svd", "ip", "factors of words, asked for by factors of texts", rows, queries)


def moses(metric: str) -> Set:
    """Fingerprints of molecules."""
    d = data.load("moses-morgan2048")
    name = f"moses-morgan2048-{metric}"
    return make(name, metric, "fingerprints of molecules", d["base"], d["queries"])


def synthetic(n: int, name: str) -> Set:
    """96 dimensions that hold a curved surface of 15, smooth as embeddings are."""
    rng = np.random.default_rng(0)
    shapes = ((15, 64), (64, 96))
    weights = [rng.standard_normal(s, dtype=np.float32) / np.float32(s[0] ** 0.5) for s in shapes]
    # Pieces of one size, so that a smaller set is the beginning of a larger one.
    piece = 10_000
    parts = []
    for seed in range(1 + n // piece):  # the first gives the queries
        rng = np.random.default_rng((1, seed))
        hidden = np.tanh(rng.standard_normal((piece, 15), dtype=np.float32) @ weights[0])
        noise = rng.standard_normal((piece, 96), dtype=np.float32) * np.float32(0.01)
        parts.append(hidden @ weights[1] + noise)
    return make(name, "l2", SYNTHETIC, np.concatenate(parts[1:]), parts[0])


SETS: dict[str, Callable[[], Set]] = {
    "fashion-mnist": fashion_mnist,
    "wordnet-minilm": wordnet_minilm,
    "wordnet-minilm-examples": partial(wordnet_minilm, "examples"),
    "photo-sift": photo_sift,
    "moses-morgan2048-hamming": partial(moses, "hamming"),
    "moses-morgan2048-jaccard": partial(moses, "jaccard"),
    "gloss-svd": gloss_svd,
    "wordnet-minilm-ip": wordnet_minilm_ip,
    "synthetic-10k": partial(synthetic, 10_000, "synthetic-10k"),
    "synthetic-100k": partial(synthetic, 100_000, "synthetic-100k"),
    "synthetic-1m": partial(synthetic, 1_000_000, "synthetic-1m"),
}


def known(name: str) -> str:
    """Return the name of a set, if there is one of that name."""
    if name not in SETS:
        msg = f"expected one of {', '.join(SETS)}, got {name}"
        raise typer.BadParameter(msg)
    return name


# Arguments of the commands that take a set.
SetName = Annotated[
    str, typer.Argument(callback=known, metavar="SET", help=f"One of {', '.join(SETS)}.")
]
SomeRows = Annotated[
    int | None, typer.Option(min=1_000, metavar="N", help="So many of the rows, for a trial.")
]


def take(name: str, rows: int | None) -> Set:
    """Return a set, or one with so many of its rows."""
    return SETS[name]() if rows is None else SETS[name]().with_rows(rows)
