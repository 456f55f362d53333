"""Speed at a recall, read off curves; which settings to choose by it; and ratios of two engines.

A curve is the points of one index and settings at different efforts. In the JSON a build has
"tune" and "report": curve's name -> effort -> what was measured.
"""

from __future__ import annotations

import math
import statistics
from typing import Any, NamedTuple

import numpy as np
from figures import Interval, median_interval
from numpy.typing import ArrayLike, NDArray

TARGETS = (0.90, 0.95, 0.99)  # recalls
LEAST, MOST = 0.85, 0.997  # recalls between which curves are measured
LEVEL = 0.0005  # what efforts beyond have to add
MARGIN = 0.001  # that a curve has to reach a recall by, so that it does for other queries, too

Records = dict[str, dict[str, Any]]  # of builds, by title
Points = list[tuple[float, float]]  # recall, microseconds a query


class Choice(NamedTuple):
    """A build, by title, and one of its curves, by name."""

    title: str
    curve: str


def us_at(points: Points, recall: float) -> float | None:
    """Return microseconds a query at a recall: their logarithm between points, by that of misses.

    Below the first point its own, as a search that finds more than was asked for is good enough;
    above the last None.
    """
    best = frontier(points)
    if not best or best[-1][0] < recall:
        return None
    recalls, us = zip(*best, strict=True)
    return float(math.exp(np.interp(rarity(recall), rarity(recalls), np.log(us))))


def rarity(recall: ArrayLike) -> NDArray[np.float64]:
    """Return the logarithm of how rare misses are: times grow evenly with it."""
    return -np.log(np.maximum(1 - np.asarray(recall), 1e-5))


def frontier(points: Points) -> Points:
    """Return the points that no other beats in both recall and time, recall ascending."""
    best: Points = []
    for recall, us in sorted(points, key=lambda point: (-point[0], point[1])):
        if not best or us < best[-1][1]:
            best.append((recall, us))
    return best[::-1]


# ------------------------------------------------------------------------------------ choosing


def tune_points(record: dict[str, Any], curve: str) -> Points:
    """Return a curve as the queries that tune saw it."""
    efforts = record["tune"][curve].values()
    return [(e["recall"], statistics.median(e["us"])) for e in efforts]


def choices(records: Records, target: float, *, among_reported: bool = False) -> dict[str, Choice]:
    """Return each engine's fastest build and curve at a recall, by the queries that tune.

    Those that reach it by MARGIN come before the others, and of an engine that doesn't reach it,
    those that come nearest.
    """
    best: dict[str, tuple[tuple[float, bool, float], Choice]] = {}
    for title, record in records.items():
        for curve in record.get("tune", {}):
            if among_reported and not rounds_of(records, Choice(title, curve)):
                continue
            points = tune_points(record, curve)
            us = us_at(points, target)
            most = max(recall for recall, _ in points)
            # Compared by what is missing in recall, then by time.
            safe = most >= target + MARGIN
            rank = (max(target - most, 0.0), not safe, math.inf if us is None else us)
            found = best.get(record["engine"])
            if found is None or rank < found[0]:
                best[record["engine"]] = (rank, Choice(title, curve))
    return {engine: choice for engine, (_, choice) in best.items()}


def plan(records: Records) -> dict[Choice, list[str]]:
    """Return the curves to report, each with its efforts: the best at any target, and defaults."""
    chosen = {choice for target in TARGETS for choice in choices(records, target).values()}
    result = {choice: report_efforts(records[choice.title], choice.curve) for choice in chosen}
    for title, record in records.items():
        if record.get("default") and "tune" in record:
            efforts = result.setdefault(Choice(title, ""), [])
            if record["default effort"] not in efforts:
                efforts.append(record["default effort"])
    return dict(sorted(result.items()))


def report_efforts(record: dict[str, Any], curve: str) -> list[str]:
    """Return the efforts between LEAST and MOST, and the next on either side."""
    measured = sorted(record["tune"][curve].items(), key=lambda item: item[1]["recall"])
    recalls = [point["recall"] for _, point in measured]
    first = max(int(np.searchsorted(recalls, LEAST)) - 1, 0)
    last = int(np.searchsorted(recalls, min(MOST, recalls[-1] - LEVEL)))
    return [effort for effort, _ in measured[first : last + 1]]


# ----------------------------------------------------------------------------------- reporting


def rounds_of(records: Records, choice: Choice) -> set[str]:
    """Return the rounds that have all points of a curve that is reported."""
    points = records[choice.title].get("report", {}).get(choice.curve, {}).values()
    rounds = [set(point["rounds"]) for point in points]
    return set.intersection(*rounds) if rounds else set()


def report_points(
    records: Records, choice: Choice, kind: str, round_name: str | None = None
) -> Points:
    """Return a curve of one round, or of the medians of all."""
    result = []
    for point in records[choice.title]["report"][choice.curve].values():
        rounds = point["rounds"].values() if round_name is None else [point["rounds"][round_name]]
        result.append((point["recall"], statistics.median(sample[kind] for sample in rounds)))
    return result


def ratio(
    records: Records, ours: Choice, theirs: Choice, target: float, kind: str
) -> Interval | None:
    """Return how many times as fast ours is at a recall, over the rounds that both were in."""
    ratios = []
    for name in sorted(rounds_of(records, ours) & rounds_of(records, theirs)):
        times = [us_at(report_points(records, one, kind, name), target) for one in (ours, theirs)]
        if None in times:
            return None
        ratios.append(times[1] / times[0])
    return median_interval(np.array(ratios)) if ratios else None
