# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The timer in the foreground, for a container: runs each configured database when its cron expression says so.

One run at a time, each in a process of its own, so that a crash or its memory stays with it; what falls due meanwhile
follows. The configuration is read again before each wait, so that a change needs no restart; one that cannot be read is
told to the channels once, and the last good one goes on. A firing that passed while the scheduler was not there is made
up for when it starts (as ``Persistent=true`` of a systemd timer), if no backup was begun since.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from typing import Any, NamedTuple

from . import catalog, clock, config, cron, errors, host, processes

DEFAULT_SCHEDULE = "0 2 * * *"
# How long a wait may be before the configuration is looked at again.
LOOK_SECONDS = 30.0


class Due(NamedTuple):
    """When a name is to run next (None: never), by which expression."""

    name: str
    expression: str
    at: object


def plan(configuration, since):
    """The Due of every name, soonest first: the first firing after ``since[name]``."""
    rows = []
    for entry in configuration.databases:
        target = config.target(configuration, name=entry["name"], need_database=False)
        expression = target.settings["schedule"] or DEFAULT_SCHEDULE
        times = cron.parse(expression, target.settings["timezone"])
        rows.append(Due(target.name, expression, times.next(since[target.name])))
    return sorted(rows, key=lambda row: (row.at is None, row.at, row.name))


def missed(configuration, now):
    """{name: the time of its newest backup} of the names whose last firing passed without one."""
    found = {}
    for entry in configuration.databases:
        target = config.target(configuration, name=entry["name"], need_database=False)
        times = cron.parse(target.settings["schedule"] or DEFAULT_SCHEDULE, target.settings["timezone"])
        begun = [row.created_at for row in _entries(target) if row.kind == "regular" and row.created_at]
        due = times.previous(now)
        if begun and due is not None and max(begun) < due:
            found[target.name] = max(begun)
    return found


def _entries(target):
    return catalog.scan(target.backup_dir, target.name)


class Scheduler:
    """``command`` is the program of a run, to which ``--name NAME`` is added; ``say`` is told one line of each step."""

    def __init__(self, config_path, command, say):
        self.config_path = config_path
        self.command = command
        self.say = say
        self.ended = False
        self.child: Any = None
        self.since: dict = {}
        self.configuration: config.Config = None  # type: ignore[assignment]
        self.told: str | None = None
        # A signal that comes between the look at `ended` and the wait must not be lost: it leaves a byte in the socket.
        # It is no pipe, because Windows waits for sockets alone.
        self.reader, self.writer = socket.socketpair()
        self.writer.setblocking(False)

    def run(self):
        """Until a signal ends it: wait for what is due and run it. Returns the number of runs that failed."""
        failed = 0
        self._listen()
        self.configuration = host.loaded(self.config_path)
        host.names(self.configuration, None)
        self.since = missed(self.configuration, clock.now())
        self._anchor()
        announced: list = []
        while not self.ended:
            due = plan(self.configuration, self.since)
            if due != announced:
                self._announce(due)
                announced = due
            soonest = due[0]
            now = clock.now()
            if soonest.at is not None and soonest.at <= now:
                self.since[soonest.name] = now
                failed += self._run(soonest.name) != 0
            else:
                self._wait(soonest.at, now)
            self._look_again()
        return failed

    def _announce(self, due):
        for row in due:
            when = "never" if row.at is None else clock.iso(row.at)
            self.say(f"{row.name}: next run {when} ({row.expression})")

    def _wait(self, at, now):
        """Until the time comes, a signal comes, or the configuration is to be looked at again."""
        import select

        seconds = LOOK_SECONDS if at is None else min(LOOK_SECONDS, clock.seconds_between(now, at))
        ready, _writable, _failed = select.select([self.reader], [], [], max(0.0, seconds))
        if ready:
            self.reader.recv(4096)

    def _anchor(self):
        """What a name's next firing is counted from: its last run, or when it was first seen; a clock that was set back
        must not put it off.
        """
        now = clock.now()
        for entry in self.configuration.databases:
            self.since[entry["name"]] = min(now, self.since.get(entry["name"], now))

    def _look_again(self):
        before = self.configuration
        try:
            self.configuration = config.load(self.config_path)
            host.names(self.configuration, None)
            self._anchor()
            plan(self.configuration, self.since)
            self.told = None
        except errors.BackupError as error:
            self.configuration = before
            if self.told != error.message:
                self.say(f"the last good configuration goes on: {error.message}")
                host.tell_failure(self.config_path, error)
                self.told = error.message

    def _run(self, name):
        self.say(f"{name}: run begins")
        self.child = processes.start([*self.command, "--name", name])
        if self.ended:  # The signal came while the process was being made.
            self._end_child()
        status = self.child.wait()
        self.child = None
        self.say(f"{name}: run ended with status {status}")
        return status

    def _listen(self):
        signal.set_wakeup_fd(self.writer.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGTERM, self._end)
        signal.signal(signal.SIGINT, self._end)
        if hasattr(signal, "SIGHUP"):
            # The wait ends, and the configuration is read again.
            signal.signal(signal.SIGHUP, lambda *_arguments: None)

    def _end(self, *_arguments):
        self.ended = True
        self._end_child()

    def _end_child(self):
        """The run cleans up after SIGTERM by itself, and whoever ends the container waits."""
        if self.child is not None and self.child.poll() is None:
            self.child.terminate()


def command(config_path, arguments=()):
    """The program of a run: this same engine, with this same Python."""
    package = os.path.dirname(os.path.abspath(__file__))
    start = "import sys; sys.path.insert(0, sys.argv.pop(1)); from {0}.__main__ import program; program()"
    words = [
        sys.executable,
        "-c",
        start.format(os.path.basename(package)),
        os.path.dirname(package),
        "run",
        "--trigger",
        "scheduled",
    ]
    return [*words, *(("--config", config_path) if config_path else ()), *arguments]
