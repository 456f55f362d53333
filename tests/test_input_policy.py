"""What arrays may look like: every layout that is accepted means the same as its plain form."""

from __future__ import annotations

import array

import numpy as np
import pytest
from checks import answer, unchanged
from kinds import BITS, FLOAT_KINDS, KINDS, L2, SIGN

import nearbit as nb


def float_forms(plain):
    """Other arrays of the same numbers (which float16 holds too)."""
    n, dim = plain.shape
    wide = np.zeros((2 * n, 3 * dim), np.float32)
    wide[::2, 1::3] = plain
    yield "as it is", plain
    yield "float64", plain.astype(np.float64)
    yield "float16", plain.astype(np.float16)
    yield "long double", plain.astype(np.longdouble)
    yield "Fortran order", np.asfortranarray(plain)
    yield "strided", wide[::2, 1::3]
    yield "reversed", np.ascontiguousarray(plain[::-1, ::-1])[::-1, ::-1]
    yield "big endian", plain.astype(">f4")
    yield "little endian", plain.astype("<f4")
    yield "big endian double", plain.astype(">f8")
    yield "strided half", np.asfortranarray(plain.astype(np.float16))
    yield "unaligned", unaligned(plain)
    yield "read-only", read_only(plain)
    yield "subclass", plain.view(type("Rows", (np.ndarray,), {}))
    yield "lists", plain.tolist()
    yield "tuple of arrays", tuple(plain)
    yield "memoryview", memoryview(plain)
    yield "array protocol", type("Has", (), {"__array__": lambda self, *a, **k: plain})()


def byte_forms(plain):
    n, width = plain.shape
    wide = np.zeros((2 * n, 3 * width), plain.dtype)
    wide[::2, 1::3] = plain
    yield "as it is", plain
    yield "Fortran order", np.asfortranarray(plain)
    yield "strided", wide[::2, 1::3]
    yield "reversed", np.ascontiguousarray(plain[::-1, ::-1])[::-1, ::-1]
    yield "read-only", read_only(plain)
    yield "lists", plain.tolist()
    yield "memoryview", memoryview(plain)


def read_only(plain):
    copy = plain.copy()
    copy.flags.writeable = False
    return copy


def unaligned(plain):
    room = np.zeros(plain.nbytes + 1, np.uint8)
    copy = room[1:].view(plain.dtype).reshape(plain.shape)
    copy[...] = plain
    return copy


@pytest.mark.parametrize("n", [1, 37, 3000])
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_every_form_of_the_same_rows_is_the_same_input(kind, n, rng):
    dim = kind.dim(24)
    rows = kind.rows(n, dim, rng)
    if kind.takes_floats:
        rows = rows.astype(np.float16).astype(np.float32)
    expected = kind.new(dim)
    expected.add(rows)
    queries = rows[:50]
    hits = expected.search(queries, 5)
    found = expected.range_search(queries, 4.0)
    for name, form in (float_forms if kind.takes_floats else byte_forms)(rows):
        index = kind.new(dim)
        index.add(form)
        assert index.to_bytes() == expected.to_bytes(), name
        index.upsert(range(n), form)
        assert answer(index.search(queries, 5)) == answer(hits), name
    for name, form in (float_forms if kind.takes_floats else byte_forms)(queries):
        assert answer(expected.search(form, 5)) == answer(hits), name
        assert expected.range_search(form, 4.0).ids.tobytes() == found.ids.tobytes(), name


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_one_strided_row_is_read_as_one_row(kind, rng):
    dim = kind.dim(24)
    rows = kind.rows(40, dim, rng)
    index = kind.new(dim)
    for column in np.asfortranarray(rows):
        index.add(column)
    expected = kind.new(dim)
    expected.add(rows)
    assert index.to_bytes() == expected.to_bytes()
    query = np.asfortranarray(rows)[7]
    assert answer(index.search(query, 3)) == answer(expected.search(rows[7], 3))
    assert answer(index.search(rows[7].tolist(), 3)) == answer(expected.search(rows[7], 3))


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_row_repeated_by_a_zero_stride_is_many_rows(kind, rng):
    dim = kind.dim(24)
    row = kind.rows(1, dim, rng)
    many = np.broadcast_to(row[0], (500, row.shape[1]))
    index = kind.new(dim)
    index.add(many)
    assert len(index) == 500
    np.testing.assert_array_equal(index.get(range(500)), np.repeat(kind.stored(row), 500, axis=0))
    hits = index.search(many, 3)
    np.testing.assert_array_equal(hits.ids, [[0, 1, 2]] * 500)


def test_double_rows_are_rounded_to_the_nearest_float(rng):
    rows = rng.standard_normal((50, 12))
    index = L2.new(12)
    index.add(rows)
    np.testing.assert_array_equal(index.get(range(50)), rows.astype(np.float32))


def test_lists_of_whole_numbers_are_read_as_the_index_s_own_numbers():
    index = L2.new(3)
    index.add([[1, 2, 3], [4, 5, 6]])
    assert index.get(1).tolist() == [4, 5, 6]
    assert index.search([1, 2, 3], 1).ids.tolist() == [0]
    bits = BITS.new(16)
    bits.add([[255, 0], [0, 255]])
    assert bits.search([[254, 0]], 1).distances.tolist() == [[1]]


@pytest.mark.parametrize("dim", [1, 3, 23, 100, 1000])
@pytest.mark.parametrize("kind", FLOAT_KINDS, ids=str)
def test_squared_norms_up_to_8_4e37_are_taken_and_no_distance_overflows(kind, dim):
    value = np.float32(np.sqrt(8.4e37 / dim))
    while float(value) ** 2 * dim > 8.4e37:
        value = np.nextafter(value, np.float32(0))
    inside = np.stack([np.full(dim, value), np.full(dim, -value)])
    index = kind.new(dim)
    index.add(inside)
    hits = index.search(inside, 2)
    assert np.isfinite(hits.distances).all()
    assert hits.ids.tolist() == [[0, 1], [1, 0]]
    for i in (0, 1):
        assert index.search(inside[i], 2).ids.tolist() == hits.ids[i].tolist()
    outside = inside[:1] * np.float32(1.0001)
    with unchanged(index), pytest.raises(ValueError, match=r"vectors: .*expected"):
        index.add(outside)
    with unchanged(index), pytest.raises(ValueError, match=r"queries: .*expected"):
        index.search(outside, 2)


def test_sign_takes_the_same_numbers_as_a_float_index():
    index = SIGN.new(3)
    index.add(np.array([[0.0, -0.0, 1e-45]], np.float32))
    assert index.get(0).tolist() == [0b00100000]
    for bad in (np.nan, np.inf, -np.inf):
        with unchanged(index), pytest.raises(ValueError, match=r"vectors: .*expected"):
            index.add(np.array([[0, 0, bad]], np.float32))


@pytest.mark.parametrize(
    "ids",
    [
        [4, 2, 9],
        (4, 2, 9),
        range(4, 13, 4),
        np.array([4, 2, 9], dtype=np.int8),
        np.array([4, 2, 9], dtype=np.uint16),
        np.array([4, 2, 9], dtype=">i8"),
        np.array([4, 2, 9], dtype=np.uint64),
        np.array([4, 0, 2, 0, 9, 0])[::2],
        [np.int64(4), np.int32(2), 9],
        array.array("q", [4, 2, 9]),
    ],
    ids=lambda ids: f"{type(ids).__name__}-{getattr(ids, 'dtype', '')}",
)
def test_ids_may_be_whole_numbers_of_any_type(ids, rng):
    plain = [int(i) for i in ids]
    rows = L2.rows(3, 5, rng)
    index = L2.new(5)
    assert index.add(rows, ids=ids).tolist() == plain
    np.testing.assert_array_equal(index.get(ids), rows)
    assert index.search(rows[0], 5, filter=ids).ids[:3].tolist()[0] == plain[0]
    index.update(ids, rows[::-1])
    index.upsert(ids, rows)
    assert index.remove(ids) == 3


def test_settings_may_be_whole_numbers_of_any_type(rng):
    index = nb.Index(np.int64(5), "l2")
    rows = L2.rows(30, 5, rng)
    index.add(rows, threads=np.int32(1))
    index.reserve(np.uint8(50))
    expected = answer(index.search(rows, 3))
    assert answer(index.search(rows, np.int64(3), threads=np.uint8(2))) == expected
    found = index.range_search(rows, np.float32(2), limit=np.int64(3))
    assert found.ids.tobytes() == index.range_search(rows, 2, limit=3).ids.tobytes()


def test_an_absurd_number_of_threads_starts_no_absurd_number_of_threads(rng):
    index, rows = L2.filled(100, 8)
    expected = answer(index.search(rows, 3))
    for threads in (1000, 10**6, 2**31, 2**62):
        try:
            found = index.search(rows, 3, threads=threads)
        except ValueError as error:
            assert str(error).startswith("threads: expected")  # noqa: PT017
        else:
            assert answer(found) == expected


def test_distances_of_found_rows_are_arrays_of_ones_own(rng):
    index, rows = L2.filled(20, 4)
    hits = index.search(rows, 3)
    assert hits.ids.flags.c_contiguous
    assert hits.distances.flags.c_contiguous
    hits.distances[:] = 0
    hits.ids[:] = 7
    assert index.search(rows, 1).ids[:, 0].tolist() == list(range(20))


class ArrayLike:
    """As a Series or a tensor: an array of its own kind, which also passes for a number."""

    def __init__(self, values):
        self.values = np.array(values)

    def __array__(self, dtype=None, copy=None):
        return self.values

    def __len__(self):
        return len(self.values)

    def __getitem__(self, i):
        return self.values[i]

    def __float__(self):
        raise TypeError

    __index__ = __int__ = __float__


def test_what_makes_an_array_of_itself_is_an_array_wherever_one_may_come(rng):
    index, rows = L2.filled(30, 6)
    radii = [1.0, 50.0, 3.5]
    expected = answer(index.search(rows[:3], 5, radius=radii, filter=[1, 2, 7]))
    found = index.search(
        ArrayLike(rows[:3]), 5, radius=ArrayLike(radii), filter=ArrayLike([1, 2, 7])
    )
    assert answer(found) == expected
    np.testing.assert_array_equal(index.get(ArrayLike([4, 2])), index.get([4, 2]))
    assert index.get(np.int64(4)).shape == (6,)
    assert index.remove(ArrayLike([4, 2])) == 2


def test_hits_are_a_pair(rng):
    index, rows = L2.filled(20, 4)
    hits = index.search(rows, 3)
    assert len(hits) == 2
    assert hits[0] is hits[-2] is hits.ids
    assert hits[1] is hits[-1] is hits.distances
    assert [a is b for a, b in zip(hits, (hits.ids, hits.distances), strict=True)] == [True, True]
    with pytest.raises(IndexError):
        hits[2]


def test_knn_takes_as_many_bits_as_an_index():
    base = np.zeros((3, 2**21), np.uint8)
    base[1, :1000] = base[2, -1] = 255
    hits = nb.knn(base[:1], base, 3, metric="hamming")
    assert hits.ids.tolist() == [[0, 2, 1]]
    assert hits.distances.tolist() == [[0, 8, 8000]]
    with pytest.raises(ValueError, match=r"base: expected 1 to 2097152 columns, got 2097160"):
        nb.knn(np.zeros((1, 2**21 + 8), np.uint8), np.zeros((1, 2**21 + 8), np.uint8), 1, "hamming")
    with pytest.raises(ValueError, match=r"base: expected 1 to 65536 columns, got 65537"):
        nb.knn(np.zeros((1, 65537)), np.zeros((1, 65537)), 1)
