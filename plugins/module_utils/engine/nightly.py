# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a timer calls: backup and verification, retention, health, metrics and notification of one name, as one run.

Each part leaves its own audit line. A part that fails does not hide the others; retention is skipped after a backup
that failed, so that a run that makes nothing removes nothing.
"""

from __future__ import annotations

import os
from typing import Any, NamedTuple

from . import clock, errors

PARTS = ("backup", "retention", "health", "metrics", "notify")
STATUSES = ("ok", "degraded", "failed")


class Doors(NamedTuple):
    """The operations that a run is made of, each a callable that knows the name: it returns a result or raises.

    ``notify(kind, message, details)`` returns the failures of the channels as text.
    """

    backup: object
    retention: object
    health: object
    metrics: object
    notify: object


class Run:
    """One run of one name: what its parts did, as it grows."""

    def __init__(self, name, parts):
        self.name = name
        self.parts = parts
        self.rows: list = []
        self.results: dict = {}
        self.warnings: list = []

    def wants(self, part):
        return part in self.parts

    def do(self, part, door, *arguments):
        """Run one part; its result, or None when it failed. Also a defect of one part does not hide the others."""
        started = clock.monotonic()
        failure: Any = None
        try:
            result = door(*arguments)
        except Exception as error:
            failure = error
        if failure is None:
            self._note(part, "ok", started, _detail(part, result))
            self._keep(part, result)
            return result
        if not isinstance(failure, errors.BackupError):
            failure = _defect(failure)
        self._note(part, "failed", started, failure.message, failure.error_code, failure.exit_code)
        self._keep(part, failure.as_result())
        return None

    def skip(self, part, why):
        self.rows.append({"part": part, "status": "skipped", "seconds": 0.0, "detail": why, "error_code": None})

    def _note(self, part, status, started, detail, error_code=None, exit_code=0):
        seconds = round(clock.monotonic() - started, 3)
        row = {"part": part, "status": status, "seconds": seconds, "detail": detail, "error_code": error_code}
        if exit_code:
            row["exit_code"] = exit_code
        self.rows.append(row)

    def _keep(self, part, result):
        self.warnings.extend(text for text in result.pop("warnings", ()) if text not in self.warnings)
        self.results[part] = result

    def failures(self):
        return [row for row in self.rows if row["status"] == "failed"]

    def backup_failed(self):
        return any(row["part"] == "backup" for row in self.failures())

    def status(self):
        """``failed``: there is no new backup, or none to be trusted; ``degraded``: something else is amiss."""
        health = (self.results.get("health") or {}).get("status")
        if self.backup_failed() or health == "unhealthy":
            return "failed"
        return "degraded" if self.failures() or health == "degraded" else "ok"

    def message(self):
        """One line for people: the first thing that went wrong, or what was made."""
        bad = self.failures()
        if bad:
            more = f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
            return f"{bad[0]['part']}: {bad[0]['detail']}{more}"
        return "; ".join(row["detail"] for row in self.rows if row["part"] in ("backup", "health") and row["detail"])

    def result(self):
        made = (self.results.get("backup") or {}).get("backup")
        health = self.results.get("health") or {}
        retention = self.results.get("retention") or {}
        return {
            "name": self.name,
            "status": self.status(),
            "message": self.message(),
            "changed": any((self.results.get(part) or {}).get("changed", False) for part in self.results),
            "parts": self.rows,
            "backup": made,
            "removed": [row["file"] for row in retention.get("removed", ())],
            "held": retention.get("held"),
            "health": health.get("status"),
            "checks": [row for row in health.get("checks", ()) if row["status"] != "ok"],
            "warnings": self.warnings,
        }


def run(name, doors, parts, auto_cleanup, check=False):
    """Do the wanted parts of a run in order; the result of `Run.result`. Raises nothing that a part has raised."""
    this = Run(name, parts)
    telling = this.wants("notify") and not check
    if telling and this.wants("backup"):
        _tell(this, doors, "start", "the backup begins")
    if this.wants("backup"):
        this.do("backup", doors.backup)
    if this.wants("retention"):
        _expire(this, doors, auto_cleanup)
    if this.wants("health"):
        _judge(this, doors)
    if this.wants("metrics") and not check:
        this.do("metrics", doors.metrics)
    if telling:
        _tell_outcome(this, doors)
    return this.result()


def _expire(this, doors, auto_cleanup):
    if this.backup_failed():
        this.skip("retention", "the backup failed, so nothing is removed")
    elif not auto_cleanup and this.wants("backup"):
        this.skip("retention", "auto_cleanup is off")
    else:
        this.do("retention", doors.retention)


def _judge(this, doors):
    """Health is a verdict, not a crash: an unhealthy name makes the part fail, with its causes."""
    result = this.do("health", doors.health)
    if result is not None and result["status"] == "unhealthy":
        causes = "; ".join(check["message"] for check in result["checks"] if check["status"] != "ok")
        this.rows[-1].update(status="failed", detail=causes, error_code="unhealthy", exit_code=1)


def _tell_outcome(this, doors):
    held = (this.results.get("retention") or {}).get("held")
    if held:
        _tell(this, doors, "hold", held)
    bad = bool(this.failures())
    _tell(this, doors, "failure" if bad else "success", this.message())


def _tell(this, doors, kind, message):
    """A notification that does not arrive is a failed part: nobody would miss it otherwise."""
    started = clock.monotonic()
    made = (this.results.get("backup") or {}).get("backup") or {}
    details = {
        "status": this.status(),
        "parts": {row["part"]: row["status"] for row in this.rows},
        "file": made.get("file"),
        "stored_bytes": made.get("stored_bytes"),
        "failures": [f"{row['part']}: {row['detail']}" for row in this.failures()],
    }
    failures = doors.notify(kind, message, details)
    if failures:
        this._note("notify", "failed", started, f"{kind}: {'; '.join(failures)}", "notification_failed", 1)
    elif kind != "start":
        this._note("notify", "ok", started, kind)


def _defect(cause):
    return errors.BackupError(f"{type(cause).__name__}: {cause}", hint="This is a defect: please report it.")


def _detail(part, result):
    if part == "backup":
        made = result.get("backup")
        if made is None:
            plan = result.get("plan") or {}
            return result["skipped_reason"] or f"would make {plan.get('file')}"
        return f"{made['file']}, verification {made['verification']['level']}: {made['verification']['status']}"
    if part == "retention":
        held = f", held: {result['held']}" if result["held"] else ""
        return f"{len(result['removed'])} removed, {len(result['kept'])} kept{held}"
    if part == "health":
        return f"{result['status']}"
    return os.path.basename(result["path"]) if result.get("path") else "no directory for metrics is configured"


def exit_code(results):
    """The exit status of a run over several names: that of the first part that failed."""
    for result in results:
        for row in result["parts"]:
            if row["status"] == "failed":
                return row.get("exit_code", 1)
    return 0


def worst(results):
    return STATUSES[max((STATUSES.index(result["status"]) for result in results), default=0)]
