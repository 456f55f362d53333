"""Trained codecs: rows to codes and back without an index, and what several indexes share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nearbit import _core
from nearbit._check import codec_of, core_codec, metric_for, metric_name, path_bytes
from nearbit._numbers import shown, whole
from nearbit.codecs import Bits

if TYPE_CHECKING:
    import os

    import numpy as np
    from numpy.typing import NDArray

    from nearbit._types import Codes, Progress, Rows
    from nearbit.codecs import Codec

__all__ = ["TrainedCodec", "load_codec"]


class TrainedCodec:
    """A codec with its dimensions, its metric and all that it learned; nothing changes it.

    ``codec.train(sample)`` makes one, ``index.trained_codec`` is that of an index, ``load_codec``
    reads one from a file. ``nb.Index(dim, codec=...)`` takes it: the index then is trained from the
    start, and any number of indexes share the one that is in memory.

    Notes
    -----
    A code is all that a row owns: its bytes in an index and, for ``Float32``, ``Float16`` and the
    metric jaccard, 4 more, the factor that an index keeps apart (docs/formats.md). Codes depend on
    what the codec learned: only the one that made them, or a copy of it, can read them. Threads may
    share a codec. Results don't depend on threads or on how rows are batched, to the bit.

    Examples
    --------
    >>> import numpy as np, nearbit as nb
    >>> rows = np.random.default_rng(0).standard_normal((2_000, 64), dtype=np.float32)
    >>> codec = nb.RaBitQ(bits=4).train(rows, metric="l2")
    >>> codec
    nb.TrainedCodec(64, metric='l2', settings=RaBitQ(bits=4))
    >>> codes = codec.encode(rows)
    >>> codes.shape, codes.dtype
    ((2000, 36), dtype('uint8'))
    >>> int(codec.distances(rows[7], codes).argmin())
    7
    >>> index = nb.Index(64, codec=codec)
    >>> index.metric, index.stats()["trained"]
    ('l2', True)
    """

    __slots__ = ("__weakref__", "_core", "_settings")

    def __init__(self, core: _core.Codec) -> None:
        if not isinstance(core, _core.Codec):
            msg = f"TrainedCodec: expected to be made by a codec's train, got {shown(core)}"
            raise TypeError(msg)
        self._core = core
        self._settings = codec_of(core)

    # ------------------------------------------------------------------ what it is

    @property
    def settings(self) -> Codec:
        """What was asked for, such as ``RaBitQ(bits=4)``."""
        return self._settings

    @property
    def dim(self) -> int:
        """Dimensions of a row; for ``Bits`` its bits."""
        return self._core.dim

    @property
    def metric(self) -> str:
        """What distances are."""
        return self._core.metric

    @property
    def code_bytes(self) -> int:
        """Bytes of a code: all that a row owns, its factor included."""
        return self._core.code_bytes()

    def __repr__(self) -> str:
        return f"nb.TrainedCodec({self.dim}, metric={self.metric!r}, settings={self.settings!r})"

    # ------------------------------------------------------------------ codes

    def encode(
        self, rows: Rows, *, threads: int | None = None, progress: Progress | None = None
    ) -> NDArray[np.uint8]:
        """Make codes of rows.

        Parameters
        ----------
        rows : array_like, shape (n, dim) or (dim,)
            As for ``Index.add``.
        threads : int, optional
            Default: see ``nb.set_threads``.
        progress : callable (done, total), optional
            Called from this thread now and then, in rows; an exception from it ends the call.

        Returns
        -------
        uint8, shape (n, code_bytes) or (code_bytes,)

        Raises
        ------
        TypeError, ValueError
            As ``Index.add``.

        Examples
        --------
        >>> import numpy as np, nearbit as nb
        >>> codec = nb.Sign().train(np.ones((1, 8), np.float32))
        >>> codec.encode([[1, -1, 1, 1, -1, -1, -1, -1], [1] * 8])
        array([[176],
               [255]], dtype=uint8)
        """
        return self._core.encode(rows, threads, progress)

    def decode(
        self, codes: Codes, *, threads: int | None = None, progress: Progress | None = None
    ) -> NDArray[np.float32] | NDArray[np.int8] | NDArray[np.uint8]:
        """Make rows of codes, as ``Index.get`` gives them back.

        Parameters
        ----------
        codes : array_like of uint8, shape (n, code_bytes) or (code_bytes,)
            As ``encode`` returns them. Other bytes are no error: they give some numbers, which may
            be infinite or NaN.
        threads : int, optional
            As for ``encode``.
        progress : callable (done, total), optional
            As for ``encode``.

        Returns
        -------
        array
            Float32, shape (n, dim) or (dim,); int8 or uint8 for ``Int8`` and ``UInt8``; packed
            bits, uint8, for ``Bits`` and ``Sign``.

        Raises
        ------
        TypeError, ValueError
            Wrong dtype or shape.

        Examples
        --------
        >>> import numpy as np, nearbit as nb
        >>> codec = nb.Float16().train(np.ones((1, 2), np.float32))
        >>> codec.decode(codec.encode([1, 0.1]))
        array([1.        , 0.09997559], dtype=float32)
        """
        return self._core.decode(codes, threads, progress)

    def distances(
        self,
        queries: Rows,
        codes: Codes,
        *,
        threads: int | None = None,
        progress: Progress | None = None,
    ) -> NDArray[np.float32]:
        """Measure the distance of each query to each code: an index's numbers, to the bit.

        Parameters
        ----------
        queries : array_like, shape (nq, dim) or (dim,)
            As for ``Index.search``: rows, not codes.
        codes : array_like of uint8, shape (n, code_bytes) or (code_bytes,)
            As ``encode`` returns them. Other bytes are no error: they give some distance, which is
            infinite where an index would not find them.
        threads : int, optional
            As for ``encode``.
        progress : callable (done, total), optional
            As for ``encode``, in pairs.

        Returns
        -------
        float32, shape (nq, n)
            Without the axis of what was given as 1-d.

        Raises
        ------
        TypeError, ValueError
            As ``Index.search``; codes of a wrong dtype or shape.

        Examples
        --------
        >>> import numpy as np, nearbit as nb
        >>> rows = np.array([[0, 0], [3, 4]], dtype=np.float32)
        >>> codec = nb.Float32().train(rows, metric="l2")
        >>> codec.distances([0.0, 1.0], codec.encode(rows))
        array([ 1., 18.], dtype=float32)
        """
        return self._core.distances(queries, codes, threads, progress)

    # ------------------------------------------------------------------ files

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the codec to a file, which ``load_codec`` reads.

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
        >>> import numpy as np, nearbit as nb, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     nb.Sign().train(np.ones((1, 8), np.float32)).save(folder + "/sign.nearbit")
        """
        self._core.save(path_bytes(path))

    def to_bytes(self) -> bytes:
        """Return the bytes that ``save`` would write.

        Returns
        -------
        bytes

        Examples
        --------
        >>> import numpy as np, nearbit as nb
        >>> codec = nb.Sign().train(np.ones((1, 8), np.float32))
        >>> nb.TrainedCodec.from_bytes(codec.to_bytes()).dim
        8
        """
        return self._core.to_bytes()

    @classmethod
    def from_bytes(cls, data: bytes | bytearray | memoryview) -> TrainedCodec:
        """Make a codec of what ``to_bytes`` returned.

        Parameters
        ----------
        data : bytes-like

        Returns
        -------
        TrainedCodec

        Raises
        ------
        CorruptIndexError
            Not the bytes of a codec, or damaged.
        TypeError
            No bytes.

        Examples
        --------
        >>> import numpy as np, nearbit as nb
        >>> codec = nb.Sign().train(np.ones((1, 8), np.float32))
        >>> nb.TrainedCodec.from_bytes(codec.to_bytes())
        nb.TrainedCodec(8, metric='hamming', settings=Sign())
        """
        return cls(_core.codec_from_bytes(data))

    def __reduce__(self) -> tuple[Any, tuple[bytes]]:
        return TrainedCodec.from_bytes, (self.to_bytes(),)

    def __copy__(self) -> TrainedCodec:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> TrainedCodec:
        return self


def train(
    settings: Codec,
    sample: Rows,
    metric: str | None,
    seed: int,
    threads: int | None,
    progress: Progress | None,
) -> TrainedCodec:
    """What ``Codec.train`` does."""
    metric = metric_for(settings, metric)
    of_bits = isinstance(settings, Bits)
    columns = _core.columns(sample, of_bits)
    core = core_codec(settings, 8 * columns if of_bits else columns, metric, seed)
    return TrainedCodec(core.train(sample, threads, progress))


def check_fits(codec: TrainedCodec, dim: object, metric: object) -> None:
    """Refuse what an index of a trained codec can't be."""
    if whole(dim, "dim", 1, 2**24) != codec.dim:
        msg = f"dim: expected {codec.dim}, which the codec was trained for, got {dim}"
        raise ValueError(msg)
    if metric is not None and metric_name(metric) != codec.metric:
        msg = f"metric: expected {codec.metric!r}, which the codec was trained for, got {metric!r}"
        raise ValueError(msg)


def load_codec(path: str | os.PathLike[str]) -> TrainedCodec:
    """Load a codec from a file that ``TrainedCodec.save`` wrote.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    TrainedCodec

    Raises
    ------
    CorruptIndexError
        Not a codec (``nb.load`` reads an index), or damaged: every checksum and bound is verified.
    OSError
        The file can't be read.

    Examples
    --------
    >>> import numpy as np, nearbit as nb, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     nb.Sign().train(np.ones((1, 8), np.float32)).save(folder + "/sign.nearbit")
    ...     nb.load_codec(folder + "/sign.nearbit")
    nb.TrainedCodec(8, metric='hamming', settings=Sign())
    """
    return TrainedCodec(_core.load_codec(path_bytes(path)))
