"""What an item is stored as and scored by; and the table of what goes with what."""

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class Codec:
    """Settings of a codec: immutable, equal when all of them are."""

    name: ClassVar[str]
    metrics: ClassVar[tuple[str, ...]]  # the first is the default
    takes: ClassVar[str]
    stores: ClassVar[str]


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

    A row of ``dim`` floats becomes ``ceil(dim / 8)`` bytes; queries are floats too, and their signs
    are compared. Rotate rows whose dimensions are of very unequal size or off centre first.

    Examples
    --------
    >>> import numpy as np, nearbit as nb
    >>> index = nb.Index(3, codec=nb.Sign())
    >>> ids = index.add(np.array([[0.5, -1, 2], [-3, -1, 1]], dtype=np.float32))
    >>> index.get(0)
    array([160], dtype=uint8)
    """

    name = "sign"
    metrics = ("hamming",)
    takes = "`dim` floats"
    stores = "dim / 8 bytes, rounded up"


# The one table that the README's is made of and that index.py looks into.
SUPPORT: dict[str, type[Codec]] = {codec.name: codec for codec in (Float32, Bits, Sign)}
