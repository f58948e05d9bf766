# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The drill of one database: choose, prove in the scratch place, restore in full, have it checked, measure."""

from __future__ import annotations

import os
import sqlite3
from typing import Any, NamedTuple

from .. import catalog, clock, config, database, errors, files, manifest, processes, restoring, space
from .. import session as session_room
from ..restore import plan as plan_room
from ..restore import rehearse
from ..restore.steps import Steps
from . import choose, objectives, scratch
from . import row as rows

# A drill looks as closely as SQLite can, whatever the nightly run does.
LEVEL = "full"
# Beside the proved copy: the staged one, the one that is kept, and the journal of writing it in place.
_FULL_RESTORE_COPIES = 3
# These say that the backup is no good, so that an older one has to serve.
_NO_GOOD = (errors.BackupInvalid, errors.Unverifiable, errors.CheckFailed, errors.RolledBack)
_PROVED = ("space", "stage", "verify", "restore", "compare")


class Wish(NamedTuple):
    """What is asked of a drill. ``restore`` is the operation that a full restore is made with, None for none.

    ``deadline`` is a time of the monotonic clock, ``time_limit`` the seconds that led to it.
    """

    selection: choose.Selection
    restore: Any
    scratch_dir: str | None
    deadline: float
    time_limit: float


def exercise(session, wish, row):
    """Fill the row of a database. Raises what is wrong with its backup; what is known by then is in the row."""
    aims = objectives.of(session.settings)
    started = clock.monotonic()
    steps = Steps()
    row["phases"] = steps.rows
    row["warnings"] += objectives.missing(aims)
    row["rto"], row["rpo"] = objectives.unknown(aims.rto), objectives.unknown(aims.rpo)
    try:
        entry = choose_for(session, wish.selection, row, steps)
        with scratch.held(session, wish.scratch_dir) as place:
            drill = _Drill(session, wish, place)
            try:
                drill.prove(entry, steps)
                row["recoverable"] = True
            except _NO_GOOD as error:
                row["recoverable"] = None if isinstance(error, errors.Unverifiable) else False
                drill.fall_back(entry, row, steps)
                raise
            finally:
                _measure(row, steps, aims, entry)
    finally:
        row["seconds"] = round(clock.monotonic() - started, 3)
    rows.miss(row)


def only_choose(session, wish, row):
    """Fill the row with what would be drilled, how old what a restore brings back would be, and by which settings."""
    settings = session.settings
    aims = objectives.of(settings)
    row["rto"], row["rpo"] = objectives.unknown(aims.rto), objectives.unknown(aims.rpo)
    entry = choose_for(session, wish.selection, row, Steps())
    row["recoverable"] = True  # As far as anybody knows.
    row["rpo"] = objectives.measured(_age(row, entry), aims.rpo)
    row["recoverable"] = None
    row["cause"] = "check mode: only chosen"
    row["settings"] = {key: settings[key] for key in ("assertions", "rto_objective", "drill_check")}


def choose_for(session, selection, row, steps):
    """The entry that the rule means, noted in the row."""
    target = session.target
    row["selection"] = selection._asdict()
    with steps.step("choose") as step:
        entries = catalog.scan(target.backup_dir, target.name)
        choice = choose.choose(entries, selection, target, clock.now(), manifest.host())
        step["detail"] = f"{choice.entry.file}, of {choice.candidates} verified"
    row["selection"]["candidates"] = choice.candidates
    row["warnings"] += choice.warnings
    row["backup"] = rows.describe(choice.entry)
    row["newest_verified_at"] = _newest_at(entries)
    session.tell(file=choice.entry.file, bytes=choice.entry.stored_bytes, selection=selection.rule)
    return choice.entry


def _newest_at(entries):
    newest = catalog.newest_verified(entries)
    return None if newest is None else clock.iso(newest.created_at)


def _measure(row, steps, aims, entry):
    """The figures of what was done, whether it passed or not."""
    took = {step["name"]: step["seconds"] for step in steps.rows if step["status"] == "ok"}
    proved = round(sum(took[name] for name in _PROVED), 3) if "compare" in took else None
    full = took.get("full_restore")
    restored = full if full is not None else proved
    achieved = None if restored is None else round(restored + took.get("check", 0.0), 3)
    age = _age(row, entry)
    if row["recoverable"] is not None:
        row["rto"] = objectives.measured(None if row["recoverable_from"] else achieved, aims.rto)
        row["rpo"] = objectives.measured(age, aims.rpo)
    row["limits"] = objectives.limits(
        restore_test=proved, full_restore=full, validation=took.get("verify"), memory=processes.peak_memory_bytes()
    )


def _age(row, entry):
    """How old what a restore of now would give back is, in seconds; None where nothing would."""
    newest = row.pop("newest_verified_at", None)
    if row["recoverable_from"] or not row["recoverable"]:
        return row["recoverable_from"] and row["recoverable_from"]["age_seconds"]
    created_at = clock.parse(newest) if newest else entry.created_at
    age = None if created_at is None else round(clock.seconds_between(created_at, clock.now()), 3)
    if age is not None and age < 0:
        row["warnings"].append(
            f"the newest backup is {-age:.0f} s younger than this host's clock: one of them is wrong"
        )
    return age


class _Drill:
    """The drill of one database in its scratch place."""

    def __init__(self, session, wish, place):
        self._session, self._wish, self._place = session, wish, place

    def prove(self, entry, steps):
        """Restore the backup into the scratch place, prove it, leave the place empty, and tell its manifest of it."""
        settings = self._session.settings
        outcome: str | None = None
        try:
            rehearse.prove(
                entry,
                self._place,
                steps,
                level=LEVEL,
                assertions=tuple(settings["assertions"]),
                progress=self._progress,
            )
            if self._wish.restore is not None:
                with steps.step("full_restore") as step:
                    step["detail"] = self._restore(entry)
            if settings["drill_check"]:
                with steps.step("check") as step:
                    step["detail"] = self._check(settings["drill_check"])
            outcome = "ok"
        except errors.BackupInvalid:
            outcome = "failed"
            raise
        except errors.Unverifiable:
            outcome = "unverifiable"
            raise
        finally:
            with steps.step("clean") as step:
                step["detail"] = self._clean()
            if outcome is not None:
                self._record(entry, outcome, steps.seconds)

    def _progress(self, stage, done, total):
        if clock.monotonic() > self._wish.deadline:
            raise errors.TimeLimit(f"the drill of this host had {self._wish.time_limit:g} s, and they are over")
        if self._session.progress is not None:
            self._session.progress(stage, done, total)

    def _clean(self):
        """Not name by name: the owner of the directory may have put a link in its place, which root would empty."""
        files.remove_tree(self._place)
        if files.exists(self._place):
            raise errors.PermissionDenied("the scratch place cannot be removed", path=self._place)
        scratch.make(self._place)
        return "the scratch copies are gone"

    def _record(self, entry, outcome, seconds):
        """Under the name's lock for that moment; while another operation has it for long, only a warning is left."""
        try:
            with session_room.exclusive_where_writable(self._session):
                restoring.record_test(self._session, entry, outcome, seconds)
        except errors.Busy as error:
            self._session.warnings.append(f"the drill could not be recorded in the manifest: {error.cause}")

    def _restore(self, entry):
        """A whole restore, with everything that one has, over the copy that was proved: by then it is a live database
        with other content, so that the old one has to be kept and the new one written in place.
        """
        path = os.path.join(self._place, rehearse.RESTORED)
        space.require_space(
            self._place, _FULL_RESTORE_COPIES * plan_room.content_bytes(entry), "the full restore on scratch copies"
        )
        _write_to(path)
        kept = os.path.join(self._place, "kept")
        scratch.make(kept)
        settings = self._session.settings
        # Where the directory is somebody else's he can rename the place away and put another there, with links in it:
        # the restore resolves none of these paths again, and follows no link.
        done = self._wish.restore(
            database=files.Resolved(path),
            backup=files.Resolved(entry.path),
            backup_dir=files.Resolved(kept),
            name=self._session.target.name,
            force=True,
            other_database=True,
            verify=LEVEL,
            assertions=settings["assertions"],
            busy_timeout=settings["busy_timeout"],
            # None: what is done here concerns neither the host's audit log nor its catalog.
            config_path=config.of_nothing(),
            caller=self._session.caller,
            progress=self._progress,
        )
        return f"{done['plan']['strategy']}: " + ", ".join(
            step["name"] for step in done["steps"] if step["status"] == "ok"
        )

    def _check(self, words):
        """The application's own check of the scratch copy: it passes with status 0."""
        path = os.path.join(self._place, rehearse.RESTORED)
        told = {"DIGITALME_BACKUP_DRILL_DATABASE": path}
        left = max(0.1, self._wish.deadline - clock.monotonic())
        try:
            status, said = processes.run_within([word.replace("{database}", path) for word in words], left, told)
        except (OSError, ValueError) as error:
            raise errors.CheckFailed(f"the application's check cannot be started ({error})") from error
        if status is None:
            raise errors.TimeLimit(f"the application's check had not ended after {left:.0f} s")
        last = errors.excerpt(said.splitlines()[-1]) if said else "it said nothing"
        if status != 0:
            raise errors.CheckFailed(f"the application's check of the restored copy ended with status {status}: {last}")
        return f"status 0: {last}"

    def fall_back(self, entry, row, steps):
        """Look for the newest backup that can be restored in place of one that cannot, and note it in the row."""
        target = self._session.target
        with steps.step("fall_back") as step:
            step["detail"] = "no other backup can be restored"
            for other in catalog.scan(target.backup_dir, target.name):
                if other.path == entry.path or not other.verified or other.kind != "regular":
                    continue
                try:
                    self.prove(other, Steps())
                except _NO_GOOD:
                    continue
                except errors.BackupError as error:
                    row["warnings"].append(f"whether {other.file} can be restored is not known: {error.cause}")
                    return
                age = round(clock.seconds_between(other.created_at, clock.now()), 3)
                row["recoverable"] = True
                row["recoverable_from"] = {
                    "file": other.file,
                    "created_at": clock.iso(other.created_at),
                    "age_seconds": age,
                }
                step["detail"] = f"{other.file} can be restored"
                return


def _write_to(path):
    """A write of its own, so that the content differs from the backup's."""
    try:
        connection = database.connect(path, mode="rw", busy_timeout=1.0)
        try:
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            connection.execute(f"PRAGMA user_version={int(version) ^ 1}")
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise database.translate(error, path) from error
