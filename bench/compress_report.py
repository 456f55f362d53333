"""What the study of compression found, as a page, a plot, and rows for other pages."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import matplotlib as mpl
from compress_sets import OVER, Set
from matplotlib import pyplot as plt

Result = dict[str, Any]
Results = dict[str, Result]  # by title

OURS = "nearbit"
LEAST = 0.75  # share of a budget that a code shown at it uses


def recall(result: Result, part: str = "test", way: str = "plain") -> float:
    """Return recall@10."""
    return result[part][way]["recall"]


def best_of_families(
    results: Results, budget: int, *, over: bool = False, least: float = LEAST
) -> list[str]:
    """Return each library's and family's best at a budget, by the validation queries, best first.

    `over`: those that exceed it instead, by no more than OVER.
    """
    low, high = (budget, OVER * budget) if over else (least * budget, budget)
    families: dict[tuple[str, str], list[str]] = defaultdict(list)
    for title, result in results.items():
        size = result["row_bytes"]
        if low < size <= high or (size == high and not over):
            families[result["library"], result["family"]].append(title)
    by_validation = lambda title: recall(results[title], "validation")  # noqa: E731
    best = [max(titles, key=by_validation) for titles in families.values()]
    return sorted(best, key=by_validation, reverse=True)


def headline(results: Results, budget: int) -> tuple[str | None, str | None, str | None]:
    """Return our best, the best peer, and the best of peers that exceed the budget a little."""

    def first(titles: list[str], ours: bool) -> str | None:
        return next((t for t in titles if (results[t]["library"] == OURS) == ours), None)

    # Whoever may use 96 bytes may use 48.
    within = best_of_families(results, budget, least=0)
    beyond = best_of_families(results, budget, over=True)
    return first(within, True), first(within, False), first(beyond, False)


# ---------------------------------------------------------------------------------------- page

HEADINGS = (
    "codec", "bytes", "shared KiB", "recall@10", "rescored", "task R@1, 5, 10", "train s",
    "encode s", "us/query, 200", "one by one",
)  # fmt: skip


def cells(title: str, result: Result) -> list[str]:
    """Return a result as text, one for each of HEADINGS."""
    test = result["test"]
    task, us = test["plain"].get("task"), result.get("us")
    size = f"{result['row_bytes']:g}"
    return [
        f"**{title}**" if result["library"] == OURS else title,
        size,
        f"{result['shared_bytes'] / 1024:,.0f}",
        f"{test['plain']['recall']:.4f} ± {2 * test['plain']['error']:.3f}",
        f"{test['rescored']['recall']:.4f}",
        ", ".join(f"{share:.3f}" for share in task.values()) if task else "",
        f"{result['train']['cpu']:.1f}",
        f"{result['encode']['cpu']:.1f}",
        f"{us['batch']:,.0f}" if us else "",
        f"{us['single']:,.0f}" if us else "",
    ]


def table(headings: tuple[str, ...], rows: list[list[str]]) -> list[str]:
    """Return lines of a Markdown table."""
    lines = [headings, ["---"] * len(headings), *rows]
    return ["| " + " | ".join(line) + " |" for line in lines]


def summary(data: Set, results: Results) -> list[str]:
    """Return our best beside the best peer at each budget, as a table."""
    rows = []
    for budget in data.budgets:
        ours, peer, beyond = headline(results, budget)
        if ours is None or peer is None:
            continue
        row = [str(budget)]
        for title in (ours, peer):
            result = results[title]
            row += [f"{title}, {result['row_bytes']:g}", f"{recall(result):.4f}"]
        gain = recall(results[ours]) - recall(results[peer])
        row.append(f"{100 * gain:+.1f}")
        row.append(f"{recall(results[ours], way='rescored'):.4f}")
        row.append(f"{recall(results[peer], way='rescored'):.4f}")
        row.append(
            ""
            if beyond is None
            else f"{beyond}, {results[beyond]['row_bytes']:g}: {recall(results[beyond]):.4f}"
        )
        rows.append(row)
    headings = (
        "budget", "nearbit's best, bytes", "recall@10", "best peer, bytes", "recall@10", "points",
        "nearbit rescored", "peer rescored", "best peer that is a little over",
    )  # fmt: skip
    return table(headings, rows)


def markdown(data: Set, results: Results, plot: str) -> str:
    """Return the page of a set."""
    about = (
        f"{len(data.rows):,} rows of {data.dim} dimensions, metric {data.metric}; "
        f"{len(data.test):,} test queries. Of each family the setting that is best on "
        f"{len(data.validation):,} other queries; bytes are all that a row owns but its id."
    )
    lines = [
        f"# Compression of {data.name}",
        "",
        about,
        "Recall is by distance, ± two standard errors; rescored: of the best 100, read as float16.",
        "Training and encoding in processor seconds, queries in processor time of one thread.",
        "",
        *summary(data, results),
        "",
        f"![recall against bytes]({plot})",
    ]
    for budget in data.budgets:
        lines += ["", f"## {budget} bytes", ""]
        shown = best_of_families(results, budget)
        lines += table(HEADINGS, [cells(title, results[title]) for title in shown])
        beyond = best_of_families(results, budget, over=True)
        if beyond:
            lines += ["", "A little over:", ""]
            lines += table(HEADINGS, [cells(title, results[title]) for title in beyond])
    large = OVER * max(data.budgets)
    more = [title for title, result in results.items() if result["row_bytes"] > large]
    if more:
        more.sort(key=lambda title: results[title]["row_bytes"])
        lines += ["", "## More bytes", ""]
        lines += table(HEADINGS, [cells(title, results[title]) for title in more])
    lines += ["", "## Measured with", ""]
    setups = [result["measured with"] for result in results.values()]
    for key in setups[0]:
        values = sorted({str(setup[key]) for setup in setups})
        lines.append(f"- {key}: {'; '.join(values)}")
    return "\n".join(lines) + "\n"


# ---------------------------------------------------------------------------------------- plot


def draw(data: Set, results: Results, path: Path) -> None:
    """Draw recall against bytes, the best of each family, ours in front."""
    mpl.use("Agg")
    lines: dict[tuple[str, str], set[str]] = defaultdict(set)
    for budget in data.budgets:
        for over in (False, True):
            for title in best_of_families(results, budget, over=over):
                lines[results[title]["library"], results[title]["family"]].add(title)
    chart, panels = plt.subplots(1, 2, figsize=(12, 5.5), layout="constrained", sharex=True)
    ways = {"plain": "codes alone", "rescored": "the best 100 scored again, from float16"}
    for axes, (way, words) in zip(panels, ways.items(), strict=True):
        for (library, family), titles in sorted(lines.items()):
            points = sorted(
                (results[title]["row_bytes"], recall(results[title], way=way)) for title in titles
            )
            axes.plot(
                *zip(*points, strict=True),
                label=f"{library} {family}",
                linewidth=2.2 if library == OURS else 0.9,
                linestyle="-"
                if library == OURS
                else {"faiss": "--", "rabitqlib": "-."}.get(library, ":"),
                marker="o" if library == OURS else ".",
                zorder=3 if library == OURS else 2,
            )
        axes.set_title(words)
        axes.set_xscale("log", base=2)
        axes.set_xticks(data.budgets, [str(budget) for budget in data.budgets])
        axes.set_xlabel("bytes a row")
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("recall@10")
    panels[0].legend(fontsize=7, ncols=2)
    chart.suptitle(data.name)
    chart.savefig(path, dpi=60, metadata={"Software": None})
    plt.close(chart)


def write(data: Set, results: Results, out: Path) -> list[Path]:
    """Write the page and the plot of a set."""
    page, plot = (out / f"compress-{data.name}.{kind}" for kind in ("md", "png"))
    draw(data, results, plot)
    page.write_text(markdown(data, results, plot.name))
    return [page, plot]
