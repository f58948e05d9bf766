#!/usr/bin/env python3
# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a drill costs: the controller against ansible.builtin.ping, its memory, and each limit by the database's size.

    make bench-drills [HOSTS=100] [ROUNDS=3] [FORKS=10] [MEMORY_HOSTS=20] [SIZES="10M 100M 1G 4G"]

Every entry of the inventory is this machine over the local connection, with a backup of 10 MB in a directory of its
own. The plays run in alternation; a ratio is the median of those of the rounds. The controller is ansible-playbook with
its forks; what the modules take, which hosts would do, counts with the whole alone.
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

import controller
import fleet
from common import make_database, parse_size, require_room

ROOT = fleet.ROOT
ENGINE = ROOT / "plugins" / "module_utils"
MIB = 2**20
DATABASE_BYTES = 10 * MIB
# Of a size: the sample and its log; later the backup, and what a full restore on scratch copies needs.
COPIES = 6
# Further than this many times the largest size that was measured, no limit is calculated.
FARTHEST = 20
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


def backed_up(place, size):
    """(database, backup directory) of a sample of so many bytes, backed up once.

    It has rows and an index: a database of large values alone is checked several times as fast.
    """
    database, backups = place / "app.db", place / "backups"
    place.mkdir(parents=True)
    make_database(database, size)
    engine("backup", "--database", database, "--backup-dir", backups, "--disk-limit-percent", "99")
    return database, backups


def build(place, hosts, databases):
    """The inventory of so many hosts with so many databases each; the backups' bytes are shared by hard links."""
    _database, made = backed_up(place / "made", DATABASE_BYTES)
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
    common = {"ansible_connection": "local", "ansible_python_interpreter": str(controller.python(place))}
    path = place / "inventory.json"
    path.write_text(json.dumps({"all": {"hosts": inventory, "vars": common}}))
    return path


def against_ping(hosts, rounds, forks):
    with tempfile.TemporaryDirectory(prefix="digitalme-drills-") as directory:
        place = pathlib.Path(directory)
        inventory = build(place, hosts, 1)
        ping = place / "ping.yml"
        ping.write_text(fleet.PING)
        plays = {"ping": ping, "drill.yml": ROOT / "playbooks" / "drill.yml"}
        found = {name: [] for name in plays}
        for turn in range(rounds + 1):
            for name, playbook in plays.items():
                cost = controller.run(inventory, playbook, forks)
                if turn:  # The first one fills caches.
                    found[name].append(cost)
    print(f"| {hosts} hosts, for each | {' | '.join(f'{name} | against ping' for name in plays)} |")
    print("| --- | ---: | ---: | ---: | ---: |")
    what = ("time", "processor, with the work of the hosts", "processor of the controller")
    for column, label in enumerate(what):
        cells = [label]
        for costs in found.values():
            middle = statistics.median(cost[column] for cost in costs)
            ratio = statistics.median(ours[column] / ping[column] for ours, ping in zip(costs, found["ping"]))
            cells += [f"{1000 * middle / hosts:.0f} ms", f"{ratio:.2f}"]
        print(f"| {' | '.join(cells)} |", flush=True)


def memory(hosts, forks):
    print(f"\n| {hosts} hosts, databases on each | ansible-playbook | its largest fork | all together |")
    print("| ---: | ---: | ---: | ---: |")
    for databases in (1, 10, 50):
        with tempfile.TemporaryDirectory(prefix="digitalme-drills-") as directory:
            watch = controller.Watch()
            inventory = build(pathlib.Path(directory), hosts, databases)
            controller.run(inventory, ROOT / "playbooks" / "drill.yml", forks, watch)
        cells = (f"{size / 1e6:.0f} MB" for size in (watch.play, watch.fork, watch.together))
        print(f"| {databases} | {' | '.join(cells)} |", flush=True)


def by_size(sizes):
    print(f"\n| size | {' | '.join(LIMITS)} |\n| ---: | {' | '.join('---:' for _name in LIMITS)} |")
    print(f"| limit | {' | '.join(_shown(name, limit) for name, limit in LIMITS.items())} |")
    rows = []
    for size in sizes:
        figures = _drilled(size)
        rows.append((size, figures))
        cells = (_shown(name, figures[name]) + ("" if figures[name] <= LIMITS[name] else " (over)") for name in LIMITS)
        print(f"| {_size(size)} | {' | '.join(cells)} |", flush=True)
    ends = (reached([(size, figures[name]) for size, figures in rows], limit) for name, limit in LIMITS.items())
    print(f"| reached at | {' | '.join(ends)} |")


def _drilled(size):
    """{limit: what was measured} of the drill, with a full restore, of a database of so many bytes."""
    work = pathlib.Path(os.environ.get("WORK") or ROOT / "build")
    require_room(work, COPIES * size)
    with tempfile.TemporaryDirectory(prefix="digitalme-drills-", dir=work) as directory:
        place = pathlib.Path(directory)
        database, backups = backed_up(place / "one", size)
        configuration = place / "config.json"
        entry = {"name": "app", "path": str(database), "backup_dir": str(backups)}
        configuration.write_text(json.dumps({"databases": [entry]}))
        database.unlink()
        (row,) = engine("drill", "--config", configuration, "--full-restore")["databases"]
    return {limit["name"]: limit["measured"] for limit in row["limits"]}


def reached(points, limit):
    """Where a straight line through the (size, figure) around the limit, or through the last two, comes to it."""
    points = [(0, 0.0), *points] if len(points) == 1 else points
    above = next((number for number, (_size, figure) in enumerate(points) if figure > limit), None)
    if above == 0:
        return f"less than {_size(points[0][0])}"
    (left, low), (right, high) = points[-2:] if above is None else points[above - 1 : above + 1]
    place = left + (right - left) * (limit - low) / (high - low) if high > low else None
    if above is not None:
        return f"about {_size(place)}"
    if place is None or place > FARTHEST * right:
        return f"not by {_size(FARTHEST * right)}, as it grows"
    return f"{_size(place)}, calculated"


def _size(count):
    return f"{count / 1024 / MIB:.1f} GiB" if count >= 1024 * MIB else f"{count / MIB:.0f} MiB"


def _shown(name, figure):
    return f"{figure / 1e6:.0f} MB" if name == "memory" else f"{figure:.2f} s"


def main():
    rounds, forks = int(os.environ.get("ROUNDS", "3")), int(os.environ.get("FORKS", "10"))
    sizes = [parse_size(word) for word in os.environ.get("SIZES", "10M 100M 1G 4G").split()]
    print(f"{os.cpu_count()} cores, {forks} forks, medians of {rounds} rounds, {_size(DATABASE_BYTES)} a database\n")
    against_ping(int(os.environ.get("HOSTS", "100")), rounds, forks)
    memory(int(os.environ.get("MEMORY_HOSTS", "20")), forks)
    by_size(sizes)


if __name__ == "__main__":
    main()
