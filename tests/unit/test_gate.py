# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The gate: ten requests about one name, and nothing that is not one of them."""

from __future__ import annotations

import array
import json
import os
import socket
import subprocess
import sys

import pytest
from engine import errors, issuing, operations
from engine.gate import running, serve, vocabulary

ENGINE_PARENT = os.path.dirname(os.path.dirname(errors.__file__))

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the gate is for systemd")
REQUEST = "20261122T020000Z-0123456789ab"
BY = {"subject": "ada", "address": "127.0.0.1", "request": REQUEST}


class Visitor:
    """A connected gate in a process of its own."""

    def __init__(self, settings):
        self.connection, theirs = socket.socketpair()
        words = [sys.executable, "-m", "engine", "gate", "--name", "app", "--config", str(settings)]
        environment = {**os.environ, "PYTHONPATH": ENGINE_PARENT}
        with theirs:
            self.process = subprocess.Popen(words, stdin=theirs, stdout=subprocess.DEVNULL, env=environment)
        self.lines = self.connection.makefile("rb")

    def say(self, raw):
        self.connection.sendall(raw)
        return json.loads(self.lines.readline())

    def ask(self, operation, by=None, **arguments):
        request = {"operation": operation, "arguments": arguments, "by": by or {}}
        return self.say(json.dumps(request).encode() + b"\n")

    def leave(self):
        self.lines.close()
        self.connection.close()
        return self.process.wait(60)


@pytest.fixture
def place(tmp_path, database):
    settings = tmp_path / "config.json"
    entry = {"name": "app", "path": str(database), "backup_dir": str(tmp_path / "backups")}
    document = {"databases": [entry], "audit_log": str(tmp_path / "audit.jsonl"), "defaults": {"busy_timeout": 0.2}}
    settings.write_text(json.dumps(document))
    return tmp_path


@pytest.fixture
def visitor(place):
    found = Visitor(place / "config.json")
    yield found
    found.leave()


def _audit(place):
    return [json.loads(line) for line in (place / "audit.jsonl").read_text().splitlines()]


def test_state_is_told_once_and_again_when_something_has_changed(visitor):
    first = visitor.ask("state", known=None)["result"]
    assert (first["same"], first["backups"], first["status"]) == (False, [], "unhealthy")
    made = visitor.ask("backup", BY, pinned=False, annotations={})["result"]["backup"]
    second = visitor.ask("state", known=first["version"])["result"]
    assert [row["file"] for row in second["backups"]] == [made["file"]] and second["status"] == "healthy"
    assert [row["operation"] for row in json.loads(second["operations"])] == ["backup"]
    # A change of the last tenth of a second may not be the last: asked again, it settles.
    while not visitor.ask("state", known=second["version"])["result"]["same"]:
        second = visitor.ask("state", known=None)["result"]


def test_who_has_asked_stands_in_the_audit_log(visitor, place):
    visitor.ask("backup", BY, pinned=False, annotations={"why": "test"})
    visitor.ask("refused", BY, request="GET /x", outcome="unauthorized", status=401, times=3)
    made, refused = _audit(place)
    assert made["by"]["subject"] == refused["by"]["subject"] == "ada" and made["by"]["via"] == "api"
    assert (made["operation"], made["outcome"]) == ("backup", "ok")
    assert (refused["operation"], refused["outcome"], refused["times"]) == ("request", "unauthorized", 3)


BAD = {
    "no JSON": b"{\n",
    "a list": b"[]\n",
    "nested deeply": b"[" * 30_000 + b"\n",
    "not UTF-8": b'{"operation": "\xff"}\n',
    "an unknown operation": {"operation": "install", "arguments": {}, "by": {}},
    "an operation that is no text": {"operation": ["state"], "arguments": {}, "by": {}},
    "more than three parts": {"operation": "state", "arguments": {"known": None}, "by": {}, "config": "/x"},
    "a path": {"operation": "test", "arguments": {"file": "/etc/passwd"}, "by": {}},
    "a path of the parent": {"operation": "test", "arguments": {"file": "../app.db"}, "by": {}},
    "a NUL": {"operation": "test", "arguments": {"file": "app\0.db"}, "by": {}},
    "a time": {"operation": "test", "arguments": {"file": "2099-01-01T00:00:00Z"}, "by": {}},
    "an unknown file": {"operation": "delete", "arguments": {"file": "app_20200101_000000.db"}, "by": {}},
    "no file": {"operation": "delete", "arguments": {}, "by": {}},
    "another option": {"operation": "test", "arguments": {"file": "latest", "database": "/x"}, "by": {}},
    "a confirmation that is no flag": {
        "operation": "restore",
        "arguments": {"file": "latest", "confirmed": 1},
        "by": {},
    },
    "a number that is none": {"operation": "retention", "arguments": {"keep_days": True, "max_files": None}, "by": {}},
    "a negative number": {"operation": "retention", "arguments": {"keep_days": -1, "max_files": None}, "by": {}},
    "a level that is none": {"operation": "validate", "arguments": {"file": "latest", "verify": "none"}, "by": {}},
    "an id that is a path": {"operation": "state", "arguments": {"known": None}, "by": {"request": "../../x"}},
    "somebody else's way in": {"operation": "state", "arguments": {"known": None}, "by": {"via": "cli"}},
}


@pytest.mark.parametrize("why", BAD)
def test_what_is_no_request_is_refused_and_the_next_is_answered(visitor, place, why):
    raw = BAD[why] if isinstance(BAD[why], bytes) else json.dumps(BAD[why]).encode() + b"\n"
    answer = visitor.say(raw)
    assert answer["error"]["error_code"] in ("usage", "backup_not_found") and answer["error"]["begun"] is False
    assert visitor.ask("state", known=None)["result"]["name"] == "app"
    assert not (place / "backups").exists() and not (place / "audit.jsonl").exists(), "something was begun"


def test_request_that_does_not_end_is_the_last(visitor):
    answer = visitor.say(b"x" * (vocabulary.LONGEST_REQUEST + 10))
    assert "too long" in answer["error"]["cause"]
    assert visitor.lines.readline() == b"" and visitor.leave() == 0


def test_backup_is_handed_out_as_an_open_file(visitor, place):
    made = visitor.ask("backup", BY, pinned=False, annotations={})["result"]["backup"]
    request = {"operation": "download", "arguments": {"file": "latest"}, "by": BY}
    visitor.connection.sendall(json.dumps(request).encode() + b"\n")
    descriptors = array.array("i")
    message, ancillary, _flags, _address = visitor.connection.recvmsg(65536, socket.CMSG_SPACE(4))
    descriptors.frombytes(ancillary[0][2][:4])
    assert json.loads(message)["result"] == {key: made[key] for key in ("file", "stored_bytes", "sha256")}
    with os.fdopen(descriptors[0], "rb") as handed:
        assert handed.read() == (place / "backups" / made["file"]).read_bytes()
        with pytest.raises(OSError):
            os.write(handed.fileno(), b"x")
    assert _audit(place)[-1]["operation"] == "download"
    # Something else in its place, after the catalog was read.
    path = place / "backups" / made["file"]
    path.unlink()
    path.symlink_to("/etc/hostname")
    assert visitor.ask("download", BY, file=made["file"])["error"]["error_code"] in ("io_error", "backup_invalid")


def test_operation_that_fails_tells_why_and_is_kept(visitor, place):
    visitor.ask("backup", pinned=False, annotations={})
    answer = visitor.ask("restore", BY, file="latest", confirmed=False)["error"]
    assert (answer["error_code"], answer["exit_code"]) == ("not_confirmed", 4) and "begun" not in answer
    operations_then = json.loads(visitor.ask("state", known=None)["result"]["operations"])
    (row,) = [row for row in operations_then if row["id"] == REQUEST]
    assert row["outcome"] == "not_confirmed"
    assert (row["polled"]["status"], row["polled"]["error"]["error_code"]) == ("failed", "not_confirmed")


def test_whoever_goes_away_does_not_end_an_operation(place):
    gone = Visitor(place / "config.json")
    request = {"operation": "backup", "arguments": {"pinned": False, "annotations": {}}, "by": BY}
    gone.connection.sendall(json.dumps(request).encode() + b"\n")
    assert gone.leave() == 0
    assert [row["outcome"] for row in _audit(place)] == ["ok"]


def test_defect_is_told_without_its_traceback(tmp_path, database, capsys):
    ours, theirs = socket.socketpair()

    def broken(**_arguments):
        raise ZeroDivisionError("a secret in a defect")

    from engine import config

    settings = tmp_path / "config.json"
    settings.write_text(json.dumps({"databases": [{"name": "app", "path": str(database)}]}))
    gate = serve.Gate(theirs, lambda: config.target(config.load(str(settings)), name="app"), {"state": broken})
    ours.sendall(b'{"operation": "state", "arguments": {"known": null}, "by": {}}\n')
    ours.shutdown(socket.SHUT_WR)
    assert gate.serve() == 1
    answer = json.loads(ours.recv(65536))
    assert answer["error"]["error_code"] == "failed" and "secret" not in json.dumps(answer)
    assert "a secret in a defect" in capsys.readouterr().err
    ours.close()
    theirs.close()


def test_name_that_is_not_configured_has_no_gate(place):
    with pytest.raises(errors.UsageError, match="no database 'other' is configured"):
        operations.gate(name="other", config_path=str(place / "config.json"))


def test_row_counts_of_many_tables_are_told_of_the_newest(place, monkeypatch):
    from engine.gate import reading
    from engine.operations import gates

    about = {"name": "app", "config_path": str(place / "config.json")}
    for _n in range(3):
        operations.backup(**about)
    known = json.loads(gates.state(**about)["backups"][0]["manifest"])
    size = sum(len(name) + 10 for name in known["source"]["tables"])
    monkeypatch.setattr(reading, "_COUNTS_BYTES", 2 * size)
    told = [json.loads(row["manifest"]) for row in gates.state(**about)["backups"]]
    assert ["tables" in known["source"] for known in told] == [True, True, False]
    assert told[2]["sha256"] and told[2]["source"]["path"]


# --- what is kept of an operation ------------------------------------------------------------------------------------


@pytest.fixture
def target(place):
    from engine import config

    found = config.target(config.load(str(place / "config.json")), name="app")
    os.mkdir(found.backup_dir)
    return found


def test_operation_is_running_until_it_has_ended(target):
    one = running.Running(target, REQUEST, {"operation": "backup", "file": None, "by": {}})
    assert [row["status"] for row in running.shown(target)] == ["running"]
    one.ended(status="succeeded", result={"changed": True})
    (row,) = running.shown(target)
    assert (row["id"], row["status"], row["result"]) == (REQUEST, "succeeded", {"changed": True})


def test_operation_whose_process_is_gone_is_interrupted(target, child):
    code = (
        "import sys\nfrom engine import config\nfrom engine.gate import running\n"
        "target = config.target(config.load(sys.argv[1]), name='app')\n"
        f"running.Running(target, '{REQUEST}', {{'operation': 'restore'}})\n"
        "print('begun', flush=True)\nsys.stdin.read()\n"
    )
    settings = os.path.join(os.path.dirname(target.backup_dir), "config.json")
    process = child(code, settings)
    assert process.stdout.readline().strip() == b"begun"
    assert [row["status"] for row in running.shown(target)] == ["running"]
    process.kill()
    process.wait()
    assert [row["status"] for row in running.shown(target)] == ["interrupted"]


def test_file_that_is_torn_or_foreign_hides_no_other(target):
    running.Running(target, REQUEST, {"operation": "backup"}).ended(status="succeeded", result={})
    place = running.directory(target)
    for name, content in (
        ("torn.json", b'{"id": "x'),
        ("list.json", b"[]"),
        ("bytes.json", b"\xff"),
        ("other.txt", b""),
    ):
        with open(os.path.join(place, name), "wb") as file:
            file.write(content)
    os.symlink("/etc/hostname", os.path.join(place, "link.json"))
    assert [row["id"] for row in running.shown(target)] == [REQUEST]


PLANTED = {
    "an id that is no text": {"id": []},
    "the id of another": {"id": "20261122T020000Z-ffffffffffff"},
    "no time": {"started_at": None},
    "a time that is none": {"started_at": "then"},
    "an end that is none": {"finished_at": 5},
    "a status that is none": {"status": ["succeeded"]},
    "an operation that is no text": {"operation": {}},
    "a file that is no text": {"file": 1},
    "nobody": {"by": "ada"},
    "a subject that is no text": {"by": {"subject": 1}},
    "a result that is none": {"result": 1},
    "an error that is none": {"error": 1},
    "an error without its parts": {"error": {}},
    "an error whose details are none": {"error": {"error_code": "busy", "cause": "", "hint": "", "details": []}},
}


@pytest.mark.parametrize("why", PLANTED)
def test_operation_that_was_planted_is_not_shown(target, why):
    """The application owns the directory. Nothing that it puts there may end the gate's answers, which all wait for."""
    running.Running(target, REQUEST, {"operation": "backup"}).ended(status="succeeded", result={})
    (row,) = running.shown(target)
    planted = "20261122T030000Z-0123456789ab"
    path = os.path.join(running.directory(target), f"{planted}.json")
    for content in (json.dumps({**row, "id": planted, **PLANTED[why]}), "[" * 100_000):
        with open(path, "w", encoding="ascii") as file:
            file.write(content)
        assert [known["id"] for known in running.shown(target)] == [REQUEST]
    with open(path, "w", encoding="ascii") as file:
        json.dump({**row, "id": planted}, file)
    assert [known["id"] for known in running.shown(target)] == [REQUEST, planted], "the test plants nothing"


def test_files_of_others_are_not_removed_with_the_oldest(target, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    names = {f"{number:03d}.json" for number in range(running._KEPT + 5)}
    for name in names:
        (other / name).write_text("{}")
    os.mkdir(target.state_dir)
    os.symlink(other, running.directory(target))
    running.Running(target, REQUEST, {"operation": "backup"}).ended(status="succeeded", result={})
    assert names <= set(os.listdir(other))


def test_only_the_newest_are_kept(target):
    for number in range(running._KEPT + 5):
        request = f"20261122T02{number // 60:02d}{number % 60:02d}Z-0123456789ab"
        running.Running(target, request, {"operation": "backup"}).ended(status="succeeded", result={})
    rows = running.shown(target)
    assert len(rows) == running._KEPT and rows[-1]["id"] == request


# --- what a restore needs --------------------------------------------------------------------------------------------


def _needs(place, backup="latest"):
    from engine.operations import gates

    return gates.requirements(name="app", backup=backup, config_path=str(place / "config.json"))


def test_needs_of_a_restore_are_told_without_trying_it(place, database, monkeypatch):
    about = {"name": "app", "config_path": str(place / "config.json")}
    made = operations.backup(**about)["backup"]
    needs = _needs(place)
    assert (needs["recoverable"], needs["strategy"], needs["live"]) == (True, "in_place", "sound")
    assert needs["content_bytes"] == made["size_bytes"] and needs["seconds_expected"] is None
    (row,) = needs["places"]
    assert row["needed_bytes"] >= 3 * made["size_bytes"] and row["free_bytes"] > row["needed_bytes"]
    operations.restore(test=True, **about)
    assert _needs(place)["seconds_expected"] > 0
    monkeypatch.setattr("engine.space.free_bytes", lambda path: 10)
    tight = _needs(place)
    assert tight["recoverable"] is False and "too little room" in tight["problems"][0]


def test_needs_of_a_restore_tell_what_is_in_its_way(place, database, holding):
    operations.backup(name="app", config_path=str(place / "config.json"))
    with open(database, "r+b") as file:
        file.write(b"x" * 100)
    with open(database, "rb"):
        needs = _needs(place)
    assert (needs["strategy"], needs["live"]) == ("replace", "damaged")
    os.unlink(database)
    assert (_needs(place)["live"], _needs(place)["pre_restore_backup"]) == ("absent", False)


# --- signing ---------------------------------------------------------------------------------------------------------


def test_token_is_signed_by_the_installed_program(tmp_path):
    home = tmp_path / "api"
    (home / "venv" / "bin").mkdir(parents=True)
    (home / "backup_api").mkdir()
    (home / "venv" / "bin" / "python").symlink_to(sys.executable)
    (home / "backup_api" / "__init__.py").write_text("")
    (home / "backup_api" / "__main__.py").write_text(
        "import sys\ndef main():\n    print('signed', sys.argv[1:])\n    return 0\n"
    )
    signed = issuing.token(["--scope", "read"], {"DIGITALME_BACKUP_API_HOME": str(home)})
    assert signed == f"signed ['--config', '{home}/api.json', 'token', '--scope', 'read']"
    (home / "backup_api" / "__main__.py").write_text(
        "import sys\ndef main():\n    sys.stderr.write('no key')\n    return 2\n"
    )
    with pytest.raises(errors.UsageError, match="no key"):
        issuing.token([], {"DIGITALME_BACKUP_API_HOME": str(home)})
    with pytest.raises(errors.UsageError, match="not installed here"):
        issuing.token([], {"DIGITALME_BACKUP_API_HOME": str(tmp_path / "nowhere")})
