# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The timer, Ansible, the API and a person come to one name at the same moment.

One at a time: the others wait, or are told who holds the lock. Nothing is made twice or lost, whoever looks meanwhile
sees only what is finished, and the audit log has one line for each in an unbroken chain.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import time

import contestants
import pytest
import tellable
from engine import audit, catalog, clock, files, lock

# Looks at the backups all the while, as `list` and a monitoring agent do, until standard input is closed.
ONLOOKER = """
import select, sys
from engine import operations
looks = 0
while not select.select([sys.stdin], [], [], 0)[0]:
    looks += 1
    listed = operations.info(name="app")["backups"]
    strange = [(row["file"], row["status"], row["problems"]) for row in listed if row["status"] != "verified"]
    assert not strange, strange
    checks = operations.health(name="app")["checks"]
    wrong = [row for row in checks if row["status"] != "ok" and row["name"] in ("catalog", "interrupted", "audit")]
    assert not wrong, wrong
print(looks)
"""


@pytest.fixture
def place(tmp_path):
    """A configured host: its database has a writer all the while, and at most six backups are kept."""
    (tmp_path / "live").mkdir()
    database = tmp_path / "live" / "app.db"
    tellable.create(str(database), "wal")
    keeping = {"max_files": 6, "max_remove_percent": 100}
    place = contestants.Place(tmp_path, database, busy_timeout=120, retention=keeping)
    writer = tellable.Process("write", place.database, 1, str(tmp_path / "log"))
    yield place
    writer.end()


@contextlib.contextmanager
def held_back(place, come):
    """The contestants that ``come()`` starts, all of them waiting for the lock; it is free when the block begins."""
    with lock.held(place.lock, "test", 60):
        started = come()
        deadline = time.monotonic() + 120
        while not all(one.waits_for(place.lock) for one in started):
            assert time.monotonic() < deadline, "somebody has not come"
            time.sleep(0.005)
    yield started


def everybody(place):
    return [
        contestants.Timer(place),
        contestants.Module(place, database=place.database),
        contestants.Module(place, "backup_retention"),
        contestants.Api(place),
        contestants.Person(place),
    ]


def one_at_a_time(made):
    """No backup was begun before the one before it was finished: both are under the lock."""
    spans = sorted((clock.parse(one["created_at"]), one["duration_seconds"], one["file"]) for one in made)
    for (begun, seconds, file), (next_begun, _seconds, next_file) in zip(spans, spans[1:]):
        # Both times are cut to milliseconds.
        assert clock.after(begun, seconds - 0.002) <= next_begun, f"{file} and {next_file} were made at once"


def test_each_has_its_turn_and_nothing_is_lost_or_doubled(place, everything):
    onlooker = subprocess.Popen(
        [sys.executable, "-c", ONLOOKER],
        env=place.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    contestants.Person(place).answer()
    made, removed = [entry.manifest for entry in catalog.scan(place.backups, "app")], []
    for _round in range(120 if everything else 2):
        with held_back(place, lambda: everybody(place)) as started:
            answers = [one.answer() for one in started]
        assert [one["error_code"] for one in answers] == [None] * len(answers), answers
        new = [one["made"] for one in answers if one["made"]]
        assert len(new) == 4
        made += new
        removed += [file for one in answers for file in one["removed"]]
    looked, complaint = onlooker.communicate(timeout=120)
    assert onlooker.returncode == 0, complaint.decode()
    assert int(looked) > 0
    check_whole(place, made, removed)


def check_whole(place, made, removed):
    files_made = [one["file"] for one in made]
    assert len(set(files_made)) == len(files_made) and len(set(removed)) == len(removed)
    entries = catalog.scan(place.backups, "app")
    assert sorted(set(files_made) - set(removed)) == sorted(entry.file for entry in entries)
    assert {entry.status for entry in entries} == {"verified"}
    for entry in entries:
        assert files.sha256(entry.path) == entry.manifest["sha256"]
        tellable.content(sqlite3.connect(f"file:{entry.path}?immutable=1", uri=True))
    one_at_a_time(made)
    found = audit.check(place.audit)
    assert found["intact"] and not found["torn"], found
    lines = [line for line in audit.read(place.audit, "app") if line["operation"] == "backup"]
    assert sorted(line["file"] for line in lines) == sorted(files_made)
    assert {line["outcome"] for line in lines} == {"ok"}
    assert sum(line.get("removed", 0) for line in audit.read(place.audit, "app")) == len(removed)
    known = {".state", *(entry.file for entry in entries), *(f"{entry.file}.json" for entry in entries)}
    assert set(os.listdir(place.backups)) == known


@pytest.fixture
def stopped(tmp_path):
    """A host on which a person's backup has been stopped while it holds the lock: it waits for the database."""
    (tmp_path / "live").mkdir()
    database = tmp_path / "live" / "app.db"
    tellable.create(str(database), "delete")
    place = contestants.Place(tmp_path, database, busy_timeout=0.2)
    contestants.Person(place).answer()
    application = tellable.connect(place.database)
    application.execute("BEGIN EXCLUSIVE")
    first = contestants.Person(place, "--busy-timeout", "120")
    deadline = time.monotonic() + 60
    while (lock.read_owner(place.lock) or {}).get("pid") != first.pid:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    os.kill(first.pid, signal.SIGSTOP)
    application.execute("ROLLBACK")
    yield place, first
    first.process.kill()
    first.process.communicate()


def test_who_comes_second_is_told_who_holds_the_lock_and_the_first_goes_on_as_if_nothing_was(stopped):
    place, first = stopped
    for one in everybody(place):
        answer = one.answer()
        assert (answer["error_code"], answer["made"], answer["removed"]) == ("busy", None, [])
        assert f"backup by pid {first.pid}" in answer["message"] and "waited 0.2 s" in answer["message"]
    os.kill(first.pid, signal.SIGCONT)
    assert first.answer()["made"]
    entries = catalog.scan(place.backups, "app")
    assert [entry.status for entry in entries] == ["verified"] * 2
    outcomes = [line["outcome"] for line in audit.read(place.audit, "app") if line["operation"] == "backup"]
    assert outcomes == ["ok", *["busy"] * 4, "ok"]
    assert audit.check(place.audit)["intact"]


def test_stopped_one_that_is_killed_holds_nobody_up(stopped):
    place, first = stopped
    first.process.kill()
    first.process.wait()
    answers = [one.answer() for one in (contestants.Person(place), contestants.Api(place))]
    assert [one["error_code"] for one in answers] == [None] * 2
    assert not catalog.leftovers(place.backups, "app")
    assert [entry.status for entry in catalog.scan(place.backups, "app")] == ["verified"] * 3
