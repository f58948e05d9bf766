# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import json
import os
import stat

import pytest
from engine import errors, manifest

SOUND = {
    "schema_version": 1,
    "file": "app_20261122_020000.db",
    "name": "app",
    "created_at": "2026-11-22T02:00:00.000Z",
    "stored_bytes": 7,
    "sha256": "00" * 32,
    "verification": {"status": "ok"},
    "source": {},
}


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "app_20261122_020000.db.json")


def _write(path, document):
    with open(path, "wb") as file:
        file.write(document if isinstance(document, bytes) else json.dumps(document).encode())
    return path


def test_manifest_comes_back_with_its_unknown_keys(path):
    document = {**SOUND, "from_the_future": {"deep": [1, {"er": None}]}}
    manifest.write_new(path, document)
    assert manifest.load(path) == document


def test_manifest_carries_a_path_that_is_no_utf8(path):
    odd = "/srv/\udcff\n.db"
    manifest.write_new(path, {**SOUND, "source": {"path": odd}})
    assert manifest.load(path)["source"]["path"] == odd
    with open(path, "rb") as file:
        assert file.read().isascii()


def test_manifest_is_private_and_never_replaces_another(path):
    manifest.write_new(path, SOUND)
    assert os.name == "nt" or stat.S_IMODE(os.stat(path).st_mode) == 0o600
    with pytest.raises(FileExistsError):
        manifest.write_new(path, SOUND)


def _without(key):
    return {name: value for name, value in SOUND.items() if name != key}


MALFORMED = {
    "empty": (b"", "not valid JSON"),
    "text": (b"hello", "not valid JSON"),
    "cut-short": (json.dumps(SOUND).encode()[:-5], "not valid JSON"),
    "not-utf8": (b'{"file": "\xff\xfe"}', "not valid JSON"),
    "binary": (bytes(range(256)), "not valid JSON"),
    "too-deep": (b"[" * 100_000, "not valid JSON"),
    "list": ([SOUND], "not a JSON object"),
    "null": (None, "not a JSON object"),
    "foreign": ({"version": "2.0"}, "no schema_version"),
    "version-text": ({**SOUND, "schema_version": "1"}, "no schema_version"),
    "version-true": ({**SOUND, "schema_version": True}, "no schema_version"),
    "version-newer": ({**SOUND, "schema_version": 2}, "newer than 1"),
    "time-text": ({**SOUND, "created_at": "yesterday"}, "created_at is not a time"),
    "time-impossible": ({**SOUND, "created_at": "2026-02-30T00:00:00Z"}, "created_at is not a time"),
    "time-out-of-range": ({**SOUND, "created_at": "0001-01-01T00:00:00+14:00"}, "created_at is not a time"),
    "bytes-true": ({**SOUND, "stored_bytes": True}, "'stored_bytes' is not of type int"),
    "bytes-float": ({**SOUND, "stored_bytes": 7.0}, "'stored_bytes' is not of type int"),
    "file-number": ({**SOUND, "file": 7}, "'file' is not of type str"),
    "verification-text": ({**SOUND, "verification": "ok"}, "'verification' is not of type dict"),
    "status-list": ({**SOUND, "verification": {"status": []}}, "'status' is not of type str"),
    "errors-number": ({**SOUND, "verification": {"errors": 5}}, "'errors' is not of type list"),
    "source-list": ({**SOUND, "source": []}, "'source' is not of type dict"),
    "pinned-text": ({**SOUND, "pinned": "no"}, "'pinned' is not of type bool"),
    "annotations-list": ({**SOUND, "annotations": []}, "'annotations' is not of type dict"),
    "size-text": ({**SOUND, "size_bytes": "7"}, "'size_bytes' is not of type int"),
    "size-negative": ({**SOUND, "size_bytes": -1}, "'size_bytes' is out of range"),
    "size-without-end": ({**SOUND, "size_bytes": 10**400}, "'size_bytes' is out of range"),
    "owner-nobody-can-be": ({**SOUND, "source": {"uid": 2**32 - 1}}, "'uid' is out of range"),
    "owner-negative": ({**SOUND, "source": {"gid": -1}}, "'gid' is out of range"),
    "owner-text": ({**SOUND, "source": {"gid": "0"}}, "'gid' is not of type int"),
    "mode-without-end": ({**SOUND, "source": {"mode": "7" * 40}}, "'mode' is no file mode"),
    "mode-negative": ({**SOUND, "source": {"mode": "-1"}}, "'mode' is no file mode"),
    **{f"without-{key}": (_without(key), f"lacks '{key}'") for key in SOUND if key != "schema_version"},
}


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed_manifest_is_refused_and_what_is_wrong_is_named(path, case):
    document, cause = MALFORMED[case]
    _write(path, b"null" if document is None else document)
    with pytest.raises(errors.BackupInvalid) as caught:
        manifest.load(path)
    assert cause in caught.value.cause and caught.value.path == path


def test_optional_keys_may_be_null(path):
    document = {**SOUND, "pinned": None, "annotations": None, "size_bytes": None}
    assert manifest.load(_write(path, document)) == document


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999"])
def test_number_that_json_has_not_is_read_as_none_and_never_told_again(path, number):
    raw = json.dumps({**SOUND, "duration_seconds": 7.5}).encode().replace(b"7.5", number.encode())
    known = manifest.load(_write(path, raw))
    assert known == {**SOUND, "duration_seconds": None}
    json.dumps(known, allow_nan=False)
    stored = json.dumps(SOUND).encode().replace(b'"stored_bytes": 7', b'"stored_bytes": ' + number.encode())
    with pytest.raises(errors.BackupInvalid):
        manifest.load(_write(path, stored))


def test_manifest_that_is_too_large_is_refused_unread(path, monkeypatch):
    monkeypatch.setattr(manifest, "LARGEST", 1000)
    manifest.load(_write(path, {**SOUND, "pad": "x" * 500}))
    with pytest.raises(errors.BackupInvalid) as caught:
        manifest.load(_write(path, {**SOUND, "pad": "x" * 1000}))
    assert "larger than 1000 bytes" in caught.value.cause


@pytest.mark.parametrize("kind", ["fifo", "link", "dangling", "directory"])
def test_what_is_no_regular_file_is_refused_without_waiting(path, tmp_path, kind):
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "directory":
        os.mkdir(path)
    else:
        os.symlink("target.json", path)
        if kind == "link":
            _write(str(tmp_path / "target.json"), SOUND)
    with pytest.raises(errors.BackupInvalid) as caught:
        manifest.load(path)
    assert "not a regular file" in caught.value.cause


def test_missing_manifest_is_told_with_its_path(path):
    with pytest.raises(errors.BackupError) as caught:
        manifest.load(path)
    assert caught.value.path == path


def test_update_changes_only_what_it_is_told_and_keeps_the_mode(path):
    document = {**SOUND, "from_the_future": [1]}
    manifest.write_new(path, document)
    os.chmod(path, 0o640)
    assert manifest.update(path, pinned=True) == {**document, "pinned": True}
    assert manifest.load(path) == {**document, "pinned": True}
    assert os.name == "nt" or stat.S_IMODE(os.stat(path).st_mode) == 0o640


def test_update_that_cannot_be_finished_leaves_the_old_manifest(path, monkeypatch):
    manifest.write_new(path, SOUND)

    def fail(*_names, **_where):
        raise OSError(5, "Input/output error")

    for function in ("fsync", "replace"):
        with monkeypatch.context() as patched:
            patched.setattr(os, function, fail)
            with pytest.raises(OSError):
                manifest.update(path, pinned=True)
        assert manifest.load(path) == SOUND


def test_update_of_a_malformed_manifest_is_refused(path):
    _write(path, b"garbage")
    with pytest.raises(errors.BackupInvalid):
        manifest.update(path, pinned=True)
    with open(path, "rb") as file:
        assert file.read() == b"garbage"


def test_tool_names_the_three_versions():
    assert set(manifest.tool()) == {"version", "python", "sqlite"} and all(manifest.tool().values())
