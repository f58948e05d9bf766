#!/usr/bin/env python3
# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a drill costs: the controller against ansible.builtin.ping, its memory, and each limit by the database's size.

    make bench-drills [HOSTS=100] [ROUNDS=3] [FORKS=10] [SIZES="10M 100M 1G 4G"]

Every entry of the inventory is this machine over the local connection, with a backup of 10 MB of its own. The plays run
in alternation; seconds of processor are those of ansible-playbook with all that it starts, so also those of the work
that a host would do.
"""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import fleet

ROOT = fleet.ROOT
ENGINE = ROOT / "plugins" / "module_utils"
MIB = 2**20
LIMITS = {"restore_test": 15, "full_restore": 60, "validation": 10, "memory": 100_000_000}


def engine(*words):
    """What a command of the engine answers."""
    environment = {**os.environ, "PYTHONPATH": str(ENGINE)}
    command = [sys.executable, "-m", "engine", *map(str, words), "--json"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    answer = json.loads(done.stdout)
    if done.returncode:
        sys.exit(f"{words}: {answer['msg']}")
    return answer


def backed_up(place, mib):
    """(database, backup directory) of a sample of so many MiB, backed up once."""
    database, backups = place / "app.db", place / "backups"
    place.mkdir(parents=True)
    sample = [sys.executable, str(ROOT / "tools" / "sample_app.py"), "create", str(database), f"--mib={mib}"]
    subprocess.run(sample, check=True)
    engine("backup", "--database", database, "--backup-dir", backups, "--disk-limit-percent", "99")
    return database, backups


def build(place, hosts, databases):
    """The inventory of so many hosts with so many databases each; the backups' bytes are shared by hard links."""
    _database, made = backed_up(place / "made", 10)
    inventory = {}
    for number in range(hosts):
        site = place / f"host{number:03d}"
        entries = []
        for one in range(databases):
            directory = site / f"b{one}"
            directory.mkdir(parents=True)
            for path in made.glob("app_*"):
                os.link(path, directory / path.name) if path.suffix == ".db" else shutil.copy(path, directory)
            # One name, so that one manifest serves all; the directories differ, and so do the configurations.
            entries.append({"name": "app", "path": str(site / "app.db"), "backup_dir": str(directory)})
        inventory[site.name] = {"digitalme_backup_drill_databases": entries}
    common = {"ansible_connection": "local", "ansible_python_interpreter": "/usr/bin/python3"}
    path = place / "inventory.json"
    path.write_text(json.dumps({"all": {"hosts": inventory, "vars": common}}))
    return path


def run(inventory, playbook, forks):
    """(seconds, seconds of processor, peak bytes of the largest process) of one run, which must succeed."""
    settings = {**os.environ, "ANSIBLE_FORKS": str(forks), "ANSIBLE_HOME": str(inventory.parent / "ansible")}
    options = ["-e", f"digitalme_backup_drill_dir={inventory.parent}/reports"]
    log = inventory.parent / "log"
    started = time.monotonic()
    with log.open("wb") as said:
        command = [str(fleet.PLAYBOOK), "-i", str(inventory), str(playbook), *options]
        process = subprocess.Popen(command, env=settings, stdout=said, stderr=said)
        _pid, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{playbook} failed:\n{log.read_text()[-3000:]}")
    return time.monotonic() - started, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024


def against_ping(hosts, rounds, forks):
    place = pathlib.Path(tempfile.mkdtemp(prefix="digitalme-drills-"))
    try:
        inventory = build(place, hosts, 1)
        ping = place / "ping.yml"
        ping.write_text(fleet.PING)
        plays = {"ping": ping, "drill.yml": ROOT / "playbooks" / "drill.yml"}
        found = {name: [] for name in plays}
        for turn in range(rounds + 1):
            for name, playbook in plays.items():
                measured = run(inventory, playbook, forks)
                if turn:  # The first one fills caches.
                    found[name].append(measured)
    finally:
        shutil.rmtree(place)
    print("| hosts | play | median s | processor s | ms for each host | against ping | processor against ping |")
    print("| ---: | --- | ---: | ---: | ---: | ---: | ---: |")
    for name, rows in found.items():
        wall, processor = (statistics.median(row[column] for row in rows) for column in (0, 1))
        ratios = [
            statistics.median(ours[column] / theirs[column] for ours, theirs in zip(rows, found["ping"]))
            for column in (0, 1)
        ]
        cells = [hosts, name, f"{wall:.1f}", f"{processor:.1f}", f"{1000 * wall / hosts:.0f}"]
        print(f"| {' | '.join(map(str, cells))} | {ratios[0]:.2f} | {ratios[1]:.2f} |", flush=True)


def memory(forks):
    print("\n| hosts | databases on each | peak MB of the largest process of the controller |\n| ---: | ---: | ---: |")
    for databases in (1, 10, 50):
        place = pathlib.Path(tempfile.mkdtemp(prefix="digitalme-drills-"))
        try:
            peak = run(build(place, 5, databases), ROOT / "playbooks" / "drill.yml", forks)[2]
        finally:
            shutil.rmtree(place)
        print(f"| 5 | {databases} | {peak / 1e6:.0f} |", flush=True)


def by_size(sizes):
    print(f"\n| size | {' | '.join(LIMITS)} |\n| ---: | {' | '.join('---:' for _name in LIMITS)} |")
    print(f"| limit | {' | '.join(_shown(name, limit) for name, limit in LIMITS.items())} |")
    for size in sizes:
        place = pathlib.Path(tempfile.mkdtemp(prefix="digitalme-drills-", dir=os.environ.get("WORK", ROOT / "build")))
        try:
            database, backups = backed_up(place / "one", size // MIB)
            configuration = place / "config.json"
            entry = {"name": "app", "path": str(database), "backup_dir": str(backups)}
            configuration.write_text(json.dumps({"databases": [entry]}))
            database.unlink()
            (row,) = engine("drill", "--config", configuration, "--full-restore")["databases"]
        finally:
            shutil.rmtree(place)
        figures = {limit["name"]: limit["measured"] for limit in row["limits"]}
        cells = [
            _shown(name, figures[name]) + ("" if figures[name] <= limit else " (over)")
            for name, limit in LIMITS.items()
        ]
        print(f"| {size / MIB:.0f} MiB | {' | '.join(cells)} |", flush=True)


def _shown(name, figure):
    return f"{figure / 1e6:.0f} MB" if name == "memory" else f"{figure:.2f} s"


def bytes_of(text):
    """10M and 1G as bytes."""
    return int(float(text[:-1]) * {"M": MIB, "G": 1024 * MIB}[text[-1]])


def main():
    rounds, forks = int(os.environ.get("ROUNDS", "3")), int(os.environ.get("FORKS", "10"))
    print(f"{os.cpu_count()} cores, {forks} forks, {rounds} rounds, 10 MB for each database\n")
    against_ping(int(os.environ.get("HOSTS", "100")), rounds, forks)
    memory(forks)
    by_size([bytes_of(word) for word in os.environ.get("SIZES", "10M 100M 1G 4G").split()])


if __name__ == "__main__":
    main()
