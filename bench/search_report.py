"""What the benchmark of search found, as pages and plots, from its JSON alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import matplotlib as mpl
from compress_report import table
from figures import Interval
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from search_curves import (
    LEAST,
    TARGETS,
    Choice,
    Points,
    Records,
    choices,
    frontier,
    ratio,
    report_points,
    us_at,
)

OURS = "nearbit"
KINDS = {"batch": "many in a call", "single": "one by one"}
SCALES = ("synthetic-10k", "synthetic-100k", "synthetic-1m")
SHOWN_RECALLS = (0.85, 0.9, 0.95, 0.99, 0.999)


def write(results: dict[str, Any], out: Path) -> list[Path]:
    """Write the page and the plot of a set; of a synthetic one also those against its size."""
    name = results["set"]["name"]
    page, plot = (out / f"search-{name}.{kind}" for kind in ("md", "png"))
    records = measured(results)
    draw(name, records, plot)
    page.write_text(markdown(results, plot.name))
    return [page, plot, *(write_scales(out) if name in SCALES else [])]


def measured(results: dict[str, Any]) -> Records:
    """Return the records that have all figures, without builds that failed."""
    return {title: r for title, r in results["builds"].items() if "failed" not in r}


def best(records: Records, target: float) -> dict[str, Choice]:
    """Return what each engine is reported with at a recall."""
    return choices(records, target, among_reported=True)


def us_of(records: Records, choice: Choice, target: float, kind: str) -> float | None:
    """Return microseconds a query at a recall, the median of all rounds."""
    return us_at(report_points(records, choice, kind), target)


def engine_name(engine: str) -> str:
    """Return an engine's name, ours in bold."""
    return f"**{engine}**" if engine.startswith(OURS) else engine


def settings_of(records: Records, choice: Choice) -> str:
    """Name build and search settings without the engine."""
    return records[choice.title]["settings"] + (f"; {choice.curve}" if choice.curve else "")


def per_row(n_bytes: int | None, rows: int) -> str:
    """Return bytes a vector as text."""
    return "" if n_bytes is None else f"{n_bytes / rows:,.0f}"


# ---------------------------------------------------------------------------------------- page


def markdown(results: dict[str, Any], plot: str) -> str:
    """Return the page of a set."""
    about, records = results["set"], measured(results)
    lines = [
        f"# Search of {about['name']}",
        "",
        f"{about['rows']:,} rows of {about['dim']} dimensions, metric {about['metric']}:",
        f"{about['about']}.",
        "",
        f"The 10 nearest. {about['tune']:,} queries choose each engine's build and settings,",
        f"{about['report']:,} others are reported. Queries a second of processor time of one",
        "thread; bytes are by how much a process grew for each vector as it read the index;",
        "building is in processor seconds of two threads. Settings are chosen by calls with many.",
        "",
        f"![queries a second against recall]({plot})",
    ]
    for target in TARGETS:
        lines += ["", f"## Recall {target:.2f}", "", *at_recall(records, target, about["rows"])]
    lines += ["", "## Default settings", "", *defaults(records)]
    lines += ["", "## Indexes", "", *indexes(records, about["rows"])]
    lines += ["", "## Left out", "", *left_out(results)]
    lines += ["", "## Measured with", ""]
    versions: dict[str, set[str]] = {}
    for record in results["builds"].values():
        versions.setdefault(record["library"], set()).add(record["version"])
    lines += [f"- {key}: {'; '.join(sorted(values))}" for key, values in sorted(versions.items())]
    lines += [f"- {key}: {value}" for key, value in results["about"].items()]
    return "\n".join(lines) + "\n"


def at_recall(records: Records, target: float, rows: int) -> list[str]:
    """Return the engines that reach a recall, fastest first, and ratios of ours to the others."""
    chosen = best(records, target)
    times = {engine: us_of(records, c, target, "batch") for engine, c in chosen.items()}
    reach = sorted((us, engine) for engine, us in times.items() if us is not None)
    cells = []
    for us, engine in reach:
        choice = chosen[engine]
        record = records[choice.title]
        single, p50, p99 = (us_of(records, choice, target, k) for k in ("single", "p50", "p99"))
        row = [engine_name(engine), settings_of(records, choice)]
        row += [per_row(record["bytes"]["resident"], rows), f"{1e6 / us:,.0f}"]
        row += [f"{1e6 / single:,.0f}", f"{p50:,.0f}", f"{p99:,.0f}"]
        cells.append([*row, f"{record['build']['cpu']:.1f}"])
    headings = (
        "engine", "settings", "bytes", "QPS, many in a call", "QPS, one by one", "p50 us", "p99 us",
        "build s",
    )  # fmt: skip
    lines = table(headings, cells)
    short = sorted(engine for engine, us in times.items() if us is None)
    if short:
        lines += ["", f"Don't reach it: {', '.join(short)}."]
    chosen = {engine: chosen[engine] for _, engine in reach}
    for kind, words in KINDS.items():
        lines += ["", *ratios(records, chosen, target, rows, kind, words)]
    return lines


def ratios(
    records: Records, chosen: dict[str, Choice], target: float, rows: int, kind: str, words: str
) -> list[str]:
    """Return how many times as fast ours are as the others, in a table."""
    ours = [engine for engine in chosen if engine.startswith(OURS)]
    peers = [engine for engine in chosen if engine not in ours]
    if not ours or not peers:
        return []

    def weighed(engine: str) -> str:
        return f"{engine}, {per_row(records[chosen[engine].title]['bytes']['resident'], rows)}"

    lines = [f"Times as fast, {words}, beside bytes: median and 95 % interval over rounds.", ""]
    cells = []
    for peer in peers:
        pairs = [ratio(records, chosen[one], chosen[peer], target, kind) for one in ours]
        cells.append([weighed(peer), *(shown(pair) for pair in pairs)])
    return lines + table(("", *map(weighed, ours)), cells)


def shown(interval: Interval | None) -> str:
    """Return an interval as text."""
    return "" if interval is None else "{:.2f} ({:.2f} to {:.2f})".format(*vars(interval).values())


def defaults(records: Records) -> list[str]:
    """Return recall and speed of each library that is told nothing."""
    rows = []
    for title, record in records.items():
        point = record.get("report", {}).get("", {}).get(record["default effort"])
        if not record["default"] or point is None:
            continue
        effort, recall = record["default effort"], f"{point['recall']:.4f}"
        error = f"{2 * point['error']:.4f}"
        points = report_points({title: record}, Choice(title, ""), "batch")
        us = points[list(record["report"][""]).index(effort)][1]
        name, settings = engine_name(record["engine"]), record["settings"]
        rows.append([name, settings, effort, f"{recall} ± {error}", f"{1e6 / us:,.0f}"])
    return table(("engine", "settings", "effort", "recall", "QPS, many in a call"), rows)


def indexes(records: Records, rows: int) -> list[str]:
    """Return what each index weighs and how long it took to build."""
    cells = []
    for title, record in records.items():
        at = [f"{t:.2f}" for t in TARGETS if title in {c.title for c in best(records, t).values()}]
        size, taken = record["bytes"], record["build"]
        sizes = [per_row(size[kind], rows) for kind in ("resident", "own", "file")]
        name = engine_name(record["engine"])
        seconds = [f"{taken[clock]:.1f}" for clock in ("cpu", "wall")]
        cells.append([name, record["settings"], *seconds, *sizes, ", ".join(at)])
    headings = (
        "engine", "settings", "build s", "wall s", "bytes resident", "as it says", "in a file",
        "chosen at",
    )  # fmt: skip
    return table(headings, cells)


def left_out(results: dict[str, Any]) -> list[str]:
    """Name what isn't compared, and why."""
    lines = [f"- {engine}: not installed" for engine in results["not installed"]]
    lines += [f"- {library}: takes no such rows" for library in results["take no such rows"]]
    for title, record in results["builds"].items():
        if "failed" in record:
            lines.append(f"- {title}: {record['failed']}")
    return lines or ["Nothing."]


# ---------------------------------------------------------------------------------------- plot


def style(engine: str, i: int) -> dict[str, Any]:
    """Return how the line of the i-th engine is drawn, ours in front."""
    colour = {"color": f"C{i % 10}"}
    if engine.startswith(OURS):
        return colour | {"linewidth": 2.2, "linestyle": "-", "marker": "o", "zorder": 3}
    marker = ".x+"[i // 10 % 3]
    return colour | {"linewidth": 0.9, "linestyle": "--", "marker": marker, "zorder": 2}


def legend(chart: Figure, axes: Axes) -> None:
    """Name the lines of a panel beside all panels."""
    lines, names = axes.get_legend_handles_labels()
    chart.legend(lines, names, loc="outside right upper", fontsize=8)


def engine_curve(records: Records, engine: str, kind: str) -> Points:
    """Return the best of an engine at any recall."""
    points: Points = []
    for title, record in records.items():
        if record["engine"] == engine:
            for curve in record.get("report", {}):
                points += report_points(records, Choice(title, curve), kind)
    return frontier([point for point in points if point[0] >= LEAST])


def draw(name: str, records: Records, path: Path) -> None:
    """Draw queries a second against recall."""
    mpl.use("Agg")
    chart, panels = plt.subplots(1, 2, figsize=(15, 6), layout="constrained", sharey=True)
    engines = sorted({record["engine"] for record in records.values()})
    for axes, (kind, words) in zip(panels, KINDS.items(), strict=True):
        for i, engine in enumerate(engines):
            points = engine_curve(records, engine, kind)
            if points:
                recalls, us = zip(*points, strict=True)
                missed = [max(1 - recall, 5e-4) for recall in recalls]
                speeds = [1e6 / each for each in us]
                axes.plot(missed, speeds, label=engine, **style(engine, i))
        axes.set_xscale("log")
        axes.set_xlim(1.1 * (1 - LEAST), 4e-4)
        ticks = [1 - recall for recall in SHOWN_RECALLS]
        axes.set_xticks(ticks, [f"{recall:g}" for recall in SHOWN_RECALLS])
        axes.minorticks_off()
        axes.set_yscale("log")
        axes.set_xlabel("recall@10")
        axes.set_title(words)
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("queries a second of one thread")
    legend(chart, panels[0])
    chart.suptitle(name)
    chart.savefig(path, dpi=60, metadata={"Software": None})
    plt.close(chart)


# ------------------------------------------------------------------------------------ by size


def write_scales(out: Path) -> list[Path]:
    """Write page and plot of the synthetic sets together: speed against the number of rows."""
    files = [out / f"search-{name}.json" for name in SCALES]
    sizes = [json.loads(file.read_text()) for file in files if file.exists()]
    if len(sizes) < 2:
        return []
    mpl.use("Agg")
    page, plot = (out / f"search-synthetic.{kind}" for kind in ("md", "png"))
    chart, panels = plt.subplots(
        1, len(TARGETS), figsize=(15, 5), layout="constrained", sharey=True
    )
    lines = ["# Search by number of rows", "", sizes[0]["set"]["about"] + ".", ""]
    lines.append(f"![queries a second against rows]({plot.name})")
    numbers = [results["set"]["rows"] for results in sizes]
    for axes, target in zip(panels, TARGETS, strict=True):
        speeds: dict[str, dict[int, float]] = {}
        for n, results in zip(numbers, sizes, strict=True):
            records = measured(results)
            for engine, choice in best(records, target).items():
                us = us_of(records, choice, target, "batch")
                if us is not None:
                    speeds.setdefault(engine, {})[n] = 1e6 / us
        for i, (engine, found) in enumerate(sorted(speeds.items())):
            axes.plot(list(found), list(found.values()), label=engine, **style(engine, i))
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel("rows")
        axes.set_title(f"recall@10 of {target:.2f}")
        axes.grid(alpha=0.3)
        rows = [
            [engine_name(engine), *(f"{found[n]:,.0f}" if n in found else "" for n in numbers)]
            for engine, found in sorted(speeds.items())
        ]
        headings = ("QPS, many in a call", *(f"{n:,} rows" for n in numbers))
        lines += ["", f"## Recall {target:.2f}", "", *table(headings, rows)]
    panels[0].set_ylabel("queries a second of one thread")
    legend(chart, panels[0])
    chart.savefig(plot, dpi=60, metadata={"Software": None})
    plt.close(chart)
    page.write_text("\n".join(lines) + "\n")
    return [page, plot]
