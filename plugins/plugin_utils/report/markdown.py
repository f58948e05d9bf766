# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The report as Markdown: short enough for a comment on a merge request, or for a ticket."""

from __future__ import annotations

from . import words

# What a comment can hold: the rest is in the page.
ROWS = 50
FAILURES = 30


def render(report):
    """The Markdown as text."""
    counts = report["counts"]
    what = {"drill": "Disaster-recovery drill", "gameday": "Game day"}[report["kind"]]
    lines = [
        f"# {what}: {report['verdict']}",
        "",
        f"{counts['passed']} of {counts['databases']} databases on {counts['hosts']} hosts passed, "
        f"{words.moment(report['started_at'])}, {words.span(report['seconds'])}.",
        "",
        *_facts(report),
        *_failures(report),
        *_scoreboard(report),
        *[f"- warning: {words.markdown(text)}" for text in report["warnings"]],
        "",
        f"Report {report['id']}, version {report['tool']['version']}, by {words.markdown(report['by']['user'])} on "
        f"{words.markdown(report['by']['controller'])}.",
    ]
    return "\n".join(lines).rstrip("\n") + "\n"


def _facts(report):
    rows = []
    for key, name in (("rto_seconds", "RTO"), ("rpo_seconds", "RPO")):
        figures = report["summary"][key]
        if figures["worst"] is not None:
            worst = f"{words.span(figures['worst'])} ({words.markdown(figures['worst_of'])})"
            rows.append(f"- {name}: at worst {worst}, half of them at most {words.span(figures['median'])}")
    rule = report["selection"].get("rule")
    if rule:
        rows.append(f"- backups chosen: {words.markdown(rule)}")
    return [*rows, ""] if rows else []


def _failures(report):
    bad = [(host["host"], host) for host in report["hosts"] if host["outcome"] != "answered"]
    bad += [
        (f"{host['host']}/{row['name']}", row)
        for host in report["hosts"]
        for row in host["databases"]
        if row["status"] != "passed"
    ]
    if not bad:
        return []
    lines = ["## What did not pass", ""]
    for where, row in bad[:FAILURES]:
        word = words.status(row.get("status") or row["outcome"])
        lines.append(f"- **{words.markdown(where)}** ({word}): {words.markdown(row['cause'] or '', 500)}")
        if row["next_step"]:
            lines.append(f"  Next step: {words.markdown(row['next_step'])}")
        lines += [
            f"  - {fault['outcome']}: {words.markdown(fault['name'])}: {words.markdown(fault['what'], 300)}"
            for fault in row.get("faults") or ()
            if fault["outcome"] in ("missed", "not_run")
        ]
    if len(bad) > FAILURES:
        lines.append(f"- and {len(bad) - FAILURES} more, in the full report")
    return [*lines, ""]


def _scoreboard(report):
    rows = [(host["host"], row) for host in report["hosts"] for row in host["databases"]]
    if not rows:
        return []
    lines = [
        "## Scoreboard",
        "",
        "| host | database | verdict | RTO | objective | RPO | objective | backup |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: | --- |",
    ]
    for host, row in rows[:ROWS]:
        cells = [words.markdown(host), words.markdown(row["name"]), words.status(row["status"])]
        for key in ("rto", "rpo"):
            figures = row[key] or {}
            cells += [words.span(figures.get("achieved_seconds")), words.span(figures.get("objective_seconds"))]
        cells.append(words.markdown((row["backup"] or {}).get("file") or "\N{EN DASH}"))
        lines.append(f"| {' | '.join(cells)} |")
    if len(rows) > ROWS:
        lines += ["", f"And {len(rows) - ROWS} more, in the full report."]
    return [*lines, ""]
