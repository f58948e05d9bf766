#!/usr/bin/env python3
# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Soak: a backup every second under write load, and somebody who kills backups, retention and writers at random.

    python3 tests/faults/soak.py --seconds 3600 [--seed 1] [--place DIRECTORY]

Beside the backups of the command line run retention, a restore now and then, the API's gate, which makes backups too
and is never killed, and the scheduler. Of all of it is held that

* every backup that was ever listed as verified can be restored, and holds a content that the application once had;
* a kill leaves nothing that the next run does not remove, and the live database is whole;
* the processes that live long (the gate, the scheduler and this one) do not grow, in memory or in open files, and no
  file is left over.

It prints one line of JSON and exits 1 where one of these does not hold.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
for _directory in (ROOT / "plugins" / "module_utils", ROOT / "tests" / "shared", HERE / "races"):
    sys.path.insert(0, str(_directory))

import surroundings  # noqa: E402
import tellable  # noqa: E402
from engine import audit, catalog, errors, operations  # noqa: E402

NAME = "app"
KEPT = 40
# What a process may grow by after the first third of the time. In 110 s the gate's memory went up by 18 MB and fell
# back to what it was; a leak in each round goes on in an hour.
GROWTH_BYTES = 24 * 1024 * 1024
REQUEST = "20261122T020000Z-{:012x}"


class Site:
    """The configured host, and the processes that are started on it."""

    def __init__(self, place):
        self.place = pathlib.Path(place)
        self.database, self.backups = str(self.place / "live" / "app.db"), str(self.place / "backups")
        self.config, self.audit = str(self.place / "config.json"), str(self.place / "audit.jsonl")
        os.makedirs(os.path.dirname(self.database))
        tellable.create(self.database, "wal")
        entry = {"name": NAME, "path": self.database, "backup_dir": self.backups, "schedule": "* * * * *"}
        policy = {"keep_days": 0, "keep_last": KEPT, "min_keep": KEPT, "max_remove_percent": 100}
        # What restores keep goes after a minute.
        common = {"disk_limit_percent": 100, "busy_timeout": 60, "pre_restore_keep_days": 60 / 86400}
        defaults = {**common, "retention": policy}
        document = {"databases": [entry], "audit_log": self.audit, "defaults": defaults}
        pathlib.Path(self.config).write_text(json.dumps(document), encoding="ascii")
        told = {"DIGITALME_BACKUP_CONFIG": self.config, "PYTHONDONTWRITEBYTECODE": ""}
        self.environment = surroundings.environment(self.place, **told)
        # This process calls the operations as well.
        os.environ.update(self.environment)

    def start(self, *words, **options):
        command = [sys.executable, "-m", "engine", *words, "--config", self.config]
        quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        return subprocess.Popen(command, env=self.environment, **{**quiet, **options})

    def listed(self):
        return [entry for entry in catalog.scan(self.backups, NAME) if entry.verified]


class Gate:
    """The API's way in: a process that answers as long as this one lives."""

    def __init__(self, site):
        self.connection, theirs = socket.socketpair()
        with theirs:
            self.process = site.start("gate", "--name", NAME, stdin=theirs)
        self.lines = self.connection.makefile("rb")
        self.asked = 0

    def ask(self, operation, **arguments):
        self.asked += 1
        by = {"subject": "soak", "address": "127.0.0.1", "request": REQUEST.format(self.asked)}
        request = {"operation": operation, "arguments": arguments, "by": by}
        self.connection.sendall(json.dumps(request).encode() + b"\n")
        return json.loads(self.lines.readline())

    def end(self):
        self.lines.close()
        self.connection.close()
        self.process.wait(60)


class Growth:
    """Memory and open files of a process: where it was after a third of the time, and at the end."""

    def __init__(self, pid):
        self.pid, self.samples = pid, []

    def look(self):
        with open(f"/proc/{self.pid}/statm", encoding="ascii") as source:
            resident = int(source.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        self.samples.append((resident, len(os.listdir(f"/proc/{self.pid}/fd"))))

    def figures(self):
        settled = self.samples[len(self.samples) // 3 :]
        return {
            "rss_bytes": [settled[0][0], settled[-1][0], max(row[0] for row in settled)],
            "descriptors": [settled[0][1], settled[-1][1], max(row[1] for row in settled)],
        }

    def grown(self):
        figures = self.figures()
        first, last, _most = figures["rss_bytes"]
        opened = figures["descriptors"]
        return last - first > GROWTH_BYTES or opened[1] > opened[0]


class Soak:
    """One soak; `figures` is what came of it."""

    def __init__(self, site, chance):
        self.site, self.chance = site, chance
        self.figures = dict.fromkeys(
            ("backups", "kills_backup", "kills_retention", "kills_writer", "kills_restore", "restores", "listed"), 0
        )
        self.wrong: list = []
        self.tested: set = set()
        self.writers = 0
        self.running: list = []

    def _writer(self):
        self.writers += 1
        log = str(self.site.place / "log")
        return tellable.Process("write", self.site.database, self.writers, log)

    def run(self, seconds):
        self.writer = self._writer()
        gate = Gate(self.site)
        gate.ask("backup", pinned=False, annotations={})  # It loads what it needs.
        scheduler = self.site.start("scheduler")
        watched = {"gate": Growth(gate.process.pid), "scheduler": Growth(scheduler.pid), "this": Growth(os.getpid())}
        ends = time.monotonic() + seconds
        turn = 0
        try:
            while time.monotonic() < ends:
                turn += 1
                begun = time.monotonic()
                self._turn(turn, gate)
                for growth in watched.values():
                    growth.look()
                time.sleep(max(0.0, begun + 1 - time.monotonic()))
            self._wait_for_all()
            scheduler.send_signal(signal.SIGTERM)
            self._expect(scheduler.wait(120) == 0, "the scheduler ended with a failure")
        finally:
            scheduler.kill()
            scheduler.wait()
            gate.end()
            self.writer.kill()
            self._wait_for_all()
        for name, growth in watched.items():
            self.figures[name] = growth.figures()
            self._expect(not growth.grown(), f"{name} has grown: {growth.figures()}")
        self.figures["turns"] = turn
        self._end()

    def _turn(self, turn, gate):
        self._start("backup", self.site.start("backup", "--name", NAME))
        self.figures["backups"] += 1
        if turn % 3 == 0:
            self._start("retention", self.site.start("retention", "--name", NAME))
        if turn % 10 == 0:
            tellable.turn(self.site.database, str(turn))  # The database is not to grow for ever.
            self._start("restore", self.site.start("restore", "--name", NAME, "--force"))
            self.figures["restores"] += 1
        if turn % 5 == 0:
            answer = gate.ask("backup", pinned=False, annotations={})
            self._expect("result" in answer, f"the gate failed: {answer}")
            gate.ask("state", known=None)
        if self.chance.random() < 0.1:
            self.writer.kill()
            self.figures["kills_writer"] += 1
            self.writer = self._writer()
        self._kill_some()
        self._look()

    def _start(self, kind, process):
        self.running.append((kind, process))

    def _kill_some(self):
        """About a third of what runs is killed, somewhere in its work; the others are waited for."""
        for kind, process in self.running:
            if self.chance.random() < 0.35:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(self.chance.uniform(0, 0.5))
                if process.poll() is None:
                    process.kill()
                    self.figures[f"kills_{kind}"] += 1
        self._wait_for_all()

    def _wait_for_all(self):
        for kind, process in self.running:
            status = process.wait(300)
            self._expect(status in (0, -signal.SIGKILL), f"a {kind} ended with status {status}")
        self.running = []

    def _look(self):
        """Every backup that is listed now for the first time is restored into a scratch place and read."""
        for entry in self.site.listed():
            if entry.file in self.tested:
                continue
            self.tested.add(entry.file)
            self.figures["listed"] += 1
            try:
                operations.restore(name=NAME, backup=entry.file, backup_dir=self.site.backups, test=True)
                self._read(entry.path)
            except (errors.BackupError, tellable.Mixture) as error:
                self.wrong.append(f"{entry.file} was listed as verified: {error}")

    @staticmethod
    def _read(path):
        copy = path + ".soak-read"
        shutil.copyfile(path, copy)
        try:
            tellable.read(copy)
        finally:
            for suffix in ("", "-wal", "-shm", "-journal"):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(copy + suffix)

    def _end(self):
        """The next run tidies up; then nothing is there that has no reason."""
        done = self.site.start("run", "--name", NAME, "--fail-on", "failed").wait(300)
        self._expect(done == 0, f"the last run ended with status {done}")
        self._look()
        try:
            tellable.read(self.site.database)
        except tellable.Mixture as error:
            self.wrong.append(f"the live database: {error}")
        stray = sorted(self._stray())
        self.figures["stray"] = len(stray)
        self._expect(not stray, f"left over: {stray[:5]}")
        found = audit.check(self.site.audit)
        self.figures["audit_lines"] = found["lines"]
        self._expect(found["intact"], f"the audit log's chain is broken: {found}")

    def _stray(self):
        entries = catalog.scan(self.site.backups, NAME)
        known = {".state", *(entry.file for entry in entries), *(f"{entry.file}.json" for entry in entries)}
        yield from set(os.listdir(self.site.backups)) - known
        state = {f"{NAME}.lock", f"{NAME}.operations"}
        yield from set(os.listdir(os.path.join(self.site.backups, ".state"))) - state
        live = {"app.db", "app.db-wal", "app.db-shm"}
        yield from set(os.listdir(os.path.dirname(self.site.database))) - live
        if len([entry for entry in entries if entry.kind == "regular"]) > KEPT:
            yield "more backups than the policy keeps"

    def _expect(self, true, otherwise):
        if not true:
            self.wrong.append(otherwise)


def main():
    parser = argparse.ArgumentParser(description="soak the engine")
    parser.add_argument("--seconds", type=float, default=3600)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--place", help="a directory on the filesystem to use; default: the one for temporary files")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="digitalme-soak-", dir=options.place) as place:
        soak = Soak(Site(place), random.Random(options.seed))
        soak.run(options.seconds)
    result = {"seconds": options.seconds, **soak.figures, "wrong": len(soak.wrong), "first": soak.wrong[:3]}
    sys.stdout.write(json.dumps(result) + "\n")
    sys.exit(1 if soak.wrong else 0)


if __name__ == "__main__":
    main()
