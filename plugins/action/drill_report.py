# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Begins a drill over a fleet, and makes its report when all hosts have had their turn: on the controller alone."""

from __future__ import annotations

import json
import os

from ansible_collections.digitalme.backup.plugins.module_utils.engine import __version__, clock, errors, files
from ansible_collections.digitalme.backup.plugins.modules import drill_report
from ansible_collections.digitalme.backup.plugins.plugin_utils import controlling, parts
from ansible_collections.digitalme.backup.plugins.plugin_utils.report import judging, merge, model, write

_TOLD = 20


def _begin(given):
    """What can be wrong with the report is said before any host is asked."""
    directory = os.path.abspath(given["directory"])
    model.check_kind(given["kind"])
    write.check(directory, given["key"])
    moment = clock.now()
    identity = model.new_id(given["kind"], moment)
    place = parts.begin(directory, identity)
    selection = dict(given["selection"] or {})
    if selection.get("rule") == "random" and not selection.get("seed"):
        selection["seed"] = identity
    run = {
        "id": identity,
        "kind": given["kind"],
        "started_at": clock.iso(moment),
        "version": __version__,
        "parts": place,
        "selection": selection,
    }
    return {"changed": False, "run": run}


def _make(given):
    """The report of what lies in the parts; they go when it is written."""
    run, hosts = given["run"], given["hosts"]
    if not run or not hosts:
        raise errors.UsageError("a report needs the run that was begun, and its hosts")
    report = model.build(run, parts.read(run["parts"], hosts), model.who(), clock.now())
    answer = _written(report, given)
    files.remove_tree(run["parts"])
    return answer


def _merge(given):
    """One report of several, as of the slices of a fleet."""
    if not given["reports"]:
        raise errors.UsageError("no report is given that could be merged")
    write.check(os.path.abspath(given["directory"]), given["key"])
    return _written(merge.merge([_load(path) for path in given["reports"]]), given)


def _load(path):
    path = os.path.join(path, "drill.json") if os.path.isdir(path) else path
    try:
        with open(path, "rb") as source:
            report = json.load(source)
    except (OSError, ValueError, RecursionError) as error:
        raise errors.UsageError(
            f"it cannot be read as a report ({error})",
            path=path,
            hint="Give a drill.json, or the directory it lies in.",
        ) from error
    return merge.checked(report, path)


def _written(report, given):
    written = write.write(report, os.path.abspath(given["directory"]), given["key"])
    return {
        "changed": True,
        "verdict": report["verdict"],
        "counts": report["counts"],
        "files": written,
        "report": {key: report[key] for key in ("id", "kind", "summary", "warnings")},
        "failures": judging.failures(report)[:_TOLD],
        "bad_hosts": _bad_hosts(report),
    }


def _bad_hosts(report):
    """{host: why} of the hosts that are to fail."""
    found: dict = {}
    for host in report["hosts"]:
        said = [f"{row['name']}: {row['cause']}" for row in host["databases"] if row["status"] != "passed"]
        if host["outcome"] != "answered":
            said.insert(0, host["cause"])
        if said:
            found[host["host"]] = "; ".join(said)
    return found


class ActionModule(controlling.ControllerAction):
    """See the module of the same name."""

    SPEC = drill_report.SPEC
    STEPS = {"begin": _begin, "make": _make, "merge": _merge}
