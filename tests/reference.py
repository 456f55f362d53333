"""What nearbit should answer, in plain numpy: slow, obvious, and sharing no code with it."""

from __future__ import annotations

import numpy as np

FLOAT_METRICS = ("l2", "ip", "cosine")
BIT_METRICS = ("hamming", "jaccard")


def pack_signs(rows):
    return np.packbits(np.asarray(rows) > 0, axis=1)


def distances(metric, queries, base):
    """All distances, float64, shape (queries, base rows)."""
    if metric == "hamming":
        return np.array(
            [np.unpackbits(q ^ base, axis=1).sum(axis=1, dtype=np.int64) for q in queries],
            dtype=np.float64,
        ).reshape(len(queries), len(base))
    if metric == "jaccard":
        return np.array([_jaccard(q, base) for q in queries]).reshape(len(queries), len(base))
    if queries.dtype in (np.int8, np.uint8):
        return _integer_distances(metric, queries.astype(np.int64), base.astype(np.int64))
    q, x = queries.astype(np.float64), base.astype(np.float64)
    if metric == "l2":
        rows = [((x - one) ** 2).sum(axis=1) for one in q]
        return np.array(rows).reshape(len(q), len(x))
    products = q @ x.T
    if metric == "ip":
        return -products
    lengths = np.linalg.norm(q, axis=1)[:, None] * np.linalg.norm(x, axis=1)[None, :]
    cosines = np.divide(products, lengths, out=np.zeros_like(products), where=lengths > 0)
    return 1 - cosines


def _integer_distances(metric, q, x):
    """Exact but for cosine, whose order is that of the signed squares of cosines."""
    if metric == "l2":
        rows = [((x - one) ** 2).sum(axis=1) for one in q]
        return np.array(rows, dtype=np.float64).reshape(len(q), len(x))
    products = (q @ x.T).astype(np.float64)
    if metric == "ip":
        return 0 - products
    q_squares, x_squares = (np.float64((rows**2).sum(axis=1)) for rows in (q, x))
    lengths = np.outer(q_squares, x_squares)
    squares = np.divide(products**2, lengths, out=np.zeros_like(products), where=lengths > 0)
    return 1 - np.copysign(np.sqrt(squares), products)


def _jaccard(query, base):
    """1 - |a and b| / |a or b| from counts, rounded to float32: one answer is right to the bit."""
    both = np.unpackbits(query & base, axis=1).sum(axis=1, dtype=np.int64)
    either = np.unpackbits(query | base, axis=1).sum(axis=1, dtype=np.int64)
    rest = (either - both).astype(np.float64)
    return np.divide(rest, either, out=rest, where=either > 0).astype(np.float32)


def tolerances(metric, queries, base):
    """How far float32 arithmetic may stray from `distances`, same shape.

    Hamming and Jaccard are exact; distances of integers are rounded once. l2 sums squares of
    differences, so its error goes with the distance itself, wherever the data lies; that of ip and
    cosine goes with the lengths of the rows.
    """
    exact = distances(metric, queries, base)
    if metric in BIT_METRICS:
        return np.zeros_like(exact)
    if queries.dtype in (np.int8, np.uint8):
        return np.abs(exact - exact.astype(np.float32)) + (1e-15 if metric == "cosine" else 0)
    if metric == "l2":
        return 1e-5 * exact + 1e-37
    if metric == "cosine":
        return np.full_like(exact, 1e-5)
    q, x = queries.astype(np.float64), base.astype(np.float64)
    return 1e-5 * np.linalg.norm(q, axis=1)[:, None] * np.linalg.norm(x, axis=1)[None, :] + 1e-37


def top_k(dists, ids, k, allowed=None, radius=None):
    """The k nearest by (distance, id), padded with inf and -1; a radius for all or for each."""
    dists, ids = np.asarray(dists), np.asarray(ids, dtype=np.int64)
    found_ids = np.full((len(dists), k), -1, dtype=np.int64)
    found_dists = np.full((len(dists), k), np.inf)
    for i, row in enumerate(dists):
        keep = np.ones(len(ids), dtype=bool) if allowed is None else np.isin(ids, allowed)
        if radius is not None:
            keep &= row <= np.broadcast_to(radius, len(dists))[i]
        order = np.lexsort((ids[keep], row[keep]))[:k]
        found_ids[i, : len(order)] = ids[keep][order]
        found_dists[i, : len(order)] = row[keep][order]
    return found_ids, found_dists


def within(dists, ids, radius, allowed=None, limit=None):
    """All within the radius by (distance, id), as (indptr, ids, distances)."""
    k = len(ids) if limit is None else min(limit, len(ids))
    found_ids, found_dists = top_k(dists, ids, k, allowed, radius)
    real = found_ids >= 0
    return np.append(0, np.cumsum(real.sum(axis=1))), found_ids[real], found_dists[real]


def recall(found, truth):
    """The share of the true distances that the found ones reach."""
    hit = [np.sum(f <= t[np.isfinite(t)].max()) for f, t in zip(found, truth, strict=True)]
    return sum(hit) / np.isfinite(truth).sum()


class Model:
    """An index as a dict from id to row: what each call leaves behind and what it answers."""

    def __init__(self, metric):
        self.metric = metric
        self.rows = {}
        self.next_id = 0

    def _put(self, ids, rows):
        for key, row in zip(ids, rows, strict=True):
            self.rows[int(key)] = np.array(row)
            self.next_id = max(self.next_id, int(key) + 1)

    def add(self, rows, ids=None):
        ids = range(self.next_id, self.next_id + len(rows)) if ids is None else ids
        assert not any(int(i) in self.rows for i in ids)
        self._put(ids, rows)
        return np.array([int(i) for i in ids], dtype=np.int64)

    def upsert(self, ids, rows):
        self._put(ids, rows)

    def update(self, ids, rows):
        assert all(int(i) in self.rows for i in ids)
        self._put(ids, rows)

    def remove(self, ids):
        known = {int(i) for i in ids} & set(self.rows)
        for i in known:
            del self.rows[i]
        return len(known)

    @property
    def ids(self):
        return np.array(sorted(self.rows), dtype=np.int64)

    def matrix(self, width, dtype):
        if not self.rows:
            return np.empty((0, width), dtype=dtype)
        return np.array([self.rows[i] for i in sorted(self.rows)], dtype=dtype)


def random_numbers(seed, n):
    """The first n numbers of 64 bits that xoshiro256** gives, its state by splitmix64 of a seed."""
    mask = 2**64 - 1
    state = []
    for i in range(1, 5):
        x = (seed + i * 0x9E3779B97F4A7C15) & mask
        x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & mask
        x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & mask
        state.append(x ^ (x >> 31))

    def rotated(x, bits):
        return ((x << bits) | (x >> (64 - bits))) & mask

    numbers = []
    for _ in range(n):
        numbers.append(rotated(state[1] * 5 & mask, 7) * 9 & mask)
        shifted = (state[1] << 17) & mask
        state[2] ^= state[0]
        state[3] ^= state[1]
        state[1] ^= state[2]
        state[0] ^= state[3]
        state[2] ^= shifted
        state[3] = rotated(state[3], 45)
    return numbers


def rotation(dim, seed):
    """The matrix of a random rotation: four rounds of random signs and a Hadamard transform.

    That is of the first, then of the last of the dimensions, as many as are a power of two; each 16
    of what it gives lie transposed, as four by four. Where it is not of all, halves are mixed.
    """
    length, half = 1 << (dim.bit_length() - 1), dim // 2
    hadamard = np.ones((1, 1))
    while len(hadamard) < length:
        hadamard = np.kron([[1, 1], [1, -1]], hadamard)
    if length >= 16:
        hadamard = hadamard.reshape(-1, 4, 4, length).swapaxes(1, 2).reshape(length, length)
    negative = np.array(random_numbers(seed, 4 * dim), np.uint64).reshape(4, dim, 1) >> 63 == 1
    turned = np.eye(dim)
    for round_, flips in enumerate(negative):
        turned = np.where(flips, -turned, turned)
        first = 0 if round_ % 2 == 0 else dim - length
        turned[first : first + length] = hadamard @ turned[first : first + length] / length**0.5
        if length < dim:
            low, high = turned[:half].copy(), turned[dim - half :].copy()
            turned[:half], turned[dim - half :] = 0.8 * low + 0.6 * high, 0.6 * low - 0.8 * high
    return turned
