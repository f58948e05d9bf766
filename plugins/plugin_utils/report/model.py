# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The report of a drill or a game day as plain data, from its hosts' parts; docs/DRILL_REPORT.md has its fields."""

from __future__ import annotations

import getpass
import os
import secrets
import socket

from ansible.release import __version__ as ansible_version
from ansible_collections.digitalme.backup.plugins.module_utils.engine import clock, errors

from . import judging, shape
from .calm import calm

SCHEMA_VERSION = 1
KINDS = ("drill", "gameday")
# Where CI systems say which job this is.
_JOBS = ("CI_JOB_URL", "BUILD_URL", "TOWER_JOB_URL")
_BAD_ANSWER = "Bring the collection on the host to the controller's version, and see what is wrong with the host."
_NO_DATABASE = "Configure its databases (role install), or leave the host out of the drill."


def new_id(kind, moment):
    """``drill-20261123T120000Z-4f2a``: sorts by time, and two that begin in one second differ."""
    return f"{kind}-{moment.strftime('%Y%m%dT%H%M%SZ')}-{secrets.token_hex(2)}"


def who():
    """Who runs this: {user, controller, ansible, job}; ``job`` is a CI system's address of it, or None."""
    job = next((os.environ[name] for name in _JOBS if os.environ.get(name)), None)
    return {"user": getpass.getuser(), "controller": socket.gethostname(), "ansible": ansible_version, "job": job}


@calm
def build(run, parts, by, finished):
    """The report of a run, {id, kind, started_at, selection, version}, from its hosts' parts; ``by``: who ran it."""
    began = clock.parse(run["started_at"])
    report = {
        "schema_version": SCHEMA_VERSION,
        "kind": run["kind"],
        "id": run["id"],
        "verdict": None,
        "started_at": run["started_at"],
        "finished_at": clock.iso(finished),
        "seconds": round(clock.seconds_between(began, finished), 3),
        "by": by,
        "tool": {"version": run["version"]},
        "versions": [],
        "selection": run["selection"],
        "counts": {},
        "summary": {},
        "hosts": [_host(part) for part in parts],
        "history": [],
        "merged_from": [],
        "warnings": [],
    }
    report = judging.judge(report)
    others = [version for version in report["versions"] if version != run["version"]]
    if others:
        report["warnings"].append(
            f"hosts have other versions than the controller's {run['version']}: {', '.join(others)}"
        )
    return report


def _host(part):
    result = part["result"] or {}
    host = {
        "host": part["host"],
        "outcome": part["outcome"],
        "error_code": part["error_code"],
        "cause": part["cause"],
        "next_step": part["next_step"],
        "seconds": result.get("seconds"),
        "clock_skew_seconds": skew(part, result),
        "tool": result.get("tool"),
        "peak_memory_bytes": result.get("peak_memory_bytes"),
        "databases": result.get("databases") or [],
    }
    # One host must not cost all others their report.
    wrong = shape.problem(host, "host")
    if wrong:
        cause = f"what it has answered is no result of a drill ({wrong.lstrip(' .')})"
        host.update(dict.fromkeys(("seconds", "clock_skew_seconds", "tool", "peak_memory_bytes")), databases=[])
        host.update(outcome="failed", error_code="bad_answer", cause=cause, next_step=_BAD_ANSWER)
    elif part["outcome"] == "answered" and not host["databases"]:
        cause = "it has no database that could be brought back"
        host.update(outcome="failed", error_code="no_databases", cause=cause, next_step=_NO_DATABASE)
    return host


def skew(part, result):
    """By how much the host's clock is ahead of the controller's, at most; None where that is not known."""
    try:
        asked, theirs, answered = (
            clock.parse(text) for text in (part["asked_at"], result["clock"], part["answered_at"])
        )
    except (AttributeError, KeyError, TypeError, ValueError):
        return None
    # What lies between question and answer is no skew.
    ahead, behind = clock.seconds_between(answered, theirs), clock.seconds_between(theirs, asked)
    return round(max(ahead, 0.0) - max(behind, 0.0), 3)


def check_kind(kind):
    """Raise UsageError for a kind of report that there is none of."""
    if kind not in KINDS:
        raise errors.UsageError(f"there is no report of the kind {errors.excerpt(kind)}")
