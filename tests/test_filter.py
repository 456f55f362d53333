"""filter: only allowed ids are found, in every form that a filter may take."""

from __future__ import annotations

import numpy as np
import pytest
from checks import answer, assert_hits, assert_same_hits
from kinds import BITS, COSINE, JACCARD, KINDS, L2, SIGN
from reference import top_k


@pytest.fixture(params=KINDS, ids=str)
def filled(request, rng):
    kind = request.param
    rows, queries = kind.rows(2000, 64, rng), kind.rows(33, 64, rng)
    ids = rng.permutation(3000)[:2000]
    index = kind.new(64)
    index.add(rows, ids=ids)
    return kind, index, rows, queries, ids


def mask_of(allowed, size):
    mask = np.zeros(size, dtype=bool)
    mask[allowed[allowed < size]] = True
    return mask


@pytest.mark.parametrize("percent", [0.1, 1, 10, 50, 99, 100])
def test_every_form_of_a_filter_gives_the_same_exact_answer(filled, percent, rng):
    kind, index, rows, queries, ids = filled
    allowed = rng.choice(ids, max(1, int(len(ids) * percent / 100)), replace=False)
    forms = {
        "array": allowed,
        "sorted int32": np.sort(allowed).astype(np.int32),
        "list": allowed.tolist(),
        "mask": mask_of(allowed, 3000),
        "prepared": index.filter(allowed),
        "prepared mask": index.filter(mask_of(allowed, 3000)),
        "one for each query": [allowed] * len(queries),
    }
    expected = index.search(queries, 10, filter=allowed)
    assert_hits(expected, kind, queries, rows, ids, k=10, allowed=allowed)
    for name, form in forms.items():
        assert answer(index.search(queries, 10, filter=form)) == answer(expected), name
    for i in (0, 12):
        one = index.search(queries[i], 10, filter=allowed)
        assert answer(one) == (expected.ids[i].tobytes(), expected.distances[i].tobytes())


@pytest.mark.parametrize("nq", [1, 5, 33])
@pytest.mark.parametrize("kind", [BITS, JACCARD, SIGN, L2], ids=str)
def test_a_filter_holds_for_every_row_at_every_size(kind, nq, rng):
    """Rows come in groups that a kernel reads at once: each place in a group is looked at."""
    dim = int(rng.choice([16, 72, 128, 256]))
    rows, queries = kind.whole_rows(500, dim, rng), kind.whole_rows(nq, dim, rng)
    distances = kind.distances(queries, rows)
    index = kind.new(dim)
    for n in range(1, 500):
        index.add(rows[n - 1])
        allowed = np.flatnonzero(rng.random(n) < rng.choice([0.05, 0.5, 0.95]))
        hits = index.search(queries, 12, filter=allowed)
        ids, found = top_k(distances[:, :n], np.arange(n), 12, allowed)
        np.testing.assert_array_equal(hits.ids, ids)
        np.testing.assert_array_equal(hits.distances, found)


@pytest.mark.parametrize("dim", [8, 64, 72, 256, 328, 2048])
@pytest.mark.parametrize("kind", [BITS, SIGN, L2], ids=str)
def test_a_few_allowed_rows_of_many_are_all_looked_at(kind, dim, rng):
    """Few rows are scored one by one, or copied together first: each place among them counts."""
    rows, queries = kind.whole_rows(3000, dim, rng), kind.whole_rows(3, dim, rng)
    allowed = rng.choice(3000, 101, replace=False)
    index = kind.new(dim)
    index.add(rows)
    ids, found = top_k(kind.distances(queries, rows), np.arange(3000), 101, allowed)
    for batch in (queries[:1], queries):
        hits = index.search(batch, 101, filter=allowed)
        np.testing.assert_array_equal(hits.ids, ids[: len(batch)])
        np.testing.assert_array_equal(hits.distances, found[: len(batch)])


def test_a_filter_that_allows_everything_changes_nothing(filled):
    _, index, _, queries, ids = filled
    expected = index.search(queries, 10)
    for everything in (ids, np.ones(3000, dtype=bool), index.filter(ids), [None] * len(queries)):
        assert_same_hits(index.search(queries, 10, filter=everything), expected)


def test_a_filter_that_allows_nothing_finds_nothing(filled):
    _, index, _, queries, ids = filled
    absent = np.setdiff1d(np.arange(3000), ids)
    for nothing in (
        np.empty(0, dtype=np.int64),
        absent,
        np.zeros(3000, dtype=bool),
        np.zeros(0, dtype=bool),
        index.filter(absent),
        [np.empty(0, dtype=np.int64)] * len(queries),
    ):
        hits = index.search(queries, 10, filter=nothing)
        assert (hits.counts == 0).all()
        assert (hits.ids == -1).all()
        assert np.isposinf(hits.distances).all()
        assert len(index.range_search(queries, np.inf, filter=nothing).ids) == 0


def test_unknown_and_repeated_ids_in_a_filter_match_nothing_more(filled, rng):
    kind, index, rows, queries, ids = filled
    known = rng.choice(ids, 30, replace=False)
    strange = np.concatenate([known, known, [2**40, 2**62, 2**63 - 1, 3000, 10**9]])
    hits = index.search(queries, 40, filter=strange)
    assert_hits(hits, kind, queries, rows, ids, k=40, allowed=known)
    assert (hits.counts == 30).all()
    assert_same_hits(index.search(queries, 40, filter=index.filter(strange)), hits)


@pytest.mark.parametrize("size", [1, 63, 64, 65, 1500, 3000, 70_001])
def test_a_mask_may_be_shorter_or_longer_than_the_ids(filled, size, rng):
    kind, index, rows, queries, ids = filled
    mask = rng.random(size) < 0.3
    hits = index.search(queries, 10, filter=mask)
    assert_hits(hits, kind, queries, rows, ids, k=10, allowed=np.flatnonzero(mask))


def test_each_query_may_have_a_filter_of_its_own(filled, rng):
    kind, index, rows, queries, ids = filled
    allowed = [rng.choice(ids, 1 + 50 * i, replace=False) for i in range(len(queries))]
    filters = list(allowed)
    allowed[3] = filters[3] = None
    filters[4] = index.filter(allowed[4])
    filters[5] = mask_of(allowed[5], 3000)
    allowed[6] = filters[6] = np.empty(0, dtype=np.int64)
    hits = index.search(queries, 10, filter=filters)
    assert_hits(hits, kind, queries, rows, ids, k=10, allowed=allowed)
    for i in (0, 3, 4, 5, 6, 32):
        one = index.search(queries[i], 10, filter=filters[i])
        assert answer(one) == (hits.ids[i].tobytes(), hits.distances[i].tobytes())
    radius = float(np.median(hits.distances[hits.ids >= 0]))
    found = index.range_search(queries, radius, filter=filters)
    within = index.search(queries, 2000, radius=radius, filter=filters)
    np.testing.assert_array_equal(np.diff(found.indptr), within.counts)
    np.testing.assert_array_equal(found.ids, within.ids[within.ids >= 0])


def test_a_prepared_filter_keeps_its_ids_through_changes_of_the_index():
    """It names ids, not places: what comes, goes and comes back is allowed by its id."""
    rows = np.arange(40, dtype=np.float32).reshape(40, 1)
    index = L2.new(1)
    index.add(rows[:30])
    chosen = index.filter([3, 5, 29, 33])
    query = np.zeros(1, np.float32)

    def found():
        hits = index.search(query, 5, filter=chosen)
        return hits.ids[: hits.counts].tolist()

    assert found() == [3, 5, 29]
    index.remove([5])
    assert found() == [3, 29]
    index.add(rows[30:36])
    assert found() == [3, 29, 33]
    index.add(np.full((1, 1), 0.5, np.float32), ids=[5])
    assert found() == [5, 3, 29, 33]
    index.update([29], np.full((1, 1), 0.1, np.float32))
    assert found() == [29, 5, 3, 33]
    index.remove(np.arange(3, 20))
    index.compact()
    assert found() == [29, 33]
    index.add(rows[:14], ids=np.arange(100, 114))
    assert found() == [29, 33]


def test_a_prepared_filter_may_be_used_with_any_index(rng):
    """Also with one that takes the place in memory of an index that is gone."""
    rows = L2.rows(50, 4, rng)
    chosen = L2.new(4).filter([1, 2, 3])
    for n in (50, 10, 50, 50, 4, 50):
        ids = rng.permutation(n)
        index = L2.new(4)
        index.add(rows[:n], ids=ids)
        for one in (index, index.copy()):
            hits = one.search(rows[:3], 5, filter=chosen)
            assert_hits(hits, L2, rows[:3], rows[:n], ids, k=5, allowed=[[1, 2, 3]] * 3)
        del index, one


def test_a_prepared_mask_does_not_grow_with_the_index():
    index = L2.new(1)
    index.add(np.zeros((10, 1), np.float32))
    chosen = index.filter(np.ones(10, dtype=bool))
    index.add(np.zeros((10, 1), np.float32))
    hits = index.search(np.zeros(1, np.float32), 20, filter=chosen)
    assert hits.ids[: hits.counts].tolist() == list(range(10))


def test_a_filter_keeps_nothing_of_the_array_it_was_made_from():
    index = L2.new(1)
    index.add(np.zeros((10, 1), np.float32))
    ids = np.array([1, 2, 3])
    chosen = index.filter(ids)
    ids[:] = 9
    hits = index.search(np.zeros(1, np.float32), 10, filter=chosen)
    assert hits.ids[: hits.counts].tolist() == [1, 2, 3]


def test_a_filter_over_removed_rows_and_reused_places(rng):
    rows = COSINE.rows(1000, 16, rng)
    index = COSINE.new(16)
    index.add(rows)
    index.remove(np.arange(0, 1000, 3))
    fresh = COSINE.rows(300, 16, rng)
    index.add(fresh, ids=np.arange(5000, 5300))
    kept = np.setdiff1d(np.arange(1000), np.arange(0, 1000, 3))
    all_ids = np.concatenate([kept, np.arange(5000, 5300)])
    all_rows = np.concatenate([rows[kept], fresh])
    allowed = rng.choice(np.arange(6000), 900, replace=False)
    queries = COSINE.rows(20, 16, rng)
    hits = index.search(queries, 10, filter=allowed)
    assert_hits(hits, COSINE, queries, all_rows, all_ids, allowed=allowed)


def test_a_list_that_changes_while_it_is_read_is_taken_as_it_was(rng):
    index, rows = L2.filled(50, 8)

    class Clearing:
        def __array__(self, dtype=None, copy=None):
            filters.clear()
            return np.array([1])

    filters = [[2], Clearing(), *([[3]] * 198)]
    queries = np.repeat(rows[:1], 200, axis=0)
    found = index.search(queries, 1, filter=filters, threads=1)
    assert found.ids[:, 0].tolist() == [2, 1, *([3] * 198)]


def test_sets_and_ranges_of_ids_are_filters_too(rng):
    index, rows = L2.filled(60, 8)
    queries = rows[:3]
    for form, allowed in (
        ({4, 9, 77}, [4, 9, 77]),
        (frozenset({5}), [5]),
        (set(), []),
        (range(3, 20), list(range(3, 20))),
    ):
        expected = answer(index.search(queries, 4, filter=allowed))
        assert answer(index.search(queries, 4, filter=form)) == expected
        assert answer(index.search(queries, 4, filter=index.filter(form))) == expected
        assert answer(index.search(queries, 4, filter=[form] * 3)) == expected
    with pytest.raises(TypeError, match=r"filter: expected ids .*got \['a'\]"):
        index.search(queries, 4, filter={"a"})
