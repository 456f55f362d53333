"""Ctrl-C and progress: a long call can be watched and ended, and leaves the index as it was."""

from __future__ import annotations

import threading

import child
import numpy as np
import pytest
from checks import answer, next_id, unchanged
from kinds import BITS, COSINE, KINDS, L2, SIGN

import nearbit as nb

# A row repeated by a zero stride: many rows to convert and check, none of them in memory.
INTERRUPTED = (
    child.LIMIT
    + """
import os, signal, sys, threading, time
import numpy as np, nearbit as nb
from checks import answer, next_id
from kinds import BITS, L2, SIGN

name = sys.argv[1]
rng = np.random.default_rng(0)
signs, _ = SIGN.filled(1000, 1024)
floats, _ = L2.filled(50_000, 64)
bits, _ = BITS.filled(50_000, 256)
long_rows = np.broadcast_to(rng.standard_normal(1024, dtype=np.float32), (8_000_000, 1024))
many = np.repeat(L2.rows(100, 64, rng), 3000, axis=0)
codes = np.repeat(BITS.rows(100, 256, rng), 20_000, axis=0)
untrained = [nb.Index(512, codec=codec) for codec in (nb.ITQ(256), nb.PQ(64, rotation="opq"))]
sample = rng.standard_normal((20_000, 512), dtype=np.float32)
for one in untrained:
    one.add(sample[:500])
index, call = {
    "add": (signs, lambda: signs.add(long_rows)),
    "upsert": (signs, lambda: signs.upsert(np.arange(500, 8_000_500), long_rows)),
    "search": (floats, lambda: floats.search(many, 10)),
    "search, one thread": (floats, lambda: floats.search(many, 10, threads=1)),
    "search of bits": (bits, lambda: bits.search(codes, 10)),
    "filtered search": (floats, lambda: floats.search(many, 10, filter=np.arange(0, 50_000, 2))),
    "range search": (floats, lambda: floats.range_search(many, 90.0, limit=5)),
    "knn": (floats, lambda: nb.knn(many, many[:100_000])),
    "train": (untrained[0], lambda: untrained[0].train(sample)),
    "add that trains": (untrained[1], lambda: untrained[1].add(sample)),
}[name]
probe = np.ones((3, index.dim // 8), np.uint8) if name == "search of bits" else None
probe = rng.standard_normal((3, index.dim), dtype=np.float32) if probe is None else probe
before = index.ids, index.get(index.ids), answer(index.search(probe, 9)), next_id(index)

sent = []
def send():
    time.sleep(0.15)
    sent.append(time.perf_counter())
    os.kill(os.getpid(), signal.SIGINT)

best = None
for _ in range(3):
    thread = threading.Thread(target=send)
    try:
        thread.start()
        call()
        sys.exit("the call went on to its end")
    except KeyboardInterrupt:
        took = time.perf_counter() - sent.pop()
    thread.join()
    best = took if best is None else min(best, took)
    after = index.ids, index.get(index.ids), answer(index.search(probe, 9)), next_id(index)
    for a, b in zip(before, after, strict=True):
        np.testing.assert_array_equal(a, b)
print(best)
"""
)


@pytest.mark.parametrize(
    "name",
    [
        "add",
        "upsert",
        "search",
        "search, one thread",
        "search of bits",
        "filtered search",
        "range search",
        "knn",
        "train",
        "add that trains",
    ],
)
def test_ctrl_c_ends_a_long_call_soon_and_leaves_the_index_as_it_was(name):
    """The promise is 0.1 s; the best of three tries has to be within 0.5 s on a busy machine."""
    took = float(child.output(INTERRUPTED, name))
    print(f"{name}: KeyboardInterrupt {1000 * took:.0f} ms after the signal")
    assert took < 0.5


def test_a_handler_of_ones_own_runs_during_a_long_call():
    """A signal whose handler raises nothing doesn't end the call."""
    said = child.output(
        """
        import signal, numpy as np
        from kinds import L2
        index, _ = L2.filled(20_000, 64)
        queries = L2.rows(5000, 64, np.random.default_rng(0))
        seen = []
        signal.signal(signal.SIGALRM, lambda *_: seen.append(1))
        signal.setitimer(signal.ITIMER_REAL, 0.02)
        hits = index.search(queries, 3, threads=1)
        print(len(seen), (hits.counts == 3).all())
        """
    )
    assert said == "1 True\n"


# ------------------------------------------------------------------------------------ progress


def long_calls(kind, progress, rng):
    """(name, index, call) of each call that reports progress, long enough for several reports."""
    dim = kind.dim(64)
    index, _ = kind.filled(8000, dim)
    queries = kind.rows(1000, dim, rng)
    yield "add", index, lambda: index.add(np.repeat(queries, 150, axis=0), progress=progress)
    yield "search", index, lambda: index.search(queries, 5, progress=progress)
    radius = float(np.median(index.search(queries, 2).distances))
    yield (
        "range_search",
        index,
        lambda: index.range_search(queries, radius, limit=3, progress=progress),
    )
    if kind.codec in ("float32", "bits"):  # knn takes no other
        base = queries
        yield "knn", index, lambda: nb.knn(queries, base, 5, kind.metric, progress=progress)


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_progress_counts_up_to_the_total(kind, rng):
    seen = []
    for name, _, call in long_calls(kind, lambda done, total: seen.append((done, total)), rng):
        seen.clear()
        call()
        assert seen, name
        done, totals = zip(*seen, strict=True)
        assert all(isinstance(n, int) for n in (*done, *totals)), name
        assert len(set(totals)) == 1, name
        assert done[-1] == totals[-1] > 0, name
        assert list(done) == sorted(done), name
        assert done[0] >= 0, name


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_an_exception_from_progress_ends_the_call_and_leaves_the_index_as_it_was(kind, rng):
    class Enough(Exception):
        pass

    def stop(done, total):
        raise Enough(done, total)

    for name, index, call in long_calls(kind, stop, rng):
        probe = kind.rows(5, index.dim, rng)
        before = len(index), answer(index.search(probe, 9)), next_id(index), index.ids.tobytes()
        with pytest.raises(Enough):
            call()
        after = len(index), answer(index.search(probe, 9)), next_id(index), index.ids.tobytes()
        assert after == before, name
        index.add(probe)
        assert len(index) == before[0] + 5, name


def test_a_change_from_inside_the_progress_of_a_change_is_refused(rng):
    """It would wait for itself. A search may look on meanwhile, and sees nothing half done."""
    for kind in (COSINE, BITS):
        index, _ = kind.filled(20_000, 64)
        row = kind.rows(1, 64, rng)
        seen, counts = [], []

        def inside(done, total, index=index, row=row, seen=seen, counts=counts):
            for call in (
                lambda: index.add(row),
                lambda: index.remove([0]),
                lambda: index.update([0], row),
                lambda: index.upsert([0], row),
                index.compact,
                index.to_bytes,
            ):
                try:
                    call()
                except RuntimeError as error:
                    seen.append(str(error))
                else:
                    seen.append("went through")
            counts.append(int(index.search(row, 65_536).counts[0]))

        index.add(np.repeat(row, 200_000, axis=0), progress=inside)
        assert seen
        assert all("callback" in text for text in seen)
        assert set(counts[:-1]) <= {20_000}
        assert len(index) == 220_000


def test_a_change_from_inside_the_progress_of_a_search_leaves_true_answers(rng):
    index, rows = L2.filled(20_000, 64)
    staying = rows[:1000]

    def inside(done, total):
        index.remove(index.add(rows[:10]))

    hits = index.search(staying, 1, progress=inside)
    np.testing.assert_array_equal(hits.ids[:, 0], np.arange(1000))
    assert len(index) == 20_000


@pytest.mark.parametrize("name", ["add", "update", "upsert"])
def test_progress_knows_the_total_while_the_call_waits_for_another(name):
    index, rows = L2.filled(100, 8)
    entered, leave = threading.Event(), threading.Event()
    totals = []

    def hold(done, total):
        entered.set()
        leave.wait(30)

    def note(done, total):
        totals.append(total)
        leave.set()

    call = {
        "add": lambda: index.add(rows[:3], progress=note),
        "update": lambda: index.update([0, 1, 2], rows[:3], progress=note),
        "upsert": lambda: index.upsert([0, 1, 2], rows[:3], progress=note),
    }[name]
    holder = threading.Thread(target=lambda: index.add(rows, progress=hold))
    holder.start()
    assert entered.wait(30)
    call()
    holder.join()
    assert set(totals) == {3}


def test_a_call_from_inside_progress_on_another_index_is_fine(rng):
    one, _ = L2.filled(20_000, 64)
    other, rows = L2.filled(100, 64)
    counts = []

    def inside(done, total):
        counts.append(int(other.search(rows[:1], 3).counts[0]))
        other.add(rows[:1])

    one.search(L2.rows(1000, 64, rng), 5, progress=inside)
    assert counts
    assert set(counts) == {3}
    assert len(other) == 100 + len(counts)


def test_progress_changes_no_answer(rng):
    index, _ = SIGN.filled(5000, 64)
    queries = SIGN.rows(1000, 64, rng)
    plain = answer(index.search(queries, 7))
    with unchanged(index):
        for threads in (1, 2):
            hits = index.search(queries, 7, threads=threads, progress=lambda done, total: None)
            assert answer(hits) == plain


# ------------------------------------------------------------------------------------ costly units


def test_ctrl_c_ends_a_search_among_very_long_rows_soon():
    """However much one row with many queries costs, as for the calls above."""
    took = float(
        child.output(
            """
            import os, signal, sys, threading, time
            import numpy as np, nearbit as nb

            index = nb.Index(2**20, codec="bits")
            rows = np.random.default_rng(0).integers(0, 256, (512, 2**17), dtype=np.uint8)
            index.add(rows)
            index.add(rows)
            latencies = []
            for _ in range(3):
                sent = []
                def send():
                    time.sleep(0.15)
                    sent.append(time.perf_counter())
                    os.kill(os.getpid(), signal.SIGINT)
                thread = threading.Thread(target=send)
                try:
                    thread.start()
                    index.search(rows, 10, threads=1)
                    sys.exit("the call went on to its end")
                except KeyboardInterrupt:
                    latencies.append(time.perf_counter() - sent[0])
                thread.join()
            print(min(latencies))
            """
        )
    )
    print(f"KeyboardInterrupt {1000 * took:.0f} ms after the signal")
    assert took < 0.3


def test_other_threads_run_while_a_filter_of_many_ids_is_prepared(rng):
    said = child.output(
        """
        import threading, time
        import numpy as np, nearbit as nb

        ids = np.random.default_rng(0).permutation(4_000_000)
        ticks, over = [], threading.Event()
        def tick():
            while not over.wait(0.001):
                ticks.append(time.perf_counter())
        thread = threading.Thread(target=tick)
        thread.start()
        begin = time.perf_counter()
        assert len(nb.Index(8).filter(ids)) == 4_000_000
        end = time.perf_counter()
        over.set()
        thread.join()
        print(max(np.diff([begin, *(t for t in ticks if begin < t < end), end])) / (end - begin))
        """
    )
    assert float(said) < 0.5


def test_progress_is_not_called_where_there_is_nothing_to_do(rng):
    """done / total is the first thing that a caller computes."""
    index, rows = L2.filled(10, 8)
    seen = []

    def progress(done, total):
        seen.append(done / total)

    L2.new(8).search(rows, 3, progress=progress)
    L2.new(8).range_search(rows, 1.0, progress=progress)
    index.search(rows[:0], 3, progress=progress)
    index.range_search(rows[:0], 1.0, progress=progress)
    index.add(rows[:0], progress=progress)
    nb.knn(rows, rows[:0], 3, progress=progress)
    assert seen == []
    index.search(rows, 3, progress=progress)
    assert seen[-1] == 1


def test_ctrl_c_ends_the_sorting_of_a_filter_of_many_ids_soon():
    said = child.output(
        """
        import os, signal, threading, time
        import numpy as np, nearbit as nb

        ids = np.random.default_rng(0).permutation(10_000_000)
        index, sent = nb.Index(8), []
        def send():
            time.sleep(0.15)
            sent.append(time.perf_counter())
            os.kill(os.getpid(), signal.SIGINT)
        threading.Thread(target=send).start()
        try:
            index.filter(ids)
        except KeyboardInterrupt:
            print(time.perf_counter() - sent[0])
        assert len(index.filter(np.concatenate([ids, ids]))) == 10_000_000
        """
    )
    assert float(said) < 0.4
