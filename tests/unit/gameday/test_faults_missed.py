# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A game day that cannot fail proves nothing: for each fault the engine is broken, and the fault must be missed."""

from __future__ import annotations

import os

import pytest
from engine import catalog, checks, database, errors, files, health, processes, session, unpacking, verify
from engine.gameday import damage
from engine.restore import apply, journal, recover, swap


@pytest.fixture
def missed(host, monkeypatch):
    """missed(name, text): the fault is told as missed, with this text, and the database fails; nothing is left."""

    def look(name, text):
        outcome, what, row = host.only(name)
        assert (outcome, row["status"], row["error_code"]) == ("missed", "failed", "fault_missed"), what
        assert text in what
        assert f"{name}: {what}" in row["cause"] and "report" in row["next_step"]
        assert host.scratch() == set()

    return look


def _unhashed(monkeypatch):
    """Every byte is as good as any other."""
    monkeypatch.setattr(unpacking, "_require_match", lambda *_arguments: None)


# --- flipped_byte ----------------------------------------------------------------------------------------------------


def _flip_at(monkeypatch, host, page, header):
    """Let the bytes be flipped there, instead of anywhere."""
    monkeypatch.setattr(damage, "_random", lambda below: header if below == 100 else page - 100)


def _inside_a_value(host):
    """Where the file has a byte of a text: SQLite itself takes any other letter there."""
    (name,) = [name for name in os.listdir(host.backup_dir) if name.endswith(".db")]
    with open(os.path.join(host.backup_dir, name), "rb") as source:
        return source.read().index(b"word 000123")


def test_flipped_byte_in_a_value_is_missed_where_nobody_compares_hashes(host, monkeypatch, missed):
    _unhashed(monkeypatch)
    # Both copies of the value, in the table and in its index, are told apart by an integrity check: it is away, too.
    monkeypatch.setattr(checks, "_integrity", lambda *_arguments: None)
    _flip_at(monkeypatch, host, _inside_a_value(host), 80)
    missed("flipped_byte", "it was not told as backup_invalid: all went well")


def test_flipped_byte_in_the_reserved_part_of_the_header_is_missed_where_nobody_compares_hashes(
    host, monkeypatch, missed
):
    _unhashed(monkeypatch)
    _flip_at(monkeypatch, host, 100, 80)
    missed("flipped_byte", "it was not told as backup_invalid")


def test_flipped_byte_that_is_told_as_something_else_is_missed(monkeypatch, missed):
    def wrongly(*_arguments):
        raise errors.Unverifiable("it is hard to say")

    put_up = unpacking.unpack
    calls = []

    def unpack(*arguments, **options):
        calls.append(arguments)  # The first is of the copy without a fault.
        return put_up(*arguments, **options) if len(calls) == 1 else wrongly()

    monkeypatch.setattr(unpacking, "unpack", unpack)
    missed("flipped_byte", "it was told as unverifiable, not as backup_invalid: it is hard to say")


# --- foreign_manifest ------------------------------------------------------------------------------------------------


def test_foreign_manifest_is_missed_where_it_is_believed(monkeypatch, missed):
    real = catalog.manifest.load

    def believe(path):
        file = os.path.basename(path)[: -len(".json")]
        size = os.path.getsize(path[: -len(".json")])
        return {**real(path), "file": file, "name": "app", "stored_bytes": size}

    monkeypatch.setattr(catalog.manifest, "load", believe)
    missed("foreign_manifest", "it was told as backup_invalid, not as backup_not_found")


def test_disguised_manifest_is_missed_where_nobody_compares_hashes(monkeypatch, missed):
    _unhashed(monkeypatch)
    # The rows and the schema of the other database would give it away.
    monkeypatch.setattr(verify, "compare", lambda *_arguments: None)
    missed("foreign_manifest", "it was not told as backup_invalid")


# --- missing_backup --------------------------------------------------------------------------------------------------


def test_missing_backup_is_missed_where_the_list_forgets_it(monkeypatch, missed):
    real = catalog.scan
    monkeypatch.setattr(catalog, "scan", lambda *given: [entry for entry in real(*given) if entry.status != "missing"])
    missed("missing_backup", "the list shows it as not listed")


def test_missing_backup_is_missed_where_health_is_content(monkeypatch, missed):
    monkeypatch.setattr(health, "_count", lambda _facts: health._check("count", "ok", "all is well"))
    missed("missing_backup", "health says")


# --- full_disk -------------------------------------------------------------------------------------------------------


def test_full_disk_is_missed_where_it_is_told_as_something_else(monkeypatch, missed):
    monkeypatch.setattr(errors, "_BY_ERRNO", {})
    missed("full_disk", "it was told as io_error, not as no_space")


def test_full_disk_is_missed_where_the_database_was_touched_first(monkeypatch, missed):
    real = apply._prepare

    def touch(restore, staged_path):
        with open(restore.path, "r+b") as live:
            live.write(b"S")
            live.seek(4000)
            live.write(b"x")
        return real(restore, staged_path)

    monkeypatch.setattr(apply, "_prepare", touch)
    missed("full_disk", "the old content is not what it was")


def test_full_disk_is_missed_where_something_is_left(monkeypatch, missed):
    monkeypatch.setattr(apply.recover, "end", lambda *_arguments: None)
    missed("full_disk", "left beside the database: .app.db.digitalme-restore")


def test_full_disk_is_missed_where_it_kills_the_restore(monkeypatch, missed):
    def die(*_arguments, **_options):
        os.kill(os.getpid(), 9)

    monkeypatch.setattr(processes, "holders", die)
    missed("full_disk", "the restore was ended by signal 9")


# --- wrong_owner -----------------------------------------------------------------------------------------------------


def test_wrong_owner_is_missed_where_the_new_file_is_nobody_elses(monkeypatch, missed):
    monkeypatch.setattr(swap.ownership, "copy", lambda *_arguments: None)
    missed("wrong_owner", "the file that was replaced has uid, gid and mode 0:0:0600, not 65534:65534:0640")


def test_wrong_owner_is_missed_where_the_manifest_is_not_asked(monkeypatch, missed):
    monkeypatch.setattr(swap, "_dress_as_recorded", lambda *_arguments: None)
    missed("wrong_owner", "the file that was brought back has uid, gid and mode 0:0:0600")


def test_wrong_owner_is_missed_where_the_restore_changes_nothing(monkeypatch, missed):
    def nothing(restore):
        return apply.Done(True, None, None)

    monkeypatch.setattr(apply, "apply", nothing)
    missed("wrong_owner", "the file that was replaced has not the backup's rows")


# --- missing_key -----------------------------------------------------------------------------------------------------


def test_missing_key_is_missed_where_it_is_told_as_damage(monkeypatch, missed):
    monkeypatch.setattr(database, "looks_encrypted", lambda _raw: False)
    missed("missing_key", "it was told as backup_invalid, not as unverifiable")


def test_missing_key_is_missed_where_it_is_told_as_sound(monkeypatch, missed):
    real = unpacking.examine

    def examine(entry, level, *rest):
        findings = real(entry, level, *rest)
        if findings.status == "unverifiable":
            raise errors.NotConfirmed("it is sound")
        return findings

    monkeypatch.setattr(unpacking, "examine", examine)
    missed("missing_key", "it was told as not_confirmed, not as unverifiable")


# --- interrupted_restore ---------------------------------------------------------------------------------------------


def test_interrupted_restore_is_missed_where_the_next_backup_does_not_settle_it(monkeypatch, missed):
    monkeypatch.setattr(session, "settle_interrupted", lambda *_arguments, **_options: None)
    missed("interrupted_restore", "left beside the database: ")


def test_interrupted_restore_is_missed_where_nobody_is_told(monkeypatch, missed):
    real = session._settle

    def silently(running, *rest):
        real(running, *rest)
        running.recovered = None

    monkeypatch.setattr(session, "_settle", silently)
    missed("interrupted_restore", "the next backup did not see that a restore had been interrupted")


def test_interrupted_restore_is_missed_where_it_is_told_wrongly(monkeypatch, missed):
    real = recover.settle
    monkeypatch.setattr(
        recover, "settle", lambda *given: (settled := real(*given)) and {**settled, "outcome": "finished"}
    )
    missed(
        "interrupted_restore", "killed while the backup is unpacked: it has the old content, and is told as finished"
    )


def _torn(content, path, busy_timeout, progress=None):
    """Writing the pages into the live file without any transaction."""
    size = files.size(content)
    step = database.STEP_PAGES * 4096
    with open(content, "rb") as source, open(path, "r+b") as live:
        for start in range(0, size, step):
            live.write(source.read(step))
            live.flush()
            if progress is not None:
                progress("restore", min(start + step, size) // 4096, size // 4096)
    return swap.Watch(database.connect(path, mode="rw"))


def test_interrupted_restore_is_missed_where_pages_are_written_without_a_transaction(monkeypatch, missed):
    monkeypatch.setattr(swap, "in_place", _torn)
    missed("interrupted_restore", "in_place, killed when the first pages are written: the database cannot be used")


def test_interrupted_restore_is_missed_where_rows_of_both_contents_are_left(monkeypatch, missed):
    real = recover.settle

    def mixed(path, *rest):
        settled = real(path, *rest)
        connection = database.connect(path, mode="rw")
        connection.execute("CREATE TABLE IF NOT EXISTS of_the_other (a)")
        connection.close()
        return settled

    monkeypatch.setattr(recover, "settle", mixed)
    missed("interrupted_restore", "killed while the backup is unpacked: the database has neither the old content nor")


def test_interrupted_restore_is_missed_where_the_old_file_is_moved_away_before_the_new_one_comes(monkeypatch, missed):
    def away(staged, path, live, log, held):
        log.note(journal.SWAPPING, existed=True)
        os.link(path, journal.aside_path(path))
        os.unlink(path)
        os.replace(staged, path)
        log.note(journal.SWAPPED)

    monkeypatch.setattr(swap, "replace", away)
    missed("interrupted_restore", "replace, killed before the new file has the name: the database cannot be used")


def test_interrupted_restore_is_missed_where_the_old_file_stays_beside_the_new_one(monkeypatch, missed):
    monkeypatch.setattr(swap, "forget_old", lambda _path: None)
    missed("interrupted_restore", "left beside the database: .app.db.restore-old")
