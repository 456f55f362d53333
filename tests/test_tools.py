"""The checks in tools/ find what they are there to find."""

import subprocess
import sys
from pathlib import Path

import pytest

CHECK_INCLUDES = Path(__file__).parent.parent / "tools" / "check_includes.py"


def check_includes(cpp: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(CHECK_INCLUDES), str(cpp)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def test_includes_that_point_down_pass(tmp_path: Path) -> None:
    write(tmp_path / "bindings/module.cpp", "#include <pybind11/pybind11.h>\n#include <vector>\n")
    write(tmp_path / "layouts/flat.h", '#include "base/bits.h"\n#include "codecs/codec.h"\n')
    done = check_includes(tmp_path)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("base/error.h", '#include "files/reader.h"'),
        ("files/reader.h", '#include "codecs/codec.h"'),
        ("layouts/flat.h", '#include "codecs/dense.h"'),
        ("index/index.cpp", "#include <pybind11/numpy.h>"),
        ("index/index.cpp", "#  include <Python.h>"),
        ("kernels/dispatch.cpp", '#include "kernels.h"'),
        ("attic/old.h", "#pragma once"),
    ],
)
def test_an_include_that_points_elsewhere_is_named(tmp_path: Path, path: str, line: str) -> None:
    write(tmp_path / path, f"// one\n{line}\n")
    done = check_includes(tmp_path)
    assert done.returncode == 1
    assert path in done.stdout
