#!/usr/bin/env python3
# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Run a command and write down what it took: {"seconds", "cpu_seconds", "peak_bytes"}, as a line of JSON.

    python3 -I -S measure.py REPORT COMMAND [ARGUMENT...]

A process of its own, and a small one: until a child runs its own program it counts with the memory of its parent.
"""

from __future__ import annotations

import os
import sys
import time


def main():
    report, command = sys.argv[1], sys.argv[2:]
    started = time.perf_counter()
    pid = os.posix_spawnp(command[0], command, os.environ)
    _pid, status, usage = os.wait4(pid, 0)
    seconds = time.perf_counter() - started
    line = (
        f'{{"seconds": {seconds:.6f}, "cpu_seconds": {usage.ru_utime + usage.ru_stime:.6f}, '
        f'"peak_bytes": {usage.ru_maxrss * 1024}}}\n'
    )
    with open(report, "a", encoding="ascii") as file:
        file.write(line)
    os._exit(os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status))


if __name__ == "__main__":
    main()
