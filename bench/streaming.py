"""A graph whose rows come and go, beside one built anew: `python bench/streaming.py --help`."""

from __future__ import annotations

import itertools
import json
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import report
import streaming_report
import typer
from figures import OURS, interleave, median_interval
from rich.console import Console
from rich.progress import Progress, TaskID
from runs import bar, least_ef, store
from search_engines import installed
from search_sets import Array, K, Set, SetName, SomeRows, take

import nearbit as nb

RESULTS = Path(__file__).parent / "results"
CHECKPOINTS = (1, 2, 5, 10)  # times the index's size that have been added
CHUNK = 100  # a step changes one row in so many
CHANGES = ("random", "clustered", "one by one", "clustered", "random", "updated")
BATCH, SINGLES = 1000, 300  # queries that are timed, together and one by one
BESIDE_SECONDS = 5.0  # of searches beside each kind of adds
HELD_CALLS = 6  # whose rows stay meanwhile
FRESH = "built anew"


def main(
    name: SetName,
    rows: SomeRows = None,
    rounds: Annotated[int, typer.Option(min=3, max=50, help="That times are taken in.")] = 11,
    native: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="nearbit_bench, for the exclusive steps."),
    ] = None,
    out: Annotated[Path, typer.Option(file_okay=False, help="Where results go.")] = RESULTS,
) -> None:
    """Change a graph until ten times its size has passed through, and compare it on the way.

    Half of the rows are in the index at any time. Those that leave come back later.
    """
    data = take(name, rows)
    data = replace(data, report=np.concatenate([data.tune, data.report]), tune=data.tune[:0])
    path = out / f"streaming-{data.name}.json"
    path.unlink(missing_ok=True)
    life = Life(data)
    with bar(Console(stderr=True)) as progress:
        task = progress.add_task("", total=CHECKPOINTS[-1] * CHUNK)
        checkpoints: dict[str, Any] = {}
        for times in (0, *CHECKPOINTS):
            pass_through(life, times, progress, task)
            progress.update(task, description=f"{FRESH} after {times}", refresh=True)
            checkpoints[str(times)] = compare(life, rounds)
            store(path, "checkpoints", checkpoints)
        progress.update(task, description="searches beside adds", refresh=True)
        store(path, "beside", search_beside_adds(life, checkpoints[str(times)]["ef"]))
    if native is not None:
        store(path, "exclusive", exclusive_steps(native))
    about = {"set": data.name, "rows": len(data.rows), "size": life.size, "metric": data.metric}
    about |= {"queries": len(data.report), "nearbit": installed("nearbit")}
    store(path, "about", about | report.machine())
    for written in streaming_report.write(path):
        print(written)


# ------------------------------------------------------------------------------------- changes


def new_index(data: Set) -> nb.Index:
    """Return a graph at its default settings."""
    codec = nb.Bits() if data.is_bits else nb.Float32()
    return nb.Index(data.dim, data.metric, "graph", codec)


class Life:
    """An index of half of the rows. The id of a row is its number in the set."""

    def __init__(self, data: Set) -> None:
        self.data, self.size = data, len(data.rows) // 2
        self.rng = np.random.default_rng(0)
        self.live = np.zeros(len(data.rows), bool)
        self.live[self.rng.permutation(len(data.rows))[: self.size]] = True
        self.steps = 0
        self.seconds = dict.fromkeys(("remove", "add", "update"), 0.0)
        self.index = new_index(data)
        self.index.add(data.rows[self.live], ids=np.flatnonzero(self.live), threads=2)

    def step(self) -> None:
        """Take rows out and put others in."""
        change = CHANGES[self.steps % len(CHANGES)]
        self.steps += 1
        choose = self.cluster if change == "clustered" else self.random
        inside, outside = np.flatnonzero(self.live), np.flatnonzero(~self.live)
        count = self.size // CHUNK
        gone = choose(inside, count)
        if change == "updated":
            self.timed("update", lambda: self.index.update(gone, self.data.rows[gone]))
            return
        come = choose(outside, count)
        each = 1 if change == "one by one" else count
        for i in range(0, count, each):
            out, new = gone[i : i + each], come[i : i + each]
            self.timed("remove", partial(self.index.remove, out))
            self.timed("add", partial(self.index.add, self.data.rows[new], ids=new))
        self.live[gone], self.live[come] = False, True

    def random(self, among: Array, count: int) -> Array:
        """Return some at random."""
        return self.rng.choice(among, count, replace=False)

    def cluster(self, among: Array, count: int) -> Array:
        """Return one at random and those nearest to it."""
        metric = self.data.metric if self.data.is_bits else "l2"
        rows = self.data.rows[among]
        centre = rows[self.rng.integers(len(among))][None]
        return among[nb.knn(centre, rows, count, metric).ids[0]]

    def timed(self, change: str, call: Callable[[], object]) -> None:
        """Add up the processor time of changes of a kind."""
        start = time.process_time()
        call()
        self.seconds[change] += time.process_time() - start


def pass_through(life: Life, times: int, progress: Progress, task: TaskID) -> None:
    """Change the index until so many times its size has been added."""
    while life.steps < times * CHUNK:
        life.step()
        progress.update(task, advance=1, description=f"{life.steps} steps", refresh=True)


# ----------------------------------------------------------------------------------- comparing


def compare(life: Life, rounds: int) -> dict[str, Any]:
    """Compare the index with one that is built anew of the same rows."""
    ids = np.flatnonzero(life.live)
    here = replace(life.data, rows=np.ascontiguousarray(life.data.rows[ids]))
    fresh = new_index(here)
    fresh.add(here.rows, ids=ids, threads=2)

    def recalls(index: nb.Index, ef: int) -> Array:
        found = index.search(here.report, K, ef=ef).ids
        return here.recalls("report", np.where(found >= 0, np.searchsorted(ids, found), -1))

    ef = least_ef(lambda ef: recalls(fresh, ef).mean(), K)
    sides = {OURS: life.index, FRESH: fresh}
    each = {side: recalls(index, ef) for side, index in sides.items()}
    lost = each[FRESH] - each[OURS]
    scored = {
        side: index.search(here.report, K, ef=ef, stats=True).stats["distances"]
        for side, index in sides.items()
    }
    result: dict[str, Any] = {
        "ef": ef,
        "recall": {side: float(values.mean()) for side, values in each.items()},
        "lost": {"mean": float(lost.mean()), "error": float(lost.std() / len(lost) ** 0.5)},
        "scored": {side: float(values.mean()) for side, values in scored.items()},
        "bytes": {side: index.nbytes / len(ids) for side, index in sides.items()},
        "slots": {side: index.stats()["slots"] for side, index in sides.items()},
        "seconds": dict(life.seconds),
        "samples": {},
        "ratio": {},
    }
    some, singles = here.report[:BATCH], here.report[:SINGLES]
    for kind, n, search in (
        ("batch", len(some), lambda index: index.search(some, K, ef=ef, threads=1)),
        ("single", len(singles), lambda index: [index.search(q, K, ef=ef) for q in singles]),
    ):
        calls = {side: partial(search, index) for side, index in sides.items()}
        samples = interleave(calls, rounds, per_call=n)
        result["samples"][kind] = {side: values.tolist() for side, values in samples.items()}
        result["ratio"][kind] = asdict(median_interval(samples[FRESH] / samples[OURS]))
    return result


# ------------------------------------------------------------------------------- beside others


def search_beside_adds(life: Life, ef: int) -> dict[str, Any]:
    """Time searches, one by one: alone, beside adds to a copy, and beside adds to the index.

    A copy takes as much of the machine, but has locks of its own.
    """
    queries = life.data.report
    for query in queries[:SINGLES]:
        life.index.search(query, K, ef=ef)
    found = {}
    for beside, index in {"nothing": None, "a copy": life.index.copy(), OURS: life.index}.items():
        taken: list[int] = []
        with adding(life, index) as added:
            ends = time.perf_counter() + BESIDE_SECONDS
            while time.perf_counter() < ends:
                query = queries[len(taken) % len(queries)]
                start = time.perf_counter_ns()
                life.index.search(query, K, ef=ef)
                taken.append(time.perf_counter_ns() - start)
        quantiles = np.quantile(np.array(taken) / 1e3, (0.5, 0.99, 0.999)).tolist()
        found[beside] = dict(zip(("p50", "p99", "p99.9"), quantiles, strict=True))
        found[beside] |= {"searches": len(taken), "added": sum(added)}
    return found


@contextmanager
def adding(life: Life, index: nb.Index | None) -> Any:
    """Have another thread add rows, one and a hundred a call in turn, and remove them later."""
    added: list[int] = []
    stop = threading.Event()
    outside = deque(np.flatnonzero(~life.live).tolist())
    held: deque[list[int]] = deque()  # of each call, so that the size stays about the same

    def add() -> None:
        for calls in itertools.count():
            if index is None or stop.is_set():
                return
            if len(held) > HELD_CALLS:
                gone = held.popleft()
                index.remove(gone)
                outside.extend(gone)
            new = [outside.popleft() for _ in range(CHUNK if calls % 2 else 1)]
            index.add(life.data.rows[new], ids=np.array(new), threads=1)
            held.append(new)
            added.append(len(new))

    with ThreadPoolExecutor(1) as thread:
        adds = thread.submit(add)
        try:
            yield added
        finally:
            stop.set()
            adds.result()
            if index is not None:
                index.remove([i for ids in held for i in ids])


def exclusive_steps(native: Path) -> dict[str, dict[str, float]]:
    """Return what nearbit_bench says of the steps that keep searches out, by change."""
    command = [str(native.resolve()), "--benchmark_filter=^exclusive/", "--benchmark_format=json"]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    kept = ("p50", "p99", "p99.9", "most", "steps")
    return {
        run["name"].removeprefix("exclusive/").partition("/iterations")[0]: {
            k: run[k] for k in kept
        }
        for run in json.loads(done.stdout)["benchmarks"]
    }


if __name__ == "__main__":
    typer.run(main)
