#!/usr/bin/env python3
# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How long does a restore take, against cp and against the same steps by hand over ssh?

    make bench-restore [SIZE=1G] [ROUNDS=5]

1. The writing alone, of a database of SIZE: in place (SQLite writes every page in one transaction) and by replacement,
   each against ``cp`` with fsync of the same file. The contenders take turns.
2. restore.yml over ssh on a systemd host that is made for it, 10 MB database, from the command to the application
   answering, against one script of ssh, systemctl and cp that does the same steps. As root, on Debian.
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

import common as bench

ROOT = pathlib.Path(__file__).resolve().parent.parent
NAME = "digitalme-bench-restore"
BIN = ROOT / ".venv" / "controller" / "bin"
# What a careful person types: keep the old content, prove the backup, put it in place, check, and wait for an answer.
BY_HAND = """
set -eu
on() {{ {ssh} "$1"; }}
on 'sudo systemctl stop shop.service'
on 'sudo sh -c "mkdir -p /root/kept; cp -p /srv/shop/shop.db* /root/kept/; sync"'
on 'sudo cp {backup} /srv/shop/new.db && sudo sha256sum /srv/shop/new.db {backup}'
on 'sudo sqlite3 /srv/shop/new.db "PRAGMA integrity_check" && sudo sync'
on 'sudo chown shop:shop /srv/shop/new.db && sudo mv /srv/shop/new.db /srv/shop/shop.db'
on 'sudo rm -f /srv/shop/shop.db-wal /srv/shop/shop.db-shm && sudo sync'
on 'sudo sqlite3 /srv/shop/shop.db "SELECT count(*) FROM ledger"'
on 'sudo systemctl start shop.service'
until on 'curl -fsS http://127.0.0.1:8080/' ; do sleep 0.1; done
"""


def seconds(function):
    begun = time.monotonic()
    function()
    return time.monotonic() - begun


def quietly(*words, **options):
    done = subprocess.run(
        [str(word) for word in words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        **options,
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(words)}\n{done.stdout}")
    return done.stdout


# --- the writing alone -----------------------------------------------------------------------------------------------


def engine(*words):
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "plugins" / "module_utils")}
    return json.loads(quietly(sys.executable, "-m", "engine", *words, "--json", env=environment).splitlines()[-1])


def copy_durably(source, target):
    with open(source, "rb") as reader, open(target, "wb") as writer:
        shutil.copyfileobj(reader, writer, 1 << 20)
        os.fsync(writer.fileno())


def writing(folder, size, rounds):
    """{contender: seconds of each turn}; the database is as large as the backup and has another content."""
    live, backups = folder / "live.db", folder / "backups"
    bench.make_database(live, size)
    engine("backup", "--database", live, "--backup-dir", backups, "--verify", "none", "--disk-limit-percent", "100")
    stored = next(backups.glob("*.db"))
    found: dict = {"cp + fsync": [], "in place, WAL": [], "in place, rollback journal": [], "replace": []}
    where = ("--database", live, "--backup-dir", backups, "--force", "--no-pre-backup", "--verify", "none")
    for _round in range(rounds):
        (folder / "copy.db").unlink(missing_ok=True)
        found["cp + fsync"].append(seconds(lambda: copy_durably(stored, folder / "copy.db")))
        for contender, mode, strategy in (
            ("in place, WAL", "wal", "in_place"),
            ("in place, rollback journal", "delete", "in_place"),
            ("replace", "wal", "replace"),
        ):
            connection = sqlite3.connect(live)
            connection.execute(f"PRAGMA journal_mode={mode}")
            connection.close()
            os.sync()
            steps = {
                row["name"]: row["seconds"]
                for row in engine("restore", stored, *where, "--strategy", strategy)["steps"]
            }
            # By replacement the copy that is staged is the one that is renamed; in place it is read once more.
            found[contender].append(steps["restore"] + (steps["stage"] if strategy == "replace" else 0))
    return found


# --- the whole play --------------------------------------------------------------------------------------------------


class Host:
    """A systemd host in a container, with the sample service and its backups."""

    def __init__(self, folder):
        self.folder, self.podman = folder, [ROOT / "tools" / "testhosts.sh", "podman"]
        quietly(ROOT / "tools" / "testhosts.sh", "setup")
        quietly(ROOT / "tools" / "testhosts.sh", "image", "bookworm")
        self.remove()
        quietly(*self.podman, "network", "create", "--internal", NAME)
        quietly("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / "key")
        options = ("--systemd=always", "--cap-add", "SYS_ADMIN", "--network", NAME)
        key = f"{folder}/key.pub:/etc/ssh/test_keys:ro"
        image = "localhost/digitalme-backup-host:bookworm"
        quietly(*self.podman, "run", "--detach", "--name", NAME, *options, "--volume", key, image)
        facts = json.loads(quietly(*self.podman, "inspect", "--type", "container", NAME))
        self.address = facts[0]["NetworkSettings"]["Networks"][NAME]["IPAddress"]
        self.ssh = (
            f"ssh -i {folder}/key -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR "
            f"ansible@{self.address}"
        )
        while subprocess.run(
            f"{self.ssh} systemctl is-system-running", shell=True, check=False, capture_output=True
        ).returncode:
            time.sleep(0.5)
        self._install()

    def remove(self):
        for words in (("rm", "--force", NAME), ("network", "rm", "--force", NAME)):
            subprocess.run([*self.podman, *words], check=False, capture_output=True)

    def _install(self):
        row = {
            "path": "/srv/shop/shop.db",
            "application": {"systemd": "shop.service", "probe": {"url": "http://127.0.0.1:8080/"}},
        }
        host = {
            "ansible_host": self.address,
            "ansible_user": "ansible",
            "ansible_become": True,
            "ansible_ssh_private_key_file": f"{self.folder}/key",
            "ansible_python_interpreter": "/usr/bin/python3",
            "digitalme_backup_databases": [row],
            "service": {"name": "shop", "database": "/srv/shop/shop.db", "port": 8080, "mib": 10},
        }
        (self.folder / "inventory.yml").write_text(json.dumps({"all": {"hosts": {"shop": host}}}))
        tasks = [{"ansible.builtin.include_tasks": str(ROOT / "molecule" / "shared" / "tasks" / "service.yml")}]
        play = [{"hosts": "all", "gather_facts": False, "tasks": tasks}]
        (self.folder / "service.yml").write_text(json.dumps(play))
        self.play(self.folder / "service.yml")
        self.play(ROOT / "playbooks" / "install.yml")
        said = quietly("sh", "-c", f"{self.ssh} sudo digitalme-backup backup --name shop --json")
        self.backup = json.loads(said.splitlines()[-1])["backup"]["path"]

    def play(self, playbook, *options):
        environment = {
            **os.environ,
            "ANSIBLE_HOME": str(self.folder / "ansible"),
            "ANSIBLE_PIPELINING": "1",
            "ANSIBLE_SSH_CONTROL_PATH_DIR": f"{self.folder}/cp",
            "ANSIBLE_SSH_ARGS": "-o ControlMaster=auto -o ControlPersist=60s -o StrictHostKeyChecking=no "
            "-o UserKnownHostsFile=/dev/null -o LogLevel=ERROR",
            "MOLECULE_PROJECT_DIRECTORY": str(ROOT),
        }
        quietly(BIN / "ansible-playbook", "-i", self.folder / "inventory.yml", playbook, *options, env=environment)

    def by_hand(self):
        quietly("sh", "-c", BY_HAND.format(ssh=self.ssh, backup=self.backup))


def playing(folder, rounds):
    """{contender: seconds of each turn}."""
    host = Host(folder)
    try:
        found: dict = {"by hand": [], "restore.yml": []}
        for _round in range(rounds):
            found["by hand"].append(seconds(host.by_hand))
            found["restore.yml"].append(
                seconds(lambda: host.play(ROOT / "playbooks" / "restore.yml", "-l", "shop", "-e", "confirm=yes"))
            )
        return found
    finally:
        host.remove()


def table(title, found, peer):
    base = statistics.median(found[peer])
    lines = [
        f"### {title}",
        "",
        f"| | median s | least | most | against {peer} |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for contender, turns in found.items():
        middle = statistics.median(turns)
        lines.append(f"| {contender} | {middle:.2f} | {min(turns):.2f} | {max(turns):.2f} | {middle / base:.2f} |")
    return "\n".join(lines) + "\n"


def main():
    size, rounds = os.environ.get("SIZE", "1G"), int(os.environ.get("ROUNDS", "5"))
    work = pathlib.Path(os.environ.get("WORK", ROOT / "build"))
    work.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=work, prefix="bench-") as directory:
        found = writing(pathlib.Path(directory), bench.parse_size(size), rounds)
    sys.stdout.write(table(f"The writing alone, {size}", found, "cp + fsync") + "\n")
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        found = playing(pathlib.Path(directory), rounds)
    sys.stdout.write(table("From the command to the application answering, over ssh, 10 MB", found, "by hand"))


if __name__ == "__main__":
    main()
