"""What `nearbit demo` measures: one codec's answers, bytes and times on the demo data."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

import nearbit as nb
from nearbit.data import Demo

K = 10
REPEATS = 5  # of the build and of the batch, whose medians are taken


@dataclass(frozen=True, eq=False)
class Measured:
    """Figures of one codec, and the definitions it found."""

    bytes_per_vector: int
    bytes_in_all: int
    recall_at_10: float
    hit_rate_at_1: float
    hit_rate_at_10: float
    build_ms: float
    us_per_query: float
    us_per_query_in_batch: float
    ids: NDArray[np.int64]


def measure(demo: Demo, codec: str) -> Measured:
    """Build an index of the definitions with one codec, ask every question, on one thread."""

    def build() -> nb.Index:
        """An index of all definitions."""
        index = nb.Index(demo.vectors.shape[1], codec=codec)
        index.add(demo.vectors, threads=1)
        return index

    index = build()
    ids = index.search(demo.queries, K, threads=1).ids
    truth = nb.knn(demo.queries, demo.vectors, K, metric="cosine").ids
    right = ids == demo.answers[:, None]
    single = [lambda q=q: index.search(q, K, threads=1) for q in demo.queries]
    batch = [lambda: index.search(demo.queries, K, threads=1)] * REPEATS
    return Measured(
        bytes_per_vector=round(index.nbytes / len(index)),
        bytes_in_all=index.nbytes,
        recall_at_10=_recall(demo, ids, truth),
        hit_rate_at_1=float(right[:, 0].mean()),
        hit_rate_at_10=float(right.any(axis=1).mean()),
        build_ms=_median_seconds([build] * REPEATS) * 1e3,
        us_per_query=_median_seconds(single) * 1e6,
        us_per_query_in_batch=_median_seconds(batch) * 1e6 / len(demo.queries),
        ids=ids,
    )


def _recall(demo: Demo, found: NDArray[np.int64], truth: NDArray[np.int64]) -> float:
    """Recall by cosine distance of the float rows, whatever distance they were found with."""

    def distances(ids: NDArray[np.int64]) -> NDArray[np.float32]:
        return np.sort(1 - np.einsum("qd,qkd->qk", demo.queries, demo.vectors[ids]), axis=1)

    return nb.metrics.recall(distances(found), distances(truth))


def _median_seconds(calls: Sequence[Callable[[], object]]) -> float:
    def seconds(call: Callable[[], object]) -> float:
        start = time.perf_counter()
        call()
        return time.perf_counter() - start

    return statistics.median(seconds(call) for call in calls)
