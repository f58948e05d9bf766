# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Links in a state directory, and below it, lead the engine nowhere; see also `test_links`."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sqlite3
import sys

import pytest
from engine import errors, files, links, operations, ownership
from engine.drill import exercise
from engine.restore import rehearse

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="links are looked at on Linux only")
only_root = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can be led elsewhere")


@pytest.fixture
def elsewhere(tmp_path):
    place = tmp_path / "elsewhere"
    place.mkdir()
    return place


@pytest.fixture
def backups(tmp_path):
    place = tmp_path / "backups"
    place.mkdir()
    return place


@pytest.mark.parametrize("linked", [".state", ".state/scratch-app", ".state/drill-app/inner"])
@pytest.mark.parametrize(
    "make", [files.create_new, files.make_directory, files.open_append], ids=lambda one: one.__name__
)
def test_nothing_is_made_behind_a_link_in_the_state_directory(backups, elsewhere, linked, make):
    link = backups / linked
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(elsewhere)
    with pytest.raises(NotADirectoryError) as refused:
        make(str(link / "new"))
    assert refused.value.filename == str(link)
    assert list(elsewhere.iterdir()) == []


@pytest.mark.parametrize("linked", [".state", ".state/scratch-app", ".state/drill-app/inner"])
def test_nothing_is_removed_or_given_away_behind_a_link_in_the_state_directory(backups, elsewhere, linked):
    link = backups / linked
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(elsewhere)
    (elsewhere / "inner").mkdir()
    for kept in (elsewhere / "kept", elsewhere / "inner" / "kept"):
        kept.write_text("x")
        with pytest.raises(NotADirectoryError):
            files.remove(str(link / kept.relative_to(elsewhere)))
        with pytest.raises(NotADirectoryError):
            files.truncate(str(link / kept.relative_to(elsewhere)), 0)
        assert kept.read_text() == "x"
    if os.geteuid() == 0:
        os.chown(backups, 4711, 4711)
        with pytest.raises(NotADirectoryError):
            ownership.give_back(str(backups), f"{linked}/inner")
        assert (elsewhere / "inner" / "kept").stat().st_uid == 0


@pytest.fixture
def _in_time():
    """The test fails where something is waited for."""

    def late(*_arguments):
        raise AssertionError("it was waited for")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(10)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.usefixtures("_in_time")
@pytest.mark.parametrize("planted", ["fifo", "link"])
@pytest.mark.parametrize("name", [".state", ".state/scratch-app"])
def test_what_stands_in_place_of_a_state_directory_is_neither_synced_nor_waited_for(backups, elsewhere, planted, name):
    place = backups / name
    place.parent.mkdir(exist_ok=True)
    if planted == "fifo":
        os.mkfifo(place)
    else:
        place.symlink_to(elsewhere)
    with pytest.raises(NotADirectoryError) as refused:
        files.sync_directory(str(place))
    assert refused.value.filename == str(place)


@pytest.mark.usefixtures("_in_time")
def test_audit_line_goes_elsewhere_when_a_fifo_takes_the_place_of_the_state_directory(
    database, backups, tmp_path, monkeypatch
):
    """While signals wait: nobody could end what waited for it."""
    real = files.sync_open

    def swap(descriptor):
        real(descriptor)
        if os.readlink(f"/proc/self/fd/{descriptor}").endswith("audit.jsonl") and not (backups / "aside").exists():
            (backups / ".state").rename(backups / "aside")
            os.mkfifo(backups / ".state")

    monkeypatch.setattr(files, "sync_open", swap)
    made = operations.backup(database=database, backup_dir=str(backups), name="app")
    assert any("audit log" in warning for warning in made["warnings"])
    assert (tmp_path / "home" / ".local" / "state" / "digitalme-backup" / "audit.jsonl").exists()


@pytest.mark.parametrize("linked", [".state", ".state/scratch-app"])
@pytest.mark.parametrize(
    "function", [files.rename, files.replace, files.publish, files.link], ids=lambda one: one.__name__
)
def test_nothing_is_renamed_into_or_out_of_what_a_link_in_the_state_directory_leads_to(
    backups, elsewhere, linked, function
):
    link = backups / linked
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(elsewhere)
    (elsewhere / "his").write_text("x")
    (backups / "ours").write_text("x")
    for source, target in ((link / "his", backups / "got"), (backups / "ours", link / "put")):
        with pytest.raises(NotADirectoryError) as refused:
            function(str(source), str(target))
        assert refused.value.filename == str(link)
    assert os.listdir(elsewhere) == ["his"] and (backups / "ours").exists() and not (backups / "got").exists()


@pytest.mark.parametrize("function", [files.rename, files.link], ids=lambda one: one.__name__)
def test_renaming_in_the_state_directory_works_and_its_error_names_both_paths(backups, function):
    (backups / ".state" / "inner").mkdir(parents=True)
    paths = [str(backups / name) for name in (".state/inner/one", ".state/two", "three")]
    files.create_new(paths[0])
    for source, target in zip(paths, paths[1:]):
        function(source, target)
        assert os.path.exists(target)
    gone = str(backups / ".state" / "gone")
    with pytest.raises(FileNotFoundError) as missing:
        function(gone, paths[1])
    assert (missing.value.filename, missing.value.filename2) == (gone, paths[1])


@pytest.mark.parametrize("linked", [".state", ".state/drill-app"])
def test_no_tree_is_removed_behind_a_link_in_the_state_directory(backups, elsewhere, linked, monkeypatch):
    (elsewhere / "inner" / "kept").mkdir(parents=True)
    link = backups / linked
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(elsewhere)
    files.remove_tree(str(link / "inner"))
    files.remove_tree(str(link))
    assert (elsewhere / "inner" / "kept").exists()
    if sys.version_info < (3, 11):
        return
    link.unlink()
    (link / "inner" / "ours").mkdir(parents=True)
    real = shutil.rmtree

    def swap(*arguments, **options):
        link.rename(backups / "aside")
        link.symlink_to(elsewhere)
        real(*arguments, **options)

    monkeypatch.setattr(shutil, "rmtree", swap)
    files.remove_tree(str(link / "inner"))
    assert (elsewhere / "inner" / "kept").exists() and not (backups / "aside" / "inner").exists()


@only_root
def test_drill_empties_nothing_behind_a_link_in_place_of_its_scratch_place(database, backups, elsewhere, monkeypatch):
    """The owner of the directory puts it there while the copy is proved."""
    (elsewhere / "inner").mkdir()
    (elsewhere / "kept").write_text("x")
    operations.backup(database=database, backup_dir=str(backups), name="app")
    real = rehearse.prove

    def swap(entry, place, *arguments, **options):
        real(entry, place, *arguments, **options)
        os.rename(place, place + ".aside")
        os.symlink(elsewhere, place)

    monkeypatch.setattr(rehearse, "prove", swap)
    with pytest.raises(errors.BackupError):
        operations.drill(databases=[{"name": "app", "path": database, "backup_dir": str(backups)}])
    assert sorted(path.name for path in elsewhere.iterdir()) == ["inner", "kept"]


@pytest.fixture
def victim(elsewhere, make_db):
    """A database of root's, and what it holds."""
    path = make_db(elsewhere / "victim.db", sql="CREATE TABLE secret (word TEXT)")
    return path, (elsewhere / "victim.db").read_bytes()


@only_root
@pytest.mark.parametrize("way", ["link", "other place", "damaged"])
def test_full_restore_of_a_drill_neither_reads_nor_writes_what_a_link_leads_to(
    database, backups, elsewhere, victim, monkeypatch, way
):
    """The owner of the directory puts it in the copy's place, or the whole place away, once the copy was written to."""
    operations.backup(database=database, backup_dir=str(backups), name="app")
    os.chown(backups, 4711, 4711)
    path, content = victim
    if way == "damaged":
        content = b"root:secret\n" * 9
        (elsewhere / "victim.db").write_bytes(content)
    real, real_give = exercise._write_to, ownership.give_back
    seen = {}

    def swap(copy):
        real(copy)
        if way == "other place":
            os.rename(os.path.dirname(copy), os.path.dirname(copy) + ".aside")
            os.mkdir(os.path.dirname(copy))
            os.chown(os.path.dirname(copy), 4711, 4711)
        else:
            os.remove(copy)
        os.symlink(path, copy)
        with open(copy + ".lock", "w", encoding="ascii"):
            """SQLite is to read it: a clone opens no link anyway."""

    def give(top, *inner):
        for directory, _names, found in os.walk(backups):
            seen.update({os.path.join(directory, name): None for name in found if "pre_recovery" in name})
        real_give(top, *inner)

    monkeypatch.setattr(exercise, "_write_to", swap)
    monkeypatch.setattr(ownership, "give_back", give)
    given = [{"name": "app", "path": database, "backup_dir": str(backups)}]
    (row,) = operations.drill(databases=given, full_restore=True, fail_on="never")["databases"]
    assert row["status"] == "failed" and "restored.db" in row["cause"], row["cause"]
    assert (elsewhere / "victim.db").read_bytes() == content
    assert sorted(path.name for path in elsewhere.iterdir()) == ["victim.db"]
    assert seen == {}, "what the link leads to was copied"


@only_root
def test_full_restore_of_a_drill_follows_no_link_in_place_of_the_backup(database, backups, victim, monkeypatch):
    made = operations.backup(database=database, backup_dir=str(backups), name="app")["backup"]["path"]
    real = exercise._write_to

    def swap(copy):
        real(copy)
        os.remove(made)
        os.symlink(victim[0], made)

    monkeypatch.setattr(exercise, "_write_to", swap)
    given = [{"name": "app", "path": database, "backup_dir": str(backups)}]
    (row,) = operations.drill(databases=given, full_restore=True, fail_on="never")["databases"]
    assert row["status"] == "failed" and "symbolic link" in row["cause"], row["cause"]


@only_root
def test_full_restore_of_a_drill_reads_no_configuration_of_the_place(database, backups, elsewhere, monkeypatch):
    """Its owner could put one there that makes root write where he likes."""
    operations.backup(database=database, backup_dir=str(backups), name="app")
    real = exercise._write_to

    def plant(copy):
        real(copy)
        with open(os.path.join(os.path.dirname(copy), "config.json"), "w", encoding="ascii") as target:
            json.dump({"audit_log": str(elsewhere / "written")}, target)

    monkeypatch.setattr(exercise, "_write_to", plant)
    given = [{"name": "app", "path": database, "backup_dir": str(backups)}]
    (row,) = operations.drill(databases=given, full_restore=True)["databases"]
    assert row["status"] in ("passed", "objective_missed"), row
    assert list(elsewhere.iterdir()) == []


def test_error_in_the_state_directory_names_the_whole_path(backups):
    (backups / ".state").mkdir()
    for path in (backups / ".state" / "gone", backups / ".state" / "no" / "gone"):
        with pytest.raises(FileNotFoundError) as missing:
            files.open_regular(str(path))
        assert str(path).startswith(missing.value.filename) and missing.value.filename.startswith(str(backups))
    files.create_new(str(backups / ".state" / "new"))
    with pytest.raises(FileExistsError) as taken:
        files.create_new(str(backups / ".state" / "new"))
    assert taken.value.filename == str(backups / ".state" / "new")


def test_descriptors_of_the_way_are_closed(backups):
    (backups / ".state" / "inner").mkdir(parents=True)
    before = sorted(os.listdir("/proc/self/fd")) if sys.platform.startswith("linux") else []
    with links.place(str(backups / ".state" / "inner" / "x")) as (directory, name):
        assert name == "x" and os.path.samestat(os.fstat(directory), os.stat(backups / ".state" / "inner"))
    assert before == (sorted(os.listdir("/proc/self/fd")) if before else [])


@only_root
@pytest.mark.parametrize("look", ["validate", "test"])
def test_scratch_directory_that_is_a_link_gets_no_file(database, backups, elsewhere, look):
    where = {"backup_dir": str(backups), "name": "app"}
    operations.backup(database=database, compression="gzip", **where)
    (backups / ".state" / "scratch-app").symlink_to(elsewhere)
    with contextlib.suppress(errors.BackupError):
        if look == "validate":
            operations.validate(**where)
        else:
            operations.restore(database=database, test=True, **where)
    assert list(elsewhere.iterdir()) == []


@only_root
def test_file_that_sqlite_opened_is_compared_with_that_of_the_name(tmp_path, database, backups):
    """The link is taken away again before the look."""
    copy = tmp_path / "copy.db"
    known = links.open_files()
    connection = sqlite3.connect(database)
    copy.write_bytes(b"")
    with pytest.raises(errors.PermissionDenied):
        links.require_not_led(connection, str(copy), known)
    with pytest.raises(sqlite3.ProgrammingError):
        connection.execute("SELECT 1")
