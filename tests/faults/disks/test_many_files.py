# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A backup directory with very many files: the operations go on, and what they cost grows no faster than the files do.

``FAULTS=all`` tries a million foreign files and 20,000 backups, otherwise 50,000 and 2,000, and half of the operations.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

import crowd
import pytest
from asked import EVERYTHING
from engine import catalog, operations, retention

FEW, MORE, MOST = 40, 80, 160
OPERATIONS = crowd.OPERATIONS if EVERYTHING else (crowd.health, crowd.retention, crowd.backup)
# What each may take: names of the directory in memory, each of them a few times; a manifest and what is told of it.
BYTES_FOR_A_NAME, BYTES_FOR_A_BACKUP, BYTES_AT_LEAST = 300, 20_000, 100_000_000
# Pages of the catalog, of what is left over, of what was quarantined; once more for a restore that was interrupted.
PASSES = 4


def cost(base, kind, operation, number):
    place = crowd.Place(base)
    getattr(place, kind)(number)
    with crowd.Work(place.backups) as work:
        crowd.outcome(operation, place)
    return work


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.__name__)
@pytest.mark.parametrize("kind", crowd.KINDS)
def test_work_grows_no_faster_than_the_files(quick_place, kind, operation, tally):
    if kind == "damaged" and operation is crowd.restore:
        pytest.skip("each damaged backup is tried by itself: its own test counts that")
    cost(quick_place / "warm", kind, operation, 1)  # Modules are imported once.
    few, more, most = (cost(quick_place / str(number), kind, operation, number) for number in (FEW, MORE, MOST))
    grown, grows = more.calls - few.calls, most.calls - more.calls
    assert grows <= 2.03 * grown + 150, (few.calls, more.calls, most.calls)
    assert few.passes == more.passes == most.passes <= PASSES
    assert most.bytes - more.bytes <= 2.5 * max(more.bytes - few.bytes, 64 * 1024), "memory"
    tally("work that grows with the files", True)


def test_catalog_is_read_once_however_many_backups_are_damaged(quick_place, monkeypatch):
    scans = []
    place = crowd.Place(quick_place / "place")
    place.damaged(12)
    scan = catalog.scan
    monkeypatch.setattr(catalog, "scan", lambda *words: scans.append(words) or scan(*words))
    done = operations.restore(backup_dir=place.backups, name="app", test=True, fall_back=True)
    assert done["backup"]["file"] == place.first.file
    assert len([text for text in done["warnings"] if "going back" in text]) == 12
    assert len(scans) == 2


def _command(place, most, *words):
    """What a command answers that may have so many bytes of memory."""
    engine = os.path.dirname(os.path.dirname(os.path.abspath(retention.__file__)))
    done = subprocess.run(
        ["prlimit", f"--data={most}", sys.executable, "-m", "engine", *words, "--backup-dir", place.backups, "--json"],
        env={**os.environ, "PYTHONPATH": engine},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, (done.stdout, done.stderr)
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    ("kind", "number"),
    [("foreign", 1_000_000 if EVERYTHING else 50_000), ("verified", 20_000 if EVERYTHING else 2_000)],
)
def test_every_command_does_its_work_among_very_many_files(quick_place, kind, number, tally):
    place = crowd.Place(quick_place / "place")
    getattr(place, kind)(number)
    backups = 1 + (number if kind == "verified" else 0)
    most = BYTES_AT_LEAST + BYTES_FOR_A_NAME * number + BYTES_FOR_A_BACKUP * backups
    place.change()
    for words in (
        ("list", "--name", "app", "--limit", "1"),
        ("health", "--name", "app", "--database", place.database, "--disk-limit-percent", "100"),
        ("statistics", "--name", "app"),
        ("backup", "--database", place.database),
        ("restore", place.first.file, "--database", place.database, "--force"),
        ("retention", "--name", "app", "--keep-days", "0", "--keep-last", "2", "--max-remove-percent", "100"),
    ):
        answer = _command(place, most, *words)
        if words[0] == "statistics":
            assert answer["statistics"]["total_backups"] == backups
        tally(f"among {number} files ({kind})", True)
    left = [entry for entry in catalog.scan(place.backups, "app") if entry.kind == "regular"]
    assert [entry.verified for entry in left] == [True, True]
    if kind == "foreign":
        assert sum(name.startswith("core.") for name in os.listdir(place.backups)) == number
