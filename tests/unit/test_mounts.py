# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the table of mounts tells of a path."""

from __future__ import annotations

from engine import mounts


def test_is_mount_point_is_false_for_an_ordinary_file(tmp_path):
    (tmp_path / "file").touch()
    assert mounts.is_mount_point(str(tmp_path / "file")) is False


def test_is_mount_point_reads_escaped_names(monkeypatch):
    import io

    line = b"36 35 98:0 /x /srv/a\\040b\\012.db rw - ext4 /dev/sda rw\n"
    monkeypatch.setattr("builtins.open", lambda *_args: io.BytesIO(line))
    assert mounts.is_mount_point("/srv/a b\n.db") is True


def _mounts(monkeypatch, *lines):
    import io

    monkeypatch.setattr("builtins.open", lambda *_args: io.BytesIO(b"".join(lines)))


def test_filesystem_is_that_of_the_innermost_and_last_mount(monkeypatch):
    lines = (
        b"1 0 8:1 / / rw shared:1 - ext4 /dev/sda1 rw\n",
        b"2 1 0:5 / /srv rw - nfs4 host:/x rw\n",
        b"3 2 8:2 / /srv/a\\040b rw - btrfs /dev/sdb rw\n",
        b"4 2 8:3 / /srv/a\\040b rw - xfs /dev/sdc rw\n",
    )
    for path, kind in (("/srv/a b/x.db", "xfs"), ("/srv/a bc/x.db", "nfs4"), ("/srvx/x.db", "ext4")):
        _mounts(monkeypatch, *lines)
        assert mounts.filesystem(path) == kind


def test_filesystem_is_unknown_where_nothing_tells_of_mounts(monkeypatch):
    def missing(*_arguments):
        raise FileNotFoundError

    monkeypatch.setattr("builtins.open", missing)
    assert mounts.filesystem("/srv/x.db") is None
