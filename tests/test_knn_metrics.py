"""knn without an index, merging answers of shards, and recall by distance."""

from __future__ import annotations

import numpy as np
import pytest
import reference
from checks import assert_hits, assert_same_hits
from kinds import BITS, COSINE, FLOAT_KINDS, JACCARD, KINDS, L2

import nearbit as nb

KNN_KINDS = (*FLOAT_KINDS, BITS, JACCARD)


@pytest.mark.parametrize("nq", [1, 9, 200])
@pytest.mark.parametrize("kind", KNN_KINDS, ids=str)
def test_knn_is_exact(kind, nq, rng):
    dim = kind.dim(65)
    queries, base = kind.rows(nq, dim, rng), kind.rows(1500, dim, rng)
    hits = nb.knn(queries, base, 7, kind.metric)
    assert_hits(hits, kind, queries, base, k=7)
    index = kind.new(dim)
    index.add(base)
    assert_same_hits(hits, index.search(queries, 7))


@pytest.mark.parametrize("kind", KNN_KINDS, ids=str)
def test_knn_of_few_none_and_one(kind, rng):
    queries, base = kind.rows(4, 24, rng), kind.rows(3, 24, rng)
    hits = nb.knn(queries, base, k=5, metric=kind.metric)
    assert_hits(hits, kind, queries, base, k=5)
    assert (hits.counts == 3).all()
    nothing = nb.knn(queries, base[:0], k=5, metric=kind.metric)
    assert (nothing.ids == -1).all()
    assert np.isposinf(nothing.distances).all()
    assert nb.knn(queries[:0], base, k=5, metric=kind.metric).ids.shape == (0, 5)
    one = nb.knn(queries[0], base, k=5, metric=kind.metric)
    np.testing.assert_array_equal(one.ids, hits.ids[0])
    np.testing.assert_array_equal(one.distances, hits.distances[0])


def test_knn_reads_arrays_in_any_order_and_leaves_them_alone(rng):
    queries, base = L2.rows(20, 12, rng), L2.rows(500, 12, rng)
    expected = nb.knn(queries, base, 5)
    copies = queries.copy(), base.copy()
    for q, b in (
        (np.asfortranarray(queries), np.asfortranarray(base)),
        (queries.astype(np.float64), base.astype(">f4")),
        (queries.tolist(), base.tolist()),
        (queries, np.repeat(base, 2, axis=0)[::2]),
    ):
        assert_same_hits(nb.knn(q, b, 5), expected)
    np.testing.assert_array_equal(queries, copies[0])
    np.testing.assert_array_equal(base, copies[1])


def test_knn_finds_the_answers_of_real_questions(demo):
    hits = nb.knn(demo.queries, demo.vectors, 10, "cosine")
    assert_hits(hits, COSINE, demo.queries, demo.vectors)
    found = (hits.ids == demo.answers[:, None]).any(axis=1).mean()
    assert found > 0.4, "the right definition is among the first ten of about half the questions"


# --------------------------------------------------------------------------------------- merge


@pytest.mark.parametrize("k", [1, 10, 40])
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_merged_shards_answer_as_the_whole(kind, k, rng):
    dim = kind.dim(24)
    rows, queries = kind.whole_rows(900, dim, rng), kind.whole_rows(30, dim, rng)
    ids = rng.permutation(900)
    whole = kind.new(dim)
    whole.add(rows, ids=ids)
    parts = []
    for own in np.array_split(np.arange(900), 7):
        shard = kind.new(dim)
        shard.add(rows[own], ids=ids[own])
        parts.append(shard.search(queries, k))
    merged = nb.merge_hits(parts, k)
    assert_same_hits(merged, whole.search(queries, k))
    assert_same_hits(nb.merge_hits(parts[::-1], k), merged)
    assert_same_hits(nb.merge_hits([merged], k), merged)


def test_merge_takes_answers_of_different_widths_and_pads(rng):
    rows, queries = L2.rows(20, 8, rng), L2.rows(3, 8, rng)
    whole, shards = L2.new(8), [L2.new(8), L2.new(8), L2.new(8)]
    whole.add(rows)
    for shard, own in zip(shards[:2], (range(12), range(12, 20)), strict=True):
        shard.add(rows[own], ids=own)
    parts = [shard.search(queries, k) for shard, k in zip(shards, (12, 30, 5), strict=True)]
    merged = nb.merge_hits(parts, 25)
    assert_same_hits(merged, whole.search(queries, 25))
    assert (merged.counts == 20).all()
    assert_same_hits(nb.merge_hits(iter(parts), 4), whole.search(queries, 4))


def test_merge_of_one_query_gives_one_answer(rng):
    index, rows = L2.filled(20, 8)
    hits = index.search(rows[0], 5)
    merged = nb.merge_hits([hits, L2.new(8).search(rows[0], 3)], 4)
    assert merged.ids.shape == (4,)
    assert merged.counts == 4
    np.testing.assert_array_equal(merged.ids, hits.ids[:4])


# -------------------------------------------------------------------------------------- recall


def test_recall_is_the_share_of_true_distances_reached(rng):
    truth = np.sort(rng.random((50, 10)).astype(np.float32), axis=1)
    found = np.sort(np.where(rng.random((50, 10)) < 0.3, truth + 1, truth), axis=1)
    expected = reference.recall(found, truth)
    assert 0.5 < expected < 0.9
    assert nb.metrics.recall(found, truth) == pytest.approx(expected)
    assert nb.metrics.recall(truth, truth) == 1
    assert nb.metrics.recall(truth + 2, truth) == 0
    assert isinstance(nb.metrics.recall(truth, truth), float)


def test_recall_takes_hits_and_counts_ties_as_found(rng):
    """Another row at the k-th distance is as good as the true one."""
    rows = np.array([[0], [1], [1], [1], [2]], np.float32)
    index = L2.new(1)
    index.add(rows)
    query = np.zeros((1, 1), np.float32)
    truth = index.search(query, 2)
    other = index.search(query, 2, filter=[0, 3])
    assert truth.ids.tolist() != other.ids.tolist()
    assert nb.metrics.recall(other, truth) == 1
    assert nb.metrics.recall(other.distances, truth) == 1
    assert nb.metrics.recall(other, truth.distances) == 1
    assert nb.metrics.recall(index.search(query, 2, filter=[0, 4]), truth) == 0.5
    assert nb.metrics.recall(index.search(query, 2, filter=[4]), truth) == 0


def test_recall_forgives_rounding_and_no_more():
    truth = np.array([[1.0, 2.0]])
    assert nb.metrics.recall(truth * (1 + 5e-7), truth) == 1
    assert nb.metrics.recall(truth * (1 + 1e-4), truth) == 0.5
    negative = np.array([[-2.0, -1.0]])
    assert nb.metrics.recall(negative * (1 - 5e-7), negative) == 1
    assert nb.metrics.recall(negative * (1 - 1e-3), negative) == 0.5


def test_recall_counts_only_what_there_is_to_find():
    inf = np.inf
    truth = np.array([[1, inf, inf], [1, 2, 3]])
    assert nb.metrics.recall(truth, truth) == 1
    assert nb.metrics.recall(np.array([[inf] * 3, [1, 2, 3]]), truth) == 0.75
    assert nb.metrics.recall(np.array([[1, inf, inf], [1, 2, inf]]), truth) == 0.75


def test_recall_of_sign_bits_against_floats_judges_by_distance(demo):
    """More candidates find more of the true neighbours; all of them find them all."""
    truth = nb.knn(demo.queries[:100], demo.vectors, 10, "cosine")
    signs = nb.Index(demo.vectors.shape[1], codec="sign")
    signs.add(demo.vectors)
    recalls = []
    for k in (10, 100, len(demo.vectors)):
        candidates = signs.search(demo.queries[:100], k).ids
        exact = nb.Index(demo.vectors.shape[1])
        exact.add(demo.vectors)
        found = exact.search(demo.queries[:100], 10, filter=list(candidates))
        recalls.append(nb.metrics.recall(found, truth))
    assert recalls == sorted(recalls)
    assert 0.3 < recalls[0] < 0.9 < recalls[1]
    assert recalls[2] == 1


def test_knn_takes_the_metric_that_an_index_takes(rng):
    rows = rng.standard_normal((50, 16), dtype=np.float32)
    assert nb.knn(rows, rows, 3).metric == nb.Index(16).metric == "cosine"
