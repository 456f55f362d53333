"""Recall of graphs by the order that rows come in: `python bench/orders.py --help`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

os.environ.setdefault("OMP_NUM_THREADS", "2")  # before any BLAS loads

import matplotlib as mpl
import numpy as np
import report
import typer
from compress_report import table
from matplotlib import pyplot as plt
from rich.console import Console
from runs import bar, least_ef, load, store
from search_engines import Faiss, Hnswlib, Index, Ours, installed
from search_sets import Array, K, Set, SetName, SomeRows, take

import nearbit as nb

RESULTS = Path(__file__).parent / "results"
CALLS = {"one call": 0.5, "row by row": 1.0}  # and points of recall that orders may differ by
RANDOM = "random"  # the order that ef is chosen with
NEIGHBOURS = 100  # that tell a local intrinsic dimension
CLUSTERS = 100
SAMPLE = 20_000  # rows that tell the first principal component

Order = Callable[[Set], Array]


def main(
    name: SetName,
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="TEXT", help="Libraries whose names hold this; repeat to add others."),
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Measure them though they are.")] = False,
    rows: SomeRows = None,
    out: Annotated[Path, typer.Option(file_okay=False, help="Where results go.")] = RESULTS,
) -> None:
    """Compare the recall of graphs that got the same rows in different orders.

    What was measured before is kept, so that a run that ended early goes on where it was.
    """
    data = take(name, rows)
    # No order is chosen by them, so all queries report.
    data = replace(data, report=np.concatenate([data.tune, data.report]), tune=data.tune[:0])
    path = out / f"orders-{data.name}.json"
    chosen = [lib for lib in libraries(data) if not only or any(w in lib.title for w in only)]
    chosen = [lib for lib in chosen if installed(lib.library) is not None]
    with bar(Console(stderr=True)) as progress:
        task = progress.add_task("orders", total=len(chosen) * len(CALLS) * len(ORDERS))
        orders: dict[str, Array] = {}
        for library in chosen:
            for call in CALLS:
                title = f"{library.title}, {call}"
                done = {} if again else load(path).get(title, {})
                if done.get("version") != installed(library.library):
                    done = {"version": installed(library.library), "recalls": {}}
                for order, rank in ORDERS.items():
                    progress.update(task, description=f"{title}, {order}", refresh=True)
                    if order not in done["recalls"]:
                        if order not in orders:
                            orders[order] = rank(data)
                        measure(library, call, data, order, orders[order], done)
                        about = {"rows": len(data.rows), "queries": len(data.report)}
                        done["measured with"] = report.machine() | about
                        store(path, title, done)
                    progress.update(task, advance=1, refresh=True)
    for written in write(data, load(path), path):
        print(written)


# ----------------------------------------------------------------------------------- libraries


@dataclass(frozen=True)
class Library:
    """A graph of some library, at the settings that it comes with."""

    title: str
    library: str  # as its distribution is called
    make: Callable[[], Any]


def libraries(data: Set) -> Iterator[Library]:
    """Ours, and peers where they take the set."""
    codec = nb.Bits() if data.is_bits else nb.Float32()
    yield Library("nearbit", "nearbit", partial(Ours, data.dim, data.metric, "graph", codec, None))
    if not data.is_bits:
        settings = {"M": 16, "ef_construction": 200}
        yield Library("hnswlib", "hnswlib", partial(Hnswlib, data.dim, data.metric, **settings))
        make = partial(Faiss, data.dim, data.metric, "HNSW32", 40)
        yield Library("faiss HNSW", "faiss-cpu", make)


def measure(
    library: Library, call: str, data: Set, name: str, order: Array, done: dict[str, Any]
) -> None:
    """Fill an index in an order, and note its recall at the ef that the random order needs."""
    index: Index = library.make()
    rows = np.ascontiguousarray(data.rows[order])
    if call == "one call":
        index.start(len(rows), 2)(rows)
    else:
        add = index.start(len(rows), 1)
        for i in range(len(rows)):
            add(rows[i : i + 1])
    if name == RANDOM:
        done["ef"] = least_ef(lambda ef: recalls(index, data, order, ef).mean(), K)
    each = recalls(index, data, order, done["ef"])
    done["recalls"][name] = round(float(each.mean()), 5)
    done["error"] = round(float(each.std() / len(each) ** 0.5), 5)


def recalls(index: Index, data: Set, order: Array, ef: int) -> Array:
    """Return each query's recall at an ef."""
    index.prepare(ef)
    found = np.asarray(index.batch(data.report))
    return data.recalls("report", np.where(found >= 0, order[found], -1))


# ------------------------------------------------------------------------------------- orders


def random_order(seed: int, data: Set) -> Array:
    """Return the rows in no order."""
    return np.random.default_rng(seed).permutation(len(data.rows))


def along_component(data: Set) -> Array:
    """Return the rows along the first principal component."""
    shuffled = random_order(0, data)
    sample = numbers(data, shuffled[:SAMPLE])
    middle = sample.mean(axis=0)
    _, axes = np.linalg.eigh(np.cov(sample - middle, rowvar=False))
    pieces = np.array_split(np.arange(len(data.rows)), 1 + len(data.rows) // SAMPLE)
    return np.argsort(np.concatenate([numbers(data, piece) @ axes[:, -1] for piece in pieces]))


def numbers(data: Set, which: Array) -> Array:
    """Return rows as floats."""
    rows = data.rows[which]
    return (np.unpackbits(rows, axis=1) if data.is_bits else rows).astype(np.float32)


def by_cluster(data: Set) -> Array:
    """Return the rows one cluster after the other: those nearest to the same of a few rows."""
    shuffled = random_order(0, data)
    centres = data.rows[shuffled[:CLUSTERS]]
    nearest = nb.knn(data.rows[shuffled], centres, 1, geometry(data), threads=2).ids[:, 0]
    return shuffled[np.argsort(nearest, kind="stable")]


def by_dimension(sign: int, data: Set) -> Array:
    """Return the rows by local intrinsic dimension, ascending or descending."""
    return np.argsort(sign * intrinsic_dimensions(data), kind="stable")


def intrinsic_dimensions(data: Set) -> Array:
    """Estimate each row's local intrinsic dimension, by maximum likelihood (Amsaleg et al. 2015).

    It is -1 / mean(log(r / r_k)) of the distances r to its k neighbours, of which zeros are left
    out.
    """
    metric = geometry(data)
    found = nb.knn(data.rows, data.rows, NEIGHBOURS + 1, metric, threads=2).distances[:, 1:]
    distances = np.sqrt(found) if metric == "l2" else found
    farthest = distances[:, -1:]
    apart = distances > 0
    logs = np.log(np.where(apart, distances / np.maximum(farthest, 1e-30), 1))
    return apart.sum(axis=1) / np.maximum(-logs.sum(axis=1), 1e-9)


def geometry(data: Set) -> str:
    """Return the metric that tells which rows lie together."""
    return data.metric if data.is_bits else "l2"


ORDERS: dict[str, Order] = {
    RANDOM: partial(random_order, 1),
    "random again": partial(random_order, 2),
    "a third time": partial(random_order, 3),
    "first component": along_component,
    "by cluster": by_cluster,
    "dimension up": partial(by_dimension, 1),
    "dimension down": partial(by_dimension, -1),
}


# ---------------------------------------------------------------------------------------- page


def write(data: Set, results: dict[str, Any], path: Path) -> list[Path]:
    """Write the page and the plot."""
    page, plot = path.with_suffix(".md"), path.with_suffix(".png")
    draw(data.name, results, plot)
    lines = [
        f"# Orders of {data.name}",
        "",
        f"{len(data.rows):,} rows of {data.dim} dimensions, metric {data.metric}: {data.about}.",
        f"Recall@10 in percent of {len(data.report):,} queries, of graphs at default settings that",
        "got the same rows in different orders, in one call or one row a call; ef is the least",
        "that finds 95 % where the order is random. The spread is that of all orders.",
        "",
        f"![recall by order]({plot.name})",
        "",
    ]
    headings = ("", "ef", *ORDERS, "standard error", "spread", "owed", "")
    cells = []
    for title, result in results.items():
        found = [result["recalls"].get(order) for order in ORDERS]
        shown = ["" if recall is None else f"{100 * recall:.2f}" for recall in found]
        points = spread(result)
        owed = CALLS[title.rpartition(", ")[2]] if title.startswith("nearbit") else None
        verdict = "" if owed is None else "met" if points <= owed else "not met"
        row = [title, str(result["ef"]), *shown, f"{100 * result['error']:.2f}", f"{points:.2f}"]
        cells.append([*row, "" if owed is None else f"{owed:g}", verdict])
    lines += [*table(headings, cells), "", "## Measured with", ""]
    lines += sorted({f"- {title}: {result['version']}" for title, result in results.items()})
    about = list(results.values())[-1]["measured with"]
    lines += [f"- {key}: {value}" for key, value in about.items()]
    page.write_text("\n".join(lines) + "\n")
    return [path, page, plot]


def spread(result: dict[str, Any]) -> float:
    """Return how far the recalls of orders lie apart, in points."""
    found = list(result["recalls"].values())
    return 100 * (max(found) - min(found))


def draw(name: str, results: dict[str, Any], path: Path) -> None:
    """Draw the recall of each order, an index a line."""
    mpl.use("Agg")
    chart, axes = plt.subplots(figsize=(9, 1.5 + 0.5 * len(results)), layout="constrained")
    titles = list(results)[::-1]
    for i, order in enumerate(ORDERS):
        at = [y for y, title in enumerate(titles) if order in results[title]["recalls"]]
        found = [100 * results[titles[y]]["recalls"][order] for y in at]
        axes.plot(found, at, "o^vsDPX"[i], color=f"C{i}", label=order, alpha=0.8)
    axes.set_yticks(range(len(titles)), titles)
    axes.set_ylim(-0.7, len(titles) - 0.3)
    axes.set_xlabel("recall@10, %")
    axes.grid(axis="x", alpha=0.3)
    axes.set_title(name)
    chart.legend(loc="outside right upper", fontsize=8)
    chart.savefig(path, dpi=80, metadata={"Software": None})
    plt.close(chart)


if __name__ == "__main__":
    typer.run(main)
