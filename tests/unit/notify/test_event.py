# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The words of a subject and a body."""

from __future__ import annotations

import pytest
from engine.notify import event as words


@pytest.mark.parametrize(
    "kind, word", [("start", "STARTED"), ("success", "DONE"), ("failure", "FAILED"), ("hold", "HELD BACK")]
)
def test_subject_says_kind_name_host_and_cause(event, kind, word):
    assert words.subject(event(kind)) == f"[digitalme-backup] {word}: app on shop-17: the disk is full"


def test_subject_of_the_whole_run_names_the_host(event):
    assert words.subject(event(name=None)) == "[digitalme-backup] FAILED: shop-17: the disk is full"


def test_subject_is_one_short_printable_line(event):
    line = words.subject(event(message="a\nb\u2028" + "x" * 500))
    assert len(line) == 200 and line.isprintable() and line.endswith("x... (cut)") and "a\\nb\\u2028x" in line


def test_details_are_flat_lines(event):
    details = {
        "backup": {"file": "app.db", "size_bytes": 5},
        "steps": [{"name": "copy"}, "x"],
        "none": None,
        "no": False,
    }
    details.update({"yes": True, "one": 1, "zero": 0, "empty": {}, "a\nkey": "a\nvalue"})
    lines = words.body(event(details=details)).splitlines()
    assert lines[:2] == ["the disk is full", ""]
    assert lines[6:] == [
        "backup.file: app.db",
        "backup.size_bytes: 5",
        "steps.1.name: copy",
        "steps.2: x",
        "none: -",
        "no: no",
        "yes: yes",
        "one: 1",
        "zero: 0",
        "a\\nkey: a\\nvalue",
    ]


@pytest.mark.parametrize("letter", ["x", "\u00e4", "\U0001f4be"])
@pytest.mark.parametrize("shift", range(4))
def test_body_is_cut_between_letters(event, letter, shift):
    text = words.body(event(details={"k" * (shift + 1): letter * 20_000}))
    assert 9_990 < len(text.encode("utf-8")) <= 10_000 and text.endswith(letter + "... (cut)\n")


def test_body_of_the_usual_size_is_whole(event):
    assert words.body(event()).endswith("free_bytes: 12\n")
