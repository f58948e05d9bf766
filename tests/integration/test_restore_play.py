# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The restore play against an application that is really stopped, started and probed: it succeeds, or all stays."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import pty
import re
import select
import socket
import sqlite3
import subprocess
import sys
import urllib.request

import pytest
import sample_app
from engine import files, operations

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
SERVICE = ROOT / "tools" / "sample_service.py"
CONTROL = """#!/bin/sh
# start.d and stop.d may hold a script that goes before.
for script in {root}/before-$1; do if [ -x "$script" ]; then "$script" || exit 1; fi; done
case $1 in
start)
    [ -f {root}/pid ] && grep -qs '^State:.[^Z]' "/proc/$(cat {root}/pid)/status" && exit 0
    {python} {service} {database} --port {port} --pause 0.01 </dev/null >{root}/log 2>&1 &
    echo $! >{root}/pid ;;
stop)
    [ -f {root}/pid ] || exit 0
    kill "$(cat {root}/pid)" 2>/dev/null
    while grep -qs '^State:.[^Z]' "/proc/$(cat {root}/pid)/status"; do sleep 0.02; done
    rm -f {root}/pid ;;
esac
"""


class Shop:
    """A database with a backup, a service that writes to it and answers over HTTP, and an inventory that knows both."""

    def __init__(self, root):
        self.root, self.database, self.backups = root, str(root / "live" / "shop.db"), str(root / "backups" / "shop")
        (root / "live").mkdir()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.control = root / "control"
        self.control.write_text(
            CONTROL.format(root=root, python=sys.executable, service=SERVICE, database=self.database, port=self.port)
        )
        self.control.chmod(0o755)
        sample_app.create(self.database, mib=1)
        self.made = operations.backup(database=self.database, backup_dir=self.backups)["backup"]
        self.application = {
            "commands": {"stop": f"{self.control} stop", "start": f"{self.control} start"},
            "probe": {"url": f"http://127.0.0.1:{self.port}/", "contains": "ledger"},
            "timeout": 8,
        }
        self.hosts = {"shop-17": {}}

    def do(self, action):
        subprocess.run([self.control, action], check=True, stdin=subprocess.DEVNULL)

    def before(self, action, script):
        path = self.root / f"before-{action}"
        path.write_text("#!/bin/sh\n" + script)
        path.chmod(0o755)

    def answer(self):
        """What the running application says of its database."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/", timeout=10) as response:
            return json.loads(response.read())

    def runs(self):
        try:
            return bool(self.answer())
        except OSError:
            return False

    def write(self, count=5):
        with contextlib.closing(sample_app.connect(self.database)) as connection:
            for _n in range(count):
                sample_app.move(connection, sample_app.random.Random(1))

    def ledger(self):
        with contextlib.closing(sqlite3.connect(self.database)) as connection:
            return connection.execute("SELECT count(*) FROM ledger").fetchone()[0]

    def command(self, *options):
        row = {"path": self.database, "backup_dir": self.backups}
        if self.application is not None:
            row["application"] = self.application
        common = {
            "ansible_connection": "local",
            "ansible_python_interpreter": "/usr/bin/python3",
            "digitalme_backup_databases": [row],
            "digitalme_backup_contacts": ["Ada, +44 1"],
        }
        inventory = self.root / "inventory.json"
        inventory.write_text(json.dumps({"all": {"hosts": self.hosts, "vars": common}}))
        return ["ansible-playbook", "-i", str(inventory), str(ROOT / "playbooks" / "restore.yml"), *options]

    def play(self, *options, limit="shop-17"):
        words = self.command(*(["-l", limit] if limit else []), *options)
        done = subprocess.run(
            words, env=self.environment(), capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
        )
        return done.returncode, done.stdout + done.stderr

    def environment(self):
        return {**os.environ, "ANSIBLE_HOME": str(self.root / "ansible"), "ANSIBLE_NOCOLOR": "1"}

    def damage(self):
        with open(self.database, "r+b") as file:
            file.write(bytes(100))


@pytest.fixture
def shop(tmp_path):
    shop = Shop(tmp_path)
    yield shop
    for action in ("start", "stop"):
        (tmp_path / f"before-{action}").unlink(missing_ok=True)
    shop.do("stop")


def _plan_id(said):
    return re.search(r"PLAN ([0-9a-f]{16}) for shop-17", said).group(1)


# --- it goes well ----------------------------------------------------------------------------------------------------


def test_one_command_brings_a_damaged_database_back_and_its_application_up(shop):
    shop.write()
    shop.damage()
    status, said = shop.play("-e", "confirm=yes")
    assert status == 0, said
    assert "RESTORED" in said and "RTO" in said and "RPO" in said
    assert shop.answer()["ledger"] >= 0 and shop.answer()["total"] == sample_app.ACCOUNTS * sample_app.START_BALANCE
    kept = [name for name in os.listdir(shop.backups) if name.endswith(".damaged")]
    assert len(kept) == 1


def test_plan_tells_what_would_be_lost_and_check_mode_changes_nothing(shop):
    shop.write(7)
    before = files.sha256(shop.database)
    status, said = shop.play("--check")
    assert status == 0 and "ledger: 7 now, 0 in the backup" in said, said
    assert "RESTORED" not in said and files.sha256(shop.database) == before and not shop.runs()


def test_confirmation_by_the_plans_id_holds_once(shop):
    shop.write()
    _status, said = shop.play("--check")
    given = ("-e", f"confirm={_plan_id(said)}")
    assert shop.play(*given)[0] == 0
    shop.do("stop")
    shop.write()
    rows = shop.ledger()
    status, said = shop.play(*given)
    assert status == 2 and "Another plan was confirmed" in said and shop.ledger() == rows


def test_person_on_the_terminal_is_asked(shop):
    for answer, expected in ((b"no\r", 2), (b"yes\r", 0)):
        shop.do("stop")
        shop.write()
        status, said = _on_a_terminal(shop, answer)
        assert status == expected, said
        assert ("RESTORED" in said) == (expected == 0)


def _on_a_terminal(shop, answer):
    pid, terminal = pty.fork()
    if pid == 0:
        words = shop.command("-l", "shop-17")
        os.execvpe(words[0], words, shop.environment())
    said = b""
    with contextlib.suppress(OSError):  # The terminal hangs up when the play has ended.
        while True:
            if select.select([terminal], [], [], 0.5)[0]:
                said += os.read(terminal, 4096)
            elif b"Type yes" in said:
                os.write(terminal, answer)  # What is typed while the prompt appears is thrown away.
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), said.decode(errors="replace")


def test_restore_goes_in_place_under_an_application_that_is_not_named(shop):
    shop.do("start")
    shop.write()
    inode = os.stat(shop.database).st_ino
    shop.application = None
    status, said = shop.play("-e", "confirm=yes")
    assert status == 0 and "none is stopped" in said, said
    assert os.stat(shop.database).st_ino == inode and shop.runs()


def test_second_run_finds_nothing_to_restore_and_starts_what_a_killed_run_left_stopped(shop):
    status, said = shop.play()  # No confirmation is needed where nothing is changed.
    assert status == 0 and "NOTHING TO RESTORE" in said and shop.runs(), said


# --- it does not go well ---------------------------------------------------------------------------------------------

REFUSED = {
    "not confirmed": ([], "Not confirmed"),
    "made up confirmation": (["-e", "confirm=0123456789abcdef"], "Another plan was confirmed"),
    "no such database": (["-e", "confirm=yes", "-e", "database=wiki"], "no database wiki"),
    "no such backup": (["-e", "confirm=yes", "-e", "backup=2001-01-01"], "there is no verified backup from"),
    "without a way back, said once": (
        ["-e", "confirm=yes", "-e", "digitalme_backup_restore_pre_backup=false"],
        "say it twice",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusal_leaves_database_and_application_alone(shop, case):
    options, cause = REFUSED[case]
    shop.do("start")
    shop.write()
    pid = (shop.root / "pid").read_text()
    status, said = shop.play(*options)
    assert status == 2 and cause in said, said
    assert shop.runs() and (shop.root / "pid").read_text() == pid and shop.ledger() >= 5


def test_without_a_limit_a_fleet_is_not_restored(shop):
    shop.hosts["shop-18"] = {}
    status, said = shop.play("-e", "confirm=yes", limit=None)
    assert status == 2 and "Name the host with -l" in said and not shop.runs()


def test_without_a_way_back_said_twice_nothing_is_kept(shop):
    shop.write()
    twice = (
        "digitalme_backup_restore_pre_backup=false",
        "digitalme_backup_restore_without_pre_backup_confirmed=shop-17",
    )
    status, said = shop.play("-e", "confirm=yes", "-e", twice[0], "-e", twice[1])
    assert status == 0 and not [name for name in os.listdir(shop.backups) if "pre_recovery" in name], said


@pytest.mark.parametrize("damaged", [False, True], ids=["sound", "damaged"])
def test_application_that_does_not_come_up_gets_its_old_content_back(shop, damaged):
    shop.write()
    if damaged:
        shop.damage()
    before = files.sha256(shop.database) if damaged else shop.ledger()
    shop.application["probe"]["contains"] = "what it never says"
    status, said = shop.play("-e", "confirm=yes")
    assert status == 2 and "NOT RESTORED" in said and "Rolled back" in said and "Ada, +44 1" in said, said
    if damaged:
        shop.do("stop")
        assert files.sha256(shop.database) == before
    else:
        assert shop.runs() and shop.ledger() >= before


@pytest.mark.parametrize(
    ("what", "cause"),
    [
        ({"check": "echo it is not good >&2; exit 3"}, "Let the operator's own command judge it"),
        ({"probe": {"command": "exit 4"}}, "Wait until the operator's own command says so"),
    ],
)
def test_operators_own_command_can_refuse_the_restored_content(shop, what, cause):
    shop.write()
    rows = shop.ledger()
    shop.application.update(what)
    status, said = shop.play("-e", "confirm=yes")
    assert status == 2 and f"NOT RESTORED: {cause}" in said and "Rolled back" in said, said
    shop.do("stop")
    assert shop.ledger() >= rows


def test_assertion_that_the_backup_does_not_meet_is_told_before_anything_is_stopped(shop):
    shop.do("start")
    shop.write()
    wanted = '{"digitalme_backup_restore_assertions": [{"sql": "SELECT count(*) > 0 FROM ledger"}]}'
    status, said = shop.play("-e", "confirm=yes", "-e", wanted)
    assert status == 2 and "did not pass" in said and shop.runs(), said


def test_application_that_does_not_stop_is_started_again_and_nothing_is_touched(shop):
    shop.do("start")
    shop.write()
    shop.before("stop", "sleep 60")
    shop.application["timeout"] = 1
    status, said = shop.play("-e", "confirm=yes")
    assert status == 2 and "The database is as it was" in said and "was started again" in said, said
    assert shop.runs() and shop.ledger() >= 5


def test_application_that_does_not_start_with_either_content_is_told(shop):
    shop.write()
    shop.before("start", "echo no licence >&2; exit 1")
    status, said = shop.play("-e", "confirm=yes")
    assert status == 2 and "Rolled back" in said and "does NOT run" in said, said
    assert shop.ledger() == 5


def test_file_that_another_process_holds_is_not_replaced(shop, writing):
    shop.damage()
    with open(shop.database, "rb"):
        held = subprocess.Popen(["sleep", "600"], stdin=open(shop.database, "rb"))  # noqa: SIM115
        try:
            before = files.sha256(shop.database)
            status, said = shop.play("-e", "confirm=yes")
        finally:
            held.kill()
            held.wait()
    assert status == 2 and f"pid {held.pid} (sleep)" in said and "The database is as it was" in said, said
    assert files.sha256(shop.database) == before


def test_newest_backup_that_is_damaged_falls_back_only_when_asked(shop):
    shop.write()
    newest = operations.backup(database=shop.database, backup_dir=shop.backups)["backup"]["path"]
    with open(newest, "r+b") as file:
        file.seek(files.size(newest) // 2)
        file.write(b"not what it was")
    status, said = shop.play("-e", "confirm=yes")
    assert status == 2 and "SHA-256" in said and shop.ledger() == 5
    status, said = shop.play("-e", "confirm=yes", "-e", "digitalme_backup_restore_fall_back=true")
    assert status == 0 and "is damaged" in said and shop.made["file"] in said, said


def test_first_host_that_fails_stops_the_others(shop):
    shop.hosts = {"shop-17": {"digitalme_backup_restore_backup": "2001-01-01"}, "shop-18": {}}
    shop.write()
    status, said = shop.play("-e", "confirm=yes", limit="shop-17,shop-18")
    assert status == 2 and "RESTORED" not in said and shop.ledger() == 5 and not shop.runs(), said


# There is no cluster here. This stands for kubectl and for what a deployment of it does: it keeps what it is told in a
# file, and runs the application while it has replicas.
KUBECTL = """#!{python}
import json, os, subprocess, sys
words = [word for word in sys.argv[1:] if word not in ("--namespace", "web")]
path = {state!r}
state = json.load(open(path))
with open(path + ".log", "a") as log:
    log.write(" ".join(words) + "\\n")
verb = words[0]
if verb == "get" and words[1] == "pods":
    assert words[words.index("--selector") + 1] == "app=shop,tier=web", words
    print("pod/shop-1" if state["spec"]["replicas"] else "")
elif verb == "get":
    print(json.dumps(state))
elif verb == "annotate":
    for word in words[1:]:
        key, _equals, value = word.partition("=")
        if key.endswith("/replicas"):
            state["metadata"]["annotations"][key] = value
        elif key.endswith("/replicas-"):
            state["metadata"]["annotations"].pop(key[:-1], None)
elif verb == "scale":
    state["spec"]["replicas"] = int(words[1].partition("=")[2])
    action = "start" if state["spec"]["replicas"] else "stop"
    subprocess.run([{control!r}, action], stdin=subprocess.DEVNULL, check=True)
elif verb != "rollout":
    sys.exit("unknown: " + verb)
json.dump(state, open(path, "w"))
"""


def test_deployment_is_scaled_down_and_to_what_it_was_also_after_a_killed_run(shop):
    state = shop.root / "deployment.json"
    selector = {"matchLabels": {"tier": "web", "app": "shop"}}
    state.write_text(json.dumps({"metadata": {"annotations": {}}, "spec": {"replicas": 3, "selector": selector}}))
    kubectl = shop.root / "kubectl"
    kubectl.write_text(KUBECTL.format(python=sys.executable, state=str(state), control=str(shop.control)))
    kubectl.chmod(0o755)
    shop.application = {
        "kubernetes": {"deployment": "shop", "namespace": "web", "kubectl": str(kubectl)},
        "probe": shop.application["probe"],
        "timeout": 8,
    }
    shop.do("start")
    shop.write()
    status, said = shop.play("-e", "confirm=yes")
    assert status == 0 and shop.runs(), said
    after = json.loads(state.read_text())
    assert (after["spec"]["replicas"], after["metadata"]["annotations"]) == (3, {})
    # A run that was killed has left it scaled down, and its number noted.
    shop.do("stop")
    after["spec"]["replicas"] = 0
    after["metadata"]["annotations"] = {"digitalme.backup/replicas": "3"}
    state.write_text(json.dumps(after))
    shop.write()
    status, said = shop.play("-e", "confirm=yes")
    assert status == 0 and shop.runs(), said
    assert json.loads(state.read_text())["spec"]["replicas"] == 3
