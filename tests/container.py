"""The container of a saved index, read and forged in Python as docs/formats.md describes it."""

from __future__ import annotations

import copy
import struct
from dataclasses import dataclass

import numpy as np
import reference

HEADER, ENTRY, TRAILER = 64, 40, 32
COMPACT = ("rabitq", "sq", "pcasq", "itq", "pq")


def sections(data):
    """(name, offset, bytes) of every part of a file."""
    size, table, n_sections = struct.unpack_from("<QQI", data, len(data) - TRAILER)
    assert size == len(data)
    yield "header", 0, HEADER
    for at in range(table, table + ENTRY * n_sections, ENTRY):
        name, _, _, offset, n_bytes = struct.unpack_from("<16sIIQQ", data, at)
        yield name.rstrip(b"\0").decode(), offset, n_bytes
    yield "table", table, ENTRY * n_sections
    yield "trailer", len(data) - TRAILER, TRAILER


def _remainder(byte):
    for _ in range(8):
        byte = (byte >> 1) ^ (0x82F63B78 if byte & 1 else 0)
    return byte


REMAINDERS = [_remainder(byte) for byte in range(256)]


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = (crc >> 8) ^ REMAINDERS[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def check(data):
    """Fail unless header, table, trailer, sections and padding are as the document has them."""
    assert data[:16] == b"\x89NBT\r\n\x1a\n" + struct.pack("<II", 0, 0x0A0B0C0D)
    assert struct.unpack_from("<7II", data, 32) == (*[0] * 7, crc32c(data[:60]))
    trailer = len(data) - TRAILER
    _, table, n_sections, table_checksum, reserved, checksum = struct.unpack_from(
        "<QQIIII", data, trailer
    )
    assert table + ENTRY * n_sections == trailer
    assert table_checksum == crc32c(data[table:trailer])
    assert (reserved, checksum) == (0, crc32c(data[trailer : trailer + 28]))
    end = HEADER
    for at in range(table, trailer, ENTRY):
        name, flags, checksum, offset, n_bytes = struct.unpack_from("<16sIIQQ", data, at)
        assert flags == (1 if name.rstrip(b"\0") in (b"settings", b"codec") else 3)
        alignment = 4096 if flags & 2 else 64
        assert offset == -(-end // alignment) * alignment
        assert not any(data[end:offset])
        end = offset + n_bytes
        assert checksum == crc32c(data[offset:end])
    assert table == -(-end // 64) * 64
    assert not any(data[end:table])


def settings(data):
    """(codec, metric, dim, n, next id, automatic) of the section of that name."""
    words = []
    for _ in range(2):
        (n_bytes,) = struct.unpack_from("<I", data)
        words.append(data[4 : 4 + n_bytes].decode())
        data = data[4 + n_bytes :]
    return (*words, *struct.unpack_from("<QQqB", data))


@dataclass
class Links:
    """What settings say of a graph."""

    degree: int
    ef_construction: int
    alpha: float
    seed: int
    ef: int
    n_ever: int
    n_entries: int
    entries: tuple[int, ...] = ()


class Learned:
    """The end of settings: what training found, the finer copy, the layout."""

    def __init__(self, data, counts=17):
        """counts: bytes between dim and what training found, none in the file of a codec."""
        self.data, (self.codec, self.metric, dim) = data, settings(data)[:3]
        self.at = sum(4 + len(word) for word in settings(data)[:2]) + 8 + counts
        if self.codec in COMPACT or (self.codec == "sign" and self.metric != "hamming"):
            self._learn(dim)
        if counts:
            (n_bytes,) = self.read("<I")
            self.refine = self.read(f"{n_bytes}s")[0].decode()
            if self.refine == "sq":
                self.finer = copy.copy(self)
                self.finer.codec = "sq"
                self.finer._learn(dim)
                self.at = self.finer.at
            (self.stretch,) = self.read("<f")
            self.graph = None
            if self.read("<B") == (1,):
                self.graph = Links(*self.read("<IIdQIQI"))
                self.graph.entries = self.read(f"<{self.graph.n_entries}I")
        assert self.at == len(data)

    def _learn(self, dim):
        self.bits, self.m, self.rotated, self.seed, self.trained = self.read("<IIBQB")
        self.mean = self.floats(dim)
        self.transform = self.read("<III")
        self.matrix = np.eye(dim)
        if self.transform[0] == 1:
            self.matrix = reference.rotation(dim, *self.read("<Q"))
        if self.transform[0] == 2:
            out = self.transform[2]
            self.matrix = self.floats(out * dim).reshape(out, dim).astype(np.float64)
        if self.m:
            assert self.read("<III") == (dim, self.m, self.bits)
            self.parts = self.read(f"<{self.m}I")
            k = 2**self.bits
            self.centroids = [self.floats(k * w).reshape(k, w) for w in self.parts]
        else:
            (levels,) = self.read("<I")
            self.level_dims = self.read(f"<{levels}I")
            self.grid_dim = self.level_dims[0]
            self.grid_bits = sum(np.arange(self.grid_dim) < n for n in self.level_dims)
            has_steps, has_middles = self.read("<BB")
            self.steps = self.floats(self.grid_dim) if has_steps else np.ones(self.grid_dim)
            self.middles = self.floats(self.grid_dim) if has_middles else np.zeros(self.grid_dim)
        self.scale, self.norm = self.read("<II"), self.read("<II")
        self.unbias, self.error, self.longest = self.read("<fff")
        fine = {"rabitq": self.bits, "sq": self.bits, "pcasq": self.bits / dim}.get(self.codec, 1)
        few = 2 if (self.codec, self.metric) == ("rabitq", "l2") else 4
        coarse = self.metric == "cosine" or fine < few
        self.scale_bytes, self.norm_bytes = 1 if coarse else 2, 2 if self.metric == "l2" else 0

    def read(self, layout):
        values = struct.unpack_from(layout, self.data, self.at)
        self.at += struct.calcsize(layout)
        return values

    def floats(self, n):
        return np.array(self.read(f"<{n}f"), np.float32)

    def factors(self, codes, single=False):
        """(scale, norm) of each code, and its numbers, (n, m) or (n, grid_dim).

        single: codes that don't lie in groups, where grids of 4 and 8 bits are numbers, not planes.
        """
        scales = _small(self.scale, codes[:, : self.scale_bytes])
        ends = self.scale_bytes + self.norm_bytes
        norms = _small(self.norm, codes[:, self.scale_bytes : ends])
        if self.m:
            numbers = codes[:, ends:]
            if self.bits == 4:
                numbers = np.stack([numbers & 15, numbers >> 4], axis=2).reshape(len(codes), -1)
                assert not numbers[:, self.m :].any()
            return scales, norms, numbers[:, : self.m]
        if single and self.level_dims in ((self.grid_dim,) * 4, (self.grid_dim,) * 8):
            return scales, norms, self._single(codes[:, ends:])
        numbers = np.zeros((len(codes), self.grid_dim), np.int64)
        for n in self.level_dims:
            n_bytes = -(-n // 8)
            bits = np.unpackbits(codes[:, ends : ends + n_bytes], axis=1, bitorder="little")
            assert not bits[:, n:].any()
            numbers[:, :n] = 2 * numbers[:, :n] + bits[:, :n]
            ends += n_bytes
        assert ends == codes.shape[1]
        return scales, norms, numbers

    def _single(self, payloads):
        padded = -(-self.grid_dim // 8) * 8
        if len(self.level_dims) == 8:
            numbers = payloads.astype(np.int64)
        else:  # of each 64, then of 32, 16, 8, the low halves of bytes, then the high ones
            sizes = [64] * (padded // 64) + [size for size in (32, 16, 8) if padded & size]
            pieces = np.split(payloads, np.cumsum(sizes)[:-1] // 2, axis=1)
            halves = [part for piece in pieces for part in (piece & 15, piece >> 4)]
            numbers = np.concatenate(halves, axis=1).astype(np.int64)
        assert numbers.shape[1] == padded
        assert not numbers[:, self.grid_dim :].any()
        return numbers[:, : self.grid_dim]

    def values(self, numbers):
        """What numbers of a grid or of parts stand for: y, as (n, grid_dim or dim)."""
        if self.m:
            parts = [c[numbers[:, i]] for i, c in enumerate(self.centroids)]
            return np.concatenate(parts, axis=1).astype(np.float64)
        return (numbers - (2.0**self.grid_bits - 1) / 2) * self.steps + self.middles


def _small(small, columns):
    base, step = small
    code = sum((columns[:, i].astype(np.int64) << (8 * i) for i in range(columns.shape[1])), 0)
    code = np.broadcast_to(code, len(columns)).astype(np.int64)
    values = (base + (code - 1) * step).astype(np.uint32).view(np.float32)
    return np.where(code == 0, np.float32(0), values)


def look_up(slots, ids, wanted):
    """The row of an id by the section slots; None if there is none."""
    x = wanted
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB % 2**64
    at = (x ^ (x >> 31)) % len(slots)
    while slots[at] != 0xFFFFFFFF:
        if ids[slots[at]] == wanted:
            return int(slots[at])
        at = (at + 1) % len(slots)
    return None


def links(data):
    """(what settings say, the rows that each row links to) of a graph; None before it has any."""
    parts = {name: data[offset : offset + n] for name, offset, n in sections(data)}
    graph = Learned(parts["settings"]).graph
    if "links" not in parts:
        assert not graph.entries
        return graph, None
    return graph, np.frombuffer(parts["links"], "<u4").reshape(-1, graph.degree)


DTYPES = {"float32": "<f4", "float16": "<f2", "int8": np.int8}


def finer(data, refine):
    """(rows, factors) of the finer copies, as bytes if refine is sq; None for what isn't there."""
    parts = {name: data[offset : offset + n] for name, offset, n in sections(data)}
    rows = np.frombuffer(parts["fine-rows"], DTYPES.get(refine, np.uint8))
    factors = parts.get("fine-factors")
    n = settings(parts["settings"])[3]
    return rows.reshape(n, -1), factors and np.frombuffer(factors, "<f4")


def contents(data):
    """(settings, rows, factors, ids, slots) of an index; None for what isn't there."""
    parts = {name: data[offset : offset + n] for name, offset, n in sections(data)}
    words = settings(parts["settings"])
    codec, metric, _, n = words[:4]
    arrays = [np.frombuffer(parts["rows"], DTYPES.get(codec, np.uint8))]
    compact = codec in COMPACT or (codec == "sign" and metric != "hamming")
    if compact and Learned(parts["settings"]).graph is None:  # groups of 32, byte by byte
        groups = arrays[0].reshape(-(-n // 32), -1, 32)
        arrays[0] = groups.transpose(0, 2, 1).reshape(32 * len(groups), -1)
        assert not arrays[0][n:].any()
        arrays[0] = arrays[0][:n]
    arrays[0] = arrays[0].reshape(n, -1)
    for name, of in (("factors", "<f4"), ("ids", "<i8"), ("slots", "<u4")):
        arrays.append(np.frombuffer(parts[name], of) if name in parts else None)
    return words, *arrays


def of_one_section(data, content):
    """A file of one section like this one, with other content."""
    (_, at, _), (_, table, table_bytes), _ = list(sections(data))[1:]
    start = data[:at] + content
    start += bytes(-len(start) % 64)
    entry = bytearray(data[table : table + table_bytes])
    struct.pack_into("<IQQ", entry, 20, crc32c(content), at, len(content))
    size = len(start) + len(entry) + TRAILER
    trailer = struct.pack("<QQIII", size, len(start), 1, crc32c(entry), 0)
    return start + bytes(entry) + trailer + struct.pack("<I", crc32c(trailer))


def forged(data, part, at, value):
    """The file with one byte of a part changed and the checksums made right again."""
    bad = bytearray(data)
    parts = {name: (offset, n_bytes) for name, offset, n_bytes in sections(data)}
    offset, n_bytes = parts[part]
    bad[offset + at] ^= value
    table, table_bytes = parts["table"]
    for entry in range(table, table + table_bytes, ENTRY):
        if bad[entry : entry + 16].rstrip(b"\0") == part.encode():
            struct.pack_into("<I", bad, entry + 20, crc32c(bad[offset : offset + n_bytes]))
    struct.pack_into("<I", bad, HEADER - 4, crc32c(bad[: HEADER - 4]))
    trailer = len(bad) - TRAILER
    struct.pack_into("<I", bad, trailer + 20, crc32c(bad[table : table + table_bytes]))
    struct.pack_into("<I", bad, trailer + 28, crc32c(bad[trailer : trailer + 28]))
    return bytes(bad)
