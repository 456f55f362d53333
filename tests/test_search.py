"""search answers exactly: every metric and codec, against plain numpy."""

from __future__ import annotations

import numpy as np
import pytest
from checks import answer, assert_hits, assert_same_hits
from kinds import BITS, COMPACT_KINDS, COSINE, FLOAT_KINDS, KINDS, L2, SIGN
from reference import top_k

import nearbit as nb

DIMS = (1, 7, 8, 63, 64, 65, 127, 384, 1000)


@pytest.mark.parametrize("dim", DIMS)
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_search_is_exact_at_every_dimension(kind, dim, rng):
    dim = kind.dim(dim)
    rows, queries = kind.rows(1025, dim, rng), kind.rows(9, dim, rng)
    index = kind.new(dim)
    index.add(rows)
    assert_hits(index.search(queries, 10), kind, queries, rows, k=10)
    assert_hits(index.search(queries[:1], 10), kind, queries[:1], rows, k=10)


@pytest.mark.parametrize("n", [0, 1, 2, 31, 33, 1025, 5000])
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_search_is_exact_at_every_size(kind, n, rng):
    dim = kind.dim(65)
    rows, queries = kind.rows(n, dim, rng), kind.rows(40, dim, rng)
    index = kind.new(dim)
    index.add(rows)
    for k in (1, 10, 100):
        assert_hits(index.search(queries, k), kind, queries, rows, k=k)
    assert_hits(index.search(queries[:2], 100), kind, queries[:2], rows, k=100)


@pytest.mark.parametrize("nq", [1, 3, 70])
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_search_of_whole_numbers_agrees_with_numpy_to_the_id(kind, nq, rng):
    """Sums of small integers are exact in float32, so there is one right order, ties and all."""
    dim = kind.dim(24)
    rows, queries = kind.whole_rows(3000, dim, rng), kind.whole_rows(nq, dim, rng)
    ids = rng.permutation(100_000)[: len(rows)]
    index = kind.new(dim)
    index.add(rows, ids=ids)
    hits = index.search(queries, 50)
    if kind.metric == "cosine":
        assert_hits(hits, kind, queries, rows, ids, k=50)
        return
    true_ids, true_distances = top_k(kind.distances(queries, rows), ids, 50)
    np.testing.assert_array_equal(hits.ids, true_ids)
    np.testing.assert_array_equal(hits.distances, true_distances)


@pytest.mark.parametrize("nq", [1, 40])
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_search_puts_the_smaller_id_first_among_equal_rows(kind, nq, rng):
    dim = kind.dim(64)
    few = kind.rows(3, dim, rng)
    rows = few[rng.integers(0, 3, 2000)]
    ids = rng.permutation(2000) * 7 + 3
    index = kind.new(dim)
    index.add(rows, ids=ids)
    queries = np.repeat(few[:1], nq, axis=0)
    nearest = np.sort(ids[(kind.stored(rows) == kind.stored(few[:1])).all(axis=1)])
    if kind.metric == "ip":
        at_top = kind.distances(queries[:1], few)[0].argmin()
        nearest = np.sort(ids[(rows == few[at_top]).all(axis=1)])
    for k in (1, 10, 300):
        np.testing.assert_array_equal(index.search(queries, k).ids, np.tile(nearest[:k], (nq, 1)))


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_search_for_fewer_is_the_beginning_of_search_for_more(kind, rng):
    dim = kind.dim(40)
    index = kind.new(dim)
    index.add(kind.whole_rows(700, dim, rng), ids=rng.permutation(700))
    queries = kind.whole_rows(20, dim, rng)
    everything = index.search(queries, 700)
    for k in (1, 2, 9, 64, 65, 699):
        hits = index.search(queries, k)
        np.testing.assert_array_equal(hits.ids, everything.ids[:, :k])
        np.testing.assert_array_equal(hits.distances, everything.distances[:, :k])


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_search_pads_with_minus_one_and_inf_when_k_exceeds_the_size(kind, rng):
    index, rows = kind.filled(5, 16)
    hits = index.search(rows, k=65_536)
    assert hits.ids.shape == hits.distances.shape == (5, 65_536)
    assert (hits.counts == 5).all()
    assert (hits.ids[:, 5:] == -1).all()
    assert np.isposinf(hits.distances[:, 5:]).all()
    np.testing.assert_array_equal(np.sort(hits.ids[:, :5], axis=1), [range(5)] * 5)


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_search_with_the_largest_k_returns_every_row_in_order(kind, rng):
    index, rows = kind.filled(5000, 8)
    queries = kind.rows(2, kind.dim(8), rng)
    assert_hits(index.search(queries, 65_536), kind, queries, rows, k=65_536)


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_an_empty_index_answers_with_padding(kind, rng):
    index = kind.new(16)
    queries = kind.rows(3, 16, rng)
    ids, distances = index.search(queries, 4)
    assert (ids == -1).all()
    assert np.isposinf(distances).all()
    assert ids.shape == distances.shape == (3, 4)
    assert len(index.range_search(queries, 1.0).ids) == 0


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_an_empty_batch_gets_an_empty_answer(kind, rng):
    index, _ = kind.filled(10, 16)
    hits = index.search(kind.rows(0, 16, rng), 4)
    assert hits.ids.shape == hits.distances.shape == (0, 4)
    assert hits.counts.shape == (0,)
    assert index.add(kind.rows(0, 16, rng)).shape == (0,)
    assert len(index) == 10


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_one_query_may_be_one_dimensional(kind, rng):
    index, _ = kind.filled(100, 24)
    queries = kind.rows(5, 24, rng)
    batch = index.search(queries, 7)
    for i, query in enumerate(queries):
        one = index.search(query, 7)
        assert one.ids.shape == one.distances.shape == (7,)
        assert np.ndim(one.counts) == 0
        assert one.counts == 7
        np.testing.assert_array_equal(one.ids, batch.ids[i])
        np.testing.assert_array_equal(one.distances, batch.distances[i])
        ids, distances = one
        np.testing.assert_array_equal(ids, one.ids)
        np.testing.assert_array_equal(distances, one.distances)


@pytest.mark.parametrize(
    "kind", [kind for kind in KINDS if kind.takes_floats or kind.metric != "ip"], ids=str
)
def test_a_stored_row_is_its_own_nearest(kind):
    index, rows = kind.filled(2000, 128)
    rows = rows if kind.codec == "sign" else kind.stored(rows)
    if kind.metric == "ip":
        rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        index = kind.new(128)
        index.add(rows)
    np.testing.assert_array_equal(index.search(rows, 1).ids[:, 0], np.arange(2000))
    if kind.metric in ("l2", "hamming", "jaccard") and kind not in COMPACT_KINDS:
        assert (index.search(rows, 1).distances == 0).all()


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_distances_do_not_depend_on_what_else_is_stored_or_on_row_order(kind, rng):
    dim = kind.dim(50)
    rows, queries = kind.rows(600, dim, rng), kind.rows(11, dim, rng)
    order = rng.permutation(len(rows))
    a, b = kind.new(dim), kind.new(dim)
    a.add(rows)
    b.add(rows[order], ids=order)
    assert_same_hits(a.search(queries, 600), b.search(queries, 600))


def test_l2_keeps_its_precision_far_from_the_origin(rng):
    """Differences are taken before they are squared: |x|^2 - 2qx + |q|^2 would lose everything."""
    rows = 1000 + rng.standard_normal((500, 96), dtype=np.float32)
    queries = 1000 + rng.standard_normal((50, 96), dtype=np.float32)
    index = L2.new(96)
    index.add(rows)
    assert_hits(index.search(queries, 20), L2, queries, rows, k=20)
    assert_hits(index.search(queries[:1], 20), L2, queries[:1], rows, k=20)


@pytest.mark.parametrize("scale", [1e-18, 1e-3, 1e3, 1e17])
@pytest.mark.parametrize("kind", FLOAT_KINDS, ids=str)
def test_search_is_exact_for_large_and_small_numbers(kind, scale, rng):
    rows = rng.standard_normal((400, 33), dtype=np.float32) * np.float32(scale)
    queries = rng.standard_normal((20, 33), dtype=np.float32) * np.float32(scale)
    index = kind.new(33)
    index.add(rows)
    assert_hits(index.search(queries, 10), kind, queries, rows)


def test_rows_of_very_different_lengths_are_ranked_exactly(rng):
    lengths = np.float32(10) ** rng.integers(-6, 7, (800, 1)).astype(np.float32)
    rows = rng.standard_normal((800, 20), dtype=np.float32) * lengths
    queries = rows[::40] + np.float32(0.01)
    for kind in FLOAT_KINDS:
        index = kind.new(20)
        index.add(rows)
        assert_hits(index.search(queries, 10), kind, queries, rows)


def test_a_zero_row_has_cosine_distance_one_to_everything(rng):
    rows = rng.standard_normal((40, 12), dtype=np.float32)
    rows[[3, 17]] = 0
    index = COSINE.new(12)
    index.add(rows)
    for queries in (rows[:5], rows[:1], np.zeros((2, 12), np.float32), np.tile(rows, (2, 1))):
        hits = index.search(queries, 40)
        assert_hits(hits, COSINE, queries, rows, k=40)
        zero = np.isin(hits.ids, [3, 17]) | ~queries.any(axis=1)[:, None]
        assert (hits.distances[zero] == 1).all()


def test_cosine_distance_is_never_negative(rng):
    rows = rng.standard_normal((3000, 40), dtype=np.float32)
    index = COSINE.new(40)
    index.add(rows)
    nearest = index.search(rows, 1)
    assert (nearest.distances >= 0).all()
    assert (nearest.distances < 1e-6).all()


def test_sign_stores_a_bit_for_each_number_above_zero(rng):
    rows = rng.choice(np.array([-1, -0.0, 0.0, 1e-40, 2], dtype=np.float32), (200, 13))
    index = SIGN.new(13)
    index.add(rows)
    np.testing.assert_array_equal(index.get(range(200)), np.packbits(rows > 0, axis=1))
    assert_hits(index.search(rows[:30], 9), SIGN, rows[:30], rows, k=9)


def test_sign_answers_as_bits_of_the_packed_signs(rng):
    rows, queries = SIGN.rows(1000, 128, rng), SIGN.rows(30, 128, rng)
    signs, bits = SIGN.new(128), BITS.new(128)
    signs.add(rows)
    bits.add(np.packbits(rows > 0, axis=1))
    assert_same_hits(signs.search(queries, 10), bits.search(np.packbits(queries > 0, axis=1), 10))


def test_hits_unpack_count_and_score(rng):
    rows, queries = COSINE.rows(50, 8, rng), COSINE.rows(4, 8, rng)
    for kind in FLOAT_KINDS:
        index = kind.new(8)
        index.add(rows)
        hits = index.search(queries, 5)
        ids, distances = hits
        assert ids is hits.ids or (ids == hits.ids).all()
        assert (distances == hits.distances).all()
        assert (hits.counts == 5).all()
        assert hits.stats is None
        if kind.metric == "ip":
            np.testing.assert_array_equal(hits.scores, -hits.distances)
        if kind.metric == "cosine":
            np.testing.assert_allclose(hits.scores, 1 - hits.distances, rtol=1e-6)


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_stats_count_the_distances_of_each_query(kind, rng):
    index, _ = kind.filled(333, 16)
    queries = kind.rows(6, 16, rng)
    hits = index.search(queries, 5, stats=True)
    assert hits.stats["distances"].dtype == np.int64
    np.testing.assert_array_equal(hits.stats["distances"], [333] * 6)
    some = index.search(queries, 5, stats=True, filter=np.arange(50))
    assert (some.stats["distances"] >= 50).all()
    assert (some.stats["distances"] <= 333).all()
    assert_same_hits(hits, index.search(queries, 5))


def test_settings_are_chosen_from_each_other_and_shown():
    plain = nb.Index(24)
    assert (plain.dim, plain.metric) == (24, "cosine")
    assert isinstance(plain.layout, nb.Flat)
    assert isinstance(plain.codec, nb.Float32)
    assert nb.Index(24, codec="bits").metric == "hamming"
    assert nb.Index(24, codec=nb.Sign()).metric == "hamming"
    assert isinstance(nb.Index(24, codec="bits").codec, nb.Bits)
    assert isinstance(nb.Index(24, layout="flat", codec=nb.Bits()).layout, nb.Flat)
    for index in (plain, nb.Index(24, "ip", nb.Flat(), nb.Float32()), nb.Index(64, codec="sign")):
        shown = repr(index)
        for part in (str(index.dim), index.metric, type(index.layout).__name__):
            assert part in shown
        assert type(index.codec).__name__ in shown


def test_search_of_real_definitions_matches_numpy(demo):
    vectors = np.ascontiguousarray(demo.vectors, dtype=np.float32)
    queries = np.ascontiguousarray(demo.queries, dtype=np.float32)
    for kind in (COSINE, L2, SIGN):
        index = kind.new(vectors.shape[1])
        index.add(vectors)
        hits = index.search(queries, 10)
        assert_hits(hits, kind, queries, vectors)
        assert answer(index.search(queries[0], 10)) == (
            hits.ids[0].tobytes(),
            hits.distances[0].tobytes(),
        )


def test_repeated_searches_do_not_change_the_index(rng):
    index, rows = L2.filled(200, 16)
    before = index.to_bytes()
    first = index.search(rows, 3)
    for _ in range(5):
        assert_same_hits(index.search(rows, 3), first)
    assert index.to_bytes() == before
