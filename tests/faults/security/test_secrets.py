# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Secrets are planted wherever one can be given, everything is run, and none is found but where it was put: not in
output, logs, the audit log, metrics, manifests, state files, reports, command lines, facts of a play with -vvvv.

What is no secret: annotations, names, paths, and an assertion's SQL with the value that it gave. They are for people to
read, and stand in manifests and messages (docs/NOTIFICATIONS.md and SECURITY.md say so).
"""

from __future__ import annotations

import json
import os
import pathlib
import re
import sqlite3
import subprocess
import sys

import pytest
from asked import EVERYTHING

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent.parent
for _place in (HERE, ROOT / "tests" / "api", ROOT / "tests" / "integration"):
    if str(_place) not in sys.path:
        sys.path.insert(0, str(_place))

import planted  # noqa: E402

ENGINE = ROOT / "plugins" / "module_utils"
BIN = pathlib.Path(sys.executable).parent


class World:
    """A host with three databases (good, damaged, gone), channels that all fail, keys, and a full environment."""

    def __init__(self, place, port):
        self.place, self.secrets = place, planted.Secrets()
        new = self.secrets.new
        for name in ("srv", "backups", "metrics", "log", "credentials", "home", "keys"):
            (place / name).mkdir()
        self._databases()
        (place / "credentials" / "ping-url").write_text(f"http://127.0.0.1:{port}/ping/{new('credential: ping url')}\n")
        (place / "token.file").write_text(new("file: webhook token") + "\n")
        self.channels = [
            {"type": "healthchecks", "name": "a", "url_file": "ping-url"},
            {"type": "healthchecks", "name": "b", "url": f"http://127.0.0.1:{port}/ping/{new('ping url')}"},
            {
                "type": "webhook",
                "name": "c",
                "url": f"http://ada:{new('webhook url: password')}@127.0.0.1:{port}/x?key={new('webhook url: query')}",
                "secret": new("webhook secret"),
            },
            {
                "type": "webhook",
                "name": "d",
                "url": f"http://127.0.0.1:1/{new('webhook url: refused')}",
                "token_file": str(place / "token.file"),
            },
            {"type": "webhook", "name": "e", "url": f"http://127.0.0.1:{port}/x", "token": new("webhook token")},
            {
                "type": "mail",
                "name": "f",
                "host": "127.0.0.1",
                "port": 1,
                "tls": "none",
                "user": "ada",
                "password": new("mail password"),
                "from": "a@example.org",
                "to": ["b@example.org"],
            },
            {"type": "apprise", "name": "g", "urls": [f"json://ada:{new('apprise url')}@127.0.0.1:{port}/x"]},
        ]
        for channel in self.channels:
            # A peer that is not there is tried three times, with pauses: these are told of one kind of event only.
            patient = channel["name"] in ("d", "f", "g")
            channel["events"] = ["hold"] if patient else ["start", "success", "failure", "hold"]
        self._private("notifications.json", {"channels": self.channels})
        self.entries = [
            {"name": name, "path": str(place / "srv" / f"{name}.db"), "backup_dir": str(place / "backups" / name)}
            for name in ("shop", "torn", "gone")
        ]
        document = {
            "databases": self.entries,
            "defaults": {"disk_limit_percent": 100, "busy_timeout": 1},
            "audit_log": str(place / "log" / "audit.jsonl"),
            "metrics_dir": str(place / "metrics"),
        }
        self._private("config.json", document)
        self._api_home()
        self.runner = planted.Runner(place, self._environment(port))

    def _private(self, name, document):
        path = self.place / name
        path.write_text(document if isinstance(document, str) else json.dumps(document))
        path.chmod(0o600)
        return path

    def _databases(self):
        for name in ("shop", "torn"):
            connection = sqlite3.connect(self.place / "srv" / f"{name}.db", isolation_level=None)
            connection.execute("PRAGMA journal_mode=wal")
            connection.execute("CREATE TABLE account (name TEXT UNIQUE, password TEXT NOT NULL)")
            connection.execute("CREATE INDEX by_password ON account (password)")
            rows = [(f"user {n}", self.secrets.new(f"row: {name} {n}") + "-" * 200) for n in range(60)]
            connection.executemany("INSERT INTO account VALUES (?, ?)", rows)
            connection.close()
        # A bit of an index page: SQLite tells which rows are missing in which index.
        path = self.place / "srv" / "torn.db"
        raw = bytearray(path.read_bytes())
        at = raw.rindex(b"p1anted")
        raw[at : at + 4] = b"XXXX"
        path.write_bytes(raw)

    def _api_home(self):
        home = self.place / "api-home"
        (home / "venv" / "bin").mkdir(parents=True)
        python = home / "venv" / "bin" / "python"
        python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
        python.chmod(0o755)
        (home / "backup_api").symlink_to(ROOT / "roles" / "api" / "files" / "backup_api")
        (self.place / "keys" / "host.secret").write_text(self.secrets.new("JWT secret"))
        self._private("api-home/api.json", {"databases": [], "tokens": {"keys_dir": str(self.place / "keys")}})

    def _environment(self, port):
        kept = {key: os.environ[key] for key in ("PATH", "LANG", "TERM") if key in os.environ}
        new = self.secrets.new
        return {
            **kept,
            "HOME": str(self.place / "home"),
            "PYTHONPATH": str(ENGINE),
            "PYTHONDONTWRITEBYTECODE": "1",
            "CREDENTIALS_DIRECTORY": str(self.place / "credentials"),
            "DIGITALME_BACKUP_CONFIG": str(self.place / "config.json"),
            "DIGITALME_BACKUP_API_HOME": str(self.place / "api-home"),
            "APP_PASSWORD": new("environment: APP_PASSWORD"),
            "AWS_SECRET_ACCESS_KEY": new("environment: AWS_SECRET_ACCESS_KEY"),
            "DATABASE_URL": f"postgres://ada:{new('environment: DATABASE_URL')}@db/x",
            "https_proxy": f"http://ada:{new('environment: https_proxy')}@127.0.0.1:{port}",
        }

    def engine(self, *words, **environment):
        return self.runner.run(sys.executable, "-m", "engine", *words, **environment)

    def may_hold(self, path, where):
        """Whether a secret may be in a file: there where it was put, and the rows where rows are."""
        relative = os.path.relpath(path, self.place)
        if where.startswith("row: "):
            return relative.startswith(("srv/", "backups/", "served/")) and not relative.endswith(".json")
        given = ("notifications.json", "token.file", "credentials/", "keys/", "api-home/", "vars.json", "served/keys/")
        return relative.startswith(given)

    def judge(self):
        """Nothing planted in what was said, in command lines, and in files but where it was put."""
        wrong = [
            f"{label}: {stream}: {where}"
            for label, *streams in self.runner.said
            for stream, data in zip(("stdout", "stderr"), streams)
            for where in self.secrets.found(data)
        ]
        wrong += planted.in_files(self.place, self.secrets, self.may_hold)
        assert wrong == [], "\n".join(wrong)


@pytest.fixture
def world(tmp_path):
    place = tmp_path / "world"
    place.mkdir()
    with planted.Echo().running() as echo:
        yield World(place, echo.port)


def _calls(world):
    """Calls of every command but two: each that succeeds, and what fails in its own way."""
    place = world.place
    shop, torn, gone = ("--name", "shop"), ("--name", "torn"), ("--name", "gone")
    asking = ("--assert", "SELECT count(*) FROM account => 60")
    return [
        ("backup", *shop, *asking, "--annotation", "why=test"),
        ("backup", *shop, "--compression", "gzip", "--method", "online"),
        ("backup", *torn),
        ("backup", *gone),
        ("backup", "--database", place / "notifications.json", "--backup-dir", place / "backups" / "no"),
        ("list", *shop),
        ("info", "latest", *shop),
        ("info", "nothing", *shop),
        ("validate", *shop),
        ("test", *shop),
        ("test", *torn),
        ("restore", *shop),
        ("restore", *shop, "--force"),
        ("restore", *shop, "--force", "--strategy", "replace"),
        ("restore", *shop, "--undo", "--force"),
        ("restore", *torn, "--force"),
        ("retention", *shop, "--max-files", "1", "--max-remove-percent", "100"),
        ("health", *shop),
        ("health", *torn, "--nagios"),
        ("statistics", *shop),
        ("delete", "latest", *shop),
        ("audit",),
        ("run",),
        ("run", *shop, "--trigger", "scheduled"),
        ("drill", "--full-restore"),
        ("gameday", *shop, "--skip", "full_disk"),
        ("review",),
        ("gate", *shop),
        ("token", "--scope", "admin"),
        ("token", "--key-file", place / "nothing"),
        ("metrics", *shop),
        ("notify", "--event", "failure", "--message", "test"),
        ("notify", "--event", "hold"),
        ("discover", place),
    ]


def test_command_line_tells_no_secret(world):
    from engine import arguments

    calls = _calls(world)
    commands = re.findall(r"^    ([a-z]+)  ", arguments.parser().format_help(), re.MULTILINE)
    assert {words[0] for words in calls} | {"scheduler"} == set(commands)
    for number, words in enumerate(calls):
        for form in (["--json"], [])[:: 1 if EVERYTHING else 2 if number % 2 else -2]:
            world.engine(*words, *form)
    assert len(world.runner.said) == (2 if EVERYTHING else 1) * len(calls)
    world.judge()


@pytest.mark.parametrize(
    "broken",
    [
        '{"channels": [{"type": "webhook", "url": "SECRET",',
        '{"channels": [{"type": "webhook", "url": "ftp://ada:SECRET@example.org/"}]}',
        '{"channels": [{"type": "webhook", "url": "http://ada:SECRET @example.org:x/"}]}',
        '{"channels": [{"type": "webhook", "url": "http://127.0.0.1/", "token": "SECRET\\n"}]}',
        '{"channels": [{"type": "webhook", "url": "http://127.0.0.1/", "token": ["SECRET"]}]}',
        '{"channels": [{"type": "apprise", "urls": ["SECRET"]}]}',
        '{"channels": [{"type": "mail", "host": "h", "from": "a@b.c", "to": "d@e.f", "password": "SECRET"}]}',
        '{"channels": "SECRET"}',
        "SECRET",
    ],
)
def test_channels_that_cannot_be_read_tell_no_secret(world, broken):
    secret = world.secrets.new("broken notifications.json")
    world._private("notifications.json", broken.replace("SECRET", secret))
    for words in (("notify", "--event", "failure"), ("run", "--name", "shop")):
        world.engine(*words, "--json")
        world.engine(*words)
    world.judge()


def test_scheduler_tells_no_secret(world):
    """It runs in the foreground until it is told to end."""
    document = json.loads((world.place / "config.json").read_text())
    document["defaults"]["schedule"] = "* * * * *"
    world._private("config.json", document)
    done = world.runner.run("timeout", "--signal=TERM", "3", sys.executable, "-m", "engine", "scheduler")
    assert done.stderr
    world.judge()


# --- Ansible ---------------------------------------------------------------------------------------------------------


MANNERS = {"diff": ("--diff",), **({"check": ("--check", "--diff"), "run": ()} if EVERYTHING else {})}


def _playbook(world):
    module = "digitalme.backup."
    tasks = [
        {module + "sqlite_backup": {"name": "shop", "annotations": {"why": "test"}}},
        {module + "sqlite_backup": {"name": "torn"}},
        {module + "backup_info": {"name": "shop"}},
        {module + "backup_validate": {"name": "shop"}},
        {module + "sqlite_restore": {"name": "shop", "test": True}},
        {module + "sqlite_restore": {"name": "shop", "force": True}},
        {module + "backup_retention": {"name": "shop", "max_files": 1, "max_remove_percent": 100}},
        {module + "backup_health": {"name": "torn", "fail_on": "degraded"}},
        {module + "backup_run": {}},
        {module + "backup_review": {}},
        {module + "sqlite_discover": {"paths": [str(world.place)]}},
        {
            "ansible.builtin.set_fact": {"made": "{{ lookup('digitalme.backup.jwt', 'admin') | length }}"},
            "vars": {"digitalme_backup_api_jwt_key_file": str(world.place / "keys" / "host.secret")},
        },
    ]
    document = [{"hosts": "all", "gather_facts": False, "tasks": [{**task, "ignore_errors": True} for task in tasks]}]
    path = world.place / "play.json"
    path.write_text(json.dumps(document))
    return path


@pytest.fixture
def play(world):
    """play(playbook, *options): ansible-playbook on this machine, with secrets in a file of variables."""
    pytest.importorskip("ansible")
    collections = world.place / "collections" / "ansible_collections" / "digitalme"
    collections.mkdir(parents=True)
    (collections / "backup").symlink_to(ROOT)
    inventory = world.place / "inventory.json"
    host = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    inventory.write_text(json.dumps({"all": {"hosts": {"localhost": host}}}))

    def run(playbook, *options, **variables):
        values = world._private("vars.json", variables)
        words = [BIN / "ansible-playbook", "-i", inventory, playbook, "-vvvv", "-e", f"@{values}", *options]
        more = {"ANSIBLE_COLLECTIONS_PATH": str(world.place / "collections"), "ANSIBLE_NOCOLOR": "1"}
        more |= {"ANSIBLE_HOME": str(world.place / "ansible"), "PATH": f"{BIN}:{os.environ['PATH']}"}
        more |= {"no_proxy": "127.0.0.1"}  # The stand-in is on this machine.
        more |= {"ANSIBLE_INJECT_INVOCATION": "true", "ANSIBLE_LOG_PATH": str(world.place / "log" / "ansible.log")}
        return world.runner.run(*words, **more)

    return run


@pytest.mark.parametrize("options", MANNERS.values(), ids=MANNERS)
def test_modules_tell_no_secret(world, play, options):
    done = play(_playbook(world), *options)
    assert done.returncode == 0, done.stdout.decode()[-4000:]
    world.judge()


@pytest.mark.skipif(not EVERYTHING, reason="a minute and a half; asked with FAULTS=all")
def test_install_and_api_roles_tell_no_secret_in_check_mode_with_diff(world, play):
    """On this machine nothing is installed: molecule's hosts see the whole of it."""
    key = world.secrets.new("role api: key")
    channel = {"type": "webhook", "url": f"https://x/{world.secrets.new('role install: url')}"}
    variables = {
        "digitalme_backup_databases": [{"name": "shop", "path": world.entries[0]["path"], "user": "root"}],
        "digitalme_backup_notifications": [channel],
        "digitalme_backup_config_dir": str(world.place / "etc"),
        "digitalme_backup_api_config_dir": str(world.place / "etc-api"),
        "digitalme_backup_api_keys": [{"kid": "first", "content": key}],
    }
    for name in ("install.yml", "api.yml"):
        done = play(ROOT / "playbooks" / name, "--check", "--diff", **variables)
        assert b"PLAY RECAP" in done.stdout, done.stdout.decode()[-4000:]
    world.judge()


def test_api_client_tells_no_token(world, play, tmp_path):
    import stand_in

    place = tmp_path / "tls"
    place.mkdir()
    authority, certificate = stand_in.certificates(place)
    with stand_in.StandIn(certificate).running() as host:
        for name in ("api_health.yml", "api_restore.yml"):
            play(
                ROOT / "playbooks" / name,
                digitalme_backup_api_url=host.url,
                digitalme_backup_api_ca=str(authority),
                digitalme_backup_api_token=world.secrets.new(f"{name}: token"),
                confirm="yes",
            )
        assert host.asked, b"".join(s[1][-2500:] for s in world.runner.said).decode()
    world.judge()


# --- the API ---------------------------------------------------------------------------------------------------------


def test_service_tells_no_secret_and_no_token(world, monkeypatch):
    pytest.importorskip("fastapi")
    from served import Served

    for key, value in world.runner.environment.items():
        if key not in ("PYTHONPATH", "PATH", "HOME", "DIGITALME_BACKUP_CONFIG"):
            monkeypatch.setenv(key, value)
    place = world.place / "served"
    place.mkdir()
    served = Served(place)
    world.secrets.add("API: HMAC secret", served.secret.decode())
    with sqlite3.connect(served.database()) as connection:
        connection.execute("INSERT INTO orders (what) VALUES (?)", (world.secrets.new("row: orders"),))
    connection.close()
    answers = []
    with planted.Watch() as watch:
        served.start()
        try:
            answers = _ask_everything(world, served)
        finally:
            served.stop()
    assert any(b"backup_api" in line for line in watch.lines) and any(b"gate" in line for line in watch.lines)
    world.runner.said += [("answers", b"\n".join(answers), b"\n".join(sorted(watch.lines)))]
    world.judge()


def _ask_everything(world, served):
    """Every route, well and badly asked, with tokens of all kinds; the answers' headers and bodies."""
    file = served.made()
    tokens = {
        "good": served.token(),
        "read": served.token(scope="read"),
        "old": served.token(exp=1),
        "foreign": served.token(key=b"x" * 40),
        "garbage": world.secrets.new("API: garbage as a token"),
    }
    for name, token in tokens.items():
        world.secrets.add(f"API: token {name}", token.rpartition(".")[2])
    routes = [
        ("GET", "/health"),
        ("GET", "/metrics"),
        ("GET", "/openapi.json"),
        ("GET", "/api/backup"),
        ("POST", "/api/backup"),
        ("GET", f"/api/backup/{file}"),
        ("GET", "/api/backup/nothing.db"),
        ("POST", f"/api/backup/validate/{file}"),
        ("POST", f"/api/backup/test-recovery/{file}"),
        ("GET", f"/api/backup/recovery-info/{file}"),
        ("POST", "/api/backup/pre-recovery-backup"),
        ("POST", f"/api/backup/restore/{file}"),
        ("POST", f"/api/backup/restore/{file}?confirmRestore=true"),
        ("GET", "/api/backup/health"),
        ("GET", "/api/backup/statistics"),
        ("POST", "/api/backup/cleanup?retentionDays=1&maxBackups=1"),
        ("GET", "/api/backup/operations"),
        ("DELETE", f"/api/backup/{file}"),
    ]
    answers = []
    for token in (*tokens.values(), None):
        for method, path in routes:
            answer = served.ask(method, path, token=token)
            answers.append(repr(answer.headers).encode() + answer.body)
    in_address = world.secrets.new("API: token in the address")
    answers.append(served.ask("GET", f"/api/backup?access_token={in_address}", token=None).body)
    return answers


# --- what is dumped --------------------------------------------------------------------------------------------------


def test_no_unit_leaves_a_core_dump():
    """The memory of a process holds what it has read: keys of the API, addresses of channels, rows."""
    units = sorted(ROOT.glob("roles/*/templates/*.service.j2"))
    assert len(units) >= 4
    sandbox = (ROOT / "roles" / "schedule" / "templates" / "sandbox.j2").read_text()
    assert "LimitCORE=0" in sandbox.splitlines()
    for unit in units:
        text = unit.read_text()
        assert "sandbox.j2" in text or "LimitCORE=0" in text.splitlines(), unit


# --- the checker -----------------------------------------------------------------------------------------------------


def test_planted_secret_that_gets_out_is_found(world):
    secret = world.secrets.known["environment: APP_PASSWORD"]
    world.runner.run("sh", "-c", "env; env --version >/dev/null")
    with pytest.raises(AssertionError, match="stdout: environment: APP_PASSWORD"):
        world.judge()
    world.runner.said.clear()
    world.runner.run(sys.executable, "-c", f"'{secret}'")
    world.runner.said.clear()
    with pytest.raises(AssertionError, match="command-lines/.*: environment: APP_PASSWORD"):
        world.judge()
    (world.place / "command-lines" / "1").unlink(missing_ok=True)
    for path in (world.place / "command-lines").iterdir():
        path.unlink()
    (world.place / "log" / "x").write_text(subprocess.check_output(["base64", "-w0"], input=f"ada:{secret}", text=True))
    with pytest.raises(AssertionError, match="log/x: environment: APP_PASSWORD"):
        world.judge()
