# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Ways to change a manifest, as a document and as text; and files that expand to far more than they should."""

from __future__ import annotations

import functools
import gzip
import hashlib
import json
import subprocess

import bending

_MIB = 1024 * 1024
_BOMB = 160 * _MIB


def _deep(depth):
    found: list = []
    for _level in range(depth):
        found = [found]
    return found


# What a key of a manifest may be changed to; nothing of it was ever written by the engine in most places.
ODD = (
    None,
    "",
    " ",
    "ok",
    "none",
    "verified",
    "wal",
    "../../etc/passwd",
    "/dev/zero",
    "a\x00b",
    "\ud800",
    "\udcff",
    "ü" * 300,
    "x" * 100_000,
    "0" * 64,
    "2026-11-22T02:00:00Z",
    "9999-12-31T23:59:59Z",
    "0001-01-01T00:00:00+14:00",
    "77777777777",
    "-1",
    0,
    1,
    -1,
    2**31,
    2**63,
    2**64,
    10**400,
    -(10**400),
    10**4299,
    1.5,
    1e308,
    float("nan"),
    float("inf"),
    True,
    False,
    [],
    {},
    [None],
    {"": None},
    _deep(60),
    _deep(700),
)
_ADDED = (
    ("restore_test",),
    ("restore_test", "checked_at"),
    ("restore_test", "status"),
    ("restore_test", "seconds"),
    ("pinned_until",),
    ("pinned",),
    ("annotations", "deep"),
    ("verification", "assertions"),
    ("source", "tables", "one more"),
    ("a key that nobody knows",),
)


def places(document, above=()):
    """The way to every key of a document."""
    for key, value in document.items():
        yield (*above, key)
        if isinstance(value, dict):
            yield from places(value, (*above, key))


def holder(document, way):
    for key in way[:-1]:
        if not isinstance(document.get(key), dict):
            document[key] = {}
        document = document[key]
    return document


def value_at(document, way):
    """What the document has there; None where it ends before."""
    for key in way:
        if not isinstance(document, dict):
            return None
        document = document.get(key)
    return document


def field_changed(numbers, raw, other):
    document, others = json.loads(raw), json.loads(other)
    for _time in range(numbers.choice((1, 1, 1, 2, 3))):
        way = numbers.choice((*places(document), *_ADDED))
        inside = holder(document, way)
        there = inside.get(way[-1])
        near = [there + numbers.choice((-1, 1))] if isinstance(there, int) else []
        inside[way[-1]] = numbers.choice((*ODD, value_at(others, way), *near))
    return json.dumps(document).encode("ascii")


def field_removed(numbers, raw, _other):
    document = json.loads(raw)
    for _time in range(numbers.choice((1, 1, 2, 4))):
        way = numbers.choice(tuple(places(document)))
        holder(document, way).pop(way[-1], None)
    return json.dumps(document).encode("ascii")


def text_changed(numbers, raw, _other):
    pick = numbers.randrange(9)
    if pick < 4:
        return (bending.bits, bending.some_bytes, bending.truncated, bending.appended)[pick](numbers, raw)
    key = b'"size_bytes": '
    whole = (
        b"",
        numbers.choice((b"\xef\xbb\xbf", b"\xff\xfe", b"\x00", b" \n\t")) + raw,
        raw.decode("ascii").encode(numbers.choice(("utf-16", "utf-32", "utf-16-be"))),
        raw.replace(key, key + b"1" * numbers.choice((30, 4299, 5000)), 1),
        raw.replace(b"{", b'{"sha256": "", "content_sha256": null, "sha256": "' + b"0" * 64 + b'", ', 1),
        numbers.choice((b"[" * 100_000, b'{"a":' * 100_000, b"null", b"[]", b"{}", b'"text"', b"1e999")),
        raw.replace(b"0.0", b"1e999", 1),
        raw.rstrip()[:-1] + b', "annotations": ' + b"[" * 5000 + b"]" * 5000 + b"}",
        raw.rstrip()[:-1] + b', "padding": "' + b"x" * (17 * _MIB) + b'"}',
    )
    return numbers.choice(whole)


FITTED = ("as they are", "file", "file and size", "file, size and name")
_SIZES = {"sums and size": 2**40, "sums and no size": None}
FITTED_TO_BOMBS = ("sums", *_SIZES)


def fitted(raw, fit, file, stored):
    """A manifest, made to fit a file in more or fewer of its fields."""
    document = json.loads(raw)
    if fit.startswith("file"):
        document["file"] = file
    if "size" in fit and "sums" not in fit:
        document["stored_bytes"] = len(stored)
    if "name" in fit:
        document["name"] = file.split("_")[0]
    if fit.startswith("sums"):
        document.update(stored_bytes=len(stored), sha256=hashlib.sha256(stored).hexdigest())
        document.pop("content_sha256", None)
    if fit in _SIZES:
        document["size_bytes"] = _SIZES[fit]
    return json.dumps(document).encode("ascii")


def sums_weakened(numbers, raw):
    """The keys by which changed bytes are found, changed or taken away."""
    document = json.loads(raw)
    for key in numbers.sample(("sha256", "content_sha256", "stored_bytes", "source", "verification"), 2):
        pick = numbers.randrange(3)
        if pick == 0:
            document.pop(key)
        elif pick == 1 and isinstance(document[key], dict):
            document[key] = numbers.choice(({}, {"status": "ok"}))
        else:
            document[key] = numbers.choice(("", None, 0, [], {}, "0", False))
    return json.dumps(document).encode("ascii")


@functools.cache
def _bombs(suffix):
    if suffix == ".gz":
        once = gzip.compress(bytes(_BOMB), 6)
        return (once, gzip.compress(once, 9), once + once)
    wide = ("--ultra", "-22", "--long=27")
    return tuple(
        subprocess.run(["zstd", "-q", "-c", *words], input=bytes(_BOMB), capture_output=True, check=True).stdout
        for words in ((), wide)
    )


def bomb(numbers, file):
    raw = numbers.choice(_bombs(file[file.rindex(".") :]))
    return bending.bits(numbers, raw) if numbers.randrange(4) == 0 else raw
