# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Real ansible-playbook runs against this machine, with nothing of the user's own settings.

A play costs about a second whatever is in it, so what belongs together runs as tasks of one play, and the tests look
at the tasks' results. ``callback_plugins/recorder.py`` writes them down, with the state of the disk after each task.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import signal
import sqlite3
import subprocess
import sys

import pytest
import sample_app
import surroundings
import yaml
from engine import clock, operations

HERE = pathlib.Path(__file__).resolve().parent
# For stand_in.py.
if str(HERE) not in sys.path:
    sys.path.insert(0, str(HERE))
ROOT = HERE.parent.parent
PREFIX = "digitalme.backup."
MODULES = sorted(path.stem for path in (ROOT / "plugins" / "modules").glob("*.py"))


class Unsafe(str):
    """A string of a playbook that Ansible must take as it is, whatever braces it has."""


class _Dumper(yaml.SafeDumper):
    pass


_Dumper.add_representer(Unsafe, lambda dumper, data: dumper.represent_scalar("!unsafe", str(data), style='"'))


class Task:
    """One task's recorded outcome."""

    def __init__(self, line):
        self.name, self.state, self.result = line["task"], line["state"], line["result"]
        self.action = line["action"]
        self.tree = line.get("tree")

    @property
    def changed(self):
        return self.result.get("changed")

    @property
    def diff(self):
        """(before, after) of the diff."""
        return self.result["diff"]["before"], self.result["diff"]["after"]

    def __repr__(self):
        return f"<{self.name}: {self.state} {json.dumps(self.result, indent=1)}>"


class Run:
    """One run of ansible-playbook: its exit status, its output, and its tasks by order and by name."""

    def __init__(self, process, record):
        self.status = process.returncode
        self.output = process.stdout + process.stderr
        lines = record.read_text(encoding="utf-8").splitlines() if record.exists() else []
        self.tasks = [Task(json.loads(line)) for line in lines]

    def __getitem__(self, name):
        found = [task for task in self.tasks if task.name == name]
        assert found, f"there is no task '{name}' in:\n{self.output}"
        return found[-1]


class Controller:
    """A controller with its own home, configuration and temporary directories below ``place``."""

    def __init__(self, place):
        self.place = place
        self.config = place / "config.json"
        self.config.write_text('{"defaults": {"disk_limit_percent": 100}}', encoding="ascii")
        (place / "ansible.cfg").write_text("[defaults]\n[connection]\npipelining = true\n", encoding="ascii")
        self.count = 0

    def environment(self, **more):
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("ANSIBLE_", "BACKUP_"))}
        return {
            **kept,
            "HOME": str(self.place / "home"),
            "ANSIBLE_CONFIG": str(self.place / "ansible.cfg"),
            "ANSIBLE_HOME": str(self.place / "ansible"),
            "ANSIBLE_COLLECTIONS_PATH": str(self.place / "collections"),
            "ANSIBLE_LOCAL_TEMP": str(self.place / "tmp"),
            "ANSIBLE_REMOTE_TEMP": str(self.place / "tmp"),
            "ANSIBLE_CALLBACK_PLUGINS": str(HERE / "callback_plugins"),
            "ANSIBLE_CALLBACKS_ENABLED": "recorder",
            "ANSIBLE_LOCALHOST_WARNING": "False",
            "ANSIBLE_INVENTORY_UNPARSED_WARNING": "False",
            "ANSIBLE_NOCOLOR": "1",
            "DIGITALME_BACKUP_CONFIG": str(self.config),
            **more,
        }

    def run(self, playbook, *arguments, watch=None, interpreter=sys.executable, **variables):
        """Run a playbook file against this machine; ``watch`` is the directory whose state is recorded."""
        self.count += 1
        record = self.place / f"record-{self.count}.jsonl"
        inventory = self.place / f"inventory-{self.count}.yml"
        host = {"ansible_connection": "local", "ansible_python_interpreter": str(interpreter)}
        inventory.write_text(json.dumps({"all": {"hosts": {"localhost": host}}}), encoding="ascii")
        command = [str(pathlib.Path(sys.executable).parent / "ansible-playbook"), f"--inventory={inventory}"]
        command += ["--extra-vars", json.dumps(variables), *arguments, str(playbook)]
        more = {"RECORD": str(record), **({"RECORD_TREE": str(watch)} if watch else {})}
        process = subprocess.run(
            command, env=self.environment(**more), cwd=self.place, capture_output=True, text=True, check=False
        )
        return Run(process, record)

    def play(self, tasks, *arguments, defaults=None, **options):
        """Run tasks; a task is ``{"name"?, MODULE: {...}, ...}`` with the module's short name, or a complete task."""
        spelt = [{PREFIX + key if key in MODULES else key: value for key, value in task.items()} for task in tasks]
        document = {"hosts": "localhost", "gather_facts": False, "tasks": spelt}
        if defaults:
            document["module_defaults"] = {"group/digitalme.backup.backup": defaults}
        playbook = self.place / f"play-{self.count + 1}.yml"
        playbook.write_text(yaml.dump([document], Dumper=_Dumper, sort_keys=False), encoding="ascii")
        return self.run(playbook, *arguments, **options)


@pytest.fixture
def controller(tmp_path):
    place = tmp_path / "controller"
    place.mkdir()
    return Controller(place)


@pytest.fixture(scope="session")
def make_controller(tmp_path_factory):
    """make_controller() -> Controller, for fixtures that live longer than one test."""
    return lambda: Controller(tmp_path_factory.mktemp("controller"))


@pytest.fixture(scope="session")
def unsafe():
    return Unsafe


@pytest.fixture(scope="session")
def four_times():
    """four_times(task) -> the task four times: check, run, check again, run again, each with its diff."""

    def make(module, arguments):
        rounds = (("check", True), ("run", False), ("check again", True), ("run again", False))
        return [{"name": name, module: arguments, "check_mode": check, "diff": True} for name, check in rounds]

    return make


def _make_db(path, journal_mode="wal", rows=200, word="word"):
    """A small closed database with an index; ``word`` makes its content its own."""
    connection = sqlite3.connect(os.fspath(path), isolation_level=None)
    connection.execute(f"PRAGMA journal_mode={journal_mode}")
    connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, word TEXT NOT NULL)")
    connection.execute("CREATE INDEX t_word ON t (word)")
    connection.execute("BEGIN")
    connection.executemany("INSERT INTO t (word) VALUES (?)", ((f"{word} {number:06d}",) for number in range(rows)))
    connection.execute("COMMIT")
    connection.close()
    return os.fspath(path)


@pytest.fixture(scope="session")
def make_db():
    return _make_db


@pytest.fixture(scope="session")
def backup_ago():
    """backup_ago(hours, database, backup_dir, **options) -> manifest: a real backup, as if made so many hours ago."""

    def make(hours, database, backup_dir, **options):
        moment = clock.after(clock.now(), -3600 * hours)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(clock, "now", lambda: moment)
            for name in surroundings.settings():
                patch.delenv(name)
            made = operations.backup(
                database=str(database), backup_dir=str(backup_dir), disk_limit_percent=100, **options
            )
        return made["backup"]

    return make


@pytest.fixture(scope="session")
def writing():
    """``with writing(path)``: another process moves money in a sample database all the while."""

    @contextlib.contextmanager
    def write(path):
        command = [sys.executable, sample_app.__file__, "write", os.fspath(path)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
        try:
            assert process.stdout.readline().strip() == b"ready"
            yield process
            assert process.poll() is None, "the writer has ended by itself"
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            process.communicate(timeout=60)

    return write


@pytest.fixture
def shop(tmp_path):
    """A sample database of an application, and a place for its backups: {database, backup_dir}."""
    (tmp_path / "live").mkdir()
    database = tmp_path / "live" / "shop.db"
    sample_app.create(str(database), mib=1)
    return {"database": str(database), "backup_dir": str(tmp_path / "backups")}


@pytest.fixture(scope="session")
def managed_pythons():
    """{release: path} of one Python of each release from 3.9 to 3.14 that the machine has."""
    command = [ROOT / "tools" / "interpreters.sh", "managed"]
    paths = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    show = "import sys; print('%d.%d' % sys.version_info[:2])"
    return {subprocess.run([path, "-c", show], capture_output=True, text=True).stdout.strip(): path for path in paths}


# --- a fleet ---------------------------------------------------------------------------------------------------------


class Fleet:
    """Hosts of the inventory are this machine, each with a configuration of its own."""

    def __init__(self, root):
        self.root = root
        self.hosts = {}

    def add(self, name, *databases, **variables):
        site = self.root / name
        site.mkdir()
        entries = [
            {"name": one, "path": str(site / f"{one}.db"), "backup_dir": str(site / "b" / one)} for one in databases
        ]
        document = {"databases": entries, "audit_log": str(site / "audit.jsonl")}
        (site / "config.json").write_text(json.dumps({**document, "defaults": {"disk_limit_percent": 99}}))
        self.hosts[name] = {"digitalme_backup_config_dir": str(site), **variables}
        return site

    def protect(self, name, *databases, **variables):
        """A host whose databases are there, to be backed up."""
        site = self.add(name, *databases, **variables)
        for one in databases:
            self.make(site, one)
        return site

    def back_up(self):
        """Back up all hosts; each must succeed."""
        status, said = self.play("backup.yml")
        assert status == 0, said

    @staticmethod
    def damage(site, name):
        """Turn one bit in the middle of the only backup around; returns its path."""
        (path,) = (site / "b" / name).glob("*.db")
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(bytes(data))
        return path

    def make(self, site, name):
        with sqlite3.connect(site / f"{name}.db") as connection:
            connection.execute("CREATE TABLE t (x)")
        connection.close()

    def play(self, name, *options):
        inventory = self.root / "inventory.json"
        common = {"ansible_connection": "local", "ansible_python_interpreter": "/usr/bin/python3"}
        inventory.write_text(json.dumps({"all": {"hosts": self.hosts, "vars": common}}))
        done = subprocess.run(
            ["ansible-playbook", "-i", str(inventory), str(ROOT / "playbooks" / name), *options],
            env={**os.environ, "ANSIBLE_HOME": str(self.root / "ansible"), "ANSIBLE_NOCOLOR": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr


@pytest.fixture
def fleet(tmp_path):
    return Fleet(tmp_path)
