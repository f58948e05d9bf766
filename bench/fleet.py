#!/usr/bin/env python3
# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a fleet costs the controller: health.yml and backup.yml against ansible.builtin.ping, through one inventory.

    make bench-fleet [HOSTS="10 100 200"] [ROUNDS=3] [FORKS=10]

Every entry of the inventory is this machine over the local connection, with a configuration and a database of its own.
The plays run in alternation; each figure is the median of whole runs of ansible-playbook, the ratio that of one run.
"""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
PLAYBOOK = ROOT / ".venv" / "controller" / "bin" / "ansible-playbook"
PING = """
- hosts: all
  gather_facts: false
  tasks:
    - ansible.builtin.ping:
"""


def build(place, count):
    """The inventory of so many hosts, each with its database."""
    hosts = {}
    for number in range(count):
        site = place / f"host{number:03d}"
        site.mkdir(parents=True)
        database = site / "app.db"
        connection = sqlite3.connect(database)
        connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, word TEXT)")
        connection.executemany("INSERT INTO t (word) VALUES (?)", ((f"word {row}",) for row in range(500)))
        connection.commit()
        connection.close()
        entry = {"name": "app", "path": str(database), "backup_dir": str(site / "backups")}
        document = {"databases": [entry], "audit_log": str(site / "audit.jsonl")}
        # Every round adds a backup; none is to expire, so that the rounds are alike.
        document["defaults"] = {"disk_limit_percent": 99, "retention": {"max_files": 1000}}
        (site / "config.json").write_text(json.dumps(document))
        hosts[site.name] = {"digitalme_backup_config_dir": str(site)}
    inventory = place / "inventory.json"
    common = {"ansible_connection": "local", "ansible_python_interpreter": "/usr/bin/python3"}
    inventory.write_text(json.dumps({"all": {"hosts": hosts, "vars": common}}))
    return inventory


def run(inventory, playbook, forks):
    """Seconds of one run; it must succeed."""
    settings = {**os.environ, "ANSIBLE_FORKS": str(forks), "ANSIBLE_HOME": str(inventory.parent / "ansible")}
    started = time.monotonic()
    done = subprocess.run(
        [str(PLAYBOOK), "-i", str(inventory), str(playbook)], env=settings, capture_output=True, text=True, check=False
    )
    seconds = time.monotonic() - started
    if done.returncode:
        sys.exit(f"{playbook} failed:\n{done.stdout[-3000:]}{done.stderr[-2000:]}")
    return seconds


def measure(count, rounds, forks):
    """{play: [seconds of each round]}, in alternation."""
    place = pathlib.Path(tempfile.mkdtemp(prefix="digitalme-fleet-"))
    try:
        inventory = build(place, count)
        ping = place / "ping.yml"
        ping.write_text(PING)
        plays = {
            "ping": ping,
            "backup.yml": ROOT / "playbooks" / "backup.yml",
            "health.yml": ROOT / "playbooks" / "health.yml",
        }
        for playbook in plays.values():
            run(inventory, playbook, forks)  # The first one fills caches, and makes the backup that health looks at.
        found = {name: [] for name in plays}
        for _round in range(rounds):
            for name, playbook in plays.items():
                found[name].append(run(inventory, playbook, forks))
        return found
    finally:
        shutil.rmtree(place)


def main():
    sizes = [int(word) for word in os.environ.get("HOSTS", "10 100 200").split()]
    rounds, forks = int(os.environ.get("ROUNDS", "3")), int(os.environ.get("FORKS", "10"))
    print(f"{os.cpu_count()} cores, {forks} forks, {rounds} rounds\n")
    print("| hosts | play | median s | ms for each host | against ping |\n| ---: | --- | ---: | ---: | ---: |")
    for count in sizes:
        found = measure(count, rounds, forks)
        for name, seconds in found.items():
            ratio = statistics.median(ours / ping for ours, ping in zip(seconds, found["ping"]))
            middle = statistics.median(seconds)
            print(f"| {count} | {name} | {middle:.2f} | {1000 * middle / count:.0f} | {ratio:.2f} |", flush=True)


if __name__ == "__main__":
    main()
