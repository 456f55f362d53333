"""wordnet-minilm: every WordNet 3.0 definition as a document, with real query / answer pairs.

Documents: the 117,659 definitions in file order. Queries: 8,000 synsets that have an example
sentence, drawn once with a fixed seed; each gives two queries, its names ("lemma, lemma") and
its first example sentence, and the one relevant document of both is the synset's definition.
Rows 0-4,999 train, 5,000-5,999 validation, 6,000-7,999 test: no synset is in two of them.
Stored are int8 codes of one scale. Source: Debian package wordnet-base (WordNet licence: its notice
goes with every copy, of the vectors too). Model: all-MiniLM-L6-v2, 12 minutes of one core.
"""

import numpy as np
from numpy.typing import NDArray

from .wordnet_text import synsets

TRAIN, VALID, TEST = 5000, 1000, 2000


def texts() -> tuple[list[str], list[str], list[str], NDArray[np.int32]]:
    """(document texts, name queries, example queries, relevant document of each query)."""
    s = synsets()
    have = np.array([i for i, x in enumerate(s) if x[3]])
    pick = have[np.random.default_rng(0).permutation(len(have))[: TRAIN + VALID + TEST]]
    names = [", ".join(s[i][1]) for i in pick]
    return [x[2] for x in s], names, [s[i][3][0] for i in pick], pick.astype(np.int32)


def to_int8(x: NDArray[np.float32], peak: float) -> NDArray[np.int8]:
    return np.clip(np.rint(x * (127 / peak)), -127, 127).astype(np.int8)


def make() -> dict[str, NDArray]:
    from .minilm import MiniLM  # here, so that texts() does without torch

    docs, names, examples, relevant = texts()
    model = MiniLM()
    rows = {
        "docs": model.embed(docs),
        "queries": model.embed(names),
        "examples": model.embed(examples),
    }
    peak = max(float(np.abs(x).max()) for x in rows.values())
    split = np.repeat(np.array([0, 1, 2], np.uint8), [TRAIN, VALID, TEST])
    return {
        **{f"{k}_i8": to_int8(x, peak) for k, x in rows.items()},
        "relevant": relevant,
        "split": split,
        "scale": np.float32(peak / 127),
    }
