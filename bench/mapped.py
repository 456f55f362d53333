"""Map a saved index: how long opening takes, and how much memory several processes hold.

`python bench/mapped.py INDEX` is one such process. It answers each line that it reads with a line
of JSON, so that the parent decides when all of them have come equally far, and ends with its input.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import nearbit as nb

DIM = 384
CHUNK = 65_536


def make(path: Path, n_bytes: int) -> None:
    """Save an index with `n_bytes` of rows under ids that no arithmetic gives."""
    rng = np.random.default_rng(0)
    n = n_bytes // (4 * DIM)
    ids = rng.permutation(3 * n)[:n]
    index = nb.Index(DIM, metric="l2", codec="float32")
    index.reserve(n)
    for start in range(0, n, CHUNK):
        some = ids[start : start + CHUNK]
        index.add(rng.random((len(some), DIM), dtype=np.float32), ids=some)
    index.save(path)


def open_seconds(path: Path) -> float:
    """Map the index in this process, and let it go."""
    start = time.perf_counter()
    nb.load(path, mmap=True)
    return time.perf_counter() - start


def open_seconds_fresh(path: Path) -> float:
    """Map the index in a process that has never mapped one."""
    with processes(path, 1) as [process]:
        return float(ask(process)["open_seconds"])


def memory(path: Path, count: int) -> list[dict[str, float]]:
    """Return, for `count` processes that each searched the whole index, what that added to each.

    `pss` is the process's proportional share of pages, `private` what nobody shares, in bytes.
    """
    with processes(path, count) as running:
        for _ in ("open", "search"):
            for process in running:
                ask(process)
        return [ask(process) for process in running]


@contextlib.contextmanager
def processes(path: Path, count: int) -> Iterator[list[subprocess.Popen[str]]]:
    """Run processes that map the index, for as long as the block lasts."""
    command = [sys.executable, __file__, str(path)]
    pipe = subprocess.PIPE
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True))
            for _ in range(count)
        ]


def ask(process: subprocess.Popen[str]) -> dict[str, float]:
    """Let the process take its next step and return what it found."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    answer: dict[str, float] = json.loads(process.stdout.readline())
    return answer


def resident() -> dict[str, int]:
    """Return the resident bytes of this process by kind, as Linux counts them."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()[1:]
    held = {key: int(kib) * 1024 for key, kib, _ in map(str.split, lines)}
    return {"pss": held["Pss:"], "private": held["Private_Clean:"] + held["Private_Dirty:"]}


def steps(path: Path) -> Iterator[dict[str, Any]]:
    """Open, search, measure: one step a line of input."""
    before = resident()
    start = time.perf_counter()
    index = nb.load(path, mmap=True)
    yield {"open_seconds": time.perf_counter() - start}
    yield {"found": int(index.search(np.zeros(DIM, np.float32), 10).counts)}
    after = resident()
    yield {kind: after[kind] - before[kind] for kind in after}


if __name__ == "__main__":
    work = steps(Path(sys.argv[1]))
    for _ in sys.stdin:
        print(json.dumps(next(work)), flush=True)
