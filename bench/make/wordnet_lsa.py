"""wordnet-lsa: a second, older embedding of the same documents and queries as wordnet-minilm.

TF-IDF of words and word pairs, then a truncated SVD to 256 dimensions, unit rows: for tests of
compatibility between two versions of an embedding. It is fitted on the documents alone; a text with
no known word is a zero row. Source: Debian package wordnet-base (WordNet licence).
"""

import re
from collections import Counter

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.sparse.linalg import svds

from .wordnet_minilm import texts

DIM, MIN_COUNT = 256, 2


def words(text):
    return re.findall(r"[a-z0-9]+", text.lower())


def make() -> dict[str, NDArray]:
    definitions, queries, examples, _ = texts()
    docs = [words(t) for t in definitions]
    df = Counter(w for d in docs for w in set(d))
    at = {w: i for i, w in enumerate(sorted(w for w, n in df.items() if n >= MIN_COUNT))}
    idf = np.array([np.log((1 + len(docs)) / (1 + df[w])) + 1 for w in at])

    def tfidf(lists, rows):
        r, c, v = [], [], []
        for i, d in enumerate(lists):
            for w, n in Counter(d).items():
                if w in at:
                    r.append(i)
                    c.append(at[w])
                    v.append((1 + np.log(n)) * idf[at[w]])
        m = sp.csr_matrix((v, (r, c)), (rows, len(at)), dtype=np.float64)
        n = np.sqrt(np.asarray(m.multiply(m).sum(axis=1)).ravel())
        return (sp.diags_array(1 / np.maximum(n, 1e-12)) @ m).tocsr()

    m = tfidf(docs, len(docs))
    _, s, vt = svds(m, k=DIM, v0=np.full(min(m.shape), 1.0), tol=1e-4)
    v = vt[np.argsort(-s)].T
    v *= np.sign(v[np.abs(v).argmax(axis=0), np.arange(DIM)])

    def unit(x):
        n = np.linalg.norm(x, axis=1, keepdims=True)
        return (x / np.maximum(n, 1e-12)).astype(np.float32)

    return {
        "docs": unit(m @ v),
        "queries": unit(tfidf(map(words, queries), len(queries)) @ v),
        "examples": unit(tfidf(map(words, examples), len(examples)) @ v),
    }
