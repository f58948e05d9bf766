# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One report of several: of the slices of a fleet that was drilled by several jobs, or by each host itself."""

from __future__ import annotations

from ansible_collections.digitalme.backup.plugins.module_utils.engine import __version__, clock, errors

from . import judging, model, shape

# So many hosts that are in several reports are named.
_TOLD = 20


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
    wrong = shape.problem(report) or _wrong_times(report)
    if wrong:
        raise errors.UsageError(f"it is a damaged report ({wrong.lstrip(' .')})", path=path, hint=_HINT)
    return report


_HINT = "Give a drill.json as the playbook has written it, or the directory that it lies in."


def _wrong_times(report):
    for key in ("started_at", "finished_at"):
        try:
            clock.parse(report[key])
        except ValueError:
            return f"{key} is no time"
    return None


def merge(reports):
    """One report of all. A host that is in several counts as the newest of them says, with a warning.

    Raises UsageError for reports of different kinds.
    """
    kinds = sorted({report["kind"] for report in reports})
    if len(kinds) > 1:
        raise errors.UsageError(f"reports of different kinds cannot be merged: {' and '.join(kinds)}")
    # The same one given twice is one; another of the same id is another.
    reports = [report for number, report in enumerate(reports) if report not in reports[:number]]
    reports.sort(key=lambda report: report["started_at"])
    hosts: dict = {}
    twice: dict = {}
    for report in reports:
        for host in report["hosts"]:
            if host["host"] in hosts:
                twice[host["host"]] = report["started_at"]
            hosts[host["host"]] = host
    warnings = [f"{name} is in several reports: that of {when} counts" for name, when in list(twice.items())[:_TOLD]]
    if len(twice) > _TOLD:
        warnings.append(f"{len(twice) - _TOLD} more hosts are in several reports: the newest of each counts")
    warnings += [f"{report['id']}: {text}" for report in reports for text in report["warnings"]]
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
