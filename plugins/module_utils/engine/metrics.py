# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The state of one name as Prometheus metrics, in a file that the node exporter's textfile collector reads.

Every series is there from the first writing on: a time that never was is 0, a duration that was never measured NaN. The
help texts are the same in every file, because the exporter merges the files of all names.
"""

from __future__ import annotations

import hashlib
import math
import os

from . import __version__, clock, cron, errors, files, health, kept_files, retention, space

PREFIX = "digitalme_backup_"
STATES = ("verified", "unverified", "unverifiable", "invalid", "missing")
NEVER = 0
UNKNOWN = float("nan")
_LARGEST = 2**63
# A file name has 255 bytes, also that of the temporary file.
_LONGEST_NAME = 200
# (name, help), in the order in which they are written.
FAMILIES = (
    ("last_success_timestamp_seconds", "When the newest backup was begun, 0 before the first."),
    ("last_verified_timestamp_seconds", "When the newest verified backup was begun, 0 before the first."),
    ("last_restore_test_timestamp_seconds", "When a backup was last restored into a scratch place and found whole."),
    ("oldest_timestamp_seconds", "When the oldest backup was begun."),
    ("last_run_timestamp_seconds", "When a backup or a run last ended, whatever came of it."),
    ("last_run_success", "Whether the newest backup or run succeeded (1) or not (0)."),
    ("last_duration_seconds", "How long the newest backup took."),
    ("last_size_bytes", "Size of the database in the newest backup."),
    ("last_stored_bytes", "Size of the newest backup as it is stored."),
    ("stored_bytes", "Size of all backups as they are stored."),
    ("backups", "Backups by state."),
    ("pre_restore_backups", "Backups taken of the live database before a restore."),
    ("database_present", "Whether the live database is there and is a SQLite database (1) or not (0)."),
    ("database_size_bytes", "Size of the live database with its log."),
    ("expected_interval_seconds", "The longest time between two scheduled backups, 0 without a schedule."),
    ("retention_hold", "Whether nothing expires at present (1), because the newest backups are not to be trusted."),
    ("health_status", "The verdict on the backups: 1 for the one that holds."),
    ("health_check", "Each check of the backups: 0 ok, 1 degraded, 2 unhealthy."),
    ("rpo_seconds", "Age of the newest verified backup when this was written."),
    ("rpo_objective_seconds", "How old the newest verified backup may be, NaN where nobody says."),
    ("rto_seconds", "How long the newest restore test took."),
    ("rto_objective_seconds", "How long a restore may take, NaN where nobody says."),
    ("filesystem_used_percent", "How full the filesystem of the backups is."),
    ("filesystem_limit_percent", "How full the filesystem of the backups may be."),
    ("audit_chain_intact", "Whether the chain of the audit log is whole (1) or not (0)."),
    ("written_timestamp_seconds", "When these metrics were written."),
    ("build_info", "The engine's version."),
)


def text(facts, checks, records):
    """The exposition of one name: from `health.Facts`, its checks, and the audit log's records of the name."""
    values = _values(facts, checks, records)
    lines = []
    for family, said in FAMILIES:
        lines += [f"# HELP {PREFIX}{family} {said}", f"# TYPE {PREFIX}{family} gauge"]
        found = values[family]
        for labels, value in found if isinstance(found, list) else [({}, found)]:
            lines.append(_sample(family, {"database": facts.target.name, **labels}, value))
    return "\n".join(lines) + "\n"


def _sample(family, labels, value):
    shown = ",".join(f'{key}="{_escape(text)}"' for key, text in labels.items())
    return f"{PREFIX}{family}{{{shown}}} {_number(value)}"


def _escape(value):
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").encode("utf-8", "replace").decode()


def _number(value):
    return "NaN" if math.isnan(value) else f"{value:.3f}".rstrip("0").rstrip(".")


def _values(facts, checks, records):
    return {
        **_of_backups(facts),
        **_of_runs(records),
        **_of_the_database(facts, checks),
        **_of_objectives(facts),
        **_of_health(facts, checks),
        "written_timestamp_seconds": facts.now.timestamp(),
        "build_info": [({"version": __version__}, 1)],
    }


def _of_backups(facts):
    entries = facts.entries
    regular = [entry for entry in entries if entry.kind == "regular"]
    dated = [entry for entry in regular if entry.created_at is not None and entry.status != "missing"]
    # A file that only looks like a backup must not silence the alert on a backup that was not made.
    made = next((entry for entry in dated if entry.manifest and entry.status != "invalid"), None)
    newest = made.manifest if made else {}
    tested = health.restore_tested(entries, facts.history)
    quarantined = len(kept_files.quarantined(facts.target.backup_dir, facts.target.name))
    counts = [({"state": state}, sum(entry.status == state for entry in regular)) for state in STATES]
    return {
        "last_success_timestamp_seconds": _time(made and made.created_at),
        "last_verified_timestamp_seconds": _time(next((e.created_at for e in dated if e.verified), None)),
        "last_restore_test_timestamp_seconds": _time(tested and tested.at),
        "oldest_timestamp_seconds": _time(min((entry.created_at for entry in dated), default=None)),
        "last_duration_seconds": _measured(newest.get("duration_seconds")),
        "last_size_bytes": _measured(newest.get("size_bytes")),
        "last_stored_bytes": made.stored_bytes if made else UNKNOWN,
        "stored_bytes": sum(entry.stored_bytes for entry in entries),
        "backups": [*counts, ({"state": "quarantined"}, quarantined)],
        "pre_restore_backups": sum(entry.kind == "pre_restore" for entry in entries),
    }


def _time(moment):
    return NEVER if moment is None else moment.timestamp()


def _measured(value):
    """A number that a manifest or a setting gives; what is none, or none that can be, is unknown."""
    known = isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < _LARGEST
    return value if known else UNKNOWN


def _of_runs(records):
    """The newest backup, or run with one, that the log tells of. A run tells its own outcome as ``status``."""
    ended = [row for row in records if row.get("operation") == "backup" or _tried_a_backup(row)]
    newest = ended[-1] if ended else {}
    try:
        when = clock.parse(newest["time"])
    except (KeyError, ValueError, AttributeError):
        when = None
    good = newest.get("outcome") == "ok" and newest.get("status", "ok") != "failed"
    return {"last_run_timestamp_seconds": _time(when), "last_run_success": int(good)}


def _tried_a_backup(row):
    """Whether it is a run that made a backup or broke off: one that only judged says nothing of the backup before."""
    return row.get("operation") == "run" and (row.get("outcome") != "ok" or "backup" in (row.get("parts") or {}))


def _of_the_database(facts, checks):
    status = {check["name"]: check["status"] for check in checks}
    path = facts.target.database
    present = path is not None and status.get("database") != "unhealthy"
    return {"database_present": int(present), "database_size_bytes": _size(path)}


def _size(path):
    try:
        return sum(files.size(path + suffix) for suffix in ("", "-wal")) if path else UNKNOWN
    except OSError:
        return UNKNOWN  # The check of the database says what is wrong with it.


def _of_objectives(facts):
    settings = facts.target.settings
    verified = next((entry for entry in facts.entries if entry.kind == "regular" and entry.verified), None)
    tested = health.restore_tested(facts.entries, facts.history)
    return {
        "rpo_seconds": clock.seconds_between(verified.created_at, facts.now) if verified else UNKNOWN,
        "rpo_objective_seconds": _measured(settings["rpo_objective"]),
        "rto_seconds": _measured(tested and tested.seconds),
        "rto_objective_seconds": _measured(settings["rto_objective"]),
        "expected_interval_seconds": _interval(facts),
        "retention_hold": int(_held(facts)),
    }


def _held(facts):
    try:
        return bool(retention.plan(facts.entries, facts.target.settings["retention"], facts.now).hold)
    except errors.UsageError:
        return True  # A policy that cannot be meant lets nothing expire.


def _interval(facts):
    expression = facts.target.settings["schedule"]
    if not expression:
        return 0
    try:
        return cron.parse(expression, facts.target.settings["timezone"]).longest_interval(facts.now)
    except errors.ConfigError:
        return 0  # The check of the schedule says what is wrong with it.


def _of_health(facts, checks):
    status = health.status_of(checks)
    used, total = space.disk_use(_existing(facts.target.backup_dir))
    return {
        "health_status": [({"status": each}, int(each == status)) for each in health.STATUSES],
        "health_check": [({"check": check["name"]}, health.WORST[check["status"]]) for check in checks],
        "filesystem_used_percent": 100 * used / total if total else 100.0,
        "filesystem_limit_percent": facts.target.settings["disk_limit_percent"],
        "audit_chain_intact": int(any(row["name"] == "audit" and row["status"] == "ok" for row in checks)),
    }


def _existing(path):
    while not os.path.isdir(path):
        path = os.path.dirname(path)
    return path


# --- the file --------------------------------------------------------------------------------------------------------


def path_for(directory, name):
    """The name's file in the directory: what would be awkward in a file name is ``%XX``, and a long name is cut."""
    kept = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-"
    raw = os.fsencode(name)
    quoted = "".join(chr(byte) if chr(byte) in kept else f"%{byte:02X}" for byte in raw)
    if len(quoted) > _LONGEST_NAME:
        quoted = f"{quoted[:100]}-{hashlib.sha256(raw).hexdigest()}"
    return os.path.join(directory, f"{PREFIX}{quoted}.prom")


def write(directory, name, content):
    """Write the name's file, readable by the exporter; at any instant it has the old content or the new, whole."""
    path = path_for(directory, name)
    # The exporter is another user. What a crash leaves does not end in .prom and is not read.
    files.write_atomically(path, content.encode("utf-8"), mode=0o644)
    return path
