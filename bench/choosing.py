"""Put what bench/compress.py found into docs/choosing.md: `python bench/choosing.py`."""

from __future__ import annotations

import json
from pathlib import Path

import compress_report as found
from compress_sets import BUDGETS, OVER, SETS

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "choosing.md"
BEGIN, END = "<!-- made by bench/choosing.py -->\n", "<!-- end -->\n"
HEADINGS = ("codec", "metric", "bytes", "recall@10", "rescored", "train and add, s", "a query, us")


def main() -> None:
    """Replace the tables of the page."""
    before, _, rest = PAGE.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    lines = [line for name in SETS for line in section(name)]
    PAGE.write_text(before + BEGIN + "\n".join(lines) + "\n" + END + after)


def section(name: str) -> list[str]:
    """Return our codecs at each budget, the best setting of each family."""
    path = HERE / "results" / f"compress-{name}.json"
    if not path.exists():
        return []
    results = json.loads(path.read_text())["results"]
    mine = {title: result for title, result in results.items() if result["library"] == found.OURS}
    lines = ["", f"### {name}", ""]
    rows = []
    for budget in BUDGETS[name]:
        titles = found.best_of_families(mine, budget)
        titles += found.best_of_families(mine, budget, over=True)
        rows += [cells(title, mine[title]) for title in titles]
    large = [title for title in mine if mine[title]["row_bytes"] > OVER * max(BUDGETS[name])]
    rows += [cells(t, mine[t]) for t in sorted(large, key=lambda title: mine[title]["row_bytes"])]
    return [*lines, *found.table(HEADINGS, rows)]


def cells(title: str, result: found.Result) -> list[str]:
    """Return a result as text, one for each of HEADINGS."""
    codec, metric = title.removeprefix(f"{found.OURS} ").rsplit(" ", 1)
    return [
        f"`{codec}`",
        metric,
        f"{result['row_bytes']:g}",
        f"{found.recall(result):.3f}",
        f"{found.recall(result, way='rescored'):.3f}",
        f"{result['train']['cpu'] + result['encode']['cpu']:.1f}",
        f"{result['us']['single']:,.0f}",
    ]


if __name__ == "__main__":
    main()
