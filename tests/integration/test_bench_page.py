# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The comparison with others runs as a whole, in small; and the page says what was measured."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.append(str(ROOT / "bench"))

import page  # noqa: E402
import run as comparison  # noqa: E402


def _row(contender, *seconds, **facts):
    return {"contender": contender, "seconds": list(seconds), "memory_mib": [20.0] * len(seconds), **facts}


def _figures(**parts):
    machine = {
        "processor": "2 cores",
        "memory_gib": 4,
        "kernel": "6.1",
        "python": "3.13.0",
        "sqlite": "3.40.1",
        "sqlite3_program": "3.40.1",
    }
    found = {name: {"date": "2026-11-23", "rows": rows} for name, rows in parts.items()}
    return page.Figures({"machine": machine, "rounds": 3, "parts": found})


SNAPSHOT = {"size": "1G", "filesystem": "ext4", "journal": "wal", "cache": "warm"}


def test_ratios_are_those_of_medians_and_goals_are_told_as_reached_or_missed():
    rows = [_row("clone", 0.9, 0.3, 0.1, **SNAPSHOT), _row("sqlite3 .backup", 1.0, 9.0, 0.5, **SNAPSHOT)]
    rows += [_row("clone, SHA-256", 0.7, 0.7, 0.7, **SNAPSHOT)]
    lines = page.goals(_figures(snapshot=rows))
    assert "| snapshot of 1G against `sqlite3 .backup` | 0.4 | 0.30 | reached |" in lines
    assert "| the same with SHA-256, 1G | 0.5 | 0.70 | **missed** |" in lines
    assert "| snapshot of 5G against `sqlite3 .backup` | 0.5 | not measured | |" in lines


def test_table_has_spread_memory_and_who_failed():
    rows = [_row("clone", 0.2, 0.4, 0.3, **SNAPSHOT), _row("sqlite3 .backup", 1.0, 1.0, 1.0, **SNAPSHOT)]
    rows.append({"contender": "sqlite3_rsync", "seconds": [], "memory_mib": [], "failed": "it is not installed"})
    text = "\n".join(page.against(rows, page.DOT))
    assert "| clone | 0.30 | 0.20 to 0.40 | 0.30 | 20 |" in text
    assert "| sqlite3_rsync | | it is not installed | | |" in text


def test_who_is_faster_is_told_and_who_makes_no_consistent_copy_is_no_peer():
    rows = [_row("clone", 2.0, **SNAPSHOT), _row("sqlite3 .backup", 1.0, **SNAPSHOT), _row(page.CP, 0.5, **SNAPSHOT)]
    lines = page.beaten(_figures(snapshot=rows))
    assert len(lines) == 3 and "sqlite3 .backup | 1.00 | 2.00" in lines[2]
    assert page.beaten(_figures(snapshot=rows[:1])) == ["Nowhere in this run."]


def test_application_that_was_held_up_for_ever_is_told():
    facts = {"size": "1G", "filesystem": "ext4", "journal": "delete", "commits": 200}
    felt = {"commits": 9, "commits_per_second": 9.0, "median_ms": 1.0, "p99_ms": 2.0, "longest_ms": 30.0}
    rows = [_row("clone", 0.5, felt=[{**felt, "log_growth_mib": 0.0}], **facts)]
    rows.append({**_row("sqlite3 .backup", **facts), "failed": "timeout"})
    text = "\n".join(page.felt_tables(_figures(writers=rows)))
    assert "| clone | 0.50 | 30.0 (30.0 to 30.0) | 2.0 | 1.00 | 0.0 |" in text and "never ended" in text


def test_only_the_blocks_of_the_page_are_made_anew():
    text = "before\n\n<!-- figures: start -->\nold\n<!-- end -->\n\nafter\n"
    figures = _figures(start=[_row("python -c pass", 0.011), _row("ours --version", 0.033)])
    once = page.fill(text, figures)
    assert once.startswith("before\n") and once.endswith("after\n") and "old" not in once and "0.033" in once
    assert page.fill(once, figures) == once


def test_results_of_a_part_take_the_place_of_what_they_were():
    document = comparison.merge({"parts": {"one": 1, "two": 2}}, "two", [])
    assert document["parts"]["one"] == 1 and document["parts"]["two"]["rows"] == []


def test_page_has_a_block_for_every_part():
    text = page.PAGE.read_text(encoding="utf-8")
    assert all(f"<!-- figures: {name} -->" in text for name in page.BLOCKS)
    assert set(comparison.PARTS) <= set(page.BLOCKS)


@pytest.mark.parametrize(
    "part", ["snapshot", "writers", "backup", "compression", "test restore", "verification nightly"]
)
def test_comparison_runs(tmp_path, part):
    environment = {**os.environ, "PARTS": part, "SIZES": "1M", "ROUNDS": "1", "COMMITS": "200", "DATABASES": "2"}
    environment.update(WORK=str(tmp_path), RESULTS=str(tmp_path / "performance.json"), BENCH_PEERS=str(tmp_path))
    program = [sys.executable, str(ROOT / "bench" / "run.py")]
    done = subprocess.run(program, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    document = json.loads((tmp_path / "performance.json").read_text(encoding="utf-8"))
    rows = [row for name in part.split() for row in document["parts"][name]["rows"]]
    ours = [row for row in rows if row["contender"].startswith(("clone", "online", "ours"))]
    assert ours and all(len(row["seconds"]) == 1 and "failed" not in row for row in ours)
    assert not list(tmp_path.glob("bench-*"))
    page.fill(page.PAGE.read_text(encoding="utf-8"), page.Figures(document))
