# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The verdict over a report's hosts, and what is counted of them. Pure."""

from __future__ import annotations

import statistics

STATUSES = ("passed", "objective_missed", "failed", "no_backup", "not_run")
COUNTED = ("hosts", "databases", *STATUSES, "hosts_without_answer")


def judge(report):
    """The report with ``counts``, ``summary``, ``versions`` and ``verdict`` from its ``hosts``.

    It is passed only if there is a database, every host has answered, and every database has passed.
    """
    hosts = report["hosts"]
    rows = [(host["host"], row) for host in hosts for row in host["databases"]]
    silent = [host for host in hosts if host["outcome"] != "answered"]
    counts = {"hosts": len(hosts), "databases": len(rows), **dict.fromkeys(STATUSES, 0)}
    for _host, row in rows:
        counts[row["status"]] += 1
    counts["hosts_without_answer"] = len(silent)
    passed = bool(rows) and not silent and counts["passed"] == len(rows)
    versions = {host["tool"]["version"] for host in hosts if host.get("tool")}
    return {
        **report,
        "verdict": "passed" if passed else "failed",
        "counts": counts,
        "summary": {"rto_seconds": _figures(rows, "rto"), "rpo_seconds": _figures(rows, "rpo")},
        "versions": sorted(versions),
    }


def _figures(rows, key):
    """{median, worst, worst_of}; None where nothing was measured."""
    found = [
        (row[key]["achieved_seconds"], f"{host}/{row['name']}")
        for host, row in rows
        if row[key] and row[key]["achieved_seconds"] is not None
    ]
    if not found:
        return {"median": None, "worst": None, "worst_of": None}
    worst, where = max(found)
    return {
        "median": round(statistics.median(seconds for seconds, _where in found), 3),
        "worst": worst,
        "worst_of": where,
    }


def failures(report):
    """``host/name: cause`` of everything that did not pass, hosts without an answer first."""
    said = [f"{host['host']}: {host['cause']}" for host in report["hosts"] if host["outcome"] != "answered"]
    for host in report["hosts"]:
        said += [
            f"{host['host']}/{row['name']}: {row['cause']}" for row in host["databases"] if row["status"] != "passed"
        ]
    return said
