"""The kinds of index that tests run over, and how rows for each are made and measured."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import reference

import nearbit as nb


@dataclass(frozen=True)
class Kind:
    """One combination of codec and metric."""

    codec: str
    metric: str

    def __str__(self):
        return f"{self.codec}-{self.metric}"

    def dim(self, dim):
        """The nearest dimension that this kind takes."""
        return -(-dim // 8) * 8 if self.codec == "bits" else dim

    def new(self, dim):
        return nb.Index(dim, metric=self.metric, codec=self.codec)

    def rows(self, n, dim, rng):
        if self.codec == "bits":
            return rng.integers(0, 256, (n, dim // 8), dtype=np.uint8)
        return rng.standard_normal((n, dim), dtype=np.float32)

    def whole_rows(self, n, dim, rng):
        """Rows of small integers: sums of their products are exact, and equal distances abound."""
        if self.codec == "bits":
            return rng.choice(np.array([0, 1, 255], dtype=np.uint8), (n, dim // 8))
        return rng.integers(-2, 3, (n, dim)).astype(np.float32)

    def row_bytes(self, dim):
        """Bytes of a row in a file."""
        return {"float32": 4 * dim, "bits": dim // 8, "sign": -(-dim // 8)}[self.codec]

    def stored(self, rows):
        """What `get` gives back of rows that were added."""
        return reference.pack_signs(rows) if self.codec == "sign" else rows

    def distances(self, queries, rows):
        return reference.distances(self.metric, self.stored(queries), self.stored(rows))

    def tolerances(self, queries, rows):
        return reference.tolerances(self.metric, self.stored(queries), self.stored(rows))

    def filled(self, n, dim, seed=0, ids=None):
        """An index with n rows, and the rows."""
        index = self.new(self.dim(dim))
        rows = self.rows(n, self.dim(dim), np.random.default_rng(seed))
        index.add(rows, ids=ids)
        return index, rows


@dataclass(frozen=True)
class CompactKind(Kind):
    """A codec that learned from rows like those of the tests.

    Its distances are estimates, so the reference is an index of the rows alone that gives them all;
    test_compact.py says what they should be.
    """

    bits: int = 1

    def __str__(self):
        return f"{self.codec}{self.bits}-{self.metric}"

    def new(self, dim):
        codec = {"rabitq": nb.RaBitQ, "sq": nb.SQ}[self.codec](self.bits)
        index = nb.Index(dim, metric=self.metric, codec=codec)
        index.train(np.random.default_rng(dim).standard_normal((1024, dim), dtype=np.float32))
        return index

    def alone(self, rows):
        index = self.new(rows.shape[1])
        index.add(rows)
        return index

    def row_bytes(self, dim):
        coarse = self.metric == "cosine" or self.bits < 4
        return self.bits * -(-dim // 8) + (1 if coarse else 2) + (2 if self.metric == "l2" else 0)

    def stored(self, rows):
        return self.alone(rows).get(np.arange(len(rows)))

    def distances(self, queries, rows):
        if 0 in (len(queries), len(rows)):
            return np.zeros((len(queries), len(rows)))
        hits = self.alone(rows).search(queries, len(rows))
        by_id = np.argsort(hits.ids, axis=1)
        return np.take_along_axis(hits.distances, by_id, axis=1).astype(np.float64)

    def tolerances(self, queries, rows):
        return np.zeros((len(queries), len(rows)))


L2, IP, COSINE = (Kind("float32", metric) for metric in reference.FLOAT_METRICS)
BITS, JACCARD = (Kind("bits", metric) for metric in reference.BIT_METRICS)
SIGN = Kind("sign", "hamming")
FLOAT_KINDS = (L2, IP, COSINE)
RABITQ = CompactKind("rabitq", "l2", 2)
RABITQ_BITS = CompactKind("rabitq", "ip", 1)
SQ = CompactKind("sq", "cosine", 4)
COMPACT_KINDS = (RABITQ, RABITQ_BITS, SQ)
KINDS = (*FLOAT_KINDS, BITS, JACCARD, SIGN, *COMPACT_KINDS)
