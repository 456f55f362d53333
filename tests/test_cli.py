"""The command line, run as a user runs it."""

import json
import platform
import subprocess
import sys

import numpy as np
import pytest

import nearbit as nb
from nearbit.data import load_demo


def run(*args: str, before: str = "") -> subprocess.CompletedProcess[str]:
    """Run `nearbit ARGS` in a process of its own, after the code in `before`."""
    code = f"import sys\n{before}\nsys.argv[0] = 'nearbit'\nimport nearbit.cli\nnearbit.cli.main()"
    command = [sys.executable, "-c", code, *args]
    return subprocess.run(
        command, capture_output=True, text=True, encoding="utf-8", timeout=120, check=False
    )


@pytest.fixture(scope="module")
def demo_json() -> dict:
    done = run("demo", "--json", "--questions", "6")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return json.loads(done.stdout)


def test_demo_json_tells_the_size_of_the_task(demo_json: dict) -> None:
    assert demo_json["schema"] == 1
    assert demo_json["definitions"] == 2500
    assert demo_json["questions"] == 500
    assert demo_json["dim"] == 384
    assert list(demo_json["codecs"]) == ["float32", "sign"]


def test_demo_counts_the_bytes_of_each_codec(demo_json: dict) -> None:
    for codec, n_bytes in (("float32", 384 * 4 + 4), ("sign", 384 // 8)):
        figures = demo_json["codecs"][codec]
        assert figures["bytes_per_vector"] == n_bytes
        assert 1 <= figures["bytes_in_all"] / (2500 * n_bytes) < 1.25


def test_demo_measures_recall_and_hits_as_numpy_does(demo_json: dict) -> None:
    demo = load_demo()
    cosines = demo.queries @ demo.vectors.T
    signs, query_signs = (
        np.where(x > 0, 1, -1).astype(np.float32) for x in (demo.vectors, demo.queries)
    )
    for codec, scores in (("float32", cosines), ("sign", query_signs @ signs.T)):
        figures = demo_json["codecs"][codec]
        ids = np.argsort(-scores, axis=1, kind="stable")[:, :10]
        right = ids == demo.answers[:, None]
        tenth = np.sort(cosines, axis=1)[:, -10:-9]
        recall = (np.take_along_axis(cosines, ids, axis=1) >= tenth).mean()
        # Near ties may fall either way: one question in 500 is .002.
        assert figures["recall_at_10"] == pytest.approx(recall, abs=0.002)
        assert figures["hit_rate_at_1"] == pytest.approx(right[:, 0].mean(), abs=0.004)
        assert figures["hit_rate_at_10"] == pytest.approx(right.any(axis=1).mean(), abs=0.004)
    assert demo_json["codecs"]["float32"]["recall_at_10"] == 1.0
    assert 0.48 < demo_json["codecs"]["sign"]["recall_at_10"] < 0.55


def test_demo_takes_times(demo_json: dict) -> None:
    for figures in demo_json["codecs"].values():
        for key in ("build_ms", "us_per_query", "us_per_query_in_batch"):
            assert figures[key] > 0


def test_demo_shows_what_each_codec_found(demo_json: dict) -> None:
    demo = load_demo()
    assert len(demo_json["shown"]) == 6
    for shown in demo_json["shown"]:
        question = demo.names.index(shown["question"])
        assert shown["right"] == demo.texts[demo.answers[question]]
        best = demo.texts[int(np.argmax(demo.vectors @ demo.queries[question]))]
        assert shown["found"]["float32"][0] == best
        assert set(shown["found"]["sign"]) <= set(demo.texts)
        assert len(set(shown["found"]["sign"])) == 10


def test_demo_prints_questions_and_a_table() -> None:
    done = run("demo", "--questions", "2", "--seed", "1")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    names = load_demo().names
    shown = [line.strip() for line in done.stdout.splitlines() if line.strip() in names]
    assert len(shown) == 2
    for words in ("bytes per vector", "1,540", "recall@10", "1.000", "microseconds per query"):
        assert words in done.stdout


def test_the_seed_chooses_the_questions() -> None:
    first, again, other = (
        [q["question"] for q in json.loads(run("demo", "--json", "--seed", s).stdout)["shown"]]
        for s in ("1", "1", "2")
    )
    assert first == again
    assert first != other


def test_info_json_describes_this_installation() -> None:
    done = run("info", "--json")
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert facts["schema"] == 1
    assert facts["nearbit"] == nb.__version__
    assert facts["isa"] == nb.simd_info()["isa"]
    assert facts["isa"] in facts["available"]
    assert facts["threads"] >= 1
    assert facts["python"] == platform.python_version()
    assert facts["numpy"] == np.__version__


def test_info_prints_a_line_for_each_fact() -> None:
    done = run("info")
    assert done.returncode == 0, done.stderr
    facts = dict(line.split(maxsplit=1) for line in done.stdout.splitlines())
    assert facts["nearbit"].strip() == nb.__version__
    assert "scalar" in facts["available"]


@pytest.mark.parametrize("package", ["typer", "rich"])
def test_a_missing_package_is_named_with_what_to_install(package: str) -> None:
    done = run("info", before=f"sys.modules[{package!r}] = None")
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == f'nearbit: the command line needs {package}: pip install "nearbit[cli]"\n'


@pytest.mark.parametrize(
    "args",
    [["nosuch"], ["info", "--nosuch"], ["demo", "--questions", "501"], ["demo", "--seed", "-1"]],
)
def test_bad_usage_exits_with_2_and_prints_nothing_to_stdout(args: list[str]) -> None:
    done = run(*args)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "Usage" in done.stderr


def test_an_error_at_run_time_exits_with_1() -> None:
    broken = "import nearbit.data\nnearbit.data.load_demo = lambda: open('/nosuch/file')"
    done = run("demo", before=broken)
    assert done.returncode == 1
    assert "/nosuch/file" in done.stderr


def test_ctrl_c_exits_with_130() -> None:
    stopped = "import nearbit.data, signal\n" + (
        "nearbit.data.load_demo = lambda: signal.raise_signal(signal.SIGINT)"
    )
    assert run("demo", before=stopped).returncode == 130


def test_python_m_nearbit_is_the_same_command() -> None:
    command = [sys.executable, "-m", "nearbit", "info", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert json.loads(done.stdout) == json.loads(run("info", "--json").stdout)


def test_importing_the_package_imports_no_command_line() -> None:
    code = "import sys, nearbit; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {"nearbit", "nearbit.cli", "typer", "rich"} & set(done.stdout.split()) == {"nearbit"}
