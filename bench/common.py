#!/usr/bin/env python3
# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the benchmarks share: whole processes timed from outside, databases to back up, a copy of the engine."""

from __future__ import annotations

import compileall
import json
import os
import pathlib
import platform
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
# A directory of our own, because it is removed at the end.
WORK = pathlib.Path(os.environ.get("WORK") or ROOT / "build") / f"bench-{os.getpid()}"
RESULTS = pathlib.Path(os.environ.get("RESULTS") or ROOT / "bench" / "results" / "performance.json")
MEASURE = (sys.executable, "-I", "-S", str(ROOT / "tools" / "measure.py"))
UNITS = {"K": 2**10, "M": 2**20, "G": 2**30}
ROW_BYTES = 900
# What an item takes with its entries, its event and their places in the indexes: measured.
UNIT_BYTES = 1490


def parse_size(text):
    return int(text[:-1]) * UNITS[text[-1].upper()]


def run(*command, env=None):
    """(seconds, peak memory in MiB) of a command as a whole process; a failure ends the benchmark."""
    with tempfile.TemporaryDirectory() as place:
        report = os.path.join(place, "report")
        done = subprocess.run([*MEASURE, report, *command], env=env, capture_output=True, check=False)
        if done.returncode:
            raise SystemExit(f"{' '.join(command)} failed: {done.stderr.decode(errors='replace')}")
        with open(report, encoding="ascii") as file:
            measured = json.load(file)
    return measured["seconds"], measured["peak_bytes"] / 2**20


def shell(script, *arguments):
    return run("sh", "-ec", script, "sh", *map(str, arguments))


def engine(*arguments):
    return run(sys.executable, "-m", "engine", *map(str, arguments), "--json", env=environment("installed"))


def told(*arguments):
    """What a program of Python's, with our engine on its path, prints as JSON; a failure ends the benchmark."""
    words = [sys.executable, *map(str, arguments)]
    done = subprocess.run(words, env=environment("installed"), capture_output=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(words)} failed: {(done.stdout + done.stderr).decode(errors='replace')}")
    return json.loads(done.stdout)


def answer(*arguments):
    """What one command of ours answers, as a dictionary."""
    return told("-m", "engine", *arguments, "--json")


def environment(copy):
    """Nothing of the caller's own Python settings; ``copy`` is the copy of the engine that is found."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    return {**kept, "PYTHONPATH": str(WORK / copy), "PYTHONDONTWRITEBYTECODE": "1"}


def install_engine():
    """Two copies of the engine: one is compiled, as it is where it was installed, one is not."""
    for copy in ("installed", "source"):
        target = WORK / copy / "engine"
        shutil.copytree(
            ROOT / "plugins" / "module_utils" / "engine", target, ignore=shutil.ignore_patterns("__pycache__")
        )
    compileall.compile_dir(WORK / "installed", quiet=1)


def require_room(folder, needed):
    if shutil.disk_usage(folder).free < needed:
        raise SystemExit(f"{folder}: {needed} bytes are needed there; choose another place with WORK=")


def make_database(path, size, journal="wal"):
    """A database of about that size as an application has it: three tables of unlike size, indexes, text and blobs."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=OFF")
    connection.execute("PRAGMA synchronous=OFF")
    connection.execute("CREATE TABLE item (id INTEGER PRIMARY KEY, key TEXT NOT NULL, body BLOB NOT NULL)")
    connection.execute("CREATE TABLE entry (id INTEGER PRIMARY KEY, item INTEGER NOT NULL, note TEXT NOT NULL)")
    connection.execute("CREATE TABLE event (id INTEGER PRIMARY KEY, at TEXT NOT NULL, amount REAL NOT NULL)")
    rows = size // UNIT_BYTES
    numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) "
    connection.execute("BEGIN")
    connection.execute(
        numbers + "INSERT INTO item SELECT i, printf('key-%016x', abs(random())), randomblob(?) FROM n",
        (rows, ROW_BYTES),
    )
    text = "printf('The %d. entry was written by user %d of the branch in %s.', i, abs(random()) % 999, hex(i % 99))"
    connection.execute(
        numbers + f"INSERT INTO entry SELECT i, abs(random()) % ?, {text} || ' ' || {text} FROM n",
        (5 * rows // 2, rows),
    )
    connection.execute(
        numbers + "INSERT INTO event SELECT i, datetime(1700000000 + i, 'unixepoch'), random() / 1e9 FROM n", (rows,)
    )
    connection.execute("COMMIT")
    connection.execute("PRAGMA cache_size=-200000")
    connection.execute("CREATE INDEX item_key ON item (key)")
    connection.execute("CREATE INDEX entry_item ON entry (item)")
    connection.execute(f"PRAGMA journal_mode={journal}")
    connection.close()


def spread(values):
    """(median, least, most) of some figures."""
    return statistics.median(values), min(values), max(values)


def machine():
    """What the figures are of."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**30
    model = "unknown processor"
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        for line in file:
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
    return {
        "processor": f"{os.cpu_count()} cores, {model}",
        "memory_gib": memory,
        "kernel": platform.release(),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "sqlite3_program": subprocess.run(
            ["sqlite3", "--version"], capture_output=True, text=True, check=True
        ).stdout.split()[0],
    }
