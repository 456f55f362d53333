"""The container of a saved index, read and forged in Python as docs/formats.md describes it."""

from __future__ import annotations

import struct

HEADER, ENTRY, TRAILER = 64, 40, 32


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
