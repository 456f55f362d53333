"""Many searches beside a writer: every answer was true at some time while its call ran."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from checks import answer, next_id
from kinds import BITS, KINDS, L2

import nearbit as nb

DIM = 64
STAYING, COMING = 400, 200
ENOUGH = 1000


class History:
    """What the changing ids held, step by step; a step is what one writing call changes.

    steps[i] maps each changing id to its row's distance from the query, or to None where there is
    no such row. A step is in `begun` before its call is made and in `done` after it returned.
    """

    def __init__(self, first):
        self.steps = [dict(first)]
        self.begun = self.done = 0

    def writing(self, changes):
        self.steps.append({**self.steps[-1], **changes})
        self.begun += 1

    def written(self):
        self.done += 1

    def possible(self, key, since, until):
        """Everything that the id may have held while steps `since` to `until` were the newest."""
        return {step[key] for step in self.steps[since : until + 1]}


def distance_of(kind, query, row):
    """The index's own distance of a row, found where nothing else goes on."""
    alone = kind.new(DIM)
    alone.add(row)
    return float(alone.search(query, 1).distances[0])


def write_until(stop, index, history, versions, failures):
    """Adds, updates, upserts and removes whole groups of ids, over and over."""
    ids = np.arange(STAYING, STAYING + COMING)
    turn = 0
    try:
        while not stop.is_set():
            rows, distances = versions[turn % len(versions)]
            new = dict(zip(ids.tolist(), distances, strict=True))
            gone = dict.fromkeys(ids[: COMING // 2].tolist())
            for changes, call in (
                (new, lambda rows=rows: index.update(ids, rows)),
                (gone, lambda: index.remove(ids[: COMING // 2])),
                (
                    {i: new[i] for i in gone},
                    lambda rows=rows: index.add(rows[: COMING // 2], ids=ids[: COMING // 2]),
                ),
                (new, lambda rows=rows: index.upsert(ids, rows)),
                (dict.fromkeys(ids.tolist()), lambda: index.remove(ids)),
                ({}, index.compact if turn % 10 == 0 else lambda: None),
                (new, lambda rows=rows: index.add(rows, ids=ids)),
            ):
                history.writing(changes)
                call()
                history.written()
            turn += 1
    except Exception as error:  # noqa: BLE001 (reported by the test's own thread)
        failures.append(repr(error))
        stop.set()


def search_until(stop, search, history, staying, failures, overlapped):
    """Searches and checks each answer; counts those during which a writing call was under way."""
    try:
        while not stop.is_set():
            since, begun = history.done, history.begun
            hits = search()
            until = history.begun
            if begun > since or until > begun:
                overlapped.append(1)
            for ids, distances in zip(
                np.atleast_2d(hits.ids), np.atleast_2d(hits.distances), strict=True
            ):
                wrong = fault(ids, distances, history, since, until, staying)
                if wrong:
                    failures.append(wrong)
                    stop.set()
                    return
    except Exception as error:  # noqa: BLE001 (reported by the test's own thread)
        failures.append(repr(error))
        stop.set()


def searcher(index, query, batch=1, threads=None, filtered=False):
    """A search of everything that there may be."""
    queries = query if batch == 1 else np.repeat(query[None], batch, axis=0)
    allowed = index.filter(range(STAYING + COMING)) if filtered else None
    k = STAYING + COMING + 10
    return lambda: index.search(queries, k, filter=allowed, threads=threads)


def fault(ids, distances, history, since, until, staying):
    """What is wrong with an answer of all rows, or None."""
    real = ids >= 0
    found = dict(zip(ids[real].tolist(), distances[real].tolist(), strict=True))
    if len(found) != real.sum():
        return "an id came twice"
    if not (np.diff(distances[real]) >= 0).all():
        return "distances do not ascend"
    for key, distance in staying.items():
        if found.get(key) != distance:
            return f"id {key} stays, with distance {distance}, but {found.get(key)} was found"
    for key in range(STAYING, STAYING + COMING):
        possible = history.possible(key, since, until)
        if found.get(key) not in possible:
            return f"id {key}: found {found.get(key)}, possible {possible}"
    if set(found) - set(staying) - set(range(STAYING, STAYING + COMING)):
        return "an id that never was"
    return None


WAYS = {
    "one query": {},
    "a batch": {"batch": 9, "threads": 2},
    "a filter": {"filtered": True},
}


@pytest.mark.parametrize("kind", [L2, BITS], ids=str)
@pytest.mark.parametrize("way", WAYS)
def test_a_thousand_searches_beside_a_writer_each_give_a_true_answer(kind, way, rng):
    index = kind.new(DIM)
    rows, query = kind.rows(STAYING, DIM, rng), kind.rows(1, DIM, rng)[0]
    index.add(rows)
    quiet = index.search(query, STAYING)
    staying = dict(zip(quiet.ids.tolist(), quiet.distances.tolist(), strict=True))
    versions = []
    for _ in range(5):
        version = kind.rows(COMING, DIM, rng)
        alone = kind.new(DIM)
        alone.add(version)
        by_row = alone.search(query, COMING)
        distances = by_row.distances[np.argsort(by_row.ids)].tolist()
        versions.append((version, distances))
    ids = range(STAYING, STAYING + COMING)
    index.add(versions[0][0], ids=ids)
    history = History(zip(ids, versions[0][1], strict=True))

    search = searcher(index, query, **WAYS[way])
    stop, failures, overlapped = threading.Event(), [], []
    threads = [
        threading.Thread(target=write_until, args=(stop, index, history, versions, failures)),
        *(
            threading.Thread(
                target=search_until, args=(stop, search, history, staying, failures, overlapped)
            )
            for _ in range(2)
        ),
    ]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 60
    while (
        (len(overlapped) < ENOUGH or history.done < 10)
        and not stop.is_set()
        and time.monotonic() < deadline
    ):
        time.sleep(0.01)
    stop.set()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert not failures, failures[0]
    assert history.done >= 10
    assert len(overlapped) >= ENOUGH, "too few searches ran beside a write to tell anything"


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_search_sees_every_add_that_had_returned(kind, rng):
    """One thread adds, and tells another what has been added; the other must find it."""
    index = kind.new(DIM)
    rows = kind.rows(600, DIM, rng)
    added, failures = [0], []

    def look():
        while added[0] < len(rows) and not failures:
            known = added[0]
            hits = index.search(rows[0], len(rows))
            if hits.counts < known:
                failures.append((known, int(hits.counts)))

    watcher = threading.Thread(target=look)
    watcher.start()
    for at in range(0, len(rows), 3):
        index.add(rows[at : at + 3])
        added[0] = at + 3
    watcher.join(60)
    assert not watcher.is_alive()
    assert not failures


@pytest.mark.parametrize("kind", [L2, BITS], ids=str)
def test_an_add_is_seen_whole_or_not_at_all(kind, rng):
    """Each add brings 1,000 equal rows: an answer has a multiple of that."""
    index = kind.new(DIM)
    row = kind.rows(1, DIM, rng)
    many = np.repeat(row, 1000, axis=0)
    counts, done = set(), threading.Event()

    def look():
        while not done.is_set():
            counts.add(int(index.search(row[0], 20_000).counts))

    watcher = threading.Thread(target=look)
    watcher.start()
    for _ in range(20):
        index.add(many)
    done.set()
    watcher.join(60)
    assert not watcher.is_alive()
    assert {count % 1000 for count in counts} <= {0}


def test_rows_that_change_while_they_are_added_are_checked_as_kept(rng):
    """Another thread writes NaN into the array and takes it back: what is kept is never NaN."""
    rows = L2.rows(20_000, DIM, rng)
    done = threading.Event()

    def spoil():
        while not done.is_set():
            for value in (np.nan, 1):
                rows[::7, 5] = value
                time.sleep(0.0003)

    spoiler = threading.Thread(target=spoil)
    spoiler.start()
    taken = refused = 0
    deadline = time.monotonic() + 60
    try:
        while min(taken, refused) < 20 and time.monotonic() < deadline:
            index = L2.new(DIM)
            try:
                index.add(rows)
                taken += 1
            except ValueError:
                refused += 1
            assert np.isfinite(index.get(index.ids)).all()
    finally:
        done.set()
        spoiler.join(60)
    assert min(taken, refused) >= 20, "the rows hardly changed during an add: nothing was tested"


def test_writers_take_turns(rng):
    """Four threads add at once: each gets ids of its own, none is lost and none doubled."""
    index = L2.new(DIM)
    rows = L2.rows(4000, DIM, rng)

    def add(worker):
        own = rows[worker::4]
        return np.concatenate([index.add(own[at : at + 10]) for at in range(0, 1000, 10)])

    with ThreadPoolExecutor(4) as pool:
        given = list(pool.map(add, range(4)))
    everything = np.concatenate(given)
    np.testing.assert_array_equal(np.sort(everything), np.arange(4000))
    for worker, ids in enumerate(given):
        np.testing.assert_array_equal(index.get(ids), rows[worker::4])
    assert next_id(index) == 4000


def test_writers_that_remove_and_add_in_turn_lose_nothing(rng):
    index, rows = L2.filled(800, DIM)

    def change(worker):
        own = np.arange(worker, 800, 4)
        for turn in range(30):
            some = own[turn % 5 :: 5]
            index.remove(some)
            index.add(rows[some], ids=some)
            index.update(some, rows[some])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(change, range(4)))
    np.testing.assert_array_equal(index.ids, np.arange(800))
    np.testing.assert_array_equal(index.get(index.ids), rows)


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_many_searchers_get_the_answers_of_one(kind, rng):
    dim = kind.dim(100)
    index, _ = kind.filled(3000, dim)
    queries = kind.rows(64, dim, rng)
    expected = answer(index.search(queries, 10))
    chosen = index.filter(np.arange(0, 3000, 3))
    filtered = answer(index.search(queries, 10, filter=chosen))

    def look(turn):
        if turn % 2:
            return answer(index.search(queries, 10, threads=1 + turn % 3)) == expected
        return answer(index.search(queries, 10, filter=chosen)) == filtered

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(look, range(64)))


def test_save_and_copy_beside_a_writer_are_of_one_moment(tmp_path, rng):
    """Each write keeps the number of rows of either colour equal; every snapshot agrees."""
    index, rows = L2.filled(500, DIM)
    stop, failures = threading.Event(), []

    def write():
        turn = 0
        while not stop.is_set():
            ids = np.arange(1000 + turn * 100, 1100 + turn * 100)
            index.add(rows[:100], ids=ids)
            index.remove(ids)
            turn += 1

    def snapshot(take):
        for turn in range(15):
            one = take(turn)
            extra = len(one) - 500
            if extra not in (0, 100) or not (one.get(range(500)) == rows).all():
                failures.append(extra)
            if extra and not (one.get(one.ids[500:]) == rows[:100]).all():
                failures.append("rows of another time")

    def through_file(turn):
        path = tmp_path / "index"
        index.save(path)
        return nb.load(path)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        with ThreadPoolExecutor(2) as pool:
            takes = [
                lambda turn: index.copy(),
                lambda turn: nb.Index.from_bytes(index.to_bytes()),
                through_file,
            ]
            list(pool.map(snapshot, takes))
    finally:
        stop.set()
        writer.join(60)
    assert not writer.is_alive()
    assert not failures


def ticks_during(call):
    """How often another Python thread got its turn during a call."""
    count, stop, started = [0], threading.Event(), threading.Event()

    def tick():
        started.set()
        while not stop.is_set():
            count[0] += 1
            time.sleep(0.0005)

    ticker = threading.Thread(target=tick)
    ticker.start()
    try:
        started.wait(10)
        before = count[0]
        call()
        return count[0] - before
    finally:
        stop.set()
        ticker.join(10)


@pytest.mark.parametrize("kind", [L2, BITS], ids=str)
def test_other_python_threads_go_on_during_a_long_call(kind, rng):
    """With the GIL held there would be a tick or two, at the beginning and the end, every time."""
    index, _ = kind.filled(20_000, 256)
    queries = np.repeat(kind.rows(10, 256, rng), 100, axis=0)
    many = np.repeat(kind.rows(1, 256, rng), 2_000_000 if kind is BITS else 200_000, axis=0)
    for call in (
        lambda: index.search(queries, 10, threads=1),
        lambda: nb.knn(queries, many[:20_000], 10, kind.metric),
        lambda: index.add(many),
    ):
        assert any(ticks_during(call) > 5 for _ in range(10))


def test_hits_and_filters_outlive_their_index(rng):
    index, rows = L2.filled(100, DIM)
    hits, chosen = index.search(rows, 5), index.filter([1, 2])
    expected = answer(hits)
    other = index.copy()
    del index
    assert answer(hits) == expected
    assert (other.search(rows, 5, filter=chosen).counts == 2).all()
