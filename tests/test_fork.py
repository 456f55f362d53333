"""After os.fork a child can search, add and save, whatever the parent's threads were doing."""

from __future__ import annotations

import child

# Runs check() in a forked child and prints how it ended; a child that hangs is ended by SIGALRM.
FORKED = """
import os, pickle, signal, sys, tempfile, threading, time, warnings
import numpy as np, nearbit as nb
from checks import answer, assert_hits
from kinds import BITS, L2

warnings.simplefilter("ignore", DeprecationWarning)  # "multi-threaded, fork() may lead to deadlock"

def in_child(check):
    pid = os.fork()
    if pid == 0:
        signal.alarm(60)
        code = 1
        try:
            check()
            code = 0
        except BaseException as error:
            print(repr(error), file=sys.stderr)
        finally:
            sys.stderr.flush()
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

index, rows = L2.filled(20_000, 64)
queries = L2.rows(200, 64, np.random.default_rng(5))
expected = answer(index.search(queries, 10, threads=2))

def whole_life():
    assert answer(index.search(queries, 10, threads=2)) == expected
    ids = index.add(rows[:500] + 1, threads=2)
    assert ids[0] == 20_000
    index.remove(ids[:100])
    found = index.search(rows[200:300] + 1, 1)
    assert (found.ids[:, 0] == np.arange(20_200, 20_300)).all()
    path = tempfile.mkdtemp() + "/index"
    index.save(path)
    assert nb.load(path).to_bytes() == index.to_bytes()
    fresh = nb.Index(8, "l2")
    fresh.add(np.ones((10, 8), np.float32))
    assert len(fresh.search(np.ones(8, np.float32), 3).ids) == 3
"""


def test_a_child_can_search_add_and_save():
    said = child.output(
        FORKED
        + """
print(in_child(whole_life), in_child(lambda: in_child(whole_life) and 1 / 0))
assert answer(index.search(queries, 10, threads=2)) == expected
assert len(index) == 20_000
index.add(rows[:10])
print(len(index))
"""
    )
    assert said == "0 0\n20010\n"


def test_a_child_of_a_parent_with_searches_under_way_can_do_the_same():
    said = child.output(
        FORKED
        + """
stop = threading.Event()
def look():
    while not stop.is_set():
        index.search(queries, 10, threads=2)
threads = [threading.Thread(target=look) for _ in range(3)]
for thread in threads:
    thread.start()
codes = []
for _ in range(10):
    codes.append(in_child(whole_life))
    time.sleep(0.01)
stop.set()
for thread in threads:
    thread.join()
assert answer(index.search(queries, 10)) == expected
print(set(codes))
"""
    )
    assert said == "{0}\n"


def test_a_child_of_a_parent_in_mid_write_works_or_says_so():
    """An index caught in mid-write raises RuntimeError; it never hangs, and others work."""
    said = child.output(
        FORKED
        + """
stop = threading.Event()
other, _ = BITS.filled(1000, 64)
def write():
    while not stop.is_set():
        ids = index.add(rows)
        index.remove(ids)
threads = [threading.Thread(target=write) for _ in range(2)]
for thread in threads:
    thread.start()

def check():
    other.add(np.ones((5, 8), np.uint8), threads=2)
    assert len(other) == 1005
    assert other.search(np.ones(8, np.uint8), 3).counts == 3
    try:
        hits = index.search(queries, 10, threads=2)
        index.remove(index.add(rows[:5]))
        assert (hits.counts == 10).all()
    except RuntimeError as error:
        assert "fork" in str(error), error

codes = []
for _ in range(20):
    codes.append(in_child(check))
    time.sleep(0.003)
stop.set()
for thread in threads:
    thread.join()
assert answer(index.search(queries, 10)) == expected
print(set(codes), len(index))
"""
    )
    assert said == "{0} 20000\n"


def test_a_fork_in_a_callback_ends_the_call_in_the_child_only():
    """With other threads or without; the child's index is as it was and can be used."""
    said = child.output(
        FORKED
        + """
big = np.repeat(rows, 30, axis=0)
for threads in (1, 2):
    pids = []
    def fork_once(done, total):
        if not pids:
            pids.append(os.fork())
            if pids[0] == 0:
                signal.alarm(60)
    try:
        ids = index.add(big, threads=threads, progress=fork_once)
        ended = "went through"
    except RuntimeError as error:
        ended = "refused" if "fork" in str(error) else repr(error)
    if pids[0] == 0:
        try:
            assert ended == "refused", ended
            whole_life()
            os._exit(0)
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(1)
    print(os.waitstatus_to_exitcode(os.waitpid(pids[0], 0)[1]), ended)
    index = L2.filled(20_000, 64)[0]
"""
    )
    assert said == "0 went through\n" * 2


def test_an_interpreter_with_pool_threads_and_daemon_searches_ends_cleanly():
    said = child.output(
        FORKED
        + """
def look():
    while True:
        index.search(queries, 10, threads=2)
for _ in range(3):
    threading.Thread(target=look, daemon=True).start()
time.sleep(0.05)
print("end")
"""
    )
    assert said == "end\n"
