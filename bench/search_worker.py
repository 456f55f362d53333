"""One process for each index: it answers over a pipe, and tells what time its own work took."""

from __future__ import annotations

import ctypes
import gc
import multiprocessing
import os
import platform
import shutil
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from search_engines import Build, Index
from search_sets import Array

if TYPE_CHECKING:
    from typing_extensions import Self

WARM_UP = 20  # queries before anything is timed, as another process has just had the caches
SPAWN = multiprocessing.get_context("spawn")


class Failed(Exception):
    """What a library can't do, in its words."""


class Worker:
    """The other end: a process that holds one index."""

    def __init__(self, build: Build, threads: int, log: Path) -> None:
        # A library that counts threads as it loads finds as many as it may use.
        os.environ["OMP_NUM_THREADS"] = str(threads)
        self.pipe, theirs = SPAWN.Pipe()
        self.process = SPAWN.Process(target=serve, args=(theirs, build.make, log), daemon=True)
        self.process.start()
        theirs.close()
        self.log = log

    def ask(self, what: str, *arguments: Any) -> Any:
        """Have the worker do something, and return its answer."""
        try:
            self.pipe.send((what, arguments))
            fine, answer = self.pipe.recv()
        except (EOFError, OSError):
            self.process.join()
            words = self.log.read_text(errors="replace").strip().splitlines()
            last = f": {words[-1]}" if words else ""
            msg = f"its process ended with {self.process.exitcode}{last}"
            raise Failed(msg) from None
        if not fine:
            raise Failed(answer)
        return answer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.pipe.close()
        self.process.join()


def serve(pipe: Connection, make: Callable[[], Index], log: Path) -> None:
    """Answer until nobody asks any more."""
    # Some libraries print.
    with log.open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    served: Served | None = None
    while True:
        try:
            what, arguments = pipe.recv()
        except EOFError:
            return
        try:
            served = served or Served(make)
            answer = (True, getattr(served, what)(*arguments))
        except Exception as error:  # noqa: BLE001 - whatever a library raises is an answer
            lines = str(error).splitlines() or [""]
            answer = (False, f"{type(error).__name__}: {lines[0]}")
        pipe.send(answer)


class Served:
    """What a worker can be asked."""

    def __init__(self, make: Callable[[], Index]) -> None:
        self.make, self.index = make, make()
        self.queries: dict[str, Array] = {}

    def build(self, rows: Path, path: Path, threads: int) -> dict[str, float]:
        """Make the index of rows in a file, and keep it; return the seconds it took."""
        loaded = np.load(rows)
        cpu, wall = time.process_time(), time.perf_counter()
        self.index.build(loaded, threads)
        taken = {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}
        self.index.save(path)
        return taken

    def load(self, path: Path) -> dict[str, int | None]:
        """Read the index; return by how much that made this process grow, and what it says."""
        # Read once before: a library's code takes memory, too, when it is first run.
        self.index.load(path)
        self.index = self.make()
        trim()
        before = resident()
        self.index.load(path)
        trim()
        after = resident()
        grown = None if before is None or after is None else after - before
        return {"resident": grown, "own": getattr(self.index, "nbytes", None)}

    def take(self, queries: dict[str, Array]) -> None:
        """Receive the queries, by the part they play."""
        self.queries = queries

    def ids(self, part: str, effort: int | str, settings: dict[str, Any]) -> tuple[Array, float]:
        """Return what is found for all queries, and about how many microseconds each took."""
        queries = self.queries[part]
        self.index.prepare(effort, **settings)
        start = time.process_time_ns()
        found = np.asarray(self.index.batch(queries))
        return found, (time.process_time_ns() - start) / len(queries) / 1e3

    def times(
        self, part: str, effort: int | str, settings: dict[str, Any], batch: int, singles: int
    ) -> dict[str, float]:
        """Return microseconds a query, of a call with many and of calls with one each."""
        queries, index = self.queries[part], self.index
        index.prepare(effort, **settings)
        gc.collect()
        gc.disable()
        last = queries[-WARM_UP:]
        index.batch(last)
        many = queries[:batch]
        cpu, wall = time.process_time_ns(), time.perf_counter_ns()
        index.batch(many)
        result = {
            "batch": (time.process_time_ns() - cpu) / len(many) / 1e3,
            "batch wall": (time.perf_counter_ns() - wall) / len(many) / 1e3,
        }
        if singles:
            each = [queries[i : i + 1] for i in range(min(singles, len(queries)))]
            for i in range(len(last)):
                index.one(last[i : i + 1])
            marks = [time.process_time_ns()]
            wall = time.perf_counter_ns()
            for query in each:
                index.one(query)
                marks.append(time.process_time_ns())
            wall = time.perf_counter_ns() - wall
            taken = np.diff(marks) / 1e3
            result |= {"single": taken.mean(), "single wall": wall / len(each) / 1e3}
            result |= {"p50": np.median(taken), "p99": np.quantile(taken, 0.99)}
        gc.enable()
        return {name: float(f"{value:.4g}") for name, value in result.items()}


def resident() -> int | None:
    """Return the bytes of memory that this process has, where the system tells."""
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGESIZE") if statm.exists() else None


def trim() -> None:
    """Give free memory back to the system, so that it isn't counted."""
    gc.collect()
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)


def build_index(build: Build, rows: Path, path: Path, threads: int) -> dict[str, float]:
    """Make an index in a process of its own, at a path that it only gets when it is whole."""
    part = path.with_name(f"{path.name}.part{os.getpid()}")
    try:
        with Worker(build, threads, path.with_suffix(".log")) as worker:
            taken = worker.ask("build", rows, part, threads)
        part.replace(path)
    finally:
        remove(part)
    return taken


def file_bytes(path: Path) -> int:
    """Return the size of a file, or of all files in a folder."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def remove(path: Path) -> None:
    """Remove a file or a folder, if it is there."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
