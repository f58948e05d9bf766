# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The game day of a host: what passes, what is told, that nothing but copies is touched, and that nothing is left."""

from __future__ import annotations

import hashlib
import json
import os
import signal

import pytest
from engine import clock, copying, errors, files, host_arguments, notify, operations, processes, space
from engine.gameday import content, exercise, killed, places
from engine.restore import journal

GOOD = {fault.name: fault.outcome for fault in exercise.FAULTS}


def _outcomes(row):
    return {fault["name"]: fault["outcome"] for fault in row["faults"]}


def _what(row, name):
    return next(fault["what"] for fault in row["faults"] if fault["name"] == name)


def _log(host):
    with open(host.log, encoding="ascii") as source:
        return [json.loads(line) for line in source]


def _damage(path):
    with open(path, "r+b") as file:
        file.seek(5000)
        byte = file.read(1)
        file.seek(5000)
        file.write(bytes([byte[0] ^ 1]))


# --- what passes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("journal_mode", ["delete", "wal"])
@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_every_fault_is_noticed_or_survived(tmp_path, make_db, make_host, backup_dir, journal_mode, compression):
    (tmp_path / "live").mkdir()
    host = make_host(tmp_path, make_db(tmp_path / "live" / "app.db", journal_mode), str(backup_dir))
    host.configure(compression=compression)
    host.backup()
    row = host.row()
    assert _outcomes(row) == GOOD, row["cause"]
    assert (row["status"], row["error_code"], row["cause"]) == ("passed", None, None)
    assert all(fault["expected"].endswith(".") and fault["seconds"] > 0 for fault in row["faults"])
    assert [(phase["name"], phase["status"]) for phase in row["phases"]] == [
        (name, "ok") for name in ("choose", "space", "copy", "verify", "faults", "clean")
    ]
    assert _what(row, "flipped_byte").count("backup_invalid") == 2
    assert _what(row, "full_disk").count("no_space") == 2
    assert "3 times the new content" in _what(row, "interrupted_restore")
    assert "6 times the old content" in _what(row, "interrupted_restore")
    assert host.scratch() == set()


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE TABLE w (a TEXT PRIMARY KEY, b) WITHOUT ROWID; INSERT INTO w VALUES ('x', 1.5), ('y', NULL)",
        "CREATE VIRTUAL TABLE f USING fts5(body); INSERT INTO f VALUES ('some words')",
        'PRAGMA user_version=7; PRAGMA application_id=99; CREATE TABLE "odd ""name" (a); CREATE VIEW v AS SELECT 1',
    ],
    ids=["without-rowid", "virtual", "odd-names"],
)
def test_databases_of_many_forms_pass(tmp_path, make_db, make_host, backup_dir, sql):
    (tmp_path / "live").mkdir()
    host = make_host(tmp_path, make_db(tmp_path / "live" / "app.db", sql=sql), str(backup_dir))
    host.backup()
    row = host.row()
    assert row["status"] == "passed", row["cause"]


@pytest.mark.parametrize("page_size, encoding", [(512, "UTF-16le"), (65536, "UTF-8"), (4096, "UTF-16be")])
def test_databases_of_other_pages_and_encodings_pass(tmp_path, make_host, backup_dir, page_size, encoding):
    import sqlite3

    (tmp_path / "live").mkdir()
    path = str(tmp_path / "live" / "app.db")
    connection = sqlite3.connect(path)
    connection.executescript(
        f"PRAGMA page_size={page_size}; PRAGMA encoding='{encoding}'; PRAGMA journal_mode=wal;"
        "CREATE TABLE t (a); INSERT INTO t VALUES ('one');"
    )
    connection.close()
    host = make_host(tmp_path, path, str(backup_dir))
    host.backup()
    row = host.row()
    assert row["status"] == "passed", row["cause"]


def test_nobody_but_root_has_its_game_day_too(tmp_path, open_place, make_db, make_host, as_nobody):
    def run():
        for name in ("live", "backups"):
            (open_place / name).mkdir()
        host = make_host(open_place, make_db(open_place / "live" / "app.db"), str(open_place / "backups"))
        host.backup()
        return host.row()

    row = as_nobody(run)
    assert row["status"] == "passed", row["cause"]
    assert "not tried (only root can mount a filesystem)" in _what(row, "full_disk")
    assert "half way, by a limit on the size of files: no_space" in _what(row, "full_disk")
    assert "uid 65534, mode 0640" in _what(row, "wrong_owner")


def test_root_without_the_right_to_mount_still_tries_the_full_disk(host, monkeypatch):
    def refuse(*_arguments):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(places, "_mount_small", refuse)
    outcome, what, _row = host.only("full_disk")
    assert outcome == "noticed"
    assert "not tried (no filesystem can be mounted here: Operation not permitted)" in what


def test_owner_that_cannot_be_given_away_leaves_the_mode_to_be_looked_at(host, monkeypatch):
    real = places.ownership.set_on

    def set_on(path, uid, gid, mode):
        if uid == 65534:
            raise PermissionError(1, "Operation not permitted")
        real(path, uid, gid, mode)

    monkeypatch.setattr(places.ownership, "set_on", set_on)
    outcome, what, _row = host.only("wrong_owner")
    assert outcome == "survived" and "a file of uid 0, mode 0640" in what


# --- nothing but copies ----------------------------------------------------------------------------------------------


def _tree(place, aside):
    """{path: everything that is to stay}, of all files below the place."""
    found = {}
    for directory, _directories, names in os.walk(place):
        for name in names:
            path = os.path.join(directory, name)
            if path not in aside:
                facts = os.lstat(path)
                with open(path, "rb") as source:
                    digest = hashlib.sha256(source.read()).hexdigest()
                found[path] = (digest, facts.st_mode, facts.st_uid, facts.st_mtime_ns, facts.st_ino)
    return found


def test_nothing_but_the_copies_is_touched(host, monkeypatch):
    def tell(*_arguments):
        raise AssertionError("somebody was notified")

    monkeypatch.setattr(notify, "send", tell)
    host.backup()
    lock = os.path.join(host.backup_dir, ".state", "drill-app.lock")
    before = _tree(host.place, {lock, host.log})
    lines = _log(host)
    with open(host.log, "rb") as source:
        text = source.read()
    assert host.row()["status"] == "passed"
    assert _tree(host.place, {lock, host.log}) == before
    with open(host.log, "rb") as source:
        assert source.read().startswith(text)
    (line,) = _log(host)[len(lines) :]
    assert (line["operation"], line["outcome"], line["status"]) == ("gameday", "ok", "passed")
    assert line["faults"] == GOOD


def test_live_database_need_not_be_there(host):
    live = os.path.dirname(host.path)
    os.rename(live, live + ".away")
    assert host.row()["status"] == "passed"
    assert not os.path.exists(live)


def test_copy_is_the_same_after_each_fault(host, monkeypatch):
    def look(scene):
        with open(scene.backup, "rb") as copy, open(scene.manifest, "rb") as told:
            known = {key: value for key, value in json.loads(told.read()).items() if key not in noted}
            names = set(os.listdir(scene.backups)) - {".state"}
            seen.append((copy.read(), known, names, set(os.listdir(scene.place))))
        return "looked at"

    # A test and a verification are noted in the manifest of the copy that they were made of.
    noted, seen = ("restore_test", "verification"), []
    looking = exercise.FAULTS[0]._replace(put_in=look)
    between = [one for fault in exercise.FAULTS for one in (looking, fault)]
    monkeypatch.setattr(exercise, "FAULTS", (*between, looking))
    assert host.row()["status"] == "passed"
    assert len(seen) == len(GOOD) + 1
    assert [row[:3] for row in seen] == [seen[0][:3]] * len(seen)
    assert {name for *_rest, place in seen for name in place} == {"audit.jsonl", "backups"}


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can be led elsewhere")
def test_what_is_restored_in_the_place_follows_no_link_and_reads_no_configuration(host, tmp_path, make_db, monkeypatch):
    """Who owns the backup directory can put another place there, while root has its game day."""
    victim = make_db(tmp_path / "victim.db", sql="CREATE TABLE secret (word TEXT)")
    with open(victim, "rb") as file:
        content_before = file.read()

    def swap(scene):
        with open(os.path.join(scene.place, "config.json"), "w", encoding="ascii") as planted:
            json.dump({"audit_log": str(tmp_path / "written")}, planted)
        with scene.work() as work:
            live = os.path.join(work, "app.db")
            os.symlink(victim, live)
            with pytest.raises(errors.PermissionDenied):
                scene.restore(live)
            with pytest.raises(errors.BackupError):
                scene.back_up(live, os.path.join(work, "made"))
        return "was not led"

    monkeypatch.setattr(exercise, "FAULTS", (exercise.FAULTS[0]._replace(put_in=swap),))
    row = host.row()
    assert row["status"] == "passed", row
    assert not (tmp_path / "written").exists()
    with open(victim, "rb") as file:
        assert file.read() == content_before


def test_restore_onto_a_full_disk_writes_its_audit_line_nowhere_else(host, monkeypatch):
    """The scene's own log is larger by then than a file may become."""

    def fill(scene):
        with open(os.path.join(scene.place, "audit.jsonl"), "ab") as log:
            log.write(b"{}\n" * 100_000)
        return "written"

    first = exercise.FAULTS[0]._replace(put_in=fill)
    monkeypatch.setattr(exercise, "FAULTS", (first, *exercise.FAULTS[1:]))
    row = host.row(skip=["interrupted_restore"])
    assert row["status"] == "passed", row["cause"]
    assert not os.path.exists(host.place / "home")


def test_filesystem_of_the_full_disk_is_seen_by_no_other_process(tmp_path):
    parent = os.getpid()

    def mount():
        places._mount_small(str(tmp_path), 16384)
        (tmp_path / "file").write_text("x")
        with open(f"/proc/{parent}/mountinfo", encoding="utf-8") as table:
            return [os.path.ismount(tmp_path), str(tmp_path) in table.read(), os.statvfs(tmp_path).f_blocks]

    answer, ended_by = processes.apart(mount)
    assert (answer, ended_by) == ([True, False, 16384 // os.sysconf("SC_PAGE_SIZE")], None)
    assert list(tmp_path.iterdir()) == []


# --- the moments of a kill -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("journal_mode", ["delete", "wal"])
def test_restore_is_killed_where_it_is_said_to_be(tmp_path, make_db, make_host, backup_dir, monkeypatch, journal_mode):
    """What each kill leaves, before anything settles it: how far the journal has come, and what lies on the disk."""
    (tmp_path / "live").mkdir()
    host = make_host(tmp_path, make_db(tmp_path / "live" / "app.db", journal_mode, rows=4000), str(backup_dir))
    host.backup()
    real, make, seen, made = journal.pending, content.make, [], {}

    def remember(path, form):
        make(path, form)
        made[path] = (files.sha256(path), os.stat(path).st_ino)

    def look(path):
        found = real(path)
        if path not in made or found is None:
            return found
        beside = {name.replace("app.db", "", 1) for name in places.beside(path) if files.size(f"{path[:-6]}{name}")}
        same = (files.sha256(path), os.stat(path).st_ino)
        seen.append((found.phase, same == made[path], same[1] == made[path][1], beside))
        return found

    monkeypatch.setattr(content, "make", remember)
    monkeypatch.setattr(killed.journal, "pending", look)
    outcome, what, _row = host.only("interrupted_restore")
    assert outcome == "survived", what
    phases = [phase for phase, *_rest in seen]
    assert phases == ["begun", *["swapping"] * 4, *["swapping"] * 3, "ended"]
    half_written = [beside for phase, same, _inode, beside in seen[1:4]]
    if journal_mode == "delete":
        # SQLite had begun to write into the file itself; its journal has the old pages.
        assert [same for _phase, same, _inode, _beside in seen[1:4]] == [False] * 3
        assert all("-journal" in beside for beside in half_written)
    else:
        assert all("-wal" in beside for beside in half_written)
    assert [inode for _phase, _same, inode, _beside in seen] == [True] * 7 + [False] * 2


def test_restore_that_cannot_be_killed_is_no_success(host, monkeypatch):
    monkeypatch.setattr(killed._Trap, "_kill", staticmethod(lambda: None))
    outcome, what, row = host.only("interrupted_restore")
    assert outcome == "not_run" and "could not be killed while the backup is unpacked" in what
    assert (row["status"], row["error_code"]) == ("failed", "fault_not_run")


# --- what cannot be tried --------------------------------------------------------------------------------------------


def test_without_a_backup_there_is_no_game_day(tmp_path, database, backup_dir, make_host):
    row = make_host(tmp_path, database, str(backup_dir)).row()
    assert (row["status"], row["error_code"], row["recoverable"]) == ("no_backup", "backup_not_found", False)
    assert set(_outcomes(row).values()) == {"not_run"}


def test_backup_that_is_damaged_without_any_fault_fails_as_in_a_drill(host):
    (name,) = [name for name in os.listdir(host.backup_dir) if name.endswith(".db")]
    _damage(os.path.join(host.backup_dir, name))
    row = host.row()
    assert (row["status"], row["error_code"], row["recoverable"]) == ("failed", "backup_invalid", False)
    assert set(_outcomes(row).values()) == {"not_run"}
    assert host.scratch() == set()


def test_backup_that_does_not_hold_what_is_asserted_fails(host):
    host.configure(assertions=[{"sql": "SELECT count(*) FROM t", "expect": 7}])
    row = host.row()
    assert (row["status"], row["error_code"]) == ("failed", "backup_invalid") and "assertion" in row["cause"]


def test_newest_verified_backup_is_taken(host):
    newer = host.backup()
    assert host.row(skip=["interrupted_restore"])["backup"]["file"] == newer["file"]
    _damage(os.path.join(host.backup_dir, newer["file"]))
    with pytest.raises(errors.BackupInvalid):
        operations.validate(backup_dir=host.backup_dir, backups=[newer["file"]], config_path=host.configuration)
    row = host.row(skip=["interrupted_restore"])
    assert row["status"] == "passed" and row["backup"]["file"] != newer["file"]
    assert any("newer than any good backup" in text for text in row["warnings"])


def test_another_backup_of_the_catalog_gives_the_foreign_manifest(host):
    older = os.listdir(host.backup_dir)
    import sqlite3

    connection = sqlite3.connect(host.path)
    connection.executescript("INSERT INTO t (word) VALUES ('more')")
    connection.close()
    host.backup()
    _outcome, what, _row = host.only("foreign_manifest")
    assert any(f"that of {name}:" in what for name in older)


def test_backup_of_the_same_content_is_no_foreign_one(host):
    host.backup()
    outcome, what, _row = host.only("foreign_manifest")
    assert outcome == "noticed" and "that of gameday_" in what


def test_faults_that_are_left_out_fail_nobody_and_are_told(host):
    row = host.row(skip=["interrupted_restore", "full_disk"])
    assert row["status"] == "passed"
    assert {name for name, outcome in _outcomes(row).items() if outcome == "not_run"} == {
        "interrupted_restore",
        "full_disk",
    }
    assert "left out" in _what(row, "full_disk")


@pytest.mark.parametrize(
    "options, message",
    [
        ({"skip": ["flipped_bit"]}, "no fault called flipped_bit"),
        ({"skip": list(exercise.NAMES)}, "all faults are left out"),
        ({"time_limit": 0}, "time limit of 0 s"),
        ({"time_limit": float("nan")}, "time limit of nan s"),
        ({"fail_on": "objective_missed"}, "fail_on is one of"),
        ({"names": ["other"]}, "no database is called other"),
    ],
)
def test_call_that_means_nothing_is_refused_before_anything_is_done(host, options, message):
    lines = _log(host)
    with pytest.raises(errors.UsageError) as caught:
        host.gameday(**options)
    assert message in caught.value.message
    assert _log(host) == lines


def test_fault_whose_place_is_in_trouble_is_not_run_and_fails(host, monkeypatch):
    def broken(_scene):
        raise OSError(5, "Input/output error", "/dev/broken")

    first = exercise.FAULTS[0]._replace(put_in=broken)
    monkeypatch.setattr(exercise, "FAULTS", (first, *exercise.FAULTS[1:-1]))
    row = host.row()
    assert (row["status"], row["error_code"]) == ("failed", "fault_not_run")
    assert _outcomes(row) == {**dict(list(GOOD.items())[1:-1]), "flipped_byte": "not_run"}
    assert "/dev/broken" in row["cause"] and "skip" in row["next_step"]


def test_time_limit_ends_it_and_the_rest_is_not_run(host, monkeypatch):
    late = []
    real = clock.monotonic

    def slow(_scene):
        late.append(3600.0)
        return "it took an hour"

    monkeypatch.setattr(clock, "monotonic", lambda: real() + sum(late))
    second = exercise.FAULTS[1]._replace(put_in=slow, others=False)
    monkeypatch.setattr(exercise, "FAULTS", (exercise.FAULTS[0], second, *exercise.FAULTS[2:]))
    row = host.row(time_limit=1800)
    assert (row["status"], row["error_code"]) == ("not_run", "time_limit")
    assert [fault["outcome"] for fault in row["faults"]] == ["noticed", "noticed", *["not_run"] * 5]
    assert host.scratch() == set()


def test_time_limit_ends_a_fault_that_takes_too_long(host, monkeypatch):
    late = []
    real = clock.monotonic
    monkeypatch.setattr(clock, "monotonic", lambda: real() + sum(late))
    make = content.make

    def slow(path, form):
        late.append(700.0)  # Two of them are within the limit; the third is the second restore that is killed.
        make(path, form)

    monkeypatch.setattr(content, "make", slow)
    row = host.row(time_limit=1800)
    assert _what(row, "interrupted_restore") == "the game day of this host had 1800 s, and they are over"
    assert (row["status"], row["error_code"]) == ("not_run", "time_limit")
    assert "missed" not in _outcomes(row).values()
    assert host.scratch() == set()


def test_room_is_looked_at_before_anything_is_copied(host, monkeypatch):
    size = os.path.getsize(os.path.join(host.backup_dir, host.row(check=True)["backup"]["file"]))
    copied = []
    monkeypatch.setattr(space, "free_bytes", lambda _path: 5 * size + 4 * 1024 * 1024 - 1)
    monkeypatch.setattr(copying, "copy", lambda *arguments, **_options: copied.append(arguments))
    row = host.row()
    assert (row["status"], row["error_code"], copied) == ("failed", "no_space", [])
    assert row["recoverable"] is None
    assert set(_outcomes(row).values()) == {"not_run"}


def test_check_mode_only_chooses(host):
    lines = _log(host)
    row = host.row(check=True)
    assert (row["status"], row["cause"]) == ("not_run", "check mode: only chosen")
    assert row["backup"]["file"] in os.listdir(host.backup_dir)
    assert _log(host) == lines and host.scratch() == set()


def test_database_without_configuration_and_another_scratch_place(host, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    given = [{"name": "app", "backup_dir": host.backup_dir}]
    empty = tmp_path / "empty.json"
    empty.write_text("{}", encoding="ascii")
    options = {"databases": given, "scratch_dir": str(elsewhere), "config_path": str(empty)}
    row = host.row(**options, skip=["interrupted_restore"])
    assert row["status"] == "passed"
    assert [name for name in os.listdir(elsewhere) if not name.endswith(".lock")] == []
    assert host.row(**{**options, "scratch_dir": str(tmp_path / "nowhere")})["error_code"] == "backup_dir_invalid"


def test_database_that_did_not_pass_fails_the_call_with_all_that_was_found(host):
    (name,) = [name for name in os.listdir(host.backup_dir) if name.endswith(".db")]
    _damage(os.path.join(host.backup_dir, name))
    with pytest.raises(errors.GamedayFailed) as caught:
        host.gameday(fail_on="failed")
    assert caught.value.exit_code == errors.BackupInvalid.exit_code
    (row,) = caught.value.details["databases"]
    assert row["status"] == "failed" and len(row["faults"]) == len(GOOD)


# --- what a kill leaves ----------------------------------------------------------------------------------------------


def _killed_in(host, monkeypatch, name, put_in):
    """A game day that is killed while the fault is tried."""
    with monkeypatch.context() as patch:
        patched = [fault._replace(put_in=put_in) if fault.name == name else fault for fault in exercise.FAULTS]
        patch.setattr(exercise, "FAULTS", tuple(patched))
        assert processes.apart(host.gameday) == (None, signal.SIGKILL)
    assert host.scratch() == {"drill-app"}


@pytest.mark.parametrize("next_one", ["gameday", "drill", "backup"])
def test_what_a_killed_game_day_has_left_goes_with_the_next_operation(host, monkeypatch, next_one):
    def die(_scene):
        os.kill(os.getpid(), signal.SIGKILL)

    _killed_in(host, monkeypatch, "missing_key", die)
    if next_one == "backup":
        host.backup()
    else:
        (row,) = getattr(operations, next_one)(config_path=host.configuration)["databases"]
        assert row["status"] == "passed"
    assert host.scratch() == set()


def test_kill_while_the_disk_is_full_leaves_no_filesystem(host, monkeypatch):
    def die(*_arguments):
        os.kill(os.getppid(), signal.SIGKILL)
        return {"error_code": "no_space", "cause": "", "whole": True, "left": []}

    monkeypatch.setattr(places, "_restored", die)
    real = places.full_disk
    _killed_in(
        host, monkeypatch, "full_disk", lambda scene: (monkeypatch.setattr(places, "_half_way", die), real(scene))
    )
    with open("/proc/self/mountinfo", encoding="utf-8") as table:
        assert host.backup_dir not in table.read()
    monkeypatch.undo()
    monkeypatch.setenv("HOME", str(host.place / "home"))
    assert host.row()["status"] == "passed"


# --- names -----------------------------------------------------------------------------------------------------------


def test_command_knows_every_fault():
    assert host_arguments.FAULTS == exercise.NAMES


# --- the parts -------------------------------------------------------------------------------------------------------


def test_rows_tell_a_difference_in_any_row_table_and_pragma(tmp_path, make_db):
    def told(sql):
        path = make_db(tmp_path / f"{len(seen)}.db", sql=sql)
        seen.append(content.rows(path))
        return seen[-1]

    seen: list = []
    same = told("")
    assert told("") == same
    for sql in (
        "UPDATE t SET word = 'word 00000x' WHERE id = 100",
        "UPDATE t SET word = CAST(word AS BLOB) WHERE id = 100",
        "DELETE FROM t WHERE id = 200",
        "CREATE TABLE other (a)",
        "DROP INDEX t_word",
        "PRAGMA user_version=1",
    ):
        assert told(sql) != same, sql


def test_rows_are_the_same_whatever_the_pages_are(tmp_path, make_db):
    first = make_db(tmp_path / "a.db")
    second = make_db(tmp_path / "b.db", rows=900, sql="DELETE FROM t WHERE id > 200; VACUUM")
    assert files.sha256(first) != files.sha256(second)
    assert content.rows(first) == content.rows(second)


def test_made_database_is_about_as_large_as_asked_and_like_no_other(tmp_path):
    form = content.Form(1024, "UTF-16le", "wal", 300_000)
    for name in ("a", "b"):
        content.make(str(tmp_path / name), form)
    first, second = ((tmp_path / name).read_bytes() for name in ("a", "b"))
    assert 300_000 <= len(first) <= 330_000 and first != second
    assert (first[18], sorted(path.name for path in tmp_path.iterdir())) == (2, ["a", "b"])
    pages = [{data[start : start + 1024] for start in range(1024, len(data), 1024)} for data in (first, second)]
    assert len(pages[0] & pages[1]) <= len(pages[0]) // 20  # Pages of the index of rows are alike.
