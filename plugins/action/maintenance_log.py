# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Begins a run of the maintenance calendar, and writes its entry into the log. Works on the controller alone."""

from __future__ import annotations

import os

from ansible_collections.digitalme.backup.plugins.module_utils.engine import __version__, clock, errors, files
from ansible_collections.digitalme.backup.plugins.modules import maintenance_log
from ansible_collections.digitalme.backup.plugins.plugin_utils import controlling, maintenance, parts
from ansible_collections.digitalme.backup.plugins.plugin_utils.report import model

_TOLD = 20


def _begin(given):
    """What can be wrong with the log is said before any host is asked."""
    directory = os.path.abspath(given["directory"])
    controlling.require_writable(directory)
    moment = clock.now()
    identity = model.new_id(given["kind"], moment)
    place = parts.begin(directory, identity)
    run = {
        "id": identity,
        "kind": given["kind"],
        "started_at": clock.iso(moment),
        "version": __version__,
        "parts": place,
        "checklist": list(given["checklist"] or ()),
    }
    return {"changed": False, "run": run}


def _record(given):
    """The entry, from what the parts of the run have said and what the hosts have answered."""
    run, hosts = given["run"], given["hosts"]
    if not run or not hosts:
        raise errors.UsageError("an entry needs the run that was begun, and its hosts")
    found = [part for part in (_health(given["health"]), *(_report(made) for made in given["reports"] or ())) if part]
    reviews = parts.read(run["parts"], hosts) if given["reviewed"] else []
    entry = maintenance.entry(run, found, reviews, model.who(), clock.now())
    paths = maintenance.append(os.path.abspath(given["directory"]), entry)
    files.remove_tree(run["parts"])
    findings = sorted(entry["findings"], key=lambda row: row["severity"] != "high")
    return {
        "changed": True,
        "verdict": entry["verdict"],
        "files": paths,
        "parts": entry["parts"],
        "findings": [_line(row) for row in findings[:_TOLD]],
        "bad_parts": [row["part"] for row in entry["parts"] if row["status"] == "action"],
    }


def _line(row):
    where = row["host"] + (f"/{row['database']}" if row["database"] else "")
    return f"{row['severity']}: {where}: {row['finding']}"


def _health(rows):
    """The part of the health check, from the rows of the filter fleet_rows; None where it was none of this run's."""
    if rows is None:
        return None
    bad = [f"{row['host']}/{row['database']}: {row['what']}" for row in rows if not row["protected"]]
    degraded = [row for row in rows if row["protected"] and row["state"] != "ok"]
    status = "action" if bad else "attention" if degraded else "ok"
    what = f"{len(rows) - len(bad)} of {len(rows)} databases are protected, {len(degraded)} of them degraded"
    return {"part": "health", "status": status, "summary": "; ".join([what, *bad[:5]]), "report": None}


def _report(made):
    """The part of a drill or a game day, from what drill_report has returned."""
    counts, kind = made["counts"], made["report"]["kind"]
    what = f"{counts['passed']} of {counts['databases']} databases on {counts['hosts']} hosts passed"
    status = "ok" if made["verdict"] == "passed" else "action"
    return {
        "part": kind,
        "status": status,
        "summary": "; ".join([what, *made["failures"][:5]]),
        "report": made["files"]["html"],
    }


class ActionModule(controlling.ControllerAction):
    """See the module of the same name."""

    SPEC = maintenance_log.SPEC
    STEPS = {"begin": _begin, "record": _record}
