# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A restore over a database that others write to all the while, in both journal modes.

After it the content is that of the backup and whole later transactions, or, where it was refused, the old content with
nothing missing. Nobody who looks meanwhile sees a mixture, and no transaction that was committed afterwards is lost.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import time

import pytest
import tellable
from engine import errors, operations

WRITERS = 3


class Site:
    """A database in the era B with writers and an onlooker, and a backup of the era A."""

    def __init__(self, root, mode, *flags):
        self.root, self.flags = root, flags
        os.makedirs(root / "live")
        self.path, self.backups = str(root / "live" / "app.db"), str(root / "backups")
        tellable.create(self.path, mode)
        with contextlib.closing(tellable.connect(self.path)) as connection:
            for number in range(1, 200):
                tellable.commit(connection, 0, number)
        operations.backup(database=self.path, backup_dir=self.backups, disk_limit_percent=100)
        self.saved = tellable.read(self.path)[1]
        self.turned = 0
        self.turn()
        self.logs = {number: str(root / f"log-{number}") for number in range(1, WRITERS + 1)}
        self.crowd = [tellable.Process("write", self.path, n, log, *flags) for n, log in self.logs.items()]
        self.crowd.append(tellable.Process("watch", self.path, *flags))

    def turn(self):
        tellable.turn(self.path, "B")
        self.turned = time.monotonic_ns()

    def restore(self, **options):
        """(whether it was restored, begin, end)."""
        begin, done = time.monotonic_ns(), True
        try:
            operations.restore(database=self.path, backup_dir=self.backups, force=True, **options)
        except (errors.InUse, errors.DatabaseBusy):
            done = False
        return done, begin, time.monotonic_ns()

    def judge(self, done, begin, end):
        """What is there now against what every writer knows to be committed."""
        now = time.monotonic_ns()  # What is committed later may be read or not.
        era, found = tellable.read(self.path)
        assert era == ("A" if done else "B")
        if done:
            assert self.saved <= found, "a part of the backup is missing"
        for writer, log in self.logs.items():
            known = [row for row in tellable.acknowledged(log) if row[1] > self.turned and row[2] < now]
            there = {number for who, number in found - self.saved if who == writer}
            self._judge_one(known, there, done, begin, end)

    @staticmethod
    def _judge_one(known, there, done, begin, end):
        kept = [row for row in known if row[0] in there]
        if not done:
            assert kept == known, "a refused restore has lost transactions"
            return
        assert kept == known[len(known) - len(kept) :], "of the later transactions one in the middle is missing"
        assert not any(row[2] < begin for row in kept), "a transaction from before the restore is in its result"
        assert all(row in kept for row in known if row[1] > end), "a transaction from after the restore is lost"

    def end(self):
        """How often the onlooker looked."""
        return int([process.end() for process in self.crowd][-1])

    def kill(self):
        for process in self.crowd:
            process.kill()


@pytest.fixture
def site(quick_place):
    made = []

    def make(mode, *flags):
        made.append(Site(quick_place / "site", mode, *flags))
        return made[-1]

    yield make
    for one in made:
        one.kill()


def _rounds(everything, few, many):
    return range(many if everything else few)


@pytest.mark.parametrize("mode", ["wal", "delete"])
def test_restore_in_place_is_one_moment_for_everybody(site, mode, everything):
    here = site(mode)
    restored = 0
    for turn in _rounds(everything, 5, 60):
        done, begin, end = here.restore(pre_backup=turn % 2 == 0)
        here.judge(done, begin, end)
        restored += done
        here.turn()
    assert restored and here.end()


@pytest.mark.parametrize("mode", ["wal", "delete"])
def test_file_is_replaced_only_where_no_writer_comes_to_harm(site, mode, everything):
    """Writers whose connections come and go: there are moments in which nobody holds the file."""
    here = site(mode, "--come-and-go")
    restored = 0
    rounds = itertools.islice(itertools.count(), 400 if everything else 25)
    for _round in rounds:
        done, begin, end = here.restore(strategy="replace", pre_backup=False, busy_timeout=2)
        here.judge(done, begin, end)
        restored += done
        if done:
            here.turn()
    assert here.end()
