"""What the study of compression searches: real rows and queries, made as data.py says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import data
import numpy as np
from numpy.typing import NDArray

import nearbit as nb

Array = NDArray[Any]

K = 10
READ = 100  # rows that are scored again from halves

# Bytes a row, by set: a descriptor has 128 dimensions, 192 bytes would be more than all of them.
BUDGETS = {
    **dict.fromkeys(("wordnet-minilm", "wordnet-minilm-ip", "fashion-mnist"), (48, 96, 192)),
    "photo-sift": (48, 96),
}
OVER = 1.25  # a code with a size of its own is shown at a budget that it exceeds by so much
VALIDATION, TEST = 1000, 2000  # queries


@dataclass(frozen=True)
class Set:
    """Rows, queries to choose settings by, other queries to report, and what is asked."""

    name: str
    metric: str  # l2 or ip
    rows: Array
    validation: Array
    test: Array
    relevant: Array | None = None  # the row that each test query means
    unit: bool = False  # rows and queries are unit vectors: cosine ranks as l2 does

    @property
    def budgets(self) -> tuple[int, ...]:
        """Bytes a row."""
        return BUDGETS[self.name]

    @property
    def dim(self) -> int:
        """Dimensions of a row."""
        return self.rows.shape[1]

    @cached_property
    def truth(self) -> dict[str, Array]:
        """Distances of the K nearest of either kind of queries."""
        found = {}
        for part, queries in self.queries.items():
            ids = nb.knn(queries, self.rows, K, self.metric, threads=2).ids
            found[part] = distances(self.metric, queries, self.rows, ids)
        return found

    @cached_property
    def halves(self) -> Array:
        """Rows rounded to float16."""
        return self.rows.astype(np.float16)

    @property
    def queries(self) -> dict[str, Array]:
        """Both kinds by name."""
        return {"validation": self.validation, "test": self.test}

    def sample(self, n: int = 65_536) -> Array:
        """Rows to train with, the same for all: in random order, as sets come sorted."""
        return self.rows[np.random.default_rng(0).permutation(len(self.rows))[:n]]


def distances(metric: str, queries: Array, rows: Array, ids: Array) -> Array:
    """Return distances of each query to the rows of its ids; infinity for an id of -1."""
    result = np.empty(ids.shape)
    for i, (query, row_ids) in enumerate(zip(queries, ids, strict=True)):
        near = rows[row_ids].astype(np.float32)
        result[i] = -(near @ query) if metric == "ip" else np.square(near - query).sum(axis=1)
    result[ids < 0] = np.inf
    return result


def wordnet_minilm() -> Set:
    """Definitions as text embeddings; queries are names, and each means one definition."""
    d = data.load("wordnet-minilm")
    test = d["split"] == 2
    return Set(
        name="wordnet-minilm",
        metric="l2",
        rows=d["docs"],
        validation=d["queries"][d["split"] == 1],
        test=d["queries"][test],
        relevant=d["relevant"][test],
        unit=True,
    )


def wordnet_minilm_ip() -> Set:
    """The same rows at different lengths, as a recommender's: exp(0.3 N(0, 1))."""
    d = data.load("wordnet-minilm")
    lengths = np.exp(0.3 * np.random.default_rng(0).standard_normal(len(d["docs"])))
    return Set(
        name="wordnet-minilm-ip",
        metric="ip",
        rows=d["docs"] * lengths[:, None].astype(np.float32),
        validation=d["queries"][d["split"] == 1],
        test=d["queries"][d["split"] == 2],
    )


def fashion_mnist() -> Set:
    """Grey images of clothes, pixel by pixel."""
    d = data.load("fashion-mnist")
    queries = d["queries"].astype(np.float32)
    return Set(
        name="fashion-mnist",
        metric="l2",
        rows=d["base"].astype(np.float32),
        validation=queries[:VALIDATION],
        test=queries[VALIDATION:][:TEST],
    )


def photo_sift() -> Set:
    """Local descriptors of photographs; 10,000 of them are held out, and give the queries."""
    rows = data.load("photo-sift")["base"].astype(np.float32)
    held_out = np.random.default_rng(0).permutation(len(rows))[:10_000]
    queries = rows[held_out]
    return Set(
        name="photo-sift",
        metric="l2",
        rows=np.delete(rows, held_out, axis=0),
        validation=queries[:VALIDATION],
        test=queries[VALIDATION:][:TEST],
    )


SETS: dict[str, Callable[[], Set]] = {
    "wordnet-minilm": wordnet_minilm,
    "wordnet-minilm-ip": wordnet_minilm_ip,
    "fashion-mnist": fashion_mnist,
    "photo-sift": photo_sift,
}
