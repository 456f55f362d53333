"""Checks of settings and names; arrays are checked in the core."""

from __future__ import annotations

import os

from nearbit import _core
from nearbit._numbers import shown, whole
from nearbit.codecs import ITQ, PCASQ, PQ, REFINES, SQ, SUPPORT, Codec, RaBitQ
from nearbit.layouts import LAYOUTS, Flat, Graph

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


# Codecs that have no default size.
NEEDS = {
    "pq": "nb.PQ(m), which says how many parts",
    "itq": "nb.ITQ(nbits), which says how many bits",
    "pcasq": "nb.PCASQ(n_bytes), which says how many bytes",
}


def check_flag(value: object, name: str) -> None:
    """True or False and nothing else."""
    if type(value) is not bool:
        msg = f"{name}: expected True or False, got {shown(value)}"
        raise TypeError(msg)


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
    if codec in NEEDS:
        msg = f"codec: expected {NEEDS[codec]}, got {codec!r}"
        raise ValueError(msg)
    return SUPPORT[codec]()


def refine_settings(refine: object, codec: Codec, metric: str) -> Codec | None:
    """The finer codec from None, its name, or itself."""
    if refine is None:
        return None
    can = metric in codec.refines
    names = f"one of {', '.join(REFINES)}" if can else "None"
    wanted = (
        f"refine: expected {names} for codec {codec.name!r} and metric {metric!r}, "
        f"got {shown(refine)}"
    )
    if not isinstance(refine, (str, Codec)):
        raise TypeError(wanted)
    finer = REFINES.get(refine) if isinstance(refine, str) else refine
    if not can or finer not in REFINES.values():
        raise ValueError(wanted)
    return finer


def core_codec(codec: Codec, dim: int, metric: str, seed: int) -> _core.Codec:
    """The core's codec of these settings, still to be trained if it learns."""
    bits = m = 0
    rotated, given = False, b""
    match codec:
        case RaBitQ() | SQ():
            bits = codec.bits
        case ITQ():
            bits = codec.nbits
        case PCASQ():
            bits = 8 * codec.n_bytes
        case PQ():
            bits, m, rotated, given = codec.nbits, codec.m, bool(codec.rotation), codec._given
    return _core.Codec(codec.name, dim, metric, bits, m, rotated, seed, given)


def codec_of(core: _core.Codec) -> Codec:
    """The settings of a core's codec."""
    bits, m, rotated = core.settings
    match core.name:
        case "pq" if core.given:
            return PQ._of(core.given)
        case "pq":
            return PQ(m, bits, "opq" if rotated else None)
        case "pcasq":
            return PCASQ(bits // 8)
        case "itq":
            return ITQ(bits)
        case "rabitq":
            return RaBitQ(bits)
        case "sq":
            return SQ(bits)
    return SUPPORT[core.name]()


def layout_settings(layout: object) -> Flat | Graph:
    """A layout from None, its name, or itself."""
    if layout is None:
        return Flat()
    if isinstance(layout, (Flat, Graph)):
        return layout
    wanted = f"layout: expected one of {', '.join(LAYOUTS)}, got {shown(layout)}"
    if not isinstance(layout, str):
        raise TypeError(wanted)
    if layout not in LAYOUTS:
        raise ValueError(wanted)
    return LAYOUTS[layout]()


def core_layout(layout: Flat | Graph, seed: int) -> tuple[int, int, float, int] | None:
    """The core's settings of a graph; None for a flat layout."""
    if isinstance(layout, Flat):
        return None
    seed = whole(seed, "seed", 0, 2**63 - 1)
    return int(layout.degree), int(layout.ef_construction), float(layout.alpha), seed


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
