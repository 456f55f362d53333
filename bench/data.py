"""The real data sets of the benchmarks, by name: load(name) gives a dict of numpy arrays.

    from data import load
    d = load("wordnet-minilm")  # d["docs"], d["queries"], d["relevant"], ...

    python bench/data.py NAME|all  # prints each array's dtype and shape

A set is NAME.npz in $NEARBIT_DATA (default ~/.cache/nearbit-data). Where it is missing it is made
there by make/NAME.py, from packages that pip and apt-get fetch by name; each of these modules says
what its set holds, where it comes from and under which licence. The sets are for this machine:
besides the wordnet and moses sets, their licences do not let us pass them on.
"""

import gzip
import hashlib
import importlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO

import numpy as np
from make.packages import data_folder
from numpy.typing import NDArray

Arrays = dict[str, NDArray]

# Each set, and what making it needs besides numpy.
_TORCH = "torch==2.13.0 safetensors tokenizers"
NEEDS = {
    "wordnet-minilm": _TORCH,
    "wordnet-tokens": _TORCH,
    "wordnet-lsa": "scipy",
    "gloss-svd": "scipy",
    "moses-morgan2048": "rdkit==2026.9.1",
    "fashion-mnist": "",
    "geonames-places": "",
    "photo-sift": "opencv-python-headless==5.0.0.93",
    "photo-places": "opencv-python-headless==5.0.0.93",
}

# The sets of int8 codes: code array (NAME_i8) -> its unit rows, in the order of their seeds.
_CODED = {
    "wordnet-minilm": ("docs", "queries", "examples"),
    "wordnet-tokens": ("doc_tokens", "query_tokens"),
}


def load(name: str) -> Arrays:
    """All arrays of one set, made first if this machine does not have it yet."""
    if name not in NEEDS:
        msg = f"name: expected one of {', '.join(NEEDS)}, got {name!r}"
        raise ValueError(msg)
    path = data_folder() / f"{name}.npz"
    if not path.exists():
        made = _make(name)
        _publish(path, lambda f: np.savez(f, **made))
    with np.load(path, allow_pickle=False) as f:
        arrays = {k: f[k] for k in f.files}
    for seed, rows in enumerate(_CODED.get(name, ())):
        arrays[rows] = _unit_rows(arrays[f"{rows}_i8"], seed)
    return arrays


def texts() -> tuple[list[str], list[str], list[str]]:
    """The documents, name queries and example queries of wordnet-minilm."""
    path = data_folder() / "wordnet-minilm-texts.json.gz"
    if not path.exists():
        made = importlib.import_module("make.wordnet_minilm").texts()
        raw = json.dumps(dict(zip(("docs", "queries", "examples"), made[:3], strict=True)))
        _publish(path, lambda f: f.write(gzip.compress(raw.encode(), mtime=0)))
    d = json.loads(gzip.decompress(path.read_bytes()))
    return d["docs"], d["queries"], d["examples"]


def _unit_rows(codes: NDArray[np.int8], seed: int) -> NDArray[np.float32]:
    """int8 codes -> unit float32 rows, with seeded noise of half a code step.

    Without the noise the rows would lie on the int8 grid, and an int8 copy of them would look
    free of loss.
    """
    x = np.random.default_rng(seed).random(codes.shape, dtype=np.float32)
    x += codes
    x -= 0.5
    x /= np.sqrt(np.einsum("ij,ij->i", x, x))[:, None]
    return x


def _make(name: str) -> Arrays:
    try:
        made: Arrays = importlib.import_module(f"make.{name.replace('-', '_')}").make()
    except ImportError as e:
        msg = f"{name}: making it needs more packages ({e}): pip install {NEEDS[name]}"
        raise ImportError(msg) from e
    recorded = json.loads(Path(__file__).with_name("make").joinpath("sha256.json").read_text())
    if _sha256(made) != recorded[name]:
        # Sums depend on the order that a library adds in, and packages change.
        print(f"{name}: not bit for bit as recorded; figures may differ a little", file=sys.stderr)
    return made


def _sha256(arrays: Arrays) -> str:
    """One digest of names, dtypes, shapes and bytes, in the order of the names."""
    h = hashlib.sha256()
    for k in sorted(arrays):
        a = np.ascontiguousarray(arrays[k])
        h.update(f"{k}|{a.dtype.str}|{a.shape}|".encode())
        h.update(a.tobytes())
    return h.hexdigest()


def _publish(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Write a file so that it is never seen half done."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part{os.getpid()}")
    with part.open("wb") as f:
        write(f)
    part.replace(path)


def main() -> None:
    names = list(NEEDS) if sys.argv[1:] == ["all"] else sys.argv[1:]
    if len(sys.argv) != 2 or not set(names) <= set(NEEDS):
        sys.exit(f"usage: python bench/data.py NAME|all\nnames: {', '.join(NEEDS)}")
    for name in names:
        print(name)
        for k, v in load(name).items():
            print(f"  {k:16} {v.dtype.str:5} {v.shape}")


if __name__ == "__main__":
    main()
