# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The append-only operation log: JSON lines, each with the SHA-256 of the line before it.

A change or a removal in the past breaks the chain from there on, and `check` tells the line. What the log cannot show
by itself is the removal of its last lines: ship it off the host.
"""

from __future__ import annotations

import itertools
import json
import os

from . import clock, errors, files, lock

FIRST = "0" * 64
# Longer than any line: error messages are cut to this many characters before they are written.
LONGEST_TEXT = 2000
_TAIL = 64 * 1024
# Of a line with more bytes, which nobody has written, no more is kept in memory.
_LONGEST = 4 * 1024 * 1024
_WAIT_SECONDS = 10.0


def append(path, record):
    """Add one line, durable. ``record`` is plain data; ``time`` and ``prev`` are added. Raises OSError, Busy.

    A crash in the middle leaves a torn last line, which the next call closes; `check` calls it torn, not broken.
    """
    files.make_directory(os.path.dirname(path))
    descriptor = files.open_append(path)
    try:
        if not lock.wait_for(descriptor, _WAIT_SECONDS):
            raise errors.Busy("the audit log is locked by another process", path=path)
        last, torn = _last_line(descriptor)
        line = {"time": clock.iso(clock.now()), **_short(record), "prev": last or FIRST}
        data = (b"\n" if torn else b"") + json.dumps(line, ensure_ascii=True).encode("ascii") + b"\n"
        files.write_all(descriptor, data)
        files.sync_open(descriptor)
        if last is None:
            files.sync_directory(os.path.dirname(path))  # It is new: its name is to last as well.
    finally:
        os.close(descriptor)


def _short(value):
    if isinstance(value, str):
        return value[:LONGEST_TEXT]
    if isinstance(value, dict):
        return {key: _short(item) for key, item in value.items()}
    return value


def _last_line(descriptor):
    """(SHA-256 of the last line without its newline or None, whether its newline is missing).

    What is no line at all (a hole of gigabytes that a damaged filesystem has left) takes no memory.
    """
    import hashlib

    size = os.lseek(descriptor, 0, os.SEEK_END)
    if size == 0:
        return None, False
    torn = _piece(descriptor, size - 1, size) != b"\n"
    end = start = size if torn else size - 1
    while start > 0:
        begin = max(0, start - _TAIL)
        newline = _piece(descriptor, begin, start).rfind(b"\n")
        start = begin if newline < 0 else begin + newline + 1
        if newline >= 0:
            break
    digest = hashlib.sha256()
    for begin in range(start, end, _TAIL):
        digest.update(_piece(descriptor, begin, min(begin + _TAIL, end)))
    return digest.hexdigest(), torn


def _piece(descriptor, begin, end):
    os.lseek(descriptor, begin, os.SEEK_SET)
    return os.read(descriptor, end - begin)


def read(path, name=None):
    """The records, oldest first, of one name or of all; lines that are no JSON are left out.

    A log that is not there is empty. Lines of other names are not parsed: the log of a host with many databases has
    hundreds of thousands.
    """
    wanted = b"" if name is None else b'"name": ' + json.dumps(name).encode("ascii")
    for _number, raw, _digest in _lines(path):
        if wanted in raw:
            record = _record(raw)
            if record is not None and (name is None or record.get("name") == name):
                yield record


def _record(raw):
    try:
        record = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def _lines(path):
    """(number, line without its newline, its SHA-256 or None where the line is whole) of each line.

    Of what is far longer than any line only the beginning is given: it need not fit into memory.
    """
    try:
        descriptor = files.open_regular(path)
    except FileNotFoundError:
        return
    with os.fdopen(descriptor, "rb") as source:
        for number in itertools.count(1):
            raw = source.readline(_LONGEST)
            if not raw:
                return
            yield number, raw.rstrip(b"\n"), _rest(source, raw) if len(raw) == _LONGEST else None


def _rest(source, raw):
    """The SHA-256 of the line that begins with these bytes; the rest of it is read."""
    import hashlib

    digest = hashlib.sha256()
    while True:
        digest.update(raw.rstrip(b"\n"))
        if not raw or raw.endswith(b"\n"):
            return digest.hexdigest()
        raw = source.readline(_LONGEST)


def check(path):
    """Follow the chain: {lines, intact, broken_at (line number or None), torn (line numbers)}."""
    import hashlib

    expected = FIRST
    total, torn, broken_at = 0, [], None
    for number, raw, digest in _lines(path):
        total, wanted = number, expected
        expected = digest or hashlib.sha256(raw).hexdigest()
        # As `append` writes it; anything else is looked at more closely.
        if raw.startswith(b'{"time": "') and raw.endswith(b', "prev": "%s"}' % wanted.encode("ascii")):
            continue
        record = _record(raw)
        if record is None:
            torn.append(number)
        elif record.get("prev") != wanted and broken_at is None:
            broken_at = number
    return {"lines": total, "intact": broken_at is None, "broken_at": broken_at, "torn": torn}
