"""Jaccard distances of bits: the edges that random rows seldom meet."""

from __future__ import annotations

import numpy as np
import pytest
from checks import answer, assert_hits, assert_range
from kinds import JACCARD
from reference import top_k

import nearbit as nb


def sparse_rows(n, dim, rng):
    """Rows with few to many bits set, as fingerprints have; every seventh has none."""
    share = rng.random((n, 1)) ** 3
    share[::7] = 0
    return np.packbits(rng.random((n, dim)) < share, axis=1)


def rows_at_every_distance(dim, rng):
    """A query, and rows that share any number of its bits and have any number of others."""
    order = rng.permutation(dim)
    query = np.zeros(dim, dtype=np.uint8)
    query[order[: dim // 3]] = 1
    rows = []
    for shared in range(0, dim // 3 + 1, max(1, dim // 100)):
        for others in range(0, dim - dim // 3 + 1, max(1, dim // 50)):
            row = np.zeros(dim, dtype=np.uint8)
            row[order[:shared]] = 1
            row[order[dim // 3 : dim // 3 + others]] = 1
            rows.append(row)
    return np.packbits(query[None], axis=1), np.packbits(np.array(rows), axis=1)


def filled(rows):
    index = JACCARD.new(8 * rows.shape[1])
    index.add(rows)
    return index


def test_two_empty_rows_are_equal_and_one_is_as_far_as_can_be():
    index = filled(np.array([[0, 0, 1], [0, 0, 0], [255, 255, 255], [0, 0, 0]], dtype=np.uint8))
    nothing, everything = np.zeros(3, dtype=np.uint8), np.full(3, 255, dtype=np.uint8)
    hits = index.search(nothing, 4)
    assert hits.ids.tolist() == [1, 3, 0, 2]
    assert hits.distances.tolist() == [0, 0, 1, 1]
    hits = index.search(everything, 4)
    assert hits.ids.tolist() == [2, 0, 1, 3]
    assert hits.distances.tolist() == [0, np.float32(23 / 24), 1, 1]
    assert index.range_search(nothing, 0.0).ids.tolist() == [1, 3]
    assert index.range_search(nothing, np.nextafter(np.float32(1), np.float32(0))).ids.size == 2
    assert index.range_search(everything, 1.0).ids.tolist() == [2, 0, 1, 3]
    assert index.range_search(nothing, -1e-9).ids.size == 0


@pytest.mark.parametrize("nq", [1, 2, 50])
@pytest.mark.parametrize("dim", [8, 64, 128, 264, 2048, 40_000])
def test_answers_are_those_of_numpy_to_the_bit(dim, nq, rng):
    rows, queries = sparse_rows(400, dim, rng), sparse_rows(nq, dim, rng)
    index = filled(rows)
    distances = JACCARD.distances(queries, rows)
    for k in (1, 10, 399):
        hits = index.search(queries, k)
        ids, found = top_k(distances, np.arange(400), k)
        np.testing.assert_array_equal(hits.ids, ids)
        np.testing.assert_array_equal(hits.distances, found)
        assert answer(nb.knn(queries, rows, k, "jaccard")) == answer(hits)


@pytest.mark.parametrize("dim", [16, 64, 200, 2048])
def test_a_radius_takes_in_the_rows_at_it_and_none_beyond(dim, rng):
    query, rows = rows_at_every_distance(dim, rng)
    index = filled(rows)
    distances = JACCARD.distances(query, rows)
    edges = np.unique(distances).astype(np.float32)
    edges = edges[:: max(1, len(edges) // 150)]
    for radii in (edges, np.nextafter(edges, np.float32(-1)), np.nextafter(edges, np.float32(2))):
        together = index.range_search(np.repeat(query, len(radii), axis=0), radii)
        expected = (distances[0][None] <= radii[:, None]).sum(axis=1)
        np.testing.assert_array_equal(np.diff(together.indptr), expected)
        for i in range(0, len(radii), 10):
            assert index.range_search(query[0], float(radii[i])).ids.size == expected[i]


def test_equal_rows_come_by_id_and_the_farthest_are_found_too(rng):
    rows = np.repeat(sparse_rows(8, 256, rng), 100, axis=0)
    order = rng.permutation(len(rows))
    index = JACCARD.new(256)
    index.add(rows[order], ids=order)
    hits = index.search(rows[150], 800)
    assert hits.ids[:100].tolist() == list(range(100, 200))
    assert_hits(index.search(rows[::150], 800), JACCARD, rows[::150], rows, k=800)


def test_every_row_of_bits_that_are_all_equal_is_at_the_same_distance(rng):
    index = filled(np.full((70, 9), 170, dtype=np.uint8))
    for byte, distance in ((170, 0.0), (85, 1.0), (255, 0.5), (0, 1.0)):
        hits = index.search(np.full((3, 9), byte, dtype=np.uint8), 70)
        np.testing.assert_array_equal(hits.ids, np.tile(np.arange(70), (3, 1)))
        assert (hits.distances == distance).all()


def test_counts_follow_every_change(rng, tmp_path):
    rows = sparse_rows(300, 512, rng)
    queries = sparse_rows(20, 512, rng)
    index = filled(rows)
    rows[50:100] = sparse_rows(50, 512, rng)
    index.update(np.arange(50, 100), rows[50:100])
    index.remove(np.arange(100, 200))
    rows[100:250] = sparse_rows(150, 512, rng)
    index.upsert(np.arange(100, 250), rows[100:250])
    assert_hits(index.search(queries, 30), JACCARD, queries, rows, k=30)
    allowed = np.arange(0, 300, 40)
    assert_hits(
        index.search(queries, 5, filter=allowed), JACCARD, queries, rows, k=5, allowed=allowed
    )
    index.compact()
    index.save(tmp_path / "sets.nearbit")
    for loaded in (nb.load(tmp_path / "sets.nearbit", mmap=mmap) for mmap in (False, True)):
        assert answer(loaded.search(queries, 30)) == answer(index.search(queries, 30))
        assert_range(
            loaded.range_search(queries, 0.9), JACCARD, queries, rows, radius=np.float32(0.9)
        )
    assert index.stats()["factor_bytes"] == 4 * 300
