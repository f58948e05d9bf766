# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The report as JUnit XML: a suite for each host, a test for each database, so that any CI shows them."""

from __future__ import annotations

import xml.etree.ElementTree as etree

from . import words

_ERRORS = ("not_run",)


def render(report):
    """The XML as bytes. Failures are databases that did not pass, errors what could not be looked at."""
    root = etree.Element("testsuites", name=f"digitalme.backup {report['kind']}", time=_time(report["seconds"]))
    totals = {"tests": 0, "failures": 0, "errors": 0}
    for host in report["hosts"]:
        suite = _suite(root, report, host)
        for key in totals:
            totals[key] += int(suite.get(key))
    for key, count in totals.items():
        root.set(key, str(count))
    etree.indent(root)
    return b'<?xml version="1.0" encoding="UTF-8"?>\n' + etree.tostring(root, encoding="utf-8") + b"\n"


def _suite(root, report, host):
    name = words.clean(host["host"])
    suite = etree.SubElement(
        root, "testsuite", name=name, timestamp=report["started_at"][:19], time=_time(host["seconds"])
    )
    cases = []
    if host["outcome"] != "answered":
        case = etree.SubElement(suite, "testcase", classname=name, name="host answers", time=_time(host["seconds"]))
        _tell(case, "error", host)
        cases.append(case)
    for row in host["databases"]:
        case = etree.SubElement(
            suite, "testcase", classname=name, name=words.clean(row["name"]), time=_time(row["seconds"])
        )
        _properties(case, row)
        if row["status"] != "passed":
            _tell(case, "error" if row["status"] in _ERRORS else "failure", row)
        cases.append(case)
    suite.set("tests", str(len(cases)))
    for tag in ("failure", "error"):
        suite.set(tag + "s", str(sum(case.find(tag) is not None for case in cases)))
    return suite


def _tell(case, tag, row):
    cause = words.clean(row["cause"] or "")
    element = etree.SubElement(
        case, tag, type=words.clean(row["error_code"] or row.get("status") or "failed"), message=cause
    )
    lines = [cause] + ([f"Next step: {words.clean(row['next_step'])}"] if row["next_step"] else [])
    found = row.get("recoverable_from")
    if found:
        lines.append(
            f"It can be restored from {words.clean(found['file'])}, which is {words.span(found['age_seconds'])} old."
        )
    lines += [
        f"{fault['outcome']}: {words.clean(fault['name'])}: {words.clean(fault['what'])}"
        for fault in row.get("faults") or ()
        if fault["outcome"] in ("missed", "not_run")
    ]
    element.text = "\n".join(lines)


def _properties(case, row):
    backup = row["backup"] or {}
    figures = {
        "status": row["status"],
        "backup": backup.get("file"),
        "backup_sha256": backup.get("sha256"),
        "backup_created_at": backup.get("created_at"),
        **{f"{key}_seconds": (row[key] or {}).get("achieved_seconds") for key in ("rto", "rpo")},
        **{f"{key}_objective_seconds": (row[key] or {}).get("objective_seconds") for key in ("rto", "rpo")},
    }
    told = {name: value for name, value in figures.items() if value is not None}
    if told:
        parent = etree.SubElement(case, "properties")
        for name, value in told.items():
            etree.SubElement(parent, "property", name=name, value=words.clean(value))


def _time(seconds):
    return f"{seconds or 0:.3f}"
