# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The routes: their fields to the letter, what is no file of the catalog, bodies and clients that are not in order."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import socket
import subprocess

import pytest
from served import PATIENCE, wait_for
from test_access import refused

# The words of the operator's runbook; more may be added, none may go.
FIELDS = {
    "/api/backup/health": "isHealthy totalBackups lastBackupTime timeSinceLastBackup totalBackupSizeBytes "
    "formattedTotalSize issues",
    "/api/backup/statistics": "totalBackups validBackups invalidBackups formattedTotalSize isHealthy backupsByDate",
    "/api/backup/recovery-info/latest": "backupInfo canRecover requirements recommendations "
    "preRecoveryBackupRecommended",
}
BACKUP = "fileName filePath sizeBytes formattedSize createdAt isValid"
REQUIREMENTS = (
    "backupSizeBytes requiredFreeSpaceBytes availableFreeSpaceBytes requiresApplicationStop estimatedDuration"
)
UTC = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"
SPAN = r"\d\d:\d\d:\d\d\.\d{3}"


@pytest.mark.parametrize("path", FIELDS)
def test_answers_have_the_fields_of_the_runbook(shop, path):
    answer = shop.ask("GET", path)
    assert answer.status == 200 and set(FIELDS[path].split()) <= set(answer.json), answer.body


def test_list_is_an_array_with_the_newest_first(shop):
    answer = shop.ask("GET", "/api/backup", token=shop.token(scope="read"))
    (row,) = [row for row in answer.json if row["fileName"] == shop.first]
    assert set(BACKUP.split()) <= set(row)
    assert row["isValid"] is True and re.fullmatch(UTC, row["createdAt"])
    path = shop.backups() / shop.first
    assert (row["filePath"], row["sizeBytes"]) == (str(path), path.stat().st_size)
    assert row["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    manifest = shop.ask("GET", f"/api/backup/{shop.first}").json
    assert manifest == json.loads((shop.backups() / f"{shop.first}.json").read_text())


def test_list_is_filtered_and_paged(serve):
    served = serve()
    names = []
    for number in range(3):
        served.write(str(number))
        names.append(served.made(pinned=number == 0))
    newest = [row["fileName"] for row in served.ask("GET", "/api/backup").json]
    assert newest == names[::-1]
    first = served.ask("GET", "/api/backup?pageSize=2")
    assert [row["fileName"] for row in first.json] == newest[:2] and first.headers["x-total-count"] == "3"
    assert first.headers["link"] == '</api/backup?pageSize=2&page=2>; rel="next"'
    second = served.ask("GET", "/api/backup?pageSize=2&page=2")
    assert [row["fileName"] for row in second.json] == newest[2:] and 'rel="prev"' in second.headers["link"]
    since = first.json[0]["createdAt"]
    assert [row["fileName"] for row in served.ask("GET", f"/api/backup?since={since}").json] == newest[:1]
    assert served.ask("GET", "/api/backup?status=invalid").json == []
    (served.backups() / newest[0]).write_bytes(b"")
    served.made()
    assert [row["fileName"] for row in served.ask("GET", "/api/backup?status=invalid").json] == newest[:1]


def test_several_databases_are_told_apart(serve):
    served = serve(("shop", "ledger"))
    assert served.ask("POST", "/api/backup?database=ledger").json["fileName"].startswith("ledger_")
    assert served.ask("GET", "/api/backup").json == [], "the first one is the default"
    assert len(served.ask("GET", "/api/backup?database=ledger").json) == 1
    refused(served, served.ask("GET", "/api/backup?database=other"), 404, "database_not_configured")
    health = served.ask("GET", "/health", token=None)
    assert health.json == {"status": "unhealthy", "databases": {"shop": "unhealthy", "ledger": "healthy"}}


def test_state_of_the_service_tells_no_path(shop):
    answer = shop.ask("GET", "/health", token=None)
    assert answer.status == 200 and str(shop.place) not in answer.body.decode() and ".db" not in answer.body.decode()


def test_backup_that_others_make_is_seen_at_once(serve):
    served = serve()
    assert served.ask("GET", "/api/backup").json == []
    words = [*served.gate("shop")[:6], "backup", "--name", "shop", "--config", str(served.place / "engine.json")]
    subprocess.run(words, check=True, capture_output=True)
    assert wait_for(lambda: served.ask("GET", "/api/backup").json)
    assert served.ask("GET", "/api/backup/statistics").json["totalBackups"] == 1


# --- file names ------------------------------------------------------------------------------------------------------

BAD_NAMES = {
    "of the parent": "..%2f..%2fengine.json",
    "of the parent, plain": "../engine.json",
    "absolute": "%2Fetc%2Fpasswd",
    "with a NUL": "shop%00.db",
    "with a line break": "shop%0a.db",
    "of a lock": ".state",
    "of the manifest": None,
    "of a time": "2099-01-01T00:00:00Z",
    "4 KB long": "x" * 4096,
    "not there": "shop_20200101_000000.db",
    "of another name": "ledger_20200101_000000.db",
    "no text": "%ff%fe",
}


@pytest.mark.parametrize("why", BAD_NAMES)
@pytest.mark.parametrize(
    ("method", "route"),
    [("GET", ""), ("GET", "download/"), ("POST", "test-recovery/"), ("POST", "restore/"), ("DELETE", "")],
)
def test_name_that_is_no_backup_is_not_found(shop, method, route, why):
    name = BAD_NAMES[why] or f"{shop.first}.json"
    before = shop.rows(), sorted(os.listdir(shop.backups()))
    answer = shop.ask(method, f"/api/backup/{route}{name}?confirmRestore=true")
    assert answer.status in ((404, 405) if "plain" in why or "%2f" in name.lower() else (404,)), answer.body
    refused(shop, answer, answer.status, answer.json["error_code"])
    assert (shop.rows(), sorted(os.listdir(shop.backups()))) == before


def test_link_in_the_backup_directory_is_not_followed(serve):
    served = serve()
    name = served.made()
    secret = served.place / "secret"
    secret.write_text("root:x:0:0")
    link = "shop_20990101_000000.db"
    (served.backups() / link).symlink_to(secret)
    row = next(row for row in served.ask("GET", "/api/backup").json if row["fileName"] == link)
    assert row["isValid"] is False
    answer = served.ask("GET", f"/api/backup/download/{link}")
    assert answer.status >= 400 and b"root:x" not in answer.body
    assert served.ask("POST", f"/api/backup/restore/{link}?confirmRestore=true").status == 422
    # One that takes the place of a backup after it was listed.
    (served.backups() / name).unlink()
    (served.backups() / name).symlink_to(secret)
    answer = served.ask("GET", f"/api/backup/download/{name}")
    assert answer.status >= 400 and b"root:x" not in answer.body


# --- handing out -----------------------------------------------------------------------------------------------------


def test_backup_is_handed_out_whole_and_in_parts(shop):
    content = (shop.backups() / shop.first).read_bytes()
    whole = shop.ask("GET", f"/api/backup/download/{shop.first}")
    assert (whole.status, whole.body) == (200, content)
    assert whole.headers["etag"] == f'"{hashlib.sha256(content).hexdigest()}"'
    assert shop.first in whole.headers["content-disposition"]
    parts = {
        "bytes=0-99": content[:100],
        "bytes=100-": content[100:],
        "bytes=-10": content[-10:],
        f"bytes=0-{len(content) + 5}": content,
    }
    for header, wanted in parts.items():
        part = shop.ask("GET", "/api/backup/download/latest", headers=[("Range", header)])
        assert (part.status, part.body) == (206, wanted), header
        assert part.headers["content-range"].endswith(f"/{len(content)}")
    for header in ("bytes=0-1,5-6", "lines=1-2", "bytes=-", "bytes=9-3"):
        assert shop.ask("GET", "/api/backup/download/latest", headers=[("Range", header)]).body == content
    beyond = shop.ask("GET", "/api/backup/download/latest", headers=[("Range", f"bytes={len(content)}-")])
    assert beyond.status == 416 and beyond.headers["content-range"] == f"bytes */{len(content)}"
    old = [("Range", "bytes=0-9"), ("If-Range", '"another"')]
    assert shop.ask("GET", "/api/backup/download/latest", headers=old).body == content
    lines = [row for row in shop.audit() if row["operation"] == "download"]
    assert lines and all(row["by"]["subject"] == "ada" and row["file"] == shop.first for row in lines)


# --- bodies and clients ----------------------------------------------------------------------------------------------

BAD_BODIES = {
    "no JSON": b"{",
    "a list": b"[]",
    "a number": b"17",
    "an unknown field": b'{"path": "/etc/passwd"}',
    "a wrong type": b'{"pinned": {"yes": true}}',
    "notes that are no text": b'{"annotations": {"a": 1}}',
    "not UTF-8": b"\xff\xfe",
    "nested deeply": b"[" * 20_000,
    "21 notes": json.dumps({"annotations": {str(n): "x" for n in range(21)}}).encode(),
    "an empty note": b'{"annotations": {"": "x"}}',
}


@pytest.mark.parametrize("why", BAD_BODIES)
def test_body_that_is_not_valid_is_refused(shop, why):
    count = len(os.listdir(shop.backups()))
    answer = shop.ask("POST", "/api/backup", body=BAD_BODIES[why], headers=[("Content-Type", "application/json")])
    assert answer.status in (400, 422), answer.body
    refused(shop, answer, answer.status, answer.json["error_code"])
    assert len(os.listdir(shop.backups())) == count


@pytest.mark.parametrize(
    "query",
    ["retentionDays=-1", "retentionDays=x", "maxBackups=1.5", "retentionDays=99999999999", "maxBackups="],
)
def test_number_that_is_none_is_refused(shop, query):
    refused(shop, shop.ask("POST", f"/api/backup/cleanup?{query}"), 422, "invalid_request")


def test_body_that_is_too_large_is_refused(shop):
    answer = shop.ask("POST", "/api/backup", body=b"x" * 100_000)
    refused(shop, answer, 413, "body_too_large")
    with contextlib.closing(socket.create_connection(("127.0.0.1", shop.port), PATIENCE)) as client:
        client.sendall(b"POST /api/backup HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        with contextlib.suppress(OSError):
            for _n in range(200):
                client.sendall(b"400\r\n" + b"x" * 1024 + b"\r\n")
        assert b" 413 " in client.recv(1000).split(b"\r\n")[0]


def test_body_whose_length_is_told_twice_is_refused(shop):
    with contextlib.closing(socket.create_connection(("127.0.0.1", shop.port), PATIENCE)) as client:
        head = b"POST /api/backup HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n"
        client.sendall(head + b"0\r\n\r\nGET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = b""
        while part := client.recv(4096):
            answer += part
    assert answer.count(b"HTTP/1.1 ") == 1 and b" 400 " in answer.split(b"\r\n")[0]


def test_methods_and_routes_that_are_not_there(shop):
    refused(shop, shop.ask("PUT", "/api/backup"), 405, "method_not_allowed")
    refused(shop, shop.ask("GET", "/api/other"), 404, "not_found")


def test_slow_client_is_hung_up_on(serve):
    served = serve(request_seconds=0.5)
    with contextlib.closing(socket.create_connection(("127.0.0.1", served.port), PATIENCE)) as client:
        client.sendall(b"GET /health HTTP/1.1\r\nHost:")
        assert client.recv(100) == b"", "a head that does not come"
    with contextlib.closing(socket.create_connection(("127.0.0.1", served.port), PATIENCE)) as client:
        client.sendall(b"POST /api/backup HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nx")
        assert b" 408 " in client.recv(1000).split(b"\r\n")[0], "a body that does not come"
    with contextlib.closing(socket.create_connection(("127.0.0.1", served.port), PATIENCE)) as client:
        assert client.recv(100) == b"", "nothing at all"
    with contextlib.closing(socket.create_connection(("127.0.0.1", served.port), PATIENCE)) as client:
        client.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = client.recv(4096)
        while b"}}" not in answer:
            answer += client.recv(4096)
        client.sendall(b"GET /health HTTP/1.1\r\nHost:")
        assert client.recv(100) == b"", "a second head that does not come"
    assert served.ask("GET", "/health", token=None).status == 200


def test_headers_that_browsers_obey_are_there(shop):
    headers = shop.ask("GET", "/api/backup").headers
    assert headers["x-content-type-options"] == "nosniff" and "default-src 'none'" in headers["content-security-policy"]
    assert "server" not in headers


def test_metrics_are_told_to_whom_the_settings_say(serve):
    assert serve().ask("GET", "/metrics").status == 404
    served = serve(("shop", "ledger"), metrics="token")
    assert served.ask("GET", "/metrics", token=None).status == 401
    served.made()
    text = served.ask("GET", "/metrics").body.decode()
    assert 'digitalme_backup_api_requests_total{method="POST",route="/api/backup",status="201"} 1.0' in text
    samples = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert all(any(f'"{name}"' in line for line in samples) for name in ("shop", "ledger"))
    heads = [line for line in text.splitlines() if line.startswith("# TYPE")]
    assert len(heads) == len(set(heads)), "a family is told of twice"
    assert str(served.place) not in text


MANIFESTS = {
    "a restore test that is none": {"restore_test": "yesterday"},
    "a time that is none": {"restore_test": {"status": "ok", "checked_at": 5, "seconds": 1e308}},
    "a check's time that is none": {"verification": {"status": "ok", "checked_at": []}},
    "a path that is none": {"source": {"path": ["x"]}},
    "a hash that is a header": {"sha256": "x\r\nSet-Cookie: a=b"},
}


def planted(served, changes):
    """Put these into the manifest of the one backup, as its application can; and wait until they are seen."""
    path = served.backups() / f"{served.first}.json"
    known = json.loads(path.read_text())
    path.write_text(json.dumps({**known, **changes}))
    key = next(iter(changes))
    wait_for(lambda: str(served.ask("GET", f"/api/backup/{served.first}").json[key]) != str(known.get(key)))


@pytest.mark.parametrize("why", MANIFESTS)
def test_manifest_that_others_have_written_ends_no_answer(serve, why):
    served = serve()
    served.first = served.made()
    planted(served, MANIFESTS[why])
    for path in ("/api/backup", *FIELDS, f"/api/backup/download/{served.first}"):
        answer = served.ask("GET", path)
        assert answer.status == 200 and "set-cookie" not in answer.headers, (path, answer.body)
    assert "Traceback" not in served.log()


def test_name_of_a_file_that_is_no_text_ends_no_answer(serve):
    served = serve()
    served.made()
    with open(os.fsencode(served.backups()) + b"/shop-\xff.db", "wb") as file:
        file.write(b"x")
    found = wait_for(lambda: [row for row in served.ask("GET", "/api/backup").json if "?" in row["fileName"]])
    assert found[0]["fileName"] == "shop-?.db"


def test_log_and_directory_that_cannot_be_read_hide_nothing_else(serve):
    served = serve()
    served.made()
    kept = served.backups() / ".state" / "shop.operations"
    kept.rename(served.place / "kept")
    kept.symlink_to(kept)
    assert len(served.ask("GET", "/api/backup/operations").json) == 1
    served.audit_log.rename(served.place / "log")
    served.audit_log.mkdir()
    assert [served.ask("GET", f"/api/backup{path}").status for path in ("", "/operations", "/health")] == [200] * 3
