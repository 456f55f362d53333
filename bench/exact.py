"""Compare exact search with faiss and usearch on this machine: `python bench/exact.py --help`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import report
import typer
from figures import Case, Figure
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

FEWEST_ROUNDS = 7
RESULTS = Path(__file__).parent / "results"


def main(
    rounds: Annotated[
        int,
        typer.Option(min=FEWEST_ROUNDS, max=50, help="Of each case; where one lasts seconds, 7."),
    ] = 21,
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="TEXT", help="Cases whose names hold this; repeat to narrow down."),
    ] = None,
    extra: Annotated[bool, typer.Option("--extra", help="Add the longest cases.")] = False,
    faiss_level: Annotated[
        str | None,
        typer.Option(metavar="LEVEL", help="What faiss uses, such as AVX2; else its best."),
    ] = None,
    native: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="nearbit_bench: scans beside plain reads."),
    ] = None,
    out: Annotated[Path, typer.Option(file_okay=False, help="Where results go.")] = RESULTS,
    show: Annotated[bool, typer.Option("--list", help="Name the cases and end.")] = False,
) -> None:
    """Compare exact search with its peers: a table, a page, all samples and a plot.

    A figure is met when the worse end of its 95 % interval reaches what is owed.
    """
    if faiss_level == "AVX2":
        # faiss's level does not reach the BLAS inside it, which chooses as it loads.
        os.environ.setdefault("OPENBLAS_CORETYPE", "Haswell")
    import exact_cases  # loads that BLAS

    words = only or []
    cases = [
        case
        for case in exact_cases.all_cases(native)
        if (extra or not case.extra) and all(word in case.name for word in words)
    ]
    if show:
        print("\n".join(case.name for case in cases))
        return
    level = exact_cases.set_faiss_level(faiss_level)
    exact_cases.settle_allocation()
    figures = measure(cases, rounds)
    if not figures:
        message = f"expected words that a case's name holds, got {words}"
        raise typer.BadParameter(message, param_hint="--only")
    about = report.machine() | exact_cases.versions() | {"rounds": rounds}
    if native is None:
        about["not measured"] = "scans beside a plain read (needs --native)"
    # A pipe or a log has no width of its own: one line a figure.
    console = Console(width=None if sys.stdout.isatty() else 160)
    console.print(report.table(figures, about))
    # A selection must not replace the results of a whole run.
    stem = f"exact-{level.lower()}" + ("-selection" if words else "")
    for path in report.write(figures, about, out, stem, "Exact search"):
        print(path, file=sys.stderr)


def measure(cases: list[Case], rounds: int) -> list[Figure]:
    """Run the cases one after the other, showing how far it is."""
    name = TextColumn("{task.description}")
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), name)
    figures = []
    # Refreshed between cases alone: a thread that draws would disturb the timing.
    with Progress(*columns, console=Console(stderr=True), auto_refresh=False) as progress:
        task = progress.add_task("", total=len(cases))
        for case in cases:
            progress.update(task, description=case.name, refresh=True)
            figures += case.figures(FEWEST_ROUNDS if case.heavy else rounds)
            progress.update(task, advance=1, refresh=True)
    return figures


if __name__ == "__main__":
    typer.run(main)
