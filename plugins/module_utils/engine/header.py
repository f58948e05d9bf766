# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the first bytes of a SQLite file say; nothing here opens a file.

The fields are those of https://www.sqlite.org/fileformat2.html#the_database_header.
"""

from __future__ import annotations

import math
import sqlite3
import struct
from typing import NamedTuple

MAGIC = b"SQLite format 3\x00"
_ENCODINGS = {1: "UTF-8", 2: "UTF-16le", 3: "UTF-16be"}
_AUTO_VACUUM = {(False, False): 0, (True, False): 1, (True, True): 2}


class Header(NamedTuple):
    """What the first 100 bytes say."""

    page_size: int
    write_version: int
    read_version: int
    change_counter: int
    page_count: int
    freelist_count: int
    auto_vacuum: int
    encoding: str
    user_version: int
    application_id: int
    valid_for: int
    sqlite_version: int

    @property
    def journal_mode(self):
        """``wal``, or ``delete`` for every mode with a rollback journal: only the WAL flag is stored in the file."""
        return "wal" if self.write_version == 2 else "delete"

    @property
    def sized(self):
        """Whether ``page_count`` can be relied on (legacy writers left it stale)."""
        return self.page_count > 0 and self.change_counter == self.valid_for


def parse_header(raw):
    """A Header from 100 bytes; None when they are not those of a SQLite database."""
    if len(raw) < 100 or raw[:16] != MAGIC:
        return None
    page_size, write_version, read_version = struct.unpack(">HBB", raw[16:20])
    page_size = 65536 if page_size == 1 else page_size
    change, pages, _trunk, free = struct.unpack(">IIII", raw[24:40])
    largest_root, encoding, user_version, incremental, application_id = struct.unpack(">IIiIi", raw[52:72])
    valid_for, version = struct.unpack(">II", raw[92:100])
    if page_size < 512 or page_size & (page_size - 1):
        return None
    return Header(
        page_size,
        write_version,
        read_version,
        change,
        pages,
        free,
        _AUTO_VACUUM.get((largest_root > 0, incremental > 0), 0),
        _ENCODINGS.get(encoding, "UTF-8"),
        user_version,
        application_id,
        valid_for,
        version,
    )


def canonical(raw, page_count, sqlite_version):
    """The first 100 bytes as SQLite's own backup writes them into a new file; as they are when they are no header.

    They tell nothing of the file's history, so that equal content gives equal bytes: the change counter, the schema
    cookie and "valid for" are 1, the version is that of the writing library, and the WAL flag is cleared.
    """
    known = parse_header(raw)
    if known is None or known.read_version not in (1, 2) or known.write_version not in (1, 2):
        return raw
    fields = bytearray(raw)
    fields[18:20] = b"\x01\x01"
    for offset, value in ((24, 1), (28, page_count), (40, 1), (92, 1), (96, sqlite_version)):
        fields[offset : offset + 4] = struct.pack(">I", value)
    return bytes(fields)


def looks_encrypted(raw):
    """Whether whole-page ciphertext is likely: at least 512 bytes whose entropy is near that of random bytes."""
    if len(raw) < 512:
        return False
    counts = [0] * 256
    for byte in raw:
        counts[byte] += 1
    total = len(raw)
    entropy = -sum(n / total * math.log2(n / total) for n in counts if n)
    # n random bytes show 8 - 186/n bits (at n = 4096) to 8 - 210/n (at 512), with a spread of 0.004 to 0.033 bits.
    return entropy > 8 - 215 / total - 0.1


def library_version():
    """The number by which this SQLite signs a header: 3040001 for 3.40.1."""
    major, minor, patch = (int(part) for part in sqlite3.sqlite_version.split("."))
    return major * 1_000_000 + minor * 1_000 + patch
