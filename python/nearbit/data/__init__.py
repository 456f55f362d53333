"""A small real data set that comes with the package, for the demo, examples and tests.

The texts are WordNet 3.0 definitions under the WordNet licence, LICENSE-WordNet.txt beside this
file, which goes with every copy of them and of their vectors. The vectors were computed with
all-MiniLM-L6-v2 (weights under Apache-2.0).
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

__all__ = ["Demo", "load_demo"]


@dataclass(frozen=True, eq=False)
class Demo:
    """Definitions, and questions that each have one right definition.

    Attributes
    ----------
    vectors : float32, shape (2500, 384)
        Unit rows, one for each definition.
    texts : list of str
        The definitions, no two alike.
    queries : float32, shape (500, 384)
        Unit rows, one for each question.
    names : list of str
        The questions: the words for one thing, as "lemma, lemma".
    answers : int64, shape (500,)
        Row of the right definition of each question.
    """

    vectors: NDArray[np.float32]
    texts: list[str]
    queries: NDArray[np.float32]
    names: list[str]
    answers: NDArray[np.int64]


def load_demo() -> Demo:
    """Read the data set of the demo.

    Returns
    -------
    Demo
        Its rows are stored int8 codes brought to unit length: within half a code step of what the
        model gave.

    Examples
    --------
    >>> demo = load_demo()
    >>> demo.vectors.shape, len(demo.texts), demo.queries.shape
    ((2500, 384), 2500, (500, 384))
    """
    with np.load(Path(__file__).with_name("wordnet-demo.npz"), allow_pickle=False) as f:
        return Demo(
            vectors=_unit_rows(f["vectors_i8"]),
            texts=bytes(f["texts"]).decode().split("\n"),
            queries=_unit_rows(f["queries_i8"]),
            names=bytes(f["names"]).decode().split("\n"),
            answers=f["answers"],
        )


def _unit_rows(codes: NDArray[np.int8]) -> NDArray[np.float32]:
    x = codes.astype(np.float32)
    # 384 squares of int8 add up exactly in float32, so every machine gets the same rows.
    x /= np.sqrt(np.einsum("ij,ij->i", x, x))[:, None]
    return x
