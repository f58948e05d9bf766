# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A filesystem on a loop device, which goes down at once: whatever is not on the device by then is lost.

The kernel's own way to try a crash (the ioctl SHUTDOWN of ext4, GOINGDOWN of xfs): not even the filesystem's journal is
written any more. Mounted again, it recovers as after a loss of power.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import struct
import subprocess

MIB = 1024 * 1024
# The smallest that each makes with room for the scenes.
SIZES = {"ext4": 128 * MIB, "xfs": 320 * MIB}
_GO_DOWN, _WITHOUT_ITS_LOG = 0x8004587D, 2  # linux/fs/ext4/ext4.h, linux/fs/xfs/xfs_fs.h


def obstacle(kind):
    """Why there can be no such volume here, or None."""
    if os.geteuid():
        return "a loop device needs root"
    if not os.path.exists("/dev/loop-control"):
        return "there are no loop devices"
    return None if shutil.which(f"mkfs.{kind}") else f"mkfs.{kind} is not installed"


class Volume:
    """``path`` is its root. `close` must be called."""

    def __init__(self, kind, directory):
        self._kind, self._directory, self._number = kind, directory, 0
        self.path = os.path.join(directory, kind)
        os.mkdir(self.path)
        with open(self._image(), "wb") as file:
            file.truncate(SIZES[kind])
        subprocess.run([f"mkfs.{kind}", "-q", self._image()], check=True, capture_output=True)
        self._mount()

    def _image(self):
        return os.path.join(self._directory, f"{self._kind}-{self._number}.image")

    def _mount(self):
        options = "loop,nouuid" if self._kind == "xfs" else "loop"
        subprocess.run(["mount", "-o", options, self._image(), self.path], check=True, capture_output=True)

    def settle(self):
        """All that is there is on the device."""
        subprocess.run(["sync", "--file-system", self.path], check=True)

    def lose_power(self):
        """All that is not on the device is lost; then there is power again."""
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.ioctl(descriptor, _GO_DOWN, struct.pack("I", _WITHOUT_ITS_LOG))
        finally:
            os.close(descriptor)
        subprocess.run(["umount", self.path], check=True, capture_output=True)
        # A copy is mounted again: whoever has the old mount in a namespace of his own keeps alive what went down.
        before = self._image()
        self._number += 1
        subprocess.run(["cp", "--sparse=always", before, self._image()], check=True)
        os.unlink(before)
        self._mount()

    def close(self):
        subprocess.run(["umount", "--lazy", self.path], check=True, capture_output=True)
        os.unlink(self._image())
