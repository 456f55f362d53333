"""Hamming scans beside a plain read of memory, from the native benchmark."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path

import numpy as np
from figures import OURS, Case, Ratio, Samples

OWED, AIM = 0.85, 1.0
READ = "plain read"
N_BYTES = 192 << 20


def cases(native: Path | None) -> Iterator[Case]:
    """Yield a case for each width and number of threads; none without the benchmark's binary."""
    if native is None:
        return
    for bits in (256, 512, 1024, 2048):
        for threads in (1, 2):
            name = f"hamming {bits} bit, scan of 192 MiB, {threads} thread{'s'[: threads - 1]}"
            measure = partial(measure_scan, native, bits, threads)
            yield Case(name, (Ratio(READ, OWED, AIM),), measure, threads, heavy=True)


def measure_scan(native: Path, bits: int, threads: int, rounds: int) -> Samples:
    """Sample seconds of a pass over all bytes."""
    seconds = passes(native, rounds)
    suffix = "" if threads == 1 else f"/real_time/threads:{threads}"
    return {
        OURS: np.array(seconds[f"beside/scan/bits:{bits}{suffix}"]),
        READ: np.array(seconds[f"beside/read{suffix}"]),
    }


@cache
def passes(native: Path, rounds: int) -> dict[str, list[float]]:
    """Run scans and reads in turn, and return the seconds of each round by benchmark."""
    command = [
        str(native.resolve()),
        "--benchmark_filter=^beside/",
        f"--benchmark_repetitions={rounds}",
        "--benchmark_enable_random_interleaving=true",
        "--benchmark_min_time=0.1",
        "--benchmark_format=json",
    ]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    seconds: dict[str, list[float]] = {}
    for run in json.loads(done.stdout)["benchmarks"]:
        if run["run_type"] == "iteration":
            taken = N_BYTES / run["bytes_per_second"]  # of all threads together
            seconds.setdefault(run["run_name"], []).append(taken)
    return seconds
