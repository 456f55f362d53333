"""What long runs share: a bar, results that are kept as they come, and the ef for a recall."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

MOST_EF = 2048


def bar(console: Console, title: str = "") -> Progress:
    """Return a bar that is drawn between measurements alone."""
    columns = (
        TextColumn(title), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
        TextColumn("{task.description}"),
    )  # fmt: skip
    return Progress(*columns, console=console, auto_refresh=False)


def load(path: Path) -> dict[str, Any]:
    """Return what was measured, by titles."""
    return json.loads(path.read_text())["results"] if path.exists() else {}


def store(path: Path, title: str, result: Any) -> None:
    """Add a result to those of the file, which another process may have added to."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"results": dict(sorted({**load(path), title: result}.items()))}
    part = path.with_suffix(f".part{os.getpid()}")
    part.write_text(json.dumps(content, indent=1) + "\n")
    part.replace(path)


def least_ef(recall_at: Callable[[int], float], least: int, recall: float = 0.95) -> int:
    """Return the least ef that reaches a recall, or the most that is tried."""
    low, high = least, MOST_EF
    while low < high:
        middle = (low + high) // 2
        if recall_at(middle) < recall:
            low = middle + 1
        else:
            high = middle
    return low
