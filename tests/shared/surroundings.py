# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What tests and the programs that they start are surrounded by: nothing of the caller's reaches the engine."""

from __future__ import annotations

import contextlib
import os
import pathlib
import tempfile

ENGINE_PARENT = str(pathlib.Path(__file__).resolve().parent.parent.parent / "plugins" / "module_utils")
# Where a directory in memory can be made; None (tempfile's own choice) where there is none.
MEMORY = "/dev/shm" if os.path.isdir("/dev/shm") else None


def settings():
    """The names of the variables that would tell the engine or the scripts something."""
    return [name for name in os.environ if name.startswith(("BACKUP_", "DIGITALME_"))]


def environment(home, **more):
    """The environment for ``python -m engine``: the caller's without its settings, a home, and what is told."""
    kept = {name: value for name, value in os.environ.items() if name not in settings()}
    return {**kept, "PYTHONPATH": ENGINE_PARENT, "HOME": str(home), "PYTHONDONTWRITEBYTECODE": "1", **more}


def isolate(patch, directory):
    """Until the patch is undone nothing reads the host's configuration, or writes into the caller's home."""
    from engine import config

    for name in settings():
        patch.delenv(name)
    patch.setattr(config, "PATH", str(directory / "no" / "config.json"))
    patch.setenv("HOME", str(directory / "home"))


@contextlib.contextmanager
def quick_directory():
    """A directory in memory where there is one: a kill loses nothing that was written, on no kind of disk."""
    with tempfile.TemporaryDirectory(prefix="digitalme-test-", dir=MEMORY) as directory:
        yield pathlib.Path(directory)
