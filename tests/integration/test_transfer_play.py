# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""fetch.yml and push.yml carry backups to a vault and back, whole, and go on where they were killed."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import re
import signal
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


THROUGH = ("-e", "digitalme_backup_vault_host=vault1")


def _table(said):
    """{host: (sent, there, failed, bytes)} of the table."""
    rows = re.findall(r'^ +"(\S+) +shop +(\d+) +(\d+) +(\d+) +(\d+)', said, re.M)
    return {host: tuple(map(int, numbers)) for host, *numbers in rows}


def test_what_the_vault_host_has_does_not_travel_again(fleet):
    place = fleet.add("shop-17", backups=2)
    fleet.hosts["vault1"] = {}
    size = sum(entry.stored_bytes for entry in catalog.scan(str(place), "shop"))
    status, said = fleet.play("fetch.yml", "-l", "shop-17", "--check", *THROUGH)
    assert (status, _table(said)["shop-17"]) == (0, (2, 0, 0, size)) and not fleet.vault.exists(), said
    status, said = fleet.play("fetch.yml", "-l", "shop-17", *THROUGH)
    assert (status, _table(said)["shop-17"]) == (0, (2, 0, 0, size)), said
    # What cannot be read would be missed if it were to travel.
    for path in place.glob("*.db"):
        path.write_bytes(b"x" * path.stat().st_size)
    status, said = fleet.play("fetch.yml", "-l", "shop-17", *THROUGH)
    assert (status, _table(said)["shop-17"], _changed(said)["shop-17"]) == (0, (0, 2, 0, 0), "0"), said
    assert fleet.kept("spool") == [] and not list((fleet.root / "spool").rglob("*.db"))


def test_what_the_vault_has_is_not_even_read_again(fleet):
    place = fleet.add("shop-17", backups=2)
    assert fleet.play("fetch.yml")[0] == 0
    for path in place.glob("*.db"):
        path.write_bytes(b"x" * path.stat().st_size)
    status, said = fleet.play("fetch.yml")
    assert (status, _table(said)["shop-17"], _changed(said)["shop-17"]) == (0, (0, 2, 0, 0), "0"), said


def test_damaged_backup_keeps_no_other_from_the_vault_host(fleet):
    place = fleet.add("shop-17", backups=3)
    fleet.hosts["vault1"] = {}
    damaged = sorted(place.glob("*.db"))[1]
    damaged.write_bytes(b"x" * damaged.stat().st_size)
    status, said = fleet.play("fetch.yml", "-l", "shop-17", *THROUGH)
    assert status == 2 and damaged.name in said and _table(said)["shop-17"][:3] == (2, 0, 1), said
    assert len(fleet.kept("vault", "shop-17", "shop")) == 2


def test_vault_host_that_is_away_is_told_and_nothing_is_read(fleet):
    fleet.add("shop-17")
    away = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1, "ansible_ssh_timeout": 2}
    fleet.hosts["vault1"] = away
    status, said = fleet.play("fetch.yml", "-l", "shop-17", *THROUGH)
    assert status != 0 and "onnect" in said and not (fleet.root / "spool").exists(), said
    assert _changed(said)["shop-17"] == "0"


def test_what_reached_the_station_alone_goes_on_from_there(fleet):
    place = fleet.add("shop-17")
    fleet.hosts["vault1"] = {}
    blocked = fleet.vault / "shop-17" / "shop"
    blocked.parent.mkdir(parents=True)
    blocked.write_text("in the way")
    status, said = fleet.play("fetch.yml", "-l", "shop-17", *THROUGH)
    assert status == 2 and "is a file" in said, said
    blocked.unlink()
    # As one that was killed between the two legs has left it.
    station = fleet.root / "spool" / "shop-17" / "shop-17" / "shop"
    station.mkdir(parents=True)
    for path in place.iterdir():
        if path.is_file():
            (station / path.name).write_bytes(path.read_bytes())
    for path in place.glob("*.db"):
        path.write_bytes(b"x" * path.stat().st_size)
    status, said = fleet.play("fetch.yml", "-l", "shop-17", *THROUGH)
    assert (status, _table(said)["shop-17"][:3]) == (0, (1, 0, 0)), said
    assert len(fleet.kept("vault", "shop-17", "shop")) == 1 and not station.exists()


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


def _children(pid):
    """The process ids of all that a process has started, and they in turn."""
    with contextlib.suppress(OSError):
        for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                yield int(child)
                yield from _children(int(child))


def _kill_with_children(process):
    """Kill it with its workers, which are in sessions of their own and would carry the transfer to its end.

    All are stopped first, so that none starts another one meanwhile.
    """
    stopped = []
    while True:
        fresh = [pid for pid in (process.pid, *_children(process.pid)) if pid not in stopped]
        if not fresh:
            break
        for pid in fresh:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
        stopped += fresh
    for pid in reversed(stopped):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait()


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
    _kill_with_children(killed)
    assert fleet.kept("vault") == []
    arrived = incoming.stat().st_size
    status, said = fleet.play(playbook, "-v")
    size = files.size(str(place / name))
    assert status == 0 and f'"bytes": {size - arrived},' in said and arrived < size, said
    assert fleet.kept("vault") == fleet.kept("shop-17", "backups", "shop")
