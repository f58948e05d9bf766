# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Backups that travel in parts arrive whole or not at all, and nothing that the sending side says is believed."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3

import pytest
from engine import catalog, clock, errors, files, operations, space, store, transfer
from engine import session as room


@pytest.fixture
def site(tmp_path, database):
    return Site(tmp_path, database)


class Site:
    """A sending directory with backups of ``app``, and a receiving one that is not there yet."""

    def __init__(self, root, database):
        self.database, self.sending, self.receiving = database, str(root / "sending"), str(root / "receiving")
        self.part = str(root / "part")

    def back_up(self, **options):
        return operations.backup(database=self.database, backup_dir=self.sending, **options)["backup"]

    def send(self, step, **options):
        return operations.transfer(step=step, backup_dir=self.sending, name="app", **options)

    def receive(self, step, **options):
        return operations.transfer(step=step, backup_dir=self.receiving, name="app", **options)

    def offered(self, **options):
        return self.send("offer", **options)["rows"]

    def carry(self, row, part_bytes=7000, offset=0, until=None):
        """Carry the parts of one backup; ``until`` ends it before that offset, as a kill does."""
        while offset < (until or row["stored_bytes"]):
            self.send("read", file=row["file"], offset=offset, part_bytes=part_bytes, part=self.part)
            answer = self.receive("receive", manifests=[row["manifest"]], offset=offset, part=self.part)
            offset = answer["bytes"]
        return offset

    def finish(self, *rows):
        return [one["problem"] for one in self.receive("finish", manifests=[row["manifest"] for row in rows])["rows"]]

    def arrived(self):
        return [(entry.file, entry.status) for entry in catalog.scan(self.receiving, "app")]


def test_backups_arrive_with_their_manifests_as_they_were_sent(site):
    made = [site.back_up(), site.back_up(compression="gzip")]
    rows = site.offered()
    for row in rows:
        site.carry(row)
    assert site.arrived() == []  # Not before they are whole.
    assert site.finish(*rows) == [None, None]
    assert sorted(site.arrived()) == sorted((one["file"], "verified") for one in made)
    for one in made:
        for suffix in ("", ".json"):
            paths = [os.path.join(place, one["file"] + suffix) for place in (site.sending, site.receiving)]
            assert files.sha256(paths[0]) == files.sha256(paths[1])
            assert os.name == "nt" or os.stat(paths[1]).st_mode & 0o777 == 0o600
    assert operations.restore(backup_dir=site.receiving, name="app", test=True)["recoverable"]


def test_offer_is_of_verified_regular_backups_unless_more_is_asked_for(site):
    first, second = site.back_up(verify="none"), site.back_up()
    assert [row["file"] for row in site.offered()] == [second["file"]]
    assert [row["file"] for row in site.offered(unverified=True)] == [first["file"], second["file"]]
    third = site.back_up()
    _write(site.database)
    kept = operations.restore(database=site.database, backup_dir=site.sending, force=True)["pre_restore_backup"]
    assert os.path.basename(kept) not in [row["file"] for row in site.offered()]
    assert os.path.basename(kept) in [row["file"] for row in site.offered(pre_restore=True)]
    assert [row["file"] for row in site.offered(newest=1)] == [third["file"]]
    assert [row["file"] for row in site.offered(backups=[second["file"]])] == [second["file"]]


def _write(path):
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("INSERT INTO t (word) VALUES ('x')")
        connection.commit()


def test_damaged_backup_is_not_offered_and_the_others_are(site):
    damaged, sound = site.back_up(), site.back_up()
    with open(damaged["path"], "r+b") as file:
        file.seek(files.size(damaged["path"]) // 2)
        file.write(b"other bytes")
    answer = site.send("offer")
    assert [row["file"] for row in answer["rows"]] == [sound["file"]]
    assert [row["file"] for row in answer["problems"]] == [damaged["file"]]
    assert "damaged" in answer["problems"][0]["problem"]


@pytest.mark.parametrize("until", [1, 7000, 7001])
def test_transfer_that_was_interrupted_goes_on_where_it_was(site, until):
    site.back_up()
    (row,) = site.offered()
    begun = site.carry(row, until=until)
    store.clean(_target(site.receiving))  # What any other run of the name does first.
    (accepted,) = site.receive("accept", manifests=[row["manifest"]])["rows"]
    assert (accepted["state"], accepted["offset"]) == ("wanted", begun)
    site.carry(row, offset=begun)
    assert site.finish(row) == [None] and len(site.arrived()) == 1


def _target(backup_dir):
    with room.operation("test", {"backup_dir": backup_dir, "name": "app", "need_database": False}) as session:
        return session.target


def test_what_arrives_damaged_is_refused_removed_and_can_be_sent_again(site):
    site.back_up()
    (row,) = site.offered()
    site.carry(row)
    incoming = transfer.incoming_path(_target(site.receiving), row["file"])
    with open(incoming, "r+b") as file:
        file.write(b"x")
    assert "SHA-256 differs" in site.finish(row)[0] and site.arrived() == [] and not files.exists(incoming)
    site.carry(row)
    assert site.finish(row) == [None]


def test_part_of_two_transfers_at_once_is_refused(site):
    site.back_up()
    (row,) = site.offered()
    site.carry(row, until=7000)
    site.send("read", file=row["file"], offset=0, part_bytes=100, part=site.part)
    with pytest.raises(errors.Busy):
        site.receive("receive", manifests=[row["manifest"]], offset=3000, part=site.part)


def test_backup_that_becomes_shorter_ends_the_transfer(site):
    made = site.back_up()
    (row,) = site.offered()
    begun = site.carry(row, until=1)
    with open(made["path"], "r+b") as file:
        file.truncate(begun)
    with pytest.raises(errors.BackupInvalid, match="shorter"):
        site.carry(row, offset=begun)
    open(site.part, "wb").close()
    with pytest.raises(errors.BackupInvalid, match="no bytes"):
        site.receive("receive", manifests=[row["manifest"]], offset=begun, part=site.part)


def test_more_than_was_announced_is_refused(site):
    site.back_up()
    (row,) = site.offered()
    document = {**json.loads(row["manifest"]), "stored_bytes": 100}
    site.send("read", file=row["file"], offset=0, part_bytes=200, part=site.part)
    with pytest.raises(errors.BackupInvalid, match="more arrived"):
        site.receive("receive", manifests=[json.dumps(document)], offset=0, part=site.part)
    assert os.listdir(os.path.join(site.receiving, ".state", "incoming-app")) == []


def test_what_is_there_is_not_wanted_and_another_of_the_same_name_is_left_alone(site):
    site.back_up()
    (row,) = site.offered()
    site.carry(row)
    site.finish(row)
    other = json.dumps({**json.loads(row["manifest"]), "sha256": "0" * 64})
    states = [site.receive("accept", manifests=[text])["rows"][0]["state"] for text in (row["manifest"], other)]
    assert states == ["there", "conflict"]
    site.carry(row)
    assert "another backup" in site.finish(row)[0] and len(site.arrived()) == 1


def test_what_had_arrived_of_a_backup_that_is_gone_is_removed(site, monkeypatch):
    old, real = site.back_up(), clock.now
    (row,) = site.offered()
    site.carry(row, until=1)
    os.unlink(old["path"])
    os.unlink(old["path"] + ".json")
    monkeypatch.setattr(clock, "now", lambda: clock.after(real(), 60))
    site.back_up()
    site.receive("accept", manifests=[site.offered()[0]["manifest"]], check=True)
    directory = os.path.join(site.receiving, ".state", "incoming-app")
    assert os.listdir(directory) == [old["file"]]
    site.receive("accept", manifests=[site.offered()[0]["manifest"]])
    assert os.listdir(directory) == []


@pytest.mark.parametrize(
    "change",
    [
        {"file": "../app_20260101_000000.db"},
        {"file": "/tmp/app_20260101_000000.db"},
        {"file": "app_20260101_000000.db/../../x.db"},
        {"file": "..\\app_20260101_000000.db"},
        {"file": ".app_20260101_000000.db.partial"},
        {"file": "other_20260101_000000.db"},
        {"file": ""},
        {"name": "other"},
        {"name": "../app"},
        {"stored_bytes": -1},
        {"sha256": None},
        {"schema_version": 99},
    ],
    ids=str,
)
@pytest.mark.parametrize("step", ["accept", "receive", "finish"])
def test_manifest_of_a_hostile_sender_is_refused_and_writes_nothing(site, change, step, tmp_path):
    site.back_up()
    (row,) = site.offered()
    site.carry(row, until=1)
    before = sorted(os.walk(tmp_path))
    text = json.dumps({**json.loads(row["manifest"]), **change})
    with open(site.part, "wb") as file:
        file.write(b"x")
    try:
        answer = site.receive(step, manifests=[text], **({"offset": 0, "part": site.part} if step == "receive" else {}))
        assert step == "finish" and answer["rows"][0]["problem"]
    except errors.BackupError as error:
        assert error.exit_code in (2, 3)
    assert [walk for walk in sorted(os.walk(tmp_path)) if ".state" not in walk[0]] == [
        walk for walk in before if ".state" not in walk[0]
    ]


@pytest.mark.parametrize("text", ["", "[]", "null", "{", "\u00e9", '{"schema_version": 1}'])
def test_text_that_is_no_manifest_is_refused(site, text):
    with pytest.raises(errors.BackupInvalid):
        site.receive("accept", manifests=[text])


@pytest.mark.parametrize("file", ["../app.db", "/etc/passwd", ".state", "a/b"])
def test_only_a_listed_backup_can_be_read(site, file):
    made = site.back_up()
    with pytest.raises((errors.UsageError, errors.BackupNotFound)):
        site.send("read", file=file, offset=0, part_bytes=10, part=site.part)
    assert not os.path.exists(site.part) and os.path.exists(made["path"])


def test_link_where_parts_are_put_together_is_refused(site, tmp_path):
    site.back_up()
    (row,) = site.offered()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    os.makedirs(os.path.join(site.receiving, ".state"))
    os.symlink(elsewhere, os.path.join(site.receiving, ".state", "incoming-app"))
    with pytest.raises(errors.BackupDirInvalid):
        site.carry(row)
    assert os.listdir(elsewhere) == []


def test_full_disk_leaves_what_had_arrived(site, monkeypatch):
    site.back_up()
    (row,) = site.offered()
    begun = site.carry(row, until=1)
    monkeypatch.setattr(space, "free_bytes", lambda _path: 0)
    with pytest.raises(errors.NoSpace):
        site.carry(row, offset=begun)
    monkeypatch.undo()
    site.carry(row, offset=begun)
    assert site.finish(row) == [None]


def test_both_ends_leave_a_line_in_their_audit_logs(site):
    site.back_up()
    (row,) = site.offered()
    site.carry(row)
    site.finish(row)
    for place, operation in ((site.sending, "send"), (site.receiving, "receive")):
        records = operations.audit_log(backup_dir=place, name="app", limit=10)["records"]
        assert [record["operation"] for record in records].count(operation) == 1


def test_unknown_step_is_a_usage_error(site):
    with pytest.raises(errors.UsageError, match="no step"):
        site.send("steal")
