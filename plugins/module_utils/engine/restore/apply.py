# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Carry out a planned restore: stage and prove, keep the old, swap, compare, and bring the old back if that fails."""

from __future__ import annotations

import contextlib
import os
from typing import NamedTuple

from .. import catalog, clock, config, errors, files, manifest, space, store, verify
from . import journal as journal_room
from . import plan as plan_room
from . import recover, rehearse, rollback, stage, swap
from .steps import Steps

_TRY_REPLACE = (errors.DatabaseCorrupt, errors.NotADatabase, errors.ReadOnly, errors.IoError)


class Done(NamedTuple):
    """``changed`` is False when the live database already had the backup's content; ``kept`` is what was kept of it."""

    changed: bool
    kept: stage.Kept | None
    staged: stage.Staged


class Restore(NamedTuple):
    """One planned restore with everything that carrying it out needs."""

    plan: plan_room.Plan
    target: config.Target
    level: str
    assertions: tuple
    rollback: bool
    may_replace: bool
    log: journal_room.Journal
    steps: Steps
    progress: object

    @property
    def path(self):
        return self.plan.database

    @property
    def existed(self):
        """Whether there was a database."""
        return self.plan.live != "absent"

    def end(self, outcome, detail):
        recover.end(self.path, self.log, self.steps, outcome, detail)

    @property
    def busy_timeout(self):
        return self.target.settings["busy_timeout"]


def apply(restore):
    """Restore, compare, and roll back when the comparison fails.

    Raises what a phase raises, with all steps; RolledBack when the old content had to be brought back; RestoreFailed
    when that was not wanted or not possible. Whatever is raised, the live database holds the old content or the new.
    """
    staged_path = journal_room.staged_path(restore.path)
    restore.log.note(
        journal_room.BEGUN,
        backup=restore.plan.entry.path,
        strategy=restore.plan.strategy,
        started_at=clock.iso(clock.now()),
    )
    try:
        staged, kept = _prepare(restore, staged_path)
    except BaseException:
        restore.end("undone", "the database had not been touched")
        raise
    if kept is not None and kept.manifest.get("content_sha256") == staged.content_sha256:
        _drop_needless(kept)
        restore.steps.skipped("restore", "the live database already has the content of the backup")
        restore.end("finished", "the database had the content of the backup before")
        return Done(False, None, staged)
    replaced, watch = _swap(restore, staged)
    try:
        _compare(restore, staged, kept, replaced, watch)
    finally:
        watch.close()
    restore.end("finished", "the new content had passed its checks")
    return Done(True, kept, staged)


def _prepare(restore, staged_path):
    """Everything that can fail without touching the live database."""
    plan, steps = restore.plan, restore.steps
    with steps.step("space") as row:
        _require_room(restore)
        row["detail"] = f"{plan.needed_bytes} bytes needed beside the database"
    with steps.step("stage") as row:
        durable = plan.strategy == "replace"
        unpacked = stage.unpack(plan.entry, staged_path, restore.progress, durable=durable)
        row["detail"] = f"{unpacked.size} bytes" + (", SHA-256 as in the manifest" if unpacked.trusted else "")
    with steps.step("verify") as row:
        staged = stage.check(plan.entry, staged_path, unpacked, restore.level, restore.assertions, restore.progress)
        row["detail"] = f"level {restore.level}: {staged.findings.status}"
    kept = None
    if plan.pre_backup:
        with steps.step("pre_backup") as row:
            kept = stage.keep_old(restore.target, restore.target.settings, plan.live, restore.progress)
            row["detail"] = f"{kept.shown}: {kept.detail}"
    else:
        steps.skipped("pre_backup", "there is no database yet" if plan.live == "absent" else "not wanted")
    restore.log.note(journal_room.CAPTURED, kept=kept.path if kept else None, expected=staged.expected)
    return staged, kept


def _require_room(restore):
    """Room for every step at once, also where backups and database share a filesystem."""
    plan, directory = restore.plan, os.path.dirname(restore.path)
    needed = plan.needed_bytes
    if plan.pre_backup:
        old = store.space_needed(restore.target)
        shared = os.path.isdir(restore.target.backup_dir)
        shared = shared and os.stat(restore.target.backup_dir).st_dev == os.stat(directory).st_dev
        if shared:
            needed += old
        else:
            space.require_space(restore.target.backup_dir, old, "the pre-restore backup")
    space.require_space(directory, needed, "the restore")


def _drop_needless(kept):
    """The pre-restore backup just made equals the backup that was to be restored: it keeps nothing.

    It becomes an unfinished backup again, which is never listed and which the next run removes after a crash.
    """
    directory, file = os.path.split(kept.path)
    unfinished = os.path.join(directory, catalog.partial(file))
    files.replace(kept.path, unfinished)
    files.remove_durably(manifest.path_for(kept.path))  # Alone it would tell of a loss.
    files.remove(unfinished)


def _swap(restore, staged):
    """Put the staged copy in place: (whether the file was replaced, the Watch over who else writes).

    After an error of ours the old content is there and the restore has ended. Any other exception (an interrupt) leaves
    the journal for the next run, as a kill does.
    """
    with restore.steps.step("restore") as row, contextlib.ExitStack() as held:
        try:
            watch = None if restore.plan.strategy == "replace" else _write_in_place(restore, staged)
            replaced = watch is None
            if replaced:
                watch = _replace(restore, staged, held)
        except (errors.BackupError, OSError) as error:
            _undo(restore, error)
            restore.end("undone", "the old content is in its place")
            raise
        row["detail"] = "the file was replaced" if replaced else "written in place, in one transaction"
    return replaced, watch


def _undo(restore, cause):
    """What SQLite could not write in place it has undone itself; a replace is undone here, or by the next run."""
    try:
        recover.undo_replace(restore.path, restore.log, existed=restore.existed)
    except OSError as error:
        raise errors.RestoreFailed(
            f"the restore failed ({cause}), and so did its undoing ({error})",
            path=restore.path,
            hint="One whole content is in place, the old or the new; the next run tries again to undo the restore.",
        ) from error


def _write_in_place(restore, staged):
    """The Watch, when SQLite could write into the live file; None when it must be replaced and may be."""
    try:
        restore.log.note(journal_room.SWAPPING, strategy="in_place")
        watch = swap.in_place(staged.path, restore.path, restore.busy_timeout, restore.progress)
    except _TRY_REPLACE as error:
        if not restore.may_replace:
            raise
        plan_room.require_replaceable(restore.path, error.cause)
        return None
    # It is committed: a journal that cannot be written any more does not undo that. A run that had to settle it would
    # look at the content itself.
    with contextlib.suppress(OSError):
        restore.log.note(journal_room.SWAPPED)
    return watch


def _replace(restore, staged, held):
    plan, log, path = restore.plan, restore.log, restore.path
    log.note(journal_room.CAPTURED, strategy="replace", existed=restore.existed)
    swap.dress(staged.path, path, _dress(plan.entry.manifest or {}))
    # Where SQLite failed to write in place it is not asked to fold the log either.
    live = plan.live if plan.strategy == "replace" else "damaged"
    swap.replace(staged.path, path, live, log, held)
    return swap.FileWatch(path)


def _dress(known):
    """What the manifest says of the file. The numbers of users mean nothing on another host than the backup's own."""
    source = known.get("source", {})
    if known.get("host") == manifest.host():
        return source
    return {key: value for key, value in source.items() if key not in ("uid", "gid")}


def _compare(restore, staged, kept, replaced, watch):
    """Did the content arrive? If not, bring the old content back and raise RolledBack."""
    try:
        with restore.steps.step("compare") as row:
            # A file that was renamed into place is the one that was verified; what SQLite wrote is looked at again.
            findings = verify.verify_live(
                restore.path,
                "none" if replaced else restore.level,
                source=staged.expected,
                assertions=restore.assertions,
                busy_timeout=restore.busy_timeout,
            )
            writers = "" if findings.status == "ok" else swap.writers(restore.path, findings, watch)
            if writers:
                row["detail"] = f"{writers} wrote since: {findings.summary()}"
            elif findings.status == "ok":
                row["detail"] = rehearse.compared(staged.expected)
            else:
                raise errors.RestoreFailed(
                    f"the restored database did not pass its checks ({findings.summary()})", path=restore.path
                )
    except errors.DatabaseBusy as error:
        error.hint = (
            "The new content is in place but could not be checked; the next run checks it and ends the restore."
        )
        raise
    except errors.BackupError as error:
        rollback.roll_back(restore, kept, replaced, error)
