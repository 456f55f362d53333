"""Finer copies: the best by estimate, ranked by the finer distance, whatever happened before."""

from __future__ import annotations

import math
import pickle
import threading

import numpy as np
import pytest
import reference
from checks import answer, assert_hits, row_of, unchanged
from container import check, finer, sections
from kinds import Kind
from test_compact import clustered, opened, residuals, unit
from test_files import damage, flips

import nearbit as nb

REFINES = {"float32": nb.Float32(), "float16": nb.Float16(), "sq8": nb.SQ(8)}
CODECS = {"rabitq": nb.RaBitQ(1), "rabitq4": nb.RaBitQ(4), "sq": nb.SQ(4), "pq": nb.PQ(8)}
DIM = 24


class Trio:
    """An index with refine, and what it should be equal to: its codes and its finer copies alone.

    All three live through the same calls, so they train on the same sample.
    """

    def __init__(self, codec="pq", metric="l2", refine="float16", seed=0):
        self.index = nb.Index(DIM, metric, codec=CODECS[codec], refine=refine, seed=seed)
        self.codes = nb.Index(DIM, metric, codec=CODECS[codec], seed=seed)
        self.fine = nb.Index(DIM, metric, codec=REFINES[refine], seed=seed)

    def all(self, name, *args, **rest):
        for one in (self.index, self.codes, self.fine):
            getattr(one, name)(*args, **rest)

    def lived_in(self, rng):
        """Rows added, updated, replaced and removed, in slots that were used before."""
        self.all("add", clustered(1300, DIM, rng), ids=rng.permutation(4000)[:1300])
        ids = self.index.ids
        self.all("remove", ids[::5])
        self.all("add", clustered(150, DIM, rng))
        ids = self.index.ids
        self.all("update", ids[::9], clustered(len(ids[::9]), DIM, rng))
        self.all("upsert", [*ids[:40], *range(9000, 9400)], clustered(440, DIM, rng))
        self.all("remove", [9003, 9300])
        return self

    def expected(self, queries, k, factor=10, filter=None):
        """(ids, distances) of the best by the finer distance of the best by the estimate."""
        n = len(self.fine)
        chosen = self.codes.search(queries, math.ceil(k * factor), filter=filter).ids
        every = self.fine.search(queries, n)
        found = []
        for i in range(len(queries)):
            at = np.argsort(every.ids[i])
            real = chosen[i][chosen[i] >= 0]
            mine = every.distances[i][at][np.searchsorted(every.ids[i][at], real)]
            best = np.lexsort((real, mine))[:k]
            rest = k - len(best)
            found.append(
                (np.append(real[best], [-1] * rest), np.append(mine[best], rest * [np.inf]))
            )
        ids, distances = zip(*found, strict=True)
        return np.array(ids, np.int64), np.array(distances, np.float32)

    def check(self, queries, k=10, factor=10, filter=None):
        hits = self.index.search(queries, k, refine_factor=factor, filter=filter)
        ids, distances = self.expected(queries, k, factor, filter)
        np.testing.assert_array_equal(hits.ids, ids)
        np.testing.assert_array_equal(hits.distances, distances)
        some = hits.ids[0, :5]
        np.testing.assert_array_equal(self.index.get(some), self.fine.get(some))


@pytest.mark.parametrize("refine", ["float32", "float16"])
@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("metric", reference.FLOAT_METRICS)
def test_candidates_are_ranked_by_what_numpy_says_of_the_finer_copy(metric, codec, refine, rng):
    trio = Trio(codec, metric, refine)
    rows, queries = clustered(1500, DIM, rng), clustered(12, DIM, rng)
    ids = rng.permutation(3000)[:1500]
    trio.all("add", rows, ids=ids)
    hits = trio.index.search(queries, 6, refine_factor=4)
    allowed = list(trio.codes.search(queries, 24).ids)
    assert_hits(hits, Kind(refine, metric), queries, rows, ids=ids, k=6, allowed=allowed)


@pytest.mark.parametrize("refine", REFINES)
@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("metric", reference.FLOAT_METRICS)
def test_an_index_that_lived_answers_as_its_codes_and_finer_copies_say(metric, codec, refine, rng):
    trio = Trio(codec, metric, refine).lived_in(rng)
    queries = clustered(8, DIM, rng)
    for k, factor in ((10, 10), (1, 1), (7, 1.5), (3, 400)):
        trio.check(queries, k, factor)
    some = trio.index.ids[::3]
    trio.check(queries, 5, 4, filter=some)
    trio.check(queries, 5, 4, filter=trio.index.filter(some[:8]))
    trio.index.compact()
    trio.check(queries)
    trio.all("add", clustered(40, DIM, rng))
    trio.check(queries)
    trio.index = trio.index.copy()
    trio.check(queries)


def test_equal_rows_rank_by_id_also_among_candidates(rng):
    rows = np.repeat(clustered(8, DIM, rng), 200, axis=0)
    for codec in CODECS:
        trio = Trio(codec, "l2", "sq8")
        trio.all("add", rows, ids=rng.permutation(1600))
        hits = trio.index.search(rows[::200], 5, refine_factor=2)
        for i in range(8):
            same = trio.fine.range_search(rows[200 * i], hits.distances[i, 0]).ids
            np.testing.assert_array_equal(hits.ids[i], np.sort(same)[:5])


def test_equal_distances_of_unequal_rows_rank_by_id(rng):
    trio = Trio("sq", "l2", "float32")
    rows = rng.integers(-1, 2, (1500, DIM)).astype(np.float32)
    trio.all("add", rows, ids=rng.permutation(1500))
    every = trio.fine.search(rows[:20], 20).distances
    assert (np.diff(every) == 0).sum() > 100
    trio.check(rows[:20], 10, 20)


def test_the_bytes_of_finer_copies_are_counted(rng):
    for refine, row_bytes in (("float32", 4 * DIM + 4), ("float16", 2 * DIM + 4), ("sq8", DIM + 4)):
        trio = Trio("pq", "l2", refine)
        trio.all("add", clustered(1100, DIM, rng))
        stats, plain = trio.index.stats(), trio.codes.stats()
        assert stats == plain | {"refine_bytes": 1100 * row_bytes}
        assert plain["refine_bytes"] == 0
        assert trio.index.nbytes == trio.codes.nbytes + 1100 * row_bytes
        assert trio.index.refine == REFINES[refine]
        assert f", refine={REFINES[refine]!r}) with" in repr(trio.index)
        assert nb.Index(DIM, "l2", codec=nb.PQ(8), refine=REFINES[refine]).refine == REFINES[refine]
        assert trio.codes.refine is None
        assert "refine" not in repr(trio.codes)


@pytest.mark.parametrize("how", ["add", "upsert", "train"])
@pytest.mark.parametrize("refine", REFINES)
def test_there_is_no_finer_copy_until_training(refine, how, rng):
    rows, queries = clustered(1400, DIM, rng), clustered(5, DIM, rng)
    trio = Trio("rabitq", "cosine", refine, seed=5)
    trio.all("add", rows[:500])
    assert trio.index.stats()["refine_bytes"] == 0
    np.testing.assert_array_equal(trio.index.get(np.arange(500)), rows[:500])
    exact = nb.knn(queries, rows[:500], 9)
    assert answer(trio.index.search(queries, 9, refine_factor=3)) == answer(exact)
    trio.index = nb.Index.from_bytes(trio.index.to_bytes())
    assert trio.index.refine == REFINES[refine]
    if how == "train":
        trio.all("train", clustered(1024, DIM, rng))
    else:
        trio.all(how, rows[400:], ids=np.arange(900, 1900)) if how == "add" else trio.all(
            how, np.arange(400, 1400), rows[400:]
        )
    assert trio.index.stats()["refine_bytes"] > 0
    trio.check(queries)


def test_what_halves_cannot_hold_is_refused_at_once_and_changes_nothing(rng):
    index = nb.Index(DIM, "l2", codec=nb.RaBitQ(2), refine="float16")
    index.add(clustered(30, DIM, rng))
    bad = clustered(3, DIM, rng)
    bad[2, 5] = 70_000
    for _ in range(2):  # as floats, then trained
        for call in (
            lambda: index.add(bad),
            lambda: index.update([1, 2, 3], bad),
            lambda: index.upsert([1, 2, 7000], bad),
            lambda: index.upsert([7000, 7001, 1], bad),
        ):
            with unchanged(index), pytest.raises(ValueError, match=r"^vectors: .*row 2, dim.* 5"):
                call()
        index.add(clustered(1100, DIM, rng))


def test_a_factor_says_how_many_rows_are_read(rng):
    trio = Trio("pq", "ip", "float16")
    trio.all("add", clustered(1200, DIM, rng))
    queries = clustered(4, DIM, rng)
    for k, factor, n in (
        (10, None, 100),
        (7, 1.01, 8),
        (3, 1, 3),
        (3, 1e300, 1200),
        (2000, 1, 1200),
    ):
        hits = trio.index.search(queries, k, refine_factor=factor, stats=True)
        assert (hits.stats["refined"] == n).all()
        assert (hits.stats["distances"] == 1200).all()
        assert (hits.stats["candidates"] >= min(n, 1200)).all()
        assert (hits.stats["candidates"] <= 1200).all()
        assert (hits.counts == min(k, n)).all()
    every = trio.index.search(queries, 40, refine_factor=1e9)
    assert answer(every) == answer(trio.fine.search(queries, 40))
    one = trio.index.search(queries[0], 65_536, refine_factor=2.5)
    assert answer(one) == answer(trio.fine.search(queries[0], 65_536))
    plain = trio.codes.search(queries, 10, stats=True)
    assert (plain.stats["refined"] == 0).all()
    assert (plain.stats["candidates"] < 1200).all()
    exact = trio.fine.search(queries, 10, stats=True)
    np.testing.assert_array_equal(exact.stats["candidates"], exact.stats["distances"])


def test_the_known_error_of_a_rotated_code_spares_reads_and_costs_no_answer(rng):
    trio = Trio("rabitq4", "l2", "float32")
    rows, queries = clustered(4000, DIM, rng), clustered(60, DIM, rng)
    trio.all("add", rows)
    trio.check(queries, 10, 20)
    refined = trio.index.search(queries, 10, refine_factor=20, stats=True).stats["refined"]
    assert refined.mean() < 120
    assert refined.min() >= 10
    single = trio.index.search(queries[7], 10, refine_factor=20, stats=True).stats["refined"]
    assert single == refined[7]


@pytest.mark.parametrize("metric", reference.FLOAT_METRICS)
def test_the_error_that_training_finds_is_that_of_the_codes(metric, rng):
    rows = clustered(2000, DIM, rng)
    index = nb.Index(DIM, metric=metric, codec=nb.SQ(4))
    index.add(rows)
    codes, learned = opened(index)
    scales, _, levels = learned.factors(codes)
    r, y = residuals(learned, rows), learned.values(levels)
    squared = (r**2).sum(axis=1)
    longest = np.sqrt(squared.max())
    if metric == "ip":  # directions are coded
        scales = scales / np.linalg.norm(rows, axis=1)
        longest = np.linalg.norm(rows, axis=1).max()
    off = ((r - scales[:, None] * y) ** 2).sum(axis=1) / squared
    bias = max(0, 1 - (scales * (r * y).sum(axis=1) / squared).mean())
    want = longest * (np.sqrt(off.mean() / (DIM - 1)) + bias / 3)
    assert abs(learned.error / want - 1) < 0.03


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("metric", reference.FLOAT_METRICS)
def test_few_estimates_are_off_by_more_than_the_bound(metric, bits, rng):
    """A search stops reading finer copies four of these deviations away."""
    rows, queries = clustered(3000, 48, rng), clustered(100, 48, rng)
    index = nb.Index(48, metric=metric, codec=nb.RaBitQ(bits))
    index.add(rows)
    _, learned = opened(index)
    z = {"l2": 2 * (queries - learned.mean), "ip": queries, "cosine": unit(queries)}[metric]
    deviations = learned.error * np.linalg.norm(z, axis=1, keepdims=True)
    hits = index.search(queries, 3000)
    estimates = np.take_along_axis(hits.distances, np.argsort(hits.ids, axis=1), axis=1)
    off = (estimates - reference.distances(metric, queries, rows)) / deviations
    assert 0.5 < off.std() < 1  # of the longest rows, so of most of them less
    assert (np.abs(off) > 4).mean() < 5e-4


@pytest.mark.parametrize("metric", reference.FLOAT_METRICS)
@pytest.mark.parametrize("codec", [nb.RaBitQ(1), nb.RaBitQ(4), nb.PQ(16)], ids=repr)
def test_rows_unlike_the_sample_are_found_all_the_same(codec, metric, rng):
    """Where all rows are candidates, none may be left unread for a bound that isn't theirs."""
    like = rng.standard_normal((1500, DIM), dtype=np.float32)
    index = nb.Index(DIM, metric, codec=codec, refine="float32")
    assert index.stats()["stretch"] == 0
    index.add(like)
    assert 0.7 < index.stats()["stretch"] < 1.7
    before = index.to_bytes()
    bad = np.full((3, DIM), 1e6, np.float32)
    bad[-1, -1] = np.nan
    with pytest.raises(ValueError, match="vectors"):
        index.add(bad)
    assert index.to_bytes() == before
    unlike = rng.standard_normal((1500, DIM), dtype=np.float32) * 5 + 3
    index.add(unlike[:1000])
    index.upsert(np.arange(2000, 3000), unlike[500:])
    if metric != "cosine":  # where all rows have a length of 1
        assert index.stats()["stretch"] > 3
    rows, queries = index.get(index.ids), unlike[::30]
    plain = nb.Index(DIM, metric)
    plain.add(rows)
    for one in (index, nb.Index.from_bytes(index.to_bytes()), index.copy()):
        hits = one.search(queries, 10, refine_factor=len(rows) / 10)
        exact = plain.search(queries, 10)
        np.testing.assert_allclose(hits.distances, exact.distances, rtol=1e-4, atol=1e-5)
        radius = exact.distances[:, 5]
        found = one.range_search(queries, radius)
        assert (np.diff(found.indptr) >= 5).mean() >= 0.99


def test_rows_that_come_in_order_of_their_lengths_are_like_the_sample(rng):
    """The sample is of all rows, and so are the factors that are learned from a part of it."""
    rows = rng.standard_normal((20_000, DIM), dtype=np.float32)
    rows *= np.linspace(1, 10, len(rows), dtype=np.float32)[:, None]
    index = nb.Index(DIM, "l2", codec=nb.SQ(8))
    index.add(rows)
    assert index.stats()["stretch"] < 1.3
    queries = rows[::200]
    plain = nb.Index(DIM, "l2")
    plain.add(rows)
    assert nb.metrics.recall(index.search(queries, 10), plain.search(queries, 10)) > 0.9


def test_a_range_is_whole_beside_one_row_that_is_far_longer(rng):
    rows = rng.standard_normal((5000, DIM), dtype=np.float32)
    rows[-1] *= 1000
    index, plain = nb.Index(DIM, "l2", codec=nb.SQ(4), refine="float32"), nb.Index(DIM, "l2")
    for part in (rows[:-1], rows[-1:]):
        index.add(part)
        plain.add(part)
    radii = plain.search(rows[::100], 20).distances[:, -1]
    found, exact = (one.range_search(rows[::100], radii) for one in (index, plain))
    assert len(found.ids) >= 0.995 * len(exact.ids)
    own = index.range_search(rows[-1], 1.0)
    assert own.ids.tolist() == [len(rows) - 1]


def test_rows_of_zeros_do_not_change_how_far_estimates_of_others_are_off(rng):
    rows = clustered(1100, DIM, rng)
    errors = []
    for sample in (rows, np.concatenate([rows, np.zeros_like(rows)])):
        index = nb.Index(DIM, "ip", codec=nb.Sign())  # takes no mean off
        index.add(sample)
        errors.append(opened(index)[1].error)
    assert errors[0] == pytest.approx(errors[1], rel=1e-4)


def test_a_radius_cuts_what_was_ranked(rng):
    trio = Trio("rabitq", "l2", "sq8").lived_in(rng)
    queries = clustered(9, DIM, rng)
    whole = trio.index.search(queries, 12)
    radii = whole.distances[:, 4]
    cut = trio.index.search(queries, 12, radius=radii)
    np.testing.assert_array_equal(cut.counts, (whole.distances <= radii[:, None]).sum(axis=1))
    for i, n in enumerate(cut.counts):
        np.testing.assert_array_equal(cut.ids[i, :n], whole.ids[i, :n])
        np.testing.assert_array_equal(cut.distances[i, :n], whole.distances[i, :n])
    assert (trio.index.search(queries, 3, radius=-1.0).ids == -1).all()


def of_query(found, i):
    """Query i's distances by id, in order."""
    own = slice(found.indptr[i], found.indptr[i + 1])
    return dict(zip(found.ids[own].tolist(), found.distances[own].tolist(), strict=True))


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("metric", reference.FLOAT_METRICS)
def test_a_range_is_that_of_the_finer_copies(metric, codec, rng):
    trio = Trio(codec, metric, "float16").lived_in(rng)
    queries = clustered(40, DIM, rng)
    radii = trio.fine.search(queries, 60).distances[:, -1]
    found, all_of_it = (one.range_search(queries, radii) for one in (trio.index, trio.fine))
    limited = trio.index.range_search(queries, radii, limit=9)
    n_missed = 0
    for i in range(40):
        mine, whole, few = (of_query(r, i) for r in (found, all_of_it, limited))
        assert mine.items() <= whole.items()
        assert list(mine) == [one for one in whole if one in mine]
        n_missed += len(whole) - len(mine)
        assert list(few.items()) == list(mine.items())[:9]
    assert n_missed <= 0.005 * len(all_of_it.ids)
    estimated = trio.codes.range_search(queries, radii)
    assert len(set(all_of_it.ids.tolist()) - set(estimated.ids.tolist())) > n_missed
    assert len(trio.index.range_search(queries, -np.inf).ids) == 0


@pytest.mark.parametrize("refine", REFINES)
@pytest.mark.parametrize("codec", CODECS)
def test_threads_and_batches_make_no_difference(codec, refine, rng):
    made = []
    rows, queries = clustered(3000, DIM, rng), clustered(65, DIM, rng)
    for threads in (1, 5):
        index = nb.Index(DIM, "cosine", codec=CODECS[codec], refine=refine)
        index.add(rows, threads=threads)
        made.append(index.to_bytes())
    assert made[0] == made[1]
    hits = index.search(queries, 10, threads=1)
    assert answer(index.search(queries, 10, threads=5)) == answer(hits)
    for i in (0, 33, 64):
        assert answer(index.search(queries[i], 10)) == row_of(hits, i)
        assert answer(index.search(queries[i], 10, threads=3, filter=index.ids)) == row_of(hits, i)
    wide = index.search(queries[:2].astype(np.float64)[:, ::-1][:, ::-1], 10)
    assert answer(wide) == (hits.ids[:2].tobytes(), hits.distances[:2].tobytes())


ROADS = {
    "load": lambda index, path: nb.load(path),
    "mmap": lambda index, path: nb.load(path, mmap=True),
    "verified": lambda index, path: nb.load(path, mmap=True, verify=True),
    "bytes": lambda index, path: nb.Index.from_bytes(index.to_bytes()),
    "pickle": lambda index, path: pickle.loads(pickle.dumps(index)),
    "copy": lambda index, path: index.copy(),
}


@pytest.mark.parametrize("refine", REFINES)
@pytest.mark.parametrize("metric", reference.FLOAT_METRICS)
def test_finer_copies_come_back_from_files(metric, refine, tmp_path, rng):
    trio = Trio("rabitq", metric, refine).lived_in(rng)
    index, queries = trio.index, clustered(6, DIM, rng)
    index.save(tmp_path / "index")
    for road in ROADS.values():
        back = trio.index = road(index, tmp_path / "index")
        assert back.refine == index.refine
        assert back.to_bytes() == index.to_bytes()
        trio.check(queries)
    data = index.to_bytes()
    check(data)
    stored, factors = finer(data, refine)
    _, learned = opened(index)
    assert learned.refine == ("sq" if refine == "sq8" else refine)
    fine, fine_data = trio.fine, trio.fine.to_bytes()
    parts = {name: fine_data[at : at + n] for name, at, n in sections(fine_data)}
    if refine == "sq8":
        assert factors is None
        assert learned.finer.unbias == opened(fine)[1].unbias
        codes, alone = opened(fine)
        parts = zip(learned.finer.factors(stored, single=True), alone.factors(codes), strict=True)
        for part, expected in parts:
            np.testing.assert_array_equal(part, expected)
    else:
        assert stored.tobytes() == parts["rows"]
        assert factors.tobytes() == parts["factors"]


@pytest.mark.parametrize("how", ["load", "mmap"])
@pytest.mark.parametrize("refine", ["float16", "sq8"])
def test_damage_to_finer_copies_is_refused_or_does_no_harm(refine, how, tmp_path, rng):
    index = nb.Index(8, "l2", codec=nb.SQ(4), refine=refine)
    rows = clustered(1030, 8, rng)
    index.add(rows)
    data = index.to_bytes()
    parts = {name: (at, n) for name, at, n in sections(data)}
    cases = [("flip", at, 1 << int(rng.integers(8))) for at in flips(data, rng, per_section=12)]
    refused, right, other = damage(index, rows[:3], tmp_path / "index", cases, how)
    if how == "load":
        assert (right, other) == (0, 0)
    forged = [("settings", at, value) for at in range(parts["settings"][1]) for value in (1, 0xFF)]
    table = parts["table"][1]
    forged += [("table", at, value) for at in range(table) for value in (1, 0x80)]
    refused, _, _ = damage(index, rows[:3], tmp_path / "index", forged[::3], how)
    assert refused > 100


def test_searches_beside_changes_find_every_item_that_stays(rng):
    rows = clustered(1600, DIM, rng)
    index = nb.Index(DIM, "l2", codec=nb.RaBitQ(4), refine="float32")
    index.add(rows)
    stay = np.arange(0, 1600, 4)
    go = np.setdiff1d(np.arange(1600), stay)
    stop, faults = threading.Event(), []

    def search():
        while not stop.is_set():
            hits = index.search(rows[stay], 3, refine_factor=30)
            if not (hits.ids[:, 0] == stay).all() or hits.distances[:, 0].any():
                faults.append("missed")
            if any(len(set(found)) < 3 for found in hits.ids.tolist()):
                faults.append("doubled")
            if (index.search(rows[stay[:50]], 1, filter=stay).ids[:, 0] != stay[:50]).any():
                faults.append("mistaken")

    threads = [threading.Thread(target=search) for _ in range(2)]
    for thread in threads:
        thread.start()
    for round_ in range(6):
        index.update(go[::2], clustered(len(go[::2]), DIM, rng))
        index.remove(go[1::2])
        index.upsert(go, clustered(len(go), DIM, rng))
        if round_ % 3 == 2:
            index.remove(go[::3])
            index.compact()
            index.add(clustered(len(go[::3]), DIM, rng), ids=go[::3])
    stop.set()
    for thread in threads:
        thread.join()
    assert not faults


def test_an_error_from_progress_ends_a_search_that_refines(rng):
    index = nb.Index(DIM, "l2", codec=nb.PQ(8), refine="float32")
    index.add(clustered(1500, DIM, rng))

    def stop(done, total):
        raise RuntimeError

    with unchanged(index), pytest.raises(RuntimeError):
        index.search(clustered(300, DIM, rng), 50, progress=stop)


@pytest.mark.parametrize("refine", REFINES)
def test_a_codec_trained_elsewhere_waits_only_for_a_finer_copy_that_learns(refine, rng):
    rows = clustered(1500, DIM, rng)
    codec = nb.RaBitQ(4).train(rows, "l2")
    index = nb.Index(DIM, codec=codec, refine=refine)
    index.add(rows[:100])
    assert index.stats()["trained"] == (refine != "sq8")
    assert (index.search(rows[:100], 1).ids[:, 0] == np.arange(100)).all()
    assert index.trained_codec.to_bytes() == codec.to_bytes()
    index = nb.Index.from_bytes(index.to_bytes())
    index.add(rows[100:])
    assert index.stats()["trained"] is True
    assert index.stats()["refine_bytes"] > 0
    assert index.trained_codec.to_bytes() == codec.to_bytes()
    assert (index.search(rows, 1).ids[:, 0] == np.arange(1500)).all()
