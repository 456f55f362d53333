"""Checks of settings and names; arrays are checked in the core."""

from __future__ import annotations

from nearbit.codecs import SUPPORT, Codec
from nearbit.layouts import LAYOUTS, Flat

METRICS = ("l2", "ip", "cosine", "hamming")
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
}


def shown(value: object) -> str:
    """A value and its type, as errors show them."""
    return f"{value!r} ({type(value).__name__})"


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
    return SUPPORT[codec]()


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
            f"metric: codec {codec.name!r} expected one of {', '.join(codec.metrics)}, got {name!r}"
        )
        raise ValueError(msg)
    return name
