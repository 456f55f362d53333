"""What the benchmark of a changing graph found, as a page and a plot, from its JSON alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
from compress_report import table
from figures import OURS
from matplotlib import pyplot as plt
from runs import load
from search_report import KINDS

LOST, SPEED, HELD = 1.0, 0.9, 100.0  # owed: points of recall, share of speed, microseconds
EXCLUSIVE = (
    "Microseconds of processor time for which a step of a change keeps searches out, rows being "
    f"32 floats; owed is p99.9 under {HELD:g}."
)

Results = dict[str, Any]


def write(path: Path) -> list[Path]:
    """Write the page and the plot of what a JSON holds."""
    results = load(path)
    page, plot = path.with_suffix(".md"), path.with_suffix(".png")
    draw(results, plot)
    about = results["about"]
    lines = [
        f"# A changing graph: {about['set']}",
        "",
        f"{about['size']:,} of {about['rows']:,} rows are in the index at a time, metric",
        f"{about['metric']}. Rows leave and others come, in calls with a hundredth of the size or",
        "one by one, at random or a neighbourhood at once, or come anew under their ids. Beside it",
        "is an index that is built of the same rows in one call; ef is the least at which that one",
        f"finds 95 % of the 10 nearest of {about['queries']:,} queries. Speed is that of the one",
        "that changed beside the other's, by processor time of one thread: median and 95 %",
        "interval over rounds.",
        "",
        f"![recall and speed]({plot.name})",
        "",
        *checkpoints(results["checkpoints"]),
        "",
        "## Searches beside adds",
        "",
        "Microseconds of wall time that a search of one query takes, while another thread adds a",
        "row and a hundred rows in turn, and removes them a few calls later. A copy takes as much",
        "of the machine, but has locks of its own.",
        "",
        *beside(results["beside"]),
    ]
    if "exclusive" in results:
        lines += ["", "## Exclusive steps", "", EXCLUSIVE, "", *exclusive(results["exclusive"])]
    lines += ["", "## Measured with", "", *(f"- {key}: {value}" for key, value in about.items())]
    page.write_text("\n".join(lines) + "\n")
    return [path, page, plot]


def checkpoints(found: Results) -> list[str]:
    """Return the comparisons as a table."""
    headings = ("times its size", "ef", "recall", "built anew", "points lost", "owed", "",
                *(f"speed, {words}" for words in KINDS.values()), "owed", "", "rows scored",
                "built anew", "bytes a row", "built anew", "CPU s of changes")  # fmt: skip
    cells = []
    for times, one in found.items():
        ours, fresh = one["recall"].values()
        lost, error = (100 * one["lost"][key] for key in ("mean", "error"))
        slow = min(one["ratio"][kind]["low"] for kind in KINDS)
        cells.append(
            [
                times,
                str(one["ef"]),
                f"{ours:.4f}",
                f"{fresh:.4f}",
                f"{lost:.2f} ± {2 * error:.2f}",
                f"{LOST:g}",
                "met" if lost <= LOST else "not met",
                *(ratio(one["ratio"][kind]) for kind in KINDS),
                f"{SPEED:g}",
                "met" if slow >= SPEED else "not met",
                *(f"{n:,.0f}" for n in one["scored"].values()),
                *(f"{n:,.0f}" for n in one["bytes"].values()),
                ", ".join(f"{change} {s:.0f}" for change, s in one["seconds"].items()),
            ]
        )
    return table(headings, cells)


def ratio(interval: dict[str, float]) -> str:
    """Return an interval as text."""
    return "{median:.2f} ({low:.2f} to {high:.2f})".format(**interval)


def beside(found: Results) -> list[str]:
    """Return latencies as a table."""
    names = {OURS: "the index itself"}
    quantiles = ("p50", "p99", "p99.9")
    cells = [
        [
            names.get(to, to),
            *(f"{one[q]:,.0f}" for q in quantiles),
            f"{one['searches']:,}",
            f"{one['added']:,}",
        ]
        for to, one in found.items()
    ]
    return table(("adds to", *quantiles, "searches", "rows added"), cells)


def exclusive(found: Results) -> list[str]:
    """Return the exclusive steps as a table."""
    numbers = ("p50", "p99", "p99.9", "most")
    cells = [
        [
            change,
            f"{one['steps']:,.0f}",
            *(f"{one[number]:.1f}" for number in numbers),
            "met" if one["p99.9"] < HELD else "not met",
        ]
        for change, one in found.items()
    ]
    return table(("change", "steps", *numbers, ""), cells)


def draw(results: Results, path: Path) -> None:
    """Draw recall and speed against what has passed through."""
    mpl.use("Agg")
    chart, (left, right) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
    found = results["checkpoints"]
    times = [int(each) for each in found]
    for side, label in ((OURS, "changed"), ("built anew", "built anew")):
        left.plot(times, [100 * one["recall"][side] for one in found.values()], "o-", label=label)
    left.set_ylabel("recall@10, %")
    left.legend()
    for kind, words in KINDS.items():
        ratios = [one["ratio"][kind] for one in found.values()]
        middle = [each["median"] for each in ratios]
        spread = [[abs(each[end] - each["median"]) for each in ratios] for end in ("low", "high")]
        right.errorbar(times, middle, spread, fmt="o-", capsize=3, label=words)
    right.axhline(SPEED, color="black", linewidth=0.8)
    right.set_ylabel("speed beside the one built anew")
    right.legend()
    for axes in (left, right):
        axes.set_xlabel("times the index's size that came in")
        axes.grid(alpha=0.3)
    chart.suptitle(results["about"]["set"])
    chart.savefig(path, dpi=80, metadata={"Software": None})
    plt.close(chart)
