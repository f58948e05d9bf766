# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The maintenance log: one entry for each run of the calendar, as a line of JSON and as Markdown for people.

An entry is {schema_version, kind, id, started_at, finished_at, verdict, by, version, parts, hosts, findings,
checklist}. Its ``verdict`` is ok, attention (a finding) or action (a finding of high severity, or a part that failed).
"""

from __future__ import annotations

import json
import os

from ansible_collections.digitalme.backup.plugins.module_utils.engine import clock, errors, files, lock

from .report import words

SCHEMA_VERSION = 1
KINDS = ("daily", "weekly", "monthly", "quarterly")
JSON = "maintenance.jsonl"
MARKDOWN = "MAINTENANCE_LOG.md"
_TITLE = (
    "# Maintenance log\n\nAn entry for each run, the newest at the end; `maintenance.jsonl` has them for machines.\n"
)
_WAIT_SECONDS = 30.0
_READABLE = 0o644
# So many findings of a host are told in the Markdown; the line of JSON has all.
_TOLD = 20
VERDICTS = ("ok", "attention", "action")
_OF_SEVERITY = {"low": "attention", "medium": "attention", "high": "action"}


def entry(run, parts, reviews, by, finished):
    """The entry of a run {kind, id, started_at, version, checklist}; ``parts`` are [{part, status, summary, report}],
    ``reviews`` what each host has answered when it was reviewed (`parts.read`).
    """
    hosts, findings = [], []
    for one in reviews:
        result = one["result"] or {}
        hosts.append({"host": one["host"], "status": result.get("status") or one["outcome"], "cause": one["cause"]})
        findings += [{"host": one["host"], "database": None, **row} for row in result.get("findings") or ()]
        for row in result.get("databases") or ():
            if row.get("cause"):
                findings.append(_unreviewed(one["host"], row["name"], row["cause"], row["next_step"]))
            findings += [{"host": one["host"], "database": row["name"], **each} for each in row["findings"]]
        if one["outcome"] != "answered":
            findings.append(_unreviewed(one["host"], None, one["cause"], one["next_step"]))
    verdicts = [row["status"] for row in parts] + [_OF_SEVERITY[row["severity"]] for row in findings]
    return {
        "schema_version": SCHEMA_VERSION,
        "kind": run["kind"],
        "id": run["id"],
        "started_at": run["started_at"],
        "finished_at": clock.iso(finished),
        "verdict": VERDICTS[max((VERDICTS.index(each) for each in verdicts), default=0)],
        "by": by,
        "version": run["version"],
        "parts": parts,
        "hosts": hosts,
        "findings": findings,
        "checklist": run["checklist"],
    }


def _unreviewed(host, database, cause, todo):
    why = "What nobody has looked at can be anything."
    told = {"id": "not_reviewed", "severity": "high", "finding": cause, "why": why, "todo": todo}
    return {"host": host, "database": database, **told}


def append(directory, made):
    """Add the entry to both files, durable: {json, markdown}. Raises Busy while another run writes, and OSError.

    A crash between the two leaves the line of JSON alone; one within a line leaves a torn one, which the next closes.
    """
    paths = {"json": os.path.join(directory, JSON), "markdown": os.path.join(directory, MARKDOWN)}
    line = json.dumps(made, ensure_ascii=True) + "\n"
    descriptor = files.open_append(paths["json"], mode=_READABLE)
    try:
        if not lock.wait_for(descriptor, _WAIT_SECONDS):
            raise errors.Busy("another run writes the maintenance log", path=paths["json"])
        _add(descriptor, line)
        beside = files.open_append(paths["markdown"], mode=_READABLE)
        try:
            _add(beside, ("" if os.fstat(beside).st_size else _TITLE) + "\n" + markdown(made))
        finally:
            os.close(beside)
    finally:
        os.close(descriptor)
    return paths


def _add(descriptor, text):
    end = os.lseek(descriptor, 0, os.SEEK_END)
    torn = end and os.pread(descriptor, 1, end - 1) != b"\n"
    files.write_all(descriptor, (b"\n" if torn else b"") + text.encode("utf-8"))
    files.sync_open(descriptor)


def markdown(made):
    """The entry for people."""
    who = f"{words.markdown(made['by']['user'])} on {words.markdown(made['by']['controller'])}"
    lines = [
        f"## {made['started_at'][:10]} {made['kind']}: {made['verdict']}",
        "",
        f"{words.moment(made['started_at'])} to {words.moment(made['finished_at'])}, by {who}, {made['version']}.",
        "",
        "| part | status | what |",
        "| --- | --- | --- |",
        *[f"| {row['part']} | {row['status']} | {words.markdown(row['summary'], 300)} |" for row in made["parts"]],
        "",
    ]
    lines += [f"- report of the {row['part']}: {row['report']}" for row in made["parts"] if row.get("report")]
    lines += _findings(made["findings"])
    if made["checklist"]:
        lines += [
            "",
            "### To be done and signed by people",
            "",
            "| what | done by | date | remark |",
            "| --- | --- | --- | --- |",
        ]
        lines += [f"| {words.markdown(text, 300)} | | | |" for text in made["checklist"]]
    return "\n".join(lines).rstrip("\n") + "\n"


def _findings(findings):
    if not findings:
        return ["", "Nothing was found."]
    lines = ["", "### Found, and what to do", ""]
    order = sorted(findings, key=lambda row: -("low", "medium", "high").index(row["severity"]))
    for row in order[:_TOLD]:
        where = row["host"] + (f"/{row['database']}" if row["database"] else "")
        lines.append(f"- **{row['severity']}** {words.markdown(where)}: {words.markdown(row['finding'] or '', 400)}")
        lines.append(f"  Do: {words.markdown(row['todo'] or '', 300)}")
    if len(order) > _TOLD:
        lines.append(f"- and {len(order) - _TOLD} more, in {JSON}")
    return lines
