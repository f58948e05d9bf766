# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The playbooks for hosts that answer only by HTTPS, against the real service: its words and theirs are the same."""

from __future__ import annotations

import json
import os
import pathlib
import re
import subprocess

import pytest

PLAYBOOKS = pathlib.Path(__file__).resolve().parent.parent.parent / "playbooks"


@pytest.fixture
def play(serve, tmp_path):
    """(service, play): ``play(name, *options)`` runs a playbook against it, by the lookup's own tokens."""
    served = serve()
    key = tmp_path / "api.key"
    key.write_bytes(served.secret)
    key.chmod(0o600)

    def run(name, *options):
        known = {
            # Nothing but the API answers.
            "ansible_connection": "ssh",
            "ansible_port": 1,
            "digitalme_backup_api_url": f"http://127.0.0.1:{served.port}",
            "digitalme_backup_api_jwt_key_file": str(key),
            "digitalme_backup_api_jwt_kid": "first",
            "digitalme_backup_api_poll_interval": 0.1,
            "digitalme_backup_api_timeout": 60,
        }
        inventory = tmp_path / "inventory.json"
        inventory.write_text(json.dumps({"all": {"hosts": {"shop-17": known}}}))
        words = ["ansible-playbook", "-i", str(inventory), str(PLAYBOOKS / name), "-e", "database=shop", *options]
        kept = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
        environment = {**kept, "ANSIBLE_HOME": str(tmp_path / "ansible"), "ANSIBLE_NOCOLOR": "1"}
        done = subprocess.run(
            words, env=environment, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
        )
        return done.returncode, done.stdout + done.stderr

    return served, run


def test_playbook_restores_through_the_service_and_back_again(play):
    served, run = play
    made = served.made()
    served.write("second")
    status, said = run("api_restore.yml", "--check")
    assert status == 0 and f"{made}, valid" in said and served.rows() == ["first", "second"], said
    plan = re.search(r"PLAN ([0-9a-f]{16}) by", said).group(1)
    status, said = run("api_restore.yml", "-e", f"confirm={plan}")
    assert status == 0 and "RESTORED shop on shop-17" in said and served.rows() == ["first"], said
    kept = re.search(r"-e backup=(shop_pre_recovery_\S+?\.db)", said).group(1)
    status, said = run("api_restore.yml", "-e", f"backup={kept}", "-e", "confirm=yes")
    assert status == 0 and served.rows() == ["first", "second"], said
    restores = [row for row in served.audit() if row["operation"] == "restore" and row["outcome"] == "ok"]
    assert len(restores) == 2 and all("@" in row["by"]["subject"] for row in restores)


def test_playbook_tells_what_the_service_refuses(play):
    served, run = play
    status, said = run("api_restore.yml", "-e", "confirm=yes")
    assert status == 2 and "there is no valid backup among the 0" in said, said
    made = served.made()
    status, said = run("api_restore.yml", "-e", "confirm=yes", "-e", "backup=shop_20010101_000000.db")
    assert status == 2 and "backup_not_found" in said, said
    path = served.backups() / made
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    status, said = run("api_restore.yml", "-e", "confirm=yes", "-e", f"backup={made}")
    assert status == 2 and "It cannot be restored" in said and "SHA-256" in said, said


def test_health_of_the_service_is_understood(play):
    served, run = play
    status, said = run("api_health.yml")
    told = served.ask("GET", "/api/backup/health").json
    assert status == (0 if told["isHealthy"] else 2) and "0 backups" in said, said
    served.made()
    status, said = run("api_health.yml")
    told = served.ask("GET", "/api/backup/health").json
    assert status == (0 if told["isHealthy"] else 2) and "1 backups" in said and "1 of 1" in said, said
