# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Small real filesystems that can be filled to the last block, and taken away from under a running program.

ext4, xfs and btrfs lie on loop devices, tmpfs in memory. What is tried on them lies in ``files``; ``ballast`` beside it
takes the room.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pathlib
import shutil
import struct
import subprocess

MIB = 1 << 20
_BLOCK = 1024
_SIZES = {"ext4": 32 * MIB, "xfs": 320 * MIB, "btrfs": 160 * MIB, "tmpfs": 32 * MIB}
_OPTIONS = {"ext4": "loop,errors=remount-ro", "xfs": "loop,nouuid", "btrfs": "loop"}
# EXT4_IOC_SHUTDOWN and XFS_IOC_GOINGDOWN are the same (linux/fs/ext4/ext4.h, linux/fs/xfs/xfs_fs.h): no write after it
# gets to the disk; 1 also writes the filesystem's log out, 2 does not.
_SHUTDOWN, _WITH_LOG, _WITHOUT_LOG = 0x8004587D, 1, 2


def why_not(kind):
    """Why such a filesystem cannot be made and mounted here; None where it can."""
    if os.geteuid():
        return "to mount a filesystem needs root"
    if kind == "tmpfs":
        return None
    if not os.path.exists("/dev/loop-control"):
        return "there are no loop devices"
    return None if shutil.which(f"mkfs.{kind}") else f"mkfs.{kind} is not installed"


def _run(*words):
    return subprocess.run([str(word) for word in words], check=True, capture_output=True, text=True).stdout


def _subvolume(path):
    return int(_run("btrfs", "inspect-internal", "rootid", path))


class Volume:
    """A mounted filesystem below ``place``; ``inodes`` limits how many files an ext4 has.

    ``size`` in bytes is the smallest that each makes, where none is given.
    """

    def __init__(self, kind, place, inodes=None, size=None):
        self.kind = kind
        self.image, self.point = place / f"{kind}.image", place / kind
        self.point.mkdir()
        self.files, self.ballast = self.point / "files", self.point / "ballast"
        if kind != "tmpfs":
            with open(self.image, "wb") as file:
                file.truncate(size or _SIZES[kind])
            more = ("-m", "0", *(("-N", str(inodes)) if inodes else ())) if kind == "ext4" else ()
            _run(f"mkfs.{kind}", "-q", *more, self.image)
        self.mount()
        if kind == "btrfs":
            _run("btrfs", "quota", "enable", self.point)
            _run("btrfs", "subvolume", "create", self.files)
        else:
            self.files.mkdir()

    def mount(self):
        if self.kind == "tmpfs":
            _run("mount", "-t", "tmpfs", "-o", f"size={_SIZES['tmpfs']}", "none", self.point)
        else:
            _run("mount", "-o", _OPTIONS[self.kind], self.image, self.point)

    def unmount(self):
        _run("umount", self.point)

    def mount_again(self):
        """As after a repair, or a start of the machine."""
        self.unmount()
        self.mount()

    def clear(self):
        """Take all away that was put there, and the ballast."""
        self.relieve()
        for path in self.files.iterdir():
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()

    # --- full --------------------------------------------------------------------------------------------------------

    def fill(self, left):
        """Let another user of the disk take all of it but so many bytes."""
        if self.kind == "btrfs":
            # Its own free space is a guess; a limit is exact, and what is over it is "Disk quota exceeded".
            _run("btrfs", "filesystem", "sync", self.point)
            self._limit(self._used_of_quota() + left)
            return
        descriptor = os.open(self.ballast, os.O_CREAT | os.O_RDWR, 0o600)
        try:
            # Filesystems keep some for themselves that they call free, so that only trying tells.
            size, step = os.fstat(descriptor).st_size, 16 * MIB
            while step >= _BLOCK:
                try:
                    os.posix_fallocate(descriptor, size, step)
                    size += step
                except OSError:
                    step //= 2
            os.ftruncate(descriptor, max(0, size - left))
        finally:
            os.close(descriptor)

    def _limit(self, most):
        # Of the subvolume by its number, asked for at the top: in it the call itself would need some room.
        number = _subvolume(self.files)
        _run("btrfs", "qgroup", "limit", most, f"0/{number}", self.point)

    def _used_of_quota(self):
        return int(_run("btrfs", "qgroup", "show", "--raw", "-f", self.files).splitlines()[-1].split()[1])

    def fill_inodes(self, left):
        """Take all names that the filesystem has room for but so many."""
        self.ballast.mkdir(exist_ok=True)
        with contextlib.suppress(OSError):
            for nth in range(10**6):
                if os.statvfs(self.point).f_ffree <= left:
                    break
                (self.ballast / str(nth)).touch()

    def relieve(self):
        if self.kind == "btrfs":
            self._limit("none")
        elif self.ballast.is_dir():
            shutil.rmtree(self.ballast)
        elif self.ballast.exists():
            os.truncate(self.ballast, 0)  # xfs gives back what was removed some time later.
            self.ballast.unlink()

    # --- gone --------------------------------------------------------------------------------------------------------

    def break_read_only(self):
        """Let ext4 find an error in itself, on which it makes itself read-only."""
        source = _run("findmnt", "-no", "SOURCE", self.point).strip()
        pathlib.Path("/sys/fs/ext4", os.path.basename(source), "trigger_fs_error").write_text("1", encoding="ascii")

    def shut_down(self):
        """Let no further write get to the disk, as when its cable is pulled."""
        self._go_down(_WITH_LOG)

    def lose_power(self):
        """What is not on the device is lost, also what the filesystem's log was to hold; then there is power again."""
        self._go_down(_WITHOUT_LOG)
        self.unmount()
        # A copy is mounted again: whoever has the old mount in a namespace of his own keeps alive what went down.
        _run("cp", "--sparse=always", self.image, self.image.with_suffix(".copy"))
        os.replace(self.image.with_suffix(".copy"), self.image)
        self.mount()

    def _go_down(self, how):
        descriptor = os.open(self.point, os.O_RDONLY)
        try:
            fcntl.ioctl(descriptor, _SHUTDOWN, struct.pack("I", how))
        finally:
            os.close(descriptor)

    def settle(self):
        """All that is there is on the device."""
        _run("sync", "--file-system", self.point)


@contextlib.contextmanager
def volume(kind, place, inodes=None, size=None):
    """A `Volume`; it is gone afterwards, whatever happens."""
    made = Volume.__new__(Volume)
    try:
        made.__init__(kind, place, inodes, size)
        yield made
    finally:
        subprocess.run(["umount", "--lazy", str(place / kind)], check=False, capture_output=True)
        (place / f"{kind}.image").unlink(missing_ok=True)
