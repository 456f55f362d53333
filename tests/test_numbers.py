"""Float16, Int8 and UInt8: what is particular to them."""

from __future__ import annotations

import numpy as np
import pytest
from checks import answer, assert_hits, assert_same_hits, unchanged
from kinds import HALF_KINDS, INT_KINDS, Kind

import nearbit as nb

HALF_L2 = HALF_KINDS[0]
INT_L2 = [kind for kind in INT_KINDS if kind.metric == "l2"]


# ------------------------------------------------------------------------------------- halves


def test_every_finite_half_comes_back_as_it_was():
    patterns = np.arange(65_536, dtype=np.uint16).view(np.float16)
    finite = patterns[np.isfinite(patterns)].reshape(-1, 64)
    for given in (finite, finite.astype(np.float32), finite.astype(np.float64)):
        index = HALF_L2.new(64)
        ids = index.add(given)
        stored = index.get(ids)
        assert stored.dtype == np.float32
        assert stored.tobytes() == finite.astype(np.float32).tobytes()


def test_floats_are_rounded_to_the_nearest_half_and_ties_to_even(rng):
    halves = rng.integers(0, 0x7BFF, 4000).astype(np.uint16).view(np.float16).astype(np.float32)
    above = np.nextafter(halves.astype(np.float16), np.float16(np.inf)).astype(np.float32)
    middle = (halves + above) / 2
    rows = np.stack([middle, np.nextafter(middle, np.float32(0)), -middle, halves * 0.999])
    rows = rows.astype(np.float32)
    index = HALF_L2.new(4000)
    ids = index.add(rows)
    assert index.get(ids).tobytes() == rows.astype(np.float16).astype(np.float32).tobytes()


@pytest.mark.parametrize("dim", [1, 7, 40])
def test_what_a_half_cannot_hold_is_refused_with_its_place(dim):
    index = HALF_L2.new(dim)
    edge = np.nextafter(np.float32(65_520), np.float32(0))
    index.add(np.full((3, dim), edge))
    assert (index.get([0, 1, 2]) == 65_504).all()
    for value, shown in ((65_520, "65520"), (-1e6, "-1e+06"), (3e38, "3e+38")):
        rows = np.ones((500, dim), np.float32)
        rows[321, dim - 1] = value
        wanted = (
            "vectors: expected numbers from -65504 to 65504 for codec 'float16', "
            f"got {shown} in row 321, dimension {dim - 1}"
        )
        for call in (index.add, lambda rows: index.upsert(range(500), rows)):
            with unchanged(index), pytest.raises(ValueError) as error:  # noqa: PT011
                call(rows)
            assert str(error.value) == wanted
    with unchanged(index), pytest.raises(ValueError, match=r"finite.*nan in row 0, dimension 0"):
        index.add(np.full(dim, np.nan))
    # A query is no row: it may be larger.
    assert index.search(np.full(dim, 1e6, np.float32), 1).ids.tolist() == [0]


@pytest.mark.parametrize("kind", HALF_KINDS, ids=str)
def test_halves_answer_as_the_float_index_of_their_rounded_rows(kind, rng):
    """To the bit: only what is stored differs."""
    for dim in (*range(1, 71), 200):
        rows, queries = kind.rows(150, dim, rng), kind.rows(11, dim, rng)
        halves, floats = kind.new(dim), Kind("float32", kind.metric).new(dim)
        halves.add(rows)
        floats.add(kind.stored(rows))
        assert_same_hits(halves.search(queries, 20), floats.search(queries, 20))
        assert answer(halves.search(queries[3], 20)) == answer(floats.search(queries[3], 20))


def test_denormal_halves_are_kept_and_measured(rng):
    tiny = rng.integers(-1023, 1024, (300, 30)).astype(np.float32) * np.float32(2.0**-24)
    index = HALF_L2.new(30)
    ids = index.add(tiny)
    assert index.get(ids).tobytes() == tiny.tobytes()
    assert_hits(index.search(tiny[:9], 10), HALF_L2, tiny[:9], tiny)


def test_rows_that_round_to_zero_are_zero_rows():
    index = nb.Index(3, "cosine", codec=nb.Float16())
    index.add([[1e-9, -1e-9, 1e-9], [1, 0, 0]])
    hits = index.search([1.0, 0, 0], 2)
    assert hits.ids.tolist() == [1, 0]
    assert hits.distances.tolist() == [0, 1]


@pytest.mark.parametrize("kind", HALF_KINDS, ids=str)
def test_a_batch_over_many_pieces_answers_as_single_queries(kind, rng):
    """Blocks of halves are widened 64 rows or more at a time."""
    index, rows = kind.filled(3000, 300)
    queries = kind.rows(40, 300, rng)
    allowed = rng.choice(3000, 2000, replace=False)
    for options in ({}, {"filter": allowed}, {"filter": allowed[:20]}):
        batch = index.search(queries, 15, **options)
        for i, query in enumerate(queries):
            one = index.search(query, 15, **options)
            np.testing.assert_array_equal(one.ids, batch.ids[i])
            np.testing.assert_array_equal(one.distances, batch.distances[i])
    assert_hits(index.search(queries, 15), kind, queries, rows, k=15)


# ------------------------------------------------------------------------------------- integers


def near_ties(kind, dim):
    """Rows whose distances to the query differ by one or two, beyond what float32 tells apart."""
    far = np.iinfo(kind.dtype).max
    rows = np.full((40, dim), far, kind.dtype)
    query = np.full(dim, np.iinfo(kind.dtype).min, kind.dtype)
    if kind.metric == "ip":
        query[:] = far
        query[:40] = 1  # a step in these is a step of 1 in the distance
        for i in range(40):
            rows[i, :i] -= 1
    else:
        query[-40:] = far
        for i in range(40):
            rows[i, dim - i :] -= 1
    return query, rows


@pytest.mark.parametrize("nq", [1, 2, 9])
@pytest.mark.parametrize("kind", [kind for kind in INT_KINDS if kind.metric != "cosine"], ids=str)
def test_integers_that_float32_cannot_tell_apart_rank_rightly(kind, nq, rng):
    query, rows = near_ties(kind, 2000)
    order = rng.permutation(40)
    index = kind.new(2000)
    index.add(rows[order], ids=1000 - np.arange(40))
    queries = np.repeat(query[None], nq, axis=0)
    exact = kind.distances(query[None], rows)[0]
    assert len(np.unique(exact)) == 40
    assert len(np.unique(exact.astype(np.float32))) < 40
    by_rank = 1000 - np.argsort(order)[np.argsort(exact)]
    for k in (1, 7, 40):
        hits = index.search(queries, k)
        np.testing.assert_array_equal(hits.ids, np.tile(by_rank[:k], (nq, 1)))
        np.testing.assert_array_equal(
            hits.distances, np.tile(np.sort(exact)[:k].astype(np.float32), (nq, 1))
        )
    # A radius takes in what is shown as within it.
    shown = np.sort(exact).astype(np.float32)
    for radius in np.unique(shown)[:3]:
        found = index.range_search(queries, radius)
        np.testing.assert_array_equal(np.diff(found.indptr), (shown <= radius).sum())


@pytest.mark.parametrize("kind", INT_KINDS, ids=str)
def test_answers_are_exact_at_every_length(kind, rng):
    for dim in range(1, 71):
        rows, queries = kind.rows(130, dim, rng), kind.rows(6, dim, rng)
        rows[5] = 0
        index = kind.new(dim)
        index.add(rows)
        for some in (queries, queries[:1]):
            assert_hits(index.search(some, 12), kind, some, rows, k=12)


@pytest.mark.parametrize("dim", [1, 31, 32, 33, 65_535, 65_536])
@pytest.mark.parametrize("kind", INT_KINDS, ids=str)
def test_extreme_numbers_are_exact(kind, dim):
    least, most = np.iinfo(kind.dtype).min, np.iinfo(kind.dtype).max
    rows = np.array([[least] * dim, [most] * dim, [0] * dim], kind.dtype)
    index = kind.new(dim)
    index.add(rows)
    for queries in (rows, rows[:1], rows[1:2], np.repeat(rows, 3, axis=0)):
        assert_hits(index.search(queries, 3), kind, queries, rows, k=3)


@pytest.mark.parametrize("codec", ["int8", "uint8"])
def test_rows_of_one_direction_are_equally_near_by_cosine(codec, rng):
    base = rng.integers(1, 6, (1, 50)).astype(codec)
    factors = rng.integers(1, 20, 300)
    index = Kind(codec, "cosine").new(50)
    index.add(base * factors[:, None].astype(codec))
    hits = index.search(base, 300)
    assert hits.ids.tolist() == [list(range(300))]
    assert (hits.distances == 0).all()
    other = rng.integers(0, 9, (5, 50)).astype(codec)
    assert (index.search(other, 300).ids == np.arange(300)).all()


@pytest.mark.parametrize("codec", ["int8", "uint8"])
def test_of_rows_of_one_direction_the_smallest_ids_are_found(codec, rng):
    base = rng.integers(1, 6, (1, 50)).astype(codec)
    index = Kind(codec, "cosine").new(50)
    factors = rng.integers(1, 20, (300, 1)).astype(codec)
    index.add(base * factors, ids=np.arange(300)[::-1])  # each the best so far
    queries = rng.integers(0, 9, (200, 50)).astype(codec)
    assert (index.search(queries, 7).ids == np.arange(7)).all()
    for query in queries:
        assert (index.search(query, 7).ids == np.arange(7)).all()


def test_a_zero_row_of_integers_has_cosine_distance_one():
    index = nb.Index(4, codec="int8")
    index.add([[0, 0, 0, 0], [-1, 0, 0, 0], [1, 1, 0, 0]])
    hits = index.search([[2, 0, 0, 0], [0, 0, 0, 0]], 3)
    assert hits.ids.tolist() == [[2, 0, 1], [0, 1, 2]]
    assert hits.distances[0, 1:].tolist() == [1, 2]
    assert hits.distances[1].tolist() == [1, 1, 1]
    assert index.search([2, 0, 0, 0], 3).ids.tolist() == [2, 0, 1]


@pytest.mark.parametrize("kind", INT_L2, ids=str)
def test_rows_keep_their_dtype_and_lists_are_read_as_it(kind, rng):
    rows = kind.rows(20, 9, rng)
    index = kind.new(9)
    ids = index.add(rows.tolist())
    stored = index.get(ids)
    assert stored.dtype == kind.dtype
    np.testing.assert_array_equal(stored, rows)
    assert index.get(3).dtype == kind.dtype
    assert index.search(rows[4].tolist(), 1).ids.tolist() == [4]
    assert index.nbytes < 20 * 9 + 70_000
