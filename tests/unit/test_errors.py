# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import errno
import json
import os

import pytest
from engine import errors

KINDS = sorted(errors.CODES.values(), key=lambda kind: kind.error_code)
# The exit codes of the command line's contract.
BY_EXIT = {
    2: {"usage", "config_invalid", "name_invalid", "backup_dir_invalid"},
    3: {"backup_not_found", "backup_invalid", "verification_failed"},
    4: {"not_confirmed", "other_database", "retention_brake"},
    5: {"no_space"},
    6: {"database_busy", "in_use", "busy"},
    7: {"rolled_back"},
    8: {"database_encrypted", "unverifiable"},
}


def _all_kinds(root=errors.BackupError):
    return [root] + [kind for child in root.__subclasses__() for kind in _all_kinds(child)]


def test_codes_are_one_for_each_class():
    codes = [kind.error_code for kind in _all_kinds()]
    assert len(codes) == len(set(codes)) == len(errors.CODES)


def test_codes_have_the_exit_status_of_the_contract():
    expected = {code: status for status, codes in BY_EXIT.items() for code in codes}
    assert {code: kind.exit_code for code, kind in errors.CODES.items()} == {
        code: expected.get(code, 1) for code in errors.CODES
    }


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.error_code)
def test_message_names_file_cause_and_next_step(kind):
    error = kind("the cause", path="/some/where.db", hint=None)
    assert error.message.startswith("/some/where.db: the cause. ")
    assert error.message.endswith(kind.hint) and kind.hint.endswith(".")
    assert str(error) == error.message


def test_hint_of_the_call_goes_before_that_of_the_class():
    assert errors.NoSpace("full", hint="Buy a disk.").message == "full. Buy a disk."
    assert errors.NoSpace("full").message.endswith(errors.NoSpace.hint)


def test_result_carries_code_message_path_and_details():
    result = errors.Busy("taken", path="/x", holder={"pid": 1}).as_result()
    assert result["error_code"] == "busy" and result["path"] == "/x" and result["holder"] == {"pid": 1}
    assert result["msg"].startswith("/x: taken")
    assert "path" not in errors.Busy("taken").as_result()


@pytest.mark.parametrize("name", ["two\nlines", "tab\t", "bell\x07", "raw\udcff", "\x1b[31mred"])
def test_show_gives_one_printable_line(name):
    shown = errors.show(name)
    assert shown.isprintable()
    assert shown.encode("utf-8")


def test_show_leaves_what_can_be_printed():
    assert errors.show("/srv/ä b'c\".db") == "/srv/ä b'c\".db"


def test_message_with_an_undecodable_path_can_be_printed_and_serialised():
    result = errors.BackupInvalid("x", path="/srv/\udcff\n.db").as_result()
    assert result["msg"].isprintable()
    assert json.loads(json.dumps(result))["path"] == "/srv/\udcff\n.db"


@pytest.mark.parametrize(
    "number, code",
    [
        (errno.ENOSPC, "no_space"),
        (errno.EDQUOT, "no_space"),
        (errno.EFBIG, "no_space"),
        (errno.EACCES, "permission_denied"),
        (errno.EPERM, "permission_denied"),
        (errno.EROFS, "read_only"),
        (errno.EIO, "io_error"),
    ],
)
def test_os_error_becomes_the_error_of_its_number(number, code):
    error = errors.from_os_error(OSError(number, os.strerror(number)), "/the/path")
    assert error.error_code == code
    assert error.path == "/the/path" and os.strerror(number) in error.message


def test_os_error_about_an_open_file_names_no_number():
    assert errors.from_os_error(OSError(errno.EDQUOT, "x", 5), "/the/path").path == "/the/path"


def test_os_error_names_the_file_that_the_system_named():
    assert errors.from_os_error(OSError(errno.EIO, "x", b"/raw/\xff"), "/other").path == "/raw/\udcff"
    assert errors.from_os_error(OSError(errno.EACCES, "x", 5), "/other").path == "/other"  # 5 is a descriptor.


def test_what_sqlite_says_of_a_damaged_file_commands_no_terminal():
    said = errors.DatabaseCorrupt("malformed (\x06\x1b[2J\udcff)\nsecond line").message
    assert "(\\x06\\x1b[2J\\udcff)\nsecond line" in said
