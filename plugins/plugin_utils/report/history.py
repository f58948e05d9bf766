# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Earlier drills: one line of history.jsonl for each, with the hash of its report."""

from __future__ import annotations

import json
import os

from ansible_collections.digitalme.backup.plugins.module_utils.engine import errors, files

from . import judging, shape, words

NAME = "history.jsonl"
# So many are carried in a report, and so many failures of each.
KEPT = 100
TOLD = 20
# Every later report carries them.
LONGEST = 300
_KEYS = ("id", "kind", "started_at", "verdict", "counts")


def read(directory):
    """(lines, oldest first, warnings). A damaged line is a warning: what was is not worth less for it."""
    path = os.path.join(directory, NAME)
    rows, bad = [], []
    try:
        descriptor = files.open_regular(path)
    except FileNotFoundError:
        return [], []
    except OSError as error:
        return [], [f"{errors.show(path)} cannot be read, so earlier drills are not shown ({error.strerror})"]
    with open(descriptor, "rb") as source:
        for number, raw in enumerate(source, 1):
            row = _row(raw)
            if row is None:
                bad.append(str(number))
            else:
                rows.append(row)
    rows.sort(key=lambda row: row["started_at"])
    said = [f"{errors.show(path)}: damaged lines were left out: {', '.join(bad[:10])}"] if bad else []
    return rows, said


def _row(raw):
    try:
        row = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    return None if shape.problem(row, "line") else row


def line(report, sha256):
    """What is kept of a report."""
    figures = report["summary"]
    return {
        **{key: report[key] for key in _KEYS},
        "rto_worst": figures["rto_seconds"]["worst"],
        "rto_median": figures["rto_seconds"]["median"],
        "rpo_worst": figures["rpo_seconds"]["worst"],
        "failures": [words.clean(text, LONGEST) for text in judging.failures(report)[:TOLD]],
        "sha256": sha256,
    }


def append(directory, row):
    """Add a line, durable. A crash in the middle leaves a damaged one, which `read` leaves out."""
    path = os.path.join(directory, NAME)
    text = json.dumps(row, ensure_ascii=True).encode("ascii") + b"\n"
    descriptor = files.open_append(path, mode=0o644)
    try:
        end = os.lseek(descriptor, 0, os.SEEK_END)
        if end and os.pread(descriptor, 1, end - 1) != b"\n":
            text = b"\n" + text
        files.write_all(descriptor, text)
        files.sync_open(descriptor)
    finally:
        os.close(descriptor)
