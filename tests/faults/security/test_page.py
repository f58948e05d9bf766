# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""SECURITY.md names the tests that show its claims: they are there."""

from __future__ import annotations

import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent.parent
PAGE = (ROOT / "SECURITY.md").read_text(encoding="utf-8")


def test_tests_that_the_page_names_are_there():
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)
    assert len(named) > 15
    missing = [f"{file}::{test}" for file, test in named if f"def {test}(" not in (ROOT / file).read_text("utf-8")]
    assert missing == []


def test_every_claim_of_the_table_names_a_test():
    table = PAGE.partition("## Which test shows it")[2]
    rows = [line for line in table.splitlines() if line.startswith("| ") and not line.startswith(("| claim", "| ---"))]
    assert rows and all("::test_" in row for row in rows)
