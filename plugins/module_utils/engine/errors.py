# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Every way to fail: one class for each error code, with its exit status and its next step.

The codes are part of the contract of the modules, the command line and the API; ``CODES`` lists them.
"""

from __future__ import annotations

import errno

_LONGEST_EXCERPT = 120


def show(path):
    """A path as one printable line: control characters and undecodable bytes are escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in str(path))


def show_lines(text):
    """What SQLite or the system says, with its lines: other control characters could command a terminal."""
    return "\n".join(show(line) for line in str(text).split("\n"))


def excerpt(value):
    """What somebody gave, as one printable line of bounded length."""
    text = show(value)
    return text if len(text) <= _LONGEST_EXCERPT else text[:_LONGEST_EXCERPT] + "..."


class BackupError(Exception):
    """The root of all errors of the engine.

    ``cause`` says what is wrong, ``path`` names the file, ``hint`` the next step (each class has a default);
    ``details`` are data for the caller, such as ``steps`` or the ``processes`` that hold a file.
    """

    error_code = "failed"
    exit_code = 1
    hint = "Read the cause, mend it and run the command again; nothing was lost."

    def __init__(self, cause, *, path=None, hint=None, **details):
        self.cause = cause
        self.path = None if path is None else str(path)
        if hint is not None:
            self.hint = hint
        self.details = details
        super().__init__(cause)

    def __str__(self):
        return self.message

    @property
    def message(self):
        where = "" if self.path is None else show(self.path) + ": "
        return f"{where}{show_lines(self.cause)}. {self.hint}"

    def as_result(self):
        """The fields that a failed module, command line or API call answers with."""
        result = {"error_code": self.error_code, "msg": self.message, **self.details}
        if self.path is not None:
            result.setdefault("path", self.path)
        return result


class UsageError(BackupError):
    error_code = "usage"
    exit_code = 2
    hint = "Correct the call; the command's --help and the module's ansible-doc page list what is accepted."


class ConfigError(BackupError):
    error_code = "config_invalid"
    exit_code = 2
    hint = "Correct the configuration; nothing was done and every backup is as it was."


class NameInvalid(UsageError):
    error_code = "name_invalid"
    hint = (
        "Give a name of printable characters without '/' or '\\', such as 'app', that does not begin with '.' or '-'."
    )


class BackupDirInvalid(BackupError):
    error_code = "backup_dir_invalid"
    exit_code = 2
    hint = "Give a directory of its own for the backups, best on another disk than the database."


class DatabaseNotFound(BackupError):
    error_code = "database_not_found"
    hint = "Check the path; nothing was created."


class DatabaseNotAFile(BackupError):
    error_code = "database_not_a_file"
    hint = "Give the path of the SQLite file itself."


class DatabaseEmpty(BackupError):
    error_code = "database_empty"
    hint = (
        "SQLite would call this healthy, but it holds nothing: check the path; if the data was lost, restore a backup."
    )


class NotADatabase(BackupError):
    error_code = "not_a_database"
    hint = "Check the path; if this was a SQLite database, its first page is damaged: restore a backup."


class DatabaseEncrypted(BackupError):
    error_code = "database_encrypted"
    exit_code = 8
    hint = "Only the application that has the key can read it: back it up with the application's own command."


class DatabaseCorrupt(BackupError):
    error_code = "database_corrupt"
    hint = "Stop writing to it and restore the newest verified backup; older backups were left alone."


class DatabaseBusy(BackupError):
    error_code = "database_busy"
    exit_code = 6
    hint = "Wait until the other process has finished, or raise busy_timeout."


class InUse(BackupError):
    error_code = "in_use"
    exit_code = 6
    hint = "Stop these processes and run the restore again: a file that is held open cannot be replaced safely."


class Busy(BackupError):
    error_code = "busy"
    exit_code = 6
    hint = "Wait until that operation has finished, or raise busy_timeout."


class BackupNotFound(BackupError):
    error_code = "backup_not_found"
    exit_code = 3
    hint = "List the backups (command 'list', module backup_info) and name one of them."


class BackupInvalid(BackupError):
    error_code = "backup_invalid"
    exit_code = 3
    hint = "Do not restore it: choose another backup (command 'list', module backup_info)."


class VerificationFailed(BackupError):
    error_code = "verification_failed"
    exit_code = 3
    hint = (
        "The database itself is probably damaged: restore the newest verified backup; "
        "the failed copy was kept aside for inspection."
    )


class Unverifiable(BackupError):
    error_code = "unverifiable"
    exit_code = 8
    hint = "Verify it where the missing part exists, or choose verify=none to rely on checksums alone."


class NotConfirmed(BackupError):
    error_code = "not_confirmed"
    exit_code = 4
    hint = "Nothing was changed; confirm with force to go on."


class OtherDatabase(NotConfirmed):
    error_code = "other_database"
    hint = "Nothing was changed; name a backup of this database, or say other_database when it is meant."


class RetentionBrake(NotConfirmed):
    error_code = "retention_brake"
    hint = "Nothing was removed; look at the plan (check mode), then raise max_remove_percent for one run."


class NoSpace(BackupError):
    error_code = "no_space"
    exit_code = 5
    hint = "Free space on that filesystem or choose another directory; everything is as it was."


class RolledBack(BackupError):
    error_code = "rolled_back"
    exit_code = 7
    hint = "The old content is back in place; choose another backup or look at the failed check."


class RestoreFailed(BackupError):
    error_code = "restore_failed"
    hint = "Look at the steps; the pre-restore backup holds the old content."


class PermissionDenied(BackupError):
    error_code = "permission_denied"
    hint = "Run as root or as the owner of the database, or grant exactly that access."


class ReadOnly(BackupError):
    error_code = "read_only"
    hint = "Remount the filesystem writable, or let this user write the file; or choose a place on another one."


class IoError(BackupError):
    error_code = "io_error"
    hint = "Check the disk (kernel log, SMART) and run the command again."


class AuditBroken(BackupError):
    error_code = "audit_broken"
    hint = "A past line was changed or removed: compare the log with its off-host copy."


class RunFailed(BackupError):
    """``exit_code`` is that of the first part that failed."""

    error_code = "run_failed"
    hint = "Each part that failed names its cause; the others were done."

    def __init__(self, cause, *, exit_code=1, **details):
        super().__init__(cause, **details)
        self.exit_code = exit_code


class CheckFailed(BackupError):
    error_code = "check_failed"
    hint = "Run that command by hand on a restored copy (command 'restore' to another path) and read what it says."


class TimeLimit(BackupError):
    error_code = "time_limit"
    hint = "Raise time_limit, or look at why this host is so slow; nothing was left behind."


class DrillFailed(BackupError):
    """``exit_code`` is that of the first database that did not pass."""

    error_code = "drill_failed"
    hint = "Each database that did not pass names its cause and its next step."

    def __init__(self, cause, *, exit_code=1, **details):
        super().__init__(cause, **details)
        self.exit_code = exit_code


class ReviewFailed(BackupError):
    error_code = "review_failed"
    hint = "Each finding names what to do."


class FaultMissed(BackupError):
    error_code = "fault_missed"
    hint = "Do not rely on restores of this host until it is known why: run the game day again, and report it."


class FaultNotRun(BackupError):
    error_code = "fault_not_run"
    hint = "Mend what kept the fault from being tried, or leave it out by its name (skip) and note why."


class GamedayFailed(DrillFailed):
    error_code = "gameday_failed"
    hint = "Each database that did not pass names the faults that were missed, and its next step."


class NotificationFailed(BackupError):
    error_code = "notification_failed"
    hint = "Check the channel in notifications.json and that the host reaches it; the backups are not touched by this."


class AnswerLost(BackupError):
    error_code = "answer_lost"
    hint = "The operation itself is over: its line in the audit log (command 'audit') says how it ended."


class Unhealthy(BackupError):
    error_code = "unhealthy"
    hint = "Each check that is not ok names its cause."


def _codes(root):
    found = {root.error_code: root}
    for child in root.__subclasses__():
        found.update(_codes(child))
    return found


CODES = _codes(BackupError)

_BY_ERRNO = {
    errno.ENOSPC: NoSpace,
    errno.EDQUOT: NoSpace,
    errno.EFBIG: NoSpace,
    errno.EACCES: PermissionDenied,
    errno.EPERM: PermissionDenied,
    errno.EROFS: ReadOnly,
}


def from_os_error(error, path=None):
    """The engine's error for an ``OSError``, naming the file that the system named, else ``path``."""
    kind = _BY_ERRNO.get(error.errno, IoError)
    # What was asked of an open file names at most its descriptor.
    named = error.filename if isinstance(error.filename, (str, bytes)) else path
    if isinstance(named, bytes):
        named = named.decode("utf-8", "surrogateescape")
    return kind(error.strerror or str(error), path=named)
