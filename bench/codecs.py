"""Compare the speed of compact codecs with their peers: `python bench/codecs.py --help`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import codecs_cases
import exact
import report
import typer
from rich.console import Console


def main(
    rounds: Annotated[
        int,
        typer.Option(min=exact.FEWEST_ROUNDS, max=50, help="Of each case; where one is long, 7."),
    ] = 21,
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="TEXT", help="Cases whose names hold this; repeat to narrow down."),
    ] = None,
    out: Annotated[Path, typer.Option(file_okay=False, help="Where results go.")] = exact.RESULTS,
    show: Annotated[bool, typer.Option("--list", help="Name the cases and end.")] = False,
) -> None:
    """Compare compact codecs with their peers in turns: a table, a page, samples and a plot."""
    words = only or []
    cases = [case for case in codecs_cases.all_cases() if all(word in case.name for word in words)]
    if show:
        print("\n".join(case.name for case in cases))
        return
    figures = exact.measure(cases, rounds)
    about = report.machine() | codecs_cases.versions() | {"rounds": rounds}
    console = Console(width=None if sys.stdout.isatty() else 160)
    console.print(report.table(figures, about))
    stem = "codecs" + ("-selection" if words else "")
    for path in report.write(figures, about, out, stem, "Compact codecs"):
        print(path, file=sys.stderr)


if __name__ == "__main__":
    typer.run(main)
