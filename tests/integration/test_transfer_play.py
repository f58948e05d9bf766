# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""fetch.yml and push.yml carry backups to a vault and back, whole, and go on where they were killed."""

from __future__ import annotations

import json
import os
import pathlib
import re
import subprocess
import time

import pytest
import sample_app
from engine import catalog, files, operations

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


class Fleet:
    """Hosts of the inventory are this machine, each with backups of a database ``shop`` of its own."""

    def __init__(self, root):
        self.root, self.hosts = root, {}
        self.vault = root / "vault"

    def add(self, name, backups=1):
        site = self.root / name
        (site / "live").mkdir(parents=True)
        database = str(site / "live" / "shop.db")
        sample_app.create(database, mib=1)
        for _n in range(backups):
            operations.backup(database=database, backup_dir=str(site / "backups" / "shop"))
        self.hosts[name] = {
            "digitalme_backup_databases": [database],
            "digitalme_backup_root": str(site / "backups"),
        }
        return site / "backups" / "shop"

    def command(self, playbook, *options):
        inventory = self.root / "inventory.json"
        common = {
            "ansible_connection": "local",
            "ansible_python_interpreter": "/usr/bin/python3",
            "digitalme_backup_vault_dir": str(self.vault),
            "digitalme_backup_vault_spool": str(self.root / "spool"),
        }
        inventory.write_text(json.dumps({"all": {"hosts": self.hosts, "vars": common}}))
        return ["ansible-playbook", "-i", str(inventory), str(playbook), *options]

    def environment(self):
        return {**os.environ, "ANSIBLE_HOME": str(self.root / "ansible"), "ANSIBLE_NOCOLOR": "1"}

    def play(self, name, *options):
        playbook = ROOT / "playbooks" / name if isinstance(name, str) else name
        done = subprocess.run(
            self.command(playbook, *options), env=self.environment(), capture_output=True, text=True, check=False
        )
        return done.returncode, done.stdout + done.stderr

    def kept(self, *place):
        return [(entry.file, entry.status) for entry in catalog.scan(str(self.root.joinpath(*place)), "shop")]


@pytest.fixture
def fleet(tmp_path):
    return Fleet(tmp_path)


def _changed(said):
    return dict(re.findall(r"^(\S+) +: ok=\d+ +changed=(\d+)", said, re.M))


def test_backups_of_every_host_reach_the_vault_once(fleet):
    for host in ("shop-17", "shop-18"):
        fleet.add(host, backups=2)
    status, said = fleet.play("fetch.yml", "--check")
    assert status == 0 and not fleet.vault.exists(), said
    status, said = fleet.play("fetch.yml")
    assert status == 0, said
    for host in ("shop-17", "shop-18"):
        assert fleet.kept("vault", host, "shop") == fleet.kept(host, "backups", "shop")
        assert len(fleet.kept("vault", host, "shop")) == 2
    status, said = fleet.play("fetch.yml")
    assert status == 0 and _changed(said) == {"shop-17": "0", "shop-18": "0"}, said


def test_damaged_backup_is_named_and_the_others_travel(fleet):
    place = fleet.add("shop-17", backups=2)
    fleet.add("shop-18")
    damaged = place / fleet.kept("shop-17", "backups", "shop")[0][0]
    with open(damaged, "r+b") as file:
        file.seek(500000)
        file.write(b"other bytes")
    status, said = fleet.play("fetch.yml")
    assert status == 2 and f"{damaged.name}: its bytes are not those" in said, said
    assert len(fleet.kept("vault", "shop-17", "shop")) == 1 and len(fleet.kept("vault", "shop-18", "shop")) == 1
    assert re.search(r"shop-17 +shop +1 +0 +1 ", said) and re.search(r"shop-18 +shop +1 +0 +0 ", said), said


def test_host_without_a_backup_fails_and_stops_nobody(fleet):
    fleet.add("shop-17", backups=0)
    fleet.add("shop-18")
    status, said = fleet.play("fetch.yml")
    assert status == 2 and "no backup of 'shop'" in said and len(fleet.kept("vault", "shop-18", "shop")) == 1, said


def test_backups_come_back_to_another_host_also_from_a_vault_host(fleet):
    fleet.add("shop-17", backups=2)
    fleet.hosts["shop-19"] = {
        **fleet.hosts["shop-17"],
        "digitalme_backup_root": str(fleet.root / "shop-19" / "backups"),
    }
    fleet.hosts["vault1"] = {}
    through = ("-e", "digitalme_backup_vault_host=vault1")
    status, said = fleet.play("fetch.yml", "-l", "shop-17", *through)
    assert status == 0 and len(fleet.kept("vault", "shop-17", "shop")) == 2, said
    status, said = fleet.play("push.yml", "-l", "shop-19", *through, "-e", "digitalme_backup_vault_from=shop-17")
    assert status == 0 and fleet.kept("shop-19", "backups", "shop") == fleet.kept("shop-17", "backups", "shop"), said
    assert not list((fleet.root / "spool").rglob("*.db"))
    status, said = fleet.play("push.yml", "-l", "shop-19", "-e", "digitalme_backup_vault_from=shop-99")
    assert status == 2 and "shop-99" in said, said


def test_another_backup_of_the_same_name_is_left_alone(fleet):
    place = fleet.add("shop-17")
    assert fleet.play("fetch.yml")[0] == 0
    (name, _status) = fleet.kept("vault", "shop-17", "shop")[0]
    vault = fleet.vault / "shop-17" / "shop"
    document = json.loads((vault / f"{name}.json").read_text())
    (vault / f"{name}.json").write_text(json.dumps({**document, "sha256": "0" * 64}))
    before = files.sha256(str(vault / name))
    status, said = fleet.play("fetch.yml")
    assert status == 2 and "it was left alone" in said and files.sha256(str(vault / name)) == before, said
    assert place.exists()


@pytest.mark.parametrize("direction", ["fetch", "push"])
def test_transfer_that_was_killed_goes_on_where_it_was(fleet, direction):
    place = fleet.add("shop-17")
    ends = {"backup_dir": str(place), "vault": str(fleet.vault)}
    if direction == "push":
        ends = {"vault": str(place), "backup_dir": str(fleet.vault)}
    task = {"direction": direction, "name": "shop", "part_bytes": 60000, **ends}
    playbook = fleet.root / "transfer.json"
    play = {"hosts": "all", "gather_facts": False, "tasks": [{"digitalme.backup.backup_transfer": task}]}
    playbook.write_text(json.dumps([play]))
    killed = subprocess.Popen(
        fleet.command(playbook),
        env=fleet.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    (name, _status) = fleet.kept("shop-17", "backups", "shop")[0]
    incoming = fleet.vault / ".state" / "incoming-shop" / name
    while not incoming.exists() or incoming.stat().st_size < 180000:
        assert killed.poll() is None
        time.sleep(0.02)
    # Its workers are in sessions of their own, and would carry the transfer to its end.
    while subprocess.run(["pkill", "-KILL", "-f", str(fleet.root)], check=False).returncode == 0:
        time.sleep(0.02)
    killed.wait()
    assert fleet.kept("vault") == []
    arrived = incoming.stat().st_size
    status, said = fleet.play(playbook, "-v")
    size = files.size(str(place / name))
    assert status == 0 and f'"bytes": {size - arrived},' in said and arrived < size, said
    assert fleet.kept("vault") == fleet.kept("shop-17", "backups", "shop")
