"""Nearest-neighbour search over embeddings and bits, in process."""

from nearbit import metrics
from nearbit._core import CorruptIndexError, __version__
from nearbit._knn import knn
from nearbit.codecs import SQ, Bits, Float32, RaBitQ, Sign
from nearbit.hits import Hits, RangeHits, merge_hits
from nearbit.index import Filter, Index, load
from nearbit.layouts import Flat
from nearbit.settings import set_threads, simd_info

__all__ = [
    "SQ",
    "Bits",
    "CorruptIndexError",
    "Filter",
    "Flat",
    "Float32",
    "Hits",
    "Index",
    "RaBitQ",
    "RangeHits",
    "Sign",
    "__version__",
    "knn",
    "load",
    "merge_hits",
    "metrics",
    "set_threads",
    "simd_info",
]
