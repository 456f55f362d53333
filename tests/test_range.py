"""Radius searches: k nearest within a radius, and all within a radius."""

from __future__ import annotations

import numpy as np
import pytest
from checks import assert_hits, assert_range, row_of
from kinds import IP, KINDS, L2
from reference import within


def middling_radius(kind, queries, rows, share):
    """A radius that a share of the rows lies within, not at any row's distance."""
    spread = np.unique(kind.distances(queries, rows))
    at = min(int(len(spread) * share), len(spread) - 2)
    return float((spread[at] + spread[at + 1]) / 2)


@pytest.fixture(params=KINDS, ids=str)
def filled(request, rng):
    kind = request.param
    rows, queries = kind.rows(1500, 64, rng), kind.rows(35, 64, rng)
    ids = rng.permutation(9000)[:1500]
    index = kind.new(64)
    index.add(rows, ids=ids)
    return kind, index, rows, queries, ids


@pytest.mark.parametrize("share", [0.001, 0.05, 0.9])
def test_range_search_finds_all_within_the_radius(filled, share):
    kind, index, rows, queries, ids = filled
    radius = middling_radius(kind, queries, rows, share)
    for some in (queries, queries[:1], queries[:6]):
        assert_range(index.range_search(some, radius), kind, some, rows, ids, radius)


@pytest.mark.parametrize("share", [0.001, 0.05, 0.9])
def test_search_within_a_radius_keeps_the_nearest_of_them(filled, share):
    kind, index, rows, queries, ids = filled
    radius = middling_radius(kind, queries, rows, share)
    for k in (1, 10, 1500):
        hits = index.search(queries, k, radius=radius)
        assert_hits(hits, kind, queries, rows, ids, k=k, radius=radius)


def test_each_query_may_have_a_radius_of_its_own(filled):
    kind, index, rows, queries, ids = filled
    radii = np.array(
        [middling_radius(kind, queries[i : i + 1], rows, 0.01 * i) for i in range(len(queries))]
    )
    for radius in (radii, radii.astype(np.float32), radii.tolist()):
        hits = index.search(queries, 40, radius=radius)
        assert_hits(hits, kind, queries, rows, ids, k=40, radius=radii)
        found = index.range_search(queries, radius)
        assert_range(found, kind, queries, rows, ids, radii)
    for i in (0, 7, 34):
        one = index.search(queries[i], 40, radius=float(radii[i]))
        assert (one.ids.tobytes(), one.distances.tobytes()) == row_of(
            index.search(queries, 40, radius=radii), i
        )


def test_the_radius_is_inclusive(filled):
    """The distance that a search gives is a radius that its row lies within, and just within."""
    _, index, _, queries, _ = filled
    hits = index.search(queries, 20)
    for nth in (0, 5, 19):
        edge = hits.distances[:, nth]
        inside = (hits.distances <= edge[:, None]).sum(axis=1)
        counts = index.search(queries, 20, radius=edge).counts
        np.testing.assert_array_equal(counts, inside)
        below = np.nextafter(edge, np.float32(-np.inf))
        counts = index.search(queries, 20, radius=below).counts
        np.testing.assert_array_equal(counts, (hits.distances < edge[:, None]).sum(axis=1))
        found = index.range_search(queries, edge)
        assert (np.diff(found.indptr) >= inside).all()
        one = index.search(queries[3], 20, radius=float(edge[3]))
        assert one.counts == inside[3]


def test_the_largest_id_at_the_edge_is_inside():
    index = L2.new(1)
    top = 2**63 - 1
    index.add([[2.0], [2.0], [3.0]], ids=[top, 5, 6])
    assert index.search([0.0], 3, radius=4.0).ids.tolist() == [5, top, -1]
    assert index.range_search([0.0], 4.0).ids.tolist() == [5, top]
    assert index.range_search([0.0], 4.0, limit=2).ids.tolist() == [5, top]


def test_range_search_agrees_with_search_to_the_bit(filled):
    kind, index, rows, queries, _ = filled
    radius = middling_radius(kind, queries, rows, 0.2)
    hits = index.search(queries, 1500, radius=radius)
    indptr, ids, distances = index.range_search(queries, radius)
    np.testing.assert_array_equal(np.diff(indptr), hits.counts)
    real = hits.ids >= 0
    np.testing.assert_array_equal(ids, hits.ids[real])
    np.testing.assert_array_equal(distances, hits.distances[real])


@pytest.mark.parametrize("limit", [1, 10, 1499, 5000])
def test_limit_keeps_the_nearest_of_those_within(filled, limit):
    kind, index, rows, queries, _ = filled
    radius = middling_radius(kind, queries, rows, 0.3)
    everything = index.range_search(queries, radius)
    found = index.range_search(queries, radius, limit=limit)
    np.testing.assert_array_equal(
        np.diff(found.indptr), np.minimum(np.diff(everything.indptr), limit)
    )
    for i in range(len(queries)):
        own, whole = slice(*found.indptr[i : i + 2]), slice(*everything.indptr[i : i + 2])
        np.testing.assert_array_equal(found.ids[own], everything.ids[whole][:limit])
        np.testing.assert_array_equal(found.distances[own], everything.distances[whole][:limit])


@pytest.mark.parametrize("kind", [L2, IP], ids=str)
def test_range_search_of_whole_numbers_agrees_with_numpy_to_the_id(kind, rng):
    rows, queries = kind.whole_rows(2000, 12, rng), kind.whole_rows(30, 12, rng)
    ids = rng.permutation(2000)
    index = kind.new(12)
    index.add(rows, ids=ids)
    for radius, limit in ((-9.0, None), (0.0, None), (8.0, None), (40.0, 7), (1000.0, 2000)):
        expected = within(kind.distances(queries, rows), ids, radius, limit=limit)
        found = index.range_search(queries, radius, limit=limit)
        for got, wanted in zip(found, expected, strict=True):
            np.testing.assert_array_equal(got, wanted)


def test_range_search_of_one_query_or_none(filled):
    kind, index, rows, queries, _ = filled
    radius = middling_radius(kind, queries, rows, 0.1)
    one, batch = index.range_search(queries[0], radius), index.range_search(queries[:1], radius)
    np.testing.assert_array_equal(one.indptr, batch.indptr)
    np.testing.assert_array_equal(one.ids, batch.ids)
    np.testing.assert_array_equal(one.distances, batch.distances)
    none = index.range_search(queries[:0], radius)
    assert none.indptr.tolist() == [0]
    assert len(none.ids) == len(none.distances) == 0


def test_an_infinite_radius_takes_everything_and_a_tiny_one_nothing(filled):
    _, index, rows, queries, _ = filled
    assert (np.diff(index.range_search(queries, np.inf).indptr) == len(rows)).all()
    assert len(index.range_search(queries, -np.inf).ids) == 0
    assert len(index.range_search(queries, -1e30).ids) == 0
    assert (index.search(queries, 5, radius=-1e30).counts == 0).all()
    assert (index.search(queries, 5, radius=np.inf).counts == 5).all()


def test_range_search_with_a_filter(filled, rng):
    kind, index, rows, queries, ids = filled
    allowed = rng.choice(ids, 200, replace=False)
    radius = middling_radius(kind, queries, rows, 0.4)
    found = index.range_search(queries, radius, filter=allowed)
    assert_range(found, kind, queries, rows, ids, radius, allowed=allowed)
    hits = index.search(queries, 30, radius=radius, filter=allowed)
    assert_hits(hits, kind, queries, rows, ids, k=30, radius=radius, allowed=allowed)
