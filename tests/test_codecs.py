"""Codecs alone: codes are those of an index, and so is what they say; training and files."""

from __future__ import annotations

import copy
import pickle
import struct
import threading

import numpy as np
import pytest
import reference
from checks import answer
from container import Learned, check, forged, of_one_section, sections
from kinds import Kind

import nearbit as nb

PLAIN = (nb.Float32(), nb.Float16(), nb.Int8(), nb.UInt8(), nb.Bits(), nb.Sign())
LEARNING = (
    *(nb.RaBitQ(1), nb.RaBitQ(4), nb.SQ(4), nb.SQ(8), nb.PCASQ(9), nb.ITQ(7)),
    *(nb.PQ(7, 4), nb.PQ(5, rotation="opq")),
)
DIM = 40


def name_of(settings, metric):
    return f"{settings.name}-{metric}".replace("rabitq", f"rabitq{getattr(settings, 'bits', '')}")


CASES = [
    pytest.param(settings, metric, id=name_of(settings, metric))
    for settings in (*PLAIN, *LEARNING)
    for metric in settings.metrics
]
# One of each, where the metric makes no difference.
SOME = [pytest.param(s, s.metrics[0], id=name_of(s, s.metrics[0])) for s in (*PLAIN, *LEARNING)]
LEARNED = (
    (nb.RaBitQ(2), "cosine"),
    (nb.SQ(4), "ip"),
    (nb.PQ(7, 4), "l2"),
    (nb.PQ(5, rotation="opq"), "ip"),
    (nb.PCASQ(9), "cosine"),
    (nb.ITQ(7), "l2"),
)


def rows_for(settings, n, rng, dim=DIM):
    return Kind(settings.name, settings.metrics[0]).rows(n, dim, rng)


def bits_of(array):
    """To compare floats to the bit."""
    return np.ascontiguousarray(array).view(np.uint8)


def distances_of(index, queries):
    """An index's distances from each query to all its rows, by id."""
    hits = index.search(queries, len(index))
    assert (hits.counts == len(index)).all()
    return np.take_along_axis(hits.distances, np.argsort(hits.ids, axis=1), axis=1)


@pytest.mark.parametrize(("settings", "metric"), CASES)
def test_codes_say_what_an_index_says(settings, metric, rng):
    rows, queries = rows_for(settings, 1100, rng), rows_for(settings, 70, rng)
    codec = settings.train(rows, metric=metric)
    assert (codec.settings, codec.dim, codec.metric) == (settings, DIM, metric)
    codes = codec.encode(rows)
    assert codes.dtype == np.uint8
    assert codes.shape == (1100, codec.code_bytes)

    index = nb.Index(DIM, codec=codec)
    index.add(rows)
    assert (index.codec, index.metric) == (settings, metric)
    stats = index.stats()
    assert codec.code_bytes * 1100 == stats["code_bytes"] + stats["factor_bytes"]
    found = codec.distances(queries, codes)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(bits_of(found), bits_of(distances_of(index, queries)))
    decoded, held = codec.decode(codes), index.get(np.arange(1100))
    assert decoded.dtype == held.dtype
    np.testing.assert_array_equal(bits_of(decoded), bits_of(held))

    # One row may be 1-d; what comes back then is too.
    one = codec.encode(rows[3])
    np.testing.assert_array_equal(one, codes[3])
    np.testing.assert_array_equal(codec.decode(one), decoded[3])
    np.testing.assert_array_equal(codec.distances(queries[2], codes), found[2])
    np.testing.assert_array_equal(codec.distances(queries, one), found[:, 3])
    assert codec.distances(queries[2], one) == found[2, 3]


def test_codes_of_numbers_hold_them_as_numpy_does(rng):
    floats = rng.standard_normal((50, DIM), dtype=np.float32)
    squares = (floats.astype(np.float64) ** 2).sum(axis=1)
    for metric, factors in (
        ("l2", squares),
        ("ip", np.sqrt(squares)),
        ("cosine", 1 / np.sqrt(squares)),
    ):
        codes = nb.Float32().train(floats, metric).encode(floats)
        np.testing.assert_array_equal(codes[:, :-4].copy().view(np.float32), floats)
        np.testing.assert_allclose(codes[:, -4:].copy().view(np.float32)[:, 0], factors, rtol=1e-6)
    codes = nb.Float16().train(floats).encode(floats)
    np.testing.assert_array_equal(codes[:, :-4].copy().view(np.float16), floats.astype(np.float16))
    for settings in (nb.Int8(), nb.UInt8(), nb.Bits()):
        rows = rows_for(settings, 50, rng)
        np.testing.assert_array_equal(settings.train(rows).encode(rows), rows.view(np.uint8))
    codec = nb.Bits().train(rows, "jaccard")
    counts = np.unpackbits(rows, axis=1).sum(axis=1, dtype=np.float32)
    np.testing.assert_array_equal(codec.encode(rows)[:, :-4], rows)
    np.testing.assert_array_equal(codec.encode(rows)[:, -4:].copy().view(np.float32)[:, 0], counts)
    exact = reference.distances("jaccard", rows, rows)
    np.testing.assert_array_equal(codec.distances(rows, codec.encode(rows)), exact)
    np.testing.assert_array_equal(
        nb.Sign().train(floats).encode(floats), reference.pack_signs(floats)
    )


@pytest.mark.parametrize(("settings", "metric"), SOME)
def test_threads_batches_and_forms_of_arrays_make_no_difference(settings, metric, rng):
    rows, queries = rows_for(settings, 4500, rng), rows_for(settings, 3, rng)
    codec = settings.train(rows[:1100], metric=metric)
    codes = codec.encode(rows, threads=1)
    np.testing.assert_array_equal(codec.encode(rows, threads=3), codes)
    apart = [codec.encode(rows[first : first + 7]) for first in range(0, 70, 7)]
    np.testing.assert_array_equal(np.concatenate(apart), codes[:70])
    decoded, found = codec.decode(codes, threads=1), codec.distances(queries, codes, threads=1)
    np.testing.assert_array_equal(codec.decode(codes, threads=3), decoded)
    np.testing.assert_array_equal(codec.distances(queries, codes, threads=3), found)
    strided = np.repeat(codes, 2, axis=0)[::2]
    turned = np.asfortranarray(codes)
    fixed = codes.copy()
    fixed.flags.writeable = False
    for same in (strided, turned, fixed, codes[::-1][::-1]):
        np.testing.assert_array_equal(codec.decode(same), decoded)
        np.testing.assert_array_equal(codec.distances(queries, same), found)
    np.testing.assert_array_equal(codec.decode(codes[:5].tolist()), decoded[:5])
    if rows.dtype == np.float32:
        np.testing.assert_array_equal(codec.encode(np.asfortranarray(rows, np.float64)), codes)


@pytest.mark.parametrize(("settings", "metric"), SOME)
def test_nothing_may_be_coded(settings, metric, rng):
    rows = rows_for(settings, 1100, rng)
    codec = settings.train(rows, metric=metric)
    codes = codec.encode(rows[:0])
    assert codes.shape == (0, codec.code_bytes)
    assert codec.decode(codes).shape[0] == 0
    assert codec.distances(rows[:3], codes).shape == (3, 0)
    assert codec.distances(rows[:0], codec.encode(rows[:2])).shape == (0, 2)


@pytest.mark.parametrize(("settings", "metric"), CASES)
def test_bytes_that_are_no_codes_do_no_harm(settings, metric, rng):
    rows = rows_for(settings, 1100, rng)
    codec = settings.train(rows, metric=metric)
    shape = (300, codec.code_bytes)
    for codes in (rng.integers(0, 256, shape, np.uint8), np.full(shape, 255, np.uint8)):
        decoded, found = codec.decode(codes), codec.distances(rows[:3], codes)
        assert len(decoded) == 300
        assert not np.isnan(found).any()
        if metric != "cosine":  # where such a row counts as the nearest there may be
            assert np.isposinf(found[:, np.isnan(decoded).any(axis=1)]).all()


# ---------------------------------------------------------------------------------- training


@pytest.mark.parametrize(("settings", "metric"), LEARNED)
def test_training_gives_what_an_index_learns(settings, metric, rng):
    sample = rows_for(settings, 1500, rng)
    codec = settings.train(sample, metric, seed=5, threads=1)
    data = codec.to_bytes()
    assert settings.train(sample.astype(np.float64), metric, seed=5, threads=3).to_bytes() == data
    trained = nb.Index(DIM, metric, codec=settings, seed=5)
    trained.train(sample)
    assert trained.trained_codec.to_bytes() == data
    filled = nb.Index(DIM, metric, codec=settings, seed=5)
    filled.add(sample)
    assert filled.trained_codec.to_bytes() == data
    shared = nb.Index(DIM, codec=codec)
    shared.add(sample)
    assert shared.to_bytes() == filled.to_bytes()
    if settings.name != "sq":  # which chooses nothing at random
        other = settings.train(sample, metric, seed=6)
        assert not np.array_equal(other.encode(sample), codec.encode(sample))


def test_of_a_large_sample_rows_are_drawn_by_the_seed(rng):
    sample = rng.standard_normal((70_000, 2), dtype=np.float32)
    codec = nb.SQ(4).train(sample, "l2", seed=3)
    index = nb.Index(2, "l2", codec=nb.SQ(4), seed=3)
    index.train(sample)
    assert index.trained_codec.to_bytes() == codec.to_bytes()
    index = nb.Index(2, "l2", codec=nb.SQ(4), seed=3)
    index.add(sample)
    assert index.trained_codec.to_bytes() == codec.to_bytes()
    codes = codec.encode(sample[:9])
    for other in (
        nb.SQ(4).train(sample, "l2", seed=4),
        nb.SQ(4).train(sample[:65_536], "l2", seed=3),
    ):
        assert not np.array_equal(other.decode(codes), codec.decode(codes))
    # Those that are not drawn are checked all the same.
    for at in range(0, 70_000, 7_000):
        bad = sample.copy()
        bad[at, 1] = np.nan
        with pytest.raises(ValueError, match=f"^sample: expected finite .* row {at}, dimension 1"):
            nb.SQ(4).train(bad, "l2")


def test_an_index_gives_its_codec_once_it_is_trained(rng):
    rows = rng.standard_normal((1100, DIM), dtype=np.float32)
    index = nb.Index(DIM, codec=nb.RaBitQ(2))
    index.add(rows[:5])
    with pytest.raises(ValueError, match=r"^index: expected one that is trained, got one of 5"):
        _ = index.trained_codec
    index.add(rows[5:])
    codec = index.trained_codec
    for other in (index.copy(), nb.Index.from_bytes(index.to_bytes()), nb.Index(DIM, codec=codec)):
        assert other.trained_codec.to_bytes() == codec.to_bytes()
    np.testing.assert_array_equal(
        codec.distances(rows[:3], codec.encode(rows)), distances_of(index, rows[:3])
    )
    plain = nb.Index(DIM, metric="l2").trained_codec
    assert (plain.settings, plain.dim, plain.metric) == (nb.Float32(), DIM, "l2")


def test_an_index_of_a_trained_codec_is_like_any_other(tmp_path, rng):
    rows = rng.standard_normal((1100, DIM), dtype=np.float32)
    codec = nb.PQ(4, 4).train(rows, "l2")
    index = nb.Index(DIM, codec=codec)
    assert nb.Index(DIM, "l2", codec=codec).metric == "l2"
    assert repr(index) == (
        f"nb.Index({DIM}, metric='l2', layout=Flat(), "
        "codec=PQ(m=4, nbits=4, rotation=None)) with 0 items"
    )
    assert index.stats()["trained"]
    index.add(rows[:9])  # fewer than would train one
    index.save(tmp_path / "index")
    for mmap in (False, True):
        loaded = nb.load(tmp_path / "index", mmap=mmap)
        assert (loaded.codec, loaded.metric) == (codec.settings, "l2")
        assert answer(loaded.search(rows, 3)) == answer(index.search(rows, 3))
        assert loaded.trained_codec.to_bytes() == codec.to_bytes()
    with pytest.raises(ValueError, match=r"^index: expected one that is not trained yet"):
        index.train(rows)


def test_indexes_share_a_codec_while_others_encode(rng):
    rows = rng.standard_normal((3000, DIM), dtype=np.float32)
    codec = nb.RaBitQ(4).train(rows)
    one, two = nb.Index(DIM, codec=codec), nb.Index(DIM, codec=codec)
    one.add(rows[:1500])
    two.add(rows[1500:])
    codes = codec.encode(rows)
    expected = [answer(index.search(rows[:50], 5)) for index in (one, two)]
    merged = nb.merge_hits([one.search(rows[:9], 3), two.search(rows[:9], 3)], 3)
    np.testing.assert_array_equal(
        np.sort(codec.distances(rows[:9], codes), axis=1)[:, :3], merged.distances
    )
    faults, done = [], threading.Event()

    def encode():
        while not done.is_set():
            if not np.array_equal(codec.encode(rows, threads=2), codes):
                faults.append("encode")

    thread = threading.Thread(target=encode)
    thread.start()
    for _ in range(20):
        if [answer(index.search(rows[:50], 5)) for index in (one, two)] != expected:
            faults.append("search")
        two.upsert(two.ids[:100], rows[1500:1600])
    done.set()
    thread.join()
    assert not faults


@pytest.mark.parametrize("call", ["encode", "decode", "distances", "train"])
def test_progress_is_reported_and_may_end_a_call(call, rng):
    rows = rng.standard_normal((2000, DIM), dtype=np.float32)
    codec = nb.SQ(8).train(rows)
    codes = codec.encode(rows)
    calls = {
        "encode": lambda progress: codec.encode(rows, progress=progress),
        "decode": lambda progress: codec.decode(codes, progress=progress),
        "distances": lambda progress: codec.distances(rows[:3], codes, progress=progress),
        "train": lambda progress: nb.PQ(2).train(rows, progress=progress),
    }
    seen = []
    calls[call](lambda done, total: seen.append((done, total)))
    assert seen == sorted(seen)
    if call != "train":
        total = 6000 if call == "distances" else 2000
        assert seen[-1] == (total, total)

    def stop(done, total):
        raise InterruptedError

    with pytest.raises(InterruptedError):
        calls[call](stop)


# ---------------------------------------------------------------------------------- files


@pytest.mark.parametrize(("settings", "metric"), CASES)
def test_a_codec_comes_back_from_files_bytes_and_pickles(settings, metric, tmp_path, rng):
    rows = rows_for(settings, 1100, rng)
    codec = settings.train(rows, metric, seed=7)
    codec.save(tmp_path / "codec")
    assert (tmp_path / "codec").read_bytes() == codec.to_bytes()
    check(codec.to_bytes())
    codes, found = codec.encode(rows), codec.distances(rows[:3], codec.encode(rows))
    for other in (
        nb.load_codec(tmp_path / "codec"),
        nb.TrainedCodec.from_bytes(codec.to_bytes()),
        pickle.loads(pickle.dumps(codec)),
        copy.deepcopy(codec),
    ):
        assert (other.settings, other.dim, other.metric) == (settings, DIM, metric)
        assert repr(other) == repr(codec)
        np.testing.assert_array_equal(other.encode(rows), codes)
        np.testing.assert_array_equal(other.distances(rows[:3], codes), found)
        assert other.to_bytes() == codec.to_bytes()


def test_a_file_of_a_codec_is_read_by_its_document_alone(rng):
    rows = rng.standard_normal((1100, DIM), dtype=np.float32)
    codec = nb.PQ(7, 4).train(rows, "l2", seed=9)
    data = codec.to_bytes()
    parts = {name: data[offset : offset + n] for name, offset, n in sections(data)}
    assert list(parts) == ["header", "codec", "table", "trailer"]
    head = struct.pack("<I2sI2sQ", 2, b"pq", 2, b"l2", DIM)
    assert parts["codec"].startswith(head)
    learned = Learned(parts["codec"], counts=0)
    assert (learned.bits, learned.m, learned.seed) == (4, 7, 9)
    _, _, numbers = learned.factors(codec.encode(rows))
    starts = np.concatenate([[0], np.cumsum(learned.parts)])
    for part, centroids in enumerate(learned.centroids):
        residuals = (rows - learned.mean)[:, starts[part] : starts[part + 1]]
        apart = ((residuals[:, None] - centroids) ** 2).sum(axis=2)
        np.testing.assert_array_equal(numbers[:, part], apart.argmin(axis=1))


def test_an_index_and_a_codec_are_told_apart(tmp_path, rng):
    index, codec = nb.Index(DIM), nb.Float32().train(np.ones((1, DIM), np.float32))
    index.save(tmp_path / "index")
    codec.save(tmp_path / "codec")
    with pytest.raises(nb.CorruptIndexError, match=r"codec: expected an index, got a codec"):
        nb.load(tmp_path / "codec")
    with pytest.raises(nb.CorruptIndexError, match=r"codec: expected an index, got a codec"):
        nb.load(tmp_path / "codec", mmap=True)
    with pytest.raises(nb.CorruptIndexError, match=r"^bytes: expected an index, got a codec"):
        nb.Index.from_bytes(codec.to_bytes())
    with pytest.raises(nb.CorruptIndexError, match=r"index: expected a codec, got an index"):
        nb.load_codec(tmp_path / "index")
    with pytest.raises(nb.CorruptIndexError, match=r"^bytes: expected a codec, got an index"):
        nb.TrainedCodec.from_bytes(index.to_bytes())


def test_what_is_damaged_is_refused(tmp_path, rng):
    data = nb.RaBitQ(2).train(rng.standard_normal((1100, 8)), "l2").to_bytes()
    path = tmp_path / "codec"
    for at in range(len(data)):
        flipped = data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :]
        for bad in (data[:at], flipped):
            with pytest.raises(nb.CorruptIndexError, match=r"^bytes: "):
                nb.TrainedCodec.from_bytes(bad)
    for at in range(0, len(data), 50):
        path.write_bytes(data[:at])
        with pytest.raises(nb.CorruptIndexError, match="codec: "):
            nb.load_codec(path)


@pytest.mark.parametrize(
    "settings", [nb.Bits(), nb.Float16(), *LEARNING], ids=lambda s: name_of(s, "forged")
)
def test_what_is_forged_is_refused_or_does_no_harm(settings, rng):
    dim = 8
    rows = rows_for(settings, 1100, rng, dim)
    codec = settings.train(rows, settings.metrics[-1])
    data, codes = codec.to_bytes(), codec.encode(rows[:40])
    refused = 0
    for name, _, n_bytes in sections(data):
        for at in range(min(n_bytes, 250)):
            bad = forged(data, name, at, int(rng.choice([1, 0x80, 0xFF])))
            try:
                other = nb.TrainedCodec.from_bytes(bad)
            except nb.CorruptIndexError:
                refused += 1
                continue
            if other.dim != dim or other.code_bytes != codec.code_bytes:
                continue
            with np.errstate(all="ignore"):
                other.decode(codes)
                assert not np.isnan(other.distances(rows[:2], codes)).any()
                nb.Index(dim, codec=other).add(rows[:40])
    assert refused > 100


def test_an_untrained_codec_is_no_codec_to_load(rng):
    data = nb.RaBitQ(2).train(rng.standard_normal((1100, 8)), "l2").to_bytes()
    (content,) = (data[at : at + n] for name, at, n in sections(data) if name == "codec")
    assert of_one_section(data, content) == data
    settings = 4 + 6 + 4 + 2 + 8 + 4 + 4 + 1 + 8  # "rabitq", "l2", dim; bits, m, rotated, seed
    assert content[settings] == 1
    with pytest.raises(nb.CorruptIndexError, match="section 'codec': expected a trained codec"):
        nb.TrainedCodec.from_bytes(of_one_section(data, content[:settings] + b"\0"))
    with pytest.raises(nb.CorruptIndexError, match="section 'codec': expected its end"):
        nb.TrainedCodec.from_bytes(of_one_section(data, content + b"\0"))
    rotated = content[: settings - 9] + b"\1" + content[settings - 8 :]
    with pytest.raises(nb.CorruptIndexError, match="expected a kind of rotation, got 1"):
        nb.TrainedCodec.from_bytes(of_one_section(data, rotated))
