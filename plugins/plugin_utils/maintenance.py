# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The maintenance log: one entry for each run of the calendar, as a line of JSON and as Markdown for people.

docs/BACKUP_MAINTENANCE_PROCEDURES.md has the fields of an entry. Its ``verdict`` is ok, attention (a finding) or action
(a finding of high severity, or a part that failed).
"""

from __future__ import annotations

import json
import os

from ansible_collections.digitalme.backup.plugins.module_utils.engine import clock, errors, files, lock

from . import maintenance_page, maintenance_reviews

SCHEMA_VERSION = 1
KINDS = ("daily", "weekly", "monthly", "quarterly")
JSON = "maintenance.jsonl"
MARKDOWN = "MAINTENANCE_LOG.md"
_WAIT_SECONDS = 30.0
_READABLE = 0o644
VERDICTS = ("ok", "attention", "action")
_OF_SEVERITY = {"low": "attention", "medium": "attention", "high": "action"}


def entry(run, parts, reviews, by, finished):
    """The entry of a run {kind, id, started_at, version, checklist}; ``parts`` are [{part, status, summary, report}],
    ``reviews`` what each host has answered when it was reviewed (`parts.read`).
    """
    found = maintenance_reviews.gathered(reviews)
    verdicts = [row["status"] for row in parts] + [_OF_SEVERITY[row["severity"]] for row in found.findings]
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
        "rates": maintenance_reviews.fleet(found.databases),
        **found._asdict(),
        "checklist": run["checklist"],
    }


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
            title = "" if os.fstat(beside).st_size else maintenance_page.TITLE
            _add(beside, title + "\n" + maintenance_page.entry(made))
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
