"""Making and filling an index takes at most twice the memory of the result, and 64 MiB."""

from __future__ import annotations

import sys

import child
import pytest

FILL = """
import sys
from pathlib import Path
import numpy as np, nearbit as nb

def status(field):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(field + ":"))

def grown(call):  # the most that the process held during a call, beyond what it held before
    Path("/proc/self/clear_refs").write_text("5")
    before = status("VmRSS")
    call()
    return status("VmHWM") - before

n, dim, kind = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
settings = {
    "flat": {},
    "graph": {"layout": nb.Graph(degree=256, ef_construction=16)},
    "products": {"layout": nb.Graph(degree=256, ef_construction=16)},
    "codes": {"codec": nb.SQ(4)},  # whose sample takes more than all that is kept
}[kind]
rows = np.random.default_rng(0).standard_normal((3 * n, dim), dtype=np.float32)
metric = "ip" if kind == "products" else "l2"
first = nb.Index(dim, metric, **settings)
first.add(rows[:2100])  # what a library takes when its code is first run
first.search(rows[:10], 3)
index = nb.Index(dim, metric, **settings)
for what, change in (
    ("add to nothing", lambda: index.add(rows[:n])),
    ("add as many", lambda: index.add(rows[n : 2 * n])),
    ("update half", lambda: index.update(np.arange(n), rows[2 * n :])),
):
    before = index.nbytes
    most = before + grown(change)
    print(what, most / (2 * index.nbytes + (64 << 20)), sep="=")
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks Linux for the peak")
@pytest.mark.parametrize(
    ("kind", "n", "dim"),
    [
        ("flat", 120_000, 256),
        ("graph", 40_000, 16),
        ("products", 40_000, 16),
        ("codes", 17_000, 900),
    ],
)
def test_filling_takes_at_most_twice_the_result_and_64_mib(kind, n, dim):
    """Results or samples of about 64 MiB, so that a copy too many would show."""
    for line in child.output(FILL, n, dim, kind, timeout=600).splitlines():
        what, share = line.split("=")
        print(f"{kind}, {what}: {float(share):.2f} of what is allowed")
        assert float(share) <= 1, line
