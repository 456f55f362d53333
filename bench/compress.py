"""Compare compact codecs at equal bytes a row: `python bench/compress.py --help`."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Annotated, Any

os.environ.setdefault("OMP_NUM_THREADS", "2")  # before any BLAS loads

import compress_codecs as codecs
import compress_report
import numpy as np
import report
import typer
from compress_sets import READ, SETS, Array, K, Set, distances
from rich.console import Console
from runs import bar, load, store

import nearbit as nb

RESULTS = Path(__file__).parent / "results"
BATCH, SINGLES = 200, 50  # queries that are timed, together and one by one


def main(
    name: Annotated[str, typer.Argument(metavar="SET", help=f"One of {', '.join(SETS)}.")],
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="TEXT", help="Codecs whose names hold this; repeat to narrow down."),
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Measure them though they are.")] = False,
    out: Annotated[Path, typer.Option(file_okay=False, help="Where results go.")] = RESULTS,
    show: Annotated[bool, typer.Option("--list", help="Name the codecs and end.")] = False,
) -> None:
    """Compare compact codecs at equal bytes a row: recall, speed, and what training takes.

    What was measured before is kept, so that a run that ended early goes on where it was.
    """
    if name not in SETS:
        msg = f"expected one of {', '.join(SETS)}, got {name}"
        raise typer.BadParameter(msg)
    data = SETS[name]()
    candidates = [
        candidate
        for candidate in codecs.all_candidates(data)
        if all(word in candidate.title for word in only or [])
    ]
    if show:
        print("\n".join(candidate.title for candidate in candidates))
        return
    path = out / f"compress-{name}.json"
    done = load(path)
    todo = [one for one in candidates if again or one.title not in done]
    with bar(Console(stderr=True)) as progress:
        task = progress.add_task("", total=len(todo))
        for candidate in todo:
            progress.update(task, description=candidate.title, refresh=True)
            store(path, candidate.title, measure(candidate, data))
            progress.update(task, advance=1, refresh=True)
    for written in compress_report.write(data, load(path), out):
        print(written)


# ------------------------------------------------------------------------------------ measuring


def measure(candidate: codecs.Candidate, data: Set) -> dict[str, Any]:
    """Train, fill and search one codec."""
    store = candidate.build()
    train = seconds(lambda: store.train(data.sample()))
    if store.train_seconds is not None:
        train = {"cpu": store.train_seconds, "wall": None}
    encode = seconds(lambda: store.add(data.rows))
    result = {
        "library": candidate.library,
        "family": candidate.family,
        "row_bytes": store.row_bytes,
        "shared_bytes": store.shared_bytes,
        "train": train,
        "encode": encode,
    }
    for part, queries in data.queries.items():
        ids = store.search(queries, READ, threads=codecs.THREADS)
        result[part] = quality(data, part, ids)
    if candidate.timed:
        result["us"] = speed(store, data.test)
    return result | {"measured with": codecs.versions() | report.machine()}


def seconds(call: Any) -> dict[str, float | None]:
    """Return what a call takes, in processor and in wall time."""
    cpu, wall = time.process_time(), time.perf_counter()
    call()
    return {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}


def speed(store: codecs.Store, queries: Array) -> dict[str, float]:
    """Return processor microseconds a query, many at once and one by one, on one thread."""
    store.search(queries[:1], K, threads=1)
    batch = seconds(lambda: store.search(queries[:BATCH], K, threads=1))["cpu"]
    singles = [
        seconds(lambda q=q: store.search(q[None], K, threads=1))["cpu"] for q in queries[:SINGLES]
    ]
    return {"batch": batch / BATCH * 1e6, "single": float(np.median(singles)) * 1e6}


def quality(data: Set, part: str, ids: Array) -> dict[str, Any]:
    """Return recall, and the share of queries answered, without and with scoring again."""
    found = {"plain": ids[:, :K], "rescored": rescored(data, data.queries[part], ids)}
    result = {}
    for way, best in found.items():
        each = recalls(data, part, best)
        result[way] = {"recall": each.mean(), "error": each.std() / len(each) ** 0.5}
        if part == "test" and data.relevant is not None:
            hit = best == data.relevant[:, None]
            result[way]["task"] = {str(k): hit[:, :k].any(axis=1).mean() for k in (1, 5, 10)}
    return result


def recalls(data: Set, part: str, ids: Array) -> Array:
    """Return for each query the share of its K nearest that is among the ids, by distance."""
    queries, truth = data.queries[part], data.truth[part]
    found = np.sort(distances(data.metric, queries, data.rows, ids), axis=1)
    return np.array([nb.metrics.recall(f, t) for f, t in zip(found, truth, strict=True)])


def rescored(data: Set, queries: Array, ids: Array) -> Array:
    """Return the K best of the ids by distance to rows of halves, as any index can keep them."""
    exact = distances(data.metric, queries, data.halves, ids)
    return np.take_along_axis(ids, np.argsort(exact, axis=1, kind="stable")[:, :K], axis=1)


if __name__ == "__main__":
    typer.run(main)
