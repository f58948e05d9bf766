# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What Windows has instead: the rules everywhere, what asks the system on Windows alone."""

from __future__ import annotations

import errno
import os

import pytest
from engine import catalog, errors, files, processes, session, windows
from engine import database as database_room

CASES = {
    "a:b": "it has a ':'",
    'a"b': "it has a '\"'",
    "what?": "it has a '?'",
    "a*": "it has a '*'",
    "<a>": "it has a '<'",
    "a|b": "it has a '|'",
    "app.": "it ends with a dot or a space",
    "app ": "it ends with a dot or a space",
    "nul": "it is the name of a device",
    "Com1": "it is the name of a device",
    "LPT\u00b2.old": "it is the name of a device",
    "conin$": "it is the name of a device",
}


@pytest.fixture
def on_windows(monkeypatch):
    """``on_windows(function, *arguments)``: as it goes where ``os.name`` is that of Windows."""

    def call(function, *arguments):
        with monkeypatch.context() as patch:
            patch.setattr(os, "name", "nt")
            return function(*arguments)

    return call


@pytest.mark.parametrize("name", CASES)
def test_name_that_no_file_can_have_is_refused_on_windows_with_the_reason(on_windows, name):
    assert windows.unusable(name) == CASES[name]
    with pytest.raises(errors.NameInvalid) as caught:
        on_windows(catalog.check_name, name)
    assert CASES[name] in caught.value.cause


@pytest.mark.parametrize("name", ["app", "app.v2", "com", "com10", "console", "nul_1", "lpt-1", "\u00fc b", "a'b"])
def test_other_names_are_taken_on_windows(on_windows, name):
    assert windows.unusable(name) is None
    on_windows(catalog.check_name, name)


def test_places_lie_below_program_data():
    assert windows.places({"PROGRAMDATA": "D:\\All users"}) == (
        "D:\\All users\\digitalme-backup\\config.json",
        "D:\\All users\\digitalme-backup\\audit.jsonl",
        "D:\\All users\\digitalme-backup\\backups",
    )
    assert windows.places({})[0] == "C:\\ProgramData\\digitalme-backup\\config.json"


@pytest.mark.parametrize(
    ("path", "uri"),
    [
        ("C:\\a b\\app.db", "file:/C:/a%20b/app.db?mode=ro"),
        ("C:/app#1?.db", "file:/C:/app%231%3F.db?mode=ro"),
        # Without the two slashes more SQLite takes the computer's name for that of the one it runs on.
        ("\\\\server\\share\\app.db", "file:////server/share/app.db?mode=ro"),
    ],
)
def test_uri_of_a_path_of_windows(monkeypatch, path, uri):
    with monkeypatch.context() as patch:
        patch.setattr(os, "name", "nt")
        assert database_room.uri(path, mode="ro") == uri


def test_holder_without_a_number_is_told_where_only_the_file_is_known(on_windows, monkeypatch):
    monkeypatch.setattr(windows, "is_open", lambda path: path.endswith("-wal"))
    found, unseen = on_windows(processes.holders, ["app.db", "app.db-wal"])
    assert ([row["pid"] for row in found], unseen) == ([None], 0)
    assert processes.describe(found) == "a process that Windows does not name"
    assert on_windows(processes.holders, ["app.db"]) == ([], 0)


def test_link_and_directory_are_refused_by_name(on_windows, tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "link").symlink_to("file")
    monkeypatch.setattr(files, "_NOFOLLOW", 0)
    for opening in (files.open_regular, files.open_append):
        with pytest.raises(OSError) as caught:
            on_windows(opening, str(tmp_path / "link"))
        assert caught.value.errno == errno.ELOOP
        os.close(on_windows(opening, str(tmp_path / "file")))
    os.close(on_windows(files.open_regular, str(tmp_path / "link"), True))
    with pytest.raises(OSError) as caught:
        windows.require_regular(str(tmp_path), True)
    assert caught.value.errno == errno.EINVAL


def test_only_a_reference_with_a_directory_tells_where_the_backups_are(tmp_path):
    for reference in ("latest", "app_20261122_020000.db", "2026-11-22T02:00:00Z"):
        assert session.where(reference, None, "app") == (None, "app")
    place = os.path.realpath(tmp_path)
    assert session.where(os.path.join(place, "app_20261122_020000.db"), None, "app") == (place, "app")


if os.name == "nt":

    def test_open_file_is_told_from_one_that_is_free_and_one_that_is_missing(database, holding):
        assert not windows.is_open(database) and not windows.is_open(database + "-wal")
        with holding(database, "SELECT count(*) FROM t"):
            assert windows.is_open(database)
        assert not windows.is_open(database)

    def test_access_is_copied(database, make_db, tmp_path):
        other = make_db(tmp_path / "other.db")
        windows.copy_access(database, other)
        with pytest.raises(FileNotFoundError):
            windows.copy_access(str(tmp_path / "none"), other)
