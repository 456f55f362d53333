"""Nearest-neighbour search over embeddings and bits, in process."""

from nearbit import metrics
from nearbit._core import CorruptIndexError, __version__
from nearbit._knn import knn
from nearbit.codecs import ITQ, PCASQ, PQ, SQ, Bits, Float16, Float32, Int8, RaBitQ, Sign, UInt8
from nearbit.hits import Hits, RangeHits, merge_hits
from nearbit.index import Filter, Index, load
from nearbit.layouts import Flat, Graph
from nearbit.settings import set_threads, simd_info
from nearbit.trained import TrainedCodec, load_codec

__all__ = [
    "ITQ",
    "PCASQ",
    "PQ",
    "SQ",
    "Bits",
    "CorruptIndexError",
    "Filter",
    "Flat",
    "Float16",
    "Float32",
    "Graph",
    "Hits",
    "Index",
    "Int8",
    "RaBitQ",
    "RangeHits",
    "Sign",
    "TrainedCodec",
    "UInt8",
    "__version__",
    "knn",
    "load",
    "load_codec",
    "merge_hits",
    "metrics",
    "set_threads",
    "simd_info",
]
