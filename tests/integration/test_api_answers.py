# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the filters make of the API's answers: types are checked, and whatever is shown is one printable line."""

from __future__ import annotations

import json

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.digitalme.backup.plugins.filter import api as filters
from ansible_collections.digitalme.backup.plugins.plugin_utils import api_answers, api_texts
from stand_in import FILE, OPERATION, RECOVERED, StandIn, ago, backup, problem


def _response(status, body=None, **headers):
    found = {"status": status, "url": "https://shop-17:5000/api/backup", **headers}
    return found if body is None else {**found, "json": body}


def _judged(status, code, detail, **more):
    return api_answers.judged(_response(status, problem(status, code, detail, **more)[2]), "admin")


# --- addresses -------------------------------------------------------------------------------------------------------


def test_address_has_every_part_escaped_and_leaves_out_what_is_not_given():
    base = "https://shop-17:5000/behind/a/proxy/"
    found = filters.api_url(base, "restore", "a b/../c?d#e%.db", database="x&y=z", confirmRestore="true")
    assert found == (
        "https://shop-17:5000/behind/a/proxy/api/backup/restore/a%20b%2F..%2Fc%3Fd%23e%25.db"
        "?database=x%26y%3Dz&confirmRestore=true"
    )
    assert filters.api_url("https://shop-17", database="") == "https://shop-17/api/backup"
    for local in ("http://127.0.0.1:5000", "http://[::1]:5000", "http://localhost:5000"):
        assert filters.api_url(local) == local + "/api/backup"


@pytest.mark.parametrize(
    ("base", "cause"),
    [
        ("http://shop-17:5000", "as plain text"),
        ("http://127.0.0.1.example.org", "as plain text"),
        ("https://ada:secret@shop-17", "more than host, port and path"),
        ("https://shop-17?x=1", "more than host, port and path"),
        ("shop-17:5000", "is no address"),
        ("https://", "is no address"),
        ("https://[::1", "is no address"),
        ("https://shop-17:many", "is no address"),
        ("ftp://shop-17", "is no address"),
        ("", "is no address"),
    ],
)
def test_address_that_is_none_or_not_safe_is_refused(base, cause):
    with pytest.raises(AnsibleFilterError) as caught:
        filters.api_url(base)
    assert cause in str(caught.value) and "secret" not in str(caught.value)


# --- answers ---------------------------------------------------------------------------------------------------------


def test_good_answer_is_of_the_type_that_was_asked_for():
    assert api_answers.judged(_response(200, {"a": 1}))["body"] == {"a": 1}
    assert api_answers.judged(_response(200, [1]), listed=True)["body"] == [1]
    for response, listed in ((_response(200, [1]), False), (_response(200, {}), True), (_response(204), False)):
        found = api_answers.judged(response, listed=listed)
        assert not found["ok"] and found["uncertain"] and "not as the API does" in found["problem"]
        assert found["body"] == ([] if listed else {})


@pytest.mark.parametrize(
    ("status", "code", "more", "said"),
    [
        (401, "invalid_token", {}, "digitalme_backup_api_jwt_*"),
        (401, "invalid_token", {"next_step": "Sign again."}, "Sign again. Key, algorithm"),
        (403, "wrong_scope", {}, "must have the scope 'admin'"),
        (404, "backup_not_found", {}, "-e backup=FILE"),
        (409, "not_confirmed", {}, "refuses this as things are there"),
        (423, "busy", {}, "Wait until the operation"),
        (423, "busy", {"next_step": "Ask Bob."}, "(HTTP 423). Ask Bob."),
        (429, "too_many_requests", {}, "Wait, then run it again"),
        (507, "no_space", {}, "Free space on the host"),
        (500, "failed", {}, "journal of the API"),
        (418, "odd", {}, "journal of the API"),
    ],
)
def test_problem_details_become_cause_and_next_step(status, code, more, said):
    found = _judged(status, code, "the cause.", **more)
    assert not found["ok"] and found["error_code"] == code
    assert f"the cause ({code}) (HTTP {status}). " in found["problem"] and said in found["problem"]
    assert not found["uncertain"], "the API itself has said that it did not"


def test_what_a_proxy_or_nobody_answers_is_uncertain():
    gone = problem(502, "gate_gone", "the operation ended without an answer")[2]
    for response in (
        _response(502, gone),
        _response(504),
        _response(500, ["x"]),
        _response(-1, msg="Connection reset"),
        {},
        {"status": "200"},
    ):
        assert api_answers.judged(response)["uncertain"], response
    found = api_answers.judged(_response(-1, msg="Invalid header value b'Bearer abc.def.ghi'"))
    assert "abc" not in found["problem"] and "does not answer" in found["problem"]
    assert "digitalme_backup_api_ca" in api_answers.judged(_response(-1, msg="certificate verify failed"))["problem"]
    assert "no token is sent" in api_answers.judged(_response(302, location="https://elsewhere"))["problem"]


@pytest.mark.parametrize(
    ("after", "again"),
    [
        ("0", True),
        ("120", True),
        ("121", False),
        ("-1", False),
        ("Wed, 21 Oct 2026", False),
        ("9" * 99, False),
        ("", False),
    ],
)
def test_wait_that_the_api_asks_for_is_kept_where_it_is_short(after, again):
    found = api_answers.judged(_response(429, {}, retry_after=after))
    assert found["again"] == again and found["wait"] == (int(after) if again else 0)
    assert not api_answers.judged(_response(423, {}, retry_after=after))["again"]


def test_end_of_an_operation_is_not_concluded_from_silence():
    def ended(response):
        return filters.api_answer(response)["ended"]

    for status in (-1, 429, 500, 502, 503):
        assert not ended(_response(status, {"error_code": "gate_unreachable"})), status
    assert not ended(_response(200, {"status": "running"}))
    for state in ("succeeded", "failed", "interrupted", None):
        assert ended(_response(200, {"status": state}))
    assert all(ended(_response(status, {})) for status in (401, 403, 404))


@pytest.mark.parametrize("identity", ["../../x", "a/b", "", ".x", "x" * 129, 7, None, "a\n", "{{ 1 }}"])
def test_id_of_an_operation_that_leads_elsewhere_is_not_taken(identity):
    assert filters.api_answer(_response(202, {"operationId": identity}))["operation"] == ""
    assert filters.api_answer(_response(202, {"operationId": OPERATION}))["operation"] == OPERATION


def test_operations_that_run_are_shown_and_nothing_else():
    rows = [{"operation": "restore", "operationId": "a", "status": "running"}, {"status": "failed"}, 7]
    assert filters.api_answer(_response(200, rows), listed=True)["running"] == "restore a"
    assert filters.api_answer(_response(-1), listed=True)["running"] == "nothing"


# --- which backup ----------------------------------------------------------------------------------------------------


def _chosen(rows, reference):
    found = filters.api_backup(rows, reference)
    return found["backup"].get("fileName"), found["problem"]


def test_latest_is_the_newest_valid_regular_backup_in_whatever_order_they_come():
    rows = [
        backup("old.db", 9),
        backup("good.db", 5),
        backup("older.db", 7),
        backup("bad.db", 1, isValid=False),
        backup("odd.db", 1, isValid="true"),
        backup("kept.db", 1, kind="preRecovery"),
        backup("undated.db", 1, createdAt=None),
        backup("wrong.db", 1, createdAt="yesterday"),
        {"fileName": "bare.db"},
    ]
    for reference in ("latest", "latest_backup.db", ""):
        assert _chosen(rows, reference) == ("good.db", "")
    assert _chosen(rows, ago(6)) == ("older.db", "")
    assert _chosen(rows, "kept.db") == ("kept.db", "")
    assert _chosen(rows, "of_another_page.db") == ("of_another_page.db", "")
    assert "from 2001-01-01T00:00:00.000Z or before among the 9" in _chosen(rows, "2001-01-01")[1]


@pytest.mark.parametrize("name", ["../../etc/passwd", "a/b.db", "a\\b.db", ".hidden", "a\nb", "", 7, ["x"], "x" * 256])
def test_name_that_leads_elsewhere_is_neither_taken_from_the_list_nor_from_the_operator(name):
    assert _chosen([backup(name, 1), 7], "latest") == (None, _chosen([], "latest")[1])
    if name:
        found = _chosen([backup(name, 1)], name)
        assert found[0] is None and "neither 'latest'" in found[1] or str(name) == "7" or name == ["x"]


# --- the plan and its end --------------------------------------------------------------------------------------------


def _plan(info=None, tested=None, row=None, response=None):
    return filters.api_plan(
        row or backup(),
        "https://shop-17",
        "shop",
        StandIn.info(FILE) if info is None else info,
        StandIn.tested() if tested is None else tested,
        response or {},
    )


def test_plan_says_what_would_be_lost_and_what_is_needed():
    text = "\n".join(_plan()["lines"])
    for said in ("0 d 02 h 00 min: what was", f"{FILE}, valid", "3.0 MiB needed, 10.0 GiB free", "about 00:00:00.300"):
        assert said in text
    assert "its connections see" in text and "CLOCK" not in text
    needs = {"requirements": {"requiresApplicationStop": True}}
    assert "MUST BE STOPPED" in "\n".join(_plan(tested=StandIn.tested(**needs))["lines"])
    assert "there is nothing to keep" in "\n".join(
        _plan(info=StandIn.info(FILE, preRecoveryBackupRecommended=False))["lines"]
    )
    assert "in the FUTURE" in "\n".join(_plan(row=backup(hours=-2))["lines"])
    assert "CLOCK" in "\n".join(_plan(response={"date": "Sun, 22 Nov 2020 02:00:00 GMT"})["lines"])


def test_plan_is_of_one_backup_of_one_database_behind_one_address():
    row = backup()
    first = _plan(row=row)["id"]
    assert _plan(row=row)["id"] == first
    others = [_plan(row={**row, key: "x"})["id"] for key in ("createdAt", "sha256", "sizeBytes", "fileName")]
    others.append(filters.api_plan(row, "https://shop-18", "shop", {}, {}, {})["id"])
    others.append(filters.api_plan(row, "https://shop-17", "wiki", {}, {}, {})["id"])
    assert len({first, *others}) == 7


@pytest.mark.parametrize("value", [False, None, "true", 1])
def test_rehearsal_that_does_not_say_true_is_no_permission(value):
    found = _plan(tested=StandIn.tested(canRecover=value, sufficientSpace=False))
    assert found["problem"].startswith("It cannot be restored: there is no room for it. Nothing was changed")


@pytest.mark.parametrize("junk", [[], "x", 7, None, {"backupInfo": 7, "requirements": []}, {"recommendations": "x"}])
def test_answers_of_another_shape_break_nothing(junk):
    shape = junk if isinstance(junk, dict) else {"backupInfo": junk, "requirements": junk, "recommendations": junk}
    assert _plan(info=shape, tested={**StandIn.tested(), **shape, "testDuration": junk})["lines"]
    assert api_texts.failure(junk)
    answer = {"ok": True, "status": 200, "body": {"status": "succeeded", "result": {**RECOVERED, "details": junk}}}
    assert filters.api_outcome(answer, "h", "", {}, OPERATION)["lines"]
    health = {"isHealthy": False, "issues": junk, "backupsByDate": junk}
    known = {"health": health, "statistics": health}
    assert filters.api_health(["h"], {"h": {"v": known}}, "v")[0]["what"].startswith("it does not say what")


def _outcome(body, operation=OPERATION, status=200, ok=True, said=""):
    return filters.api_outcome({"ok": ok, "status": status, "body": body, "problem": said}, "h", "shop", {}, operation)


@pytest.mark.parametrize(
    ("found", "state", "said"),
    [
        (_outcome({"status": "succeeded", "result": RECOVERED}), "succeeded", ""),
        (_outcome(RECOVERED, operation=""), "succeeded", ""),
        (_outcome({"status": "succeeded", "result": {"success": "true"}}), "failed", "it did not succeed"),
        (_outcome({}, operation=""), "failed", "it did not succeed"),
        (_outcome({}, operation="", status=202), "unknown", "gives no id"),
        (_outcome({"status": "failed"}), "failed", "it does not say why."),
        (_outcome({"status": "failed", "message": "a disk"}), "failed", "a disk."),
        (_outcome({"status": "interrupted"}), "interrupted", "whole, with the old content or the new"),
        (_outcome({"status": "running"}), "running", f"digitalme_backup_api_operation={OPERATION}"),
        (_outcome({"status": "odd"}), "unknown", "does not say what became of it"),
        (_outcome({}, ok=False, status=404, said="It is gone."), "unknown", "It is gone. Nothing is begun"),
    ],
)
def test_end_is_a_success_only_where_the_host_says_so(found, state, said):
    assert found["state"] == state and said in found["problem"]
    assert bool(found["lines"]) == (state == "succeeded")


@pytest.mark.parametrize("length", [0, 5000])
def test_whatever_the_host_sends_is_shown_as_printable_lines(length):
    evil = "\x1b[2J\r\n\u202e" + "x" * length
    body = dict.fromkeys(("detail", "next_step", "error_code", "title"), evil)
    shown = [api_answers.judged(_response(500, body, url=evil))["problem"], api_texts.failure({**body, "steps": [7]})]
    shown += _plan(
        info={"recommendations": [evil] * 99, "backupInfo": {"formattedSize": evil}},
        tested={"canRecover": False, "errorMessage": evil, "testDuration": evil},
    )["lines"]
    known = {
        "health": {"isHealthy": False, "status": evil, "issues": [evil] * 99},
        "statistics": {"validBackups": evil},
    }
    shown += filters.api_health(["h"], {"h": {"v": known}}, "v")[0]["lines"]
    result = {**RECOVERED, "preRecoveryBackupPath": evil, "warnings": [evil], "duration": evil}
    shown += _outcome({"status": "succeeded", "result": result})["lines"]
    assert [line for line in shown if not line.isprintable() or len(line) > 1000] == []
    assert "\\x1b" in json.dumps(shown) and len(shown) < 70


def test_host_is_protected_only_where_it_says_true():
    for value, good in ((True, True), ("true", False), (1, False), (None, False)):
        known = {"health": {"isHealthy": value, "status": "healthy"}, "statistics": {}, "database": "shop"}
        (row,) = filters.api_health(["h"], {"h": {"v": known}}, "v")
        assert (row["protected"], row["database"]) == (good, "shop")
    (row,) = filters.api_health(["h"], {}, "v")
    assert (row["protected"], row["state"], row["what"]) == (False, "failed", "nothing was asked of it")
