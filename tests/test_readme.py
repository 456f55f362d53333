"""The README's examples run from top to bottom and print what they say they print."""

import re
import subprocess
import sys
from pathlib import Path

README = Path(__file__).parent.parent / "README.md"
CODE = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PRINTS = re.compile(r"# -> (.*)$", re.MULTILINE)


def test_examples_run_in_order_and_print_what_they_say(tmp_path: Path) -> None:
    code = "\n".join(CODE.findall(README.read_text(encoding="utf-8")))
    expected = PRINTS.findall(code)
    assert len(expected) > 10
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.splitlines() == expected, done.stderr
    assert done.returncode == 0, done.stderr
