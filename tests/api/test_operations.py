# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Operations through the API: what they do, what they answer when they cannot, and that they outlive whoever asked."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import http.client
import json
import os
import pathlib
import signal
import urllib.parse

import pytest
from served import PATIENCE, wait_for
from test_access import refused

MADE = "success backupPath backupSizeBytes backupTimestamp duration"
TESTED = "canRecover backupValid sufficientSpace databaseAccessible testDuration errorMessage requirements steps"
RESTORED = "success backupPath preRecoveryBackupPath recoveryTimestamp duration restoredDataSizeBytes details"
DETAILS = "preRecoveryBackupCreated backupValidated databaseReplaced integrityVerified rolledBack steps"
RESTORE = "/api/backup/restore/latest?confirmRestore=true"
LATER = [("Prefer", "respond-async")]


@contextlib.contextmanager
def locked(served, name="shop"):
    """Another operation on the name runs."""
    state = served.backups(name) / ".state"
    state.mkdir(parents=True, exist_ok=True)
    with open(state / f"{name}.lock", "a+b") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def polled(served, answer):
    """The operation that was begun, when it has ended."""
    assert answer.status == 202, answer.body
    where = answer.headers["location"]
    assert where == answer.json["location"]

    def ended():
        found = served.ask("GET", where).json
        return found if found["status"] != "running" else None

    return wait_for(ended)


def damage(served, name):
    path = served.backups() / name
    content = bytearray(path.read_bytes())
    content[5000] ^= 0xFF
    path.write_bytes(content)


def test_backup_is_made(serve):
    served = serve()
    answer = served.ask("POST", "/api/backup", body={"pinned": True, "annotations": {"why": "before the upgrade"}})
    assert answer.status == 201 and set(MADE.split()) <= set(answer.json)
    assert pathlib.Path(answer.json["backupPath"]).stat().st_size == answer.json["backupSizeBytes"]
    manifest = served.ask("GET", answer.headers["location"]).json
    assert (manifest["pinned"], manifest["annotations"]) == (True, {"why": "before the upgrade"})
    assert manifest["trigger"] == "api"
    (line,) = served.audited(answer.headers["x-request-id"])
    assert (line["operation"], line["outcome"], line["by"]["subject"]) == ("backup", "ok", "ada")
    before = served.ask("POST", "/api/backup/pre-recovery-backup")
    assert before.status == 201 and set(MADE.split()) <= set(before.json)


def test_restore_brings_the_rows_back(serve):
    served = serve()
    served.made()
    served.write("second")
    tested = served.ask("POST", "/api/backup/test-recovery/latest")
    assert set(TESTED.split()) <= set(tested.json) and tested.json["canRecover"] is True
    assert served.rows() == ["first", "second"]
    answer = served.ask("POST", RESTORE)
    assert answer.status == 200 and set(RESTORED.split()) <= set(answer.json)
    assert set(DETAILS.split()) <= set(answer.json["details"])
    assert answer.json["details"]["preRecoveryBackupCreated"] and answer.json["details"]["databaseReplaced"]
    assert served.rows() == ["first"]
    kept = pathlib.Path(answer.json["preRecoveryBackupPath"]).name
    assert served.ask("POST", f"/api/backup/restore/{kept}?confirmRestore=true").status == 200
    assert served.rows() == ["first", "second"]


@pytest.mark.parametrize("headers", [(), LATER])
def test_restore_has_to_be_confirmed(serve, headers):
    served = serve()
    served.made()
    served.write("second")
    for query in ("", "?confirmRestore=false"):
        answer = served.ask("POST", f"/api/backup/restore/latest{query}", headers=headers)
        line = refused(served, answer, 409, "not_confirmed")
        assert line["by"]["subject"] == "ada"
    assert served.rows() == ["first", "second"]


def test_damaged_backup_is_not_restored(serve):
    served = serve()
    name = served.made()
    damage(served, name)
    served.write("second")
    tested = served.ask("POST", f"/api/backup/test-recovery/{name}")
    assert tested.status == 200 and (tested.json["canRecover"], tested.json["backupValid"]) == (False, False)
    assert "SHA-256" in tested.json["errorMessage"] and str(served.place) not in tested.json["errorMessage"]
    validated = served.ask("POST", f"/api/backup/validate/{name}")
    assert validated.status == 200 and validated.json["isValid"] is False and validated.json["errors"]
    refused(served, served.ask("POST", f"/api/backup/restore/{name}?confirmRestore=true"), 422, "backup_invalid")
    assert served.rows() == ["first", "second"]


def test_backup_that_was_never_verified_is_not_restored(serve):
    served = serve()
    name = served.made()
    (served.backups() / "shop-by-hand.db").write_bytes((served.backups() / name).read_bytes())
    served.write("second")
    answer = served.ask("POST", "/api/backup/restore/shop-by-hand.db?confirmRestore=true")
    refused(served, answer, 409, "backup_unverified")
    assert served.rows() == ["first", "second"]
    validated = served.ask("POST", f"/api/backup/validate/{name}?level=quick").json
    assert (validated["isValid"], validated["level"]) == (True, "quick")


def test_second_operation_is_told_that_another_runs(serve):
    served = serve()
    served.made()
    with locked(served):
        answer = served.ask("POST", RESTORE)
        refused(served, answer, 423, "busy")
        assert int(answer.headers["retry-after"]) > 0
        assert served.ask("GET", "/api/backup/health").status == 200, "looking waits for nobody"
    assert served.ask("POST", RESTORE).status == 200


def test_full_disk_is_told(serve):
    served = serve(begin=False)
    served.engine["defaults"]["disk_limit_percent"] = 0.001
    served.configure()
    served.start()
    refused(served, served.ask("POST", "/api/backup"), 507, "no_space")
    assert [name for name in os.listdir(served.backups()) if name.endswith(".db")] == []


def test_cleanup_and_deletion_keep_what_they_must(serve):
    served = serve()
    names = []
    for number in range(4):
        served.write(str(number))
        names.append(served.made(pinned=number == 1))
    refused(served, served.ask("DELETE", f"/api/backup/{names[1]}"), 409, "not_confirmed")
    gone = served.ask("DELETE", f"/api/backup/{names[0]}")
    assert gone.status == 200 and gone.json["fileName"] == names[0]
    assert not (served.backups() / names[0]).exists()
    answer = served.ask("POST", "/api/backup/cleanup?retentionDays=7&maxBackups=1")
    assert answer.status == 200 and [row["fileName"] for row in answer.json["removed"]] == [names[2]]
    assert sorted(row["fileName"] for row in served.ask("GET", "/api/backup").json) == [names[1], names[3]]


def test_operation_is_asked_for_later(serve):
    served = serve()
    made = polled(served, served.ask("POST", "/api/backup", headers=LATER))
    assert (made["status"], made["requestedBy"], made["outcome"]) == ("succeeded", "ada", "ok")
    assert set(MADE.split()) <= set(made["result"])
    served.write("second")
    done = polled(served, served.ask("POST", RESTORE, headers=LATER))
    assert done["result"]["details"]["databaseReplaced"] is True and served.rows() == ["first"]
    with locked(served):
        failed = polled(served, served.ask("POST", RESTORE, headers=LATER))
    assert failed["status"] == "failed" and (failed["error"]["status"], failed["error"]["error_code"]) == (423, "busy")
    listed = served.ask("GET", "/api/backup/operations").json
    assert [row["operation"] for row in listed] == ["restore", "restore", "backup"]
    assert {row["requestedBy"] for row in listed} == {"ada"}
    refused(
        served, served.ask("GET", "/api/backup/operations/20200101T000000Z-000000000000"), 404, "operation_not_found"
    )


def _begun(served, path):
    """A request for the operation, begun and waiting for the lock of the name: (connection, the operation's id)."""
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=PATIENCE)
    connection.request("POST", path, headers={"Authorization": f"Bearer {served.token()}"})

    def running():
        directory = served.backups() / ".state" / "shop.operations"
        found = []
        for file in directory.glob("*.json"):
            with contextlib.suppress(ValueError):
                found += [row["id"] for row in [json.loads(file.read_text())] if row["status"] == "running"]
        return found

    return connection, wait_for(running)[0]


@pytest.mark.parametrize("what", ["the client goes away", "the service is killed", "the service is stopped"])
def test_restore_goes_on_without_whoever_asked(serve, what):
    served = serve(begin=False)
    served.engine["defaults"]["busy_timeout"] = PATIENCE
    served.configure()
    served.start()
    served.made()
    served.write("second")
    with locked(served):
        connection, request = _begun(served, RESTORE)
        assert served.rows() == ["first", "second"]
        if what == "the client goes away":
            connection.close()
        elif what == "the service is killed":
            served.stop(signal.SIGKILL)
        else:
            # It waits for the answer that is under way; see below that the answer comes.
            served.process.send_signal(signal.SIGTERM)
    if what == "the service is stopped":
        assert connection.getresponse().status == 200
        assert served.process.wait(PATIENCE) == -signal.SIGTERM
    if what != "the client goes away":
        served.start()

    def ended():
        found = served.ask("GET", f"/api/backup/operations/{request}")
        return found.json if found.status == 200 and found.json["status"] != "running" else None

    found = wait_for(ended)
    assert (found["status"], found["operation"]) == ("succeeded", "restore"), found
    assert found["result"]["details"]["databaseReplaced"] is True
    assert served.rows() == ["first"]
    (line,) = [row for row in served.audit() if row["operation"] == "restore"]
    assert (line["outcome"], line["by"]["subject"], line["by"]["request"]) == ("ok", "ada", request)


def test_gate_that_is_killed_leaves_an_interrupted_operation(serve):
    served = serve(begin=False)
    served.engine["defaults"]["busy_timeout"] = PATIENCE
    served.configure()
    served.start()
    served.made()
    with locked(served):
        connection, request = _begun(served, RESTORE)
        for process in pathlib.Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                words = (process / "cmdline").read_bytes().split(b"\0")
                if b"gate" in words and str(served.place / "engine.json").encode() in words:
                    os.kill(int(process.name), signal.SIGKILL)
        answer = connection.getresponse()
        assert answer.status == 502 and json.loads(answer.read())["error_code"] == "gate_gone"
    found = served.ask("GET", f"/api/backup/operations/{request}").json
    assert found["status"] == "interrupted"
    assert served.ask("POST", RESTORE).status == 200, "the next one is not held up"


def test_gate_that_does_not_answer_is_told(serve):
    served = serve(begin=False, metrics="open")
    served.settings["databases"][0]["gate"] = str(served.place / "nobody.sock")
    served.configure()
    served.start()
    assert served.ask("GET", "/health", token=None).json["databases"] == {"shop": "unknown"}
    assert "digitalme_backup_api_requests_total" in served.ask("GET", "/metrics", token=None).body.decode()
    asked = (("GET", "", ()), ("POST", "", ()), ("POST", "", LATER), ("GET", "/download/latest", ()))
    for method, path, headers in asked:
        answer = served.ask(method, "/api/backup" + path, headers=headers)
        assert (answer.status, answer.json["error_code"]) == (503, "gate_unreachable"), (method, path, headers)
    wait_for(lambda: "has no audit line" in served.log())


def test_audit_log_is_the_record_of_an_operation(serve):
    """What the application has written into its own directory makes nothing of it, and takes nothing away."""
    served = serve()
    answer = served.ask("POST", "/api/backup")
    request = answer.headers["x-request-id"]
    path = served.backups() / ".state" / "shop.operations" / f"{request}.json"
    kept = json.loads(path.read_text())
    for planted in ({**kept, "status": "failed"}, {**kept, "result": {}}, {**kept, "id": {}}):
        path.write_text(json.dumps(planted))
        found = served.ask("GET", f"/api/backup/operations/{request}")
        assert (found.status, found.json["status"], found.json["requestedBy"]) == (200, "succeeded", "ada")
        assert served.ask("GET", "/health", token=None).json["databases"] == {"shop": "healthy"}


def test_gate_that_is_silent_keeps_nobody_waiting_after_the_first(tmp_path, monkeypatch):
    """Its user, who is the application, can stop it. The service has places for so many requests."""
    from backup_api import gate, known, problems, settings

    monkeypatch.setattr(gate, "LOOK_SECONDS", 0.2)
    asked = []
    place = str(tmp_path / "silent.sock")

    async def silent(reader, _writer):
        asked.append(await reader.readline())
        await reader.read()

    async def ask():
        async with await asyncio.start_unix_server(silent, place):
            shop = known.Known(gate.Gate(settings.Database(name="shop", gate=place)))
            answers = await asyncio.gather(*(shop.state() for _n in range(20)), return_exceptions=True)
            shop.gate.close()
            return answers

    answers = asyncio.run(asyncio.wait_for(ask(), PATIENCE))
    assert {(type(answer), answer.error_code) for answer in answers} == {(problems.Problem, "gate_unreachable")}
    assert len(asked) == 1, "each has waited for itself"


@pytest.mark.parametrize("name", ["my shop", "why?#x&y=z", "\u5546\u5e97", 'the "shop"', "100%41", "health"])
def test_name_with_any_character_is_told_as_an_address(serve, name):
    served = serve((name,))
    for headers in ((), LATER):
        answer = served.ask("POST", "/api/backup", headers=headers)
        assert answer.status in (201, 202), answer.body
        assert served.ask("GET", answer.headers["location"]).status == 200
    listed = served.ask("GET", "/api/backup").json
    assert {row["fileName"].rpartition("_")[0].rpartition("_")[0] for row in listed} == {name}
    file = urllib.parse.quote(listed[0]["fileName"])
    assert served.ask("GET", f"/api/backup/download/{file}").status == 200


def test_directory_that_somebody_has_filled_ends_no_other_database(serve):
    served = serve(("shop", "ledger"))
    served.made()
    (path,) = served.backups().glob("*.json")
    known = json.loads(path.read_text())
    for hour in range(10):
        name = f"shop_20260101_{hour:02d}0000.db"
        (served.backups() / name).write_bytes(b"")
        filled = {**known, "file": name, "stored_bytes": 0, "annotations": {"why": "x" * 3_000_000}}
        (served.backups() / f"{name}.json").write_text(json.dumps(filled))
    assert served.ask("GET", "/api/backup").json["error_code"] == "gate_unreachable"
    assert served.ask("GET", "/api/backup?database=ledger").status == 200


def test_answer_that_it_has_begun_waits_until_the_gate_has_the_request(tmp_path):
    """A service that is killed after that answer has lost nothing."""
    from backup_api import gate, known, operations, settings

    place, came = str(tmp_path / "slow.sock"), []

    async def serve_one(reader, writer):
        came.append(json.loads(await reader.readline()))
        writer.write(b'{"result": {}}\n')
        writer.close()

    class Request:
        id = "20261122T020000Z-0123456789ab"

        @staticmethod
        def by():
            return {}

    async def ask():
        shop = known.Known(gate.Gate(settings.Database(name="shop", gate=place)))
        real, connected = shop.gate._connect, asyncio.Event()

        async def connect():
            await connected.wait()
            return await real()

        shop.gate._connect = connect
        made = operations.Operations(type("Gauge", (), {"set": lambda _self, _value: None})())
        async with await asyncio.start_unix_server(serve_one, place):
            starting = asyncio.ensure_future(made.start(shop, Request, "backup"))
            for _turn in range(5):
                await asyncio.sleep(0)
            assert not starting.done(), "it was told as begun, and nobody had been asked"
            connected.set()
            await starting
            while made.running("shop"):
                await asyncio.sleep(0)
        assert [line["operation"] for line in came] == ["backup"]

    asyncio.run(asyncio.wait_for(ask(), PATIENCE))
