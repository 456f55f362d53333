"""Answers and files don't depend on threads or on batch size, to the bit."""

from __future__ import annotations

import numpy as np
import pytest
from checks import answer, assert_same_hits
from kinds import KINDS

import nearbit as nb

BATCHES = (1, 5, 6, 7, 600)  # at most 512 queries go together


@pytest.fixture(scope="module", params=KINDS, ids=str)
def filled(request):
    kind = request.param
    rng = np.random.default_rng(20)
    dim = kind.dim(100)
    index = kind.new(dim)
    index.add(kind.rows(6000, dim, rng), ids=rng.permutation(6000))
    index.remove(np.arange(0, 6000, 5))
    return kind, index, kind.rows(600, dim, rng)


def in_batches(search, queries, size):
    """The joined answers of a search in batches of a size."""
    parts = [search(queries[at : at + size]) for at in range(0, len(queries), size)]
    return np.concatenate([p.ids for p in parts]), np.concatenate([p.distances for p in parts])


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("batch", BATCHES)
def test_search_gives_the_same_bytes_at_any_batch_size_and_thread_count(filled, batch, threads):
    _, index, queries = filled
    expected = index.search(queries, 10, threads=1)
    ids, distances = in_batches(
        lambda some: index.search(some, 10, threads=threads), queries, batch
    )
    assert ids.tobytes() == expected.ids.tobytes()
    assert distances.tobytes() == expected.distances.tobytes()


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("batch", [1, 6, 100])
def test_filtered_search_gives_the_same_bytes_too(filled, batch, threads):
    _, index, queries = filled
    chosen = index.filter(np.arange(0, 6000, 7))
    expected = index.search(queries[:100], 40, filter=chosen, threads=1)
    ids, distances = in_batches(
        lambda some: index.search(some, 40, filter=chosen, threads=threads), queries[:100], batch
    )
    assert ids.tobytes() == expected.ids.tobytes()
    assert distances.tobytes() == expected.distances.tobytes()


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_range_search_gives_the_same_bytes_at_any_batch_size_and_thread_count(filled, threads):
    _, index, queries = filled
    queries = queries[:60]
    radius = float(np.median(index.search(queries, 60).distances[:, -1]))
    expected = index.range_search(queries, radius, threads=1)
    assert len(expected.ids) > 0
    for batch in (1, 7, 60):
        parts = [
            index.range_search(queries[at : at + batch], radius, threads=threads)
            for at in range(0, 60, batch)
        ]
        assert b"".join(p.ids.tobytes() for p in parts) == expected.ids.tobytes()
        assert b"".join(p.distances.tobytes() for p in parts) == expected.distances.tobytes()


def test_a_default_thread_count_changes_no_byte(filled):
    _, index, queries = filled
    expected = answer(index.search(queries, 10))
    before = nb.simd_info()["threads"]
    try:
        for threads in (1, 2, 3):
            nb.set_threads(threads)
            assert answer(index.search(queries, 10)) == expected
    finally:
        nb.set_threads(before)


def test_repeating_a_query_repeats_its_answer(filled, rng):
    _, index, queries = filled
    order = rng.integers(0, 50, 300)
    once, often = index.search(queries[:50], 10), index.search(queries[order], 10)
    np.testing.assert_array_equal(often.ids, once.ids[order])
    np.testing.assert_array_equal(often.distances, once.distances[order])


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_the_same_calls_make_the_same_file_at_any_thread_count(kind, rng):
    rows = kind.rows(5000, 64, rng)
    made = []
    for threads in (1, 2, 5):
        index = kind.new(64)
        index.add(rows[:4000], threads=threads)
        index.remove(np.arange(100, 900, 3))
        index.add(rows[4000:], ids=np.arange(10_000, 11_000), threads=threads)
        index.update(np.arange(10_000, 10_050), rows[:50])
        index.compact()
        made.append(index.to_bytes())
    assert made[0] == made[1] == made[2]


def test_knn_gives_the_same_bytes_as_an_index(filled):
    kind, _, queries = filled
    if kind.codec not in ("float32", "bits"):  # knn takes no other
        return
    base = queries[:700]
    index = kind.new(kind.dim(100))
    index.add(base)
    for threads in (1, 2):
        found = nb.knn(queries, base, 9, kind.metric, threads=threads)
        assert_same_hits(found, index.search(queries, 9))


def hard_rows(kind):
    """Rows whose distances to 0.5 (in the first place) or 0 differ by less than sums can tell.

    The parts that decide are lost where terms are added one after the other, or underflow.
    """
    small = np.sqrt(np.float32(0.99 * 2.0**-24))
    far = np.zeros((2500, 1024), np.float32)
    far[:, 0] = 5
    many = np.full(1024, small, np.float32)
    many[0] = 0.5
    one = np.zeros(1024, np.float32)
    one[0] = 0.5 + 2.0**-20
    far[3], far[2000] = one, many
    query = np.zeros(1024, np.float32)
    query[0] = -0.5
    yield far, query
    tiny = np.full((2500, 1000), 1e-15, np.float32)
    tiny[3], tiny[2000] = 0, 2.6e-23  # whose squares are 0 each
    tiny[3, 0] = 3.74e-23
    yield tiny, np.zeros(1000, np.float32)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.codec == "float32"], ids=str)
def test_one_query_finds_what_a_batch_finds_where_rounding_decides(kind):
    for rows, query in hard_rows(kind):
        index = kind.new(rows.shape[1])
        index.add(rows)
        for k in (1, 2):
            one = index.search(query, k, threads=1)
            for batch in (2, 8, 100):
                many = index.search(np.tile(query, (batch, 1)), k, threads=1)
                assert answer(many) == (one.ids.tobytes() * batch, one.distances.tobytes() * batch)
            radius = float(one.distances[-1])
            found = index.range_search(query, radius).ids
            both = index.range_search(np.stack([query, query]), radius).ids
            assert both.tolist() == found.tolist() * 2
