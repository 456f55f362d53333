"""The index, and loading one."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from nearbit import _core
from nearbit._check import (
    check_flag,
    codec_of,
    codec_settings,
    core_codec,
    core_layout,
    layout_settings,
    metric_for,
    path_bytes,
    refine_settings,
)
from nearbit._core import Filter
from nearbit._numbers import shown, whole
from nearbit.codecs import REFINES, Codec, Sign
from nearbit.hits import Hits, RangeHits
from nearbit.layouts import Flat, Graph
from nearbit.metrics import recall as share_found
from nearbit.trained import TrainedCodec, check_fits

if TYPE_CHECKING:
    import os

    from numpy.typing import NDArray

    from nearbit._types import Allowed, FilterLike, Ids, Progress, Radius, Rows

__all__ = ["Filter", "Index", "load"]

MOST_K, MOST_WALKED, MOST_EF = 65_536, 1_000, 65_536
REFINE_FACTOR = 10


class Index:
    """Vectors under ids, and the nearest of them to a query.

    Parameters
    ----------
    dim : int
        Dimensions of a row, 1 to 65,536; for ``Bits`` its bits, a multiple of 8 up to 2**24.
    metric : {"cosine", "l2", "ip", "hamming", "jaccard"}, optional
        Distance: 1 - cos, squared Euclidean, negated inner product, number of differing bits,
        1 - ``|a & b| / |a | b|`` (two rows without set bits: 0).
        Default: hamming for ``Bits`` and ``Sign``, cosine for the others.
    layout : Flat, Graph, "flat" or "graph", optional
        Which items get scored: all of them, exact for the codec, or those that a walk along links
        comes by, nearly exact and many times as quick among many. Default: ``Flat``.
    codec : a codec such as ``Float16()``, or its name, or a TrainedCodec, optional
        What an item is stored as and scored by. Default: ``Float32``. A trained one is shared, not
        copied; ``dim`` and metric are then its own.
    refine : "float32", "float16", "sq8", ``Float32()``, ``Float16()`` or ``SQ(8)``, optional
        A finer copy of each row, kept beside the code of a codec whose distances are estimates
        (``RaBitQ``, ``PQ`` and their like): searches re-score the best candidates by it, and
        ``get`` returns it. Default: none.
    seed : int, 0 to 2**63 - 1, default 0
        Of the random choices of a codec and of a graph: the same seed and calls give the same
        index, at any number of threads. A trained codec has made its choices.

    Raises
    ------
    TypeError, ValueError
        An unknown metric, layout, codec or refine, a pair that doesn't go together, ``dim`` out of
        range.

    Notes
    -----
    Any number of searches run beside one change; further changes wait. A search sees every add that
    had returned before it began. Answers don't depend on threads or on how queries are batched, to
    the bit. A call that raises leaves the index as it was.

    Examples
    --------
    >>> import numpy as np, nearbit as nb
    >>> index = nb.Index(2, metric="l2")
    >>> index.add(np.array([[0, 0], [3, 4]], dtype=np.float32))
    array([0, 1])
    >>> ids, distances = index.search([[0.0, 1.0]], k=2)
    >>> ids, distances
    (array([[0, 1]]), array([[ 1., 18.]], dtype=float32))
    """

    __slots__ = ("__weakref__", "_codec", "_core", "_layout", "_metric", "_refine")

    def __init__(
        self,
        dim: int,
        metric: str | None = None,
        layout: Flat | Graph | str | None = None,
        codec: Codec | TrainedCodec | str | None = None,
        refine: Codec | str | None = None,
        *,
        seed: int = 0,
    ) -> None:
        self._layout = layout_settings(layout)
        if isinstance(codec, TrainedCodec):
            check_fits(codec, dim, metric)
            self._codec, self._metric, core = codec.settings, codec.metric, codec._core
        else:
            self._codec = codec_settings(codec)
            self._metric = metric_for(self._codec, metric)
            core = core_codec(self._codec, dim, self._metric, seed)
        self._refine = refine_settings(refine, self._codec, self._metric)
        finer = None
        if self._refine is not None:
            finer = core_codec(self._refine, core.dim, self._metric, seed)
        self._core = _core.Index(core, finer, core_layout(self._layout, seed))

    @classmethod
    def _of(cls, core: _core.Index) -> Index:
        index = cls.__new__(cls)
        index._core = core
        index._metric = core.metric
        index._codec = codec_of(core.codec)
        index._layout = Flat() if core.graph is None else Graph(*core.graph)
        finer = [codec for codec in REFINES.values() if codec.name == core.refine]
        index._refine = finer[0] if finer else None
        return index

    # ------------------------------------------------------------------ what it is

    @property
    def dim(self) -> int:
        """Dimensions of a row; for ``Bits`` its bits."""
        return self._core.dim

    @property
    def metric(self) -> str:
        """What distances are."""
        return self._metric

    @property
    def layout(self) -> Flat | Graph:
        """Which items get scored."""
        return self._layout

    @property
    def codec(self) -> Codec:
        """What an item is stored as and scored by."""
        return self._codec

    @property
    def trained_codec(self) -> TrainedCodec:
        """The codec with what it learned, for other indexes to share.

        ValueError while an index whose codec learns is not trained: ``stats()["trained"]`` says so.
        """
        return TrainedCodec(self._core.trained_codec())

    @property
    def refine(self) -> Codec | None:
        """What the finer copy of each row is stored as; None without one."""
        return self._refine

    @property
    def ef(self) -> int | None:
        """How many of the nearest a walk keeps in searches that don't say; None for a flat layout.

        100, which finds .97 of the ten nearest of 117,659 text embeddings, until it is set, or
        ``tune`` sets it. With refine, searches keep all that are to be re-scored if those are more.
        Saved with the index; a mapped one has it in memory alone.

        ``TypeError`` or ``ValueError`` if it is set to no integer from 1 to 65,536, or for a flat
        layout, which has no effort.
        """
        return None if isinstance(self._layout, Flat) else self._core.ef

    @ef.setter
    def ef(self, ef: int) -> None:
        if isinstance(self._layout, Flat):
            msg = f"ef: expected a layout that has an effort, got {self._layout!r}"
            raise ValueError(msg)  # noqa: TRY004
        self._core.ef = ef

    @property
    def readonly(self) -> bool:
        """Whether the index is mapped from a file and can't be changed."""
        return self._core.readonly

    @property
    def ids(self) -> NDArray[np.int64]:
        """The ids in the index, ascending: int64, shape (len(index),), a new array."""
        return self._core.ids()

    @property
    def nbytes(self) -> int:
        """Bytes of codes, factors, finer copies, ids and links, but not of reserved room."""
        return sum(n for name, n in self._core.stats().items() if name.endswith("_bytes"))

    def stats(self) -> dict[str, Any]:
        """Count items and bytes.

        Returns
        -------
        dict
            ``items``; ``slots``, which also counts removed rows whose place is free for new ones;
            ``code_bytes``, ``factor_bytes`` (norms), ``refine_bytes`` (finer copies and their
            norms; 0 without) and ``id_bytes`` of all slots; for a graph, ``link_bytes``, 0 while
            there are too few items to walk; for a codec that learns, ``train_size``, whether it is
            ``trained``, and ``stretch``: how many times as far off as the training sample said
            estimates of the rows may be. It is about 1 where rows are like the sample, 0 before
            training; well above, rows are longer or lie elsewhere: build anew after ``train`` on a
            sample that is like all of them.

        Examples
        --------
        >>> import nearbit as nb
        >>> nb.Index(8).stats()["items"]
        0
        """
        return self._core.stats()

    def __len__(self) -> int:
        return len(self._core)

    def __contains__(self, id: object) -> bool:
        return id in self._core

    def __repr__(self) -> str:
        items = "1 item" if len(self) == 1 else f"{len(self):,} items"
        refine = "" if self.refine is None else f", refine={self.refine!r}"
        return (
            f"nb.Index({self.dim}, metric={self.metric!r}, layout={self.layout!r}, "
            f"codec={self.codec!r}{refine}) with {items}" + (", read-only" if self.readonly else "")
        )

    # ------------------------------------------------------------------ searching

    def search(
        self,
        queries: Rows,
        k: int = 10,
        *,
        radius: Radius | None = None,
        filter: FilterLike | None = None,
        ef: int | None = None,
        refine_factor: float | None = None,
        exact: bool = False,
        stats: bool = False,
        threads: int | None = None,
        progress: Progress | None = None,
    ) -> Hits:
        """Find the k nearest items of each query.

        Parameters
        ----------
        queries : array_like, shape (n, dim) or (dim,)
            As for ``add``. One query may be 1-d; the answer then is too.
        k : int, 1 to 65,536, default 10
            May exceed the number of items.
        radius : float or array of n floats, optional
            Only items within it (inclusive), in the metric's distance, rounded to float32.
        filter : ids, bool array, Filter, or list of one of these or None for each query, optional
            Which ids may be found: an array, list or set of ids (unknown ones match nothing), a
            bool array indexed by id (ids beyond it are not allowed), or ``index.filter(...)``.
        ef : int, 1 to 65,536, optional
            For a graph: how many of the nearest a walk keeps; fewer than k count as k. More find
            more of the nearest, in time that grows with them. With refine, they are what can be
            re-scored. Default: ``index.ef``, or what refine_factor says if that is more.
        refine_factor : float >= 1, default 10
            With refine: the ``ceil(k * refine_factor)`` best by the codec's estimate, whatever the
            radius, are re-scored by the finer copy, of which fewer are read where those left can't
            win (``RaBitQ``). On 384-d text embeddings, ``Float16``, factors 2, 4, 10 and 20 find
            .90, .97, .993 and .998 of the ten nearest with ``RaBitQ(1)``, and .94, .99, .999 and
            1 with ``PQ(47, rotation="opq")``.
        exact : bool, default False
            Score every item by the codec though there is a graph: what the walk is measured by. A
            graph also does so where that is quicker: before it has 2,048 items, k above 1,001,
            a filter that few pass, or very many removed items about.
        stats : bool, default False
            Fill ``hits.stats``.
        threads : int, optional
            Default: see ``nb.set_threads``.
        progress : callable (done, total), optional
            Called from this thread now and then, in rows scored; an exception from it ends the
            call.

        Returns
        -------
        Hits
            ids (int64) and distances (float32), each (n, k); rows ascend, ties by smaller id,
            padded with -1 and inf. With refine, distances are those of the finer copy.

        Raises
        ------
        TypeError, ValueError
            Wrong dtype or shape; k out of range; NaN or infinity; a radius beyond float64; a filter
            of the wrong type; ef for a flat layout or out of range; refine_factor without refine or
            out of range.

        Examples
        --------
        >>> import numpy as np, nearbit as nb
        >>> index = nb.Index(2, metric="l2")
        >>> ids = index.add(np.array([[0, 0], [3, 4], [6, 8]], dtype=np.float32))
        >>> index.search([0.0, 0.0], k=2, filter=[1, 2]).ids
        array([1, 2])
        >>> rows = np.random.default_rng(0).standard_normal((2_000, 64), dtype=np.float32)
        >>> index = nb.Index(64, codec=nb.RaBitQ(1), refine="float16")
        >>> ids = index.add(rows)
        >>> index.search(rows[:3], k=1, refine_factor=20).ids[:, 0]
        array([0, 1, 2])
        """
        check_flag(stats, "stats")
        check_flag(exact, "exact")
        ids, distances, counts = self._core.search(
            queries, k, radius, filter, ef, refine_factor, exact, stats, threads, progress
        )
        if counts is None:
            return Hits(ids, distances, self._metric)
        stages = dict(zip(("hops", "distances", "candidates", "refined"), counts, strict=True))
        return Hits(ids, distances, self._metric, stages)

    def range_search(
        self,
        queries: Rows,
        radius: Radius,
        *,
        filter: FilterLike | None = None,
        limit: int | None = None,
        ef: int | None = None,
        exact: bool = False,
        threads: int | None = None,
        progress: Progress | None = None,
    ) -> RangeHits:
        """Find all items within a radius of each query.

        Parameters
        ----------
        queries : array_like, shape (n, dim) or (dim,)
            As for ``search``.
        radius : float or array of n floats
            Inclusive, in the metric's distance, rounded to float32. With refine, what counts is the
            finer copy's distance; items are left out unread whose estimate lies beyond the radius
            by three times the standard deviation of its error in the training sample, times
            ``stats()["stretch"]`` where that is more than 1, which may miss about one in a thousand
            of those at the edge.
        filter : optional
            As for ``search``.
        limit : int, optional
            At most so many per query: the nearest.
        ef : int, 1 to 65,536, optional
            For a graph: the walk goes on from whatever is within the radius, and from so many of
            the nearest beyond, so that it finds its way over gaps. Default: ``index.ef``.
        exact : bool, default False
            As for ``search``.
        threads : int, optional
            As for ``search``.
        progress : callable (done, total), optional
            As for ``search``.

        Returns
        -------
        RangeHits
            ``indptr, ids, distances``.

        Raises
        ------
        TypeError, ValueError
            As for ``search``.

        Examples
        --------
        >>> import numpy as np, nearbit as nb
        >>> index = nb.Index(2, metric="l2")
        >>> ids = index.add(np.array([[0, 0], [3, 4], [6, 8]], dtype=np.float32))
        >>> indptr, ids, distances = index.range_search([[0.0, 0.0]], radius=25)
        >>> indptr, ids
        (array([0, 2]), array([0, 1]))
        """
        check_flag(exact, "exact")
        return RangeHits(
            *self._core.range_search(queries, radius, filter, limit, ef, exact, threads, progress),
            self._metric,
        )

    def neighbors(
        self,
        ids: Ids,
        k: int = 10,
        *,
        radius: Radius | None = None,
        filter: FilterLike | None = None,
        ef: int | None = None,
        refine_factor: float | None = None,
        exact: bool = False,
        threads: int | None = None,
        progress: Progress | None = None,
    ) -> Hits:
        """Find the k nearest other items of items in the index.

        Each is left out of its own answer; items with an equal row stay in it.

        Parameters
        ----------
        ids : int or array_like of n ints
            Whose neighbours: what ``get`` returns of them is searched for.
        k : int, 1 to 65,535, default 10
        radius, filter, ef, refine_factor, exact, threads, progress : optional
            As for ``search``.

        Returns
        -------
        Hits
            As of ``search``; 1-d for a single id.

        Raises
        ------
        KeyError
            An id that isn't in the index.
        TypeError, ValueError
            As for ``search``; a codec whose rows can't be searched for, since ``get`` returns
            their signs: ``Sign`` without refine.

        Examples
        --------
        >>> import numpy as np, nearbit as nb
        >>> index = nb.Index(2, metric="l2")
        >>> ids = index.add(np.array([[0, 0], [3, 4], [6, 9], [3, 4]], dtype=np.float32))
        >>> index.neighbors([0, 1], k=2).ids
        array([[1, 3],
               [3, 0]])
        """
        k = whole(k, "k", 1, MOST_K - 1)
        rows = self.get(ids)
        if isinstance(self._codec, Sign) and self._refine is None:
            msg = (
                "codec: expected one whose rows can be searched for, or a refine, "
                f"got {self._codec!r}"
            )
            raise ValueError(msg)
        hits = self.search(
            rows,
            k + 1,
            radius=radius,
            filter=filter,
            ef=ef,
            refine_factor=refine_factor,
            exact=exact,
            threads=threads,
            progress=progress,
        )
        others = hits.ids != np.asarray(ids).astype(np.int64)[..., np.newaxis]
        others[..., -1] &= ~others.all(axis=-1)  # an item that isn't there makes room at the end
        shape = (*rows.shape[:-1], k)
        return Hits(
            hits.ids[others].reshape(shape), hits.distances[others].reshape(shape), self._metric
        )

    def tune(
        self,
        queries: Rows,
        recall: float = 0.95,
        k: int = 10,
        *,
        filter: FilterLike | None = None,
        refine_factor: float | None = None,
        threads: int | None = None,
        progress: Progress | None = None,
    ) -> int:
        """Set ``ef`` to the least with which a graph finds a share of the k nearest.

        Parameters
        ----------
        queries : array_like, shape (n, dim) or (dim,)
            As for ``search``: like those to come, for only then will their recall be the same. Of a
            thousand, the mean is within about a hundredth of what many more would have.
        recall : float, above 0 to 1, default 0.95
            Mean share of the true k nearest, by distance (``nb.metrics.recall``). The truth is the
            search of all items by the codec or, with refine, by the finer copy.
        k : int, 1 to 1,000, default 10
        filter, refine_factor, threads : optional
            As for ``search``.
        progress : callable (done, total), optional
            As for ``search``, for each of some ten to twenty searches in turn.

        Returns
        -------
        int
            The new ``index.ef``, at least k; with refine, at least as many as are re-scored.

        Raises
        ------
        TypeError, ValueError
            As for ``search``; a flat layout; a recall or k out of range; no queries; an index that
            has no links, because it has fewer than 2,048 items; a recall that no ef reaches with
            this refine_factor. ``ef`` is then as it was.

        Examples
        --------
        >>> import numpy as np, nearbit as nb
        >>> rows = np.random.default_rng(0).standard_normal((3_000, 8), dtype=np.float32)
        >>> index = nb.Index(8, layout=nb.Graph(degree=8, ef_construction=32))
        >>> ids = index.add(rows)
        >>> ef = index.tune(rows[:500] + 0.1, recall=0.9)
        >>> index.ef == ef >= 10
        True
        """
        if isinstance(self._layout, Flat):
            msg = f"layout: expected one that has an effort to tune, got {self._layout!r}"
            raise ValueError(msg)  # noqa: TRY004
        wanted = f"recall: expected a number above 0, up to 1, got {shown(recall)}"
        if isinstance(recall, bool) or not isinstance(recall, (int, float, np.number)):
            raise TypeError(wanted)
        if not 0 < recall <= 1:
            raise ValueError(wanted)
        k = whole(k, "k", 1, MOST_WALKED)
        if self.stats()["link_bytes"] == 0:
            msg = f"index: expected 2,048 items or more, which are walked, got {len(self):,}"
            raise ValueError(msg)

        def found(**how: Any) -> Hits:
            return self.search(queries, k, filter=filter, threads=threads, progress=progress, **how)

        every = None if self._refine is None else max(1.0, len(self) / k)
        truth = found(exact=True, refine_factor=every)
        if truth.ids.size == 0:
            msg = "queries: expected at least one row, got none"
            raise ValueError(msg)

        def reached(ef: int) -> float:
            return share_found(found(ef=ef, refine_factor=refine_factor), truth)

        # Searches that don't say keep no fewer.
        factor = 1 if self._refine is None else refine_factor or REFINE_FACTOR
        least = min(MOST_EF, math.ceil(k * factor))
        # Too little, and enough: doubled until it is, then halfway between.
        low, high, most = least - 1, least, min(MOST_EF, max(least, len(self)))
        while (best := reached(high)) < recall:
            if high == most:
                msg = f"recall: expected at most {best:.4g}, which ef={high} reaches, got {recall}"
                raise ValueError(msg)
            low, high = high, min(2 * high, most)
        while high - low > 1:
            middle = (low + high) // 2
            if reached(middle) < recall:
                low = middle
            else:
                high = middle
        self.ef = high
        return high

    def filter(self, allowed: Allowed) -> Filter:
        """Prepare a filter to use many times.

        Parameters
        ----------
        allowed : array, list or set of ids, or bool array indexed by id

        Returns
        -------
        Filter
            A set of ids: later changes of the index don't confuse it, and ids added later count if
            they are in it. The first search after a change looks the ids up again.

        Raises
        ------
        TypeError, ValueError
            Neither ids nor a bool array.

        Examples
        --------
        >>> import nearbit as nb
        >>> len(nb.Index(8).filter([1, 5, 5]))
        2
        """
        return _core.filter(allowed)

    def get(self, ids: Ids) -> NDArray[np.float32] | NDArray[np.uint8] | NDArray[np.int8]:
        """Return rows by id.

        Parameters
        ----------
        ids : int or array_like of n ints

        Returns
        -------
        ndarray, shape (n, dim) float32, int8 or uint8, or (n, bytes) uint8 for bits and signs
            What was added, exactly; but the nearest halves, as float32, for ``Float16``, packed
            signs for ``Sign``, and what the code says for the codecs that learn. With refine: of
            the finer copy. One row, 1-d, for a single id.

        Raises
        ------
        KeyError
            An id that isn't in the index.

        Examples
        --------
        >>> import nearbit as nb
        >>> index = nb.Index(2)
        >>> ids = index.add([[1.0, 2.0]])
        >>> index.get(0)
        array([1., 2.], dtype=float32)
        """
        return self._core.get(ids)

    # ------------------------------------------------------------------ changing

    def train(
        self,
        sample: Rows,
        *,
        threads: int | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Train the codec on a sample, instead of on the first rows that are added.

        Rows are otherwise held as float32 until ``stats()["train_size"]`` of them are there; the
        codec is then trained on a random sample of them, once. Nothing happens for a codec that
        needs no training.

        Parameters
        ----------
        sample : array_like, shape (n, dim)
            As for ``add``: rows like those that will be added, in random order.
        threads : int, optional
            As for ``add``.
        progress : callable (done, total), optional
            As for ``add``.

        Raises
        ------
        TypeError, ValueError
            As for ``add``; fewer rows than ``train_size``; a codec that is trained already.

        Examples
        --------
        >>> import numpy as np, nearbit as nb
        >>> index = nb.Index(64, codec=nb.RaBitQ(bits=4))
        >>> index.train(np.random.default_rng(0).standard_normal((2_000, 64)))
        >>> index.stats()["trained"]
        True
        """
        self._core.train(sample, threads, progress)

    def add(
        self,
        vectors: Rows,
        ids: Ids | None = None,
        *,
        threads: int | None = None,
        progress: Progress | None = None,
    ) -> NDArray[np.int64]:
        """Add rows under new ids: all of them, or none on an error or Ctrl-C.

        Parameters
        ----------
        vectors : array_like, shape (n, dim) or (dim,)
            Float32 in C order is read in place; other float dtypes, strides and byte orders are
            converted piece by piece; lists are read as the index's own dtype. ``Int8`` and
            ``UInt8``: of that dtype. ``Bits``: uint8, shape (n, dim / 8).
        ids : array_like of n ints >= 0, optional
            Default: on from the largest id ever used.
        threads : int, optional
            Default: see ``nb.set_threads``.
        progress : callable (done, total), optional
            Called from this thread now and then, in rows; an exception from it ends the call.

        Returns
        -------
        int64, shape (n,)
            The ids.

        Raises
        ------
        TypeError, ValueError
            Wrong dtype or shape; NaN, infinity or a squared norm over a quarter of float32's
            largest, or a number beyond float16's for ``Float16`` as codec or refine; ids that are
            negative, repeated or in the index.

        Examples
        --------
        >>> import numpy as np, nearbit as nb
        >>> index = nb.Index(4)
        >>> index.add(np.ones((2, 4), np.float32), ids=[7, 3])
        array([7, 3])
        >>> index.add(np.ones((1, 4), np.float32))
        array([8])
        """
        return self._core.add(vectors, ids, threads, progress)

    def remove(self, ids: Ids, missing: Literal["raise", "ignore"] = "raise") -> int:
        """Remove items.

        Parameters
        ----------
        ids : int or array_like of ints, each once
        missing : {"raise", "ignore"}, default "raise"
            What to do about ids that aren't in the index.

        Returns
        -------
        int
            How many were removed. Their memory is used for rows added later; ``compact`` frees it.

        Raises
        ------
        KeyError
            An id that isn't in the index; nothing is removed then.
        TypeError, ValueError
            No integers; negative or repeated ids; an unknown ``missing``.

        Examples
        --------
        >>> import nearbit as nb
        >>> index = nb.Index(2)
        >>> ids = index.add([[1.0, 2.0], [3.0, 4.0]])
        >>> index.remove([0, 5], missing="ignore")
        1
        """
        if missing not in ("raise", "ignore"):
            msg = f"missing: expected 'raise' or 'ignore', got {shown(missing)}"
            raise ValueError(msg)
        return self._core.remove(ids, missing == "ignore")

    def update(
        self,
        ids: Ids,
        vectors: Rows,
        *,
        threads: int | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Replace the rows of items that are in the index.

        Parameters
        ----------
        ids : int or array_like of n ints, each once
        vectors : array_like, shape (n, dim) or (dim,)
            As for ``add``.
        threads : int, optional
            As for ``add``.
        progress : callable (done, total), optional
            As for ``add``.

        Raises
        ------
        KeyError
            An id that isn't in the index; nothing is changed then.
        TypeError, ValueError
            As for ``add``.

        Examples
        --------
        >>> import nearbit as nb
        >>> index = nb.Index(2)
        >>> ids = index.add([[1.0, 2.0]])
        >>> index.update(0, [5.0, 6.0])
        >>> index.get(0)
        array([5., 6.], dtype=float32)
        """
        self._core.replace(ids, vectors, threads, progress, False)

    def upsert(
        self,
        ids: Ids,
        vectors: Rows,
        *,
        threads: int | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Replace the rows of items that are in the index, and add the others.

        Parameters
        ----------
        ids : int or array_like of n ints >= 0, each once
        vectors : array_like, shape (n, dim) or (dim,)
            As for ``add``.
        threads : int, optional
            As for ``add``.
        progress : callable (done, total), optional
            As for ``add``.

        Raises
        ------
        TypeError, ValueError
            As for ``add``.

        Examples
        --------
        >>> import nearbit as nb
        >>> index = nb.Index(2)
        >>> ids = index.add([[1.0, 2.0]])
        >>> index.upsert([0, 4], [[5.0, 6.0], [7.0, 8.0]])
        >>> index.ids
        array([0, 4])
        """
        self._core.replace(ids, vectors, threads, progress, True)

    def reserve(self, n: int) -> None:
        """Make room for n items in all, so that adding up to there allocates no rows.

        Parameters
        ----------
        n : int >= 0

        Raises
        ------
        MemoryError
            More than this machine has.
        TypeError, ValueError
            No integer, or more than 2**32 - 1.

        Examples
        --------
        >>> import nearbit as nb
        >>> nb.Index(8).reserve(1000)
        """
        self._core.reserve(n)

    def compact(self) -> None:
        """Free the memory of removed items; searches go on meanwhile.

        Needs memory for the rows that stay while it runs.

        Examples
        --------
        >>> import nearbit as nb
        >>> index = nb.Index(2)
        >>> ids = index.add([[1.0, 2.0], [3.0, 4.0]])
        >>> removed = index.remove(0)
        >>> index.compact()
        >>> index.stats()["slots"]
        1
        """
        self._core.compact()

    # ------------------------------------------------------------------ copies and files

    def copy(self) -> Index:
        """Return an independent copy in memory, which can be changed.

        Returns
        -------
        Index

        Examples
        --------
        >>> import nearbit as nb
        >>> len(nb.Index(2).copy())
        0
        """
        return self._of(self._core.copy())

    def __copy__(self) -> Index:
        return self.copy()

    def __deepcopy__(self, memo: dict[int, Any]) -> Index:
        return self.copy()

    def __reduce__(self) -> tuple[Any, tuple[bytes]]:
        return Index.from_bytes, (self.to_bytes(),)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the index to a file.

        Parameters
        ----------
        path : path-like
            Written beside, synced and renamed: a crash leaves the old file or the new one.

        Raises
        ------
        OSError
            The file can't be written.

        Examples
        --------
        >>> import nearbit as nb, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     nb.Index(2).save(folder + "/empty.nearbit")
        """
        self._core.save(path_bytes(path))

    def to_bytes(self) -> bytes:
        """Return the bytes that ``save`` would write.

        Returns
        -------
        bytes

        Examples
        --------
        >>> import nearbit as nb
        >>> nb.Index.from_bytes(nb.Index(2).to_bytes()).dim
        2
        """
        return self._core.to_bytes()

    @classmethod
    def from_bytes(cls, data: bytes | bytearray | memoryview) -> Index:
        """Make an index of what ``to_bytes`` returned.

        Parameters
        ----------
        data : bytes-like

        Returns
        -------
        Index

        Raises
        ------
        CorruptIndexError
            Not the bytes of an index, or damaged.
        TypeError
            No bytes.

        Examples
        --------
        >>> import nearbit as nb
        >>> len(nb.Index.from_bytes(nb.Index(2).to_bytes()))
        0
        """
        return cls._of(_core.from_bytes(data))


def load(path: str | os.PathLike[str], mmap: bool = False, verify: bool | None = None) -> Index:
    """Load an index from a file.

    Parameters
    ----------
    path : path-like
    mmap : bool, default False
        Use the file in place: opens at once, read-only, one copy in memory for all processes.
        Don't let anyone truncate or overwrite the file while it's mapped (``save`` replaces it
        safely).
    verify : bool, optional
        Compare the checksums of everything. Default: unless mapped, where it would read the whole
        file. A damaged mapped file can give wrong answers, but no crash.

    Returns
    -------
    Index

    Raises
    ------
    CorruptIndexError
        Not an index, or damaged.
    OSError
        The file can't be read.

    Examples
    --------
    >>> import nearbit as nb, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     nb.Index(2).save(folder + "/empty.nearbit")
    ...     nb.load(folder + "/empty.nearbit")
    nb.Index(2, metric='cosine', layout=Flat(), codec=Float32()) with 0 items
    """
    for name, value in (("mmap", mmap), ("verify", verify)):
        if not isinstance(value, bool) and not (name == "verify" and value is None):
            msg = f"{name}: expected True or False, got {shown(value)}"
            raise TypeError(msg)
    return Index._of(_core.load(path_bytes(path), mmap, not mmap if verify is None else verify))
