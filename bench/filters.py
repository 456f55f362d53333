"""Filtered search in a graph beside scans: `python bench/filters.py --help`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Annotated

import exact
import numpy as np
import report
import search_sets
import typer
from figures import OURS, Case, Limit, Ratio, Samples, interleave
from rich.console import Console
from search_engines import installed
from search_sets import Array, K, Set, SetName, SomeRows

import nearbit as nb

SCAN, UNFILTERED, MISSED = "scan", "unfiltered", "missed"
GROUPS, QUERIES = 8, 20  # filters, and the queries that come with each
OF_SCAN = 1 / 1.2  # owed: that much of its speed
OF_UNFILTERED = {0.99: None, 0.5: 0.5, 0.1: 0.25, 0.01: None, 0.001: None}  # by the share allowed
RANDOM, AGAINST = "at random", "against the query"
SIDES = ("with the query", RANDOM, AGAINST)


def main(
    name: SetName,
    rows: SomeRows = None,
    rounds: Annotated[int, typer.Option(min=3, max=50, help="Of each case.")] = 11,
    out: Annotated[Path, typer.Option(file_okay=False, help="Where results go.")] = exact.RESULTS,
) -> None:
    """Search a graph under filters, beside a scan of what they allow and beside no filter."""
    data = search_sets.take(name, rows)
    figures = exact.measure(list(all_cases(data)), rounds)
    about = report.machine() | {"nearbit": installed("nearbit"), "rounds": rounds}
    about |= {"rows": len(data.rows), "dim": data.dim, "metric": data.metric}
    console = Console(width=None if sys.stdout.isatty() else 160)
    console.print(report.table(figures, about))
    for path in report.write(figures, about, out, f"filters-{data.name}", "Filtered search"):
        print(path, file=sys.stderr)


@dataclass(frozen=True)
class Pair:
    """A graph at its default settings, and the same codes without links."""

    data: Set
    codec: nb.codecs.Codec
    refine: str | None

    def __str__(self) -> str:
        bits = f"({self.codec.bits})" if isinstance(self.codec, nb.RaBitQ) else ""
        return self.codec.name + bits + (f" + {self.refine}" if self.refine else "")

    def filled(self, layout: str) -> nb.Index:
        """Return an index of all rows."""
        index = nb.Index(self.data.dim, self.data.metric, layout, self.codec, self.refine)
        index.add(self.data.rows, threads=2)
        return index

    @cached_property
    def graph(self) -> nb.Index:
        return self.filled("graph")

    @cached_property
    def flat(self) -> nb.Index:
        return self.filled("flat")


@dataclass(frozen=True)
class Group:
    """Queries that are near to each other, and the rows that their filter allows."""

    queries: Array
    allowed: Array


def groups(data: Set, share: float, side: str) -> Iterator[Group]:
    """Yield filters that allow the rows nearest to or farthest from their queries, or others."""
    rng = np.random.default_rng(0)
    every = np.arange(len(data.rows))[None]
    count = max(1, round(share * len(data.rows)))
    for query in data.report[rng.choice(len(data.report), GROUPS, replace=False)]:
        near = nb.knn(query[None], data.report, QUERIES, data.metric).ids[0]
        off = search_sets.distances(data.metric, query[None], data.rows, every)[0]
        order = np.argsort(off, kind="stable")
        if side == RANDOM:
            rng.shuffle(order)
        yield Group(data.report[near], order[-count:] if side == AGAINST else order[:count])


def all_cases(data: Set) -> Iterator[Case]:
    """Yield a case for each codec, share, side, and way to ask."""
    codecs = [(nb.Bits(), None)] if data.is_bits else [(nb.Float32(), None), (nb.RaBitQ(4), "sq8")]
    for codec, refine in codecs:
        pair = Pair(data, codec, refine)
        for share, owed in OF_UNFILTERED.items():
            for side in SIDES:
                for at_once in (QUERIES, 1):
                    ways = "a call for all" if at_once > 1 else "a call each"
                    yield Case(
                        f"{pair}, {100 * share:g} % {side}, {ways}",
                        (
                            Ratio(SCAN, OF_SCAN),
                            Ratio(UNFILTERED, owed),
                            Limit("% missed", 100, owed=5, sample=MISSED),
                        ),
                        partial(measure, pair, share, side, at_once),
                    )


def measure(pair: Pair, share: float, side: str, at_once: int, rounds: int) -> Samples:
    """Sample seconds a query, and how many of the nearest are missed."""
    data = pair.data
    calls: dict[str, list[Callable[[], object]]] = {OURS: [], SCAN: [], UNFILTERED: []}
    missed = []
    for group in groups(data, share, side):
        graph_filter, flat_filter = (i.filter(group.allowed) for i in (pair.graph, pair.flat))
        for first in range(0, len(group.queries), at_once):
            some = group.queries[first : first + at_once]
            found = pair.graph.search(some, K, filter=graph_filter)
            assert (found.counts == min(K, len(group.allowed))).all()
            missed.append(share_missed(data, some, group.allowed, found.ids))
            search = partial(pair.graph.search, some, K, threads=1)
            calls[OURS].append(partial(search, filter=graph_filter))
            calls[UNFILTERED].append(search)
            calls[SCAN].append(partial(pair.flat.search, some, K, threads=1, filter=flat_filter))
    together = {name: partial(all_of, those) for name, those in calls.items()}
    samples = interleave(together, rounds, per_call=GROUPS * QUERIES)
    return samples | {MISSED: np.array([np.mean(missed)])}


def all_of(calls: list[Callable[[], object]]) -> None:
    """Make the calls."""
    for call in calls:
        call()


def share_missed(data: Set, queries: Array, allowed: Array, ids: Array) -> float:
    """Return the share of the nearest allowed rows that isn't among the ids, by distance."""
    rows = np.ascontiguousarray(data.rows[allowed])
    nearest = nb.knn(queries, rows, min(K, len(rows)), data.metric).ids
    truth = search_sets.distances(data.metric, queries, rows, nearest)
    found = search_sets.distances(data.metric, queries, data.rows, ids)
    farthest = truth.max(axis=1, keepdims=True)
    hits = (found <= farthest + 1e-5 * np.abs(farthest)).sum(axis=1)
    return float(1 - np.minimum(hits / nearest.shape[1], 1).mean())


if __name__ == "__main__":
    typer.run(main)
