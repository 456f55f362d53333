"""gloss-svd: a matrix factorisation for maximum-inner-product search; norms vary a lot.

A real bipartite matrix with a long tail, in place of a recommender's: "users" are WordNet 3.0
synsets, "items" are the words of their glosses (definition and examples). It's factorised as
the PureSVD recommender does: R ~ U S V', item vectors V, user vectors R V, and the score of
user u for item i is their inner product. Some users are zero rows.
Source: Debian package wordnet-base (WordNet licence).
R holds log(1 + count) * idf(word); words in over 2 % of the glosses (stop words) are left out.
"""

import re
from collections import Counter

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.sparse.linalg import svds

from .wordnet_text import synsets

DIM, MIN_COUNT, MAX_SHARE = 64, 3, 0.02


def matrix():
    texts = [re.findall(r"[a-z]+", " ".join([d, *e]).lower()) for _, _, d, e in synsets()]
    df = Counter(w for t in texts for w in set(t))
    words = sorted(w for w, n in df.items() if MIN_COUNT <= n <= MAX_SHARE * len(texts))
    at = {w: i for i, w in enumerate(words)}
    rows, cols, vals = [], [], []
    for r, t in enumerate(texts):
        for w, n in sorted(Counter(t).items()):
            if w in at:
                rows.append(r)
                cols.append(at[w])
                vals.append(np.log1p(n) * np.log(len(texts) / df[w]))
    return sp.csr_matrix((vals, (rows, cols)), (len(texts), len(words)), dtype=np.float64), words


def make() -> dict[str, NDArray]:
    m, words = matrix()
    _, s, vt = svds(m, k=DIM, v0=np.full(min(m.shape), 1.0), tol=1e-6)
    v = vt[np.argsort(-s)].T
    v *= np.sign(v[np.abs(v).argmax(axis=0), np.arange(DIM)])  # a fixed sign for each direction
    return {
        "items": v.astype(np.float32),
        "users": (m @ v).astype(np.float32),
        "words": np.array(words),
    }
