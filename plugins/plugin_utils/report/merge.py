# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One report of several: of the slices of a fleet that was drilled by several jobs, or by each host itself."""

from __future__ import annotations

from ansible_collections.digitalme.backup.plugins.module_utils.engine import __version__, clock, errors

from . import judging, model

_LISTS = {"hosts": list, "warnings": list, "counts": dict, "selection": dict, "by": dict, "tool": dict}
_TEXTS = ("id", "started_at", "finished_at")
_OF_A_HOST = ("host", "outcome", "databases")
_OF_A_ROW = ("name", "status", "phases", "rto", "rpo", "backup")


def checked(report, path):
    """The report, if it is one that this version knows; raises UsageError, naming the file."""
    if not isinstance(report, dict) or report.get("kind") not in model.KINDS:
        raise errors.UsageError("it is no report of a drill", path=path, hint=_HINT)
    if report.get("schema_version") != model.SCHEMA_VERSION:
        version = errors.excerpt(report.get("schema_version"))
        raise errors.UsageError(
            f"it is of the unknown schema_version {version}, and {model.SCHEMA_VERSION} is known here",
            path=path,
            hint="Merge with the newest version of the collection among those that made the reports.",
        )
    whole = all(isinstance(report.get(key), kind) for key, kind in _LISTS.items())
    whole = whole and all(isinstance(report.get(key), str) for key in _TEXTS)
    whole = whole and all(_has(host, _OF_A_HOST) and _rows(host["databases"]) for host in report["hosts"])
    if not whole:
        raise errors.UsageError("it is a damaged report: parts of it are not there", path=path, hint=_HINT)
    return report


_HINT = "Give a drill.json as the playbook has written it, or the directory that it lies in."


def _has(value, keys):
    return isinstance(value, dict) and all(key in value for key in keys)


def _rows(rows):
    return isinstance(rows, list) and all(_has(row, _OF_A_ROW) and row["status"] in judging.STATUSES for row in rows)


def merge(reports):
    """One report of all. A host that is in several counts as the newest of them says, with a warning.

    Raises UsageError for reports of different kinds.
    """
    kinds = sorted({report["kind"] for report in reports})
    if len(kinds) > 1:
        raise errors.UsageError(f"reports of different kinds cannot be merged: {' and '.join(kinds)}")
    reports = sorted(reports, key=lambda report: report["started_at"])
    hosts: dict = {}
    warnings = []
    for report in reports:
        for host in report["hosts"]:
            if host["host"] in hosts:
                warnings.append(f"{host['host']} is in several reports: that of {report['started_at']} counts")
            hosts[host["host"]] = host
        warnings += [f"{report['id']}: {text}" for text in report["warnings"]]
    newest = reports[-1]
    rules = [report["selection"] for report in reports]
    if any(rule.get("rule") != rules[0].get("rule") for rule in rules):
        warnings.append("the reports chose their backups by different rules")
    made = sorted({report["tool"].get("version", "unknown") for report in reports})
    if made != [__version__]:
        warnings.append(f"the reports were made by version {', '.join(made)}, and merged by {__version__}")
    finished = max(report["finished_at"] for report in reports)
    began = reports[0]["started_at"]
    return judging.judge(
        {
            **newest,
            "id": model.new_id(newest["kind"], clock.now()),
            "started_at": began,
            "finished_at": finished,
            "seconds": round(clock.seconds_between(clock.parse(began), clock.parse(finished)), 3),
            "tool": {"version": __version__},
            "selection": rules[0],
            "hosts": [hosts[name] for name in sorted(hosts)],
            "history": [],
            "merged_from": [report["id"] for report in reports],
            "warnings": warnings,
        }
    )
