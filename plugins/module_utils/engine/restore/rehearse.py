# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The restore test: a full restore into a scratch place, opened and written to as an application would."""

from __future__ import annotations

import os
import sqlite3

from .. import database, errors, files, snapshot, space, store, verify
from . import plan as plan_room
from . import stage

# The name of the finished copy in the scratch directory.
RESTORED = "restored.db"
# What a scratch copy needs beside its own size: the log or journal of a first write.
_SPARE_BYTES = 1024 * 1024
# These are told of the scratch place: they say nothing of the backup.
_OF_THE_PLACE = (errors.NoSpace, errors.IoError, errors.PermissionDenied)


def rehearse(entry, target, steps, *, level, assertions, progress=None, also=None):
    """Restore the backup into the scratch directory of its name and prove it there, as `prove` does.

    ``also(directory, staged)`` may look at more while the scratch directory is there, which is removed whatever
    happens; a kill leaves it to the next run.
    """
    directory = _make_scratch(target)
    try:
        staged = prove(entry, directory, steps, level=level, assertions=assertions, progress=progress)
        if also is not None:
            also(directory, staged)
        return staged
    finally:
        files.remove_tree(directory)


def prove(entry, directory, steps, *, level, assertions, progress=None):
    """Restore the backup to ``restored.db`` in an empty directory, check it, and use it as an application would.

    Returns the Staged copy's facts. Raises BackupInvalid, Unverifiable, NoSpace; what was made is left there.
    """
    with steps.step("space") as row:
        needed = plan_room.content_bytes(entry) + _SPARE_BYTES
        space.require_space(directory, needed, "the restore test")
        row["detail"] = f"{needed} bytes needed, {space.free_bytes(directory)} free"
    path = os.path.join(directory, "staged.db")
    with steps.step("stage") as row:
        unpacked = stage.unpack(entry, path, progress)
        row["detail"] = f"{unpacked.size} bytes" + (", SHA-256 as in the manifest" if unpacked.trusted else "")
    with steps.step("verify") as row:
        staged = stage.check(entry, path, unpacked, level, assertions, progress)
        row["detail"] = f"level {level}: {staged.findings.status}"
    with steps.step("restore") as row:
        restored = os.path.join(directory, RESTORED)
        source = (entry.manifest or {}).get("source", {})
        snapshot.set_wal_flag(path, source.get("journal_mode") == "wal")
        files.replace(path, restored)
        row["detail"] = _use_as_application(restored, entry)
    with steps.step("compare") as row:
        findings = verify.verify_live(restored, "none", source=staged.expected)
        stage.require_sound(entry, findings)
        row["detail"] = compared(staged.expected)
    return staged


def _make_scratch(target):
    directory = store.scratch_dir(target)
    try:
        files.remove_tree(directory)
        files.make_directory(directory)
        return directory
    except OSError:
        # A backup directory that cannot be written, such as read-only media: anywhere else serves a test.
        import tempfile

        return tempfile.mkdtemp(prefix="digitalme-backup-")


def _use_as_application(path, entry):
    """Open it writable, take the write lock, write and take it back: what an application will do first."""
    try:
        connection = database.connect(path, mode="rw", busy_timeout=1.0)
        try:
            mode = connection.execute("PRAGMA journal_mode").fetchone()[0]
            connection.execute("BEGIN IMMEDIATE")
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            connection.execute(f"PRAGMA user_version={int(version)}")
            connection.execute("ROLLBACK")
        finally:
            connection.close()
    except sqlite3.Error as error:
        translated = database.translate(error, path)
        if isinstance(translated, _OF_THE_PLACE):
            raise translated from error
        raise errors.BackupInvalid(f"an application could not write to it ({error})", path=entry.path) from error
    return f"opened, written to and rolled back, journal mode {mode}"


def compared(expected):
    """``12 tables, 4711 rows and the schema`` of what was compared."""
    tables = expected.get("tables")
    if not tables:
        return "nothing to compare: the backup has no row counts"
    return f"{len(tables)} tables, {sum(tables.values())} rows and the schema as backed up"
