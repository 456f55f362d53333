"""Codebooks that were learned elsewhere."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import struct

import numpy as np
import pytest
from checks import answer
from container import Learned, contents, forged, of_one_section, sections

import nearbit as nb

WIDTHS = (3, 1, 5, 2)  # of a row of 11


def books(rng, k=16, widths=WIDTHS):
    return [rng.standard_normal((k, width), dtype=np.float32) for width in widths]


def rotation(rng, dim_out, dim):
    return np.linalg.qr(rng.standard_normal((dim, dim_out)))[0].T


def assert_nearest(numbers, codebooks, rows):
    """They are those of each part's nearest centroids, in numpy; of nearly equal ones, either."""
    assert numbers.shape == (len(rows), len(codebooks))
    start = 0
    for part, book in enumerate(codebooks):
        end = start + book.shape[1]
        apart = ((rows[:, None, start:end] - book) ** 2).sum(axis=2)
        chosen = np.take_along_axis(apart, numbers[:, [part]], axis=1)[:, 0]
        assert (chosen <= apart.min(axis=1) + 1e-5).all()
        start = end


def learned(codec):
    data = codec.to_bytes()
    (content,) = (data[at : at + n] for name, at, n in sections(data) if name == "codec")
    return Learned(content, counts=0)


@pytest.mark.parametrize("metric", ["l2", "ip", "cosine"])
@pytest.mark.parametrize("k", [16, 256])
@pytest.mark.parametrize("rotated", [False, True])
def test_codes_are_the_nearest_of_the_centroids_given(metric, k, rotated, rng):
    codebooks, rows = books(rng, k), rng.standard_normal((1100, 11), dtype=np.float32)
    matrix = rotation(rng, 11, 11) if rotated else None
    codec = nb.PQ.from_codebooks(codebooks, matrix).train(rows + 1, metric)
    codes = codec.encode(rows)
    at_length_1 = rows.astype(np.float64)
    if metric == "cosine":
        at_length_1 /= np.linalg.norm(rows, axis=1)[:, None]
    turned = at_length_1 @ matrix.T if rotated else at_length_1
    found = learned(codec)
    assert not found.mean.any()
    scales, norms, numbers = found.factors(codes)
    assert_nearest(numbers, codebooks, turned)

    # A distance is what the code says: the row's scale times its product with the centroids.
    y = np.concatenate([book[numbers[:, i]] for i, book in enumerate(codebooks)], axis=1)
    queries = at_length_1[:20]
    products = scales * ((queries @ matrix.T if rotated else queries) @ y.T)
    expected = {
        "l2": (queries**2).sum(axis=1)[:, None] + norms - 2 * products,
        "ip": -products,
        "cosine": 1 - products,
    }[metric]
    least = -np.inf if metric == "ip" else 0
    distances = codec.distances(queries.astype(np.float32), codes)
    np.testing.assert_allclose(distances, np.maximum(expected, least), atol=2e-4)


def test_a_rotation_may_leave_dimensions_out(rng):
    codebooks, matrix = books(rng), rotation(rng, 11, 24)
    rows = rng.standard_normal((1100, 24), dtype=np.float32)
    codec = nb.PQ.from_codebooks(codebooks, matrix).train(rows, "ip")
    assert codec.dim == 24
    codes = codec.encode(rows)[:, 1:]
    numbers = np.stack([codes & 15, codes >> 4], axis=2).reshape(1100, 4).astype(int)
    assert_nearest(numbers, codebooks, rows @ matrix.T)
    assert codec.decode(codec.encode(rows)).shape == rows.shape


def test_an_array_is_as_a_list_of_its_parts(rng):
    whole = rng.standard_normal((3, 256, 4))
    of_array, of_list = nb.PQ.from_codebooks(whole), nb.PQ.from_codebooks(list(whole))
    assert of_array == of_list == nb.PQ.from_codebooks(np.asfortranarray(whole.astype(">f4")))
    assert hash(of_array) == hash(of_list)
    assert of_array != nb.PQ(3)
    assert of_array != nb.PQ.from_codebooks(whole + 1)
    assert of_array != nb.PQ.from_codebooks(whole, np.eye(12))
    assert (of_array.m, of_array.nbits, of_array.rotation) == (3, 8, None)
    assert repr(of_array) == "PQ.from_codebooks(3 of 256 centroids)"
    for same in (pickle.loads(pickle.dumps(of_array)), copy.deepcopy(of_array)):
        assert same == of_array
    with pytest.raises(dataclasses.FrozenInstanceError):
        of_array.m = 4
    kept = nb.PQ.from_codebooks(whole)
    whole += 1
    assert kept == of_array


@pytest.mark.parametrize("matrix", [False, True])
def test_an_index_of_them_is_like_any_other(matrix, tmp_path, rng):
    settings = nb.PQ.from_codebooks(books(rng), rotation(rng, 11, 11) if matrix else None)
    rows = rng.standard_normal((1100, 11), dtype=np.float32)
    index = nb.Index(11, "l2", codec=settings)
    index.add(rows[:7])
    for part in (rows[7:8], rows[8:]):  # untrained, and trained
        index.add(part)
        index.save(tmp_path / "index")
        for loaded in (nb.load(tmp_path / "index"), pickle.loads(pickle.dumps(index))):
            assert loaded.codec == index.codec == settings
            assert loaded.to_bytes() == index.to_bytes()
            assert answer(loaded.search(rows[:9], 3)) == answer(index.search(rows[:9], 3))
    early = nb.Index(11, "l2", codec=settings)
    early.add(rows[:7])
    restored = nb.Index.from_bytes(early.to_bytes())
    restored.add(rows[7:])
    early.add(rows[7:])
    assert restored.to_bytes() == early.to_bytes()
    codec = index.trained_codec
    assert codec.settings == settings
    np.testing.assert_array_equal(contents(index.to_bytes())[1], codec.encode(rows))
    assert settings.train(rows, "l2").to_bytes() == codec.to_bytes()


def test_what_is_forged_is_refused_or_does_no_harm(rng):
    settings = nb.PQ.from_codebooks(books(rng, widths=(2, 1)), rotation(rng, 3, 4))
    rows = rng.standard_normal((1100, 4), dtype=np.float32)
    empty, trained = nb.Index(4, codec=settings), nb.Index(4, codec=settings)
    trained.add(rows)
    refused = 0
    for index in (empty, trained):
        data = index.to_bytes()
        ((_, _, n_bytes),) = (part for part in sections(data) if part[0] == "settings")
        for at in range(min(n_bytes, 230)):
            try:
                other = nb.Index.from_bytes(forged(data, "settings", at, int(rng.choice([1, 255]))))
            except nb.CorruptIndexError:
                refused += 1
                continue
            if other.dim == 4:
                assert other.codec.name == "pq"
                other.add(rows)
                other.search(rows[:3])
    assert refused > 100


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ((3, 2, 4, 2, 1), (3, 2, 4, 2, 2), "got one of 2 where 1 are left"),
        ((3, 2, 4, 2, 1), (3, 2, 4, 1, 1), "got one of 1 where 2 are left"),
        ((3, 2, 4, 2, 1), (3, 2, 4, 3, 0), "got one of 0 where 0 are left"),
        ((3, 2, 4, 2, 1), (4, 2, 4, 2, 2), "expected codebooks for 3 dimensions, got some for 4"),
        ((3, 2, 4, 2, 1), (3, 3, 4, 1, 1), "parts"),
    ],
)
def test_files_whose_parts_do_not_add_up_are_refused(old, new, said, rng):
    rows = rng.standard_normal((1100, 4), dtype=np.float32)
    settings = nb.PQ.from_codebooks(books(rng, widths=(2, 1)), rotation(rng, 3, 4))
    data = settings.train(rows).to_bytes()
    (content,) = (data[at : at + n] for name, at, n in sections(data) if name == "codec")
    head = struct.pack("<5I", *old)
    assert content.count(head) == 1
    # Zeros behind, so that no number is missing.
    bad = content.replace(head, struct.pack("<5I", *new)) + bytes(400)
    with pytest.raises(nb.CorruptIndexError, match=f"section 'codec': .*{said}"):
        nb.TrainedCodec.from_bytes(of_one_section(data, bad))


def bad():
    whole = np.zeros((3, 16, 4))
    yield "codebooks", ValueError, r"\(16, 4\)", whole[0], None
    yield "codebooks", ValueError, r"\(3, 17, 4\)|17", np.zeros((3, 17, 4)), None
    yield "codebooks", ValueError, "0", np.zeros((3, 16, 0)), None
    yield "codebooks", ValueError, r"\[\]", [], None
    yield "codebooks", ValueError, "256", [np.zeros((16, 4)), np.zeros((256, 4))], None
    yield "codebooks", ValueError, "65540", np.zeros((1, 16, 65_540)), None
    yield "codebooks", TypeError, "int64", np.zeros((3, 16, 4), np.int64), None
    yield "codebooks", TypeError, "complex", whole + 1j, None
    yield "codebooks", TypeError, "object", None, None
    yield "codebooks", TypeError, "<U", "abc", None
    yield "codebooks", TypeError, "masked", np.ma.masked_array(whole), None
    yield "codebooks", ValueError, "nan", whole * np.nan, None
    yield "codebooks", ValueError, "infinity", whole + 1e39, None
    yield "codebooks", ValueError, "norms", whole + 1e19, None
    yield "rotation", ValueError, r"\(12, 12 or more\), got \(11, 12\)", whole, np.eye(11, 12)
    yield "rotation", ValueError, r"\(12, 11\)", whole, np.eye(12, 11)
    yield "rotation", ValueError, r"\(12,\)", whole, np.ones(12)
    yield (
        "rotation",
        ValueError,
        "orthonormal rows, within 0.0001, got 0.21 off",
        whole,
        np.eye(12) * 1.1,
    )
    yield "rotation", ValueError, "nan", whole, np.eye(12) * np.nan
    yield "rotation", TypeError, "int64", whole, np.eye(12, dtype=np.int64)
    yield "rotation", TypeError, "<U", whole, "opq"


@pytest.mark.parametrize(("argument", "error", "got", "codebooks", "matrix"), list(bad()))
def test_bad_codebooks_are_refused(argument, error, got, codebooks, matrix):
    with pytest.raises(error, match=f"^{argument}: expected .*{got}"):
        nb.PQ.from_codebooks(codebooks, matrix)


def test_the_dimensions_must_be_those_of_the_rows(rng):
    settings = nb.PQ.from_codebooks(books(rng))
    for make in (
        lambda: nb.Index(12, codec=settings),
        lambda: settings.train(np.zeros((1100, 12), np.float32)),
    ):
        with pytest.raises(ValueError, match=r"^codec: expected codebooks for 12 .*, got .* 11"):
            make()


def test_a_replaced_codec_keeps_its_codebooks_or_says_that_it_can_not(rng):
    settings = nb.PQ.from_codebooks(books(rng), rotation(rng, 11, 24))
    assert dataclasses.replace(settings) == settings
    assert dataclasses.replace(settings, m=4, nbits=4, rotation=None) == settings
    for change in ({"m": 3}, {"nbits": 8}, {"m": 2, "nbits": 8}, {"rotation": "opq"}):
        with pytest.raises(ValueError, match=r"^codebooks: expected no change of those given, got"):
            dataclasses.replace(settings, **change)
    with pytest.raises(ValueError, match=r"^nbits: expected 4 or 8, got 5"):
        dataclasses.replace(settings, nbits=5)
    assert dataclasses.replace(nb.PQ(4), rotation="opq") == nb.PQ(4, rotation="opq")
