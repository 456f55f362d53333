"""What importing the package does to a process, and what comes with it."""

from __future__ import annotations

import importlib.metadata
import os
import re
from pathlib import Path

import child
import pytest

import nearbit as nb

FOLDER = Path(nb.__file__).parent


def test_import_brings_in_numpy_and_nothing_else():
    """What numpy and the standard library's loader bring along is numpy's; the rest is ours."""
    said = child.output(
        """
        import sys, numpy
        before = set(sys.modules)
        import nearbit
        print(*sorted(name.split(".")[0] for name in set(sys.modules) - before))
        print(*sorted(sys.stdlib_module_names))
        """
    )
    added, standard = (set(line.split()) for line in said.splitlines())
    assert "nearbit" in added
    assert added - standard <= {"nearbit", "numpy"}
    # Modules that take long to import, or that start something.
    heavy = {"asyncio", "concurrent", "logging", "multiprocessing", "typing_extensions", "unittest"}
    assert not added & heavy


def test_import_starts_no_thread():
    said = child.output(
        """
        import os, numpy
        before = len(os.listdir("/proc/self/task"))
        import nearbit
        print(len(os.listdir("/proc/self/task")) - before)
        """
    )
    assert said == "0\n"


@pytest.mark.parametrize("name", nb.simd_info()["available"])
def test_the_instruction_set_can_be_forced(name):
    said = child.output(
        "import nearbit; print(nearbit.simd_info()['isa'])", env={"NEARBIT_ISA": name}
    )
    assert said == f"{name}\n"


def test_an_unknown_instruction_set_gets_an_error_that_lists_what_there_is():
    done = child.run(
        """
        import numpy, nearbit
        index = nearbit.Index(8)
        """,
        env={"NEARBIT_ISA": "avx1024"},
    )
    assert done.returncode == 1
    error = done.stderr.strip().splitlines()[-1]
    assert "NEARBIT_ISA: expected one of" in error
    assert "got 'avx1024'" in error
    for name in nb.simd_info()["available"]:
        assert name in error


def test_instruction_sets_agree_on_bits_exactly_and_on_floats_nearly():
    code = """
        import sys, numpy as np
        from kinds import BITS, FLOAT_KINDS, HALF_KINDS, INT_KINDS, JACCARD, SIGN
        for kind in (BITS, JACCARD, SIGN, *INT_KINDS, *FLOAT_KINDS, *HALF_KINDS):
            index, rows = kind.filled(2000, 136)
            hits = index.search(rows[:50], 10)
            print(*hits.ids.ravel())
            print(*hits.distances.ravel().tolist())
        """
    said = [
        child.output(code, env={"NEARBIT_ISA": name}).splitlines()
        for name in nb.simd_info()["available"]
    ]
    first = said[0]
    for other in said[1:]:
        assert other[:18] == first[:18], "ids and distances of bits and integers"
        for a, b in zip(first[19::2], other[19::2], strict=True):
            assert [float(x) for x in a.split()] == pytest.approx(
                [float(x) for x in b.split()], rel=1e-5, abs=1e-4
            )


def test_the_package_comes_with_its_types_and_no_sources():
    names = {path.name for path in FOLDER.iterdir()}
    assert {"py.typed", "_core.pyi"} <= names
    installed = [path for path in FOLDER.rglob("*") if path.is_file()]
    assert not [path for path in installed if path.suffix in (".cpp", ".h", ".inl", ".o", ".a")]
    size = sum(path.stat().st_size for path in installed if "__pycache__" not in path.parts)
    assert size < 5_000_000


def test_the_version_is_that_of_the_installed_package():
    assert nb.__version__ == importlib.metadata.version("nearbit")
    assert re.fullmatch(r"\d+\.\d+\.\d+\w*", nb.__version__)


def test_the_package_needs_numpy_alone():
    needs = importlib.metadata.requires("nearbit") or []
    plain = [need for need in needs if "extra ==" not in need]
    assert [re.match(r"\w+", need)[0] for need in plain] == ["numpy"]


def test_simd_info_is_a_dict_of_plain_values():
    info = nb.simd_info()
    assert info["isa"] in info["available"]
    assert "scalar" in info["available"]
    assert info["isa"] == (os.environ.get("NEARBIT_ISA") or info["available"][-1])
    assert isinstance(info["threads"], int)
    assert info["threads"] >= 1
    info.clear()
    assert nb.simd_info()


def test_set_threads_sets_what_calls_use_by_default():
    before = nb.simd_info()["threads"]
    try:
        for threads in (1, 2):
            nb.set_threads(threads)
            assert nb.simd_info()["threads"] == threads
    finally:
        nb.set_threads(before)
