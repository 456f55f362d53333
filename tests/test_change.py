"""Adding, removing, replacing: what an index holds after each; a failure changes nothing."""

from __future__ import annotations

import copy
import time

import numpy as np
import pytest
from checks import assert_hits, next_id, unchanged
from kinds import FLOAT_KINDS, KINDS, L2

import nearbit as nb


@pytest.fixture(params=KINDS, ids=str)
def kind(request):
    return request.param


def assert_holds(index, kind, rows_by_id):
    """The index holds exactly these rows: by every way of asking."""
    ids = np.array(sorted(rows_by_id), dtype=np.int64)
    assert len(index) == len(ids)
    assert index.ids.dtype == np.int64
    np.testing.assert_array_equal(index.ids, ids)
    if len(ids) == 0:
        return
    rows = np.array([rows_by_id[i] for i in ids.tolist()])
    np.testing.assert_array_equal(index.get(ids), kind.stored(rows))
    assert all(i in index for i in ids.tolist())
    assert int(ids[-1]) + 1 not in index
    assert_hits(index.search(rows[:20], 12), kind, rows[:20], rows, ids, k=12)


def test_add_gives_ids_in_order_and_returns_them(kind, rng):
    index = kind.new(16)
    rows = kind.rows(70, 16, rng)
    first = index.add(rows[:50])
    assert first.dtype == np.int64
    np.testing.assert_array_equal(first, np.arange(50))
    np.testing.assert_array_equal(index.add(rows[50:]), np.arange(50, 70))
    assert_holds(index, kind, dict(enumerate(rows)))


def test_add_takes_ids_of_ones_own(kind, rng):
    index = kind.new(16)
    rows = kind.rows(60, 16, rng)
    ids = rng.permutation(10**6)[:60]
    np.testing.assert_array_equal(index.add(rows[:40], ids=ids[:40]), ids[:40])
    for i in range(40, 60):
        assert index.add(rows[i], ids=ids[i]).tolist() == [ids[i]]
    assert_holds(index, kind, dict(zip(ids.tolist(), rows, strict=True)))


def test_automatic_ids_go_on_from_the_largest_ever_used(rng):
    rows = L2.rows(3, 4, rng)
    index = L2.new(4)
    assert index.add(rows, ids=[5, 100, 7]).tolist() == [5, 100, 7]
    assert index.add(rows[:1]).tolist() == [101]
    index.remove([101, 100])
    assert index.add(rows[:1]).tolist() == [102]
    index.upsert([200], rows[:1])
    index.remove([200])
    index.compact()
    assert next_id(index) == 201
    assert next_id(index.copy()) == 201
    assert next_id(nb.Index.from_bytes(index.to_bytes())) == 201
    index.remove(index.ids)
    assert len(index) == 0
    assert index.add(rows[:2]).tolist() == [201, 202]


def test_ids_end_at_the_largest_int64(rng):
    rows = L2.rows(2, 4, rng)
    index = L2.new(4)
    top = 2**63 - 1
    assert index.add(rows[:1], ids=[top]).tolist() == [top]
    assert top in index
    before = index.to_bytes()
    with pytest.raises(ValueError, match="id"):
        index.add(rows[1:])
    assert index.to_bytes() == before
    assert index.search(rows[:1], 1).ids[0, 0] == top
    index.add(rows[1:], ids=[0])
    assert index.ids.tolist() == [0, top]


def test_remove_takes_rows_out_and_counts_them(kind, rng):
    index, rows = kind.filled(300, 16)
    held = dict(enumerate(rows))
    for gone in (rng.permutation(300)[:100], [int(i) for i in range(200, 210)], 299):
        ids = np.atleast_1d(gone)
        ids = ids[[int(i) in held for i in ids]]
        if np.ndim(gone) == 0 and len(ids) == 0:
            continue
        assert index.remove(gone if np.ndim(gone) == 0 else ids) == len(ids)
        for i in ids.tolist():
            del held[i]
            assert i not in index
        assert_holds(index, kind, held)


def test_remove_of_unknown_ids_raises_or_is_ignored(kind):
    index, rows = kind.filled(20, 16)
    with unchanged(index), pytest.raises(KeyError, match="20"):
        index.remove([3, 20, 4])
    assert index.remove([3, 20, 4], missing="ignore") == 2
    with unchanged(index):
        assert index.remove([3, 20, 4], missing="ignore") == 0
        assert index.remove(np.empty(0, np.int64)) == 0
    assert_holds(index, kind, {i: r for i, r in enumerate(rows) if i not in (3, 4)})


def test_removed_ids_can_be_used_again(kind, rng):
    index, rows = kind.filled(50, 16)
    fresh = kind.rows(50, 16, rng)
    held = dict(enumerate(rows))
    for turn in range(10):
        ids = rng.permutation(50)[: 5 + turn]
        index.remove(ids)
        index.add(fresh[ids], ids=ids)
        held.update(zip(ids.tolist(), fresh[ids], strict=True))
        assert_holds(index, kind, held)


def test_a_removed_row_can_be_added_back_under_its_id_many_times():
    """Places are used again: an index that changes all day doesn't grow."""
    index, rows = L2.filled(1000, 64)
    sizes = set()
    for _ in range(30):
        index.remove(np.arange(1000))
        index.add(rows, ids=np.arange(1000))
        sizes.add(index.nbytes)
    assert max(sizes) < 4 * rows.nbytes


def test_update_replaces_known_rows_and_nothing_else(kind, rng):
    index, rows = kind.filled(100, 16)
    held = dict(enumerate(rows))
    fresh = kind.rows(30, 16, rng)
    ids = rng.permutation(100)[:30]
    assert index.update(ids, fresh) is None
    held.update(zip(ids.tolist(), fresh, strict=True))
    assert_holds(index, kind, held)
    with unchanged(index), pytest.raises(KeyError, match="100"):
        index.update([1, 2, 100], fresh[:3])
    index.update(7, fresh[0])
    held[7] = fresh[0]
    assert_holds(index, kind, held)


def test_upsert_replaces_or_adds(kind, rng):
    index, rows = kind.filled(50, 16)
    held = dict(enumerate(rows))
    fresh = kind.rows(40, 16, rng)
    ids = rng.permutation(90)[:40]
    assert index.upsert(ids, fresh) is None
    held.update(zip(ids.tolist(), fresh, strict=True))
    assert_holds(index, kind, held)
    index.upsert(500, fresh[0])
    held[500] = fresh[0]
    assert_holds(index, kind, held)
    assert next_id(index) == 501


def test_get_gives_back_what_was_added_exactly(kind, rng):
    rows = kind.rows(40, 24, rng)
    if kind.codec == "float32":
        rows *= np.float32(10) ** rng.integers(-20, 10, rows.shape).astype(np.float32)
        rows[3] = 0
        rows[4, 0] = -0.0
    index = kind.new(24)
    ids = index.add(rows, ids=rng.permutation(100)[:40])
    assert index.get(ids).tobytes() == kind.stored(rows).tobytes()
    assert index.get(ids).dtype == kind.stored(rows).dtype
    one = index.get(int(ids[5]))
    assert one.shape == kind.stored(rows)[5].shape
    np.testing.assert_array_equal(one, kind.stored(rows)[5])
    assert index.get([]).shape == (0, kind.stored(rows).shape[1])
    np.testing.assert_array_equal(index.get(ids[::-1]), kind.stored(rows)[::-1])
    with pytest.raises(KeyError, match="100"):
        index.get([int(ids[0]), 100])


def test_what_get_and_ids_return_is_the_callers_own(kind):
    index, _ = kind.filled(10, 16)
    with unchanged(index):
        for array in (index.get([1, 2]), index.get(3), index.ids):
            if array.flags.writeable:
                array[...] = 77


def test_the_index_keeps_nothing_of_the_arrays_given(kind, rng):
    rows, ids = kind.rows(10, 16, rng), np.arange(10) * 3
    index = kind.new(16)
    index.add(rows, ids=ids)
    with unchanged(index):
        rows[...] = 1
        ids[...] = 1


def test_contains_asks_for_ids_that_may_be_anything_whole(kind):
    index, _ = kind.filled(5, 16)
    assert 4 in index
    assert np.int64(4) in index
    assert np.uint8(4) in index
    assert 5 not in index
    assert -1 not in index
    assert 2**63 not in index


def test_reserve_changes_no_answer(kind, rng):
    index, rows = kind.filled(30, 16)
    with unchanged(index):
        index.reserve(1000)
        index.reserve(0)
        index.reserve(10)
    more = kind.rows(500, 16, rng)
    index.add(more)
    assert_holds(index, kind, dict(enumerate(np.concatenate([rows, more]))))


def test_compact_gives_memory_back_and_changes_no_answer(kind, rng):
    index, rows = kind.filled(4000, 128)
    gone = rng.permutation(4000)[:3900]
    index.remove(gone)
    held = {i: r for i, r in enumerate(rows) if i not in set(gone.tolist())}
    queries = kind.rows(30, 128, rng)
    before, size = index.search(queries, 50), index.nbytes
    index.compact()
    after = index.search(queries, 50)
    np.testing.assert_array_equal(after.ids, before.ids)
    np.testing.assert_array_equal(after.distances, before.distances)
    assert index.nbytes <= size
    assert index.stats()["slots"] < 4000
    assert_holds(index, kind, held)
    index.remove(index.ids)
    index.compact()
    assert_holds(index, kind, {})
    index.add(rows, ids=np.arange(4000))
    assert_holds(index, kind, dict(enumerate(rows)))


def test_nbytes_says_what_the_rows_take(kind):
    small, _ = kind.filled(100, 64)
    large, many = kind.filled(40_000, 64)
    assert large.nbytes >= kind.stored_bytes(many)
    assert large.nbytes < 2 * kind.stored_bytes(many) + 40_000 * 32 + (1 << 20)
    assert small.nbytes <= large.nbytes


def test_stats_is_a_dict_of_plain_figures(kind):
    index, _ = kind.filled(100, 16)
    index.remove([1, 2])
    stats = index.stats()
    assert isinstance(stats, dict)
    assert stats
    assert all(isinstance(name, str) for name in stats)
    stats.clear()
    assert index.stats()


def test_copies_live_on_their_own(kind, rng):
    index, rows = kind.filled(60, 16)
    for duplicate in (index.copy(), copy.copy(index), copy.deepcopy(index)):
        assert duplicate.to_bytes() == index.to_bytes()
        with unchanged(index):
            duplicate.remove([0, 1, 2])
            duplicate.add(kind.rows(10, 16, rng))
            duplicate.update([5], rows[:1])
        assert_holds(index, kind, dict(enumerate(rows)))
        assert len(duplicate) == 67


def test_add_in_pieces_of_any_size_answers_alike(kind, rng):
    dim = kind.dim(20)
    rows, queries = kind.rows(3000, dim, rng), kind.rows(9, dim, rng)
    whole = kind.new(dim)
    whole.add(rows)
    pieces = kind.new(dim)
    at = 0
    while at < len(rows):
        n = int(rng.choice([0, 1, 2, 7, 64, 500]))
        pieces.add(rows[at : at + n])
        at += n
    np.testing.assert_array_equal(pieces.ids, whole.ids)
    a, b = whole.search(queries, 30), pieces.search(queries, 30)
    np.testing.assert_array_equal(a.ids, b.ids)
    np.testing.assert_array_equal(a.distances, b.distances)


def test_a_long_life_of_changes_agrees_with_a_plain_dict(kind, rng):
    dim = 64
    index = kind.new(dim)
    held = {}
    for turn in range(60):
        action = rng.choice(
            ["add", "remove", "update", "upsert", "compact"], p=[0.4, 0.3, 0.15, 0.1, 0.05]
        )
        known = np.array(sorted(held), dtype=np.int64)
        n = int(rng.integers(1, 80))
        fresh = kind.rows(n, dim, rng)
        some = rng.permutation(known)[:n]
        if action == "add":
            ids = index.add(fresh)
            held.update(zip(ids.tolist(), fresh, strict=True))
        elif action == "remove":
            index.remove(some)
            for i in some.tolist():
                del held[i]
        elif action == "update":
            index.update(some, fresh[: len(some)])
            held.update(zip(some.tolist(), fresh, strict=False))
        elif action == "upsert":
            ids = rng.permutation(3000)[:n]
            index.upsert(ids, fresh)
            held.update(zip(ids.tolist(), fresh, strict=True))
        else:
            index.compact()
        if turn % 6 == 5:
            assert_holds(index, kind, held)


def bad_last_row(kind, rows):
    """Calls whose last row or id is the bad one, so that all the others went well before."""
    ids = np.arange(1000, 1000 + len(rows))
    twice, negative = ids.copy(), ids.copy()
    twice[-1], negative[-1] = ids[0], -1
    yield "duplicate", lambda index: index.add(rows, ids=twice)
    yield "negative", lambda index: index.add(rows, ids=negative)
    yield "present", lambda index: index.add(rows, ids=np.append(ids[:-1], 3))
    yield "upsert twice", lambda index: index.upsert(twice, rows)
    yield "update unknown", lambda index: index.update(np.append(np.arange(4999), 9999), rows)
    yield "update twice", lambda index: index.update(np.append(np.arange(4999), 0), rows)
    yield "remove unknown", lambda index: index.remove(np.append(np.arange(4999), 9999))
    if not kind.takes_floats:
        return
    for name, value in (("nan", np.nan), ("inf", np.inf)):
        bad = rows.copy()
        bad[-1, -1] = value
        yield name, lambda index, bad=bad: index.add(bad)
        yield f"update {name}", lambda index, bad=bad: index.update(np.arange(5000), bad)
        yield f"upsert {name}", lambda index, bad=bad: index.upsert(ids, bad)


def test_a_call_that_fails_at_its_last_row_changes_nothing(kind, rng):
    index, _ = kind.filled(5000, 16)
    rows = kind.rows(5000, 16, rng)
    for name, call in bad_last_row(kind, rows):
        with unchanged(index):
            try:
                call(index)
            except (ValueError, KeyError):
                continue
            pytest.fail(f"{name} was accepted")
    held = index.get(index.ids)
    np.testing.assert_array_equal(index.search(rows[:3], 5).ids >= 0, True)
    np.testing.assert_array_equal(index.get(index.ids), held)


def test_removing_one_by_one_takes_no_longer_the_more_are_gone():
    index = nb.Index(1, "l2")
    n = 80_000
    index.add(np.zeros((n, 1), np.float32))
    began = time.process_time()
    for i in range(n):
        index.remove(i)
    assert time.process_time() - began < 5  # a quarter of a second; it was 22
    assert len(index) == 0


def test_more_rows_than_an_index_holds_are_refused_before_their_ids_take_memory():
    index = nb.Index(1, "l2")
    rows = np.broadcast_to(np.zeros((1, 1), np.float32), (2**33, 1))
    with pytest.raises(ValueError, match="at most 4294967295 rows"):
        index.add(rows)
    assert len(index) == 0


@pytest.mark.parametrize("kind", FLOAT_KINDS, ids=str)
def test_add_all_at_once_or_not_at_all_when_memory_runs_out(kind):
    index, rows = kind.filled(10, 8)
    with unchanged(index), pytest.raises((MemoryError, ValueError)):
        index.reserve(2**62)
    assert index.search(rows, 1).counts.tolist() == [1] * 10
