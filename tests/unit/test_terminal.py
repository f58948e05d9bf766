# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import io
import json
import os
import sys

import pytest
from engine import clock, errors, terminal

BACKUP = {
    "path": "/b/app_20261122_020000.db",
    "stored_bytes": 2048,
    "duration_seconds": 1.5,
    "method": "online",
    "verification": {"level": "full", "status": "ok"},
}


@pytest.mark.parametrize(
    "count, text",
    [
        (None, "-"),
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (5 * 1024**3, "5.0 GiB"),
        (1024**6, "1048576.0 TiB"),
    ],
)
def test_size_is_told_in_units_of_1024(count, text):
    assert terminal.size(count) == text


def test_json_answer_is_one_object_on_standard_output_and_nothing_else(capsys):
    terminal.done({"changed": True, "warnings": ["careful"], "path": "/\udcff\n"}, True, terminal.show_info)
    out, err = capsys.readouterr()
    assert json.loads(out) == {"changed": True, "warnings": ["careful"], "path": "/\udcff\n"}
    assert out.count("\n") == 1 and out.isascii() and err == ""


def test_text_answer_puts_warnings_on_standard_error(capsys):
    result = {"backup": BACKUP, "skipped_reason": None, "warnings": ["careful"]}
    terminal.done(result, False, terminal.show_backup)
    out, err = capsys.readouterr()
    assert "app_20261122_020000.db" in out and "2.0 KiB" in out and "full: ok" in out
    assert err == "warning: careful\n"


def test_failure_as_json_has_code_and_message(capsys):
    terminal.failed(errors.NoSpace("full", path="/b", needed_bytes=5), True, None)
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert (found["error_code"], found["needed_bytes"], err) == ("no_space", 5, "")
    assert found["msg"].startswith("/b: full. ")


def test_failure_as_text_goes_to_standard_error_with_its_steps_before_it(capsys):
    steps = [{"name": "check", "status": "ok", "seconds": 0.5, "detail": "sound\nand well"}]
    terminal.failed(errors.RestoreFailed("it broke", steps=steps, warnings=["careful"]), False, None)
    out, err = capsys.readouterr()
    assert "check" in out and "0.500 s" in out and len(out.splitlines()) == 1
    assert err.splitlines()[0] == "warning: careful"
    assert err.splitlines()[-1].startswith("error (restore_failed): it broke. ")


def test_hostile_names_cannot_move_the_cursor_or_break_the_line(capsys):
    row = {
        "created_at": None,
        "stored_bytes": 1,
        "status": "unverified",
        "file": "app\x1b[2J\n.db",
        "problems": ["of \x1b]0;title\x07"],
    }
    terminal.show_list({"backups": [row], "total": 1, "name": "app", "backup_dir": "/b\udcff\r"})
    out = capsys.readouterr().out
    assert len(out.splitlines()) == 3
    assert all(character.isprintable() for character in out.replace("\n", ""))


def test_text_that_is_no_utf8_can_be_put_out(monkeypatch):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="utf-8"))
    terminal.put("raw \udcff")
    sys.stdout.flush()
    assert raw.getvalue() == b"raw \\udcff" + os.linesep.encode()


@pytest.fixture
def seconds(monkeypatch):
    """seconds(number): what the clock that never goes back says."""
    now = [100.0]
    monkeypatch.setattr(clock, "monotonic", lambda: now[0])
    return lambda number: now.__setitem__(0, 100.0 + number)


def test_progress_is_silent_for_the_first_second(capsys, seconds):
    progress = terminal.Progress()
    for moment in (0.0, 0.5, 0.99):
        seconds(moment)
        progress("copy", 1, 2)
    assert capsys.readouterr().err == ""
    seconds(1.0)
    progress("copy", 1, 2)
    assert "copy:  50 %" in capsys.readouterr().err


def test_progress_is_not_told_more_often_than_can_be_read(capsys, seconds):
    progress = terminal.Progress()
    for step in range(200):
        seconds(1 + step / 100)
        progress("copy", step, 200)
    assert 5 <= capsys.readouterr().err.count("copy") <= 11


def test_progress_of_unknown_length_tells_the_seconds(capsys, seconds):
    progress = terminal.Progress()
    seconds(12)
    progress("verify", 0, 0)
    out, err = capsys.readouterr()
    assert "verify: 12 s" in err and out == ""


@pytest.mark.parametrize(
    "show, result, words",
    [
        (terminal.show_backup, {"backup": None, "skipped_reason": "it is young"}, ["no backup needed: it is young"]),
        (
            terminal.show_backup,
            {"backup": None, "skipped_reason": None, "plan": {"file": "x.db"}},
            ["would back up to x.db"],
        ),
        (
            terminal.show_retention,
            {"kept": [{"file": "a.db", "reasons": ["x", "y"]}], "removed": [], "held": "the clock", "freed_bytes": 0},
            ["kept", "a.db: x; y", "held: the clock", "0 removed, 0 B freed, 1 kept"],
        ),
        (
            terminal.show_health,
            {"checks": [{"status": "ok", "name": "disk", "message": "fine"}], "name": "app", "status": "healthy"},
            ["ok", "disk", "fine", "app: healthy"],
        ),
        (terminal.show_delete, {"file": "a.db", "freed_bytes": 2048}, ["a.db deleted, 2.0 KiB freed"]),
        (
            terminal.show_audit,
            {"records": [{}, {"by": {"user": "ann"}}], "torn": [3], "path": "/l", "lines": 3},
            ["ann", "3 lines, the chain is whole, 1 torn"],
        ),
        (
            terminal.show_validate,
            {"backups": [{"status": "ok", "seconds": 1.0, "file": "a.db", "adopted": True}]},
            ["ok", "a.db, adopted"],
        ),
    ],
)
def test_answers_for_people_say_what_matters(capsys, show, result, words):
    show(result)
    out = capsys.readouterr().out
    for word in words:
        assert word in out
