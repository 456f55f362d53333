"""Samples taken side by side, and what a figure says about them."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

OURS = "nearbit"

Samples = dict[str, NDArray[np.float64]]
"""Values of the rounds: seconds of OURS and of each rival, or what a Limit names."""


@dataclass(frozen=True)
class Interval:
    """A median and its bootstrap 95 % interval."""

    median: float
    low: float
    high: float


@dataclass(frozen=True)
class Figure:
    """What one bar makes of a case's samples."""

    case: str
    against: str
    unit: str
    owed: float | None
    aim: float | None
    value: Interval
    verdict: str
    threads: int
    samples: dict[str, list[float]] = field(repr=False)


@dataclass(frozen=True)
class Ratio:
    """How many times as fast as a rival; met when the interval's lower end reaches `owed`.

    For the record without `owed`.
    """

    against: str
    owed: float | None
    aim: float | None = None
    unit: str = "x"

    def value(self, samples: Samples) -> Interval:
        """Judge the ratios of the rounds, each of two neighbours in time."""
        return median_interval(samples[self.against] / samples[OURS])

    def verdict(self, value: Interval) -> str:
        """Say whether it is reached."""
        if self.owed is None:
            return ""
        return "met" if value.low >= self.owed else "not met"


@dataclass(frozen=True)
class Limit:
    """At most `owed` of a unit, of which a sample of 1 holds `scale`; for the record without it."""

    unit: str
    scale: float = 1
    owed: float | None = None
    aim: float | None = None
    sample: str = OURS
    against: str = ""

    def value(self, samples: Samples) -> Interval:
        """Judge our own samples."""
        return median_interval(samples[self.sample] * self.scale)

    def verdict(self, value: Interval) -> str:
        """Say whether it is kept."""
        if self.owed is None:
            return ""
        return "met" if value.high <= self.owed else "not met"


Bar = Ratio | Limit


@dataclass(frozen=True)
class Case:
    """One comparison: how its samples are taken, and the bars that they are held to."""

    name: str
    bars: tuple[Bar, ...]
    measure: Callable[[int], Samples]
    threads: int = 1
    heavy: bool = False  # seconds a round: the fewest rounds do
    extra: bool = False  # too long for the usual run

    def figures(self, rounds: int) -> list[Figure]:
        """Measure, and hold the samples to each bar."""
        samples = self.measure(rounds)
        shown = {name: values.tolist() for name, values in samples.items()}
        figures = []
        for bar in self.bars:
            value = bar.value(samples)
            figures.append(
                Figure(
                    case=self.name,
                    against=bar.against,
                    unit=bar.unit,
                    owed=bar.owed,
                    aim=bar.aim,
                    value=value,
                    verdict=bar.verdict(value),
                    threads=self.threads,
                    samples=shown,
                )
            )
        return figures


def median_interval(values: NDArray[np.float64], resamples: int = 10_000) -> Interval:
    """Return the median with its percentile-bootstrap interval; the seed is fixed."""
    picks = np.random.default_rng(0).choice(values, (resamples, len(values)))
    low, high = np.quantile(np.median(picks, axis=1), [0.025, 0.975])
    return Interval(float(np.median(values)), float(low), float(high))


def interleave(
    calls: Mapping[str, Callable[[], object]], rounds: int, threads: int = 1, per_call: int = 1
) -> Samples:
    """Time every call once a round, each in turn going first.

    One thread is timed in CPU time, which other work on the machine disturbs least; several in
    wall time, as no other clock knows what waiting for each other costs. A call that does
    `per_call` pieces of work is counted per piece.
    """
    clock = time.thread_time_ns if threads == 1 else time.perf_counter_ns
    taken: dict[str, list[int]] = {name: [] for name in calls}
    order = list(calls)
    gc.collect()
    gc.disable()
    try:
        for _ in range(rounds):
            for name in order:
                start = clock()
                calls[name]()
                taken[name].append(clock() - start)
            order.append(order.pop(0))
    finally:
        gc.enable()
    return {name: np.array(times) * 1e-9 / per_call for name, times in taken.items()}
