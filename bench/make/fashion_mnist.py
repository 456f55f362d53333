"""fashion-mnist: 60,000 + 10,000 grey images of clothes, 28 x 28, as rows of 784 bytes.

Source: Debian package dataset-fashion-mnist (31 MB; MIT licence).
"""

import gzip

import numpy as np
from numpy.typing import NDArray

from .packages import deb_download


def idx(path):
    raw = gzip.decompress(path.read_bytes())
    dims = [int.from_bytes(raw[4 + 4 * i : 8 + 4 * i], "big") for i in range(raw[3])]
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * len(dims)).reshape(dims)


def make() -> dict[str, NDArray]:
    root = deb_download("dataset-fashion-mnist")
    at = {p.name: p for p in root.rglob("*-ubyte.gz")}
    return {
        "base": idx(at["train-images-idx3-ubyte.gz"]).reshape(60000, 784),
        "base_label": idx(at["train-labels-idx1-ubyte.gz"]),
        "queries": idx(at["t10k-images-idx3-ubyte.gz"]).reshape(10000, 784),
        "query_label": idx(at["t10k-labels-idx1-ubyte.gz"]),
    }
