# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The scratch place of a drill: a directory of its own under a lock of its own, gone when the drill is.

The lock of the name is left free: a drill of a large database must not keep the nightly backup, or a restore in an
emergency, waiting. A kill leaves the directory; the next drill of the name, or its next backup, removes it.
"""

from __future__ import annotations

import contextlib
import os
import stat

from .. import errors, files, lock, store
from .. import session as room


@contextlib.contextmanager
def held(session, elsewhere=None):
    """The path of an empty directory (0700) while the block runs; ``elsewhere`` is a directory to make it in.

    Raises Busy while another drill of the name runs, PermissionDenied, BackupDirInvalid.
    """
    target = session.target
    if elsewhere is not None and not os.path.isdir(elsewhere):
        raise errors.BackupDirInvalid(
            "there is no such directory for the scratch copies", path=elsewhere, hint="Make it, or name another one."
        )
    path = store.drill_dir(target, elsewhere)
    with _lock(session, elsewhere):
        # First, so that the owner's own backup, which removes what a killed drill has left, sees that this one lives.
        room.give_back(session)
        _require_ours(path)
        files.remove_tree(path)
        try:
            make(path)
        except OSError as error:
            raise _unusable(error, path) from error
        # And now, so that it can take this away after a kill.
        room.give_back(session)
        try:
            yield path
        finally:
            files.remove_tree(path)


@contextlib.contextmanager
def _lock(session, elsewhere):
    target = session.target
    path = store.drill_lock(target, elsewhere)
    try:
        with lock.held(path, "drill", session.settings["busy_timeout"]):
            yield
    except OSError as error:
        if error.filename is not None and os.fspath(error.filename).startswith(os.path.dirname(path)):
            raise _unusable(error, path) from error
        raise


def _require_ours(path):
    """What lies there already may be a trap in a directory that others can write: it is used only if it is ours."""
    try:
        facts = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISDIR(facts.st_mode) or (hasattr(os, "geteuid") and os.geteuid() not in (0, facts.st_uid)):
        raise _not_ours(path)


def make(path):
    """Make a directory of ours. Whoever makes one of its name in a place that all can write, just before, owns what he
    made, and would be given what lies in it: PermissionDenied.
    """
    try:
        files.make_new_directory(path)
    except FileExistsError:
        raise _not_ours(path) from None


def _not_ours(path):
    hint = "Look who has put it there; remove it, or name another directory as scratch_dir."
    return errors.PermissionDenied("something that is not ours lies in the scratch place", path=path, hint=hint)


def _unusable(error, path):
    translated = errors.from_os_error(error, path)
    translated.hint = "Name a directory that can be written as scratch_dir; nothing was changed."
    return translated
