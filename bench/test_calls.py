"""What a call costs from Python, where there is next to nothing to compute.

`pytest bench/test_calls.py`; groups hold what does the same work.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nearbit as nb

DIM = 8
ROWS = 1000

# Many calls a round, so that the clock itself costs nothing.
SEARCH = pytest.mark.benchmark(group="search one row", min_time=1e-4, disable_gc=True)
ONE_ROW = pytest.mark.benchmark(group="one row of an index", min_time=1e-4, disable_gc=True)


@pytest.fixture
def row() -> np.ndarray:
    return np.random.default_rng(0).standard_normal(DIM, dtype=np.float32)


@pytest.fixture
def single(row: np.ndarray) -> nb.Index:
    """One row of eight numbers."""
    index = nb.Index(DIM, metric="l2", layout="flat", codec="float32")
    index.add(row[None])
    return index


@pytest.fixture
def filled() -> nb.Index:
    rows = np.random.default_rng(1).standard_normal((ROWS, DIM), dtype=np.float32)
    index = nb.Index(DIM, metric="l2", layout="flat", codec="float32")
    index.add(rows)
    return index


@SEARCH
def test_search(benchmark: Any, single: nb.Index, row: np.ndarray) -> None:
    hits = benchmark(single.search, row, 10)
    assert hits.ids[0] == 0


@SEARCH
def test_search_unpacked(benchmark: Any, single: nb.Index, row: np.ndarray) -> None:
    def search() -> Any:
        ids, distances = single.search(row, 10)
        return ids, distances

    ids, distances = benchmark(search)
    assert ids[0] == 0
    assert distances[0] == 0


@SEARCH
def test_search_keywords(benchmark: Any, single: nb.Index, row: np.ndarray) -> None:
    hits = benchmark(lambda: single.search(row, k=10, radius=1.0, threads=1))
    assert hits.ids[0] == 0


@SEARCH
def test_search_2d(benchmark: Any, single: nb.Index, row: np.ndarray) -> None:
    hits = benchmark(single.search, row[None], 10)
    assert hits.ids[0, 0] == 0


@SEARCH
def test_search_float64(benchmark: Any, single: nb.Index, row: np.ndarray) -> None:
    hits = benchmark(single.search, row.astype(np.float64), 10)
    assert hits.ids[0] == 0


@SEARCH
def test_search_prepared_filter(benchmark: Any, single: nb.Index, row: np.ndarray) -> None:
    allowed = single.filter([0])
    hits = benchmark(lambda: single.search(row, 10, filter=allowed))
    assert hits.ids[0] == 0


@SEARCH
def test_search_filter_of_ids(benchmark: Any, single: nb.Index, row: np.ndarray) -> None:
    allowed = np.array([0])
    hits = benchmark(lambda: single.search(row, 10, filter=allowed))
    assert hits.ids[0] == 0


@SEARCH
def test_numpy_answer(benchmark: Any, row: np.ndarray) -> None:
    """For comparison: the same answer, computed and padded by numpy."""
    base = row[None]

    def search() -> tuple[np.ndarray, np.ndarray]:
        ids, distances = np.full(10, -1), np.full(10, np.inf, np.float32)
        found = ((base - row) ** 2).sum(axis=1)
        order = found.argsort()
        ids[: len(base)], distances[: len(base)] = order, found[order]
        return ids, distances

    ids, distances = benchmark(search)
    assert ids[0] == 0
    assert distances[0] == 0


@ONE_ROW
def test_add_one(benchmark: Any, filled: nb.Index, row: np.ndarray) -> None:
    rows = row[None]
    ids = benchmark(filled.add, rows)
    assert len(filled) == ids[0] + 1


@ONE_ROW
def test_remove_one(benchmark: Any, filled: nb.Index) -> None:
    ids = iter(range(ROWS))
    # One call a round: a row is removed once.
    removed = benchmark.pedantic(lambda: filled.remove(next(ids)), rounds=ROWS)
    assert removed == 1
    assert len(filled) == 0


@ONE_ROW
def test_update_one(benchmark: Any, filled: nb.Index, row: np.ndarray) -> None:
    benchmark(filled.update, [7], row[None])
    np.testing.assert_array_equal(filled.get(7), row)


@ONE_ROW
def test_get_one(benchmark: Any, filled: nb.Index) -> None:
    assert benchmark(filled.get, 7).shape == (DIM,)


@ONE_ROW
def test_contains(benchmark: Any, filled: nb.Index) -> None:
    assert benchmark(lambda: 7 in filled)


@ONE_ROW
def test_len(benchmark: Any, filled: nb.Index) -> None:
    assert benchmark(len, filled) == ROWS


@ONE_ROW
def test_numpy_take_one(benchmark: Any) -> None:
    """For comparison: numpy copies one row."""
    rows = np.zeros((ROWS, DIM), np.float32)
    assert benchmark(rows.take, [7], axis=0).shape == (1, DIM)
