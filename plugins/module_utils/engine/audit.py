# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The append-only operation log: JSON lines, each with the SHA-256 of the line before it.

A change or a removal in the past breaks the chain from there on, and `check` tells the line. What the log cannot show
by itself is the removal of its last lines: ship it off the host.
"""

from __future__ import annotations

import json
import os

from . import clock, errors, files, lock

FIRST = "0" * 64
# Longer than any line: error messages are cut to this many characters before they are written.
LONGEST_TEXT = 2000
_TAIL = 64 * 1024
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
        line = {"time": clock.iso(clock.now()), **_short(record), "prev": _digest(last)}
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


def _digest(line):
    import hashlib

    return FIRST if line is None else hashlib.sha256(line).hexdigest()


def _last_line(descriptor):
    """(bytes of the last line without its newline or None, whether its newline is missing)."""
    end = os.lseek(descriptor, 0, os.SEEK_END)
    if end == 0:
        return None, False
    tail = b""
    while True:
        start = max(0, end - len(tail) - _TAIL)
        os.lseek(descriptor, start, os.SEEK_SET)
        tail = os.read(descriptor, end - len(tail) - start) + tail
        torn = not tail.endswith(b"\n")
        lines = (tail if torn else tail[:-1]).split(b"\n")
        if len(lines) > 1 or start == 0:
            return lines[-1], torn


def read(path, name=None):
    """The records, oldest first, of one name or of all; lines that are no JSON are left out.

    A log that is not there is empty. Lines of other names are not parsed: the log of a host with many databases has
    hundreds of thousands.
    """
    wanted = b"" if name is None else b'"name": ' + json.dumps(name).encode("ascii")
    for _number, raw in _lines(path):
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
    try:
        descriptor = files.open_regular(path)
    except FileNotFoundError:
        return
    with os.fdopen(descriptor, "rb") as source:
        for number, raw in enumerate(source, 1):
            yield number, raw.rstrip(b"\n")


def check(path):
    """Follow the chain: {lines, intact, broken_at (line number or None), torn (line numbers)}."""
    previous = None
    total, torn, broken_at = 0, [], None
    for number, raw in _lines(path):
        total = number
        expected = _digest(previous)
        previous = raw
        # As `append` writes it; anything else is looked at more closely.
        if raw.startswith(b'{"time": "') and raw.endswith(b', "prev": "%s"}' % expected.encode("ascii")):
            continue
        record = _record(raw)
        if record is None:
            torn.append(number)
        elif record.get("prev") != expected and broken_at is None:
            broken_at = number
    return {"lines": total, "intact": broken_at is None, "broken_at": broken_at, "torn": torn}
