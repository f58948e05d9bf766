# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a run of ansible-playbook costs the controller, apart from what the modules cost the hosts. Linux only.

With the local connection the hosts' work is done by grandchildren of ansible-playbook, so it counts with its own. The
hosts' Python is therefore a shell that writes down what it and the module took: the rest is the controller's.
"""

from __future__ import annotations

import os
import pathlib
import re
import subprocess
import sys
import time
from typing import NamedTuple

import fleet

# `times` is of the shell itself, and one write: nothing more has to be started, and hosts can share the file.
_PYTHON = '#!/bin/bash\n/usr/bin/python3 "$@"\nstatus=$?\ntimes >> "{took}"\nexit $status\n'
_TIME = re.compile(r"(\d+)m([\d.]+)s")
_LOOK_SECONDS = 0.1
_KIB = 1024


class Cost(NamedTuple):
    """Of one run: seconds of the clock, seconds of processor in all, and those without the hosts' Python."""

    seconds: float
    processor: float
    controller: float


class Watch:
    """The most memory, in bytes, that was seen of ansible-playbook, of its largest fork, and of all of them together.

    Together they are counted by their proportional share: pages that forks have in common count once.
    """

    def __init__(self):
        self.play = self.fork = self.together = 0

    def look(self, pid):
        """Look at the process of this id and at its children; one that has ended meanwhile counts as nothing."""
        children = _words(f"/proc/{pid}/task/{pid}/children")
        self.play = max(self.play, _kib(f"/proc/{pid}/status", "VmHWM"))
        self.fork = max([self.fork, *(_kib(f"/proc/{child}/status", "VmHWM") for child in children)])
        shares = (_kib(f"/proc/{one}/smaps_rollup", "Pss") for one in (str(pid), *children))
        self.together = max(self.together, sum(shares))


def python(place):
    """The path of the Python that hosts are to use, made in this directory."""
    path = place / "python3"
    path.write_text(_PYTHON.format(took=place / "took"))
    path.chmod(0o755)
    return path


def run(inventory, playbook, forks, watch=None):
    """The Cost of one run, which must succeed; its hosts use the `python` of the inventory's directory.

    A Watch looks at it ten times a second; the clock's seconds are then no measure.
    """
    place = inventory.parent
    settings = {**os.environ, "ANSIBLE_FORKS": str(forks), "ANSIBLE_HOME": str(place / "ansible")}
    command = [fleet.PLAYBOOK, "-i", inventory, playbook, "-e", f"digitalme_backup_drill_dir={place}/reports"]
    log, took = place / "log", place / "took"
    took.write_text("")
    started = time.monotonic()
    with log.open("wb") as said:
        process = subprocess.Popen(list(map(str, command)), env=settings, stdout=said, stderr=said)
        while watch is not None and not _has_ended(process.pid):
            watch.look(process.pid)
            time.sleep(_LOOK_SECONDS)
        _pid, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.monotonic() - started
    if process.returncode:
        sys.exit(f"{playbook} failed:\n{log.read_text()[-3000:]}")
    processor = used.ru_utime + used.ru_stime
    return Cost(seconds, processor, processor - seconds_of(took.read_text()))


def seconds_of(text):
    """The sum of what `times` has said."""
    return sum(60 * int(minutes) + float(seconds) for minutes, seconds in _TIME.findall(text))


def _has_ended(pid):
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _words(path):
    try:
        return pathlib.Path(path).read_text().split()
    except OSError:
        return []


def _kib(path, key):
    """The bytes of a line ``KEY: n kB`` of a file of a process; 0 when it has ended."""
    words = _words(path)
    return int(words[words.index(f"{key}:") + 1]) * _KIB if f"{key}:" in words else 0
