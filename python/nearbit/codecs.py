"""What an item is stored as and scored by; and the table of what goes with what."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from nearbit._codebooks import packed, parts_of
from nearbit._numbers import shown, whole

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike

    from nearbit._types import Progress, Rows
    from nearbit.trained import TrainedCodec


@dataclass(frozen=True)
class Codec:
    """Settings of a codec: immutable, equal when all of them are."""

    name: ClassVar[str]
    metrics: ClassVar[tuple[str, ...]]  # the first is the default
    takes: ClassVar[str]
    stores: ClassVar[str]
    refines: ClassVar[tuple[str, ...]] = ()  # with which metrics a finer copy may re-score

    def train(
        self,
        sample: Rows,
        metric: str | None = None,
        *,
        seed: int = 0,
        threads: int | None = None,
        progress: Progress | None = None,
    ) -> TrainedCodec:
        """Learn from a sample what this codec learns, for one metric.

        The same sample and seed give the same codec, to the bit, as ``Index.train`` gives an index.
        A codec that learns nothing takes the dimensions from the sample and looks no further.

        Parameters
        ----------
        sample : array_like, shape (n, dim)
            Rows like those that will be coded, as for ``Index.add``; at least 1,024 for a codec
            that learns. Of more than 16,384, or 65,536 for ``PQ`` with 8 bits that learns its
            codebooks, as many are drawn by the seed.
        metric : {"cosine", "l2", "ip", "hamming", "jaccard"}, optional
            Default: hamming for ``Bits`` and ``Sign``, cosine for the others.
        seed : int, 0 to 2**63 - 1, default 0
            Of the random choices.
        threads : int, optional
            Default: see ``nb.set_threads``.
        progress : callable (done, total), optional
            Called from this thread now and then; an exception from it ends the call.

        Returns
        -------
        TrainedCodec

        Raises
        ------
        TypeError, ValueError
            As ``Index.add``; too few rows; a metric that doesn't go with the codec.

        Examples
        --------
        >>> import numpy as np, nearbit as nb
        >>> sample = np.random.default_rng(0).standard_normal((2_000, 64))
        >>> nb.SQ(bits=4).train(sample, metric="ip", seed=1)
        nb.TrainedCodec(64, metric='ip', settings=SQ(bits=4))
        """
        from nearbit.trained import train  # which knows the codecs

        return train(self, sample, metric, seed, threads, progress)


@dataclass(frozen=True)
class Float32(Codec):
    """Rows of float32 as they are: exact distances, ``4 * dim`` bytes and 4 more an item.

    Examples
    --------
    >>> import nearbit as nb
    >>> nb.Index(384, metric="l2", codec=nb.Float32())
    nb.Index(384, metric='l2', layout=Flat(), codec=Float32()) with 0 items
    """

    name = "float32"
    metrics = ("cosine", "l2", "ip")
    takes = "`dim` floats"
    stores = "4 dim + 4 bytes"


@dataclass(frozen=True)
class Float16(Codec):
    """Rows of floats rounded to IEEE half: ``2 * dim`` bytes and 4 more an item.

    Halves have 11 significant bits and reach from -65504 to 65504; what would be beyond is an
    error. Queries stay float32, and distances are exact ones to the halves, which ``get`` gives
    back as float32.

    Examples
    --------
    >>> import numpy as np, nearbit as nb
    >>> index = nb.Index(2, metric="l2", codec=nb.Float16())
    >>> ids = index.add(np.array([[1, 0.1]], dtype=np.float32))
    >>> index.get(0)
    array([1.        , 0.09997559], dtype=float32)
    """

    name = "float16"
    metrics = ("cosine", "l2", "ip")
    takes = "`dim` floats"
    stores = "2 dim + 4 bytes"


@dataclass(frozen=True)
class Int8(Codec):
    """Rows of int8 as they are, -128 to 127: ``dim`` bytes an item.

    Queries are int8 too. Distances rank as the whole numbers that they are, and are rounded to
    float32 once they are returned; that of cosine is computed in double from whole numbers.

    Examples
    --------
    >>> import numpy as np, nearbit as nb
    >>> index = nb.Index(2, metric="l2", codec=nb.Int8())
    >>> ids = index.add(np.array([[-128, 127], [3, 4]], dtype=np.int8))
    >>> index.search(np.array([127, 127], dtype=np.int8), k=2).distances
    array([30505., 65025.], dtype=float32)
    """

    name = "int8"
    metrics = ("cosine", "l2", "ip")
    takes = "`dim` int8"
    stores = "dim bytes"


@dataclass(frozen=True)
class UInt8(Codec):
    """Rows of uint8 as they are, 0 to 255: ``dim`` bytes an item. Otherwise as ``Int8``.

    Examples
    --------
    >>> import numpy as np, nearbit as nb
    >>> index = nb.Index(2, metric="ip", codec=nb.UInt8())
    >>> ids = index.add([[255, 255], [3, 4]])
    >>> index.search(np.array([255, 1], dtype=np.uint8), k=2).distances
    array([-65280.,   -769.], dtype=float32)
    """

    name = "uint8"
    metrics = ("cosine", "l2", "ip")
    takes = "`dim` uint8"
    stores = "dim bytes"


@dataclass(frozen=True)
class Bits(Codec):
    """Packed bits as they are, as ``numpy.packbits`` makes them: ``dim / 8`` uint8 a row.

    Examples
    --------
    >>> import numpy as np, nearbit as nb
    >>> index = nb.Index(16, codec=nb.Bits())
    >>> ids = index.add(np.array([[0, 255], [1, 255]], dtype=np.uint8))
    >>> index.search(np.array([0, 255], dtype=np.uint8), k=2).distances
    array([0., 1.], dtype=float32)
    >>> index = nb.Index(16, metric="jaccard", codec=nb.Bits())
    >>> ids = index.add(np.array([[0, 255], [1, 254]], dtype=np.uint8))
    >>> index.search(np.array([0, 255], dtype=np.uint8), k=2).distances  # 1 - 7 / 9
    array([0.        , 0.22222222], dtype=float32)
    """

    name = "bits"
    metrics = ("hamming", "jaccard")
    takes = "`dim / 8` uint8"
    stores = "dim / 8 bytes; 4 more for jaccard"


@dataclass(frozen=True)
class Sign(Codec):
    """The signs of floats: bit j of a row is ``x[j] > 0``, packed as ``numpy.packbits`` does.

    A row of ``dim`` floats becomes ``ceil(dim / 8)`` bytes; queries are floats too. With metric
    hamming their signs are compared. With cosine, l2 and ip the query's floats are scored against
    the bits, which ranks much better; a row then also keeps factors, and rows are held as float32,
    and scanned exactly, until ``train_size`` (1,024) are there. Rows whose dimensions are off
    centre or of very unequal size want ``ITQ`` or ``RaBitQ`` instead.

    Examples
    --------
    >>> import numpy as np, nearbit as nb
    >>> index = nb.Index(3, codec=nb.Sign())
    >>> ids = index.add(np.array([[0.5, -1, 2], [-3, -1, 1]], dtype=np.float32))
    >>> index.get(0)
    array([160], dtype=uint8)
    """

    name = "sign"
    metrics = ("hamming", "cosine", "l2", "ip")
    takes = "`dim` floats"
    stores = "dim / 8 bytes, rounded up; 1 more for cosine and ip, 3 for l2"
    refines = ("cosine", "l2", "ip")


@dataclass(frozen=True)
class ITQ(Codec):
    """The signs of floats after a learned rotation: iterative quantisation.

    The sample's mean is taken off, the first ``nbits`` principal components are turned to where
    their signs say most of them. Queries stay floats. Distances are estimates; ``get`` gives what
    the code says of a row. Rows are held as float32, and scanned exactly, until ``train_size``
    (1,024) are there. For equal bytes ``PQ`` and ``PCASQ`` find more; a scan of bits is faster.

    Parameters
    ----------
    nbits : int, 1 to dim
        Dimensions up to 4,096.

    References
    ----------
    Gong and Lazebnik, "Iterative Quantization: A Procrustean Approach to Learning Binary Codes",
    CVPR 2011.

    Examples
    --------
    >>> import numpy as np, nearbit as nb
    >>> rows = np.random.default_rng(0).standard_normal((2_000, 64), dtype=np.float32)
    >>> index = nb.Index(64, codec=nb.ITQ(64))
    >>> ids = index.add(rows)
    >>> index.search(rows[:3], k=1).ids[:, 0]
    array([0, 1, 2])
    """

    nbits: int

    name = "itq"
    metrics = ("cosine", "l2", "ip")
    takes = "`dim` floats"
    stores = "nbits / 8 bytes and 1 (cosine, ip), 3 (l2)"
    refines = metrics

    def __post_init__(self) -> None:
        whole(self.nbits, "nbits", 1, 4_096)


@dataclass(frozen=True)
class RaBitQ(Codec):
    """Directions in 1 to 8 bits a dimension, after a random rotation, and a row's own scale.

    The sample's mean is taken off, the rest rotated and rounded to a grid; a query keeps 13 bits a
    dimension. Distances are estimates: for l2 unbiased over rotations, otherwise over the sample,
    since a scale that makes the decoded row as long as the row ranks better there. ``get`` gives
    what the code says of a row. Rows are held as float32, and scanned exactly, until ``train_size``
    (1,024) are there.

    Parameters
    ----------
    bits : int, 1 to 8, default 1
        On 384-d text embeddings 1, 2 and 4 bits find .73, .86 and .96 of the ten nearest.

    References
    ----------
    Gao and Long, "RaBitQ", SIGMOD 2024; Gao et al., "Practical and Asymptotically Optimal
    Quantization of High-Dimensional Vectors", SIGMOD 2025.

    Examples
    --------
    >>> import numpy as np, nearbit as nb
    >>> rows = np.random.default_rng(0).standard_normal((2_000, 128), dtype=np.float32)
    >>> index = nb.Index(128, codec=nb.RaBitQ(bits=2))
    >>> ids = index.add(rows)
    >>> index.search(rows[:3], k=1).ids[:, 0]
    array([0, 1, 2])
    >>> index.stats()["code_bytes"] // len(index)
    33
    """

    bits: int = 1

    name = "rabitq"
    metrics = ("cosine", "l2", "ip")
    refines = metrics
    takes = "`dim` floats"
    stores = "bits dim / 8 bytes and 1; 2 for ip from 4 bits on; for l2 3, 4 from 2 bits on"

    def __post_init__(self) -> None:
        whole(self.bits, "bits", 1, 8)


@dataclass(frozen=True)
class SQ(Codec):
    """Each dimension in 4 or 8 bits, between limits fitted to a sample.

    Middle and step of every dimension are fitted by least squares, from those that suit a normal
    distribution on. Distances are estimates; ``get`` gives what the code says of a row. Rows are
    held as float32, and scanned exactly, until ``train_size`` (1,024) are there.

    Parameters
    ----------
    bits : 4 or 8, default 8

    Examples
    --------
    >>> import numpy as np, nearbit as nb
    >>> rows = np.random.default_rng(0).standard_normal((2_000, 128), dtype=np.float32)
    >>> index = nb.Index(128, metric="l2", codec=nb.SQ(bits=8))
    >>> ids = index.add(rows)
    >>> bool(np.abs(index.get(7) - rows[7]).max() < 0.1)
    True
    """

    bits: int = 8

    name = "sq"
    metrics = ("cosine", "l2", "ip")
    refines = metrics
    takes = "`dim` floats"
    stores = "bits dim / 8 bytes and 1 (cosine), 2 (ip), 4 (l2)"

    def __post_init__(self) -> None:
        if whole(self.bits, "bits", 1, 8) not in (4, 8):
            msg = f"bits: expected 4 or 8, got {self.bits!r}"
            raise ValueError(msg)


@dataclass(frozen=True)
class PCASQ(Codec):
    """Principal components in few bits each, more where they vary more: any number of bytes.

    The sample's mean is taken off, the rest turned along its principal components, and 0 to 8 bits
    given to each block of 8 of them, by their variances. Training takes seconds, fewer than of
    ``PQ`` with "opq". Distances are estimates; ``get`` gives what the code says of a row. Rows are
    held as float32, and scanned exactly, until ``train_size`` (1,024) are there.

    Parameters
    ----------
    n_bytes : int
        All that a row takes, factors included: from 2 (4 for l2; one more where there are few
        dimensions) to dim + 1 (cosine), + 2 (ip), + 4 (l2). Dimensions up to 4,096. On 384-d text
        embeddings 48, 96 and 192 find .76, .90 and .968 of the ten nearest.

    Examples
    --------
    >>> import numpy as np, nearbit as nb
    >>> rng = np.random.default_rng(0)
    >>> rows = (rng.standard_normal((2_000, 128)) / np.arange(1, 129)).astype(np.float32)
    >>> index = nb.Index(128, codec=nb.PCASQ(n_bytes=24))
    >>> ids = index.add(rows)
    >>> index.search(rows[:3], k=1).ids[:, 0]
    array([0, 1, 2])
    >>> index.stats()["code_bytes"] // len(index)
    24
    """

    n_bytes: int

    name = "pcasq"
    metrics = ("cosine", "l2", "ip")
    takes = "`dim` floats"
    stores = "n_bytes"
    refines = metrics

    def __post_init__(self) -> None:
        whole(self.n_bytes, "n_bytes", 2, 4_100)


@dataclass(frozen=True)
class PQ(Codec):
    """A row in m parts, each the number of its nearest centroid: product quantisation.

    The parts' centroids are learned by k-means. Each row keeps a scale that makes the decoded row
    as long as it was. Distances are estimates; ``get`` gives what the code says of a row. Rows are
    held as float32, and scanned exactly, until ``train_size`` (1,024) are there; many more make a
    better codebook: add 20,000 or so at first, or use ``index.train``.

    Parameters
    ----------
    m : int, 1 to dim
        Parts; where it does not divide ``dim``, their sizes differ by one.
    nbits : 4 or 8, default 8
        16 or 256 centroids a part. A part of 4 scans faster; 8 say more in equal bytes.
    rotation : None or "opq", default None
        "opq" turns rows along their principal components, which are dealt out so that all parts
        matter alike; training takes longer, and so do scans where one component outweighs the
        others. Up to 4,096 dimensions.

    References
    ----------
    Jégou, Douze and Schmid, "Product Quantization for Nearest Neighbor Search", PAMI 2011; Ge et
    al., "Optimized Product Quantization", CVPR 2013, section 3.2 (the parametric solution).

    Examples
    --------
    >>> import numpy as np, nearbit as nb
    >>> rows = np.random.default_rng(0).standard_normal((2_000, 32), dtype=np.float32)
    >>> index = nb.Index(32, codec=nb.PQ(16, rotation="opq"))
    >>> ids = index.add(rows)
    >>> index.search(rows[:3], k=1).ids[:, 0]
    array([0, 1, 2])
    >>> index.stats()["code_bytes"] // len(index)
    17
    """

    m: int
    nbits: int = 8
    rotation: str | None = None
    # Codebooks that were learned elsewhere, as files hold them; for from_codebooks alone.
    _given: bytes = field(default=b"", repr=False, kw_only=True)

    name = "pq"
    metrics = ("cosine", "l2", "ip")
    refines = metrics
    takes = "`dim` floats"
    stores = "m nbits / 8 bytes and 1 (cosine, ip), 3 (l2)"

    def __post_init__(self) -> None:
        whole(self.m, "m", 1, 65_536)
        if whole(self.nbits, "nbits", 1, 8) not in (4, 8):
            msg = f"nbits: expected 4 or 8, got {self.nbits!r}"
            raise ValueError(msg)
        if self.rotation not in (None, "opq"):
            msg = f"rotation: expected None or 'opq', got {shown(self.rotation)}"
            raise ValueError(msg)
        if self._given and (self.m, self.nbits, self.rotation) != (*parts_of(self._given), None):
            msg = f"codebooks: expected no change of those given, got {self._settings()}"
            raise ValueError(msg)

    @classmethod
    def from_codebooks(
        cls, codebooks: ArrayLike | Sequence[ArrayLike], rotation: ArrayLike | None = None
    ) -> PQ:
        """Take codebooks that were learned elsewhere.

        No mean is taken off the rows, and training only learns how the rows' scales and norms are
        spread. Otherwise such a codec is like any other: it is trained for a metric, cosine unless
        told. For cosine rows are coded as unit vectors; codebooks of rows of other lengths want
        ``metric="l2"`` or ``"ip"``.

        Parameters
        ----------
        codebooks : array_like, shape (m, 2**nbits, width), or m of shape (2**nbits, width)
            Float32 or another float dtype: the centroids of each part, the parts in order. 16 or
            256 centroids; the m may be of different widths.
        rotation : array_like, shape (sum of widths, dim), optional
            Orthonormal rows (within 1e-4), applied to a row x as ``rotation @ x``. Default: none;
            dim then is the sum of widths.

        Returns
        -------
        PQ

        Raises
        ------
        TypeError, ValueError
            Wrong dtypes or shapes; numbers that aren't finite; rows that aren't orthonormal.

        Examples
        --------
        >>> import numpy as np, nearbit as nb
        >>> rng = np.random.default_rng(0)
        >>> rows = rng.standard_normal((2_000, 8), dtype=np.float32)
        >>> codebooks = np.stack([rows[:256, :4], rows[:256, 4:]])
        >>> codec = nb.PQ.from_codebooks(codebooks).train(rows, metric="l2")
        >>> codec
        nb.TrainedCodec(8, metric='l2', settings=PQ.from_codebooks(2 of 256 centroids))
        >>> codec.encode(rows[3])[-2:]  # both parts are centroids of that number
        array([3, 3], dtype=uint8)
        """
        return cls._of(packed(codebooks, rotation))

    @classmethod
    def _of(cls, given: bytes) -> PQ:
        return cls(*parts_of(given), _given=given)

    def __repr__(self) -> str:
        if self._given:
            return f"PQ.from_codebooks({self.m} of {2**self.nbits} centroids)"
        return f"PQ({self._settings()})"

    def _settings(self) -> str:
        return f"m={self.m!r}, nbits={self.nbits!r}, rotation={self.rotation!r}"


# The one table that the README's is made of and that index.py looks into.
SUPPORT: dict[str, type[Codec]] = {
    codec.name: codec
    for codec in (Float32, Float16, Int8, UInt8, Bits, Sign, ITQ, RaBitQ, SQ, PCASQ, PQ)
}
# What a finer copy may be, for the codecs that refine.
REFINES: dict[str, Codec] = {"float32": Float32(), "float16": Float16(), "sq8": SQ(8)}
