# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A transfer between parties that do not trust each other: links in the way, lies about sizes, names and bytes.

The receiving directory can belong to somebody who is not root while root receives, so nothing in it leads out of it.
"""

from __future__ import annotations

import hashlib
import json
import os
import pathlib

import pytest
from engine import catalog, clock, errors, files, manifest, operations, ownership, space

CONTENT = b"0123456789" * 100
STAMP = "20261122_020000"


class Receiver:
    """A receiving directory, and beside it a place ``outside`` that must stay as it is."""

    def __init__(self, root):
        self.directory, self.outside, self.part = root / "receiving", root / "outside", root / "part"
        self.directory.mkdir(mode=0o700)
        self.outside.mkdir()
        (self.outside / "precious").write_text("stays", encoding="ascii")

    @property
    def state(self):
        return self.directory / ".state"

    @property
    def incoming(self):
        return self.state / "incoming-app"

    def ask(self, step, **options):
        return operations.transfer(step=step, backup_dir=str(self.directory), name="app", **options)

    def accept(self, *texts):
        return self.ask("accept", manifests=list(texts))["rows"]

    def send(self, text, data=CONTENT, offset=0):
        self.part.write_bytes(data)
        return self.ask("receive", manifests=[text], offset=offset, part=str(self.part))["bytes"]

    def finish(self, *texts):
        return [row["problem"] for row in self.ask("finish", manifests=list(texts))["rows"]]

    def outcomes(self):
        log = operations.audit_log(backup_dir=str(self.directory), name="app", limit=100)["records"]
        return [(record["operation"], record["outcome"]) for record in log]

    def untouched(self):
        return sorted(os.listdir(self.outside)) == ["precious"]


@pytest.fixture
def receiver(tmp_path):
    return Receiver(tmp_path)


def announced(stamp=STAMP, content=CONTENT, **changes):
    """The manifest of a backup, as its sender tells it."""
    document = {
        "schema_version": 1,
        "file": f"app_{stamp}.db",
        "name": "app",
        "created_at": clock.iso(clock.parse(stamp)),
        "size_bytes": len(content),
        "stored_bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "source": {},
        "verification": {"status": "ok", "errors": []},
        **changes,
    }
    return manifest.encode(document).decode("ascii")


FILE = json.loads(announced())["file"]


# --- links -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", ["accept", "receive", "finish"])
def test_link_in_place_of_the_incoming_directory_is_refused_and_nothing_behind_it_is_removed(receiver, step):
    receiver.state.mkdir()
    receiver.incoming.symlink_to(receiver.outside)
    # What a hostile owner would like to have removed, by a name that could be one of ours.
    planted = receiver.outside / "app_20260101_000000.db"
    planted.write_bytes(CONTENT)
    receiver.part.write_bytes(CONTENT)
    more = {"offset": 0, "part": str(receiver.part)} if step == "receive" else {}
    try:
        answer = receiver.ask(step, manifests=[announced()], **more)
        assert step == "finish" and "symbolic link" in answer["rows"][0]["problem"]
    except errors.BackupDirInvalid as error:
        assert step != "finish" and "symbolic link" in error.message
    assert planted.read_bytes() == CONTENT
    assert sorted(os.listdir(receiver.outside)) == [planted.name, "precious"]


def test_link_in_place_of_the_state_directory_lets_nothing_be_removed(receiver):
    (receiver.outside / "incoming-app").mkdir()
    planted = receiver.outside / "incoming-app" / "app_20260101_000000.db"
    planted.write_bytes(CONTENT)
    receiver.state.symlink_to(receiver.outside)
    with pytest.raises(errors.BackupDirInvalid):
        receiver.accept(announced())
    assert planted.read_bytes() == CONTENT


def test_only_what_has_the_name_of_a_backup_is_tidied(receiver):
    receiver.incoming.mkdir(parents=True)
    for name in ("app_20260101_000000.db", "shadow", "apple_20260101_000000.db"):
        (receiver.incoming / name).write_bytes(b"x")
    receiver.accept(announced())
    assert sorted(os.listdir(receiver.incoming)) == ["apple_20260101_000000.db", "shadow"]


def test_link_in_place_of_an_unfinished_file_is_never_published_nor_written_through(receiver):
    elsewhere = receiver.outside / "precious"
    elsewhere.write_bytes(CONTENT)
    receiver.incoming.mkdir(parents=True)
    (receiver.incoming / FILE).symlink_to(elsewhere)
    assert receiver.accept(announced())[0]["offset"] == 0
    # Even with the right bytes behind it.
    assert "SHA-256 differs" in receiver.finish(announced())[0]
    assert not os.path.lexists(receiver.directory / FILE)
    (receiver.incoming / FILE).symlink_to(elsewhere)
    assert receiver.send(announced(), CONTENT[:10]) == 10
    assert elsewhere.read_bytes() == CONTENT
    (receiver.incoming / FILE).unlink()
    (receiver.incoming / FILE).symlink_to(elsewhere)
    with pytest.raises(errors.Busy):
        receiver.send(announced(), CONTENT[:10], offset=len(CONTENT))
    assert elsewhere.read_bytes() == CONTENT


@pytest.mark.parametrize("suffix", ["", ".json"])
def test_link_in_place_of_a_final_name_is_left_alone(receiver, suffix):
    (receiver.directory / (FILE + suffix)).symlink_to(receiver.outside / "new")
    assert receiver.accept(announced())[0]["state"] == "conflict"
    receiver.send(announced())
    assert "another backup" in receiver.finish(announced())[0]
    assert receiver.untouched()


def test_link_in_place_of_the_unfinished_backup_is_not_followed(receiver):
    receiver.send(announced())
    (receiver.directory / catalog.partial(FILE)).symlink_to(receiver.outside / "precious")
    assert receiver.finish(announced()) == [None]
    assert (receiver.directory / FILE).read_bytes() == CONTENT and not (receiver.directory / FILE).is_symlink()
    assert (receiver.outside / "precious").read_text(encoding="ascii") == "stays"


def test_part_is_given_to_the_owner_of_its_directory_whatever_has_taken_its_name(put_backup, backup_dir, open_place):
    put_backup(content=CONTENT)
    owner = 65534 if os.geteuid() == 0 else os.geteuid()  # Only root can give files away.
    os.chown(open_place, owner, -1)
    victim = open_place / "victim"
    victim.write_bytes(b"of root")
    part = open_place / "part"
    given = ownership.give_to_owner_of

    def exchanged(directory, descriptor):
        part.unlink()
        os.link(victim, part)
        given(directory, descriptor)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ownership, "give_to_owner_of", exchanged)
        wanted = {"file": FILE, "offset": 0, "part_bytes": 10, "part": str(part)}
        operations.transfer(step="read", backup_dir=str(backup_dir), name="app", **wanted)
    assert victim.stat().st_uid == os.geteuid()
    operations.transfer(step="read", backup_dir=str(backup_dir), name="app", **wanted)
    assert (part.stat().st_uid, part.stat().st_mode & 0o777, part.read_bytes()) == (owner, 0o600, CONTENT[:10])


# --- lies ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "file", ["app.\0.db", "app.\n.db", "app.\u202e.db", f"app.{'x' * 250}.db", "app- ..\\x.db", "app.-/../../x.db"]
)
def test_name_that_is_no_plain_file_name_is_refused(receiver, file):
    with pytest.raises(errors.BackupInvalid):
        receiver.accept(announced(file=file))
    assert not receiver.state.joinpath("incoming-app").exists() and receiver.untouched()


def test_more_than_there_is_room_for_is_refused_before_anything_travels(receiver, monkeypatch):
    texts = [announced(stamp) for stamp in ("20261120_020000", "20261121_020000", "20261122_020000")]
    receiver.send(texts[0], CONTENT[:400])
    for free, fits in ((2599, False), (2600, True)):
        monkeypatch.setattr(space, "free_bytes", lambda _path, free=free: free)
        if fits:
            assert [row["state"] for row in receiver.accept(*texts)] == ["wanted"] * 3
        else:
            with pytest.raises(errors.NoSpace):
                receiver.accept(*texts)


def test_part_of_what_does_not_fit_is_refused(receiver):
    huge = announced(stored_bytes=10**18, size_bytes=10**18)
    with pytest.raises(errors.NoSpace):
        receiver.send(huge, b"one byte and more to come")
    assert os.listdir(receiver.incoming) == []


def test_room_is_looked_for_where_the_directory_is_still_to_be_made(receiver, tmp_path):
    rows = operations.transfer(
        step="accept", backup_dir=str(tmp_path / "a" / "b"), name="app", manifests=[announced()], check=True
    )["rows"]
    assert rows[0]["state"] == "wanted" and not (tmp_path / "a").exists()


@pytest.mark.parametrize("claimed", [len(CONTENT) - 1, len(CONTENT) + 1])
def test_size_that_is_not_that_of_the_bytes_is_never_published(receiver, claimed):
    text = announced(stored_bytes=claimed)
    if claimed < len(CONTENT):
        with pytest.raises(errors.BackupInvalid):
            receiver.send(text)
    else:
        receiver.send(text)
    assert "SHA-256 differs" in receiver.finish(text)[0]
    assert catalog.scan(str(receiver.directory), "app") == []


def test_manifest_that_is_too_large_is_refused_unread(receiver, monkeypatch):
    monkeypatch.setattr(manifest, "LARGEST", 100)
    with pytest.raises(errors.BackupInvalid, match="larger than 100"):
        receiver.accept(announced())


# --- what is at the destination --------------------------------------------------------------------------------------


def _arrive(receiver):
    receiver.send(announced())
    assert receiver.finish(announced()) == [None]


def test_nothing_but_the_backup_is_left_when_it_has_arrived(receiver):
    _arrive(receiver)
    assert sorted(os.listdir(receiver.directory)) == [".state", FILE, FILE + ".json"]
    assert not receiver.incoming.exists()


def test_backup_at_the_destination_that_has_lost_bytes_is_no_longer_called_there(receiver):
    _arrive(receiver)
    assert receiver.accept(announced())[0]["state"] == "there"
    (receiver.directory / FILE).write_bytes(CONTENT[:-1])
    (row,) = receiver.accept(announced())
    assert row["state"] == "conflict" and "damaged" in row["problem"] and "999 bytes" in row["problem"]


def test_manifest_alone_at_the_destination_is_told_before_anything_travels(receiver):
    _arrive(receiver)
    (receiver.directory / FILE).unlink()
    (row,) = receiver.accept(announced())
    assert row["state"] == "conflict" and "without its backup" in row["problem"]
    # That of a backup which is being published is no such one: the next run removes it.
    (receiver.directory / catalog.partial(FILE)).write_bytes(b"")
    assert receiver.accept(announced())[0]["state"] == "wanted"


@pytest.mark.parametrize("failing", ["write_new", "publish"])
def test_full_disk_at_the_very_end_keeps_what_has_arrived_and_the_others_go_on(receiver, monkeypatch, failing):
    texts = [announced(), announced("20261123_020000")]
    for text in texts:
        receiver.send(text)
    real = getattr(files, failing)

    def full(*arguments):
        if any(FILE in os.fspath(one) for one in arguments if not isinstance(one, bytes)):
            raise OSError(28, "No space left on device", arguments[0])
        return real(*arguments)

    monkeypatch.setattr(files, failing, full)
    first, second = receiver.finish(*texts)
    assert "No space left" in first and second is None
    assert [entry.file for entry in catalog.scan(str(receiver.directory), "app")] == ["app_20261123_020000.db"]
    assert receiver.accept(texts[0])[0]["offset"] == len(CONTENT)
    monkeypatch.undo()
    assert receiver.finish(texts[0]) == [None]


def test_manifest_of_what_could_not_be_published_is_gone_for_good_before_its_bytes_are_put_back(receiver, monkeypatch):
    """Else a loss of power could leave it alone, and every later transfer would be refused."""
    receiver.send(announced())
    calls, real_sync, real_replace = [], files.sync_directory, files.replace

    def full(source, target):
        calls.clear()
        raise OSError(28, "No space left on device", source)

    def sync(path):
        calls.append(("sync", path, (receiver.directory / (FILE + manifest.SUFFIX)).exists()))
        real_sync(path)

    def put_back(source, target):
        calls.append(("replace", source))
        real_replace(source, target)

    monkeypatch.setattr(files, "publish", full)
    monkeypatch.setattr(files, "sync_directory", sync)
    monkeypatch.setattr(files, "replace", put_back)
    assert "No space left" in receiver.finish(announced())[0]
    assert calls[:2] == [
        ("sync", str(receiver.directory), False),
        ("replace", str(receiver.directory / catalog.partial(FILE))),
    ]


def test_what_the_destination_has_whole_is_told_by_name_and_hash(receiver):
    assert receiver.ask("have")["rows"] == []
    _arrive(receiver)
    assert receiver.ask("have")["rows"] == [{"file": FILE, "sha256": hashlib.sha256(CONTENT).hexdigest()}]
    (receiver.directory / FILE).write_bytes(CONTENT[:-1])
    assert receiver.ask("have")["rows"] == []


def test_what_is_there_is_neither_offered_nor_read(put_backup, backup_dir):
    # The same content twice: an unchanged database that was backed up again.
    paths = [pathlib.Path(put_backup(stamp=f"202611{day}_020000", content=CONTENT)) for day in (20, 21)]
    known = [{"file": paths[0].name, "sha256": hashlib.sha256(CONTENT).hexdigest()}]

    def offered(there):
        answer = operations.transfer(step="offer", backup_dir=str(backup_dir), name="app", there=there)
        return [[one["file"] for one in answer[key]] for key in ("rows", "problems")] + [answer["there"]]

    assert offered(known) == [[paths[1].name], [], [paths[0].name]]
    assert offered([{**known[0], "sha256": "0" * 64}]) == [[path.name for path in paths], [], []]
    paths[0].write_bytes(b"x" * len(CONTENT))
    assert offered(known) == [[paths[1].name], [], [paths[0].name]]
    assert offered(None) == [[paths[1].name], [paths[0].name], []]


# --- the audit log ---------------------------------------------------------------------------------------------------


def test_what_is_refused_leaves_a_line_and_each_part_does_not(receiver):
    receiver.accept(announced())
    receiver.send(announced(), CONTENT[:500])
    receiver.send(announced(), CONTENT[500:], offset=500)
    assert receiver.outcomes() == []
    receiver.finish(announced())
    assert receiver.outcomes() == [("receive", "ok")]
    receiver.accept(announced())
    assert len(receiver.outcomes()) == 1
    receiver.accept(announced(content=b"other"))
    with pytest.raises(errors.BackupInvalid):
        receiver.send(announced("20261123_020000"), CONTENT * 2)
    assert receiver.outcomes() == [("receive", "ok"), ("receive", "ok"), ("receive", "backup_invalid")]
    lines = pathlib.Path(receiver.state / "audit.jsonl").read_text(encoding="ascii").splitlines()
    assert [json.loads(line).get("counts") for line in lines] == [
        {"received": 1, "refused": 0},
        {"refused": 1},
        None,
    ]
