"""Properties of answers over shapes, dtypes, strides and values that hypothesis thinks of."""

from __future__ import annotations

import re

import numpy as np
import pytest
from checks import answer, assert_hits, assert_range, assert_same_hits, unchanged
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from kinds import BITS, FLOAT_KINDS, KINDS, L2

import nearbit as nb

DIMS = st.integers(1, 70)
SIZES = st.integers(0, 150)
FLOATS = st.floats(-1e6, 1e6, width=32)
FLOAT_DTYPES = st.sampled_from(["<f4", ">f4", "<f8", ">f8", "<f2"])


def float_rows(n, dim, elements=FLOATS, dtype=np.float32):
    return hnp.arrays(dtype, (n, dim), elements=elements, fill=st.nothing())


@st.composite
def views(draw, n, dim, dtype):
    """An (n, dim) view with drawn steps, order and direction into a larger array."""
    steps = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    flips = draw(st.tuples(st.booleans(), st.booleans()))
    order = draw(st.sampled_from("CF"))
    seed = draw(st.integers(0, 2**32 - 1))
    room = np.zeros((n * steps[0], dim * steps[1]), dtype=dtype, order=order)
    room[...] = np.random.default_rng(seed).integers(-8, 9, room.shape)
    view = room[:: steps[0], :: steps[1]]
    return view[:: -1 if flips[0] else 1, :: -1 if flips[1] else 1]


@pytest.mark.parametrize("kind", FLOAT_KINDS, ids=str)
@given(data=st.data(), n=SIZES, nq=st.integers(0, 20), dim=DIMS, k=st.integers(1, 200))
def test_search_is_exact_for_any_shape(kind, data, n, nq, dim, k):
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    rows, queries = kind.rows(n, dim, rng), kind.rows(nq, dim, rng)
    index = kind.new(dim)
    index.add(rows)
    assert_hits(index.search(queries, k), kind, queries, rows, k=k)


@given(data=st.data(), n=SIZES, nq=st.integers(0, 20), width=st.integers(1, 140))
def test_search_of_bits_is_exact_for_any_shape(data, n, nq, width):
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    rows, queries = BITS.rows(n, 8 * width, rng), BITS.rows(nq, 8 * width, rng)
    index = BITS.new(8 * width)
    index.add(rows)
    assert_hits(index.search(queries, 20), BITS, queries, rows, k=20)
    radius = data.draw(st.integers(0, 8 * width))
    assert_range(index.range_search(queries, radius), BITS, queries, rows, radius=radius)


@pytest.mark.parametrize("kind", FLOAT_KINDS, ids=str)
@given(data=st.data())
def test_search_is_exact_for_any_values(kind, data):
    dim = data.draw(st.integers(1, 12))
    rows = data.draw(float_rows(data.draw(st.integers(1, 12)), dim))
    queries = data.draw(float_rows(data.draw(st.integers(1, 4)), dim))
    # Squares of what is smaller are below float32's normal numbers: nothing is promised of their
    # digits.
    rows[np.abs(rows) < 1e-12] = 0
    queries[np.abs(queries) < 1e-12] = 0
    index = kind.new(dim)
    ids = index.add(rows)
    assert index.get(ids).tobytes() == rows.tobytes()
    assert_hits(index.search(queries, 20), kind, queries, rows, k=20)


@given(data=st.data(), dtype=FLOAT_DTYPES, n=st.integers(1, 40), dim=DIMS)
def test_any_float_view_is_read_as_its_plain_copy(data, dtype, n, dim):
    view = data.draw(views(n, dim, dtype))
    plain = np.ascontiguousarray(view).astype(np.float32)
    strange, straight = L2.new(dim), L2.new(dim)
    strange.add(view)
    straight.add(plain)
    assert strange.to_bytes() == straight.to_bytes()
    assert answer(strange.search(view, 3)) == answer(straight.search(plain, 3))


@given(data=st.data(), n=st.integers(1, 40), width=st.integers(1, 20))
def test_any_view_of_bytes_is_read_as_its_plain_copy(data, n, width):
    view = data.draw(views(n, width, np.int8)).view(np.uint8)
    plain = np.ascontiguousarray(view)
    strange, straight = BITS.new(8 * width), BITS.new(8 * width)
    strange.add(view)
    straight.add(plain)
    assert strange.to_bytes() == straight.to_bytes()
    assert answer(strange.search(view, 3)) == answer(straight.search(plain, 3))


@pytest.mark.parametrize("kind", KINDS, ids=str)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 300), cuts=st.lists(st.integers(0, 299)))
def test_batches_answer_as_single_queries_and_order_of_rows_is_nothing(kind, seed, n, cuts):
    rng = np.random.default_rng(seed)
    rows, queries = kind.whole_rows(n, 24, rng), kind.whole_rows(7, 24, rng)
    order = rng.permutation(n)
    whole, pieces = kind.new(24), kind.new(24)
    whole.add(rows)
    for own in np.split(order, sorted(cut for cut in set(cuts) if cut < n)):
        pieces.add(rows[own], ids=own)
    hits = whole.search(queries, 12)
    assert_same_hits(pieces.search(queries, 12), hits)
    for i, query in enumerate(queries):
        assert answer(whole.search(query, 12)) == (
            hits.ids[i].tobytes(),
            hits.distances[i].tobytes(),
        )


@given(
    bad=hnp.arrays(
        st.one_of(
            hnp.floating_dtypes(sizes=(32, 64)),
            hnp.integer_dtypes(),
            hnp.complex_number_dtypes(),
            hnp.boolean_dtypes(),
            hnp.unicode_string_dtypes(max_len=3),
            hnp.datetime64_dtypes(),
        ),
        hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=6),
    )
)
def test_any_array_is_taken_or_refused_with_a_reason(bad):
    """Never a crash, never an error of another type, never half of a change."""
    for kind in KINDS:
        take_or_refuse(kind, bad)


def take_or_refuse(kind, given):
    index, rows = kind.filled(5, 32 if kind.codec == "bits" else 4)
    for call in (
        lambda: index.search(given, 3),
        lambda: index.range_search(given, 1.0),
        lambda: nb.knn(given, given, 3, kind.metric),
        lambda: index.search(rows, 3, filter=given),
    ):
        with unchanged(index):
            try:
                call()
            except (TypeError, ValueError) as error:
                assert re.match(r"\w+: .*expected .*, got ", str(error))  # noqa: PT017
    before = index.to_bytes()
    try:
        ids = index.add(given)
    except (TypeError, ValueError) as error:
        assert re.match(r"vectors: .*expected .*, got ", str(error))  # noqa: PT017
        assert index.to_bytes() == before
    else:
        assert ids.tolist() == list(range(5, 5 + len(ids)))
        assert len(index) == 5 + len(ids)
