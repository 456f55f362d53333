"""wordnet-tokens: a multi-vector (one vector per token) retrieval set with judgements.

2,500 WordNet 3.0 synsets with two or more example sentences, drawn with a fixed seed. The
document of a synset is "lemma, lemma: definition; first example"; for the first 500 of them the
second example is a query with that one document relevant. Each token's last hidden state of
all-MiniLM-L6-v2 ([CLS] and [SEP] left out), centred by the documents' mean, projected on the
documents' first 96 principal directions, normalised, int8 with one scale.
Source: Debian package wordnet-base (WordNet licence).
"""

import numpy as np
from numpy.typing import NDArray

from .minilm import MiniLM
from .wordnet_text import synsets

DOCS, QUERIES, DIM = 2500, 500, 96


def texts():
    s = synsets()
    have = np.array([i for i, x in enumerate(s) if len(x[3]) > 1])
    pick = have[np.random.default_rng(1).permutation(len(have))[:DOCS]]
    docs = [f"{', '.join(s[i][1])}: {s[i][2]}; {s[i][3][0]}" for i in pick]
    return docs, [s[i][3][1] for i in pick[:QUERIES]], pick.astype(np.int32)


def make() -> dict[str, NDArray]:
    docs, queries, pick = texts()
    model = MiniLM()

    def tokens(lines):
        v = [x[1:-1] for x in model.tokens(lines)]
        at = np.concatenate([[0], np.cumsum([len(x) for x in v])]).astype(np.int64)
        return np.vstack(v), at

    d, d_at = tokens(docs)
    q, q_at = tokens(queries)
    mean = d.mean(axis=0)
    c = d - mean
    _, vec = np.linalg.eigh((c.T @ c / len(c)).astype(np.float64))
    p = vec[:, ::-1][:, :DIM].astype(np.float32)
    p *= np.sign(p[np.abs(p).argmax(axis=0), np.arange(DIM)])

    def unit(x):
        x = (x - mean) @ p
        return x / np.linalg.norm(x, axis=1, keepdims=True)

    d, q = unit(d), unit(q)
    scale = 127 / max(np.abs(d).max(), np.abs(q).max())
    return {
        "doc_tokens_i8": np.rint(d * scale).astype(np.int8),
        "doc_at": d_at,
        "query_tokens_i8": np.rint(q * scale).astype(np.int8),
        "query_at": q_at,
        "relevant": np.arange(QUERIES, dtype=np.int32),
        "synset": pick,
    }
