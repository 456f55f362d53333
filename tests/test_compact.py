"""Compact codes: what is stored, what distances are made of it, and how good they are."""

from __future__ import annotations

import numpy as np
import pytest
import reference
from checks import answer, unchanged
from container import Learned, contents, sections
from kinds import COMPACT_KINDS

import nearbit as nb


def clustered(n, dim, rng):
    """Rows off centre and in clusters, as embeddings lie."""
    centres = 2 * rng.standard_normal((30, dim)) + 1
    return (centres[rng.integers(0, 30, n)] + rng.standard_normal((n, dim))).astype(np.float32)


def opened(index):
    """(codes, what was learned) of a trained index."""
    data = index.to_bytes()
    parts = {name: data[offset : offset + n] for name, offset, n in sections(data)}
    return contents(data)[1], Learned(parts["settings"])


def unit(rows):
    lengths = np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
    return np.divide(rows, lengths, out=np.zeros_like(rows, np.float64), where=lengths > 0)


def residuals(learned, rows):
    return (unit(rows) if learned.metric == "cosine" else rows.astype(np.float64)) - learned.mean


def estimates(learned, codes, queries):
    """All distances from what an SQ index stores, without the cut-off; and where that would be."""
    scales, norms, levels = learned.factors(codes)
    offset = (2**learned.bits - 1) / 2
    y = (levels - offset) * learned.steps + learned.middles
    top = (levels >> (learned.bits - 1)) * 2.0 ** (learned.bits - 1) - 2.0 ** (learned.bits - 2)
    first = top * learned.steps + learned.middles
    q = unit(queries) if learned.metric == "cosine" else queries.astype(np.float64)
    z = 2 * (q - learned.mean) if learned.metric == "l2" else q
    spread = np.sqrt((4.0 ** (learned.bits - 1) - 1) / 12 * ((z * learned.steps) ** 2).sum(axis=1))
    value = z @ y.T
    cut = z @ first.T + 3 * spread[:, None]
    term = {
        "l2": ((q - learned.mean) ** 2).sum(axis=1),
        "ip": -(q @ learned.mean),
        "cosine": 1 - q @ learned.mean,
    }[learned.metric]
    found = term[:, None] + norms - scales * np.minimum(value, cut)
    return found if learned.metric == "ip" else np.maximum(found, 0)


def everything(index, queries):
    """Distances of all rows, by id."""
    hits = index.search(queries, len(index))
    return np.take_along_axis(hits.distances, np.argsort(hits.ids, axis=1), axis=1)


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("metric", reference.FLOAT_METRICS)
@pytest.mark.parametrize("dim", [1, 7, 40, 129])
def test_sq_stores_and_scores_what_numpy_does(metric, bits, dim, rng):
    rows, queries = clustered(1500, dim, rng), clustered(20, dim, rng)
    index = nb.Index(dim, metric=metric, codec=nb.SQ(bits))
    index.add(rows)
    codes, learned = opened(index)
    r = residuals(learned, rows)
    scales, norms, levels = learned.factors(codes)
    top = 2**bits - 1
    want = np.clip(np.rint((r - learned.middles) / learned.steps + top / 2), 0, top)
    assert (np.abs(levels - want) <= 1).all()
    assert (levels != want).mean() < 1e-3  # a half rounded the other way in float32
    y = (levels - top / 2) * learned.steps + learned.middles
    squared = (r**2).sum(axis=1)
    if metric == "l2":
        np.testing.assert_allclose(norms, squared, rtol=2e-3, atol=np.quantile(squared, 0.002))
    products = (r * y).sum(axis=1)
    usual = products > 0.5 * squared
    assert usual.mean() > 0.95
    low = np.quantile(squared[usual] / products[usual], 0.01)
    found, true = scales[usual], squared[usual] / products[usual]
    np.testing.assert_allclose(np.maximum(found, low), np.maximum(true, low), rtol=0.03)
    expected = estimates(learned, codes, queries)
    size = 1 + np.abs(expected).max()
    np.testing.assert_allclose(everything(index, queries), expected, atol=2e-3 * size, rtol=0)
    np.testing.assert_allclose(
        index.get(np.arange(1500)),
        learned.mean + (scales * learned.shrink)[:, None] * y,
        atol=1e-5 * np.abs(rows).max(),
    )


@pytest.mark.parametrize("rotation", [None, "opq"])
@pytest.mark.parametrize(("m", "nbits"), [(1, 4), (5, 4), (8, 4), (7, 8), (20, 8), (3, 8)])
@pytest.mark.parametrize("metric", reference.FLOAT_METRICS)
def test_pq_stores_and_scores_what_numpy_does(metric, m, nbits, rotation, rng):
    rows, queries = clustered(1500, 20, rng), clustered(20, 20, rng)
    index = nb.Index(20, metric=metric, codec=nb.PQ(m, nbits, rotation))
    index.add(rows)
    codes, learned = opened(index)
    turn = learned.matrix
    np.testing.assert_allclose(turn @ turn.T, np.eye(20), atol=1e-5)
    assert (rotation is None) == np.array_equal(turn, np.eye(20))
    r = residuals(learned, rows) @ turn.T
    scales, norms, numbers = learned.factors(codes)
    ends = np.cumsum(learned.parts)
    y = np.concatenate([c[numbers[:, i]] for i, c in enumerate(learned.centroids)], axis=1)
    for i, centroids in enumerate(learned.centroids):
        part = r[:, ends[i] - learned.parts[i] : ends[i]]
        off = ((part[:, None] - centroids) ** 2).sum(axis=2)
        mine = np.take_along_axis(off, numbers[:, i : i + 1].astype(int), axis=1)[:, 0]
        np.testing.assert_allclose(mine, off.min(axis=1), atol=1e-3 * off.max())
    squared, products = (r**2).sum(axis=1), (r * y).sum(axis=1)
    usual = products > 0.5 * squared
    low = np.quantile(squared[usual] / products[usual], 0.01)
    true = squared[usual] / products[usual]
    np.testing.assert_allclose(np.maximum(scales[usual], low), np.maximum(true, low), rtol=0.05)
    q = unit(queries) if metric == "cosine" else queries.astype(np.float64)
    z = 2 * (q - learned.mean) if metric == "l2" else q
    term = {
        "l2": ((q - learned.mean) ** 2).sum(axis=1),
        "ip": -(q @ learned.mean),
        "cosine": 1 - q @ learned.mean,
    }[metric]
    expected = term[:, None] + norms - scales * (z @ turn.T @ y.T)
    expected = expected if metric == "ip" else np.maximum(expected, 0)
    np.testing.assert_allclose(
        everything(index, queries), expected, atol=1e-4 * (1 + np.abs(expected).max())
    )
    every, found = index.search(queries, 1500), index.search(queries, 10)
    np.testing.assert_array_equal(found.ids, every.ids[:, :10])
    np.testing.assert_array_equal(index.search(queries[3], 10).ids, every.ids[3, :10])
    assert nb.Index.from_bytes(index.to_bytes()).codec == nb.PQ(m, nbits, rotation)


def test_opq_and_more_bytes_are_worth_what_they_should_be(rng):
    mix = rng.standard_normal((48, 48)) * (0.9 ** np.arange(48))
    rows = (rng.standard_normal((6000, 48)) @ mix.T).astype(np.float32)
    queries = (rng.standard_normal((100, 48)) @ mix.T).astype(np.float32)
    truth = nb.knn(queries, rows, 10, "l2")

    def recall(codec):
        index = nb.Index(48, metric="l2", codec=codec)
        index.add(rows)
        found = index.search(queries, 10)
        exact = np.take_along_axis(reference.distances("l2", queries, rows), found.ids, axis=1)
        return (exact <= truth.distances[:, -1:] * (1 + 1e-5)).mean()

    assert recall(nb.PQ(8, rotation="opq")) > recall(nb.PQ(8)) + 0.03
    assert recall(nb.PQ(16, rotation="opq")) > recall(nb.PQ(8, rotation="opq")) + 0.1
    assert recall(nb.PQ(24, rotation="opq")) > 0.8


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("metric", reference.FLOAT_METRICS)
def test_rabitq_keeps_factors_that_belong_to_its_rows(metric, bits, rng):
    rows = clustered(1500, 100, rng)
    index = nb.Index(100, metric=metric, codec=nb.RaBitQ(bits))
    index.add(rows)
    codes, learned = opened(index)
    assert codes.shape[1] * 1500 == index.stats()["code_bytes"] == index.nbytes
    squared = (residuals(learned, rows) ** 2).sum(axis=1)
    scales, norms, levels = learned.factors(codes)
    y = levels - (2**bits - 1) / 2
    # s = |r|^2 / <r, y>, and |y| |r| cos = <r, y>: so the cosine follows from what is kept.
    cosines = np.sqrt(squared) / (scales * np.linalg.norm(y, axis=1))
    assert (cosines < 1.02).all()
    assert abs((cosines**2).mean() - learned.shrink) < 0.01
    distortion = {1: 0.3634, 2: 0.1188, 4: 0.01154, 8: 0.00011}[bits]
    assert abs(1 - learned.shrink - distortion) < 0.3 * distortion + 1e-3
    if metric == "l2":
        low = np.quantile(squared, 0.002)  # below, all count as about the least of the sample
        np.testing.assert_allclose(np.maximum(norms, low), np.maximum(squared, low), rtol=1e-3)
        assert abs((levels >> (bits - 1)).mean() - 0.5) < 0.02


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("metric", reference.FLOAT_METRICS)
@pytest.mark.parametrize("dim", [96, 129])
def test_rabitq_estimates_without_bias_and_as_well_as_its_bits_allow(metric, bits, dim, rng):
    rows, queries = clustered(3000, dim, rng), clustered(50, dim, rng)
    index = nb.Index(dim, metric=metric, codec=nb.RaBitQ(bits))
    index.add(rows)
    _, learned = opened(index)
    exact = reference.distances(metric, queries, rows)
    q = unit(queries) if metric == "cosine" else queries - (learned.mean if metric == "l2" else 0)
    r = residuals(learned, rows)
    # The estimate's deviation: |r| |q| sqrt((1 / cos^2 - 1) / (dim - 1)), cos^2 that of most codes.
    spread = np.linalg.norm(q, axis=1)[:, None] * np.linalg.norm(r, axis=1)
    spread = spread * np.sqrt((1 / learned.shrink - 1) / (dim - 1)) * (2 if metric == "l2" else 1)
    off = (everything(index, queries) - exact) / spread
    # Of a normal distribution 5.7 % lie beyond 1.9 deviations.
    assert 0.045 < (np.abs(off) > 1.9).mean() < 0.07
    assert abs(np.median(off)) < 0.15
    if bits < 8:  # there, what the first plane cuts off weighs more
        assert 0.95 < off.std() < 1.05
    found = index.search(queries, 10)
    truth = nb.knn(queries, rows, 10, metric)
    got = np.take_along_axis(exact, found.ids, axis=1)
    recall = (got <= truth.distances[:, -1:] * (1 + 1e-5) + 1e-5).mean()
    assert recall > {1: 0.12, 2: 0.3, 3: 0.5, 4: 0.7, 8: 0.87}[bits]


def test_the_cut_off_of_a_value_is_used_and_rarely_matters(rng):
    """With 4 bits the first plane bounds what a value can be, at three deviations."""
    rows, queries = clustered(2000, 64, rng), clustered(40, 64, rng)
    index = nb.Index(64, metric="ip", codec=nb.SQ(4))
    index.add(rows)
    codes, learned = opened(index)
    cut = estimates(learned, codes, queries)
    scales, _, levels = learned.factors(codes)
    y = (levels - 7.5) * learned.steps + learned.middles
    plain = -(queries.astype(np.float64) @ learned.mean)[:, None] - scales * (queries @ y.T)
    assert 0 < (cut > plain + 1e-6).mean() < 0.01


def test_rows_are_scanned_as_they_are_until_there_are_enough_to_train(rng):
    rows = clustered(1200, 32, rng)
    index = nb.Index(32, metric="l2", codec=nb.RaBitQ(1))
    index.add(rows[:1023])
    assert index.stats()["trained"] is False
    np.testing.assert_array_equal(index.get(np.arange(1023)), rows[:1023])
    exact = nb.knn(rows[:9], rows[:1023], 5, "l2")
    assert answer(index.search(rows[:9], 5)) == answer(exact)
    held = nb.Index.from_bytes(index.to_bytes())
    assert held.stats()["trained"] is False
    for one in (index, held):
        one.remove([7])
        assert one.stats()["trained"] is False
        one.upsert([7, 5000], rows[1100:1102])
        assert one.stats()["trained"] is True
        assert len(one) == 1024
        assert one.ids[-1] == 5000
        assert one.stats()["code_bytes"] == 1024 * 7
    assert index.to_bytes() == held.to_bytes()
    index.add(rows[1102:])
    assert (index.search(rows[1102:], 1).ids[:, 0] == 5001 + np.arange(98)).mean() > 0.7


@pytest.mark.parametrize("how", ["at once", "in two", "by upsert", "threads"])
def test_an_index_that_trains_itself_holds_every_row(how, rng):
    rows = clustered(3000, 40, rng)
    index = nb.Index(40, metric="cosine", codec=nb.SQ(8), seed=3)
    ids = rng.permutation(10_000)[:3000]
    if how == "at once":
        index.add(rows, ids=ids)
    elif how == "threads":
        index.add(rows, ids=ids, threads=5)
        other = nb.Index(40, metric="cosine", codec=nb.SQ(8), seed=3)
        other.add(rows, ids=ids, threads=1)
        assert other.to_bytes() == index.to_bytes()
    elif how == "in two":
        index.add(rows[:1000], ids=ids[:1000])
        index.remove(ids[:50])
        index.add(rows[1000:], ids=ids[1000:])
        index.add(rows[:50], ids=ids[:50])
    else:
        index.upsert(ids[:700], rows[700:1400])
        index.upsert(ids, rows)
    np.testing.assert_array_equal(index.ids, np.sort(ids))
    np.testing.assert_array_equal(index.search(rows, 1).ids[:, 0], ids)
    assert reference.distances("cosine", index.get(ids), rows).diagonal().max() < 5e-3


def test_another_seed_is_another_rotation(rng):
    rows = clustered(1100, 33, rng)
    made = []
    for seed in (0, 0, 2**63 - 1):
        index = nb.Index(33, codec=nb.RaBitQ(1), seed=seed)
        index.add(rows)
        made.append(index.to_bytes())
    assert made[0] == made[1] != made[2]


@pytest.mark.parametrize("kind", COMPACT_KINDS, ids=str)
@pytest.mark.parametrize("what", ["equal", "zero", "constant dimensions", "one apart"])
def test_degenerate_samples_train_and_give_finite_distances(kind, what, rng):
    rows = np.ones((1100, 24), np.float32)
    if what == "zero":
        rows[:] = 0
    elif what == "constant dimensions":
        rows[:, :3] = rng.standard_normal((1100, 3))
    elif what == "one apart":
        rows[77] = 5 * rng.standard_normal(24)
    codec = {"rabitq": nb.RaBitQ, "sq": nb.SQ}[kind.codec](kind.bits)
    index = nb.Index(24, metric=kind.metric, codec=codec)
    index.add(rows)
    assert index.stats()["trained"] is True
    more = rng.standard_normal((50, 24)).astype(np.float32)
    index.add(more)
    for queries in (rows[:3], more, np.zeros((2, 24), np.float32)):
        distances = everything(index, queries)
        assert np.isfinite(distances).all()
        assert distances.max() < 1e4
    assert np.isfinite(index.get(np.arange(1150))).all()


def test_very_large_and_very_small_rows_are_scored_in_full(rng):
    for size in (1e18, 1e-15):
        rows = (size * clustered(1100, 16, rng) / 20).astype(np.float32)
        for metric in ("l2", "ip"):
            index = nb.Index(16, metric=metric, codec=nb.RaBitQ(4))
            index.add(rows)
            exact = reference.distances(metric, rows[:5], rows)
            found = everything(index, rows[:5])
            assert np.isfinite(found).all()
            np.testing.assert_allclose(found, exact, atol=0.1 * np.abs(exact).max())


def test_training_is_refused_with_too_few_rows_and_twice(rng):
    rows = clustered(2000, 12, rng)
    index = nb.Index(12, metric="l2", codec=nb.SQ(4))
    index.add(rows[:10])
    with unchanged(index), pytest.raises(ValueError, match="sample: expected at least 1024 rows"):
        index.train(rows[:1023])
    bad = rows.copy()
    bad[1500, 3] = np.nan
    with unchanged(index), pytest.raises(ValueError, match=r"sample: expected finite.*row 1500"):
        index.train(bad)
    index.train(rows)
    np.testing.assert_allclose(index.get(3), rows[3], atol=2)
    with unchanged(index), pytest.raises(ValueError, match="index: expected one that is not train"):
        index.train(rows)
    plain = nb.Index(12)
    plain.train(rows)
    assert plain.stats().get("trained") is None


@pytest.mark.parametrize("ended", ["error", "bad row"])
def test_an_add_that_ends_while_it_trains_leaves_everything(ended, rng):
    rows = clustered(3000, 16, rng)
    index = nb.Index(16, codec=nb.RaBitQ(2))
    index.add(rows[:900])
    more = rows[900:].copy()

    def stop(done, total):
        raise RuntimeError

    if ended == "bad row":
        more[-1, 0] = np.inf
    with unchanged(index), pytest.raises(RuntimeError if ended == "error" else ValueError):
        index.add(more, progress=stop if ended == "error" else None)
    assert index.stats()["trained"] is False
    index.add(rows[900:])
    assert index.stats()["trained"] is True
