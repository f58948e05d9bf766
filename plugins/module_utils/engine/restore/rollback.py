# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Bring the old content back after a restore whose content did not pass its last checks.

A file that was replaced is renamed back where nobody uses the new one; else SQLite writes the pre-restore backup into
it, where it can. Where it cannot the new content stays: a later rollback would take back what is committed until then.
"""

from __future__ import annotations

from .. import database, errors, files, verify
from . import journal as journal_room
from . import plan as plan_room
from . import recover, swap


def roll_back(restore, kept, replaced, cause):
    """Bring the old content back; always raises."""
    steps, path = restore.steps, restore.path
    possible = replaced or (kept is not None and kept.path is not None)
    if not restore.rollback or not possible:
        reason = "was not wanted" if not restore.rollback else "is not possible without a pre-restore backup"
        steps.skipped("rollback", f"it {reason}")
        restore.end("finished", f"the new content did not pass its checks, and bringing the old one back {reason}")
        raise errors.RestoreFailed(
            f"{cause.cause}; bringing the old content back {reason}",
            path=path,
            hint="The new content is in place and failed its checks: restore another backup.",
            steps=steps.rows,
            rolled_back=False,
        ) from cause
    try:
        with steps.step("rollback") as row:
            row["detail"] = _bring_back(restore, kept, replaced)
    except _NotNow as problem:
        raise _leave_new(restore, kept, cause, problem) from cause
    except (errors.BackupError, OSError) as problem:
        error = errors.from_os_error(problem, path) if isinstance(problem, OSError) else problem
        where = kept.shown if kept else journal_room.aside_path(path)
        error.hint = f"The old content is kept in {errors.show(where)}; the next run tries again to bring it back."
        error.details["rolled_back"] = False
        raise error from problem
    restore.end("undone", "the new content did not pass its checks, and the old one was brought back")
    raise errors.RolledBack(
        f"{cause.cause}; the old content was brought back", path=path, steps=steps.rows, rolled_back=True
    ) from cause


class _NotNow(Exception):
    """Others use the new file, and SQLite cannot write the old content into it; says who."""


def _leave_new(restore, kept, cause, why):
    """The error of a restore whose new content stays: a rollback later on would take back what others commit to it."""
    path, aside = restore.path, journal_room.aside_path(restore.path)
    old = swap.keep(aside, path) if files.exists(aside) else None
    restore.end("finished", f"the new content did not pass its checks, and others use it: {why}")
    where = [errors.show(place) for place in (kept and kept.shown, old) if place]
    hint = "The new content is in place and failed its checks"
    hint += f"; the old one is kept as {' and '.join(where)}." if where else "; there was none before."
    return errors.RestoreFailed(
        f"{cause.cause}; the old content could not be brought back, because {why}",
        path=path,
        hint=f"{hint} Stop the application before you restore or undo.",
        steps=restore.steps.rows,
        rolled_back=False,
    )


def _rename_back(restore):
    with recover.alone(restore.path):
        recover.undo_replace(restore.path, restore.log, existed=restore.existed)
    return "the old file was renamed back"


def _can_write_back(restore, kept):
    """Whether SQLite could write the pre-restore backup into the file that is there now."""
    if kept is None or kept.path is None:
        return False
    try:
        header = database.check_file(restore.path)
    except errors.BackupError:
        return False
    page_size = kept.manifest.get("source", {}).get("page_size")
    return plan_room.why_not_in_place("sound", None, header, page_size) is None


def _bring_back(restore, kept, replaced):
    path = restore.path
    if replaced:
        try:
            return _rename_back(restore)
        except (errors.InUse, errors.DatabaseBusy) as problem:
            if not _can_write_back(restore, kept):
                raise _NotNow(problem.cause) from problem
    restore.log.note(journal_room.ROLLING_BACK, strategy="in_place")
    watch = swap.in_place(kept.path, path, restore.busy_timeout, restore.progress)
    try:
        if kept.manifest["verification"]["status"] == "ok":
            source = kept.manifest["source"]
            findings = verify.verify_live(path, "none", source=source, busy_timeout=restore.busy_timeout)
            if findings.status != "ok" and not swap.writers(path, findings, watch):
                raise errors.RestoreFailed(f"the old content did not come back ({findings.summary()})", path=path)
    finally:
        watch.close()
    return "the pre-restore backup was written back in place"
