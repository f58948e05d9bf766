# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Links that the owner of a directory puts there lead nowhere; those of an administrator are followed once.

`tests/faults/security` does it from outside, at every moment of an operation.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
import sys

import pytest
from engine import config, database, errors, files, manifest, operations, ownership
from engine.restore import swap

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="links are looked at on Linux only")
as_root = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can be led elsewhere")


@pytest.fixture
def live(tmp_path):
    path = tmp_path / "app" / "app.db"
    path.parent.mkdir()
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE t (x)")
    return path


@pytest.fixture
def link(tmp_path, live):
    """A link to the database."""
    made = tmp_path / "link.db"
    made.symlink_to(live)
    return made


@as_root
def test_root_does_not_write_a_database_where_a_link_leads(link):
    with pytest.raises(errors.PermissionDenied, match="a link was put in its place"):
        database.connect(str(link), mode="rw")


def test_database_in_a_directory_that_is_a_link_is_written(tmp_path, live):
    (tmp_path / "place").symlink_to(live.parent)
    with contextlib.closing(database.connect(str(tmp_path / "place" / "app.db"), mode="rw")) as connection:
        connection.execute("INSERT INTO t VALUES (1)")
    # SQLite takes up again what a closed connection of this process has left open for the sake of its locks.
    with contextlib.closing(database.connect(str(live), mode="rw")) as first:
        first.execute("BEGIN IMMEDIATE")
        database.connect(str(live), mode="rw").close()
        database.connect(str(live), mode="rw").close()


def test_administrators_links_to_the_database_and_the_backup_directory_are_followed(tmp_path, live, link):
    (tmp_path / "disk").mkdir()
    (tmp_path / "backups").symlink_to(tmp_path / "disk")
    where = {"database": str(link), "backup_dir": str(tmp_path / "backups"), "name": "app"}
    made = operations.backup(**where, disk_limit_percent=100)["backup"]["file"]
    assert (tmp_path / "disk" / made).is_file()
    for strategy in ("in_place", "replace"):
        with contextlib.closing(sqlite3.connect(live)) as connection, connection:
            connection.execute("INSERT INTO t VALUES (1)")
        assert operations.restore(**where, force=True, strategy=strategy)["changed"]
    assert link.is_symlink() and not live.is_symlink()


def _other(path):
    files.create_new(path + ".other")
    return path + ".other"


@pytest.mark.parametrize(
    "use",
    [
        lambda path: files.truncate(path, 0),
        files.sha256,
        files.sync,
        lambda path: files.open_append(path),
        lambda path: ownership.copy(path, _other(path)),
    ],
    ids=["truncate", "sha256", "sync", "open_append", "ownership"],
)
def test_link_in_place_of_a_file_of_ours_is_not_followed(link, live, use):
    before = live.read_bytes()
    with pytest.raises(OSError, match="link"):
        use(str(link))
    assert live.read_bytes() == before


@pytest.mark.parametrize(
    "use", [files.create_new, files.open_append, files.make_directory], ids=["create_new", "open_append", "directory"]
)
def test_state_directory_that_is_a_link_is_refused(tmp_path, use):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / ".state").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(NotADirectoryError, match="link"):
        use(str(tmp_path / ".state" / "app.lock"))
    assert os.listdir(tmp_path / "elsewhere") == []


@pytest.mark.parametrize("use", [files.create_new, files.remove, files.make_directory], ids=lambda use: use.__name__)
def test_directory_below_the_state_directory_that_is_a_link_is_refused(tmp_path, use):
    (tmp_path / "elsewhere" / "kept").mkdir(parents=True)
    (tmp_path / "elsewhere" / "kept" / "staged.db").touch()
    (tmp_path / ".state").mkdir()
    (tmp_path / ".state" / "scratch-app").symlink_to(tmp_path / "elsewhere")
    for inner in ("kept", "new"):
        with pytest.raises(OSError, match="link|No such"):
            use(str(tmp_path / ".state" / "scratch-app" / inner / "staged.db"))
    with pytest.raises(NotADirectoryError, match="link"):
        use(str(tmp_path / ".state" / "scratch-app" / "file"))
    assert [path.name for path in (tmp_path / "elsewhere").rglob("*")] == ["kept", "staged.db"]


@pytest.mark.parametrize("umask", [0o000, 0o777])
def test_new_files_and_directories_have_their_mode_under_any_umask(tmp_path, umask):
    before = os.umask(umask)
    try:
        files.create_new(str(tmp_path / "new"))
        os.close(files.open_append(str(tmp_path / "log")))
        files.make_directory(str(tmp_path / "place"))
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == {"new": 0o600, "log": 0o600, "place": 0o700}


def test_fifo_in_place_of_the_configuration_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "config.json")
    with pytest.raises(errors.ConfigError, match="not a regular file"):
        config.load(str(tmp_path / "config.json"), {})


def test_configuration_of_more_than_16_mib_is_refused(tmp_path):
    with open(tmp_path / "config.json", "wb") as large:
        large.truncate(config.LARGEST + 1)
    with pytest.raises(errors.ConfigError, match="larger than"):
        config.load(str(tmp_path / "config.json"), {})


def test_fifo_in_place_of_a_manifest_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "app.db.json")
    with pytest.raises(errors.BackupInvalid, match="not a regular file"):
        manifest.read(str(tmp_path / "app.db"))


def test_mode_of_a_manifest_makes_no_set_user_id_file(tmp_path, live):
    swap.dress(str(live), str(tmp_path / "app" / "gone.db"), {"mode": "6755", "uid": 0, "gid": 0})
    assert stat.S_IMODE(live.stat().st_mode) == 0o755


def test_file_that_cannot_be_put_in_place_leaves_no_partial_one(tmp_path):
    (tmp_path / "name").mkdir()
    with pytest.raises(OSError):
        files.write_atomically(str(tmp_path / "name"), b"x")
    assert os.listdir(tmp_path) == ["name"]
