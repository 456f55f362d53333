"""Assertions on answers, with the tolerance of float32 where distances are floats."""

from __future__ import annotations

from contextlib import contextmanager

import numpy as np
from kinds import Kind


def assert_hits(hits, kind, queries, rows, ids=None, k=10, allowed=None, radius=None):
    """The hits are the k nearest: no row left out is nearer, beyond rounding, than one found.

    allowed: ids, or one array of ids or None for each query; radius: a number or one per query.
    """
    ids = np.arange(len(rows)) if ids is None else np.asarray(ids)
    nq = len(queries)
    assert hits.ids.shape == hits.distances.shape == (nq, k)
    assert hits.ids.dtype == np.int64
    assert hits.distances.dtype == np.float32
    exact, slack = kind.distances(queries, rows), kind.tolerances(queries, rows)
    for i in range(nq):
        mine = allowed[i] if isinstance(allowed, list) else allowed
        may = np.ones(len(ids), dtype=bool) if mine is None else np.isin(ids, mine)
        limit = np.inf if radius is None else np.broadcast_to(radius, nq)[i]
        count = int(hits.counts[i])
        _assert_answer(
            hits.ids[i, :count], hits.distances[i, :count], kind, ids, exact[i], slack[i], may
        )
        assert (hits.ids[i, count:] == -1).all()
        assert np.isposinf(hits.distances[i, count:]).all()
        _assert_complete(hits.ids[i, :count], ids, exact[i], slack[i], may, limit, full=count == k)


def assert_range(found, kind, queries, rows, ids=None, radius=None, allowed=None):
    """The range hits are all rows within the radius, nearest first."""
    ids = np.arange(len(rows)) if ids is None else np.asarray(ids)
    nq = len(queries)
    indptr = found.indptr
    assert indptr.dtype == np.int64
    assert indptr.shape == (nq + 1,)
    assert indptr[0] == 0
    assert indptr[-1] == len(found.ids) == len(found.distances)
    assert found.ids.dtype == np.int64
    assert found.distances.dtype == np.float32
    exact, slack = kind.distances(queries, rows), kind.tolerances(queries, rows)
    may = np.ones(len(ids), dtype=bool) if allowed is None else np.isin(ids, allowed)
    for i in range(nq):
        own = slice(indptr[i], indptr[i + 1])
        limit = np.broadcast_to(radius, nq)[i]
        _assert_answer(found.ids[own], found.distances[own], kind, ids, exact[i], slack[i], may)
        _assert_complete(found.ids[own], ids, exact[i], slack[i], may, limit, full=False)


def _assert_answer(found, distances, kind, ids, exact, slack, may):
    """Known, allowed, distinct ids in order of (distance, id), each with its own distance."""
    order = np.argsort(ids, kind="stable")
    at = order[np.searchsorted(ids[order], found)] if len(found) else np.empty(0, dtype=int)
    np.testing.assert_array_equal(ids[at], found)
    assert may[at].all()
    assert len(set(found.tolist())) == len(found), "an id came twice"
    ranks = exact[at] if kind.ranks_beyond_float32 else distances
    np.testing.assert_array_equal(np.lexsort((found, ranks)), np.arange(len(found)))
    off = np.abs(distances - exact[at])
    assert (off <= slack[at]).all(), f"a distance is off by {off.max()}"


def _assert_complete(found, ids, exact, slack, may, radius, *, full):
    """Nothing found is beyond the radius, and nothing that is clearly nearer was left out."""
    mine = np.isin(ids, found)
    assert (exact[mine] - slack[mine] <= radius).all(), "an answer lies beyond the radius"
    out = may & ~mine
    if full:
        out &= exact + slack < (exact[mine] - slack[mine]).max(initial=-np.inf)
    else:
        out &= exact + slack <= radius
    assert not out.any(), f"left out: ids {ids[out][:5]}, distances {exact[out][:5]}"


def assert_same_hits(a, b):
    """Equal to the bit."""
    np.testing.assert_array_equal(a.ids, b.ids)
    np.testing.assert_array_equal(a.distances, b.distances)
    np.testing.assert_array_equal(a.counts, b.counts)


def answer(hits):
    """The bytes of an answer, to compare."""
    return np.ascontiguousarray(hits.ids).tobytes(), np.ascontiguousarray(hits.distances).tobytes()


def row_of(hits, i):
    """The bytes of one query's answer in a batch."""
    return hits.ids[i].tobytes(), hits.distances[i].tobytes()


def next_id(index):
    """The id that an add would give next, found out on a copy."""
    kind = Kind(index.codec.name, index.metric)
    row = np.ones((1, kind.width(index.dim)), kind.dtype)
    return int(index.copy().add(row)[0])


@contextmanager
def unchanged(index):
    """The index is exactly as before: every byte of it, and the next automatic id."""
    before = index.to_bytes(), next_id(index)
    yield
    assert (index.to_bytes(), next_id(index)) == before
