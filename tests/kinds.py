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


L2, IP, COSINE = (Kind("float32", metric) for metric in reference.FLOAT_METRICS)
BITS, JACCARD = (Kind("bits", metric) for metric in reference.BIT_METRICS)
SIGN = Kind("sign", "hamming")
FLOAT_KINDS = (L2, IP, COSINE)
KINDS = (*FLOAT_KINDS, BITS, JACCARD, SIGN)
