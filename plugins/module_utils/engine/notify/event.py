# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is told, the words it is told with, and what became of it."""

from __future__ import annotations

from typing import NamedTuple

from .. import clock, errors

WORDS = {"start": "STARTED", "success": "DONE", "failure": "FAILED", "hold": "HELD BACK"}
SUBJECT_CHARACTERS = 200
BODY_BYTES = 10_000
_CUT = "... (cut)"


class Event(NamedTuple):
    """``kind`` is one of `WORDS`; ``name`` the database's name, or None where it is about the whole run.

    ``at`` is an aware datetime, ``run_id`` the uuid that ties an end to its start, ``message`` one line, ``details`` a
    dict of what JSON can carry.
    """

    kind: str
    name: str | None
    host: str
    at: object
    run_id: str
    message: str
    details: dict


class Outcome(NamedTuple):
    """What one try came to: delivered where ``error`` is None; ``again`` where another try may help.

    Nothing secret is in ``error`` and ``warnings``.
    """

    error: str | None = None
    again: bool = False
    warnings: tuple = ()


def subject(event):
    """One printable line of at most 200 characters."""
    about = f"{event.name} on {event.host}" if event.name else event.host
    line = errors.show(f"[digitalme-backup] {WORDS[event.kind]}: {about}: {event.message}")
    return line if len(line) <= SUBJECT_CHARACTERS else line[: SUBJECT_CHARACTERS - len(_CUT)] + _CUT


def body(event):
    """Printable lines: the message, then ``key: value`` of everything known; at most 10,000 bytes as UTF-8."""
    known = {"host": event.host, "at": clock.iso(event.at), "run": event.run_id}
    if event.name:
        known = {"name": event.name, **known}
    lines = [errors.show(event.message), ""]
    lines += [f"{errors.show(key)}: {errors.show(value)}" for key, value in _flat({**known, **event.details})]
    raw = ("\n".join(lines) + "\n").encode("utf-8")
    if len(raw) > BODY_BYTES:
        raw = raw[: BODY_BYTES - len(_CUT) - 1].decode("utf-8", "ignore").encode("utf-8") + f"{_CUT}\n".encode("ascii")
    return raw.decode("utf-8")


def _flat(value, key=""):
    """(``outer.inner``, plain value) of nested dicts and lists; the entries of a list are numbered from 1."""
    if isinstance(value, (list, tuple)):
        value = {str(number): entry for number, entry in enumerate(value, 1)}
    if not isinstance(value, dict):
        yield key, _plain(value)
        return
    for inner, entry in value.items():
        yield from _flat(entry, f"{key}.{inner}" if key else str(inner))


def _plain(value):
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "-" if value is None else value
