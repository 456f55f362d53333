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

    @property
    def dtype(self):
        """That of rows."""
        return {"bits": np.uint8, "uint8": np.uint8, "int8": np.int8}.get(self.codec, np.float32)

    @property
    def takes_floats(self):
        return self.dtype == np.float32

    def width(self, dim):
        """Numbers or bytes in a row."""
        return dim // 8 if self.codec == "bits" else dim

    def rows(self, n, dim, rng):
        if not self.takes_floats:
            least, most = np.iinfo(self.dtype).min, np.iinfo(self.dtype).max
            return rng.integers(least, most, (n, self.width(dim)), self.dtype, endpoint=True)
        return rng.standard_normal((n, dim), dtype=np.float32)

    def whole_rows(self, n, dim, rng):
        """Rows of small integers: sums of their products are exact, and equal distances abound."""
        if self.codec == "bits":
            return rng.choice(np.array([0, 1, 255], dtype=np.uint8), (n, dim // 8))
        least = 0 if self.codec == "uint8" else -2
        return rng.integers(least, least + 5, (n, dim)).astype(self.dtype)

    def stored(self, rows):
        """What `get` gives back of rows that were added."""
        if self.codec == "sign":
            return reference.pack_signs(rows)
        if self.codec == "float16":
            return rows.astype(np.float16).astype(np.float32)
        return rows

    def stored_bytes(self, rows):
        """What rows take in memory and in files, factors and ids aside."""
        return self.stored(rows).nbytes // (2 if self.codec == "float16" else 1)

    def asked(self, queries):
        """What distances are measured from."""
        return reference.pack_signs(queries) if self.codec == "sign" else queries

    @property
    def ranks_beyond_float32(self):
        """Whether rows at distances that are equal in float32 have an order of their own."""
        return self.codec in ("int8", "uint8")

    def distances(self, queries, rows):
        return reference.distances(self.metric, self.asked(queries), self.stored(rows))

    def tolerances(self, queries, rows):
        return reference.tolerances(self.metric, self.asked(queries), self.stored(rows))

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

    def stored_bytes(self, rows):
        dim = rows.shape[1]
        few = 2 if (self.codec, self.metric) == ("rabitq", "l2") else 4
        coarse = self.metric == "cosine" or self.bits < few
        factors = (1 if coarse else 2) + (2 if self.metric == "l2" else 0)
        return len(rows) * (self.bits * -(-dim // 8) + factors)

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
SQ = CompactKind("sq", "cosine", 4)
COMPACT_KINDS = (RABITQ, SQ)
HALF_KINDS = tuple(Kind("float16", metric) for metric in reference.FLOAT_METRICS)
INT_KINDS = tuple(
    Kind(codec, metric) for codec in ("int8", "uint8") for metric in reference.FLOAT_METRICS
)
# Not each codec with each metric: those that share their code come once.
SOME_KINDS = (Kind("float16", "cosine"), Kind("int8", "l2"), Kind("uint8", "ip"))
KINDS = (*FLOAT_KINDS, BITS, JACCARD, SIGN, *SOME_KINDS, RABITQ, SQ)
