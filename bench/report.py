"""Where figures were measured, and figures as a table, Markdown, JSON and a plot."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import matplotlib as mpl
from figures import OURS, Figure
from matplotlib import pyplot as plt
from rich.table import Table

HEADINGS = ("case", "against", "ours", "theirs", "value", "95 % interval", "owed", "aim", "")
VERDICT_STYLES = {"met": "green", "not met": "red", "": ""}

About = dict[str, Any]


# --------------------------------------------------------------------------------- the machine


def machine() -> About:
    """Describe what the figures depend on besides the libraries."""
    return {
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "last level cache": last_level_cache(),
        "huge pages": huge_pages(),
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "commit": commit(),
    }


def cpu_name() -> str:
    """Return the processor's name, as far as the system tells."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def last_level_cache() -> str:
    """Return its size, such as 32768K, or unknown."""
    sizes = sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size"))
    return sizes[-1].read_text().strip() if sizes else "unknown"


def huge_pages() -> str:
    """Return who gets them: always, madvise (who asks), never, or unknown."""
    setting = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    choices = setting.read_text() if setting.exists() else "[unknown]"
    return choices.partition("[")[2].partition("]")[0]


def commit() -> str:
    """Return the commit of this tree, with + behind it where files differ from it."""
    git = ("git", "-C", str(Path(__file__).parent))
    command = (*git, "describe", "--always", "--dirty=+", "--exclude=*")
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


# ----------------------------------------------------------------------------------- the table


def cells(figure: Figure) -> tuple[str, ...]:
    """Return a figure as text, one for each of HEADINGS."""

    def amount(number: float | None) -> str:
        space = "" if figure.unit == "x" else " "
        return "" if number is None else f"{number:.3g}{space}{figure.unit}"

    sides = (OURS, figure.against) if figure.against else ()
    times = [f"{statistics.median(figure.samples[side]) * 1e6:.1f} us" for side in sides]
    return (
        figure.case,
        figure.against,
        *(times or ["", ""]),
        amount(figure.value.median),
        f"{figure.value.low:.3g} - {figure.value.high:.3g}",
        amount(figure.owed),
        amount(figure.aim),
        figure.verdict,
    )


def table(figures: list[Figure], about: About) -> Table:
    """Return the figures as a table for the terminal."""
    caption = "\n".join(sentences(about))
    shown = Table(title=summary(figures), caption=caption, caption_justify="left")
    for heading in HEADINGS:
        shown.add_column(heading, no_wrap=True)
    for figure in figures:
        shown.add_row(*cells(figure), style=VERDICT_STYLES[figure.verdict])
    return shown


def markdown(figures: list[Figure], about: About, plot: str, title: str) -> str:
    """Return the figures as a page."""
    lines = [f"# {title}: {summary(figures)}", ""]
    lines += [f"- {sentence}" for sentence in sentences(about)]
    lines += ["", f"![ratios beside what is owed]({plot})", ""]
    lines += ["| " + " | ".join(HEADINGS) + " |", "|" + "---|" * len(HEADINGS)]
    lines += ["| " + " | ".join(cells(figure)) + " |" for figure in figures]
    return "\n".join(lines) + "\n"


def summary(figures: list[Figure]) -> str:
    """Say how many are met."""
    owed = [figure for figure in figures if figure.verdict]
    return f"{sum(figure.verdict == 'met' for figure in owed)} of {len(owed)} figures met"


def sentences(about: About) -> Iterator[str]:
    """Say where and how it was measured."""
    yield from (f"{key}: {value}" for key, value in about.items())
    yield "times: of one query (or call), medians of the rounds; CPU time, of 2 threads wall time"


# ------------------------------------------------------------------------------------ the files


def write(figures: list[Figure], about: About, folder: Path, stem: str, title: str) -> list[Path]:
    """Write the page, everything measured, and the plot where there is a ratio."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{stem}.{kind}" for kind in ("md", "json", "png")]
    page, data, plot = paths
    page.write_text(markdown(figures, about, plot.name, title))
    content = {"about": about, "figures": [asdict(figure) for figure in figures]}
    data.write_text(json.dumps(content, indent=1) + "\n")
    draw(figures, plot)
    return paths


def draw(figures: list[Figure], path: Path) -> None:
    """Draw the ratios with their intervals beside what is owed and aimed at."""
    ratios = [figure for figure in figures if figure.unit == "x"][::-1]
    labels = [f"{figure.case}, against {figure.against}" for figure in ratios]
    mpl.use("Agg")
    height = 1.5 + 0.17 * len(ratios)
    chart, axes = plt.subplots(figsize=(10, height), layout="constrained")
    for at, figure in enumerate(ratios):
        value = figure.value
        colour = {"met": "tab:green", "not met": "tab:red", "": "tab:gray"}[figure.verdict]
        axes.hlines(at, value.low, value.high, color=colour, linewidth=2)
        axes.plot(value.median, at, "o", color=colour, markersize=4)
        for bar, shade in ((figure.aim, "silver"), (figure.owed, "black")):
            if bar is not None:
                axes.plot(bar, at, "|", color=shade, markersize=8)
    axes.set_yticks(range(len(ratios)), labels, fontsize=6)
    axes.set_ylim(-1, len(ratios))
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter("{x:g}x")
    axes.set_xlabel("times as fast, median and 95 % interval; black: owed, grey: aim")
    axes.grid(axis="x", alpha=0.3)
    chart.savefig(path, dpi=110)
    plt.close(chart)
