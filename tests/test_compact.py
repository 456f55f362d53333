"""Compact codes: what is stored, what distances are made of it, and how good they are."""

from __future__ import annotations

import numpy as np
import pytest
import reference
from checks import answer, unchanged
from container import Learned, contents, sections

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


def opened_with(codec, rows, metric="l2"):
    index = nb.Index(rows.shape[1], metric=metric, codec=codec)
    index.add(rows)
    return opened(index)


def unit(rows):
    lengths = np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
    return np.divide(rows, lengths, out=np.zeros_like(rows, np.float64), where=lengths > 0)


def coded(learned, rows):
    """What is coded of rows, rows or their directions, in double."""
    as_directions = learned.metric == "cosine" or directions_and_lengths(learned)
    return unit(rows) if as_directions else rows.astype(np.float64)


def directions_and_lengths(learned):
    return learned.metric == "ip" and learned.codec != "rabitq"


def residuals(learned, rows):
    return coded(learned, rows) - learned.mean


def right_scales(learned, rows, y):
    """The scales that make decoded rows as long as they were, times what takes off their bias.

    RaBitQ's for l2 make of each row's code an estimate without bias: |r|^2 / <r, y>.
    """
    if learned.metric == "l2":
        r = residuals(learned, rows)
        lengths = np.linalg.norm(r, axis=1)
        if learned.codec == "rabitq":
            return lengths**2 / np.einsum("ij,ij->i", r @ learned.matrix.T, y)
        return lengths / np.linalg.norm(y, axis=1)
    u = coded(learned, rows)
    lengths = np.linalg.norm(y, axis=1)
    t = y @ (learned.matrix @ learned.mean) / lengths
    inside = t**2 + (u**2).sum(axis=1) - (learned.mean.astype(np.float64) ** 2).sum()
    scales = learned.unbias * np.maximum(0, np.sqrt(np.maximum(0, inside)) - t) / lengths
    return scales * (np.linalg.norm(rows, axis=1) if directions_and_lengths(learned) else 1)


def estimates(learned, codes, queries):
    """All distances from what an index stores."""
    scales, norms, numbers = learned.factors(codes)
    y = learned.values(numbers)
    q = unit(queries) if learned.metric == "cosine" else queries.astype(np.float64)
    z = 2 * (q - learned.mean) if learned.metric == "l2" else q
    z = z @ learned.matrix.T
    value = z @ y.T
    term = {
        "l2": ((q - learned.mean) ** 2).sum(axis=1),
        "ip": -(q @ learned.mean),
        "cosine": 1 - q @ learned.mean,
    }[learned.metric]
    found = term[:, None] + norms - scales * value
    return found if learned.metric == "ip" else np.maximum(found, 0)


def everything(index, queries):
    """Distances of all rows, by id."""
    hits = index.search(queries, len(index))
    return np.take_along_axis(hits.distances, np.argsort(hits.ids, axis=1), axis=1)


CODECS = {
    "sq": [nb.SQ(4), nb.SQ(8)],
    "sign": [nb.Sign()],
    "itq": [nb.ITQ(5), nb.ITQ(20)],
    "pcasq": [nb.PCASQ(4), nb.PCASQ(8), nb.PCASQ(19)],
    "pq": [nb.PQ(m, bits) for m, bits in [(1, 4), (5, 4), (8, 4), (7, 8), (20, 8)]]
    + [nb.PQ(5, 4, "opq"), nb.PQ(7, 8, "opq")],
}
EVERY = [codec for codecs in CODECS.values() for codec in codecs]
EVERYONE = [*EVERY, nb.RaBitQ(1), nb.RaBitQ(4)]


def trained(codec, metric, rng, dim=20):
    rows = clustered(1500, dim, rng)
    if codec.name == "pcasq":  # of unequal variances
        rows = ((rows - 1) * 0.8 ** np.arange(dim) + 1).astype(np.float32)
    index = nb.Index(dim, metric=metric, codec=codec)
    index.add(rows)
    codes, learned = opened(index)
    assert codes.shape[1] * 1500 == index.stats()["code_bytes"] == index.nbytes
    np.testing.assert_allclose(
        learned.matrix @ learned.matrix.T, np.eye(len(learned.matrix)), atol=1e-5
    )
    return rows, index, codes, learned


@pytest.mark.parametrize("codec", EVERYONE, ids=str)
@pytest.mark.parametrize("metric", reference.FLOAT_METRICS)
def test_factors_distances_and_rows_are_what_numpy_makes_of_codes(metric, codec, rng):
    rows, index, codes, learned = trained(codec, metric, rng)
    scales, norms, numbers = learned.factors(codes)
    y = learned.values(numbers)
    right = right_scales(learned, rows, y)
    low = np.quantile(right, 0.01)  # below, all count as about the least of the sample
    np.testing.assert_allclose(np.maximum(scales, low), np.maximum(right, low), rtol=0.05)
    squared = (residuals(learned, rows) ** 2).sum(axis=1)
    if metric == "l2":
        low = np.quantile(squared, 0.002)
        np.testing.assert_allclose(np.maximum(norms, low), np.maximum(squared, low), rtol=2e-3)
    queries = clustered(20, 20, rng)
    expected = estimates(learned, codes, queries)
    size = 1 + np.abs(expected).max()
    np.testing.assert_allclose(everything(index, queries), expected, atol=2e-3 * size, rtol=0)
    decoding = scales / learned.unbias
    if codec.name == "rabitq" and metric == "l2":  # whose scales are too long on purpose
        decoding = np.sqrt(norms / (y**2).sum(axis=1))
    np.testing.assert_allclose(
        index.get(np.arange(1500)),
        learned.mean + decoding[:, None] * (y @ learned.matrix),
        atol=1e-5 * np.abs(rows).max(),
    )
    every, found = index.search(queries, 1500), index.search(queries, 10)
    np.testing.assert_array_equal(found.ids, every.ids[:, :10])
    np.testing.assert_array_equal(index.search(queries[3], 10).ids, every.ids[3, :10])
    assert nb.Index.from_bytes(index.to_bytes()).codec == codec


@pytest.mark.parametrize("codec", EVERYONE, ids=str)
@pytest.mark.parametrize("metric", ["l2", "cosine"])
def test_what_a_code_decodes_to_is_about_as_near_to_it_as_can_be(metric, codec, rng):
    _, index, _, _ = trained(codec, metric, rng)
    decoded = index.get(np.arange(300))
    distances = everything(index, decoded)[:, :300]
    assert (distances >= 0).all()
    if not (codec.name == "rabitq" and metric == "l2"):  # unbiased, and so not of decoded rows
        own = distances.diagonal()
        assert np.median(own) < 0.05 * np.median(distances)


@pytest.mark.parametrize("codec", EVERY, ids=str)
def test_products_of_rows_with_themselves_are_right_on_average(codec, rng):
    """Though a code is shorter, seen from its row, than the row."""
    rows, index, _, _ = trained(codec, "ip", rng)
    rows = rows[:200]
    found = -everything(index, rows).diagonal()
    assert (found / (rows.astype(np.float64) ** 2).sum(axis=1)).mean() == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("metric", reference.FLOAT_METRICS)
def test_sq_takes_the_nearest_number(metric, bits, rng):
    rows, _, codes, learned = trained(nb.SQ(bits), metric, rng, dim=129)
    numbers = learned.factors(codes)[2]
    top = 2**bits - 1
    at = (residuals(learned, rows) - learned.middles) / learned.steps + top / 2
    want = np.clip(np.rint(at), 0, top)
    assert (np.abs(numbers - want) <= 1).all()
    assert (numbers != want).mean() < 1e-3  # a half rounded the other way in float32


@pytest.mark.parametrize("codec", CODECS["sign"] + CODECS["itq"], ids=str)
@pytest.mark.parametrize("metric", reference.FLOAT_METRICS)
def test_bits_are_signs(metric, codec, rng):
    rows, _, codes, learned = trained(codec, metric, rng)
    # Sign's are those of the rows themselves; ITQ's of what is left when the mean is taken off.
    r = rows if codec == nb.Sign() else residuals(learned, rows) @ learned.matrix.T
    numbers = learned.factors(codes)[2]
    clear = np.abs(r) > 1e-5
    np.testing.assert_array_equal(numbers[clear], (r > 0)[clear])


@pytest.mark.parametrize("metric", reference.FLOAT_METRICS)
def test_sign_takes_zeros_as_sign_of_bits_does(metric, rng):
    rows = clustered(1100, 20, rng) * rng.integers(0, 2, (1100, 20)).astype(np.float32)
    codec = nb.Sign().train(rows, metric)
    signs = np.packbits(rows > 0, axis=1, bitorder="little")
    np.testing.assert_array_equal(codec.encode(rows)[:, -3:], signs)


def test_sq_fits_the_middles_of_skewed_dimensions(rng):
    rows = rng.exponential(1, (1500, 6)).astype(np.float32)
    _, learned = opened_with(nb.SQ(4), rows)
    r = residuals(learned, rows)

    def error(middles):
        levels = np.clip(np.rint((r - middles) / learned.steps + 7.5), 0, 15) - 7.5
        return ((r - middles - levels * learned.steps) ** 2).mean(axis=0)

    assert (error(learned.middles) < 0.99 * error(r.mean(axis=0))).all()


def test_itq_turns_rows_towards_the_corners_of_a_cube(rng):
    rows, _, _, learned = trained(nb.ITQ(20), "l2", rng)
    r = residuals(learned, rows)
    turned = r @ learned.matrix.T
    random = r @ np.linalg.qr(rng.standard_normal((20, 20)))[0]
    cosine = [np.abs(x).sum(1) / np.linalg.norm(x, axis=1) / 20**0.5 for x in (turned, random)]
    assert cosine[0].mean() > cosine[1].mean() + 0.01


@pytest.mark.parametrize("metric", ["cosine", "l2"])
@pytest.mark.parametrize("n_bytes", [5, 8, 19])
def test_pcasq_spends_its_bytes_where_rows_vary_and_rounds_well(n_bytes, metric, rng):
    rows, _, codes, learned = trained(nb.PCASQ(n_bytes), metric, rng)
    assert codes.shape[1] == n_bytes
    r = residuals(learned, rows) @ learned.matrix.T
    bits = learned.grid_bits
    assert (np.diff(bits) <= 0).all()
    kept = [r[:, bits == b].var() for b in np.unique(bits)]
    assert (np.diff(kept) > 0).all()  # more bits, more variance
    numbers = learned.factors(codes)[2]
    y = learned.values(numbers)
    half = 2.0 ** (bits - 1)
    plain = np.sign(r) * (np.minimum(np.floor(np.abs(r) / learned.steps), half - 1) + 0.5)

    def cosines(y):
        return (r * y).sum(1) / np.linalg.norm(r, axis=1) / np.linalg.norm(y, axis=1)

    assert (cosines(y) > cosines(plain * learned.steps) - 0.05).all()
    assert cosines(y).mean() >= cosines(plain * learned.steps).mean()


def test_pcasq_keeps_rows_off_centre_nearly_as_well_as_centred_ones(rng):
    rows = (rng.standard_normal((1500, 20)) * 0.8 ** np.arange(20) + 0.3).astype(np.float32)
    for sizes in ({"cosine": 8, "ip": 8}, {"cosine": 12, "ip": 13}):  # 7 and 11 without the factor
        off = {}
        for metric, n_bytes in sizes.items():  # of directions, less their mean and as they are
            index = nb.Index(20, metric=metric, codec=nb.PCASQ(n_bytes))
            index.add(rows)
            off[metric] = ((unit(index.get(np.arange(1500))) - unit(rows)) ** 2).sum(axis=1).mean()
        assert off["ip"] < 2 * off["cosine"]


def test_components_with_equal_bits_vary_alike(rng):
    rows, _, _, learned = trained(nb.PCASQ(12), "l2", rng)
    r = residuals(learned, rows) @ learned.matrix.T
    for bits in np.unique(learned.grid_bits):
        part = r[:, learned.grid_bits == bits]
        principal = np.linalg.eigvalsh(np.cov(part.T))
        spread = part.var(axis=0)
        assert spread.max() / spread.min() < principal.max() / principal.min() / 2


@pytest.mark.parametrize("codec", CODECS["pq"], ids=str)
@pytest.mark.parametrize("metric", reference.FLOAT_METRICS)
def test_pq_takes_the_nearest_centroids(metric, codec, rng):
    rows, _, codes, learned = trained(codec, metric, rng)
    assert (codec.rotation is None) == np.array_equal(learned.matrix, np.eye(20))
    r = residuals(learned, rows) @ learned.matrix.T
    numbers = learned.factors(codes)[2]
    ends = np.cumsum(learned.parts)
    for i, centroids in enumerate(learned.centroids):
        part = r[:, ends[i] - learned.parts[i] : ends[i]]
        off = ((part[:, None] - centroids) ** 2).sum(axis=2)
        mine = np.take_along_axis(off, numbers[:, i : i + 1].astype(int), axis=1)[:, 0]
        np.testing.assert_allclose(mine, off.min(axis=1), atol=1e-3 * off.max())


def test_bits_spread_by_variance_beat_equal_bits(rng):
    rows = (rng.standard_normal((4000, 48)) * 0.9 ** np.arange(48)).astype(np.float32)
    queries = (rng.standard_normal((100, 48)) * 0.9 ** np.arange(48)).astype(np.float32)
    truth = nb.knn(queries, rows, 10, "cosine")
    exact = reference.distances("cosine", queries, rows)

    def recall(codec):
        index = nb.Index(48, codec=codec)
        index.add(rows)
        assert index.stats()["code_bytes"] <= 4000 * 25
        found = np.take_along_axis(exact, index.search(queries, 10).ids, axis=1)
        return (found <= truth.distances[:, -1:] + 1e-6).mean()

    assert recall(nb.PCASQ(25)) > max(recall(nb.SQ(4)), recall(nb.RaBitQ(4))) + 0.03
    assert recall(nb.PCASQ(25)) > recall(nb.PCASQ(13)) + 0.03


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


# Of a row's deviation, and the best step of 2^bits levels for a normal distribution.
STEPS = np.array([0.8, 0.87, 0.94, 1, 1.07, 1.15, 1.25])
NORMAL_STEPS = {1: 1.5958, 2: 0.9957, 4: 0.3352, 8: 0.0308}


@pytest.mark.parametrize("dim", [16, 100, 129])
@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("metric", reference.FLOAT_METRICS)
def test_rabitq_turns_rows_and_takes_the_step_of_the_best_cosine(metric, bits, dim, rng):
    rows = clustered(1500, dim, rng)
    codes, learned = opened_with(nb.RaBitQ(bits), rows, metric)
    r = residuals(learned, rows) @ learned.matrix.T
    steps = np.linalg.norm(r, axis=1) / dim**0.5 * STEPS[:, None] * NORMAL_STEPS[bits]
    half = 2.0 ** (bits - 1)
    levels = np.minimum(np.floor(np.abs(r) / steps[:, :, None]), half - 1) + 0.5
    products = np.einsum("ij,sij->si", np.abs(r), levels)
    best = np.argmax(products / np.linalg.norm(levels, axis=2), axis=0)
    want = np.sign(r) * levels[best, np.arange(1500)]
    numbers = learned.factors(codes)[2]
    # A few lie at the edge of two numbers, or have two best steps.
    assert (learned.values(numbers) == want).all(axis=1).mean() > (0.98 if bits < 8 else 0.85)
    assert (np.abs(learned.values(numbers) - want).max(axis=1) <= 1).mean() > 0.98
    if dim > 16 and metric == "l2":
        cosines = np.einsum("ij,ij->i", r, learned.values(numbers)) / np.linalg.norm(r, axis=1)
        cosines /= np.linalg.norm(learned.values(numbers), axis=1)
        distortion = {1: 0.3634, 2: 0.1188, 4: 0.01154, 8: 0.00011}[bits]
        assert abs(1 - (cosines**2).mean() - distortion) < 0.3 * distortion + 3e-3


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("metric", reference.FLOAT_METRICS)
@pytest.mark.parametrize("dim", [96, 129])
def test_rabitq_estimates_without_bias_and_as_well_as_its_bits_allow(metric, bits, dim, rng):
    rows, queries = clustered(3000, dim, rng), clustered(50, dim, rng)
    index = nb.Index(dim, metric=metric, codec=nb.RaBitQ(bits))
    index.add(rows)
    codes, learned = opened(index)
    exact = reference.distances(metric, queries, rows)
    q = unit(queries) if metric == "cosine" else queries - (learned.mean if metric == "l2" else 0)
    r = residuals(learned, rows)
    # The estimate's deviation: |r| |q| sqrt((1 / cos^2 - 1) / (dim - 1)), cos^2 that of most codes.
    spread = np.linalg.norm(q, axis=1)[:, None] * np.linalg.norm(r, axis=1)
    squared_cosine = 1 - {1: 0.3634, 2: 0.1188, 3: 0.03744, 4: 0.01154, 8: 0.00011}[bits]
    if metric == "l2":
        scales, _, numbers = learned.factors(codes)
        y = learned.values(numbers)
        squared_cosine = ((r**2).sum(axis=1) / (scales**2 * (y**2).sum(axis=1))).mean()
    spread = spread * np.sqrt((1 / squared_cosine - 1) / (dim - 1))
    off = (everything(index, queries) - exact) / (spread * (2 if metric == "l2" else 1))
    if metric == "l2":
        # Of a normal distribution 5.7 % lie beyond 1.9 deviations.
        assert 0.045 < (np.abs(off) > 1.9).mean() < 0.075
        assert abs(np.median(off)) < 0.15
        if bits < 8:  # there, what a query loses in 13 bits weighs more
            assert 0.93 < off.std() < 1.07
    else:  # lengths are known besides
        assert (np.abs(off) > 1.9).mean() < 0.075
        assert abs(np.median(off)) < 0.3
    found = index.search(queries, 10)
    truth = nb.knn(queries, rows, 10, metric)
    got = np.take_along_axis(exact, found.ids, axis=1)
    recall = (got <= truth.distances[:, -1:] * (1 + 1e-5) + 1e-5).mean()
    assert recall > {1: 0.12, 2: 0.3, 3: 0.5, 4: 0.7, 8: 0.87}[bits]


@pytest.mark.parametrize("codec", [nb.RaBitQ(2), nb.RaBitQ(4), nb.SQ(4), nb.SQ(8), nb.PCASQ(96)])
def test_rows_are_near_to_what_is_nearly_the_same(codec, rng):
    """All planes of such a row agree with the query's: the first tells little of their sum."""
    rows = rng.standard_normal((2500, 256)).astype(np.float32)
    index = nb.Index(256, metric="l2", codec=codec)
    index.add(rows)
    near = rows[:200] + 0.05 * rng.standard_normal((200, 256)).astype(np.float32)
    hits = index.search(near, 1)
    np.testing.assert_array_equal(hits.ids[:, 0], np.arange(200))
    decoded = index.get(np.arange(200))
    expected = ((near - decoded) ** 2).sum(axis=1)
    # Nearly, as a factor of a byte is rounded; RaBitQ's estimate is no distance to what is decoded.
    if codec.name != "rabitq":
        off = np.abs(hits.distances[:, 0] - expected)
        assert np.median(off) < 0.05 * np.median(expected)


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


@pytest.mark.parametrize("codec", [nb.ITQ(2), nb.ITQ(5), nb.SQ(4), nb.PQ(5)], ids=str)
@pytest.mark.parametrize("metric", reference.FLOAT_METRICS)
def test_of_equal_codes_those_with_the_smallest_ids_are_found(metric, codec, rng):
    rows = np.repeat(clustered(30, 20, rng), 50, axis=0)
    index = nb.Index(20, metric=metric, codec=codec)
    index.add(rows, ids=np.arange(1500)[::-1])  # each the best of its kind so far
    queries = clustered(500, 20, rng)
    every = index.search(queries, 1500).ids[:, :7]
    np.testing.assert_array_equal(index.search(queries, 7).ids, every)
    for query, ids in zip(queries, every, strict=True):
        np.testing.assert_array_equal(index.search(query, 7).ids, ids)


@pytest.mark.parametrize("codec", EVERYONE, ids=str)
@pytest.mark.parametrize("metric", reference.FLOAT_METRICS)
@pytest.mark.parametrize("what", ["equal", "zero", "constant dimensions", "twice", "one apart"])
def test_degenerate_samples_train_and_give_finite_distances(what, metric, codec, rng):
    rows = np.ones((1100, 24), np.float32)
    if what == "zero":
        rows[:] = 0
    elif what == "constant dimensions":
        rows[:, :3] = rng.standard_normal((1100, 3))
    elif what == "twice":  # each dimension
        rows = np.tile(rng.standard_normal((1100, 12)), 2).astype(np.float32)
    elif what == "one apart":
        rows[77] = 5 * rng.standard_normal(24)
    index = nb.Index(24, metric=metric, codec=codec)
    index.add(rows)
    assert index.stats()["trained"] is True
    more = rng.standard_normal((50, 24)).astype(np.float32)
    index.add(more)
    for queries in (rows[:3], more, np.zeros((2, 24), np.float32)):
        distances = everything(index, queries)
        assert np.isfinite(distances).all()
        assert distances.max() < 1e4
    assert np.isfinite(index.get(np.arange(1150))).all()


def test_rows_may_have_65536_dimensions(rng):
    rows = rng.standard_normal((1024, 65536), dtype=np.float32)
    index = nb.Index(65536, metric="cosine", codec=nb.RaBitQ(2))
    index.add(rows)
    hits = index.search(rows[:20] + rows[20:40], 2)
    np.testing.assert_array_equal(np.sort(hits.ids), np.arange(40).reshape(2, 20).T)
    np.testing.assert_allclose(hits.distances, 1 - 0.5**0.5, atol=0.02)


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


@pytest.mark.parametrize("codec", [c for c in EVERYONE if c != nb.Sign()], ids=str)  # takes no mean
@pytest.mark.parametrize("metric", ["l2", "cosine"])
def test_rows_that_are_all_alike_are_kept_as_they_are(metric, codec, rng):
    for row in rng.standard_normal((4, 20)).astype(np.float32):
        index = nb.Index(20, metric=metric, codec=codec)
        index.add(np.repeat(row[None], 1100, axis=0))
        kept = unit(row[None])[0] if metric == "cosine" else row
        np.testing.assert_allclose(index.get([0, 1099]), [kept, kept], atol=1e-6)
        queries = rng.standard_normal((5, 20)).astype(np.float32)
        exact = reference.distances(metric, queries, row[None])
        off = everything(index, queries) - exact
        assert np.abs(off).max() < 1e-4


@pytest.mark.parametrize("codec", EVERYONE, ids=str)
@pytest.mark.parametrize("metric", ["l2", "ip"])
def test_the_longest_rows_there_may_be_are_scored_and_saved(metric, codec, rng):
    rows = rng.standard_normal((1100, 20))
    if metric == "l2":  # a few are about as far from the mean as can be
        rows[:, 3] += 100
        rows[7::100] *= -1
    rows = (1.98 * unit(rows)).astype(np.float32)
    of_size = {}
    for size in (1, 2.0**62):
        index = nb.Index(20, metric=metric, codec=codec)
        index.add(rows * np.float32(size))
        of_size[size] = everything(index, rows[:10] * np.float32(size))
    found, largest = of_size[size], np.finfo(np.float32).max
    moderate = np.minimum(of_size[1].astype(np.float64) * 2.0**124, largest)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found, moderate, atol=0.01 * np.abs(moderate).max())
    queries = rows[:10] * np.float32(size)
    again = nb.Index.from_bytes(index.to_bytes())
    assert answer(again.search(queries, 20)) == answer(index.search(queries, 20))


@pytest.mark.parametrize("codec", [nb.SQ(4), nb.SQ(8), nb.PQ(20, 4), nb.PQ(20), nb.PQ(7)], ids=str)
def test_no_row_is_lost_where_sums_over_parts_pass_float32(codec, rng):
    rows = np.zeros((1100, 20))
    rows[np.arange(1100), rng.integers(0, 20, 1100)] = rng.choice([-1, 1], 1100)
    rows = (9e18 * unit(rows + 0.001 * rng.standard_normal(rows.shape))).astype(np.float32)
    queries = (9e18 * unit(rng.choice([-1.0, 1.0], (3, 20)))).astype(np.float32)
    index = nb.Index(20, metric="l2", codec=codec)
    index.add(rows)
    hits = index.search(queries, 1100)
    assert (hits.counts == 1100).all()
    exact = reference.distances("l2", queries, rows)
    off = np.sort(hits.distances, axis=1) - np.sort(exact, axis=1)
    assert np.abs(off).max() < 0.25 * exact.max()
    for k in (5, 1100):
        for query, ids in zip(queries, hits.ids, strict=True):
            np.testing.assert_array_equal(index.search(query, k).ids, ids[:k])


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


@pytest.mark.parametrize("codec", [nb.SQ(4), nb.RaBitQ(2), nb.PQ(4)], ids=repr)
@pytest.mark.parametrize("refine", [None, "sq8"])
def test_rows_too_short_for_a_direction_count_as_zeros_of_inner_products(codec, refine, rng):
    """Before training and after: held as float32, they are taken like any others."""
    index = nb.Index(16, "ip", codec=codec, refine=refine)
    tiny = np.full((1, 16), 1e-35, np.float32)
    index.add(tiny)
    index.add(rng.standard_normal((1100, 16), dtype=np.float32))
    index.add(tiny)
    assert index.stats()["trained"]
    query = np.ones(16, np.float32)
    hits = index.search(query, 1102)
    assert np.isfinite(hits.distances).all()
    of_tiny = hits.distances[np.isin(hits.ids, [0, 1101])]
    spread = np.abs(hits.distances).max()
    assert (np.abs(of_tiny) < (0.2 if codec.name == "rabitq" else 1e-6) * spread).all()
