"""How good answers are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nearbit._numbers import shown
from nearbit.hits import Hits

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["recall"]


def recall(found: Hits | ArrayLike, truth: Hits | ArrayLike, *, rtol: float = 1e-5) -> float:
    """Share of the true k nearest that were found, judged by distance.

    An answer counts if it is no farther than the k-th true neighbour, so that it doesn't matter
    which of several equally near items was found.

    Parameters
    ----------
    found : Hits or array of distances, shape (n, k) or (k,)
        What a search returned; padding counts as not found. Of compact codes without refine, whose
        distances are estimates, give the true distances of the items instead.
    truth : Hits or array of distances, same shape
        The exact answers. Where fewer than k exist, those are all that count.
    rtol : float, default 1e-5
        Slack for rounding, relative to the k-th true distance: float32 sums taken in another order
        differ by about that.

    Returns
    -------
    float
        From 0 to 1, the mean over all true neighbours; 1 if there are none.

    Raises
    ------
    TypeError, ValueError
        No distances, NaN, shapes that differ, a negative ``rtol``.

    Examples
    --------
    >>> import nearbit as nb
    >>> nb.metrics.recall([[1.0, 2.0, 9.0]], [[1.0, 2.0, 3.0]])
    0.6666666666666666
    """
    if isinstance(rtol, bool) or not isinstance(rtol, (int, float, np.number)):
        msg = f"rtol: expected a number, got {shown(rtol)}"
        raise TypeError(msg)
    if not rtol >= 0:
        msg = f"rtol: expected 0 or more, got {rtol}"
        raise ValueError(msg)
    got, exact = _distances(found, "found"), _distances(truth, "truth")
    if got.shape != exact.shape:
        msg = f"found: expected shape {exact.shape} as of truth, got {got.shape}"
        raise ValueError(msg)
    real = np.isfinite(exact)
    n_true = np.count_nonzero(real)
    if n_true == 0:
        return 1.0
    kth = np.where(real, exact, -np.inf).max(axis=-1, keepdims=True, initial=-np.inf)
    within = np.isfinite(got) & (got <= kth + rtol * np.abs(np.where(np.isfinite(kth), kth, 0)))
    hits_per_query = np.minimum(np.count_nonzero(within, axis=-1), np.count_nonzero(real, axis=-1))
    return float(np.sum(hits_per_query) / n_true)


def _distances(hits: Hits | ArrayLike, argument: str) -> NDArray[np.float64]:
    given = np.asarray(hits.distances if isinstance(hits, Hits) else hits)
    if given.dtype.kind not in "fiu":
        msg = f"{argument}: expected Hits or an array of distances, got {shown(hits)}"
        raise TypeError(msg)
    if given.ndim not in (1, 2):
        msg = f"{argument}: expected shape (n, k) or (k,), got {given.shape}"
        raise ValueError(msg)
    distances = given.astype(np.float64)
    if np.isnan(distances).any():
        msg = f"{argument}: expected distances, got nan"
        raise ValueError(msg)
    return distances
