"""Runs a snippet in an interpreter of its own: for signals, forks, crashes and imports."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

HERE = Path(__file__).parent

# A child that allocates without bound gets a MemoryError instead of the machine.
LIMIT = """
import resource
with open("/proc/self/statm") as f:
    held = int(f.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (held + (2 << 30), -1))
"""


def run(code, *args, timeout=120, env=None):
    """Run the code with the arguments as sys.argv[1:]; returns the finished process.

    The snippet can import what tests import. A hang ends in subprocess.TimeoutExpired.
    """
    path = os.pathsep.join([str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", textwrap.dedent(code), *map(str, args)],
        capture_output=True,
        text=True,
        timeout=timeout,
        env={**os.environ, "PYTHONPATH": path, **(env or {})},
        check=False,
    )


def output(code, *args, timeout=120, env=None):
    """What the code printed; fails with all it said unless it ended well."""
    done = run(code, *args, timeout=timeout, env=env)
    said = f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    assert done.returncode == 0, said
    return done.stdout
