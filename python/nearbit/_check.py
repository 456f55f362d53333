"""Checks of settings and names; arrays are checked in the core."""

from __future__ import annotations

import os

from nearbit import _core
from nearbit._numbers import shown
from nearbit.codecs import PQ, REFINES, SUPPORT, Codec
from nearbit.layouts import LAYOUTS, Flat

METRICS = ("l2", "ip", "cosine", "hamming", "jaccard")
ALIASES = {
    "euclidean": "l2",
    "sqeuclidean": "l2",
    "l2sq": "l2",
    "squared_l2": "l2",
    "inner_product": "ip",
    "innerproduct": "ip",
    "dot": "ip",
    "dot_product": "ip",
    "mips": "ip",
    "angular": "cosine",
    "cos": "cosine",
    "tanimoto": "jaccard",
}


def path_bytes(path: object) -> bytes:
    """A path as the core takes it."""
    if not isinstance(path, (str, bytes, os.PathLike)):
        msg = f"path: expected str or os.PathLike, got {shown(path)}"
        raise TypeError(msg)
    encoded = os.fsencode(path)
    if b"\0" in encoded:
        msg = f"path: expected no null character, got {path!r}"
        raise ValueError(msg)
    return encoded


def metric_name(metric: object) -> str:
    """The metric, or an error that lists what there is and translates common aliases."""
    wanted = f"metric: expected one of {', '.join(METRICS)}, got {shown(metric)}"
    if not isinstance(metric, str):
        raise TypeError(wanted)
    if metric not in METRICS:
        alias = ALIASES.get(metric.lower().replace("-", "_"), metric.lower())
        raise ValueError(wanted + (f"; that is {alias!r} here" if alias in METRICS else ""))
    return metric


def codec_settings(codec: object) -> Codec:
    """A codec from None, its name, or itself."""
    if codec is None:
        return SUPPORT["float32"]()
    if isinstance(codec, Codec):
        return codec
    wanted = f"codec: expected one of {', '.join(SUPPORT)}, got {shown(codec)}"
    if not isinstance(codec, str):
        raise TypeError(wanted)
    if codec not in SUPPORT:
        raise ValueError(wanted)
    if codec == PQ.name:
        msg = "codec: expected nb.PQ(m), which says how many parts, got 'pq'"
        raise ValueError(msg)
    return SUPPORT[codec]()


def refine_settings(refine: object, codec: Codec) -> Codec | None:
    """The finer codec from None, its name, or itself."""
    if refine is None:
        return None
    names = f"one of {', '.join(REFINES)}" if codec.refines else "None"
    wanted = f"refine: expected {names} for codec {codec.name!r}, got {shown(refine)}"
    if not isinstance(refine, (str, Codec)):
        raise TypeError(wanted)
    finer = REFINES.get(refine) if isinstance(refine, str) else refine
    if not codec.refines or finer not in REFINES.values():
        raise ValueError(wanted)
    return finer


def core_codec(codec: Codec, dim: int, metric: str, seed: int) -> _core.Codec:
    """The core's codec of these settings, still to be trained if it learns."""
    bits = codec.nbits if isinstance(codec, PQ) else getattr(codec, "bits", 0)
    m = getattr(codec, "m", 0)
    rotated = getattr(codec, "rotation", None) is not None
    given = codec._given if isinstance(codec, PQ) else b""
    return _core.Codec(codec.name, dim, metric, bits, m, rotated, seed, given)


def codec_of(core: _core.Codec) -> Codec:
    """The settings of a core's codec."""
    bits, m, rotated = core.settings
    if core.given:
        return PQ._of(m, bits, core.given)
    if core.name == PQ.name:
        return PQ(m, bits, "opq" if rotated else None)
    return SUPPORT[core.name](bits) if bits else SUPPORT[core.name]()  # type: ignore[call-arg]


def layout_settings(layout: object) -> Flat:
    """A layout from None, its name, or itself."""
    if layout is None:
        return Flat()
    if isinstance(layout, Flat):
        return layout
    wanted = f"layout: expected one of {', '.join(LAYOUTS)}, got {shown(layout)}"
    if not isinstance(layout, str):
        raise TypeError(wanted)
    if layout not in LAYOUTS:
        raise ValueError(wanted)
    return LAYOUTS[layout]()


def metric_for(codec: Codec, metric: object) -> str:
    """The metric of an index with this codec: None is the codec's first."""
    if metric is None:
        return codec.metrics[0]
    name = metric_name(metric)
    if name not in codec.metrics:
        msg = (
            f"metric: expected one of {', '.join(codec.metrics)} for codec {codec.name!r}, "
            f"got {name!r}"
        )
        raise ValueError(msg)
    return name
