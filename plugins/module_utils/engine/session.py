# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What all operations share: find the target, hold its lock, settle what was interrupted, leave one audit line."""

from __future__ import annotations

import contextlib
import os
import re
import signal

from . import audit, catalog, clock, config, errors, files, kept_files, lock, manifest, ownership
from .restore import journal as journal_room

# These finish or undo an interrupted restore themselves.
_SETTLING = ("backup", "restore")
# Where the audit line goes when its own place cannot be written: no operation is to leave no trace.
_LAST_RESORT = os.path.join("~", ".local", "state", "digitalme-backup", "audit.jsonl")


class Session:
    """One running operation. ``note`` collects what its audit line says; ``warnings`` go into its result.

    ``recovered`` is what was done about a restore of the database that had been interrupted, or None. A ``quiet`` one
    leaves its audit line only when it fails.
    """

    def __init__(self, operation, caller, progress):
        self.operation = operation
        self.caller = caller or {"via": "python"}
        self.progress = progress
        self.note: dict = {}
        self.warnings: list = []
        self.quiet = False
        self.recovered: dict | None = None
        self.target: config.Target = None  # type: ignore[assignment]
        self.config: config.Config = None  # type: ignore[assignment]

    @property
    def settings(self):
        return self.target.settings

    def result(self, **fields):
        """A result with what there is to be warned of."""
        return {**fields, "warnings": self.warnings}

    def tell(self, **facts):
        self.note.update({key: value for key, value in facts.items() if value is not None})


@contextlib.contextmanager
def operation(name, call, *, caller=None, progress=None, silent=False, quiet=False):
    """Run one operation; ``call`` holds the arguments of `config.target` and ``config_path``.

    Every error that leaves it is one of the engine's. ``silent`` leaves no audit line: for check mode, which does
    nothing, and for looking at a catalog. ``quiet``: `Session`.
    """
    session = Session(name, caller, progress)
    session.quiet = quiet
    started = clock.monotonic()
    outcome = "ok"
    cause: BaseException | None = None
    try:
        try:
            path = call.pop("config_path", None)
            session.note["audit_log"] = config.audit_log_without(path)
            loaded = config.load(path)
            session.config = loaded
            session.warnings.extend(loaded.warnings)
            session.note["audit_log"] = loaded.audit_log or _beside(call.get("backup_dir"))
            session.target = config.target(loaded, **call)
            session.note["audit_log"] = session.target.audit_log
            if silent or name not in _SETTLING:
                _warn_of_pending(session)
            yield session
        except errors.BackupError:
            raise
        except OSError as error:
            raise errors.from_os_error(error, session.target and session.target.backup_dir) from error
        except Exception as error:
            raise _translated(error, session) from error
    except errors.BackupError as error:
        outcome, cause = error.error_code, error
        raise
    except BaseException as error:
        outcome, cause = "interrupted", error
        raise
    finally:
        if not silent and not (session.quiet and outcome == "ok"):
            with _signals_wait():
                _record(session, call, outcome, cause, clock.monotonic() - started)
                give_back(session)
        if isinstance(cause, errors.BackupError) and session.warnings:
            cause.details.setdefault("warnings", session.warnings)


@contextlib.contextmanager
def _signals_wait():
    """A signal that is to end the program waits for the block: the audit line of what is over, 20 seconds at most, and
    what root made goes to its owner.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _warn_of_pending(session):
    """Tell of a restore of the database that was interrupted: whoever looks at its backups must know."""
    target = session.target
    database = target.database or _database_of(target)
    if database is None:
        return
    try:
        pending = journal_room.pending(database)
        message = pending.message if pending else None
    except errors.BackupError as error:
        message = error.message
    if message:
        session.warnings.append(message)


def _database_of(target):
    """The path of the database that the newest backup is of, by its manifest; None where that cannot be told."""
    before = re.compile(rf"{re.escape(target.name)}_{catalog.STAMP}{catalog.STORED}{re.escape(manifest.SUFFIX)}")
    found = sorted(entry for entry in catalog.listing(target.backup_dir) if before.fullmatch(entry))
    try:
        path = manifest.load(os.path.join(target.backup_dir, found[-1]))["source"].get("path") if found else None
    except errors.BackupError:
        return None
    return path if isinstance(path, str) and os.path.isabs(path) else None


def give_back(session):
    """What root made in somebody else's backup directory goes to him, whatever came of the operation."""
    if session.target is None:
        return
    try:
        ownership.give_back(session.target.backup_dir, catalog.STATE)
    except OSError as error:
        session.warnings.append(f"not all in {errors.show(session.target.backup_dir)} goes to its owner: {error}")


def where(reference, backup_dir, name, config_path=None):
    """Backup directory and name for a call that gives a backup by its path and neither of the others.

    The path says where the backup is, not where this name's lock and its pre-restore backups belong: where the
    configuration or the environment tells that, they are asked.
    """
    if reference is None or backup_dir is not None or not os.path.dirname(reference):
        return backup_dir, name
    path = files.resolve(reference)
    if name is None and os.path.isfile(path):
        name = kept_files.name_of(os.path.basename(path))
    if os.environ.get("BACKUP_DIRECTORY") or name in _configured(config_path):
        return None, name
    return os.path.dirname(path), name


def database_in(database, reference, backup_dir, name, config_path=None):
    """The database that is meant by a directory with a slash at its end: the file in it that the backup was made of.

    Where that cannot be told the directory is handed on, and the operation says what is wrong.
    """
    if not database or not database.endswith(("/", os.sep)):
        return database
    try:
        loaded = config.load(config_path)
        found = config.target(loaded, backup_dir=backup_dir, name=name, need_database=False)
        entry = catalog.resolve(reference, found.backup_dir, found.name)
    except errors.BackupError:
        return database
    path = (entry.manifest or {}).get("source", {}).get("path")
    return os.path.join(database, os.path.basename(path) if isinstance(path, str) else "")


def _configured(config_path):
    try:
        return {entry["name"] for entry in config.load(config_path).databases}
    except errors.BackupError:
        return set()  # The operation itself says what is wrong with the configuration.


def _translated(error, session):
    """SQLite's errors in our words; any other exception is a defect and passes as it is."""
    import sqlite3

    if not isinstance(error, sqlite3.Error):
        return error
    from . import database

    return database.translate(error, session.target and session.target.database)


def _beside(backup_dir):
    return None if backup_dir is None else os.path.join(files.resolve(backup_dir), ".state", "audit.jsonl")


def _record(session, call, outcome, cause, seconds):
    """Write the audit line; where its own log cannot be written, the caller's home takes it, with a warning."""
    note = dict(session.note)
    path = note.pop("audit_log", None)
    target = session.target
    line = {
        "operation": session.operation,
        "outcome": outcome,
        "name": target.name if target else call.get("name"),
        "database": target.database if target else call.get("database"),
        "backup_dir": target.backup_dir if target else call.get("backup_dir"),
        "seconds": round(seconds, 3),
        "by": who(session.caller),
        "host": manifest.host(),
        **note,
    }
    if isinstance(cause, errors.BackupError):
        line["error"] = cause.message
    elif cause is not None:
        line["error"] = type(cause).__name__
    if path is not None and session.operation != "backup" and target and not os.path.isdir(target.backup_dir):
        path = None if path.startswith(target.backup_dir + os.sep) else path  # Only a backup makes its directory.
    for place in (path, os.path.expanduser(_LAST_RESORT)):
        if place is None:
            continue
        try:
            home = os.path.dirname(place)
            if os.path.basename(home) == catalog.STATE:
                files.make_directory(os.path.dirname(home))  # With the mode of a backup directory, not of any parent.
            audit.append(place, line)
        except (OSError, errors.BackupError) as error:
            session.warnings.append(f"the audit log {errors.show(place)} cannot be written: {error}")
        else:
            return


def who(caller):
    """Who asked: the way in, the system user, the pid; who used sudo and the API's subject, where there is one."""
    by = {**caller, "pid": os.getpid()}
    if hasattr(os, "geteuid"):
        import pwd

        by["uid"] = os.geteuid()
        with contextlib.suppress(KeyError):
            by["user"] = pwd.getpwuid(os.geteuid()).pw_name
    else:
        with contextlib.suppress(OSError):
            by["user"] = os.getlogin()
    if os.environ.get("SUDO_USER"):
        by["sudo_user"] = os.environ["SUDO_USER"]
    return by


# --- the backup directory and the lock -------------------------------------------------------------------------------


def check_backup_dir(target):
    """Raise BackupDirInvalid for a place that cannot be a backup directory; creates nothing."""
    path = target.backup_dir
    if files.exists(path) and not os.path.isdir(path):
        raise errors.BackupDirInvalid("the backup directory is a file", path=path)
    if target.database is not None and os.path.dirname(target.database) == path:
        raise errors.BackupDirInvalid("the backup directory is the database's own directory", path=path)


def require_backup_dir(target):
    """Raise unless there is a backup directory; creates nothing."""
    check_backup_dir(target)
    if not os.path.isdir(target.backup_dir):
        raise errors.BackupNotFound("there is no such backup directory", path=target.backup_dir)


@contextlib.contextmanager
def exclusive(session, create=False):
    """Hold the lock of the name in its backup directory; what a killed run left is removed first.

    A directory that is not there is made with ``create``; else BackupNotFound is raised and nothing is made.
    """
    if create:
        check_backup_dir(session.target)
        files.make_directory(session.target.backup_dir)
    else:
        require_backup_dir(session.target)
    from . import store

    with lock.held(session.target.lock_path, session.operation, session.settings["busy_timeout"]):
        # Now, so that the owner's own run finds a lock that it may wait for; and once more when all is done.
        give_back(session)
        left = store.clean(session.target)
        if left:
            session.warnings.append(
                f"removed what an interrupted run had left: {', '.join(errors.show(x) for x in left)}"
            )
        yield


@contextlib.contextmanager
def exclusive_where_writable(session):
    """As `exclusive`, but a backup directory that cannot be written (read-only media) is used as it is."""
    target = session.target
    if os.path.isdir(target.backup_dir) and not os.access(target.backup_dir, os.W_OK):
        session.warnings.append(f"{errors.show(target.backup_dir)} cannot be written: its lock was not taken")
        yield
        return
    with exclusive(session):
        yield


@contextlib.contextmanager
def restore_journal(session, undo=False):
    """The open, locked journal of the database, after an interrupted restore in it was settled (`recovered` tells)."""
    target = session.target
    log = journal_room.Journal.open(target.database, session.settings["busy_timeout"])
    try:
        _settle(session, log, undo)
        yield log
    finally:
        log.close()


def settle_interrupted(session, wait=True, undo=False):
    """Finish or undo a restore of the database that was killed, if there is one; ``session.recovered`` tells.

    With ``undo`` the old content is brought back wherever it came to, as long as it is there.

    One that is running now is waited for, or left alone when ``wait`` is False.
    """
    path = journal_room.path_for(session.target.database)
    if not files.exists(path) or (not wait and lock.is_held(path)):
        return
    with restore_journal(session, undo) as log:
        log.finish()


def _settle(session, log, undo):
    from .restore import recover

    settled = recover.settle(session.target.database, log, session.settings["busy_timeout"], undo)
    if settled:
        session.recovered = settled
        session.tell(recovered=f"{settled['outcome']}: {settled['detail']}")
        session.warnings.append(
            f"an interrupted restore of {errors.show(settled['backup'])} was {settled['outcome']}: {settled['detail']}"
        )
