"""Exact search without an index."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nearbit import _core
from nearbit._check import metric_name
from nearbit.hits import Hits

if TYPE_CHECKING:
    from nearbit._types import Progress, Rows


def knn(
    queries: Rows,
    base: Rows,
    k: int = 10,
    metric: str = "cosine",
    *,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Hits:
    """Find the k nearest rows of an array, exactly, without an index.

    The matrix of all distances is never made; ``base`` is read in pieces and not copied as a whole.

    Parameters
    ----------
    queries : array_like, shape (n, dim) or (dim,)
        Float32 (other float dtypes, strides and byte orders are converted), or uint8 bits as
        ``numpy.packbits`` makes them for hamming and jaccard.
    base : array_like, shape (m, dim)
        What is searched. Don't write to it meanwhile.
    k : int, 1 to 65,536, default 10
    metric : {"l2", "ip", "cosine", "hamming", "jaccard"}, default "cosine"
        As of an ``Index`` of floats. l2 is squared, ip negated, cosine 1 - cos, jaccard
        1 - ``|a & b| / |a | b|``.
    threads : int, optional
        Default: see ``set_threads``.
    progress : callable (done, total), optional
        An exception from it ends the call.

    Returns
    -------
    Hits
        ids are row numbers of base.

    Raises
    ------
    TypeError, ValueError
        Wrong dtype, shape, k, metric; NaN, infinity, or a norm that overflows.

    Examples
    --------
    >>> import numpy as np, nearbit as nb
    >>> ids, distances = nb.knn([[1.0, 0.0]], np.eye(2, dtype=np.float32), k=2)
    >>> ids
    array([[0, 1]])
    """
    metric = metric_name(metric)
    ids, distances, _ = _core.knn(queries, base, k, metric, threads, progress)
    return Hits(ids, distances, metric)
