# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Ways to change the bytes of a database file or of its stored form: each is ``(numbers, raw) -> bytes``.

``numbers`` is a seeded random.Random: the same seed bends the same bytes in the same way. What is returned may by
chance equal what was given.
"""

from __future__ import annotations

import struct

from originals import FILLING

_EDGES = (0, 1, 2, 3, 4, 0x7F, 0x80, 0xFF, 0x1000, 0x7FFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
# Offset and width of each field of https://www.sqlite.org/fileformat2.html#the_database_header.
_HEADER = (
    (0, 16),
    (16, 2),
    *((offset, 1) for offset in range(18, 24)),
    *((offset, 4) for offset in range(24, 72, 4)),
    (72, 20),
    (92, 4),
    (96, 4),
)
_BTREES = (2, 5, 10, 13)


def page_size(raw):
    size = struct.unpack(">H", raw[16:18])[0] if len(raw) > 100 else 0
    size = 65536 if size == 1 else size
    return size if size >= 512 else 512


def _pages(raw):
    size = page_size(raw)
    return [raw[at : at + size] for at in range(0, len(raw), size)]


def _value(numbers, width, there=0):
    """A number of so many bytes: at an edge, near what is there, or any."""
    most = 256**width - 1
    pick = numbers.randrange(3)
    value = (numbers.choice(_EDGES), there + numbers.choice((-2, -1, 1, 2)), numbers.randrange(most + 1))[pick]
    return (value & most).to_bytes(width, "big")


def _put(raw, at, data):
    return raw[:at] + data + raw[at + len(data) :]


def _field(numbers, raw, at, width):
    return _put(raw, at, _value(numbers, width, int.from_bytes(raw[at : at + width], "big")))


# --- any file --------------------------------------------------------------------------------------------------------


def bits(numbers, raw):
    changed = bytearray(raw)
    for _time in range(numbers.choice((1, 1, 1, 2, 4))):
        changed[numbers.randrange(len(raw))] ^= 1 << numbers.randrange(8)
    return bytes(changed)


def some_bytes(numbers, raw):
    length = numbers.choice((1, 2, 4, 8, 64))
    at = numbers.randrange(len(raw))
    data = numbers.choice((bytes(length), b"\xff" * length, numbers.randbytes(length)))
    return _put(raw, at, data)[: len(raw)]


def truncated(numbers, raw):
    block = numbers.choice((1, 1, 512, page_size(raw)))
    return raw[: numbers.randrange(len(raw)) // block * block]


def appended(numbers, raw):
    length = numbers.choice((1, 7, 512, page_size(raw), numbers.randrange(1, 8192)))
    return raw + numbers.choice((bytes(length), numbers.randbytes(length), raw[:length], raw))


def removed_from_within(numbers, raw):
    at, length = numbers.randrange(len(raw)), numbers.choice((1, 512, page_size(raw)))
    return raw[:at] + raw[at + length :]


# --- whole pages -----------------------------------------------------------------------------------------------------


def _with_pages(raw, change):
    found = _pages(raw)
    change(found)
    return b"".join(found)


def pages_exchanged(numbers, raw):
    def change(found):
        one, other = numbers.randrange(len(found)), numbers.randrange(len(found))
        found[one], found[other] = found[other], found[one]

    return _with_pages(raw, change)


def pages_overwritten(numbers, raw):
    def change(found):
        for _time in range(numbers.choice((1, 1, 3))):
            at = numbers.randrange(len(found))
            data = numbers.choice((bytes(len(found[at])), numbers.choice(found), numbers.randbytes(len(found[at]))))
            found[at] = data[: len(found[at])].ljust(len(found[at]), b"\0")

    return _with_pages(raw, change)


# --- the fields of SQLite's file format ------------------------------------------------------------------------------


def header(numbers, raw):
    for _time in range(numbers.choice((1, 1, 2))):
        raw = _field(numbers, raw, *numbers.choice(_HEADER))
    return raw


def free_pages(numbers, raw):
    """The list of free pages: its first trunk, the next one, the count and numbers of leaves, what lies in a leaf."""
    size, trunk = page_size(raw), int.from_bytes(raw[32:36], "big")
    if not 0 < trunk <= len(raw) // size:
        return header(numbers, raw)
    at = (trunk - 1) * size
    leaves = int.from_bytes(raw[at + 4 : at + 8], "big")
    if leaves and numbers.randrange(4) == 0:
        leaf = int.from_bytes(raw[at + 8 : at + 12], "big")
        return _put(raw, (leaf - 1) * size + numbers.randrange(size - 8), numbers.randbytes(8))
    places = [32, 36, at, at + 4, *(at + 8 + 4 * n for n in range(min(leaves, 40)))]
    return _field(numbers, raw, numbers.choice(places), 4)


def overflow_chains(numbers, raw):
    """The pages of a long value: where each leads to, and what it holds."""
    size = page_size(raw)
    chains = [n for n, page in enumerate(_pages(raw)) if page.count(FILLING) > size // len(FILLING) // 2]
    if not chains:
        return some_bytes(numbers, raw)
    at = numbers.choice(chains) * size
    if numbers.randrange(3):
        target = numbers.choice((numbers.choice(chains) + 1, 0, 1, len(raw) // size + 1, 0xFFFFFFFF))
        return _put(raw, at, target.to_bytes(4, "big"))
    return _put(raw, at + 4 + numbers.randrange(size - 12), numbers.randbytes(numbers.choice((1, 8))))


def _of_btrees(numbers, raw, only=None):
    """(offset of the page, of its header, its kind, its cells) of a page that looks like one of a tree."""
    size = page_size(raw)
    found = []
    for n, page in enumerate(_pages(raw)):
        start = 100 if n == 0 else 0
        if len(page) == size and page[start] in _BTREES and (only is None or n == only):
            found.append((n * size, n * size + start, page[start], int.from_bytes(page[start + 3 : start + 5], "big")))
    return numbers.choice(found) if found else None


def cells(numbers, raw):
    """The head of a page of a tree, its cell pointers, the first bytes of a cell: lengths, key, kinds of columns."""
    return _cells(numbers, raw, _of_btrees(numbers, raw))


def schema(numbers, raw):
    """The same in the first page, which holds the schema."""
    return _cells(numbers, raw, _of_btrees(numbers, raw, only=0))


def _cells(numbers, raw, found):
    if found is None:
        return some_bytes(numbers, raw)
    page, head, kind, count = found
    pick = numbers.randrange(4)
    if pick == 0 or not count:
        return _field(numbers, raw, head + numbers.choice((1, 3, 5)), 2)
    pointer = head + (8 if kind in (10, 13) else 12) + 2 * numbers.randrange(min(count, 100))
    if pick == 1:
        return _field(numbers, raw, pointer, 2)
    cell = page + int.from_bytes(raw[pointer : pointer + 2], "big")
    # A page that only looks like one of a tree may point anywhere.
    cell = min(cell, len(raw) - 32)
    if pick == 2:
        return _put(raw, cell + numbers.randrange(12), bytes([numbers.choice((0, 1, 0x7F, 0x80, 0xFF, 12, 13))]))
    return _put(raw, cell + numbers.randrange(24), numbers.randbytes(numbers.choice((1, 2, 9))))


def pointer_map(numbers, raw):
    """Which page belongs to which, in the second page of an auto_vacuum database."""
    size = page_size(raw)
    if int.from_bytes(raw[52:56], "big") == 0:
        return cells(numbers, raw)
    at = size + 5 * numbers.randrange(len(raw) // size)
    return _put(raw, at, numbers.choice((numbers.randbytes(5), bytes(5), bytes([numbers.randrange(7)]))))


# --- a log (https://www.sqlite.org/fileformat2.html#walformat) -------------------------------------------------------


def log_frames(numbers, raw):
    """The header of a log, those of its frames, pages in it; half of the time with checksums that are right again."""
    size = int.from_bytes(raw[8:12], "big")
    frames = (len(raw) - 32) // (24 + size)
    at = 32 + (24 + size) * numbers.randrange(frames)
    pick = numbers.randrange(4)
    if pick == 0:
        raw = _field(numbers, raw, 4 * numbers.randrange(8), 4)
    elif pick == 1:
        raw = _field(numbers, raw, at + 4 * numbers.randrange(6), 4)
    elif pick == 2:
        raw = _put(raw, at + 24 + numbers.randrange(size - 8), numbers.randbytes(8))
    else:
        other = 32 + (24 + size) * numbers.randrange(frames)
        raw = _put(raw, at, raw[other : other + 24 + size])
    return _summed(raw, size) if numbers.randrange(2) else raw


def _summed(raw, size):
    """The log with the salts of its header in each frame, and all checksums as SQLite would write them."""
    order = "<" if raw[3] & 1 == 0 else ">"
    sums, head = _sums(order, (0, 0), raw[:24])
    found = [raw[:24], head]
    for at in range(32, len(raw) - 24 - size + 1, 24 + size):
        sums, _head = _sums(order, sums, raw[at : at + 8])
        sums, frame = _sums(order, sums, raw[at + 24 : at + 24 + size])
        found += [raw[at : at + 8], raw[16:24], frame, raw[at + 24 : at + 24 + size]]
    return b"".join(found)


def _sums(order, sums, data):
    one, other = sums
    words = struct.unpack(f"{order}{len(data) // 4}I", data)
    for first, second in zip(words[::2], words[1::2]):
        one = (one + first + other) & 0xFFFFFFFF
        other = (other + second + one) & 0xFFFFFFFF
    return (one, other), struct.pack(">II", one, other)


LOG = {"bits": bits, "truncated": truncated, "appended": appended, "frames": log_frames}

CONTENT = {
    "bits": bits,
    "bytes": some_bytes,
    "pages exchanged": pages_exchanged,
    "pages overwritten": pages_overwritten,
    "truncated": truncated,
    "appended": appended,
    "removed from within": removed_from_within,
    "header fields": header,
    "free pages": free_pages,
    "overflow chains": overflow_chains,
    "cells": cells,
    "schema": schema,
    "pointer map": pointer_map,
}


# --- a compressed file -----------------------------------------------------------------------------------------------


def ends_of_frame(numbers, raw):
    """The fields before and after what is compressed: magic, flags, sizes, sums."""
    span = min(20, len(raw))
    at = numbers.randrange(span) if numbers.randrange(2) else len(raw) - 1 - numbers.randrange(span)
    return _put(raw, at, numbers.randbytes(numbers.choice((1, 1, 4))))[: len(raw)]


def second_frame(numbers, raw):
    return numbers.choice((raw + raw, raw + raw[:20], raw[: len(raw) // 2] + raw))


COMPRESSED = {
    "bits": bits,
    "bytes": some_bytes,
    "truncated": truncated,
    "appended": appended,
    "removed from within": removed_from_within,
    "ends of the frame": ends_of_frame,
    "second frame": second_frame,
}
