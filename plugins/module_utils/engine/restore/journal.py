# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a restore writes down before each step, so that the next run can finish or undo it.

The journal lies beside the live database (``.NAME.digitalme-restore``), because the database is what all later runs
have in common: one that uses another backup directory must find it too. It is locked while its restore runs, and it is
gone when the restore has ended, well or not. Each line is a JSON object with a ``phase``; a torn last line was never
acted upon and is ignored.
"""

from __future__ import annotations

import contextlib
import json
import os
from typing import NamedTuple

from .. import errors, files, lock
from ..database import SIDECARS

SUFFIX = ".digitalme-restore"

BEGUN = "begun"
CAPTURED = "captured"
SWAPPING = "swapping"
SWAPPED = "swapped"
ROLLING_BACK = "rolling_back"
ENDED = "ended"

_PHASES = (BEGUN, CAPTURED, SWAPPING, SWAPPED, ROLLING_BACK, ENDED)
_LARGEST = 16 * 1024 * 1024
_REMOVE = "Check that the database is whole, remove the journal, and run the command again."


class Pending(NamedTuple):
    """A restore that did not end: its first record and the phase it had reached."""

    path: str
    phase: str
    record: dict

    @property
    def message(self):
        begun = self.record.get("started_at", "an unknown time")
        backup = self.record.get("backup", "an unknown backup")
        return (
            f"a restore of {errors.show(backup)} begun at {begun} was interrupted ({self.phase}); "
            "the next backup or restore of this database finishes or undoes it, "
            "and so does restore --resume or restore --undo"
        )


def path_for(database):
    directory, base = os.path.split(database)
    return os.path.join(directory, f".{base}{SUFFIX}")


def staged_path(database):
    """The checked copy that will become the database, on the same filesystem."""
    directory, base = os.path.split(database)
    return os.path.join(directory, f".{base}.restore{files.PARTIAL}")


def aside_path(database):
    """The old database, until the new one has passed its checks."""
    directory, base = os.path.split(database)
    return os.path.join(directory, f".{base}.restore-old")


def staged_sidecars(database):
    """The suffixes of what lies beside the staged copy: of a raw copy the log and the journal that it had."""
    staged = staged_path(database)
    return [suffix for suffix in SIDECARS if files.exists(staged + suffix)]


def renamed(database):
    """Whether the staged copy of a ``replace`` that had come to its renames has become the database."""
    staged = staged_path(database)
    there = files.exists(staged)
    return not there or (files.exists(database) and os.path.samestat(os.lstat(staged), os.lstat(database)))


def pending(database):
    """The interrupted restore of a database, or None; reads only. One that is running now is not interrupted."""
    path = path_for(database)
    try:
        descriptor = files.open_regular(path)
    except OSError:
        return None
    try:
        if lock.is_held(path):
            return None
        return _parse(path, _read_trusted(path, descriptor))
    finally:
        os.close(descriptor)


def _read_trusted(path, descriptor):
    """The journal's bytes. One that another user could have written is not believed: it names files to be copied."""
    facts = os.fstat(descriptor)
    # Windows tells neither owner nor who may write; there the directory's own rights are all there is.
    ours = not hasattr(os, "geteuid") or (facts.st_uid in (0, os.geteuid()) and not facts.st_mode & 0o022)
    if facts.st_size and not ours:
        raise errors.PermissionDenied(
            f"the restore journal belongs to uid {facts.st_uid} or may be written by others, so it is not believed",
            path=path,
            hint="Find out who put it there; remove it, and run the command again.",
        )
    if facts.st_size > _LARGEST:
        raise errors.RestoreFailed("the restore journal is too large to be one", path=path, hint=_REMOVE)
    os.lseek(descriptor, 0, os.SEEK_SET)
    with os.fdopen(os.dup(descriptor), "rb") as source:
        return source.read(_LARGEST)


def _parse(path, raw):
    records = []
    for line in raw.splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict) and "phase" in record:
            records.append(record)
    if not records:
        return None
    merged: dict = {}
    for record in records:
        merged.update(record)
    complete = merged["phase"] in _PHASES and merged.get("strategy") in ("in_place", "replace")
    if not complete or not isinstance(merged.get("expected") or {}, dict):
        raise errors.RestoreFailed("the restore journal is of another version or damaged", path=path, hint=_REMOVE)
    return Pending(path, records[-1]["phase"], merged)


class Journal:
    """The open, locked journal of one restore."""

    def __init__(self, path, descriptor, raw):
        self._path, self._descriptor = path, descriptor
        self.pending = _parse(path, raw)
        self._noted: dict = {}

    @classmethod
    def open(cls, database, seconds):
        """Create or open the journal and lock it; raises Busy when another restore of the database is running.

        A crash after it leaves an empty journal, which means nothing.
        """
        path = path_for(database)
        descriptor = lock.open_locked(path, seconds)
        if descriptor is None:
            raise errors.Busy("a restore of this database is running", path=database)
        try:
            return cls(path, descriptor, _read_trusted(path, descriptor))
        except BaseException:
            os.close(descriptor)
            raise

    def note(self, phase, **facts):
        """Write a phase down, durable, before it begins."""
        line = json.dumps({"phase": phase, **facts}, ensure_ascii=True).encode("ascii")
        files.write_all(self._descriptor, b"\n" + line + b"\n")
        files.sync_open(self._descriptor)
        if phase == BEGUN:
            files.sync_directory(os.path.dirname(self._path))
        self._noted.update(phase=phase, **facts)

    @property
    def renaming(self):
        """Whether this run's ``replace`` has come to its renames: what lies aside before is not its own."""
        noted = self._noted
        return noted.get("strategy") == "replace" and noted["phase"] in (SWAPPING, SWAPPED, ROLLING_BACK)

    def end(self, outcome, detail):
        """Write down what came out, before the way back is removed: from now on only tidying is left."""
        try:
            self.note(ENDED, outcome=outcome, detail=detail)
        except OSError:
            self.clear()  # A full disk: an empty journal takes no room, and says no less of what is left to do.

    def clear(self):
        """Forget the phases of an interrupted restore that has been settled."""
        files.truncate_open(self._descriptor)
        files.sync_open(self._descriptor)
        self.pending = None

    def finish(self):
        """The restore has ended: remove the journal. A crash before it is settled again by the next run."""
        if os.name == "nt":
            # No open file can be removed there. It is emptied first; whoever opens it in between removes it himself.
            self.clear()
            self.close()
            with contextlib.suppress(PermissionError):
                files.remove(self._path)
            return
        files.remove(self._path)
        files.sync_directory(os.path.dirname(self._path))

    def close(self):
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)
