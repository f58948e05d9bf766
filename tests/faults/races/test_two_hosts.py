# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Two hosts that back up under one name into one directory, which both have mounted.

They meet at the lock in that directory (its filesystem must pass locks on to the other host, as NFS 4 does; here both
are on one machine, each with its own name, configuration, audit log and database). Neither overwrites, doubles or
removes what the other is about, and both are told that they share a name.
"""

from __future__ import annotations

import collections
import contextlib
import json
import os
import random
import subprocess
import sys

import contestants
import pytest
import tellable
from engine import audit, catalog, clock, files

HOST = """
import json, sys
from engine import errors, manifest, operations
host = sys.argv[1]
manifest.host = lambda: host
print("ready", flush=True)
for line in sys.stdin:
    asked = json.loads(line)
    try:
        answer = getattr(operations, asked.pop("operation"))(name="app", **asked)
    except errors.BackupError as error:
        answer = error.as_result()
    print(json.dumps(answer), flush=True)
"""


class Host:
    """A host of that name, as a process that is told what to do."""

    def __init__(self, root, name, shared):
        self.name = name
        root = root / name
        (root / "live").mkdir(parents=True)
        tellable.create(str(root / "live" / "app.db"), "wal")
        with contextlib.closing(tellable.connect(str(root / "live" / "app.db"))) as connection:
            tellable.commit(connection, len(name), 1)
        self.place = contestants.Place(root, root / "live" / "app.db")
        self.place.backups = shared
        self.place.configure(busy_timeout=120, retention={"max_files": 8, "max_remove_percent": 100})
        self.start()

    def start(self):
        words = [sys.executable, "-c", HOST, self.name]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(words, env=self.place.environment, stdin=pipe, stdout=pipe)
        assert self.process.stdout.readline() == b"ready\n"

    def ask(self, operation, **arguments):
        self.process.stdin.write(json.dumps({"operation": operation, **arguments}).encode() + b"\n")
        self.process.stdin.flush()

    def answer(self):
        return json.loads(self.process.stdout.readline())

    def end(self):
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def hosts(tmp_path):
    both = [Host(tmp_path, name, str(tmp_path / "shared")) for name in ("alpha", "beta")]
    yield both
    for host in both:
        host.end()


def test_hosts_take_turns_and_each_finds_its_own(hosts, everything):
    made, removed, warned = [], [], set()
    for turn in range(100 if everything else 12):
        for host in hosts:
            host.ask("backup")
        for host in hosts:
            answer = host.answer()
            assert answer["changed"] and answer["backup"]["host"] == host.name, answer
            made.append(answer["backup"])
            warned |= {host.name for text in answer["warnings"] if "give each" in text}
        hosts[turn % 2].ask("retention")
        hosts[1 - turn % 2].ask("validate")
        removed += [row["file"] for row in hosts[turn % 2].answer()["removed"]]
        assert "error_code" not in hosts[1 - turn % 2].answer()
    entries = catalog.scan(hosts[0].place.backups, "app")
    assert {entry.status for entry in entries} == {"verified"}
    # A name that retention has freed may come again within its second: each making and each removal counts.
    left = collections.Counter(one["file"] for one in made)
    left.subtract(removed)
    assert {name: count for name, count in left.items() if count} == {entry.file: 1 for entry in entries}
    spans = sorted((clock.parse(one["created_at"]), one["duration_seconds"]) for one in made)
    assert all(clock.after(begun, seconds - 0.002) <= then for (begun, seconds), (then, _s) in zip(spans, spans[1:]))
    for entry in entries:
        assert files.sha256(entry.path) == entry.manifest["sha256"]
    for host in hosts:
        found = audit.check(host.place.audit)
        assert found["intact"] and not found["torn"]
    assert warned == {"alpha", "beta"}, "two hosts share a name, and nobody says so"


def test_host_that_dies_leaves_nothing_that_keeps_the_other_from_its_backups(hosts, everything):
    chance = random.Random(8)
    alpha, beta = hosts
    for _round in range(60 if everything else 8):
        alpha.ask("backup")
        beta.ask("backup")
        # Not to be met at a given point: wherever it is, it must do no harm.
        for _step in range(chance.randrange(40)):
            catalog.scan(beta.place.backups, "app")
        alpha.end()
        answer = beta.answer()
        assert answer["changed"], answer
        assert {entry.status for entry in catalog.scan(beta.place.backups, "app")} == {"verified"}
        alpha.start()
    beta.ask("backup")
    beta.answer()
    assert not catalog.leftovers(beta.place.backups, "app")
    left = {name for name in os.listdir(beta.place.backups) if name.startswith(".")}
    assert left == {".state"}
