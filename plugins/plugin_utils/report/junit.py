# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The report as JUnit XML: a suite for each host, a test for each database, so that any CI shows them.

It is written as text, tag by tag: a tree of the elements of a large fleet costs more than all the rest of a report.
"""

from __future__ import annotations

from xml.sax.saxutils import escape  # nosec B406 # only writes: nothing is parsed

from . import words

_ERRORS = ("not_run",)
_QUOTES = {'"': "&quot;"}


def render(report):
    """The XML as bytes. Failures are databases that did not pass, errors what could not be looked at."""
    lines = []
    totals = {"tests": 0, "failures": 0, "errors": 0}
    for host in report["hosts"]:
        counts, inner = _suite(report, host)
        lines += inner
        for key in totals:
            totals[key] += counts[key]
    root = _tag("testsuites", name=f"digitalme.backup {report['kind']}", time=_time(report["seconds"]), **totals)
    text = "\n".join(['<?xml version="1.0" encoding="UTF-8"?>', root, *lines, "</testsuites>", ""])
    return text.encode("utf-8")


def _suite(report, host):
    """({tests, failures, errors}, lines) of a host."""
    name = words.clean(host["host"])
    counts = {"tests": 0, "failures": 0, "errors": 0}
    lines = []
    if host["outcome"] != "answered":
        lines += _case(counts, name, "host answers", host, "error")
    for row in host["databases"]:
        bad = None if row["status"] == "passed" else "error" if row["status"] in _ERRORS else "failure"
        lines += _case(counts, name, row["name"], row, bad)
    began = report["started_at"][:19]
    opened = _tag("testsuite", name=name, timestamp=began, time=_time(host["seconds"]), **counts)
    return counts, [f"  {opened}", *lines, "  </testsuite>"]


def _case(counts, host, name, row, bad):
    """The lines of a test, which is added to the counts; ``bad`` is None, failure or error."""
    counts["tests"] += 1
    told = []
    if bad:
        counts[bad + "s"] += 1
        told = [_told(bad, row)]
    opened = _tag("testcase", classname=host, name=name, time=_time(row["seconds"]))
    properties = _properties(row) if "status" in row else []
    return [f"    {opened}", *properties, *told, "    </testcase>"]


def _told(tag, row):
    cause = words.clean(row["cause"] or "")
    code = row["error_code"] or row.get("status") or "failed"
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
    text = escape("\n".join(lines))
    return f"      {_tag(tag, type=code, message=cause)}{text}</{tag}>"


def _properties(row):
    backup = row["backup"] or {}
    rto, rpo = row["rto"] or {}, row["rpo"] or {}
    figures = (
        ("status", row["status"]),
        ("backup", backup.get("file")),
        ("backup_sha256", backup.get("sha256")),
        ("backup_created_at", backup.get("created_at")),
        ("rto_seconds", rto.get("achieved_seconds")),
        ("rpo_seconds", rpo.get("achieved_seconds")),
        ("rto_objective_seconds", rto.get("objective_seconds")),
        ("rpo_objective_seconds", rpo.get("objective_seconds")),
    )
    told = [f"        {_tag('property', '/', name=name, value=value)}" for name, value in figures if value is not None]
    return ["      <properties>", *told, "      </properties>"]


def _tag(tag, end="", **attributes):
    """A tag with its attributes, each of them cleaned: what is printable and escaped cannot break XML."""
    said = "".join(f' {key}="{escape(words.clean(value), _QUOTES)}"' for key, value in attributes.items())
    return f"<{tag}{said}{end}>"


def _time(seconds):
    return f"{seconds or 0:.3f}"
