# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Filesystems to measure on: the one that WORK lies on, and others on loop devices, as root."""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
import subprocess

HERE = "here"


def kind(folder):
    """The type of a folder's filesystem, as the kernel calls it."""
    words = ["stat", "--file-system", "--format=%T", str(folder)]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip().replace("ext2/ext3", "ext4")


def why_not(name):
    """Why such a filesystem cannot be made here; None where it can."""
    if os.geteuid():
        return "a loop device needs root"
    return None if shutil.which(f"mkfs.{name}") else f"mkfs.{name} is not installed"


@contextlib.contextmanager
def filesystem(name, work, size):
    """A folder on a new filesystem of that name and size in bytes; it is gone afterwards, whatever happens."""
    image, point = pathlib.Path(work) / f"{name}.image", pathlib.Path(work) / name
    point.mkdir(parents=True)
    with open(image, "wb") as file:
        file.truncate(size)
    subprocess.run([f"mkfs.{name}", "-q", str(image)], check=True, stdout=subprocess.DEVNULL)
    try:
        subprocess.run(["mount", "-o", "loop", str(image), str(point)], check=True)
        try:
            yield point
        finally:
            subprocess.run(["umount", "--lazy", str(point)], check=True)
    finally:
        image.unlink()
        point.rmdir()


def quiet():
    """Nobody pays for what another one has left to be written."""
    os.sync()


def cold():
    """Forget everything that was read."""
    os.sync()
    pathlib.Path("/proc/sys/vm/drop_caches").write_text("3", encoding="ascii")


def warm(path):
    # By another process: to close a file here would take away the locks of connections that this one has to it.
    subprocess.run(["cat", str(path)], check=True, stdout=subprocess.DEVNULL)
