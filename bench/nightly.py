#!/usr/bin/env python3
# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the nightly run costs a host: the installed command on a small database against starting Python, in turns.

    python3 bench/nightly.py [ROUNDS]

Then its peak memory on a large database (SIZE in MB, default 2048). See bench/README.md.
"""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import sqlite3
import statistics
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "plugins" / "module_utils"))

from engine import __main__, operations  # noqa: E402

assert __main__  # It is installed with the rest.


def spawn(words):
    """(seconds, peak memory in MiB) of a program; it must succeed."""
    started = time.perf_counter()
    pid = os.posix_spawn(
        words[0], words, os.environ, file_actions=[(os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0)]
    )
    _pid, status, usage = os.wait4(pid, 0)
    if status:
        sys.exit(f"{words} failed")
    return time.perf_counter() - started, usage.ru_maxrss / 1024


def fill(path, megabytes):
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY, word BLOB)")
    for _chunk in range(max(1, megabytes // 64)):
        rows = min(megabytes, 64) * 256
        connection.executemany("INSERT INTO t (word) VALUES (randomblob(4000))", (() for _row in range(rows)))
        connection.commit()
    connection.close()


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 21
    work = pathlib.Path(tempfile.mkdtemp(prefix="digitalme-nightly-", dir=os.environ.get("WORK")))
    try:
        command, config = str(work / "digitalme-backup"), work / "config.json"
        entry = {
            "name": "app",
            "path": str(work / "app.db"),
            "backup_dir": str(work / "backups"),
            "schedule": "0 2 * * *",
        }
        (work / "metrics").mkdir()
        document = {"databases": [entry], "metrics_dir": str(work / "metrics"), "audit_log": str(work / "audit.jsonl")}
        config.write_text(json.dumps({**document, "defaults": {"disk_limit_percent": 99}}))
        operations.install(home=str(work / "opt"), command=command, config_path=str(config), python=sys.executable)
        fill(work / "app.db", 1)
        racers = {
            "python -I -c pass": [sys.executable, "-I", "-c", "pass"],
            "run, 1 MB": [command, "run", "--name", "app"],
            "run --only health": [command, "run", "--name", "app", "--only", "health"],
        }
        seen = {name: [] for name in racers}
        for _round in range(rounds):
            for name, words in racers.items():
                seen[name].append(spawn(words))
        bare = statistics.median(seconds for seconds, _memory in seen["python -I -c pass"])
        print("| | median ms | more than Python | peak MiB |\n| --- | ---: | ---: | ---: |")
        for name, rows in seen.items():
            median = statistics.median(seconds for seconds, _memory in rows)
            peak = max(memory for _seconds, memory in rows)
            print(f"| {name} | {1000 * median:.1f} | {1000 * (median - bare):.1f} | {peak:.0f} |")
        size = int(os.environ.get("SIZE", "2048"))
        fill(work / "app.db", size)
        seconds, peak = spawn(racers["run, 1 MB"])
        print(f"| run, {size} MB | {1000 * seconds:.0f} | | {peak:.0f} |")
    finally:
        shutil.rmtree(work)


if __name__ == "__main__":
    main()
