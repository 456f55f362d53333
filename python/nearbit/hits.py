"""What searches return."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np

from nearbit._numbers import shown, whole

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray


class Hits:
    """The k nearest of each query: a pair, ``ids, distances``, to unpack or to index.

    Attributes
    ----------
    ids : int64, shape (n, k), or (k,) for a single query
        Nearest first, ties by smaller id; -1 where fewer than k were found.
    distances : float32, same shape
        Ascending, in the metric's distance; inf beside -1.
    metric : str
        What the distances are.
    stats : dict or None
        With ``stats=True``, for each query (int64): ``"hops"``, the items whose links a walk
        followed, 0 where all were scanned; ``"distances"``, the rows that the walk or scan went
        over (both, where a walk found too few and a scan came after it); ``"candidates"``, those
        whose whole code was scored, fewer where a first pass can exclude the others, and not the
        same for any number of threads; ``"refined"``, those whose finer copy was read, 0 without
        refine.

    Examples
    --------
    >>> import numpy as np, nearbit as nb
    >>> hits = nb.knn(np.zeros(2, np.float32), np.eye(2, dtype=np.float32), k=3)
    >>> hits.ids, hits.counts
    (array([ 0,  1, -1]), np.int64(2))
    """

    __slots__ = ("distances", "ids", "metric", "stats")

    def __init__(
        self,
        ids: NDArray[np.int64],
        distances: NDArray[np.float32],
        metric: str,
        stats: dict[str, NDArray[np.int64]] | None = None,
    ) -> None:
        self.ids = ids
        self.distances = distances
        self.metric = metric
        self.stats = stats

    # Any, for a type can't say that the first differs from the second.
    def __iter__(self) -> Iterator[Any]:
        yield self.ids
        yield self.distances

    def __len__(self) -> Literal[2]:
        return 2

    @overload
    def __getitem__(self, i: Literal[0, -2]) -> NDArray[np.int64]: ...
    @overload
    def __getitem__(self, i: Literal[1, -1]) -> NDArray[np.float32]: ...
    def __getitem__(self, i: int) -> NDArray[np.int64] | NDArray[np.float32]:
        return (self.ids, self.distances)[i]

    @property
    def counts(self) -> NDArray[np.int64] | np.int64:
        """How many answers of each query are real: int64, shape (n,), or one number."""
        counts: NDArray[np.int64] | np.int64 = np.count_nonzero(
            np.isfinite(self.distances), axis=-1
        ).astype(np.int64)
        return counts

    @property
    def scores(self) -> NDArray[np.float32]:
        """Similarities, descending: the inner product (ip) or the cosine (cosine).

        -inf beside -1. ``ValueError`` for other metrics, whose distances have no such form.
        """
        if self.metric == "ip":
            return -self.distances
        if self.metric == "cosine":
            return 1 - self.distances
        msg = f"metric: expected 'ip' or 'cosine' for scores, got {self.metric!r}"
        raise ValueError(msg)

    def __repr__(self) -> str:
        return f"Hits(ids={self.ids!r}, distances={self.distances!r}, metric={self.metric!r})"


class RangeHits:
    """All within a radius of each query; unpacks as ``indptr, ids, distances``.

    Attributes
    ----------
    indptr : int64, shape (n + 1,)
        Query i's answers are at ``indptr[i]:indptr[i + 1]`` of the others.
    ids : int64
        Nearest first within a query, ties by smaller id.
    distances : float32
        In the metric's distance.
    metric : str
        What the distances are.

    Examples
    --------
    >>> import numpy as np, nearbit as nb
    >>> index = nb.Index(2, metric="l2")
    >>> ids = index.add(np.eye(2, dtype=np.float32))
    >>> index.range_search(np.zeros((1, 2), np.float32), radius=1.0).ids
    array([0, 1])
    """

    __slots__ = ("distances", "ids", "indptr", "metric")

    def __init__(
        self,
        indptr: NDArray[np.int64],
        ids: NDArray[np.int64],
        distances: NDArray[np.float32],
        metric: str,
    ) -> None:
        self.indptr = indptr
        self.ids = ids
        self.distances = distances
        self.metric = metric

    def __iter__(self) -> Iterator[Any]:
        yield self.indptr
        yield self.ids
        yield self.distances

    def __repr__(self) -> str:
        return (
            f"RangeHits(indptr={self.indptr!r}, ids={self.ids!r}, distances={self.distances!r}, "
            f"metric={self.metric!r})"
        )


def merge_hits(hits: Sequence[Hits], k: int) -> Hits:
    """Merge the answers that several indexes gave to the same queries.

    Parameters
    ----------
    hits : sequence of Hits
        Of the same metric and number of queries; each may have its own k. The indexes share no id:
        an id that comes more than once stays more than once.
    k : int, 1 to 65,536
        Exact if each of the indexes was asked for at least k.

    Returns
    -------
    Hits
        The k nearest of all, ties by smaller id.

    Raises
    ------
    TypeError, ValueError
        No hits, different metrics or numbers of queries, k out of range.

    Examples
    --------
    >>> import numpy as np, nearbit as nb
    >>> q = np.zeros((1, 2), np.float32)
    >>> parts = [nb.knn(q, np.full((3, 2), x, np.float32), k=1, metric="l2") for x in (2, 1)]
    >>> nb.merge_hits(parts, k=2).distances
    array([[2., 8.]], dtype=float32)
    """
    k = whole(k, "k", 1, 65_536)
    if not isinstance(hits, Iterable):
        msg = f"hits: expected a sequence of Hits, got {shown(hits)}"
        raise TypeError(msg)
    hits = list(hits)
    for part in hits:
        if not isinstance(part, Hits):
            msg = f"hits: expected Hits, got {shown(part)}"
            raise TypeError(msg)
    if not hits:
        msg = "hits: expected at least one, got none"
        raise ValueError(msg)
    first = hits[0]
    for part in hits:
        if part.metric != first.metric:
            msg = f"hits: expected one metric, got {first.metric!r} and {part.metric!r}"
            raise ValueError(msg)
        if part.ids.shape[:-1] != first.ids.shape[:-1]:
            msg = (
                "hits: expected answers to the same queries, got shapes "
                f"{first.ids.shape} and {part.ids.shape}"
            )
            raise ValueError(msg)
    ids = np.concatenate([part.ids for part in hits], axis=-1)
    distances = np.concatenate([part.distances for part in hits], axis=-1)
    order = np.lexsort((ids, distances), axis=-1)[..., :k]
    ids = np.take_along_axis(ids, order, axis=-1)
    distances = np.take_along_axis(distances, order, axis=-1)
    missing = [(0, 0)] * (ids.ndim - 1) + [(0, k - ids.shape[-1])]
    if ids.shape[-1] < k:
        ids = np.pad(ids, missing, constant_values=-1)
        distances = np.pad(distances, missing, constant_values=np.inf)
    return Hits(ids, distances, first.metric)
