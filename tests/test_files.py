"""Files and bytes: what is saved comes back; what is damaged is refused; a crash loses nothing."""

from __future__ import annotations

import os
import pickle
import re
from pathlib import Path

import child
import numpy as np
import pytest
from checks import answer, assert_hits, next_id, unchanged
from container import check, contents, look_up, sections
from kinds import BITS, COSINE, KINDS, L2

import nearbit as nb


@pytest.fixture(params=KINDS, ids=str)
def kind(request):
    return request.param


def lived_in(kind, rng):
    """An index that has seen changes, and (ids, rows) of what it holds."""
    dim = kind.dim(40)
    rows = kind.rows(900, dim, rng)
    index = kind.new(dim)
    index.add(rows[:600], ids=rng.permutation(5000)[:600])
    gone = index.ids[::4]
    index.remove(gone)
    index.add(rows[600:])
    index.update(index.ids[:50], rows[:50])
    return index


def assert_equal(a, b, kind, rng):
    """Two indexes hold and answer the same."""
    assert (a.dim, a.metric, len(a)) == (b.dim, b.metric, len(b))
    assert type(a.codec) is type(b.codec)
    assert type(a.layout) is type(b.layout)
    np.testing.assert_array_equal(a.ids, b.ids)
    np.testing.assert_array_equal(a.get(a.ids), b.get(a.ids))
    queries = kind.rows(20, a.dim, rng)
    assert answer(a.search(queries, 9)) == answer(b.search(queries, 9))
    allowed = a.ids[::3]
    assert answer(a.search(queries, 9, filter=allowed)) == answer(
        b.search(queries, 9, filter=allowed)
    )


def names_in(folder):
    return [path.name for path in folder.iterdir()]


def through_file(index, path, **how):
    index.save(path)
    return nb.load(path, **how)


ROADS = {
    "load": lambda index, path: through_file(index, path),
    "load of a str": lambda index, path: through_file(index, str(path)),
    "load, verified": lambda index, path: through_file(index, path, verify=True),
    "mmap": lambda index, path: through_file(index, path, mmap=True),
    "mmap, verified": lambda index, path: through_file(index, path, mmap=True, verify=True),
    "bytes": lambda index, path: nb.Index.from_bytes(index.to_bytes()),
    "bytearray": lambda index, path: nb.Index.from_bytes(bytearray(index.to_bytes())),
    "memoryview": lambda index, path: nb.Index.from_bytes(memoryview(index.to_bytes())),
    "memoryview at an odd address": lambda index, path: nb.Index.from_bytes(
        memoryview(b"?" + index.to_bytes())[1:]
    ),
    "pickle": lambda index, path: pickle.loads(pickle.dumps(index)),
    "old pickle": lambda index, path: pickle.loads(pickle.dumps(index, protocol=2)),
    "copy": lambda index, path: index.copy(),
}


@pytest.mark.parametrize("road", ROADS)
def test_what_is_saved_comes_back(kind, road, tmp_path, rng):
    index = lived_in(kind, rng)
    back = ROADS[road](index, tmp_path / "index.nearbit")
    assert_equal(back, index, kind, rng)
    assert back.readonly == ("mmap" in road)
    assert back.to_bytes() == index.to_bytes()
    assert next_id(back) == next_id(index)
    assert not index.readonly


@pytest.mark.parametrize("road", ROADS)
def test_an_empty_index_comes_back(kind, road, tmp_path, rng):
    index = kind.new(16)
    assert_equal(ROADS[road](index, tmp_path / "index"), index, kind, rng)
    used = kind.new(16)
    used.add(kind.rows(3, 16, rng), ids=[4, 70, 6])
    used.remove([4, 70, 6])
    back = ROADS[road](used, tmp_path / "index")
    assert len(back) == 0
    assert next_id(back) == 71


def test_what_comes_back_can_be_changed(kind, tmp_path, rng):
    index = lived_in(kind, rng)
    twin = index.copy()
    back = through_file(index, tmp_path / "index")
    for one in (back, twin):
        one.remove(one.ids[::5])
        one.add(kind.rows(200, one.dim, np.random.default_rng(1)))
        one.update(one.ids[-3:], kind.rows(3, one.dim, np.random.default_rng(2)))
    assert_equal(back, twin, kind, rng)
    back.compact()
    assert_equal(back, twin, kind, rng)


def test_a_file_holds_the_bytes_of_to_bytes(kind, tmp_path, rng):
    index = lived_in(kind, rng)
    index.save(tmp_path / "index")
    assert (tmp_path / "index").read_bytes() == index.to_bytes()
    assert index.to_bytes() == index.to_bytes()


def test_save_replaces_a_file_and_leaves_nothing_beside_it(tmp_path, rng):
    path = tmp_path / "index.nearbit"
    small, large = L2.filled(10, 8)[0], L2.filled(5000, 8)[0]
    for index in (large, small, large, small):
        index.save(path)
        assert nb.load(path).to_bytes() == index.to_bytes()
        assert names_in(tmp_path) == ["index.nearbit"]


def test_save_over_the_file_that_an_index_is_mapped_from(tmp_path):
    path = tmp_path / "index"
    first, rows = L2.filled(3000, 16)
    first.save(path)
    mapped = nb.load(path, mmap=True)
    expected = answer(mapped.search(rows[:5], 5))
    second, _ = L2.filled(10, 16, seed=9)
    second.save(path)
    assert answer(mapped.search(rows[:5], 5)) == expected
    assert nb.load(path).to_bytes() == second.to_bytes()
    mapped.save(path)
    assert answer(mapped.search(rows[:5], 5)) == expected
    assert nb.load(path).to_bytes() == first.to_bytes()


def test_save_to_where_no_file_can_be_says_which(tmp_path):
    index, _ = L2.filled(10, 8)
    (tmp_path / "file").write_bytes(b"")
    for path in (tmp_path / "no such folder" / "x", tmp_path, tmp_path / "file" / "x"):
        with unchanged(index), pytest.raises(OSError, match=path.name) as caught:
            index.save(path)
        assert caught.value.errno
    with pytest.raises(FileNotFoundError) as caught:
        nb.load(tmp_path / "nothing")
    assert Path(caught.value.filename) == tmp_path / "nothing"
    with pytest.raises(FileNotFoundError):
        nb.load(tmp_path / "nothing", mmap=True)
    with pytest.raises(IsADirectoryError):
        nb.load(tmp_path)
    assert names_in(tmp_path) == ["file"]


def test_save_keeps_the_old_file_when_the_disk_is_full():
    said = child.output(
        """
        import os, resource, signal, tempfile, numpy as np, nearbit as nb
        from kinds import L2
        folder = tempfile.mkdtemp()
        path = folder + "/index"
        small, large = L2.filled(10, 8)[0], L2.filled(100_000, 8)[0]
        small.save(path)
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, resource.RLIM_INFINITY))
        try:
            large.save(path)
        except OSError as error:
            print(error.errno is not None, os.listdir(folder))
        print(nb.load(path).to_bytes() == small.to_bytes())
        """
    )
    assert said == "True ['index']\nTrue\n"


def test_paths_may_hold_any_character(tmp_path):
    index, _ = L2.filled(10, 8)
    path = tmp_path / "Überraschung 雪 \udcff"
    index.save(path)
    assert nb.load(path).to_bytes() == index.to_bytes()
    assert nb.load(os.fsencode(path)).to_bytes() == index.to_bytes()
    assert len(nb.load(path, mmap=True)) == 10
    path.write_bytes(b"not an index")
    with pytest.raises(nb.CorruptIndexError, match="Überraschung 雪"):
        nb.load(path)
    path.unlink()
    with pytest.raises(FileNotFoundError) as caught:
        nb.load(path)
    assert Path(caught.value.filename) == path


def test_a_mapped_index_refuses_changes(kind, tmp_path, rng):
    index = lived_in(kind, rng)
    mapped = through_file(index, tmp_path / "index", mmap=True)
    assert mapped.readonly
    row, some = kind.rows(1, mapped.dim, rng), mapped.ids[:1]
    for change in (
        lambda: mapped.add(row),
        lambda: mapped.remove(some),
        lambda: mapped.update(some, row),
        lambda: mapped.upsert(some, row),
        lambda: mapped.compact(),
        lambda: mapped.reserve(10_000),
    ):
        with pytest.raises(
            (ValueError, RuntimeError), match=r"index: expected one that can be changed"
        ):
            change()
    assert_equal(mapped, index, kind, rng)
    free = mapped.copy()
    assert not free.readonly
    free.add(row)
    assert (tmp_path / "index").read_bytes() == index.to_bytes()


def test_a_mapped_index_outlives_its_file(tmp_path):
    index, rows = COSINE.filled(2000, 64)
    path = tmp_path / "index"
    index.save(path)
    mapped = nb.load(path, mmap=True)
    path.unlink()
    assert answer(mapped.search(rows, 5)) == answer(index.search(rows, 5))
    chosen = mapped.filter([1, 2, 3])
    del mapped
    assert chosen is not None


# ------------------------------------------------------------------------------------ damage


def flips(data, rng, per_section):
    """Offsets to damage: all of a small part of the file, the ends and a sample of a large one."""
    for _, offset, n_bytes in sections(data):
        if n_bytes <= per_section:
            yield from range(offset, offset + n_bytes)
        else:
            yield from (offset, offset + n_bytes - 1)
            yield from (offset + rng.integers(0, n_bytes, per_section)).tolist()


@pytest.mark.parametrize("custom", [False, True], ids=["automatic ids", "ids of one's own"])
def test_every_part_of_a_file_has_a_name_and_the_table_covers_it(kind, custom, rng):
    index = kind.new(kind.dim(40))
    rows = kind.rows(50, kind.dim(40), rng)
    index.add(rows, ids=rng.permutation(50) if custom else None)
    data = index.to_bytes()
    parts = sorted((offset, n, name) for name, offset, n in sections(data))
    assert len({name for *_, name in parts}) == len(parts)
    end = 0
    for offset, n_bytes, _ in parts:
        assert offset >= end
        assert not any(data[end:offset]), "what lies between the parts is zero"
        end = offset + n_bytes
    assert end == len(data)
    assert any(n >= kind.stored_bytes(rows) for _, n, _ in parts)


@pytest.mark.parametrize("how", ["automatic ids", "ids of one's own", "some removed"])
def test_a_file_is_read_by_its_document_alone(kind, how, rng):
    dim = kind.dim(40)
    index = kind.new(dim)
    rows = kind.rows(120, dim, rng)
    if how == "ids of one's own":
        ids = rng.permutation(2**40 + np.arange(120))
        index.add(rows, ids=ids)
    else:
        ids = index.add(rows)
    next_automatic = int(ids.max()) + 1
    if how == "some removed":
        index.remove(ids[2::3])
        keep = np.arange(120) % 3 < 2
        rows, ids = rows[keep], ids[keep]
    data = index.to_bytes()
    check(data)
    words, stored, factors, found, slots = contents(data)
    automatic = how == "automatic ids"
    assert words == (kind.codec, kind.metric, dim, len(ids), next_automatic, automatic)
    if kind.codec in ("rabitq", "sq"):  # test_compact.py says what they should be
        assert stored.nbytes == kind.stored_bytes(rows)
    else:
        np.testing.assert_array_equal(stored, kind.stored(rows))
    if kind.codec in ("float32", "float16"):
        norms = np.linalg.norm(kind.stored(rows).astype(np.float64), axis=1)
        expected = {"l2": norms**2, "ip": norms, "cosine": 1 / norms}[kind.metric]
        np.testing.assert_allclose(factors, expected, rtol=1e-6)
    elif kind.metric == "jaccard":
        np.testing.assert_array_equal(factors, np.unpackbits(rows, axis=1).sum(axis=1))
    else:
        assert factors is None
    if automatic:
        assert found is None
        assert slots is None
        return
    np.testing.assert_array_equal(found, ids)
    assert len(slots) == {80: 128, 120: 256}[len(ids)]
    assert [look_up(slots, found, one) for one in ids.tolist()] == list(range(len(ids)))
    assert look_up(slots, found, 5_000) is None


def test_the_example_in_the_document_is_true():
    document = Path(__file__).parent.parent / "docs" / "formats.md"
    example = document.read_text(encoding="utf-8").partition("\n## An example\n")[2]
    example = example.partition("\n## ")[0].replace(",", "").replace("`", "")
    stated = re.findall(r"^\| (\w+) \| (\d+) \| (\d+) \|$", example, re.MULTILINE)
    index, _ = COSINE.filled(2, 384, ids=[7, 3])
    data = index.to_bytes()
    assert f"{len(data)} bytes" in example
    assert [(name, int(at), int(n)) for name, at, n in stated] == list(sections(data))


DAMAGED = (
    child.LIMIT
    + """
import faulthandler, sys, pickle
import numpy as np, nearbit as nb
from container import forged
faulthandler.dump_traceback_later(100, exit=True)
path, mmap = sys.argv[1], sys.argv[2] == "mmap"
with open(path, "rb") as f:
    data = f.read()
with open(path + ".todo", "rb") as f:
    cases, queries = pickle.load(f)
whole = nb.load(path)
expected = [a.tobytes() for a in whole.search(queries, 5)]
outcomes = {"refused": 0, "right": 0, "other": 0}
for case in cases:
    print("case", case, file=sys.stderr, flush=True)
    kind, at, value = case
    if kind == "cut":
        bad = data[:at]
    elif kind == "flip":
        bad = data[:at] + bytes([data[at] ^ value]) + data[at + 1 :]
    else:
        bad = forged(data, kind, at, value)
    with open(path + ".bad", "wb") as f:
        f.write(bad)
    try:
        index = nb.load(path + ".bad", mmap=mmap)
        found = [a.tobytes() for a in index.search(queries, 5)]
        index.search(queries, 5, filter=np.arange(0, 300, 3))
        index.range_search(queries, 1.0, limit=7)
        assert len(index.ids) <= len(data)
        for i in index.ids[:20].tolist():
            index.get(i)
        len(index), repr(index), index.stats(), index.nbytes, 3 in index
        right = found == expected and index.to_bytes() == whole.to_bytes()
        outcome = "right" if right else "other"
    except nb.CorruptIndexError:
        outcome = "refused"
    except KeyError:
        # A mapped index with a damaged id map may not find an id that it lists.
        outcome = "other"
    outcomes[outcome] += 1
    if outcome == "other" and not mmap and kind in ("cut", "flip"):
        sys.exit(f"loaded a damaged file: {case}")
print(*outcomes.values())
"""
)


def damage(index, queries, path, cases, how):
    """How many cases ended (refused, right, otherwise); any crash, hang or MemoryError fails."""
    index.save(path)
    Path(f"{path}.todo").write_bytes(pickle.dumps((cases, queries)))
    return [int(n) for n in child.output(DAMAGED, path, how).split()]


@pytest.mark.parametrize("how", ["load", "mmap"])
@pytest.mark.parametrize("custom", [False, True], ids=["automatic ids", "ids of one's own"])
def test_a_flipped_byte_is_refused_or_does_no_harm(kind, custom, how, tmp_path, rng):
    """load: refused or the right answer. mmap: any answer, but no crash, hang or endless memory."""
    dim = kind.dim(40)
    index = kind.new(dim)
    rows = kind.rows(300, dim, rng)
    index.add(rows, ids=rng.permutation(300) if custom else None)
    index.remove(index.ids[::7])
    data = index.to_bytes()
    cases = [("flip", at, 1 << int(rng.integers(8))) for at in flips(data, rng, per_section=40)]
    refused, right, other = damage(index, rows[:3], tmp_path / "index", cases, how)
    assert refused + right + other == len(cases)
    if how == "load":
        assert other == 0
        assert refused == len(cases), "every byte of every section is under a checksum"
    else:
        assert refused > 0


@pytest.mark.parametrize("how", ["load", "mmap"])
@pytest.mark.parametrize("custom", [False, True], ids=["automatic ids", "ids of one's own"])
def test_a_forged_file_is_refused_or_does_no_harm(custom, how, tmp_path, rng):
    """Right checksums over wrong numbers: counts, offsets, names, ids and slots are checked too."""
    kind = COSINE
    index = kind.new(40)
    rows = kind.rows(300, 40, rng)
    index.add(rows, ids=rng.permutation(300) if custom else None)
    cases = []
    for name, _, n_bytes in sections(index.to_bytes()):
        whole = n_bytes <= 300
        for at in range(n_bytes) if whole else rng.integers(0, n_bytes, 20).tolist():
            cases += [(name, at, value) for value in (1, 0x80, 0xFF)]
    refused, _, _ = damage(index, rows[:3], tmp_path / "index", cases, how)
    assert refused > 200


@pytest.mark.parametrize("how", ["load", "mmap"])
def test_a_truncated_file_is_refused(kind, how, tmp_path, rng):
    index = lived_in(kind, rng)
    size = len(index.to_bytes())
    edges = [at for _, offset, n in sections(index.to_bytes()) for at in (offset, offset + n)]
    cuts = {0, 1, 7, 8, 63, 64, size - 1, *(at + d for at in edges for d in (-1, 0, 1))}
    cuts |= set(rng.integers(0, size, 60).tolist())
    cases = [("cut", int(at), 0) for at in sorted(cuts) if 0 <= at < size]
    queries = kind.rows(3, index.dim, rng)
    refused, _, _ = damage(index, queries, tmp_path / "index", cases, how)
    assert refused == len(cases)


def test_from_bytes_refuses_damage_as_load_does(kind, rng):
    index = lived_in(kind, rng)
    data = index.to_bytes()
    for at in flips(data, rng, per_section=20):
        bad = data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :]
        with pytest.raises(nb.CorruptIndexError):
            nb.Index.from_bytes(bad)
    for at in rng.integers(0, len(data), 100).tolist():
        with pytest.raises(nb.CorruptIndexError):
            nb.Index.from_bytes(data[:at])


def test_a_pickle_of_damaged_bytes_is_refused(rng):
    index, rows = BITS.filled(100, 64)
    data = pickle.dumps(index)
    at = data.index(rows[50].tobytes())
    with pytest.raises(nb.CorruptIndexError):
        pickle.loads(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])


def test_foreign_files_are_refused(tmp_path, rng):
    np.save(tmp_path / "array.npy", np.zeros(100))
    np.savez(tmp_path / "arrays.npz", a=np.zeros(100))
    (tmp_path / "noise").write_bytes(rng.bytes(300_000))
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "code").write_bytes(Path(__file__).read_bytes())
    for path in tmp_path.iterdir():
        for mmap in (False, True):
            with pytest.raises(nb.CorruptIndexError, match=path.name):
                nb.load(path, mmap=mmap)


# ----------------------------------------------------------------------------------- crashes


def test_a_writer_killed_at_any_point_leaves_the_old_file_or_the_new(tmp_path):
    """A child saves two indexes in turn over one path and is killed with SIGKILL, 40 times."""
    said = child.output(
        """
        import os, random, signal, sys, time
        import nearbit as nb
        from kinds import L2
        path = sys.argv[1]
        a, b = L2.filled(40_000, 32, seed=1)[0], L2.filled(30_000, 32, seed=2)[0]
        whole = [a.to_bytes(), b.to_bytes()]
        a.save(path)
        started = time.perf_counter()
        b.save(path)
        one_save = time.perf_counter() - started
        chance = random.Random(3)
        seen = [0, 0]
        for _ in range(40):
            pid = os.fork()
            if pid == 0:
                while True:
                    a.save(path)
                    b.save(path)
            time.sleep(chance.uniform(0, 4 * one_save))
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            with open(path, "rb") as f:
                seen[whole.index(f.read())] += 1
            assert nb.load(path).to_bytes() in whole
        print(*seen)
        """,
        tmp_path / "index",
    )
    old, new = map(int, said.split())
    assert old + new == 40


def test_a_saved_file_is_read_by_another_process(kind, tmp_path, rng):
    index = lived_in(kind, rng)
    queries = kind.rows(5, index.dim, rng)
    index.save(tmp_path / "index")
    np.save(tmp_path / "queries.npy", queries)
    said = child.output(
        """
        import sys, numpy as np, nearbit as nb
        folder = sys.argv[1]
        index = nb.load(folder + "/index", mmap=True)
        hits = index.search(np.load(folder + "/queries.npy"), 7)
        print(hits.ids.tobytes().hex(), hits.distances.tobytes().hex())
        """,
        tmp_path,
    )
    ids, distances = answer(index.search(queries, 7))
    assert said.split() == [ids.hex(), distances.hex()]


def test_the_definitions_survive_a_file(demo, tmp_path):
    index = COSINE.new(demo.vectors.shape[1])
    index.add(demo.vectors)
    index.save(tmp_path / "definitions")
    for mmap in (False, True):
        back = nb.load(tmp_path / "definitions", mmap=mmap)
        hits = back.search(demo.queries[:50], 10)
        assert_hits(hits, COSINE, demo.queries[:50], demo.vectors)


@pytest.mark.parametrize("start", ["nothing", "header"])
def test_a_huge_foreign_file_is_refused_by_its_ends(start, tmp_path):
    """A sparse file of more bytes than the child may have."""
    path = tmp_path / "foreign"
    path.write_bytes(L2.new(8).to_bytes()[:64] if start == "header" else b"")
    os.truncate(path, 6 << 30)
    said = child.output(
        child.LIMIT
        + """
import sys, nearbit as nb
for mmap in (False, True):
    try:
        nb.load(sys.argv[1], mmap=mmap)
    except nb.CorruptIndexError as error:
        print(error)
    except MemoryError:
        assert mmap  # more than the address space has left
        print("first 8 bytes, trailer")
""",
        path,
    )
    assert said.count("trailer" if start == "header" else "first 8 bytes") == 2
