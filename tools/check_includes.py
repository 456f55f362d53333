"""Check that the core's folders include each other in one direction only.

    python tools/check_includes.py [folder]        (cpp by default)

Prints a line for each offence; the exit status is 1 if there is any.
"""

import re
import sys
from pathlib import Path

# A folder may include itself and those below it; layouts see codecs only through their seam.
ROOMS = ["bindings", "index", "layouts", "codecs", "transforms", "files", "kernels", "base"]
SEAMS = {("layouts", "codecs"): {"codecs/codec.h"}}
PYTHON_ROOM = "bindings"

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.MULTILINE)
PYTHON_HEADER = re.compile(r"(Python\.h|pybind11/.*|numpy/.*)$")
SOURCES = {".h", ".cpp", ".inl"}


def offence(room: str, quote: str, header: str) -> str | None:
    """Say what is wrong with a file in `room` including `header`, or None."""
    if PYTHON_HEADER.match(header):
        return None if room == PYTHON_ROOM else f"only {PYTHON_ROOM}/ knows Python"
    if quote == "<":
        return None
    target = header.partition("/")[0]
    if target not in ROOMS:
        return "expected a path that starts with a folder of cpp/"
    if ROOMS.index(target) < ROOMS.index(room):
        return f"{room}/ is below {target}/"
    if header not in SEAMS.get((room, target), {header}):
        return f"{room}/ sees {target}/ only through {', '.join(SEAMS[room, target])}"
    return None


def offences(cpp: Path) -> list[str]:
    """Return one line for each include that goes the wrong way."""
    found = []
    for path in sorted(p for p in cpp.rglob("*") if p.suffix in SOURCES):
        room = path.relative_to(cpp).parts[0]
        if room not in ROOMS:
            found.append(f"{path}: expected one of the folders {', '.join(ROOMS)}")
            continue
        text = path.read_text(encoding="utf-8")
        for match in INCLUDE.finditer(text):
            if problem := offence(room, *match.groups()):
                line = text.count("\n", 0, match.start(1)) + 1
                found.append(f"{path}:{line}: {match[0].strip()}: {problem}")
    return found


if __name__ == "__main__":
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "cpp")
    wrong = offences(folder)
    print("\n".join(wrong) or f"{folder}: every include points down")
    sys.exit(bool(wrong))
