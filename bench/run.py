#!/usr/bin/env python3
# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How long do our backup, restore test and restore take, against doing the same by hand?

Each command is a whole process; the contenders take turns within one run, so that a machine that is slow for a while
is slow for all of them. What counts is the ratio of the medians; the seconds are this machine's, today.

    SIZES="10M 1G" ROUNDS=5 python3 bench/run.py
    MEMORY_SIZES="10M 2G"    sizes at which peak memory is measured
    WORK=/path               where the databases are made (default: build/ of the checkout), in a directory of its own

Prints Markdown and writes the same as JSON to bench/results/.
"""

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
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
# A directory of our own, because it is removed at the end.
WORK = pathlib.Path(os.environ.get("WORK") or ROOT / "build") / f"bench-{os.getpid()}"
MEASURE = (sys.executable, "-I", "-S", str(ROOT / "tools" / "measure.py"))
UNITS = {"K": 2**10, "M": 2**20, "G": 2**30}
ROW_BYTES = 900
STARTS = 21


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


def make_database(path, size):
    """Rows of about 1 KB with an index, so that a check has something to check."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=OFF")
    connection.execute("CREATE TABLE item (id INTEGER PRIMARY KEY, key TEXT NOT NULL, body BLOB NOT NULL)")
    connection.execute("CREATE INDEX item_key ON item (key)")
    rows = size // (ROW_BYTES + 60)
    connection.execute("BEGIN")
    connection.execute(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) "
        "INSERT INTO item SELECT i, printf('key-%016x', abs(random())), randomblob(?) FROM n",
        (rows, ROW_BYTES),
    )
    connection.execute("COMMIT")
    connection.close()


def contenders(folder):
    """{task: {contender: callable}}; the first of each is ours."""
    live, backups, copy = folder / "live.db", folder / "backups", folder / "copy.db"
    target = folder / "restored" / "live.db"

    def fresh(function):
        """Each starts with the same: no earlier copy, one backup at the most, and a target that is an older state."""

        def prepared():
            for path in (copy, target.parent / "copy.db"):
                path.unlink(missing_ok=True)
            return function()

        return prepared

    def backup():
        shutil.rmtree(backups, ignore_errors=True)
        return engine("backup", "--database", live, "--backup-dir", backups, "--disk-limit-percent", 100)

    def restore(*options):
        def restored():
            for kept in backups.glob("*_pre_recovery_*"):
                kept.unlink()
            with sqlite3.connect(target) as connection:
                connection.execute("DELETE FROM item WHERE id = (SELECT max(id) FROM item)")
            connection.close()
            where = ("--database", target, "--backup-dir", backups, "--name", "live")
            return engine("restore", "latest", *where, "--force", *options)

        return restored

    check = 'sqlite3 "$2" "PRAGMA integrity_check" | grep -qx ok'
    by_hand = 'cp "$1" "$2"; sync "$2"'
    return {
        "backup, full verification": {
            "ours": fresh(backup),
            "sqlite3 .backup + integrity_check": fresh(
                lambda: shell(f'sqlite3 "$1" ".backup \'$2\'"; sync "$2"; {check}', live, copy)
            ),
            "cp + fsync": fresh(lambda: shell(by_hand, live, copy)),
        },
        "restore test": {
            "ours": fresh(lambda: engine("test", "latest", "--backup-dir", backups, "--name", "live")),
            "cp + fsync + integrity_check": fresh(lambda: shell(f"{by_hand}; {check}", live, copy)),
        },
        "restore": {
            "ours, everything on": fresh(restore()),
            "ours, no pre-restore backup, quick": fresh(restore("--no-pre-backup", "--verify", "quick")),
            "sqlite3 .restore": fresh(lambda: shell('sqlite3 "$2" ".restore \'$1\'"; sync "$2"', live, target)),
            "cp + fsync": fresh(lambda: shell(by_hand, live, target.parent / "copy.db")),
        },
    }


def measure(folder, rounds):
    """{task: {contender: {seconds: [..], memory_mib: [..]}}}, the contenders taking turns."""
    results: dict = {}
    tasks = contenders(folder)
    for task, racers in tasks.items():
        if task != "backup, full verification":
            next(iter(tasks["backup, full verification"].values()))()
        for _round in range(rounds):
            for name, race in racers.items():
                seconds, memory = race()
                row = results.setdefault(task, {}).setdefault(name, {"seconds": [], "memory_mib": []})
                row["seconds"].append(round(seconds, 4))
                row["memory_mib"].append(round(memory, 1))
    return results


def at_size(size, rounds):
    folder = WORK / "size"
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "restored").mkdir(parents=True)
    require_room(folder, 8 * size)
    try:
        make_database(folder / "live.db", size)
        shutil.copy(folder / "live.db", folder / "restored" / "live.db")
        return measure(folder, rounds)
    finally:
        shutil.rmtree(folder)


def memory_at(size):
    """Peak memory in MiB of the command line's longest operations."""
    folder = WORK / "memory"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    require_room(folder, 5 * size)
    try:
        make_database(folder / "live.db", size)
        where = ("--backup-dir", folder / "backups")
        return {
            "backup": engine("backup", "--database", folder / "live.db", *where, "--disk-limit-percent", 100)[1],
            "restore test": engine("test", *where)[1],
            "restore": engine("restore", "--database", folder / "new.db", *where, "--name", "live")[1],
        }
    finally:
        shutil.rmtree(folder)


def starts():
    """Milliseconds to start, in turns: Python alone, our command before any work, a listing of nothing."""
    empty = WORK / "empty"
    empty.mkdir(parents=True, exist_ok=True)
    ours = (sys.executable, "-m", "engine")
    listing = (*ours, "list", "--backup-dir", str(empty), "--name", "none", "--json")
    plain = environment("installed")
    racers = {
        "python -c pass": lambda: run(sys.executable, "-c", "pass", env=plain),
        "python -I -S -c pass": lambda: run(sys.executable, "-I", "-S", "-c", "pass", env=plain),
        "ours --version": lambda: run(*ours, "--version", env=plain),
        "ours list of nothing": lambda: run(*listing, env=plain),
        "ours list of nothing, not compiled yet": lambda: run(*listing, env=environment("source")),
    }
    for race in racers.values():
        race()
    seen: dict = {name: [] for name in racers}
    for _turn in range(STARTS):
        for name, race in racers.items():
            seen[name].append(round(1000 * race()[0], 1))
    return seen


def report(sizes, memory, start):
    """The results as Markdown lines."""
    lines = [f"{platform.node()}, {os.cpu_count()} cores, Python {platform.python_version()}, "]
    lines[0] += f"SQLite {sqlite3.sqlite_version}, {time.strftime('%Y-%m-%d', time.gmtime())}"
    for size, tasks in sizes.items():
        lines += ["", f"### {size}", "", "| task | | median s | min to max | ours / it | peak MiB |"]
        lines.append("| --- | --- | ---: | --- | ---: | ---: |")
        for task, racers in tasks.items():
            ours = statistics.median(next(iter(racers.values()))["seconds"])
            for name, row in racers.items():
                median = statistics.median(row["seconds"])
                spread = f"{min(row['seconds']):.2f} to {max(row['seconds']):.2f}"
                peak = max(row["memory_mib"])
                lines.append(f"| {task} | {name} | {median:.2f} | {spread} | {ours / median:.2f} | {peak:.0f} |")
    lines += ["", "### Peak memory of the command line, MiB", "", "| size | backup | restore test | restore |"]
    lines.append("| --- | ---: | ---: | ---: |")
    for size, row in memory.items():
        lines.append(f"| {size} | " + " | ".join(f"{value:.0f}" for value in row.values()) + " |")
    lines += ["", "### Start, ms", "", "| | median | min | more than Python |", "| --- | ---: | ---: | ---: |"]
    bare = statistics.median(start["python -c pass"])
    for name, values in start.items():
        median = statistics.median(values)
        lines.append(f"| {name} | {median:.1f} | {min(values):.1f} | {median - bare:.1f} |")
    return lines


def main():
    rounds = int(os.environ.get("ROUNDS", "5"))
    try:
        install_engine()
        start = starts()
        sizes = {text: at_size(parse_size(text), rounds) for text in os.environ.get("SIZES", "10M 1G").split()}
        memory = {text: memory_at(parse_size(text)) for text in os.environ.get("MEMORY_SIZES", "10M 2G").split()}
    finally:
        shutil.rmtree(WORK, ignore_errors=True)
    results = ROOT / "bench" / "results"
    results.mkdir(exist_ok=True)
    (results / "latest.json").write_text(
        json.dumps({"sizes": sizes, "memory_mib": memory, "start_ms": start}, indent=2), encoding="utf-8"
    )
    sys.stdout.write("\n".join(report(sizes, memory, start)) + "\n")


if __name__ == "__main__":
    main()
