"""Codebooks that were learned elsewhere: checked, and packed as files hold them."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from nearbit._numbers import shown

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

MOST_DIM = 65_536
LARGEST_SQUARED_NORM = 8.4e37  # as of rows
ORTHONORMAL = 1e-4  # how far products of rows may be from 0 and 1


def packed(codebooks: ArrayLike | Sequence[ArrayLike], rotation: ArrayLike | None) -> bytes:
    """Transform and product quantiser of docs/formats.md."""
    parts = _parts(codebooks)
    widths = [part.shape[1] for part in parts]
    dim = sum(widths)
    if not 1 <= dim <= MOST_DIM:
        msg = f"codebooks: expected 1 to {MOST_DIM} dimensions in all, got {dim}"
        raise ValueError(msg)
    if rotation is None:
        data = struct.pack("<III", 0, dim, dim)
    else:
        matrix = _matrix(rotation, dim)
        data = struct.pack("<III", 2, matrix.shape[1], dim) + matrix.tobytes()
    nbits = 4 if len(parts[0]) == 16 else 8
    data += struct.pack(f"<III{len(parts)}I", dim, len(parts), nbits, *widths)
    return data + b"".join(part.tobytes() for part in parts)


def parts_of(given: bytes) -> tuple[int, int]:
    """(m, nbits) of what `packed` made, or a file holds."""
    kind, dim, out_dim = struct.unpack_from("<III", given)
    transform = 12 + (0, 8, 4 * dim * out_dim)[kind]
    _, m, nbits = struct.unpack_from("<III", given, transform)
    return m, nbits


def _floats(object: ArrayLike, argument: str) -> NDArray[np.float32]:
    """A new array, little-endian and in C order."""
    if isinstance(object, np.ma.MaskedArray):
        msg = f"{argument}: expected a plain array, got a masked one"
        raise TypeError(msg)
    try:
        given = np.asarray(object)
    except ValueError:
        msg = f"{argument}: expected an array, got {shown(object):.200}"
        raise ValueError(msg) from None
    if given.dtype.kind != "f":
        msg = f"{argument}: expected float32 (or another float dtype), got {given.dtype}"
        raise TypeError(msg)
    with np.errstate(over="ignore"):
        made = np.array(given, dtype="<f4", order="C")
    if not np.isfinite(made).all():
        msg = f"{argument}: expected finite numbers, got nan, infinity or beyond float32"
        raise ValueError(msg)
    return made


def _parts(codebooks: ArrayLike | Sequence[ArrayLike]) -> list[NDArray[np.float32]]:
    wanted = "codebooks: expected shape (m, 16 or 256, width), or m of shape (16 or 256, width)"
    if isinstance(codebooks, Sequence) and not isinstance(codebooks, (str, bytes)):
        parts = [_floats(part, "codebooks") for part in codebooks]
    else:
        whole = _floats(codebooks, "codebooks")
        if whole.ndim != 3:
            msg = f"{wanted}, got {whole.shape}"
            raise ValueError(msg)
        parts = list(whole)
    shapes = [part.shape for part in parts]
    good = all(len(s) == 2 and s[0] in (16, 256) and s[0] == shapes[0][0] and s[1] for s in shapes)
    if not (parts and good):
        msg = f"{wanted}, got {shapes[:4]}"
        raise ValueError(msg)
    most = max(float((part.astype(np.float64) ** 2).sum(axis=1).max()) for part in parts)
    if most > LARGEST_SQUARED_NORM:
        msg = f"codebooks: expected squared norms up to {LARGEST_SQUARED_NORM}, got {most:.6g}"
        raise ValueError(msg)
    return parts


def _matrix(rotation: ArrayLike, dim: int) -> NDArray[np.float32]:
    matrix = _floats(rotation, "rotation")
    if matrix.ndim != 2 or matrix.shape[0] != dim or not dim <= matrix.shape[1] <= MOST_DIM:
        msg = f"rotation: expected shape ({dim}, {dim} or more), got {matrix.shape}"
        raise ValueError(msg)
    doubles = matrix.astype(np.float64)
    off = float(np.abs(doubles @ doubles.T - np.eye(dim)).max())
    if off > ORTHONORMAL:
        msg = f"rotation: expected orthonormal rows, within {ORTHONORMAL}, got {off:.3g} off"
        raise ValueError(msg)
    return matrix
