"""Compare approximate search at equal recall: `python bench/search.py --help`."""

from __future__ import annotations

import json
import os
import random
import re
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import report
import search_curves as curves
import search_report
import typer
from make.packages import data_folder
from rich.console import Console
from runs import bar
from search_engines import DEFAULT, Build, Curve, all_builds, installed, no_builds
from search_sets import Set, SetName, SomeRows, take
from search_worker import Failed, Worker, build_index, file_bytes

import nearbit as nb

RESULTS = Path(__file__).parent / "results"
BUILD_THREADS = 2
TUNE_SAMPLES = 3
FLAT = 0.002  # recall that three more steps of effort have to add
SECONDS = {"tune": 0.1, "batch": 0.5, "single": 0.2}  # about so long is timed at once

Results = dict[str, Any]


def main(
    name: SetName,
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="TEXT", help="Builds whose names hold this; repeat to add others."),
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Measure them though they are.")] = False,
    rounds: Annotated[int, typer.Option(min=1, max=50, help="That all take part in.")] = 11,
    rows: SomeRows = None,
    out: Annotated[Path, typer.Option(file_okay=False, help="Where results go.")] = RESULTS,
    show: Annotated[bool, typer.Option("--list", help="Name the builds and end.")] = False,
    page: Annotated[
        bool, typer.Option("--page", help="Write page and plots anew from the JSON, and end.")
    ] = False,
) -> None:
    """Compare approximate search: queries a second at equal recall, bytes, and time to build.

    What was measured before is kept, so that a run that ended early goes on where it was.
    """
    path = out / f"search-{name}{f'-{rows}' if rows else ''}.json"
    if page:
        write(path)
        return
    data = take(name, rows)
    builds = [b for b in all_builds(data) if not only or any(word in b.title for word in only)]
    if show:
        print("\n".join(build.title for build in builds))
        return
    Run(data, builds, path, rounds).run(again)
    write(path)


def write(path: Path) -> None:
    """Write what the JSON says as a page and plots."""
    for written in search_report.write(json.loads(path.read_text()), path.parent):
        print(written)


class Run:
    """Builds, tunes and measures the selected builds, and keeps the results in a file."""

    def __init__(self, data: Set, builds: list[Build], path: Path, rounds: int) -> None:
        self.data, self.path, self.rounds = data, path, rounds
        self.versions = {b.library: installed(b.library) for b in builds}
        self.builds = {b.title: b for b in builds if self.versions[b.library]}
        self.results = json.loads(path.read_text()) if path.exists() else {"builds": {}}
        self.records: curves.Records = self.results["builds"]
        self.results["set"] = {
            "name": data.name,
            "about": data.about,
            "metric": data.metric,
            "rows": len(data.rows),
            "dim": data.dim,
            "tune": len(data.tune),
            "report": len(data.report),
        }
        missing = {b.engine for b in all_builds(data) if installed(b.library) is None}
        self.results["take no such rows"] = no_builds(data)
        self.results["not installed"] = sorted(missing)
        self.folder = data_folder() / "search" / f"{data.metric}-{data.digest}"
        self.console = Console(stderr=True)

    def run(self, again: bool) -> None:
        """Do what isn't done."""
        records = self.records
        for title in records.keys() - {build.title for build in all_builds(self.data)}:
            del records[title]  # isn't compared any more
        if again or not self.done():
            for title, build in self.builds.items():
                old = records.get(title, {}).get("version")
                # Where there is no index the rest may be of another machine.
                failed = "failed" in records.get(title, {})
                here = failed or self.index_path(build).exists()
                if again or not here or old != self.versions[build.library]:
                    records.pop(title, None)
        for title, record in self.selected().items():
            current = self.versions[self.builds[title].library]
            if record["version"] != current:
                self.console.print(f"{title}: measured with {record['version']}, not {current}")
        with bar(self.console, "build and tune") as progress:
            todo = [b for title, b in self.builds.items() if title not in records]
            task = progress.add_task("", total=len(todo))
            for build in todo:
                progress.update(task, description=build.title, refresh=True)
                records[build.title] = record = self.record(build)
                self.store()
                if "failed" in record:
                    self.console.print(f"{build.title}: {record['failed']}")
                progress.update(task, advance=1, refresh=True)
        if not self.done():
            self.measure()
        self.store()

    def selected(self) -> curves.Records:
        """Return the records of the selected builds, without those that failed."""
        return {
            title: self.records[title]
            for title in self.builds
            if title in self.records and "failed" not in self.records[title]
        }

    def done(self) -> bool:
        """Whether nothing is left to measure."""
        known = self.records.keys() >= self.builds.keys()
        return known and len(self.common_rounds()) >= self.rounds

    def common_rounds(self) -> set[str]:
        """Return the rounds that all curves to report were in."""
        selected = self.selected()
        found = []
        for choice, efforts in curves.plan(selected).items():
            points = selected[choice.title].get("report", {}).get(choice.curve, {})
            found += [set(points[e]["rounds"]) if e in points else set() for e in efforts]
        return set.intersection(*found) if found else set()

    def store(self) -> None:
        """Write all results."""
        about = {"nearbit's instructions": nb.simd_info()["isa"], "numpy": np.__version__}
        self.results["about"] = report.machine() | about
        content = self.results | {"builds": dict(sorted(self.records.items()))}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        part = self.path.with_suffix(f".part{os.getpid()}")
        part.write_text(json.dumps(content, indent=1) + "\n")
        part.replace(self.path)

    # ------------------------------------------------------------------------- building, tuning

    def record(self, build: Build) -> Results:
        """Return an index's sizes, how long it took to build, and what tuning found."""
        result: Results = {
            "engine": build.engine,
            "library": build.library,
            "settings": build.settings,
            "version": self.versions[build.library],
        }
        try:
            result["build"] = self.built(build)
            with self.searcher(build) as (worker, sizes):
                path = self.index_path(build)
                result["bytes"] = sizes | {"file": file_bytes(path)}
                result["tune"] = {c.name: self.tune(worker, c) for c in build.curves}
        except Failed as failure:
            return result | {"failed": str(failure)}
        default = build.curves[0].default
        return result | {"default": build.default, "default effort": str(default)}

    def index_path(self, build: Build) -> Path:
        """Where an index is kept: by rows, metric, settings and version."""
        words = f"{build.title} {self.versions[build.library]}"
        return self.folder / (re.sub(r"[^a-z0-9.]+", "-", words.lower()) + ".index")

    def built(self, build: Build) -> dict[str, float]:
        """Return the seconds that building an index took, now or in an earlier run."""
        path = self.index_path(build)
        taken = path.with_suffix(".json")
        if not (path.exists() and taken.exists()):
            rows = self.folder / "rows.npy"
            self.folder.mkdir(parents=True, exist_ok=True)
            if not rows.exists():
                np.save(rows.with_suffix(".part.npy"), self.data.rows)
                rows.with_suffix(".part.npy").replace(rows)
            taken.write_text(json.dumps(build_index(build, rows, path, BUILD_THREADS)))
        return json.loads(taken.read_text())

    def searcher(self, build: Build) -> Searcher:
        """Return a process that has an index and the queries."""
        return Searcher(build, self.index_path(build), self.data)

    def tune(self, worker: Worker, curve: Curve) -> dict[str, Any]:
        """Raise the effort until recall is there or grows no more; return each one's figures."""
        result: dict[str, Any] = {}
        recalls: list[float] = []
        for effort in curve.efforts:
            result[str(effort)] = point = self.tune_point(worker, curve, effort)
            if effort == DEFAULT:
                continue  # anywhere on the curve
            recalls.append(point["recall"])
            flat = len(recalls) > 3 and recalls[-1] - recalls[-4] < FLAT
            if recalls[-1] >= curves.MOST or flat:
                break
        if curve.default is not None and str(curve.default) not in result:
            result[str(curve.default)] = self.tune_point(worker, curve, curve.default)
        return result

    def tune_point(self, worker: Worker, curve: Curve, effort: int | str) -> dict[str, Any]:
        """Return recall and time on the queries that tune."""
        ids, us = worker.ask("ids", "tune", effort, curve.settings)
        recall = float(self.data.recalls("tune", ids).mean())
        asked = ("times", "tune", effort, curve.settings)
        n = queries_for(SECONDS["tune"], us, 20, len(self.data.tune))
        samples = [worker.ask(*asked, n, 0)["batch"] for _ in range(TUNE_SAMPLES)]
        return {"recall": round(recall, 5), "us": samples}

    # -------------------------------------------------------------------------------- reporting

    def measure(self) -> None:
        """Measure the chosen curves in rounds that all of them take part in."""
        plan = curves.plan(self.selected())
        missing = self.rounds - len(self.common_rounds())
        with ExitStack() as stack, bar(self.console, "rounds") as progress:
            workers = {}
            for title in sorted({choice.title for choice in plan}):
                try:
                    workers[title], _ = stack.enter_context(self.searcher(self.builds[title]))
                except Failed as failure:
                    self.fail(title, failure)
            tasks = [
                (choice, effort)
                for choice, efforts in plan.items()
                for effort in efforts
                if choice.title in workers
            ]
            total = progress.add_task("", total=missing * len(tasks))
            first = 1 + max(map(int, self.all_rounds()), default=0)
            for number in range(first, first + missing):
                # In another order each time, so that no one always follows the same other.
                random.Random(number).shuffle(tasks)
                for choice, effort in tasks:
                    if choice.title in workers:
                        try:
                            self.sample(workers[choice.title], choice, effort, str(number))
                        except Failed as failure:
                            del workers[choice.title]
                            self.fail(choice.title, failure)
                    progress.update(total, advance=1)
                self.store()
                progress.update(total, description=f"round {number}", refresh=True)

    def all_rounds(self) -> set[str]:
        """Return every round that anything was measured in."""
        return {
            name
            for record in self.records.values()
            for points in record.get("report", {}).values()
            for point in points.values()
            for name in point["rounds"]
        }

    def fail(self, title: str, failure: Failed) -> None:
        """Leave a build out."""
        self.console.print(f"{title}: {failure}")
        self.records[title]["failed"] = str(failure)
        self.store()

    def sample(self, worker: Worker, choice: curves.Choice, effort: str, number: str) -> None:
        """Measure one point once."""
        record = self.records[choice.title]
        curve = next(c for c in self.builds[choice.title].curves if c.name == choice.curve)
        told = next(e for e in (*curve.efforts, curve.default) if str(e) == effort)
        points = record.setdefault("report", {}).setdefault(choice.curve, {})
        if effort not in points:
            ids, _ = worker.ask("ids", "report", told, curve.settings)
            each = self.data.recalls("report", ids)
            points[effort] = {
                "recall": round(float(each.mean()), 5),
                "error": round(float(each.std() / len(each) ** 0.5), 5),
                "rounds": {},
            }
        us = np.median(record["tune"][choice.curve][effort]["us"])
        n = len(self.data.report)
        batch = queries_for(SECONDS["batch"], us, 100, n)
        singles = queries_for(SECONDS["single"], us, 50, min(n, 1_000))
        asked = ("times", "report", told, curve.settings, batch, singles)
        points[effort]["rounds"][number] = worker.ask(*asked)


class Searcher:
    """A process that has an index and the queries, and what the index weighs."""

    def __init__(self, build: Build, path: Path, data: Set) -> None:
        self.worker = Worker(build, 1, path.with_suffix(".log"))
        try:
            self.sizes = self.worker.ask("load", path)
            self.worker.ask("take", {part: data.queries(part) for part in ("tune", "report")})
        except Failed:
            self.worker.__exit__()
            raise

    def __enter__(self) -> tuple[Worker, dict[str, int | None]]:
        return self.worker, self.sizes

    def __exit__(self, *exception: object) -> None:
        self.worker.__exit__(*exception)


def queries_for(seconds: float, us: float, least: int, most: int) -> int:
    """Return how many queries take about so long."""
    return int(min(max(seconds * 1e6 / us, least), most))


if __name__ == "__main__":
    typer.run(main)
