#!/usr/bin/env python3
# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""An application that commits at a steady rate, and what its users feel while something else goes on.

Run as a program it is the application: ``writers.py DATABASE RATE LOG`` commits until it is ended, and notes of each
commit when it began, how long it took (seconds), and how large the ``-wal`` was.
"""

from __future__ import annotations

import contextlib
import os
import random
import sqlite3
import subprocess
import sys
import time


def commit(path, rate, log):
    connection = sqlite3.connect(path, timeout=600, isolation_level=None)
    rows = connection.execute("SELECT max(id) FROM item").fetchone()[0]
    chance, begun, number = random.Random(1), time.monotonic(), 0
    with open(log, "w", encoding="ascii", buffering=1) as file:
        print("ready", flush=True)
        while True:
            due = begun + number / rate
            if due > time.monotonic():
                time.sleep(max(0, due - time.monotonic()))
            else:
                begun, number = time.monotonic(), 0  # Who was held up does not hurry afterwards.
            started = time.monotonic()
            connection.execute("UPDATE item SET key = key WHERE id = ?", (chance.randint(1, rows),))
            took = time.monotonic() - started
            size = 0
            with contextlib.suppress(OSError):
                size = os.stat(path + "-wal").st_size
            file.write(f"{started:.6f} {took:.6f} {size}\n")
            number += 1


class Application:
    """The application as another process; `felt` says what happened in a span of time."""

    def __init__(self, path, rate, folder):
        self._log = os.path.join(folder, "commits")
        words = [sys.executable, __file__, str(path), str(rate), self._log]
        self._process = subprocess.Popen(words, stdout=subprocess.PIPE)
        assert self._process.stdout.readline() == b"ready\n"

    def close(self):
        self._process.terminate()
        self._process.wait()

    def felt(self, begun, ended):
        """Milliseconds of the commits that went on between two times: median, 99th percentile, longest; the log's size.

        Call it after `close`.
        """
        with open(self._log, encoding="ascii") as file:
            rows = [tuple(map(float, line.split())) for line in file if line.endswith("\n")]
        rows = [row for row in rows if row[0] + row[1] >= begun and row[0] <= ended]
        took = sorted(row[1] for row in rows)
        if not took:
            return {"commits": 0}
        return {
            "commits": len(took),
            "commits_per_second": round(len(took) / (ended - begun), 1),
            "median_ms": round(1000 * took[len(took) // 2], 2),
            "p99_ms": round(1000 * took[min(len(took) - 1, int(0.99 * len(took)))], 2),
            "longest_ms": round(1000 * took[-1], 1),
            "log_growth_mib": round((max(row[2] for row in rows) - rows[0][2]) / 2**20, 1),
        }


if __name__ == "__main__":
    commit(sys.argv[1], float(sys.argv[2]), sys.argv[3])
