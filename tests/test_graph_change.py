"""A graph that changes: what it holds and finds after each call, and while calls go on."""

from __future__ import annotations

import pickle
import threading
import time
from functools import cache

import child
import numpy as np
import pytest
from checks import answer
from container import forged, links, sections
from graphs import DIM, FLOATS, GRAPH, REFINED, SOME_GRAPHS, GraphKind, everything
from test_files import damage
from test_graph import HARD, assert_all_reached, assert_linked, assert_walks_reach_all

import nearbit as nb

N = 2600
KINDS = (*SOME_GRAPHS, GraphKind("float32", "ip"), GraphKind("pq", "l2"))


@pytest.fixture(params=KINDS, ids=str)
def kind(request):
    return request.param


@cache
def filled(kind):
    """(index, rows) with ids 0 to N - 1; tests change a copy."""
    rows = kind.rows(N, np.random.default_rng(11))
    index = kind.new()
    index.add(rows)
    return index, rows


def assert_holds(index, kind, held):
    """The index holds these rows, its walks find nearly all of them, and nothing else."""
    ids = np.array(sorted(held), np.int64)
    rows = np.array([held[i] for i in ids.tolist()])
    np.testing.assert_array_equal(index.ids, ids)
    assert len(index) == len(ids)
    if kind.plain is not None:
        np.testing.assert_array_equal(index.get(ids), kind.plain.stored(rows))
    queries = rows[:: max(1, len(rows) // 150)]
    hits = index.search(queries, 10, ef=150, stats=True)
    exact = index.search(queries, 10, exact=True)
    assert (hits.counts == min(10, len(ids))).all()
    assert np.isin(hits.ids, ids).all()
    assert all(len(set(found)) == 10 for found in hits.ids.tolist())
    assert (hits.stats["hops"] > 0).all()
    assert nb.metrics.recall(hits, exact) >= 0.9
    if kind.plain is None:
        return
    assert_walks_reach_all(index, queries[:12])
    reference = np.sort(kind.plain.distances(queries, rows), axis=1)[:, :10]
    slack = kind.plain.tolerances(queries, rows).max()
    assert (np.abs(exact.distances - reference) <= slack).all()


# ------------------------------------------------------------------------------------ calls


def test_removed_rows_are_found_no_more(kind, rng):
    index, rows = filled(kind)
    index = index.copy()
    held = dict(enumerate(rows))
    for gone in (rng.permutation(N)[:300], [7], np.arange(100, 200)):
        gone = np.array([i for i in np.asarray(gone).tolist() if i in held], np.int64)
        assert index.remove(gone) == len(gone)
        for i in gone.tolist():
            del held[i]
        assert_holds(index, kind, held)
        if len(gone):
            near = index.search(rows[gone], 10, ef=100)
            assert not np.isin(near.ids, gone).any()
            assert index.remove(gone, missing="ignore") == 0
            with pytest.raises(KeyError):
                index.remove(gone[:1])


def test_updated_rows_are_found_at_their_new_places_alone(kind, rng):
    index, rows = filled(kind)
    index = index.copy()
    held = dict(enumerate(rows))
    for n in (1, 40, 700):
        ids = rng.permutation(N)[:n]
        fresh = kind.rows(n, rng)
        index.update(ids, fresh)
        held.update(zip(ids.tolist(), fresh, strict=True))
        assert_holds(index, kind, held)
    moved, place = rng.permutation(N)[:200], kind.rows(1, rng)
    left = np.array([held[i] for i in moved.tolist()])
    index.update(moved, np.repeat(place, 200, axis=0))
    there = index.search(place, 10, ef=400)
    if kind.metric != "ip":
        assert np.isin(there.ids, moved).all()
    least = index.search(left, 1, exact=True, **everything(index)).distances
    assert (index.search(left, 1, ef=150).distances >= least).all()


def test_upsert_replaces_and_adds(kind, rng):
    index, rows = filled(kind)
    index = index.copy()
    held = dict(enumerate(rows))
    for n in (1, 300):
        ids = rng.permutation(2 * N)[:n]
        fresh = kind.rows(n, rng)
        index.upsert(ids, fresh)
        held.update(zip(ids.tolist(), fresh, strict=True))
        assert_holds(index, kind, held)
    index.upsert([], rows[:0])
    assert_holds(index, kind, held)


@pytest.mark.parametrize("kind", [FLOATS, REFINED], ids=str)
@pytest.mark.parametrize("before", [1500, 900, 0])  # of compact codes: trained, or not yet
def test_an_upsert_to_the_size_of_a_graph_links_rows_as_they_will_be(kind, before, rng):
    rows = kind.rows(N, rng)
    at_once = kind.new()
    at_once.add(rows)
    index = kind.new()
    index.add(kind.rows(before, rng))
    index.upsert(np.arange(N), rows)
    probe = kind.rows(300, rng)
    exact = at_once.search(probe, 10, exact=True, **everything(at_once))
    found = [nb.metrics.recall(one.search(probe, 10, ef=20), exact) for one in (index, at_once)]
    print(f"recall {found[0]:.3f}, built at once {found[1]:.3f}")
    assert found[0] >= found[1] - 0.03
    assert_holds(index, kind, dict(enumerate(rows)))


def test_a_query_among_many_removed_rows_is_scanned_for(rng):
    """A walk through all of them would take longer than a scan: each moves half of the others."""
    n = 12_000
    near = rng.standard_normal((n, 8), dtype=np.float32)
    far = rng.standard_normal((3_000, 8), dtype=np.float32) + 40
    index = nb.Index(8, "l2", nb.Graph(degree=8, ef_construction=16))
    index.add(np.concatenate([near, far]))
    index.remove(np.arange(n))
    hits = index.search(near[:5], 10, stats=True)
    exact = index.search(near[:5], 10, exact=True)
    assert answer(hits) == answer(exact)
    assert (hits.stats["hops"] < n / 2).all()


def test_rows_of_new_places_that_come_together_are_found(rng):
    """Each call brings a cluster far from all others: its rows have to link to each other."""
    index = nb.Index(4, "l2", nb.Graph(degree=8, ef_construction=16))
    index.add(rng.random((2_400, 4), dtype=np.float32))
    for place in range(900, 1300, 50):
        index.add(rng.random((50, 4), dtype=np.float32) + np.float32(place))
        hits = index.search(index.get(index.ids), 1, ef=100)
        assert (hits.distances == 0).mean() >= 0.99


def test_all_rows_may_go_and_others_come(kind, rng):
    index, rows = filled(kind)
    index = index.copy()
    index.remove(np.arange(N))
    assert len(index) == 0
    assert (index.search(rows[:5], 3).counts == 0).all()
    assert len(index.range_search(rows[:5], np.inf).ids) == 0
    back = nb.Index.from_bytes(index.to_bytes())
    assert len(back) == 0
    for one in (index, back, index.copy()):
        one.add(rows[:1])
        assert one.search(rows[:2], 3).counts.tolist() == [1, 1]
        assert one.ids.tolist() == [N]
        fresh = kind.rows(N, rng)
        one.add(fresh)
        assert_holds(one, kind, {N: rows[0], **dict(enumerate(fresh, N + 1))})
    index.remove(index.ids)
    index.compact()
    assert index.stats()["slots"] == 0
    assert index.stats()["link_bytes"] == 0
    index.add(rows)
    assert len(index) == N


def test_a_graph_shrinks_to_a_few_rows(kind):
    index, rows = filled(kind)
    index = index.copy()
    for left in (500, 20, 1):
        index.remove(index.ids[left:])
        for one in (index, index.copy(), nb.Index.from_bytes(index.to_bytes())):
            hits = one.search(rows[:20], 10)
            assert (hits.counts == min(10, left)).all()
            exact = one.search(rows[:20], 10, exact=True)
            assert nb.metrics.recall(hits, exact) >= 0.9
            assert left > 20 or answer(hits) == answer(exact)
            assert len(one.range_search(rows[0], np.inf).ids) == left
    index.compact()
    assert index.search(rows[0], 3).ids.tolist() == [0, -1, -1]


def test_slots_are_used_again(kind, rng):
    """Ten times the index's size passes through, or three times."""
    index, _ = filled(kind)
    index = index.copy()
    most = bytes_most = 0
    for turn in range((10 if kind == FLOATS else 3) * N // 200):
        index.remove(index.ids[:200] if turn % 2 else rng.permutation(index.ids)[:200])
        index.add(kind.rows(200, rng))
        stats = index.stats()
        most, bytes_most = max(most, stats["slots"]), max(bytes_most, index.nbytes)
    assert len(index) == N
    assert most <= 1.5 * N
    assert bytes_most <= 2 * index.copy().nbytes
    queries = kind.rows(100, rng)
    truth = index.search(queries, 10, exact=True)
    fresh = kind.new()
    if kind.plain is not None:
        fresh.add(index.get(index.ids), ids=index.ids)
        lived, new = (
            nb.metrics.recall(one.search(queries, 10, ef=64), truth) for one in (index, fresh)
        )
        assert lived >= new - 0.04  # rows of noise; of real ones, see bench/streaming.py
    assert nb.metrics.recall(index.search(queries, 10, ef=150), truth) >= 0.9
    assert_linked(index)


def test_many_rows_more_are_linked_anew_and_leave_no_slot_behind(kind, rng):
    """Some rows are removed, but still in links, when so many come that all are linked."""
    index, rows = filled(kind)
    index = index.copy()
    index.remove(np.arange(50))
    index.remove(np.arange(50, 100))
    fresh = kind.rows(N, rng)
    index.add(fresh, ids=np.arange(N, 2 * N))
    assert index.stats()["slots"] == 2 * N
    assert_linked(index)
    index.add(rows[:100], ids=np.arange(100))
    assert index.stats()["slots"] == 2 * N
    assert_linked(index)
    assert_holds(index, kind, dict(enumerate([*rows, *fresh])))
    index.update(np.arange(0, 2 * N, 2), kind.rows(N, rng))
    assert_linked(index)
    index.remove(np.arange(1, 2 * N, 2))
    assert_linked(index)


@pytest.mark.parametrize("how", ["one by one", "update"])
def test_slots_are_used_again_in_small_changes(how, rng):
    index, rows = filled(FLOATS)
    index = index.copy()
    most = 0
    for turn in range(2 * N):
        at = turn % N
        if how == "update":
            index.update(at, rows[(at + 1) % N])
        else:
            index.remove(at)
            index.add(rows[at], ids=at)
        if turn % 100 == 0:
            most = max(most, index.stats()["slots"])
    assert most <= 1.5 * N
    held = {i: rows[(i + 1) % N if how == "update" else i] for i in range(N)}
    assert_holds(index, FLOATS, held)
    assert_linked(index)


@pytest.mark.parametrize("metric", ["l2", "ip"])
def test_a_graph_that_changed_finds_about_as_much_as_one_built_anew(metric):
    """Rows of different lengths, some far from all others, at the least ef there is."""
    rng = np.random.default_rng(0)
    n, dim = 3000, 16
    rows = rng.standard_normal((2 * n, dim)) * rng.lognormal(0, 0.5, (2 * n, 1))
    queries = rng.standard_normal((400, dim)) * rng.lognormal(0, 0.5, (400, 1))
    live = np.arange(2 * n) < n
    index = nb.Index(dim, metric, "graph")
    index.add(rows[live], ids=np.flatnonzero(live))
    for _ in range(50):
        gone = rng.choice(np.flatnonzero(live), n // 50, replace=False)
        come = rng.choice(np.flatnonzero(~live), n // 50, replace=False)
        index.remove(gone)
        index.add(rows[come], ids=come)
        live[gone], live[come] = False, True
    anew = nb.Index(dim, metric, "graph")
    anew.add(rows[live], ids=np.flatnonzero(live))
    truth = anew.search(queries, 10, exact=True)
    changed, built = (
        nb.metrics.recall(side.search(queries, 10, ef=10), truth) for side in (index, anew)
    )
    assert changed >= built - 0.03


def test_a_new_place_that_grows_stays_linked_to_the_rest():
    """What lies between is found, though each call brings neighbours that are nearer."""
    rng = np.random.default_rng(3)
    n, dim = 6000, 16
    index = nb.Index(dim, "l2", "graph")
    index.add(rng.standard_normal((n, dim)))
    place = rng.standard_normal(dim)
    place *= 6 / np.linalg.norm(place)
    for _ in range(15):
        index.add(0.5 * rng.standard_normal((100, dim)) + place)
    queries = 0.5 * rng.standard_normal((400, dim)) + place * rng.uniform(0, 1, (400, 1))
    truth = index.search(queries, 10, exact=True)
    assert nb.metrics.recall(index.search(queries, 10, ef=64), truth) >= 0.98


def test_compact_frees_slots_and_keeps_answers_good(kind, rng):
    index = filled(kind)[0].copy()
    index.add(kind.rows(1500, rng))
    gone = rng.permutation(N + 1500)[:1400]
    index.remove(gone)
    queries = kind.rows(100, rng)
    exact = answer(index.search(queries, 10, exact=True))
    filed = nb.Index.from_bytes(index.to_bytes())
    index.compact()
    assert index.stats()["slots"] == len(index) == N + 100
    assert answer(index.search(queries, 10, exact=True)) == exact
    truth = index.search(queries, 10, exact=True)
    assert nb.metrics.recall(index.search(queries, 10, ef=100), truth) >= 0.9
    assert answer(filed.search(queries, 10)) == answer(index.search(queries, 10))
    assert filed.to_bytes() == index.to_bytes()
    assert_linked(index)
    index.compact()
    assert filed.to_bytes() == index.to_bytes()


def test_a_long_life_agrees_with_a_plain_dict(kind, rng):
    index, rows = filled(kind)
    index = index.copy()
    held = dict(enumerate(rows))
    for turn in range(40):
        action = rng.choice(["add", "remove", "update", "upsert", "compact", "file"])
        known = np.array(sorted(held), np.int64)
        n = int(rng.choice([1, 3, 50, 400]))
        fresh = kind.rows(n, rng)
        some = rng.permutation(known)[:n]
        if action == "add":
            ids = index.add(fresh)
            held.update(zip(ids.tolist(), fresh, strict=True))
        elif action == "remove" and len(known) > 2100 + n:
            index.remove(some)
            for i in some.tolist():
                del held[i]
        elif action == "update":
            index.update(some, fresh[: len(some)])
            held.update(zip(some.tolist(), fresh, strict=False))
        elif action == "upsert":
            ids = rng.permutation(9000)[:n]
            index.upsert(ids, fresh)
            held.update(zip(ids.tolist(), fresh, strict=True))
        elif action == "compact" and turn % 2:
            index.compact()
        elif action == "file":
            index = pickle.loads(pickle.dumps(index)) if turn % 2 else index.copy()
        if turn % 10 == 9:
            assert_holds(index, kind, held)
    assert_linked(index)


@pytest.mark.parametrize("metric", ["l2", "cosine", "ip"])
@pytest.mark.parametrize("make", HARD, ids=lambda make: make.__name__)
def test_any_changes_of_hard_data_leave_every_row_in_reach(make, metric, rng):
    """With the fewest links, so that each counts."""
    index = nb.Index(8, metric, nb.Graph(degree=4, ef_construction=8))
    index.add(make(2100, rng))
    queries = rng.standard_normal((12, 8))
    for _ in range(12):
        action = rng.choice(["add", "remove", "update", "upsert", "readd"])
        n = int(rng.choice([1, 5, 60, 500]))
        fresh, some = make(max(n, 64), rng)[:n], rng.permutation(index.ids)[:n]
        if action == "add":
            index.add(fresh)
        elif action == "remove":
            index.remove(some)
        elif action == "update":
            index.update(some, fresh[: len(some)])
        elif action == "upsert":
            index.upsert(rng.permutation(4000)[:n], fresh)
        else:
            rows = index.get(some)
            index.remove(some)
            index.add(rows, ids=some)
        assert_walks_reach_all(index, queries)
    if len(index) >= 2048:
        assert_linked(index)


def test_copies_live_on_their_own(kind, rng):
    index, rows = filled(kind)
    before = index.to_bytes()
    for one in (index.copy(), nb.Index.from_bytes(before)):
        one.remove(np.arange(0, N, 2))
        one.add(kind.rows(300, rng))
        one.update(np.arange(1, 200, 2), rows[:100])
        assert index.to_bytes() == before


def test_a_graph_comes_of_training(rng):
    """Rows wait as floats; with the row that brings training about they are linked by the codec."""
    kind = GraphKind("rabitq4", "l2")
    rows = kind.rows(N, rng)
    untrained = nb.Index(DIM, "l2", nb.Graph(degree=8), nb.PQ(8), "float16")
    untrained.add(rows[:1000])
    assert not untrained.stats()["trained"]
    back = nb.Index.from_bytes(untrained.to_bytes())
    for one in (untrained, back):
        one.add(rows[1000:])
        assert one.stats()["trained"]
        truth = one.search(rows[:100], 10, exact=True)
        assert nb.metrics.recall(one.search(rows[:100], 10, ef=100), truth) >= 0.9
        assert_linked(one)
    assert untrained.to_bytes() == back.to_bytes()
    given = nb.Index(DIM, "l2", GRAPH, kind.new().codec)
    given.train(rows)
    given.add(rows)
    assert_linked(given)


# ------------------------------------------------------------------------------------ failures


def state(index, probe):
    """What a call that failed must leave as it was."""
    copied = index.copy()
    return (
        index.ids.tobytes(),
        index.get(index.ids).tobytes(),
        answer(index.search(probe, 10)),
        answer(index.search(probe, 10, exact=True)),
        answer(index.range_search(probe, float(index.search(probe, 5).distances.max()))),
        index.to_bytes(),
        index.stats(),
        int(copied.add(probe[:1])[0]),
    )


def test_a_call_that_is_refused_changes_nothing(kind, rng):
    index, rows = filled(kind)
    index = index.copy()
    index.remove([5, 6])
    index.remove(np.arange(1000, 1300))  # so that there are links to repair
    probe = rows[:20]
    before = state(index, probe)
    fresh = kind.rows(5, rng)
    calls = [
        lambda: index.add(fresh, ids=[N, N + 1, N + 2, N + 3, 7]),
        lambda: index.add(fresh, ids=[N, N + 1, N + 2, N + 3, N]),
        lambda: index.add(fresh[:, :-1]),
        lambda: index.update([0, 1, 2, 3, 5], fresh),
        lambda: index.update([0, 1, 2, 3, 0], fresh),
        lambda: index.upsert([0, 1, 2, 3, -1], fresh),
        lambda: index.remove([0, 1, 6]),
        lambda: index.remove([0, 1, 0]),
        lambda: index.search(probe, 10, ef=0),
        lambda: index.search(probe, 10, ef=65_537),
        lambda: index.reserve(2**40),
    ]
    if kind.codec != "bits":
        bad = fresh.copy()
        bad[-1, -1] = np.nan
        calls += [
            lambda: index.add(bad),
            lambda: index.update(np.arange(5, dtype=np.int64) + 10, bad),
            lambda: index.upsert(np.arange(N - 2, N + 3), bad),
        ]
    for call in calls:
        with pytest.raises((ValueError, KeyError, MemoryError)):
            call()
    assert state(index, probe) == before


@pytest.mark.parametrize("kind", [FLOATS, REFINED], ids=str)
@pytest.mark.parametrize("name", ["add", "update", "upsert", "first add"])
def test_an_exception_from_progress_leaves_the_index_as_it_was(kind, name, rng):
    class Enough(Exception):
        pass

    index, rows = filled(kind)
    if name == "first add":
        index = kind.new()
        index.add(rows[:1500])
    probe = rows[:10]
    before = state(index, probe)
    fresh = kind.rows(1500, rng)
    call = {
        "add": lambda one, progress: one.add(fresh, progress=progress),
        "first add": lambda one, progress: one.add(fresh, progress=progress),
        "update": lambda one, progress: one.update(np.arange(1500), fresh, progress=progress),
        "upsert": lambda one, progress: one.upsert(np.arange(1, 3000, 2), fresh, progress=progress),
    }[name]
    whole, reports = index.copy(), []
    call(whole, lambda done, total: reports.append(done))
    after = state(whole, probe)
    assert_linked(whole)
    ended = 0
    for stop_at in sorted({0, len(reports) // 2, len(reports) - 3}):
        one, left = index.copy(), stop_at

        def stop(done, total):
            nonlocal left
            left -= 1
            if left < 0:
                raise Enough

        try:
            call(one, stop)
        except Enough:
            ended += 1
            assert state(one, probe) == before
            call(one, None)  # as if nothing had been
            assert one.ids.tobytes() == after[0]
            assert answer(one.search(probe, 10, exact=True)) == after[3]
            assert_linked(one)
        else:  # there were fewer reports this time: they come by the clock
            assert state(one, probe) == after
    assert ended >= 1


def test_ctrl_c_ends_an_add_to_a_graph_soon_and_leaves_it_as_it_was():
    """The promise is 0.1 s; the best of four tries has to be within 0.5 s on a busy machine."""
    took = child.output(
        """
        import os, signal, sys, threading, time
        import numpy as np, nearbit as nb
        from checks import answer

        rng = np.random.default_rng(0)
        index = nb.Index(32, "l2", "graph")
        index.add(rng.standard_normal((3000, 32), dtype=np.float32))
        many = rng.standard_normal((400_000, 32), dtype=np.float32)
        probe = many[:5]
        before = index.to_bytes(), answer(index.search(probe, 9)), index.ids.tobytes()
        best = None
        for call in (
            lambda: index.add(many),
            lambda: index.upsert(np.arange(400_000), many),
            lambda: index.add(many, threads=1),
            lambda: nb.Index(32, "l2", "graph").add(many),
        ):
            sent = []
            def send():
                time.sleep(0.4)
                sent.append(time.perf_counter())
                os.kill(os.getpid(), signal.SIGINT)
            thread = threading.Thread(target=send)
            try:
                thread.start()
                call()
                sys.exit("the call went on to its end")
            except KeyboardInterrupt:
                took = time.perf_counter() - sent[0]
            thread.join()
            best = took if best is None else min(best, took)
            assert (index.to_bytes(), answer(index.search(probe, 9)), index.ids.tobytes()) == before
        print(best)
        """
    )
    print(f"KeyboardInterrupt {1000 * float(took):.0f} ms after the signal")
    assert float(took) < 0.5


def test_progress_of_an_add_counts_to_its_rows(kind, rng):
    index, _ = filled(kind)
    seen = []
    index.copy().add(kind.rows(1000, rng), progress=lambda done, total: seen.append((done, total)))
    assert {total for _, total in seen} == {1000}
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1] == (1000, 1000)


def test_progress_tells_of_linking_and_not_of_encoding_alone(rng):
    seen = []
    index = nb.Index(32, "l2", nb.Graph())
    rows = rng.standard_normal((20_000, 32), dtype=np.float32)
    index.add(rows, threads=1, progress=lambda done, _: seen.append(done))
    assert any(5_000 < done < 15_000 for done in seen)  # it is told every 20 ms of half a second


# ------------------------------------------------------------------------------------ threads


@pytest.mark.parametrize("kind", [FLOATS, REFINED], ids=str)
def test_searches_beside_a_writer_give_true_answers(kind, rng):
    """Rows that stay are found by their own; a changing id is near where some version was."""
    index, rows = filled(kind)
    index = index.copy()
    staying, changing = np.arange(0, N, 2), np.arange(1, N, 2)
    versions = [rows[changing], *(kind.rows(len(changing), rng) for _ in range(3))]
    alone = []
    queries = rows[:40]
    for version in versions:
        flat = kind.new("flat")
        if kind.plain is None:  # the same codec
            flat = nb.Index(DIM, layout="flat", codec=index.trained_codec, refine=kind.refine)
        flat.add(np.concatenate([rows[staying], version]), ids=np.concatenate([staying, changing]))
        every = flat.search(queries, N, refine_factor=None if kind.refine is None else N)
        alone.append(
            [
                dict(zip(*pair, strict=True))
                for pair in zip(every.ids.tolist(), every.distances.tolist(), strict=True)
            ]
        )
    stop, failures, searches = threading.Event(), [], [0]

    def write():
        turn = 0
        try:
            while not stop.is_set():
                turn += 1
                version = versions[turn % len(versions)]
                some = rng.permutation(len(changing))[: int(rng.choice([1, 30, 300]))]
                action = turn % 3
                if turn % 50 == 0:
                    index.compact()
                elif action == 0:
                    index.update(changing[some], version[some])
                elif action == 1:
                    index.remove(changing[some])
                    index.add(version[some], ids=changing[some])
                else:
                    index.upsert(changing[some], version[some])
        except Exception as error:  # noqa: BLE001 (reported by the test's own thread)
            failures.append(repr(error))
        stop.set()

    chosen = index.filter(staying)
    radius = np.sort([list(one.values()) for one in alone[0]], axis=1)[:, 15]
    ways = (
        lambda: index.search(queries, 20, ef=64),
        lambda: index.search(queries, 20, ef=150, threads=2),
        lambda: index.search(queries, 20, filter=chosen, ef=150),
        lambda: index.search(queries, 20, filter=staying[:100]),
        lambda: index.range_search(queries, radius),
    )

    def fault(way, answers):
        for i, (ids, distances) in enumerate(answers):
            if len(set(ids)) != len(ids) or distances != sorted(distances):
                return "form", ids, distances
            if way != 4 and len(ids) != 20:
                return "count", ids
            if way in (2, 3) and not all(
                key in staying[: 100 if way == 3 else None] for key in ids
            ):
                return "filter", ids
            for key, distance in zip(ids, distances, strict=True):
                if distance not in {one[i][key] for one in alone}:
                    return "distance", key, distance
        if way < 3 and sum(i not in answers[i][0] for i in range(0, 40, 2)) > 1:
            return "missed", way
        return None

    def look():
        try:
            while not stop.is_set():
                way = searches[0] % len(ways)
                hits = ways[way]()
                if way == 4:
                    cut = hits.indptr[1:-1]
                    parts = zip(np.split(hits.ids, cut), np.split(hits.distances, cut), strict=True)
                else:
                    parts = zip(hits.ids, hits.distances, strict=True)
                wrong = fault(way, [(x[x >= 0].tolist(), d[x >= 0].tolist()) for x, d in parts])
                if wrong:
                    failures.append(wrong)
                    stop.set()
                searches[0] += 1
        except Exception as error:  # noqa: BLE001 (reported by the test's own thread)
            failures.append(repr(error))
            stop.set()

    threads = [threading.Thread(target=run) for run in (write, look, look)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 20
    while searches[0] < 200 and not stop.is_set() and time.monotonic() < deadline:
        time.sleep(0.01)
    stop.set()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert not failures, failures[0]
    assert searches[0] >= 20
    index.upsert(changing, versions[0])
    assert_holds(index, kind, dict(enumerate(rows)))
    assert_linked(index)


def test_an_add_to_a_graph_is_seen_whole_or_not_at_all(rng):
    """Each add brings 50 equal rows, the nearest to the query; they come and go together."""
    index, rows = filled(FLOATS)
    index = index.copy()
    row = 10 + rows[:1]
    counts, stop = set(), threading.Event()

    def look():
        while not stop.is_set():
            counts.add(int((index.search(row[0], 300, ef=400).distances == 0).sum()))

    watcher = threading.Thread(target=look)
    watcher.start()
    for _ in range(4):
        index.add(np.repeat(row, 50, axis=0))
    stop.set()
    watcher.join(60)
    assert counts <= {0, 50, 100, 150, 200}


def test_copies_and_files_beside_a_writer_are_of_one_moment(rng):
    index, rows = filled(FLOATS)
    index = index.copy()
    stop = threading.Event()

    def write():
        while not stop.is_set():
            ids = index.add(rows[:50])
            index.remove(ids)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for turn in range(6):
            one = index.copy() if turn % 2 else nb.Index.from_bytes(index.to_bytes())
            assert len(one) in (N, N + 50)
            assert_linked(one)
            np.testing.assert_array_equal(one.get(np.arange(N)), rows)
    finally:
        stop.set()
        writer.join(60)
    assert not writer.is_alive()


# ------------------------------------------------------------------------------------ damage


def linked_bytes(n=2100):
    rows = np.random.default_rng(4).standard_normal((n, 4), dtype=np.float32)
    index = nb.Index(4, "l2", nb.Graph(degree=4, ef_construction=8))
    index.add(rows)
    return index, rows


def test_links_out_of_range_are_refused_where_they_are_copied(tmp_path):
    index, rows = linked_bytes()
    data = index.to_bytes()
    n_bytes = next(n for name, _, n in sections(data) if name == "links")
    path = tmp_path / "bad"
    for at in (3, n_bytes // 2 + 3):
        bad = forged(data, "links", at, 0x40)  # the most significant byte of a link
        with pytest.raises(nb.CorruptIndexError, match=r"section 'links'.* below 2100, got \d+"):
            nb.Index.from_bytes(bad)
        path.write_bytes(bad)
        with pytest.raises(nb.CorruptIndexError, match=r"section 'links'"):
            nb.load(path)
        mapped = nb.load(path, mmap=True, verify=True)
        hits = mapped.search(rows[:200], 5, ef=100)
        truth = mapped.search(rows[:200], 5, exact=True)
        assert nb.metrics.recall(hits, truth) > 0.9
        assert (hits.counts == 5).all()
        for copied in (mapped.copy(), nb.Index.from_bytes(mapped.to_bytes())):
            assert_all_reached(copied)
            copied.add(rows[:10])
            assert_all_reached(copied)


@pytest.mark.parametrize("value", [0, 5, 2099, 2100, 0xFFFFFFFE, 0xFFFFFFFF])
def test_damaged_links_of_a_mapped_file_do_no_harm(value, tmp_path):
    """Every link the same: itself, another row, none, or beyond the file."""
    index, rows = linked_bytes()
    path = tmp_path / "index"
    index.save(path)
    offset, n_bytes = next(
        (at, n) for name, at, n in sections(path.read_bytes()) if name == "links"
    )
    data = bytearray(path.read_bytes())
    data[offset : offset + n_bytes] = np.full(n_bytes // 4, value, "<u4").tobytes()
    path.write_bytes(data)
    mapped = nb.load(path, mmap=True)
    for how in ({}, {"ef": 500}, {"filter": np.arange(0, 2100, 2)}, {"radius": 1.0}):
        hits = mapped.search(rows[:50], 5, **how)
        real = hits.ids >= 0
        assert (hits.ids[real] < 2100).all()
        assert (hits.counts == 5).all() or "radius" in how
    mapped.range_search(rows[:50], 0.1)
    mapped.neighbors(np.arange(50))
    assert answer(mapped.search(rows, 5, exact=True)) == answer(index.search(rows, 5, exact=True))
    with pytest.raises(nb.CorruptIndexError):
        nb.load(path)
    copies = [mapped.copy()]
    if value < 2100:
        copies.append(nb.load(path, verify=False))
    for copied in copies:
        assert_linked(copied)
        for first in range(0, 2100, 300):  # in the end all of those that the file had
            copied.add(rows[first : first + 300])
            copied.remove(np.arange(first, first + 300))
            assert_linked(copied)


@pytest.mark.parametrize("how", ["load", "mmap"])
def test_a_forged_graph_is_refused_or_does_no_harm(how, tmp_path, rng):
    index, rows = linked_bytes()
    data = index.to_bytes()
    n_settings, n_links = (
        next(n for name, _, n in sections(data) if name == wanted)
        for wanted in ("settings", "links")
    )
    assert links(data)[0].n_entries == 32
    cases = [("settings", at, v) for at in range(30, n_settings) for v in (1, 0x80, 0xFF)]
    cases += [("links", at, 0xFF) for at in rng.integers(0, n_links, 60).tolist()]
    refused, _, _ = damage(index, rows[:3], tmp_path / "index", cases, how)
    assert refused > 100
