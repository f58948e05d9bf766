# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import contextlib
import errno
import os
import signal
import struct

import pytest
from engine import audit, files, operations, ownership

OTHER = 4711


@pytest.fixture
def others(tmp_path):
    """A backup directory of somebody else's with files of root's in it."""
    assert os.geteuid() == 0, "only root can give files away: run these tests as root"
    directory = tmp_path / "backups"
    (directory / ".state").mkdir(parents=True)
    for name in ("app_1.db", "app_1.db.json", ".state/app.lock"):
        (directory / name).write_text("x")
    os.chown(directory, OTHER, OTHER)
    return directory


def _owner(path):
    return os.lstat(path).st_uid


def test_what_root_makes_in_a_directory_of_somebody_elses_becomes_his(others):
    ownership.give_back(str(others), ".state")
    for name in ("app_1.db", "app_1.db.json", ".state", ".state/app.lock"):
        assert _owner(others / name) == OTHER, name


def test_nothing_is_given_away_behind_a_link_or_by_a_second_name(others, tmp_path):
    secret, linked = tmp_path / "secret", tmp_path / "linked"
    secret.write_text("x")
    linked.write_text("x")
    (others / "link").symlink_to(secret)
    os.link(linked, others / "hard")
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("x")
    os.rename(others / ".state", others / "gone")
    (others / ".state").symlink_to(outside)
    with pytest.raises(OSError, match="."):
        ownership.give_back(str(others), ".state")
    assert [_owner(path) for path in (secret, linked, outside, outside / "file")] == [0, 0, 0, 0]
    assert _owner(others / "app_1.db") == OTHER


def test_directory_of_roots_own_and_files_of_a_third_are_left_alone(others, tmp_path):
    os.chown(others / "app_1.db", 4712, 4712)
    ownership.give_back(str(others), ".state")
    assert _owner(others / "app_1.db") == 4712
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "file").write_text("x")
    ownership.give_back(str(mine), ".state")
    assert _owner(mine / "file") == 0
    ownership.give_back(str(tmp_path / "nothing"), ".state")


def test_copy_gives_mode_owner_and_attributes(tmp_path):
    path, other = str(tmp_path / "a"), str(tmp_path / "b")
    files.write_new(path, b"x")
    files.write_new(other, b"y")
    if os.geteuid() == 0:
        os.chown(path, 1234, 2345)
    os.chmod(path, 0o640)
    try:
        os.setxattr(path, "user.origin", b"here")
        attributes = {"user.origin": b"here"}
    except OSError:  # tmpfs of older kernels has none
        attributes = {}
    ownership.copy(path, other)
    wanted, got = os.stat(path), os.stat(other)
    assert (got.st_uid, got.st_gid, got.st_mode) == (wanted.st_uid, wanted.st_gid, wanted.st_mode)
    for name, value in attributes.items():
        assert os.getxattr(other, name) == value


def test_signal_while_the_audit_line_is_written_keeps_nothing_from_its_owner(others, database, monkeypatch):
    class Ended(BaseException):
        pass

    def end(*_arguments):
        raise Ended

    def append(path, record):
        os.kill(os.getpid(), signal.SIGTERM)
        real(path, record)

    real = audit.append
    monkeypatch.setattr(audit, "append", append)
    before = signal.signal(signal.SIGTERM, end)
    try:
        with pytest.raises(Ended):
            operations.backup(database=database, backup_dir=str(others), name="app")
    finally:
        signal.signal(signal.SIGTERM, before)
    made = [*others.glob("app_*"), *others.glob(".state/*")]
    assert len(made) == 6 and {_owner(path) for path in made} == {OTHER}


def _acl(*entries):
    """As Linux stores one: (tag, permissions, id)."""
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


def test_copy_takes_away_what_the_directory_gives_to_new_files_and_the_reference_has_not(tmp_path):
    nobody = 0xFFFFFFFF
    grant = _acl((1, 7, nobody), (2, 7, OTHER), (4, 0, nobody), (16, 7, nobody), (32, 0, nobody))
    path, other = str(tmp_path / "a"), str(tmp_path / "b")
    files.write_new(path, b"x")
    os.chmod(path, 0o640)
    try:
        os.setxattr(tmp_path, "system.posix_acl_default", grant)
    except (AttributeError, OSError):
        pytest.skip("there are no access control lists here")
    files.write_new(other, b"y", mode=0o660)
    os.setxattr(other, "user.origin", b"elsewhere")
    assert "system.posix_acl_access" in os.listxattr(other)
    ownership.copy(path, other)
    assert set(os.listxattr(other)) == set(os.listxattr(path))
    assert os.stat(other).st_mode == os.stat(path).st_mode
    # And one that the reference has stays, as it is there.
    inherits = str(tmp_path / "c")
    files.write_new(inherits, b"z", mode=0o640)
    ownership.copy(inherits, other)
    acl = "system.posix_acl_access"
    assert os.getxattr(other, acl) == os.getxattr(inherits, acl)
    assert os.stat(other).st_mode == os.stat(inherits).st_mode


@pytest.mark.parametrize(("attribute", "stops"), [("user.origin", True), ("security.label", False)])
def test_attribute_that_an_owner_may_set_is_not_lost_in_silence(tmp_path, monkeypatch, attribute, stops):
    reference, target = tmp_path / "reference", tmp_path / "target"
    reference.write_text("x")
    target.write_text("x")

    def refuse(*_arguments):
        raise PermissionError(errno.EACCES, "Permission denied", 5)  # Of a descriptor that says nothing to anybody.

    monkeypatch.setattr(os, "listxattr", lambda file, **_options: [attribute] if file == str(reference) else [])
    monkeypatch.setattr(os, "getxattr", lambda *_arguments, **_options: b"here")
    monkeypatch.setattr(os, "setxattr", refuse)
    with pytest.raises(PermissionError) if stops else contextlib.nullcontext() as caught:
        ownership.copy(str(reference), str(target))
    assert not stops or caught.value.filename == str(reference)
