"""Bad input gets an error that names the argument, and the index stays exactly as it was.

One table drives every public name and every argument of it; a test fails on one that is left out.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from checks import unchanged
from kinds import BITS, L2, SIGN, Kind

import nearbit as nb

NAN, INF = float("nan"), float("inf")


@dataclass(frozen=True)
class Bad:
    """A call that must raise.

    name: the public name that it drives; argument: what the message begins with; got: what it says
    of the value.
    """

    name: str
    argument: str
    error: type[Exception] | tuple[type[Exception], ...]
    got: str
    call: Callable[[SimpleNamespace], object]

    def __str__(self):
        return f"{self.name}({self.argument}): {self.got}".replace("/", "|")


def rows(n=3, dim=16, dtype=np.float32):
    return np.ones((n, dim), dtype=dtype)


def with_value(value, n=3, dim=16, dtype=np.float32):
    """Rows of which the last number of the last is the value."""
    bad = rows(n, dim, dtype)
    bad[-1, -1] = value
    return bad


def fresh():
    """An index that is to be trained."""
    return nb.Index(16, codec=nb.RaBitQ())


def bad_float_rows(argument):
    """(error, what the message says, rows) for 16 float dimensions."""
    masked = np.ma.masked_array(rows(), mask=np.eye(3, 16))
    yield ValueError, "expected 16 dimensions, got 15", rows(dim=15)
    yield ValueError, "expected 16 dimensions, got 32", rows(dim=32)
    yield ValueError, "expected 16 dimensions, got 0", rows(dim=0)
    yield ValueError, "3", np.ones((2, 3, 16), np.float32)
    yield ValueError, "()", np.float32(1)
    yield TypeError, "int64", rows(dtype=np.int64)
    yield TypeError, "uint8", rows(dtype=np.uint8)
    yield TypeError, "bool", rows(dtype=bool)
    yield TypeError, "complex64", rows(dtype=np.complex64)
    yield TypeError, "object", rows(dtype=object)
    yield TypeError, "<U", np.full((3, 16), "a")
    yield TypeError, "datetime64", np.zeros((3, 16), "M8[s]")
    yield TypeError, "mask", masked
    yield TypeError, "None", None
    yield TypeError, "object", {}
    yield TypeError, "<U3", "abc"
    yield (TypeError, ValueError), "", [["a"] * 16]
    yield (TypeError, ValueError), "", [[1.0] * 16, [1.0] * 15]
    yield (TypeError, ValueError), "", [[None] * 16]
    yield ValueError, "nan", with_value(NAN)
    yield ValueError, "inf", with_value(INF)
    yield ValueError, "inf", with_value(-INF, dtype=np.float64)
    yield ValueError, "nan", with_value(NAN, dtype=np.float16)
    yield ValueError, "nan", [[NAN] * 16] * 3
    yield ValueError, "row 2", with_value(NAN)
    yield ValueError, "", with_value(1e300, dtype=np.float64)
    yield ValueError, "norm", rows() * np.float32(1e19)


def bad_bit_rows(argument):
    """The same for 128 bits."""
    yield ValueError, "16", rows(dim=15, dtype=np.uint8)
    yield ValueError, "16", rows(dim=128, dtype=np.uint8)
    yield ValueError, "3", np.ones((2, 3, 16), np.uint8)
    yield TypeError, "float32", rows()
    yield TypeError, "float64", rows(dtype=np.float64)
    yield TypeError, "int8", rows(dtype=np.int8)
    yield TypeError, "int64", rows(dtype=np.int64)
    yield TypeError, "bool", rows(dtype=bool)
    yield TypeError, "None", None
    yield (TypeError, ValueError), "", [[300] * 16]
    yield (TypeError, ValueError), "", [[-1] * 16]
    yield (TypeError, ValueError), "", [[0.5] * 16]


def bad_half_rows(argument):
    """The same for 16 dimensions of float16: what a float index refuses, and what overflows."""
    yield from (bad for bad in bad_float_rows(argument) if bad[1] != "norm")
    # 65519.996 is the largest that rounds down to a half.
    for value, shown in ((65520, "65520"), (-65520, "-65520"), (1e38, "1e+38")):
        yield (
            ValueError,
            f"65504 for codec 'float16', got {shown} in row 2, dimension 15",
            (with_value(value)),
        )


def bad_int_rows(dtype):
    """The same for 16 dimensions of int8 or uint8."""
    other = np.uint8 if dtype == "int8" else np.int8
    least, most = np.iinfo(dtype).min, np.iinfo(dtype).max
    yield ValueError, "expected 16 dimensions, got 15", rows(dim=15, dtype=dtype)
    yield ValueError, "3", np.ones((2, 3, 16), dtype)
    for wrong in (other, np.int16, np.int64, np.float32, np.float64, bool):
        yield TypeError, f"expected {dtype}, got {np.dtype(wrong).name}", rows(dtype=wrong)
    yield TypeError, "None", None
    for value in (least - 1, most + 1, 10**6):
        outside = (
            f"expected integers from {least} to {most}, got {min(1, value)} to {max(1, value)}"
        )
        yield ValueError, outside, with_value(value, dtype=np.int64).tolist()
    yield TypeError, f"expected {dtype}, got float64", [[0.5] * 16]
    yield (TypeError, ValueError), "", [[2**70] * 16]


def bad_ids():
    """(error, what the message says, three ids) for a call that takes any id."""
    yield TypeError, "float64", np.array([0.0, 1.0, 2.0])
    yield TypeError, "float32", np.array([0.7, 1.7, 2.7], np.float32)
    yield TypeError, "bool", np.array([True, False, True])
    yield TypeError, "complex128", np.array([1j, 2, 3])
    yield TypeError, "<U", np.array(["1", "2", "3"])
    yield TypeError, "object", np.array([1, 2, 3], dtype=object)
    yield TypeError, "datetime64", np.zeros(3, "M8[s]")
    yield TypeError, "[0.5", [0.5, 1.5, 2.5]
    yield TypeError, "'abc'", "abc"
    yield TypeError, "{}", {}
    yield ValueError, "-1", np.array([7, 8, -1])
    yield ValueError, "-5", [7, 8, -5]
    yield ValueError, str(2**63), np.array([7, 8, 2**63], dtype=np.uint64)
    yield ValueError, "", [7, 8, 2**70]
    yield ValueError, "(1, 3)", np.array([[7, 8, 9]])


def bad_counts(low):
    """(error, what the message says, value) for a whole number from low on."""
    yield ValueError, f"got {low - 1}", low - 1
    yield ValueError, "got -3", -3
    yield ValueError, f"got {-(2**70)}", -(2**70)
    yield TypeError, "float", 2.5
    yield TypeError, "str", "3"
    yield TypeError, "ndarray", np.array([1, 2])


def table():
    yield from index_settings()
    yield from changes()
    yield from searches()
    yield from files()
    yield from functions()
    yield from codecs()


def index_settings():
    def make(argument, error, got, *args, **settings):
        return Bad("Index", argument, error, got, lambda s: nb.Index(*args, **settings))

    for error, got, dim in bad_counts(1):
        yield make("dim", error, got, dim)
    yield make("dim", TypeError, "None", None)
    yield make("dim", ValueError, "got 65537", 65_537)
    yield make("dim", ValueError, "got 65537", 65_537, codec="sign")
    yield make("dim", ValueError, "got 12", 12, codec="bits")
    yield make("dim", ValueError, "multiple of 8", 12, codec=nb.Bits())
    yield make("dim", ValueError, f"got {2**24 + 8}", 2**24 + 8, codec="bits")
    yield make("dim", ValueError, f"got {2**64}", 2**64)
    for alias, meant in (
        ("euclidean", "l2"),
        ("L2", "l2"),
        ("dot", "ip"),
        ("inner_product", "ip"),
        ("angular", "cosine"),
        ("tanimoto", "jaccard"),
    ):
        yield make("metric", ValueError, alias, 16, metric=alias)
        yield make("metric", ValueError, f"'{meant}'", 16, metric=alias)
    for listed in ("cosine", "l2", "ip", "hamming", "jaccard"):
        yield make("metric", ValueError, listed, 16, metric="no such metric")
    yield make("metric", ValueError, "jaccard", 16, metric="jaccard", codec="sign")
    yield make("metric", ValueError, "jaccard", 16, metric="jaccard")
    yield make("metric", TypeError, "int", 16, metric=3)
    yield make("metric", ValueError, "hamming", 16, metric="hamming")
    for metric in ("l2", "ip", "cosine"):
        yield make("metric", ValueError, metric, 16, metric=metric, codec="bits")
    for codec in ("float16", "int8", "uint8"):
        yield make("metric", ValueError, "hamming", 16, metric="hamming", codec=codec)
        yield make("dim", ValueError, "65537", 65_537, codec=codec)
    yield make("layout", ValueError, "flat, graph", 16, layout="no such layout")
    yield make("layout", TypeError, "int", 16, layout=3)
    yield make("layout", TypeError, "type", 16, layout=nb.Graph)
    yield make("codec", ValueError, "float32", 16, codec="no such codec")
    yield make("codec", TypeError, "int", 16, codec=3)
    three = "expected one of float32, float16, sq8 for codec 'rabitq'"
    for value in ("sq4", "int8", nb.SQ(4), nb.RaBitQ(8), nb.Int8()):
        yield make("refine", ValueError, three, 16, codec=nb.RaBitQ(), refine=value)
    yield make("refine", TypeError, three, 16, codec=nb.RaBitQ(), refine=8)
    for codec in (None, "float16", "int8", "bits", "sign"):
        yield make("refine", ValueError, "expected None for codec", 16, codec=codec, refine="sq8")
    yield make("seed", TypeError, "", 16, seed=1.5)
    yield make("seed", ValueError, "", 16, seed=-1)
    yield make("seed", ValueError, "", 16, seed=2**63)
    for name, word, least, most in (
        ("Graph", "degree", 4, 512),
        ("Graph", "ef_construction", 8, 65_536),
        ("RaBitQ", "bits", 1, 8),
        ("SQ", "bits", 1, 8),
        ("ITQ", "nbits", 1, 4096),
        ("PCASQ", "n_bytes", 2, 4100),
    ):
        for error, got, n in (*bad_counts(least), (ValueError, f"got {most + 1}", most + 1)):
            yield Bad(
                name,
                word,
                error,
                got,
                lambda s, c=(name, word, n): getattr(nb, c[0])(**{c[1]: c[2]}),
            )
    for error, got, alpha in (
        (ValueError, "got 0.99 (float)", 0.99),
        (ValueError, "got 2.5", 2.5),
        (ValueError, "nan", NAN),
        (ValueError, "inf", INF),
        (TypeError, "bool", True),
        (TypeError, "str", "1.2"),
        (TypeError, "None", None),
        (TypeError, "complex", 1j),
        (TypeError, "array", np.array([1.2])),
    ):
        yield Bad("Graph", "alpha", error, got, lambda s, alpha=alpha: nb.Graph(alpha=alpha))
    yield Bad("SQ", "bits", ValueError, "4 or 8, got 5", lambda s: nb.SQ(5))
    for error, got, m in bad_counts(1):
        yield Bad("PQ", "m", error, got, lambda s, m=m: nb.PQ(m))
        yield Bad("PQ", "nbits", error, got, lambda s, m=m: nb.PQ(4, m))
    yield Bad("PQ", "nbits", ValueError, "4 or 8, got 5", lambda s: nb.PQ(4, 5))
    yield Bad("PQ", "rotation", ValueError, "'pca'", lambda s: nb.PQ(4, rotation="pca"))
    for argument, given in (("codebooks", (None,)), ("rotation", (np.zeros((4, 16, 4)), 3))):
        yield Bad(  # test_codebooks.py has more
            "PQ.from_codebooks",
            argument,
            TypeError,
            "int" if argument == "rotation" else "object",
            lambda s, given=given: nb.PQ.from_codebooks(*given),
        )
    yield make("codec", ValueError, "nb.PQ(m)", 16, codec="pq")
    yield make("codec", ValueError, "m from 1 to 16", 16, codec=nb.PQ(17))
    for codec in (nb.PQ(17, rotation="opq"), nb.ITQ(17), nb.PCASQ(17)):
        yield make("codec", ValueError, "beyond 4096", 5000, codec=codec)
    yield make("codec", ValueError, "nb.ITQ(nbits)", 16, codec="itq")
    yield make("codec", ValueError, "nb.PCASQ(n_bytes)", 16, codec="pcasq")
    yield make("codec", ValueError, "nbits from 1 to 16", 16, codec=nb.ITQ(17))
    for metric, least, most in (("cosine", 2, 17), ("ip", 2, 18), ("l2", 4, 20)):
        for n in (least - 1, most + 1):
            if n >= 2:
                words = "n_bytes from "
                yield make("codec", ValueError, words, 16, metric, codec=nb.PCASQ(n))
    trained = nb.SQ().train(np.eye(1024, 16, dtype=np.float32), "l2")
    for error, got, dim in (*bad_counts(1), (ValueError, "expected 16", 17)):
        yield make("dim", error, got, dim, codec=trained)
    for error, seed in ((TypeError, 1.5), (ValueError, -1), (ValueError, 2**63)):
        yield make("seed", error, "", 16, seed=seed, codec=trained, layout="graph")
    yield make("metric", ValueError, "expected 'l2'", 16, metric="ip", codec=trained)
    yield make("metric", ValueError, "euclidean", 16, metric="euclidean", codec=trained)
    for name in ("Flat", "Float32", "Float16", "Int8", "UInt8", "Bits", "Sign"):
        yield Bad(name, "", TypeError, "", lambda s, name=name: getattr(nb, name)(3))
        yield Bad(name, "", TypeError, "x", lambda s, name=name: getattr(nb, name)(x=3))


def changes():
    # One way to call each with rows and ids: (name, call).
    calls = {
        "add": lambda index, ids, vectors: index.add(vectors, ids=ids),
        "update": lambda index, ids, vectors: index.update(ids, vectors),
        "upsert": lambda index, ids, vectors: index.upsert(ids, vectors),
    }
    for name, call in calls.items():
        own = [7, 8, 9] if name == "add" else [0, 1, 2]

        def make(argument, error, got, which, ids, vectors, name=name, call=call):
            return Bad(
                f"Index.{name}", argument, error, got, lambda s: call(s[which], ids, vectors)
            )

        for which in ("floats", "signs"):
            for error, got, vectors in bad_float_rows("vectors"):
                yield make("vectors", error, got, which, own, vectors)
        for error, got, vectors in bad_half_rows("vectors"):
            yield make("vectors", error, got, "halves", own, vectors)
        for error, got, vectors in bad_bit_rows("vectors"):
            yield make("vectors", error, got, "bits", own, vectors)
        for dtype in ("int8", "uint8"):
            for error, got, vectors in bad_int_rows(dtype):
                yield make("vectors", error, got, dtype, own, vectors)
        for error, got, ids in bad_ids():
            yield make("ids", error, got, "floats", ids, rows())
        yield make("ids", ValueError, "more than once", "floats", [own[0], own[1], own[0]], rows())
        yield make("ids", ValueError, "got 2", "floats", own[:2], rows())
        yield make("ids", ValueError, "got 3", "floats", own, rows(2))
        yield make("ids", ValueError, "got 1", "floats", own[0], rows(2))
        if name != "add":
            yield make("ids", TypeError, "None", "floats", None, rows())
        for argument, error, got, value in (
            *(("threads", *bad) for bad in bad_counts(1)),
            ("progress", TypeError, "int", 3),
            ("x", TypeError, "", 3),
        ):

            def call_with(s, name=name, own=own, rest=((argument, value),)):
                given = (rows(), own) if name == "add" else (own, rows())
                return getattr(s.floats, name)(*given, **dict(rest))

            yield Bad(f"Index.{name}", argument, error, got, call_with)
    yield Bad("Index.add", "ids", ValueError, "id 3", lambda s: s.floats.add(rows(), ids=[7, 8, 3]))
    yield Bad("Index.add", "vectors", TypeError, "", lambda s: s.floats.add())
    yield Bad("Index.update", "ids", KeyError, "99", lambda s: s.floats.update([0, 99], rows(2)))
    for name in ("remove", "get"):
        for error, got, ids in bad_ids():
            if name == "get" and isinstance(error, type) and issubclass(error, ValueError):
                error, got = (ValueError, KeyError), ""

            def call(s, name=name, ids=ids):
                return getattr(s.floats, name)(ids)

            yield Bad(f"Index.{name}", "ids", error, got, call)
        yield Bad(
            f"Index.{name}",
            "ids",
            TypeError,
            "None",
            lambda s, n=name: getattr(s.floats, n)(None),
        )
        yield Bad(
            f"Index.{name}", "ids", KeyError, "99", lambda s, n=name: getattr(s.floats, n)([0, 99])
        )
        yield Bad(
            f"Index.{name}", "ids", KeyError, "99", lambda s, n=name: getattr(s.floats, n)(99)
        )
    yield Bad(
        "Index.remove", "ids", ValueError, "more than once", lambda s: s.floats.remove([0, 1, 0])
    )
    yield Bad(
        "Index.remove",
        "missing",
        ValueError,
        "skip",
        lambda s: s.floats.remove([0], missing="skip"),
    )
    yield Bad(
        "Index.remove", "missing", (TypeError, ValueError), "", lambda s: s.floats.remove([0], 3)
    )
    for error, got, n in bad_counts(0):
        yield Bad("Index.reserve", "n", error, got, lambda s, n=n: s.floats.reserve(n))
    yield Bad("Index.reserve", "", (MemoryError, ValueError), "", lambda s: s.floats.reserve(2**50))
    yield Bad("Index.reserve", "", (MemoryError, ValueError), "", lambda s: s.floats.reserve(2**80))
    few = "at least 1024 rows"
    yield Bad("Index.train", "sample", ValueError, few, lambda s: fresh().train(rows()))
    for error, got, sample in bad_float_rows("sample"):
        if error is TypeError or "dimensions" in got:
            yield Bad("Index.train", "sample", error, got, lambda s, x=sample: fresh().train(x))
    for error, got, n in bad_counts(1):
        yield Bad(
            "Index.train",
            "threads",
            error,
            got,
            lambda s, n=n: fresh().train(rows(2000), threads=n),
        )
    yield Bad(
        "Index.train",
        "progress",
        TypeError,
        "int",
        lambda s: fresh().train(rows(2000), progress=3),
    )
    for name in ("compact", "stats", "copy", "to_bytes"):
        yield Bad(f"Index.{name}", "", TypeError, "", lambda s, n=name: getattr(s.floats, n)(3))


def searches():
    def make(argument, error, got, *args, name="search", which="floats", **rest):
        return Bad(
            f"Index.{name}",
            argument,
            error,
            got,
            lambda s: getattr(s[which], name)(*args, **rest),
        )

    q = rows()
    for name, more in (("search", (10,)), ("range_search", (1.0,))):
        for which in ("floats", "signs"):
            for error, got, queries in bad_float_rows("queries"):
                yield make("queries", error, got, queries, *more, name=name, which=which)
        for error, got, queries in bad_bit_rows("queries"):
            yield make("queries", error, got, queries, *more, name=name, which="bits")
        yield make("queries", ValueError, "got 15", rows()[0, :15], *more, name=name)
        for error, got, threads in bad_counts(1):
            yield make("threads", error, got, q, *more, name=name, threads=threads)
        yield make("progress", TypeError, "int", q, *more, name=name, progress=3)
        yield make("x", TypeError, "", q, *more, name=name, x=3)
        for error, got, value in bad_filters():
            yield make("filter", error, got, q, *more, name=name, filter=value)
        for error, got, radius in bad_radii():
            if name == "search":
                yield make("radius", error, got, q, 10, radius=radius)
            else:
                yield make("radius", error, got, q, radius, name=name)
    yield make("radius", TypeError, "None", q, None, name="range_search")
    yield make("stats", TypeError, "str", q, 10, stats="yes")
    for error, got, k in bad_counts(1):
        yield make("k", error, got, q, k)
    yield make("k", ValueError, "got 65537", q, 65_537)
    yield make("k", ValueError, f"got {2**70}", q, 2**70)
    yield make("k", TypeError, "None", q, None)
    for error, got, limit in bad_counts(1):
        yield make("limit", error, got, q, 1.0, name="range_search", limit=limit)
    for error, got, value in bad_filters():
        if isinstance(value, list) and value and not isinstance(value[0], (int, float, str)):
            continue
        yield make("allowed", error, got, value, name="filter")
    yield make("allowed", TypeError, "None", None, name="filter")
    # An effort word that the layout doesn't use.
    yield make("nprobe", TypeError, "", q, 10, nprobe=10)
    for name, more in (("search", ()), ("range_search", (1.0,)), ("neighbors", ())):
        asked = [0, 1] if name == "neighbors" else q
        yield make("ef", ValueError, "None for a flat layout", asked, *more, name=name, ef=10)
        for error, got, ef in (*bad_counts(1), (ValueError, "got 65537", 65_537)):
            yield make("ef", error, got, asked, *more, name=name, which="graph", ef=ef)
        for got, exact in (("int", 1), ("str", "yes"), ("None", None)):
            yield make("exact", TypeError, got, asked, *more, name=name, which="graph", exact=exact)
    yield from neighbors()
    yield from tuning()

    yield make("refine_factor", ValueError, "None for an index without", q, refine_factor=10)
    for error, got, factor in (
        (ValueError, "got 0.99", 0.99),
        (ValueError, "got 0 ", 0),
        (ValueError, "nan", NAN),
        (ValueError, "inf", INF),
        (ValueError, "float64", 10**400),
        (TypeError, "bool", True),
        (TypeError, "str", "10"),
        (TypeError, "array", np.array([10.0])),
    ):
        yield make("refine_factor", error, got, q, which="refined", refine_factor=factor)


def neighbors():
    def make(argument, error, got, ids=(0, 1, 2), which="floats", **rest):
        return Bad(
            "Index.neighbors",
            argument,
            error,
            got,
            lambda s: s[which].neighbors(ids, **rest),
        )

    for error, got, ids in bad_ids():
        if isinstance(error, type) and issubclass(error, ValueError):
            error, got = (ValueError, KeyError), ""
        yield make("ids", error, got, ids)
    yield make("ids", TypeError, "None", None)
    yield make("ids", KeyError, "99", [0, 99])
    yield make("ids", KeyError, "99", 99)
    for error, got, k in (*bad_counts(1), (ValueError, "got 65536", 65_536)):
        yield make("k", error, got, k=k)
    for error, got, radius in bad_radii():
        yield make("radius", error, got, radius=radius)
    for error, got, value in bad_filters():
        yield make("filter", error, got, filter=value)
    for error, got, n in bad_counts(1):
        yield make("threads", error, got, threads=n)
    yield make("refine_factor", ValueError, "None for an index without", refine_factor=10)
    yield make("refine_factor", ValueError, "got 0.99", which="refined", refine_factor=0.99)
    yield make("progress", TypeError, "int", progress=3)
    yield make("codec", ValueError, "or a refine, got Sign()", which="signs")


def tuning():
    def make(argument, error, got, queries=None, which="graph", **rest):
        return Bad(
            "Index.tune",
            argument,
            error,
            got,
            lambda s: s[which].tune(rows() if queries is None else queries[0], **rest),
        )

    for error, got, queries in bad_float_rows("queries"):
        yield make("queries", error, got, (queries,))
    yield make("queries", ValueError, "at least one row, got none", (rows(0),))
    for error, got, recall in (
        (ValueError, "got 0 ", 0),
        (ValueError, "got 1.01", 1.01),
        (ValueError, "got -0.5", -0.5),
        (ValueError, "nan", NAN),
        (TypeError, "bool", True),
        (TypeError, "str", "0.9"),
        (TypeError, "None", None),
        (TypeError, "array", np.array([0.9])),
    ):
        yield make("recall", error, got, recall=recall)
    for error, got, k in (*bad_counts(1), (ValueError, "got 1001", 1001)):
        yield make("k", error, got, k=k)
    for error, got, value in bad_filters():
        yield make("filter", error, got, filter=value)
    for error, got, n in bad_counts(1):
        yield make("threads", error, got, threads=n)
    yield make("refine_factor", ValueError, "None for an index without", refine_factor=10)
    yield make("progress", TypeError, "int", progress=3)
    yield make("layout", ValueError, "got Flat()", which="floats")
    yield make("index", ValueError, "2,048 items or more, which are walked, got 6", which="few")


def bad_filters():
    yield TypeError, "float64", np.array([1.0, 2.0])
    yield TypeError, "complex128", np.array([1j])
    yield TypeError, "<U", np.array(["1"])
    yield TypeError, "datetime64", np.zeros(2, "M8[s]")
    yield TypeError, "object", np.array([1, None], dtype=object)
    yield TypeError, "[0.5", [0.5, 1.5, 2.5]
    yield (TypeError, ValueError), "", "abc"
    yield TypeError, "int", 3
    yield (TypeError, ValueError), "", {}
    yield TypeError, "mask", np.ma.masked_array([1, 2], mask=[0, 1])
    yield ValueError, "(2, 2)", np.array([[1, 2], [3, 4]])
    yield ValueError, "(3, 16)", np.ones((3, 16), dtype=bool)
    yield ValueError, "got 2", [np.array([1]), None]
    yield ValueError, "got 4", [None] * 4
    yield TypeError, "float64", [None, np.array([1.0]), None]
    yield (TypeError, ValueError), "", [None, [[1]], None]


def bad_radii():
    yield ValueError, "nan", NAN
    yield ValueError, "nan", np.array([1.0, NAN, 2.0])
    yield ValueError, "(2,)", np.array([1.0, 2.0])
    yield ValueError, "(4,)", [1.0] * 4
    yield ValueError, "(3, 1)", np.ones((3, 1))
    yield TypeError, "'near'", "near"
    yield TypeError, "complex", 1j
    yield TypeError, "object", np.array([1.0, None, 2.0], dtype=object)
    yield TypeError, "{}", {}


def files():
    def saved(s):
        path = s.folder / "good.nearbit"
        s.floats.save(path)
        return path

    def changed(s, change):
        path = s.folder / "bad.nearbit"
        path.write_bytes(change(s.floats.to_bytes()))
        return path

    for error, got, path in (
        (OSError, "missing", lambda s: s.folder / "missing"),
        (OSError, "folder", lambda s: s.folder),
        (TypeError, "int", lambda s: 3),
        (TypeError, "None", lambda s: None),
        (ValueError, "", lambda s: "a\0b"),
    ):
        for mmap in (False, True):
            named = "path" if error is TypeError else ""
            yield Bad("load", named, error, got, lambda s, p=path, m=mmap: nb.load(p(s), mmap=m))
    yield Bad("load", "x", TypeError, "", lambda s: nb.load(saved(s), x=3))
    for mode in ("mmap", "verify"):
        yield Bad("load", mode, TypeError, "str", lambda s, m=mode: nb.load(saved(s), **{m: "yes"}))
    for error, got, path in (
        (OSError, "missing", lambda s: s.folder / "missing" / "index"),
        (OSError, "", lambda s: s.folder),
        (TypeError, "int", lambda s: 3),
        (TypeError, "None", lambda s: None),
        (ValueError, "", lambda s: "a\0b"),
    ):
        named = "path" if error is TypeError else ""
        yield Bad("Index.save", named, error, got, lambda s, p=path: s.floats.save(p(s)))
    damage = {
        "empty": lambda b: b"",
        "one byte": lambda b: b[:1],
        "half": lambda b: b[: len(b) // 2],
        "last byte gone": lambda b: b[:-1],
        "a byte more": lambda b: b + b"\0",
        "twice": lambda b: b + b,
        "first byte": lambda b: bytes([b[0] ^ 1]) + b[1:],
        "foreign": lambda b: b"PK\x03\x04" + bytes(200_000),
        "zeros": lambda b: bytes(len(b)),
        "text": lambda b: b"nearbit " * 10_000,
    }
    for change in damage.values():
        for name in ("load", "CorruptIndexError"):
            yield Bad(
                name,
                "",
                nb.CorruptIndexError,
                "bad.nearbit",
                lambda s, c=change, m=name == "load": nb.load(changed(s, c), mmap=m),
            )
        yield Bad(
            "Index.from_bytes",
            "",
            nb.CorruptIndexError,
            "",
            lambda s, c=change: nb.Index.from_bytes(c(s.floats.to_bytes())),
        )
    for got, value in (("str", "abc"), ("None", None), ("int", 3), ("list", [1, 2])):
        yield Bad("Index.from_bytes", "", TypeError, got, lambda s, v=value: nb.Index.from_bytes(v))


def functions():
    q = rows()

    def knn(argument, error, got, queries=q, base=q, k=2, **rest):
        return Bad("knn", argument, error, got, lambda s: nb.knn(queries, base, k, **rest))

    for error, got, bad in bad_float_rows("queries"):
        if "dimensions" not in got:
            yield knn("queries", error, got, queries=bad)
            yield knn("base", (TypeError, ValueError), "", base=bad)
    for error, got, bad in bad_bit_rows("queries"):
        if bad is None or np.ndim(bad) != 2 or got == "16":
            continue
        bits = rows(dtype=np.uint8)
        for metric in ("hamming", "jaccard"):
            yield knn("queries", error, got, queries=bad, base=bits, metric=metric)
            yield knn("base", error, got, queries=bits, base=bad, metric=metric)
    yield knn("queries", ValueError, "expected 16 dimensions, got 15", queries=rows(dim=15))
    yield knn("base", ValueError, "1", base=np.ones(16, np.float32))
    yield knn("queries", TypeError, "uint8", queries=rows(dtype=np.uint8))
    for error, got, k in bad_counts(1):
        yield knn("k", error, got, k=k)
        yield knn("threads", error, got, threads=k)
    yield knn("k", ValueError, "got 65537", k=65_537)
    yield knn("metric", ValueError, "euclidean", metric="euclidean")
    yield knn("metric", TypeError, "int", metric=3)
    yield knn("progress", TypeError, "int", progress=3)

    def merge(argument, error, got, call):
        return Bad("merge_hits", argument, error, got, call)

    yield merge("hits", ValueError, "", lambda s: nb.merge_hits([], 3))
    yield merge("hits", TypeError, "int", lambda s: nb.merge_hits([s.hits, 3], 3))
    yield merge("hits", TypeError, "int", lambda s: nb.merge_hits(3, 3))
    yield merge(
        "hits",
        ValueError,
        "",
        lambda s: nb.merge_hits([s.hits, s.floats.search(rows(2), 3)], 3),
    )
    for error, got, k in bad_counts(1):
        yield merge("k", error, got, lambda s, k=k: nb.merge_hits([s.hits], k))
    yield merge("k", ValueError, "got 65537", lambda s: nb.merge_hits([s.hits], 65_537))
    yield merge("k", ValueError, f"got {2**70}", lambda s: nb.merge_hits([s.hits], 2**70))

    def recall(argument, error, found, truth, **rest):
        def call(s):
            return nb.metrics.recall(found, truth, **rest)

        return Bad("metrics.recall", argument, error, "", call)

    d = np.zeros((3, 4), np.float32)
    yield recall("found", ValueError, d[:2], d)
    yield recall("found", ValueError, d * NAN, d)
    yield recall("truth", ValueError, d, d * NAN)
    yield recall("found", TypeError, "abc", d)
    yield recall("truth", TypeError, d, None)
    yield recall("", ValueError, d[0], d[0][None, None])
    yield recall("", ValueError, d[None], d[None])
    for error, rtol in ((ValueError, -1e-3), (ValueError, NAN), (TypeError, "1")):
        yield recall("rtol", error, d, d, rtol=rtol)
    for error, got, threads in bad_counts(1):
        yield Bad(
            "set_threads", "n", error, got, lambda s, threads=threads: nb.set_threads(threads)
        )
    yield Bad("simd_info", "", TypeError, "", lambda s: nb.simd_info(3))
    for name in ("Hits", "RangeHits", "Filter"):
        yield Bad(name, "", TypeError, "", lambda s, name=name: getattr(nb, name)(no_such=3))


def codecs():
    def make(name, argument, error, got, call):
        return Bad(name, argument, error, got, call)

    settings = {"RaBitQ": nb.RaBitQ(), "SQ": nb.SQ(), "PQ": nb.PQ(4, 4)}
    settings |= {"ITQ": nb.ITQ(9), "PCASQ": nb.PCASQ(7)}
    for name in ("Float32", "Float16", "Int8", "UInt8", "Bits", "Sign"):
        settings[name] = getattr(nb, name)()
    samples = {"Int8": rows(2000, dtype=np.int8), "UInt8": rows(2000, dtype=np.uint8)}
    samples["Bits"] = samples["UInt8"]
    for name, codec in settings.items():
        good = samples.get(name, rows(2000))

        def train(argument, error, got, sample=good, name=name, codec=codec, **rest):
            return make(
                f"{name}.train", argument, error, got, lambda s: codec.train(sample, **rest)
            )

        wide = np.zeros((3, 2**21 + 1 if name == "Bits" else 65_537), good.dtype)
        yield train("sample", ValueError, "columns, got 0", good[:, :0])
        yield train("sample", ValueError, f"columns, got {wide.shape[1]}", wide)
        yield train("sample", ValueError, "(16,)", good[0])
        yield train("sample", ValueError, "()", 3)
        yield train("sample", TypeError, "None", None)
        yield train("sample", TypeError, "complex64", rows(2000, dtype=np.complex64))
        yield train("sample", TypeError, "mask", np.ma.masked_array(good))
        yield train("sample", (TypeError, ValueError), "", [[1.0] * 16, [1.0] * 15])
        if name in ("RaBitQ", "SQ", "PQ", "ITQ", "PCASQ"):
            yield train("sample", ValueError, "at least 1024 rows", good[:1023])
            yield train("sample", ValueError, "nan in row 1999", with_value(NAN, 2000))
            yield train("sample", ValueError, "norm", good * np.float32(1e19))
        yield train("metric", ValueError, "euclidean", metric="euclidean")
        yield train("metric", TypeError, "int", metric=3)
        wrong = {"Bits": "l2", "Sign": "jaccard"}.get(name, "hamming")
        yield train("metric", ValueError, wrong, metric=wrong)
        yield train("seed", ValueError, "-1", seed=-1)
        yield train("seed", TypeError, "float", seed=1.5)
        for error, got, n in bad_counts(1):
            yield train("threads", error, got, threads=n)
        yield train("progress", TypeError, "int", progress=3)
    yield make(
        "PQ.train", "codec", ValueError, "m from 1 to 3", lambda s: nb.PQ(4).train(rows(2000, 3))
    )

    kinds = {"halves": bad_half_rows("rows"), "bits": bad_bit_rows("rows")}
    kinds |= {"floats": bad_float_rows("rows"), "signs": bad_float_rows("rows")}
    for dtype in ("int8", "uint8"):
        kinds[dtype] = bad_int_rows(dtype)
    for which, bad in kinds.items():
        for error, got, value in bad:
            yield make(
                "TrainedCodec.encode",
                "rows",
                error,
                got,
                lambda s, w=which, v=value: s[w].trained_codec.encode(v),
            )
            if "codec" not in got:  # what halves can't hold is no fault of a query
                yield make(
                    "TrainedCodec.distances",
                    "queries",
                    error,
                    got,
                    lambda s, w=which, v=value: s[w].trained_codec.distances(v, codes_of(s, w)),
                )
    codes = np.zeros((3, 2), np.uint8)  # of signs
    for name in ("decode", "distances"):

        def call(argument, error, got, given=codes, name=name, **rest):
            queries = () if name == "decode" else (rows(),)
            return make(
                f"TrainedCodec.{name}",
                argument,
                error,
                got,
                lambda s: getattr(s.signs.trained_codec, name)(*queries, given, **rest),
            )

        yield call("codes", ValueError, "expected 2 bytes, got 3", np.zeros((3, 3), np.uint8))
        yield call("codes", ValueError, "expected 2 bytes, got 0", codes[:, :0])
        yield call("codes", ValueError, "(1, 3, 2)", codes[None])
        yield call("codes", ValueError, "()", np.uint8(3))
        for dtype in (np.int8, np.uint16, np.int64, np.float32, bool, "S2"):
            shown = np.dtype(dtype).name if dtype != "S2" else "|S2"
            yield call("codes", TypeError, f"expected uint8, got {shown}", codes.astype(dtype))
        yield call("codes", TypeError, "None", None)
        yield call("codes", TypeError, "mask", np.ma.masked_array(codes))
        yield call("codes", ValueError, "from 0 to 255, got 0 to 256", [[0, 256]])
        yield call("codes", ValueError, "from 0 to 255, got -1 to 0", [[0, -1]])
        yield call("progress", TypeError, "int", progress=3)
        for error, got, n in bad_counts(1):
            yield call("threads", error, got, threads=n)
    for error, got, n in bad_counts(1):
        yield make(
            "TrainedCodec.encode",
            "threads",
            error,
            got,
            lambda s, n=n: s.floats.trained_codec.encode(rows(), threads=n),
        )
    yield make(
        "TrainedCodec.encode",
        "progress",
        TypeError,
        "int",
        lambda s: s.floats.trained_codec.encode(rows(), progress=3),
    )
    yield make("TrainedCodec", "TrainedCodec", TypeError, "int", lambda s: nb.TrainedCodec(3))
    yield make(
        "TrainedCodec.to_bytes", "", TypeError, "", lambda s: s.floats.trained_codec.to_bytes(3)
    )
    for error, got, path in (
        (OSError, "missing", lambda s: s.folder / "missing" / "codec"),
        (OSError, "", lambda s: s.folder),
        (TypeError, "int", lambda s: 3),
        (TypeError, "None", lambda s: None),
        (ValueError, "", lambda s: "a\0b"),
    ):
        named = "path" if error is TypeError else ""
        yield make(
            "TrainedCodec.save",
            named,
            error,
            got,
            lambda s, p=path: s.floats.trained_codec.save(p(s)),
        )
        yield make("load_codec", named, error, got, lambda s, p=path: nb.load_codec(p(s)))
    for got, value in (("str", "abc"), ("None", None), ("int", 3), ("list", [1, 2])):
        yield make(
            "TrainedCodec.from_bytes",
            "",
            TypeError,
            got,
            lambda s, v=value: nb.TrainedCodec.from_bytes(v),
        )
    for value in (b"", b"nearbit", bytes(1000)):
        yield make(
            "TrainedCodec.from_bytes",
            "",
            nb.CorruptIndexError,
            "bytes: ",
            lambda s, v=value: nb.TrainedCodec.from_bytes(v),
        )


def codes_of(s, which):
    """Codes of no rows."""
    return np.zeros((0, s[which].trained_codec.code_bytes), np.uint8)


TABLE = list(table())


class State(SimpleNamespace):
    def __getitem__(self, name):
        return getattr(self, name)


@pytest.fixture(scope="module")
def state(tmp_path_factory):
    """An index of each kind with ids 0 to 5; what calls need."""
    floats, _ = L2.filled(6, 16)
    bits, _ = BITS.filled(6, 128)
    signs, _ = SIGN.filled(6, 16)
    numbers = {
        name: Kind(codec, "l2").filled(6, 16)[0]
        for name, codec in (("halves", "float16"), ("int8", "int8"), ("uint8", "uint8"))
    }
    hits = floats.search(rows(), 3)
    graph, few = (nb.Index(16, "l2", nb.Graph(degree=4, ef_construction=8)) for _ in range(2))
    graph.add(np.random.default_rng(0).standard_normal((2100, 16)))
    few.add(rows(6))
    refined = nb.Index(16, codec=nb.RaBitQ(), refine="float16")
    refined.add(rows())
    return State(
        refined=refined,
        graph=graph,
        few=few,
        floats=floats,
        bits=bits,
        signs=signs,
        hits=hits,
        folder=tmp_path_factory.mktemp("folder"),
        **numbers,
    )


def grouped(entries):
    """The table by name and argument: one test for each."""
    groups = {}
    for entry in entries:
        groups.setdefault((entry.name, entry.argument), []).append(entry)
    return groups


GROUPS = grouped(TABLE)


@pytest.mark.parametrize("entries", GROUPS.values(), ids=["-".join(key) for key in GROUPS])
def test_bad_input_is_refused_and_changes_nothing(entries, state):
    threads = nb.simd_info()["threads"]
    faults = []
    for entry in entries:
        with ExitStack() as stack:
            for which in (state.floats, state.bits, state.signs):
                stack.enter_context(unchanged(which))
            faults += filter(None, [fault(entry, state)])
    assert not faults, "\n".join(faults)
    assert nb.simd_info()["threads"] == threads


def fault(entry, state):
    """What is wrong with how the call was refused, or None."""
    form = rf"{entry.argument}: .*expected .+, got .+" if entry.argument else ".+"
    try:
        given = entry.call(state)
    except KeyError as error:
        message, form = error.args[0], r"ids: id \d+ is not in the index.*"
    except entry.error as error:
        message = str(error)
    except Exception as error:  # noqa: BLE001 (whatever it is, it is the wrong one)
        return f"{entry}: expected {entry.error}, got {error!r}"
    else:
        return f"{entry}: was accepted and gave {given!r:.200}"
    if unexpected_keyword(message):
        form = f".*{entry.argument}.*"
    well = re.fullmatch(form, message, re.DOTALL) and entry.got.lower() in message.lower()
    dump = "incompatible function arguments" in message
    return None if well and not dump else f"{entry}: the message says {message!r}"


def unexpected_keyword(message):
    """Python's own words for a call that doesn't fit the signature."""
    return "keyword argument" in message or "required positional argument" in message


def public_callables():
    """(name, callable) of everything public that can be called, inside classes and modules too."""
    for name in nb.__all__:
        thing = getattr(nb, name)
        if inspect.ismodule(thing):
            for inner in thing.__all__:
                yield f"{name}.{inner}", getattr(thing, inner)
        elif inspect.isclass(thing):
            yield name, thing
            if issubclass(thing, Exception):
                continue
            for inner in dir(thing):
                if not inner.startswith("_") and callable(getattr(thing, inner)):
                    yield f"{name}.{inner}", getattr(thing, inner)
        elif callable(thing):
            yield name, thing


def public_properties():
    """(class, name) of what is read and not called; the arrays of an answer are its owner's."""
    for name in nb.__all__:
        thing = getattr(nb, name)
        if inspect.isclass(thing) and not issubclass(thing, Exception):
            for inner in dir(thing):
                member = inspect.getattr_static(thing, inner)
                if inner.startswith("_") or inspect.ismemberdescriptor(member):
                    continue
                settable = isinstance(member, property) and member.fset is not None
                if not callable(getattr(thing, inner)) and not settable:
                    yield thing, inner


def test_the_table_drives_every_public_name_and_argument():
    missing = []
    driven = {(entry.name, entry.argument) for entry in TABLE}
    names = {name for name, _ in driven}
    for name, thing in public_callables():
        if name not in names:
            missing.append(name)
        if inspect.isclass(thing) and name != "Index":
            continue
        for argument in inspect.signature(thing).parameters:
            whole = (name, "") in driven and sum(n == name for n, _ in driven) == 1
            if argument != "self" and (name, argument) not in driven and not whole:
                missing.append(f"{name}({argument})")
    assert not missing


@pytest.mark.parametrize(
    ("owner", "name"),
    list(public_properties()),
    ids=[f"{owner.__name__}.{name}" for owner, name in public_properties()],
)
def test_what_can_be_read_cannot_be_set(owner, name, state):
    instances = {
        "Index": state.floats,
        "Hits": state.hits,
        "RangeHits": state.floats.range_search(rows(), 1.0),
        "Filter": state.floats.filter([1, 2]),
        "PQ": nb.PQ(4),
        "ITQ": nb.ITQ(4),
        "PCASQ": nb.PCASQ(4),
        "TrainedCodec": state.floats.trained_codec,
    }
    one = instances.get(owner.__name__) or owner()
    with unchanged(state.floats), pytest.raises(AttributeError, match=name):
        setattr(one, name, 3)


def test_ef_can_be_set_to_what_a_search_takes(state):
    for error, got, ef in (
        *bad_counts(1),
        (ValueError, "got 65537", 65_537),
        (TypeError, "", None),
    ):
        with unchanged(state.graph), pytest.raises(error, match=f"^ef: expected .*{got}"):
            state.graph.ef = ef
    with unchanged(state.floats), pytest.raises(ValueError, match=r"^ef: expected .* got Flat\(\)"):
        state.floats.ef = 10
    assert state.floats.ef is None
    assert state.graph.ef == 100


def test_there_is_nothing_public_beside_the_names_listed():
    """`dir` shows what `__all__` lists, and submodules."""
    shown = {name for name in dir(nb) if not name.startswith("_")}
    extra = shown - set(nb.__all__) - {p.stem for p in Path(nb.__file__).parent.iterdir()}
    assert extra <= {"annotations"}


def test_a_fault_inside_a_batch_names_its_row(state):
    many = rows(1000)
    many[777, 3] = NAN
    for call in (state.floats.add, state.floats.search):
        with unchanged(state.floats), pytest.raises(ValueError, match="777"):
            call(many)


def test_what_is_shown_of_a_value_is_text_whatever_the_value_is(state):
    class Unprintable:
        def __repr__(self):
            raise RuntimeError

    class Surrogate:
        def __repr__(self):
            return "\ud800" * 3

    for k, said in (
        ("雪" * 90, "雪" * 56 + r"\.\.\. \(str\)"),
        (Unprintable(), "Unprintable"),
        (Surrogate(), r"\\ud800"),
        (10**5000, r"no repr \(int\)"),
    ):
        with pytest.raises((TypeError, ValueError), match=f"^k: expected .*{said}"):
            state.floats.search(rows(), k)


def test_numbers_beyond_what_c_holds_get_the_error_that_names_them(state):
    for row in ([2**64 - 1, 2**63] * 8, [2**63] * 16, [2**63 - 1] * 16):
        with unchanged(state.bits), pytest.raises(ValueError, match=r"^vectors: expected bytes"):
            state.bits.add([row])
    for radius in (10**400, -(10**400), 10**5000):
        for search in (state.floats.search, state.floats.range_search):
            with pytest.raises(ValueError, match=r"^radius: expected a number that a float64"):
                search(rows(), radius=radius)
