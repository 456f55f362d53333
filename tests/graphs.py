"""What tests of the graph run over: indexes that are walked, and the same rows in flat ones."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from kinds import Kind

import nearbit as nb

DIM, N = 24, 3000
GRAPH = nb.Graph(degree=16, ef_construction=64)
SETTINGS = {
    "sq4": nb.SQ(4),
    "sq8": nb.SQ(8),
    "rabitq1": nb.RaBitQ(1),
    "rabitq4": nb.RaBitQ(4),
    "pq": nb.PQ(8),
    "itq": nb.ITQ(24),
    "pcasq": nb.PCASQ(16),
}


@dataclass(frozen=True)
class GraphKind:
    """One combination of codec, metric and finer copy."""

    codec: str
    metric: str
    refine: str | None = None

    def __str__(self):
        return "-".join(filter(None, (self.codec, self.metric, self.refine)))

    @property
    def plain(self):
        """The kind that has a reference in numpy; None for codecs whose distances are estimates."""
        estimates = self.codec in SETTINGS or (self.codec == "sign" and self.metric != "hamming")
        return None if estimates else Kind(self.codec, self.metric)

    def new(self, layout=GRAPH, seed=0):
        codec = SETTINGS.get(self.codec, self.codec)
        dim = 2 * DIM if self.codec == "bits" else DIM
        return nb.Index(dim, self.metric, layout, codec, self.refine, seed=seed)

    def rows(self, n, rng):
        if self.codec == "bits":
            return rng.integers(0, 256, (n, DIM // 4), np.uint8)
        rows = rng.standard_normal((n, DIM), dtype=np.float32)
        if self.codec in ("int8", "uint8"):
            middle = 128 if self.codec == "uint8" else 0
            return np.clip(np.rint(30 * rows) + middle, *limits(self.codec)).astype(self.codec)
        return rows


def limits(dtype):
    return np.iinfo(dtype).min, np.iinfo(dtype).max


FLOATS = GraphKind("float32", "l2")
BITS = GraphKind("bits", "hamming")
REFINED = GraphKind("rabitq1", "cosine", "float16")
SOME_GRAPHS = (FLOATS, BITS, REFINED)
GRAPHS = (
    *SOME_GRAPHS,
    GraphKind("float32", "cosine"),
    GraphKind("float32", "ip"),
    GraphKind("float16", "cosine"),
    GraphKind("int8", "ip"),
    GraphKind("uint8", "l2"),
    GraphKind("bits", "jaccard"),
    GraphKind("sign", "hamming"),
    GraphKind("sign", "cosine", "sq8"),
    GraphKind("sq8", "l2"),
    GraphKind("sq4", "ip", "float32"),
    GraphKind("rabitq4", "ip"),
    GraphKind("pq", "l2"),
    GraphKind("pq", "cosine", "sq8"),
    GraphKind("itq", "cosine"),
    GraphKind("pcasq", "l2"),
)


class Pair:
    """A graph and a flat index of the same rows, under ids of their own."""

    def __init__(self, kind):
        rng = np.random.default_rng(7)
        self.kind = kind
        self.rows, self.queries = kind.rows(N, rng), kind.rows(60, rng)
        self.ids = rng.permutation(2 * N)[:N]
        self.graph, self.flat = kind.new(), kind.new("flat")
        for index in (self.graph, self.flat):
            index.add(self.rows, ids=self.ids)

    @cached_property
    def distances(self):
        """Of each query from each id; infinite for those that aren't there."""
        return by_id(self.flat.search(self.queries, N, **everything(self.flat)), 2 * N)


def everything(index):
    """So that every item is re-scored, in an index that refines."""
    return {} if index.refine is None else {"refine_factor": max(1, len(index))}


def by_id(hits, n):
    """The distances of hits, (n queries, n): infinite for ids that aren't among them."""
    found = np.full((len(hits.ids), n + 1), np.inf, np.float32)  # the last is that of no id
    np.put_along_axis(found, hits.ids, hits.distances, axis=1)
    return found[:, :n]


def nearest(distances, k, allowed=None, radius=None):
    """The k least distances of each row, of those that are allowed, padded with infinity."""
    if allowed is not None:
        distances = np.where(allowed, distances, np.inf)
    if radius is not None:
        distances = np.where(distances <= np.asarray(radius).reshape(-1, 1), distances, np.inf)
    padding = np.full((len(distances), k), np.inf)
    return np.sort(np.concatenate([distances, padding], axis=1), axis=1)[:, :k]


def assert_answers(hits, distances):
    """Each id comes once, with its own distance to the bit, nearest first, ties by smaller id."""
    for ids, found, all_of_query in zip(hits.ids, hits.distances, distances, strict=True):
        real = ids >= 0
        assert not real[np.argmin(real) :].any() or real.all()
        assert np.isposinf(found[~real]).all()
        assert len(set(ids[real].tolist())) == real.sum(), "an id came twice"
        np.testing.assert_array_equal(found[real], all_of_query[ids[real]])
        np.testing.assert_array_equal(np.lexsort((ids[real], found[real])), np.arange(real.sum()))
