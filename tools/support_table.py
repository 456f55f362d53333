"""Writes the README's support table from the one in nearbit.codecs.

python tools/support_table.py [--check]
"""

import argparse
import sys
from pathlib import Path

from nearbit.codecs import REFINES, SUPPORT
from nearbit.layouts import LAYOUTS

README = Path(__file__).parents[1] / "README.md"
BEGIN = "<!-- support table: tools/support_table.py -->\n"
END = "<!-- end of the support table -->\n"


def table() -> str:
    """The table as Markdown."""
    lines = [
        "| codec | a row | an item takes | metrics | layouts | refine |",
        "|---|---|---|---|---|---|",
    ]
    for codec in SUPPORT.values():
        metrics = ", ".join(codec.metrics)
        layouts = ", ".join(layout.__name__ for layout in LAYOUTS.values())
        refine = ", ".join(REFINES) if codec.refines else "no"
        if codec.refines and codec.refines != codec.metrics:
            refine += f" ({', '.join(codec.refines)})"
        lines.append(
            f"| `{codec.__name__}` | {codec.takes} | {codec.stores} | {metrics} | {layouts} "
            f"| {refine} |"
        )
    return "\n".join(lines) + "\n"


def main() -> int:
    """Rewrite the table, or with --check say whether it is as it should be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; 1 if it differs")
    check = parser.parse_args().check
    text = README.read_text(encoding="utf-8")
    head, rest = text.split(BEGIN)
    tail = rest.split(END)[1]
    wanted = f"{head}{BEGIN}{table()}{END}{tail}"
    if check and text != wanted:
        sys.stderr.write("README.md: the support table differs; run tools/support_table.py\n")
        return 1
    if not check:
        README.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
