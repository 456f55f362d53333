"""Check that nothing compiled for an instruction set can leak out of its file.

    python tools/check_isa.py        (from the project's folder; needs cmake, a compiler and nm)

An inline function of a shared header that is emitted in such a file becomes a weak symbol, and the
linker may keep that copy for everyone: a crash on processors without the instructions. So each
cpp/kernels/isa_*.cpp, compiled with the build's own flags at -O0 and at -O3, must define one
external symbol, its table, and nothing weak or unique.
"""

import json
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

LEVELS = ["-O0", "-O3"]
TABLE = re.compile(r"nearbit::k[A-Z]\w*Kernels")
WEAK = set("uvVwW")


def compile_commands(build: Path) -> list[tuple[Path, list[str]]]:
    """Configure the project in `build`; return its instruction-set files and their commands."""
    configure = ["cmake", "-S", ".", "-B", str(build), "-DNEARBIT_PYTHON=OFF"]
    configure.append("-DCMAKE_EXPORT_COMPILE_COMMANDS=ON")
    subprocess.run(configure, check=True, stdout=subprocess.DEVNULL)
    entries = json.loads((build / "compile_commands.json").read_text(encoding="utf-8"))
    files = [(Path(entry["file"]), shlex.split(entry["command"])) for entry in entries]
    return [(path, command) for path, command in files if path.name.startswith("isa_")]


def defined_symbols(path: Path, command: list[str], level: str, build: Path) -> list[list[str]]:
    """Compile `path` at an optimisation level; return [type, name] of what others could link to."""
    target = build / f"{path.stem}{level}.o"
    flags = [level if flag.startswith("-O") else flag for flag in command[: command.index("-o")]]
    subprocess.run([*flags, "-o", str(target), "-c", str(path)], check=True, cwd=build)
    listing = ["nm", "--demangle", "--extern-only", "--defined-only", str(target)]
    output = subprocess.run(listing, check=True, capture_output=True, text=True).stdout
    return [line.split(maxsplit=2)[1:] for line in output.splitlines()]


def offences(path: Path, symbols: list[list[str]]) -> list[str]:
    """Say what is wrong with the symbols of one object."""
    weak = [f"{path.name}: weak symbol {name}" for kind, name in symbols if kind in WEAK]
    strong = [name for kind, name in symbols if kind not in WEAK]
    if len(strong) != 1 or not TABLE.fullmatch(strong[0]):
        weak.append(f"{path.name}: expected its table alone, got {', '.join(strong) or 'nothing'}")
    return weak


def main() -> int:
    """Compile, look, report."""
    wrong = []
    with tempfile.TemporaryDirectory() as folder:
        build = Path(folder)
        commands = compile_commands(build)
        for path, command in commands:
            for level in LEVELS:
                found = offences(path, defined_symbols(path, command, level, build))
                wrong += [f"{level} {line}" for line in found]
                print(f"{path.name} {level}: {'LEAKS' if found else 'its table and nothing else'}")
    print("\n".join(wrong), file=sys.stderr)
    return int(bool(wrong) or not commands)


if __name__ == "__main__":
    sys.exit(main())
