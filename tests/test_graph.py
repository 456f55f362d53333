"""The graph: what a walk finds, against numpy and against a scan of the same rows."""

from __future__ import annotations

import pickle
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
import reference
from checks import answer
from container import check, links
from graphs import (
    FLOATS,
    GRAPH,
    GRAPHS,
    REFINED,
    SOME_GRAPHS,
    N,
    Pair,
    assert_answers,
    everything,
    nearest,
)

import nearbit as nb

pair_of = cache(Pair)


@pytest.fixture(params=GRAPHS, ids=str)
def pair(request):
    return pair_of(request.param)


@pytest.fixture(params=SOME_GRAPHS, ids=str)
def some(request):
    return pair_of(request.param)


# ------------------------------------------------------------------------------------ searching


def test_a_walk_finds_nearly_all_of_the_nearest(pair):
    hits = pair.graph.search(pair.queries, 10, ef=100, stats=True)
    assert_answers(hits, pair.distances)
    truth = pair.flat.search(pair.queries, 10)
    assert nb.metrics.recall(hits, truth) >= 0.93
    assert (hits.stats["hops"] > 0).all()
    assert (hits.stats["distances"] < 0.6 * N).all()
    plain = pair.kind.plain
    if plain is None:
        return
    exact = plain.distances(pair.queries, pair.rows)
    assert nb.metrics.recall(hits, nearest(exact, 10)) >= 0.93
    at = np.argsort(pair.ids)[np.searchsorted(np.sort(pair.ids), hits.ids)]
    off = np.abs(hits.distances - np.take_along_axis(exact, at, axis=1))
    slack = np.take_along_axis(plain.tolerances(pair.queries, pair.rows), at, axis=1)
    assert (off <= slack).all()


def test_more_effort_finds_more(pair):
    truth = pair.flat.search(pair.queries, 10)
    reached = [
        nb.metrics.recall(pair.graph.search(pair.queries, 10, ef=ef), truth)
        for ef in (1, 30, 100, 300)
    ]
    assert all(b >= a - 0.01 for a, b in pairwise(reached))
    assert reached[-1] >= 0.99


def test_an_exact_search_scores_all(pair):
    for how in ({}, {"filter": np.arange(0, 2 * N, 3)}, {"radius": pair.distances.mean()}):
        exact = pair.graph.search(pair.queries, 20, exact=True, stats=True, **how)
        assert answer(exact) == answer(pair.flat.search(pair.queries, 20, **how))
        assert (exact.stats["hops"] == 0).all()
    radius = np.median(pair.distances[np.isfinite(pair.distances)])
    a = pair.graph.range_search(pair.queries, radius, exact=True)
    b = pair.flat.range_search(pair.queries, radius)
    np.testing.assert_array_equal(a.indptr, b.indptr)
    assert answer(a) == answer(b)


def test_answers_do_not_depend_on_threads_or_batches(pair):
    queries = pair.queries
    expected = pair.graph.search(queries, 10, threads=1)
    for threads in (1, 2, 3):
        assert answer(pair.graph.search(queries, 10, threads=threads)) == answer(expected)
    one_by_one = [pair.graph.search(query, 10) for query in queries]
    assert b"".join(one.ids.tobytes() for one in one_by_one) == expected.ids.tobytes()
    assert b"".join(one.distances.tobytes() for one in one_by_one) == expected.distances.tobytes()


@pytest.mark.parametrize("share", [0.5, 0.1, 0.01, 0.001])
def test_a_filter_leaves_as_many_as_there_are(pair, share):
    rng = np.random.default_rng(3)
    allowed = np.zeros(2 * N, bool)
    allowed[rng.permutation(pair.ids)[: round(share * N)]] = True
    for form in (allowed, np.flatnonzero(allowed), pair.graph.filter(np.flatnonzero(allowed))):
        hits = pair.graph.search(pair.queries, 10, filter=form)
        assert_answers(hits, np.where(allowed, pair.distances, np.nan))
        assert (hits.counts == min(10, allowed.sum())).all()
        if pair.kind.refine is None:
            truth = nearest(pair.distances, 10, allowed)
            assert nb.metrics.recall(hits, truth) >= 0.85


@pytest.mark.parametrize("side", ["near", "far"])
def test_a_filter_may_go_with_the_query_or_against_it(some, side):
    """The third of the items that is nearest to the query, or farthest from it."""
    for at in range(0, 60, 6):
        order = np.argsort(some.distances[at], kind="stable")[:N]
        ids = order[: N // 3] if side == "near" else order[-N // 3 :]
        hits = some.graph.search(some.queries[at : at + 1], 10, filter=ids)
        assert hits.counts.tolist() == [10]
        assert np.isin(hits.ids, ids).all()
        allowed = np.isin(np.arange(2 * N), ids)
        truth = some.flat.search(some.queries[at : at + 1], 10, filter=allowed)
        assert nb.metrics.recall(hits, truth) >= 0.8


@cache
def of_long_rows():
    """(index, rows, queries): to scan half of the rows takes longer than to walk past the rest."""
    rng = np.random.default_rng(8)
    rows = rng.standard_normal((3060, 6)) @ rng.standard_normal((6, 512))
    index = nb.Index(512, "l2", GRAPH)
    index.add(rows[:3000].astype(np.float32))
    return index, rows[:3000].astype(np.float32), rows[3000:].astype(np.float32)


@pytest.mark.parametrize("side", ["any", "near", "far"])
@pytest.mark.parametrize("share", [0.4, 0.5, 0.9])
def test_a_walk_passes_by_what_a_filter_leaves_out(side, share):
    """Half of the rows or so: at random, those nearest to the query, or farthest from it."""
    index, rows, queries = of_long_rows()
    rng = np.random.default_rng(9)
    exact = reference.distances("l2", queries, rows)
    tried, walked, found, truth = [], [], [], []
    for query, distances in zip(queries, exact, strict=True):
        order = {"any": rng.permutation(3000), "near": np.argsort(distances)}.get(side)
        order = np.argsort(-distances) if order is None else order
        allowed = order[: round(share * 3000)]
        hits = index.search(query[None], 10, filter=allowed, ef=10, stats=True)
        scan = index.search(query[None], 10, filter=allowed, exact=True)
        assert hits.counts.tolist() == [10]
        assert np.isin(hits.ids, allowed).all()
        assert (hits.distances >= scan.distances).all()
        tried.append(hits.stats["hops"][0] > 0)
        walked.append(hits.stats["distances"][0] < len(allowed))
        found.append(hits.distances[0])
        truth.append(scan.distances[0])
    assert np.mean(tried) > 0.9, "scans, which are not what is to be tested"
    if side != "far":  # there some give way
        assert np.mean(walked) > 0.9
    assert nb.metrics.recall(np.array(found), np.array(truth)) >= 0.85


@cache
def of_two_sides():
    """(index, allowed, queries): a filter allows one side, where half of the queries are."""
    _, rows, queries = of_long_rows()
    index = nb.Index(512, "l2", GRAPH, nb.SQ(8))
    index.add(rows)
    axis = np.linalg.svd(rows, full_matrices=False)[2][0]
    order = np.argsort(queries @ axis)
    return index, np.argsort(rows @ axis)[1500:], queries[np.r_[order[:15], order[-15:]]]


@pytest.mark.parametrize("left", [0, 50])
def test_where_nearly_all_rows_are_removed_the_others_are_scanned_for(left):
    rng = np.random.default_rng(6)
    rows = rng.standard_normal((20_000, 24), dtype=np.float32)
    index = nb.Index(24, "l2", GRAPH)
    index.add(rows)
    index.remove(np.arange(left, 20_000))
    hits = index.search(rows[:5], 10, stats=True)
    assert (hits.stats["hops"] == 0).all()
    assert (hits.counts == min(10, left)).all()
    if left:
        truth = nb.knn(rows[:5], rows[:left], 10, "l2")
        np.testing.assert_array_equal(hits.ids, truth.ids)


def test_walks_that_a_filter_leads_nowhere_give_way_to_a_scan_for_them_alone():
    index, allowed, queries = of_two_sides()
    how = {"filter": allowed, "ef": 10}
    hits = index.search(queries, 10, **how, stats=True, threads=1)
    assert (hits.stats["hops"] > 0).all()
    left = hits.stats["distances"] > 1500
    assert 3 <= left.sum() <= 27
    scan = index.search(queries, 10, filter=allowed, exact=True)
    np.testing.assert_array_equal(hits.ids[left], scan.ids[left])
    np.testing.assert_array_equal(hits.distances[left], scan.distances[left])
    assert nb.metrics.recall(hits, scan) >= 0.85
    assert (hits.stats["distances"][left] < 1500 + 700).all()
    # Whatever else is asked for in the call, and by how many threads.
    for threads in (2, 3):
        assert answer(index.search(queries, 10, **how, threads=threads)) == answer(hits)
    some = np.r_[np.flatnonzero(left)[:1], np.flatnonzero(~left)]  # one of which is left
    again = index.search(queries[some], 10, **how)
    np.testing.assert_array_equal(again.ids, hits.ids[some])


@pytest.mark.parametrize("every", [1, 3, 9])
def test_answers_under_a_filter_do_not_depend_on_batches(every):
    index, allowed, queries = of_two_sides()
    how = {"filter": allowed[::every], "ef": 10}
    hits = index.search(queries, 10, **how)
    for size in (1, 7):
        for at in range(0, 30, size):
            few = index.search(queries[at : at + size], 10, **how)
            assert answer(few) == (
                hits.ids[at : at + size].tobytes(),
                hits.distances[at : at + size].tobytes(),
            )


def test_walks_within_a_radius_give_way_too():
    index, allowed, queries = of_two_sides()
    radii = index.search(queries, 40, filter=allowed, exact=True).distances[:, -1]
    exact = index.range_search(queries, radii, filter=allowed, exact=True)
    found = index.range_search(queries, radii, filter=allowed, ef=10)
    for i in range(30):
        own, right = (slice(*h.indptr[i : i + 2]) for h in (found, exact))
        assert set(found.ids[own]) <= set(exact.ids[right])
        if i in (0, 1, 28, 29):  # to these all rows that are allowed are far, or near
            np.testing.assert_array_equal(found.ids[own], exact.ids[right])
            np.testing.assert_array_equal(found.distances[own], exact.distances[right])
    assert len(found.ids) > 0.85 * len(exact.ids)


def test_progress_of_walks_that_give_way_counts_up_to_the_total():
    index, allowed, queries = of_two_sides()
    seen = []
    index.search(
        queries, 10, filter=allowed, ef=10, threads=1, progress=lambda *said: seen.append(said)
    )
    done, totals = zip(*seen, strict=True)
    assert set(totals) == {30 * 3000}
    assert list(done) == sorted(done)
    assert done[-1] == 30 * 3000


def test_a_filter_that_leaves_out_what_was_seen_before_is_walked_by():
    """All but the 300 nearest: of little else is there more than a scan would cost."""
    rng = np.random.default_rng(5)
    mix = rng.standard_normal((8, 512), dtype=np.float32)
    rows = rng.standard_normal((12_060, 8), dtype=np.float32) @ mix
    rows, queries = rows[:12_000], rows[12_000:]
    index = nb.Index(512, "l2", GRAPH, nb.SQ(8))
    index.add(rows)
    exact = reference.distances("l2", queries, rows)
    for query, distances in zip(queries[:20], exact, strict=False):
        unseen = np.argsort(distances)[300:]
        hits = index.search(query, 10, filter=unseen, ef=50, stats=True)
        assert hits.stats["distances"] < 6000
        assert distances[hits.ids].max() <= 1.1 * distances[unseen[:10]].max()


def test_a_walk_passes_by_removed_rows():
    index, rows, queries = of_long_rows()
    index = index.copy()
    index.remove(np.arange(0, 3000, 4))
    hits = index.search(queries, 10, ef=20, stats=True)
    assert (hits.stats["hops"] > 0).all()
    assert (hits.ids % 4 > 0).all()
    truth = nb.knn(queries, rows[np.arange(3000) % 4 > 0], 10, "l2")
    assert nb.metrics.recall(hits, truth) >= 0.9
    filtered = index.search(queries, 10, filter=np.arange(0, 3000, 2), ef=10, stats=True)
    assert (filtered.counts == 10).all()
    assert (filtered.ids % 4 == 2).all()


def test_filters_of_each_query_and_of_nothing(some):
    empty = some.graph.search(some.queries, 10, filter=[])
    assert (empty.counts == 0).all()
    assert (some.graph.search(some.queries, 10, filter=[5 * N, 6 * N]).counts == 0).all()
    chosen = [None, [int(some.ids[3])], np.sort(some.ids)[: N // 2]]
    hits = some.graph.search(some.queries[:3], 10, filter=chosen)
    assert hits.counts.tolist() == [10, 1, 10]
    for i, allowed in enumerate(chosen):
        alone = some.graph.search(some.queries[i : i + 1], 10, filter=allowed)
        assert answer(alone) == (hits.ids[i].tobytes(), hits.distances[i].tobytes())


def test_k_may_be_anything(some):
    for k in (1, 10, 100, 999, 1000, 1001, N, N + 5):
        # By a finer copy only as many are ranked as a walk keeps.
        ef = 100 if some.kind.refine is None else min(5 * k + 100, 65_536)
        hits = some.graph.search(some.queries, k, ef=ef, **everything(some.graph))
        assert_answers(hits, some.distances)
        assert (hits.counts == min(k, N)).all()
        reached = nb.metrics.recall(hits, nearest(some.distances, k))
        least = 0.9 if some.kind.refine is None else 0.6
        assert reached == 1 if k > 1001 else reached >= least


def test_a_search_within_a_radius(pair):
    radius = nearest(pair.distances, 20)[:, -1]
    hits = pair.graph.search(pair.queries, 10, radius=radius[0], ef=100)
    assert_answers(hits, pair.distances)
    assert (hits.distances[hits.ids >= 0] <= radius[0]).all()
    truth = pair.flat.search(pair.queries, 10, radius=radius[0])
    assert nb.metrics.recall(hits, truth) >= 0.9
    each = pair.graph.search(pair.queries, 10, radius=radius, ef=100)
    assert (each.counts >= 9).mean() > 0.9
    assert (each.distances <= np.where(each.ids >= 0, radius[:, None], np.inf)).all()


def test_a_range_search_finds_nearly_all_within(pair):
    radius = nearest(pair.distances, 50)[:, -1]
    found = pair.graph.range_search(pair.queries, radius, ef=100)
    truth = pair.flat.range_search(pair.queries, radius)
    assert len(found.ids) >= 0.95 * len(truth.ids)
    for i in range(len(pair.queries)):
        a, b = slice(*found.indptr[i : i + 2]), slice(*truth.indptr[i : i + 2])
        assert set(found.ids[a].tolist()) <= set(truth.ids[b].tolist())
        np.testing.assert_array_equal(found.distances[a], pair.distances[i, found.ids[a]])
        order = np.lexsort((found.ids[a], found.distances[a]))
        np.testing.assert_array_equal(order, np.arange(len(order)))
    some = pair.graph.range_search(pair.queries, radius, ef=100, limit=5)
    assert (np.diff(some.indptr) <= 5).all()
    assert (np.diff(some.indptr) == 5).mean() > 0.9
    none = pair.graph.range_search(pair.queries, -np.inf)
    assert len(none.ids) == 0
    every = pair.graph.range_search(pair.queries[:5], np.inf)
    assert (np.diff(every.indptr) == N).all()


def test_ef_is_kept_and_used(some, tmp_path):
    index = some.graph.copy()
    assert index.ef == 100
    index.ef = 20 if index.refine is None else 110
    low = index.search(some.queries, 10)
    assert answer(low) == answer(some.graph.search(some.queries, 10, ef=index.ef))
    assert answer(low) != answer(some.graph.search(some.queries, 10, ef=300))
    index.save(tmp_path / "index")
    for back in (
        index.copy(),
        nb.Index.from_bytes(index.to_bytes()),
        nb.load(tmp_path / "index"),
        nb.load(tmp_path / "index", mmap=True),
    ):
        assert back.ef == index.ef
        assert back.layout == GRAPH
        assert answer(back.search(some.queries, 10)) == answer(low)
        back.ef = 300
    assert index.ef < 300


def test_with_refine_searches_keep_what_is_to_be_re_scored_unless_ef_says_otherwise():
    pair = pair_of(REFINED)
    for factor in (None, 10, 3.5, 30):
        ef = max(100, round(10 * (factor or 10)))
        hits = pair.graph.search(pair.queries, 10, refine_factor=factor)
        assert answer(hits) == answer(
            pair.graph.search(pair.queries, 10, refine_factor=factor, ef=ef)
        )
    few, many = (
        pair.graph.search(pair.queries, 10, ef=ef, refine_factor=30, stats=True) for ef in (50, 300)
    )
    assert (few.stats["refined"] <= 50).all()
    assert (many.stats["refined"] > 50).any()


def test_ef_below_k_counts_as_k(some):
    for k in (1, 10, 100):
        low, equal = (some.graph.search(some.queries, k, ef=ef) for ef in (1, k))
        assert answer(low) == answer(equal)


def test_the_order_of_rows_in_a_call_has_no_say_in_recall():
    """Sorted along an axis, by cluster, far ones first: as good as at random."""
    rng = np.random.default_rng(5)
    rows, queries = FLOATS.rows(N, rng), FLOATS.rows(100, rng)
    norms = np.linalg.norm(rows, axis=1)
    truth = nb.knn(queries, rows, 10, "l2")
    orders = [rng.permutation(N), np.argsort(rows[:, 0]), np.argsort(norms), np.argsort(-norms)]
    reached = []
    for order in orders:
        index = FLOATS.new()
        index.add(rows[order])
        reached.append(nb.metrics.recall(index.search(queries, 10), truth))
    assert max(reached) - min(reached) <= 0.03, reached


# ------------------------------------------------------------------------------------ links


def reached_from(entry, rows):
    """Which rows a walk comes to."""
    seen = np.zeros(len(rows), bool)
    seen[entry] = True
    new = np.array([entry])
    while len(new):
        to = np.unique(rows[new])
        to = to[to < len(rows)]
        new = to[~seen[to]]
        seen[new] = True
    return seen


def assert_linked(index):
    """Read by docs/formats.md alone: links are distinct, and lead from the first entry to all."""
    assert_all_reached(index)
    rows = links(index.to_bytes())[1]
    none = rows == 0xFFFFFFFF
    assert (none[:, 1:] >= none[:, :-1]).all(), "links stand at the beginning of a row"
    assert not (rows == np.arange(len(rows))[:, None]).any(), "a row links to itself"
    ordered = np.sort(rows, axis=1)
    twice = (ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] < len(rows))
    assert not twice.any(), "a link twice"


def assert_all_reached(index):
    graph, rows = links(index.to_bytes())
    assert (graph.degree, graph.ef_construction, graph.alpha) == (
        index.layout.degree,
        index.layout.ef_construction,
        index.layout.alpha,
    )
    n = len(index)
    assert rows.shape == (n, graph.degree)
    assert ((rows == 0xFFFFFFFF) | (rows < n)).all()
    assert 0 < len(graph.entries) <= 32
    assert reached_from(graph.entries[0], rows).all()


def assert_walks_reach_all(index, queries):
    """A walk that keeps all comes to every row as it is in memory, among those removed.

    It then finds the nearest of all, and each row is among the thousand nearest of some query.
    """
    k = min(1000, len(index))
    walked = index.search(queries, k, ef=65_536, stats=True)
    assert answer(walked) == answer(index.search(queries, k, exact=True))
    assert (walked.stats["hops"] >= len(index)).all()
    assert (walked.stats["distances"] <= index.stats()["slots"]).all(), "there was a scan"


def test_links_lead_to_every_row(pair):
    check(pair.graph.to_bytes())
    assert_linked(pair.graph)
    if pair.kind.refine is None:
        assert_walks_reach_all(pair.graph, pair.queries[:20])


def constant(n, rng):
    return np.ones((n, 8), np.float32)


def mostly_equal(n, rng):
    rows = rng.standard_normal((n, 8), dtype=np.float32)
    rows[rng.permutation(n)[: n * 9 // 10]] = 1
    return rows


def some_zero(n, rng):
    rows = rng.standard_normal((n, 8), dtype=np.float32)
    rows[rng.permutation(n)[: n // 3]] = 0
    return rows


def all_zero(n, rng):
    return np.zeros((n, 8), np.float32)


def on_a_line(n, rng):
    return np.arange(n, dtype=np.float32)[:, None] * np.ones(8, np.float32)


def far_clusters(n, rng):
    rows = 1e-3 * rng.standard_normal((n, 8), dtype=np.float32)
    return rows + 1e3 * np.repeat(np.eye(8, dtype=np.float32), -(-n // 8), axis=0)[:n]


def pairs(n, rng):
    return np.repeat(rng.standard_normal((-(-n // 2), 8), dtype=np.float32), 2, axis=0)[:n]


def spiral(n, rng):
    """Each row farther out than the last: none is near what came long before."""
    turn = np.arange(n, dtype=np.float32)[:, None] / 20 + np.arange(8, dtype=np.float32)
    return np.cos(turn) * np.arange(1, n + 1, dtype=np.float32)[:, None]


def of_all_lengths(n, rng):
    return rng.standard_normal((n, 8), dtype=np.float32) * np.exp(
        rng.uniform(-12, 12, (n, 1))
    ).astype(np.float32)


HARD = (
    constant,
    mostly_equal,
    some_zero,
    all_zero,
    on_a_line,
    far_clusters,
    pairs,
    spiral,
    of_all_lengths,
)


@pytest.mark.parametrize("metric", ["l2", "cosine", "ip"])
@pytest.mark.parametrize("make", HARD, ids=lambda make: make.__name__)
def test_every_row_of_hard_data_is_found(make, metric, rng):
    rows = make(3100, rng)
    index = nb.Index(8, metric, nb.Graph(degree=8, ef_construction=32))
    index.add(rows[:2800])
    assert_linked(index)
    for at in range(2800, 2900, 7):
        index.add(rows[at : min(at + 7, 2900)])
    index.add(rows[2900:])
    assert_linked(index)
    index.remove(np.arange(0, 3100, 3))
    assert_linked(index)
    queries = rng.standard_normal((12, 8))
    assert_walks_reach_all(index, queries)
    index.add(rows[::3])
    assert_linked(index)
    assert_walks_reach_all(index, queries)
    exact = index.search(rows[::5], 1, exact=True)
    if metric != "ip" and make is not of_all_lengths:
        assert nb.metrics.recall(index.search(rows[::5], 1, ef=400), exact) >= 0.95
    assert (index.search(rows[::50], 40).counts == 40).all()


def test_walks_for_products_begin_at_long_rows():
    rng = np.random.default_rng(2)
    lengths = np.exp(1.5 * rng.standard_normal((6000, 1)))
    rows = (lengths * rng.standard_normal((6000, 16))).astype(np.float32)
    queries = rng.standard_normal((300, 16), np.float32)
    index = nb.Index(16, "ip", "graph")
    index.add(rows, threads=1)
    for threads in (2, 3):
        other = nb.Index(16, "ip", "graph")
        other.add(rows, threads=threads)
        assert other.to_bytes() == index.to_bytes()
    exact = index.search(queries, exact=True)
    # .88 where walks begin anywhere, and .95 where they begin at the longest.
    assert nb.metrics.recall(index.search(queries, ef=10), exact) >= 0.92


def test_places_without_long_rows_are_found():
    rng = np.random.default_rng(2)
    centres = rng.standard_normal((50, 32))
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    place = np.repeat(np.arange(50), 400)
    rows = centres[place] + 0.035 * rng.standard_normal((20_000, 32))
    rows *= (0.98**place)[:, None] / np.linalg.norm(rows, axis=1, keepdims=True)
    queries = centres.repeat(10, axis=0) + 0.035 * rng.standard_normal((500, 32))
    index = nb.Index(32, "ip", "graph")
    index.add(rows.astype(np.float32))
    exact = index.search(queries.astype(np.float32), exact=True)
    # .93 where the longest rows alone are linked from far.
    found = index.search(queries.astype(np.float32), ef=128)
    assert nb.metrics.recall(found, exact) >= 0.98


@pytest.mark.parametrize("metric", ["hamming", "jaccard"])
@pytest.mark.parametrize("values", [[0], [0, 1], [0, 255]])
def test_every_row_of_hard_bits_is_reached(metric, values, rng):
    rows = rng.choice(np.array(values, np.uint8), (3200, 4))
    index = nb.Index(32, metric, nb.Graph(degree=8, ef_construction=32), "bits")
    index.add(rows[:2900])
    for row in rows[2900:]:
        index.add(row)
    assert_linked(index)
    index.remove(np.arange(0, 3200, 3))
    assert_linked(index)
    queries = rng.integers(0, 256, (12, 4), np.uint8)
    assert_walks_reach_all(index, queries)
    index.upsert(np.arange(0, 3000, 5), rng.choice(np.array(values, np.uint8), (600, 4)))
    assert_linked(index)
    assert_walks_reach_all(index, queries)
    exact = index.search(rows[::5], 1, exact=True)
    assert nb.metrics.recall(index.search(rows[::5], 1, ef=200), exact) >= 0.98


def test_links_do_not_depend_on_threads(some):
    rng = np.random.default_rng(1)
    rows = some.kind.rows(3400, rng)
    made = []
    for threads in (1, 2, 3, 1):
        index = some.kind.new()
        index.add(rows[:2300], threads=threads)
        for at in range(2300, 2800, 50):
            index.add(rows[at : at + 50], threads=threads)
        index.remove(np.arange(0, 2800, 5))
        index.update(np.arange(1, 2001, 5), rows[2800:3200], threads=threads)
        index.upsert(np.arange(2700, 2900), rows[3200:], threads=threads)
        made.append(index.to_bytes())
    assert len(set(made)) == 1
    other = some.kind.new(seed=1)
    other.add(rows[:2300])
    assert links(other.to_bytes())[0].seed == 1


def test_links_come_with_the_2048th_row(some):
    rng = np.random.default_rng(2)
    rows = some.kind.rows(2100, rng)
    index = some.kind.new()
    index.add(rows[:2047])
    assert index.stats()["link_bytes"] == 0
    assert links(index.to_bytes())[1] is None
    assert (index.search(rows[:5], 3, stats=True).stats["hops"] == 0).all()
    before = index.nbytes
    index.add(rows[2047])
    assert 4 * 16 * 2048 <= index.stats()["link_bytes"] <= 2 * 4 * 16 * 2048
    assert index.nbytes > before + index.stats()["link_bytes"] // 2
    assert (index.search(rows[:5], 3, stats=True).stats["hops"] > 0).all()
    assert_linked(index)
    for row in rows[2048:]:
        index.add(row)
    assert_linked(index)


def test_a_graph_grown_row_by_row_is_as_good(some):
    rng = np.random.default_rng(2)
    rows, queries = some.kind.rows(3000, rng), some.kind.rows(100, rng)
    whole, grown = some.kind.new(), some.kind.new()
    whole.add(rows)
    grown.add(rows[:2048])
    for row in rows[2048:]:
        grown.add(row)
    truth = whole.search(queries, 10, exact=True)
    a, b = (nb.metrics.recall(index.search(queries, 10), truth) for index in (whole, grown))
    assert b >= a - 0.03
    assert_linked(grown)


# ------------------------------------------------------------------------------------ files


def test_a_graph_comes_back(pair, tmp_path):
    index = pair.graph
    index.save(tmp_path / "index")
    for back in (
        nb.load(tmp_path / "index"),
        nb.load(tmp_path / "index", mmap=True),
        nb.load(tmp_path / "index", mmap=True, verify=True),
        nb.load(tmp_path / "index", mmap=True).copy(),
        nb.Index.from_bytes(index.to_bytes()),
        pickle.loads(pickle.dumps(index)),
        index.copy(),
    ):
        assert back.layout == GRAPH
        assert back.to_bytes() == index.to_bytes()
        for how in ({}, {"ef": 200}, {"filter": pair.ids[::2]}, {"exact": True}):
            hits = back.search(pair.queries, 10, stats=True, **how)
            same = index.search(pair.queries, 10, stats=True, **how)
            assert answer(hits) == answer(same)
            np.testing.assert_array_equal(hits.stats["hops"], same.stats["hops"])
        assert (back.search(pair.queries, 10, stats=True).stats["hops"] > 0).all()


def test_what_is_saved_with_removed_rows_answers_alike_and_saves_alike(some, tmp_path):
    index = some.graph.copy()
    gone = some.ids[::5]
    index.remove(gone)
    data = index.to_bytes()
    back = nb.Index.from_bytes(data)
    assert back.to_bytes() == data == index.to_bytes()
    assert_linked(back)
    index.compact()
    assert index.stats()["slots"] == len(index) == len(back)
    assert index.to_bytes() == data
    assert answer(index.search(some.queries, 10)) == answer(back.search(some.queries, 10))
    assert not np.isin(back.search(some.queries, 10).ids, gone).any()
    truth = index.search(some.queries, 10, exact=True)
    assert nb.metrics.recall(back.search(some.queries, 10, ef=100), truth) >= 0.9
    for one in (index, back):
        one.add(some.rows[:200])
        one.remove(some.ids[1::5])
    assert index.to_bytes() == back.to_bytes()
    index.save(tmp_path / "index")
    mapped = nb.load(tmp_path / "index", mmap=True)
    assert answer(mapped.search(some.queries, 9)) == answer(
        nb.load(tmp_path / "index").search(some.queries, 9)
    )
    with pytest.raises(ValueError, match="index: expected one that can be changed"):
        mapped.add(some.rows[:1])
    with pytest.raises(ValueError, match="index: expected one that can be changed"):
        mapped.compact()


# ------------------------------------------------------------------------------------ neighbors


def test_neighbors_are_the_nearest_others(pair):
    ids = pair.ids[:40]
    if pair.kind.codec == "sign" and pair.kind.refine is None:
        with pytest.raises(ValueError, match=r"^codec: expected one whose rows"):
            pair.graph.neighbors(ids)
        return
    rows = pair.graph.get(ids)
    hits = pair.graph.neighbors(ids, 8, ef=100)
    asked = pair.graph.search(rows, 9, ef=100)
    assert hits.ids.shape == hits.distances.shape == (40, 8)
    assert hits.metric == asked.metric
    for i, own in enumerate(ids.tolist()):
        others = [at for at in range(9) if asked.ids[i, at] != own][:8]
        np.testing.assert_array_equal(hits.ids[i], asked.ids[i, others])
        np.testing.assert_array_equal(hits.distances[i], asked.distances[i, others])
    one = pair.graph.neighbors(int(ids[3]), 8, ef=100)
    assert one.ids.shape == (8,)
    assert answer(one) == (hits.ids[3].tobytes(), hits.distances[3].tobytes())
    exact = pair.graph.neighbors(ids, 8, exact=True)
    assert answer(exact) == answer(pair.flat.neighbors(ids, 8))
    assert not (exact.ids == ids[:, None]).any()
    assert pair.graph.neighbors([], 8).ids.shape == (0, 8)
    with pytest.raises(KeyError, match=str(9 * N)):
        pair.graph.neighbors([int(ids[0]), 9 * N])


def test_equal_items_are_neighbours_and_an_item_beyond_the_kth_makes_room():
    index = nb.Index(2, "l2", "graph")
    rows = np.repeat(np.eye(2, dtype=np.float32), 5, axis=0)
    index.add(rows, ids=[9, 8, 7, 6, 5, 4, 3, 2, 1, 0])
    hits = index.neighbors(index.ids, 3)
    assert (hits.distances == 0).all()
    assert not (hits.ids == index.ids[:, None]).any()
    assert hits.ids[9].tolist() == [5, 6, 7]
    assert hits.ids[0].tolist() == [1, 2, 3]
    few = index.neighbors([0, 9], 12)
    assert few.counts.tolist() == [9, 9]
    assert few.ids[0].tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, -1, -1, -1]
    assert index.neighbors(9, 3, filter=[9, 4]).ids.tolist() == [4, -1, -1]
    assert index.neighbors(9, 3, filter=[4]).ids.tolist() == [4, -1, -1]
    assert index.neighbors([9, 0], 9, radius=1).counts.tolist() == [4, 4]


# ------------------------------------------------------------------------------------ tuning


def test_tune_finds_the_least_ef_for_a_recall(pair):
    index = pair.graph.copy()
    finest = {} if index.refine is None else {"refine_factor": N / 10}
    truth = index.search(pair.queries, 10, exact=True, **finest)
    best = nb.metrics.recall(index.search(pair.queries, 10, ef=N), truth)
    least = 10 if index.refine is None else 100
    for wanted in (0.5, min(0.9, best), best):
        ef = index.tune(pair.queries, wanted)
        assert ef == index.ef >= least
        assert nb.metrics.recall(index.search(pair.queries, 10), truth) >= wanted
        if ef > least:
            fewer = index.search(pair.queries, 10, ef=ef - 1)
            assert nb.metrics.recall(fewer, truth) < wanted
    if best < 1:
        before = index.ef
        with pytest.raises(ValueError, match=r"^recall: expected at most 0\.\d+, which ef=\d+ "):
            index.tune(pair.queries, 1)
        assert index.ef == before
        assert index.tune(pair.queries, 0.99, refine_factor=100) >= 1000


def test_tune_of_a_mapped_index_is_its_own(some, tmp_path):
    some.graph.save(tmp_path / "index")
    mapped = nb.load(tmp_path / "index", mmap=True)
    assert mapped.tune(some.queries, 0.5) == some.graph.copy().tune(some.queries, 0.5)
    assert nb.load(tmp_path / "index").ef == some.graph.ef == 100


def test_tune_minds_k_filters_and_threads(some):
    index = some.graph.copy()
    allowed = np.sort(some.ids)[::2]
    for how in ({}, {"filter": allowed}, {"threads": 1}):
        assert index.tune(some.queries, 0.6, 25, **how) >= 25
    assert index.tune(some.queries, 0.6, 100) >= 100
    assert index.tune(some.queries[0], 0.1, 1) >= 1
    seen = []
    index.tune(some.queries, 0.6, progress=lambda done, total: seen.append(done / total))
    assert seen.count(1.0) >= 2
