# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Faults of the place that a restore writes to: a disk that is full, and a database of another owner."""

from __future__ import annotations

import ctypes
import os
import stat

from .. import copying, errors, files, manifest, ownership, processes
from . import content
from .judging import require

_NOBODY = 65534
# Neither what a new file of ours has, nor what an umask makes of it.
_MODE = 0o640
# Of <sched.h> and <sys/mount.h>, on Linux.
_NEW_MOUNT_NAMESPACE, _RECURSIVE, _PRIVATE = 0x00020000, 0x4000, 0x40000


def needs_fork():
    """Raise FaultNotRun where a restore cannot be made in a process of its own."""
    if not hasattr(os, "fork"):
        raise errors.FaultNotRun("this system has no fork, so that the restore cannot be made in a process of its own")


# --- a full disk -----------------------------------------------------------------------------------------------------


def full_disk(scene):
    """The disk is full: half way through the restore, and, where that can be had, from the start.

    Half way by a limit on the size of files. From the start by a small filesystem that only the restoring process sees:
    it is gone with that process, however it ends.
    """
    needs_fork()
    with scene.work() as work:
        said = f"half way, by a limit on the size of files: {_judge(processes.apart(lambda: _half_way(scene, work)))}"
        answer = processes.apart(lambda: _from_the_start(scene, work))
        cannot = (answer[0] or {}).get("cannot")
        return f"{said}; from the start, on a small filesystem: {f'not tried ({cannot})' if cannot else _judge(answer)}"


def _judge(answer):
    found, ended_by = answer
    require(found is not None, f"the restore was ended by signal {ended_by}")
    if found["error_code"] == errors.TimeLimit.error_code:
        raise errors.TimeLimit(found["cause"])
    code = errors.NoSpace.error_code
    require(found["error_code"] == code, f"it was told as {found['error_code']}, not as {code}: {found['cause']}")
    require(found["whole"], "the old content is not what it was")
    require(not found["left"], f"left beside the database: {', '.join(found['left'])}")
    return f"{code} ({found['cause']}), the old content whole, nothing left beside it"


def _half_way(scene, work):
    """In a child of its own: no file of this process may become larger than half of the database."""
    import resource

    directory = os.path.join(work, "half")
    files.make_directory(directory)
    live = _small_live(directory, scene)
    _soft, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (max(1, scene.form.size_bytes // 2), most))
    return _restored(scene, work, live)


def _from_the_start(scene, work):
    """In a child of its own: the live database alone fills the filesystem, but for two pages."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return {"cannot": "only root can mount a filesystem"}
    directory = os.path.join(work, "small")
    files.make_directory(directory)
    page = os.sysconf("SC_PAGE_SIZE")
    sample = _small_live(work, scene)
    try:
        _mount_small(directory, (-(-files.size(sample) // page) + 2) * page)
    except OSError as error:
        return {"cannot": f"no filesystem can be mounted here: {error.strerror}"}
    live = os.path.join(directory, os.path.basename(sample))
    copying.copy(sample, live)
    return _restored(scene, work, live)


def _small_live(directory, scene):
    """A database of a few pages, larger than what is left free beside it."""
    path = os.path.join(directory, f"{scene.name}.db")
    content.make(path, content.Form(size_bytes=4 * os.sysconf("SC_PAGE_SIZE")))
    return path


def _mount_small(directory, size):
    """Mount a filesystem of so many bytes in a mount namespace of this process alone. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    for call in (
        lambda: libc.unshare(_NEW_MOUNT_NAMESPACE),
        # What is mounted here must not appear in the namespace that this one was copied from.
        lambda: libc.mount(b"none", b"/", None, ctypes.c_ulong(_RECURSIVE | _PRIVATE), None),
        lambda: libc.mount(b"none", os.fsencode(directory), b"tmpfs", ctypes.c_ulong(0), b"mode=0700,size=%d" % size),
    ):
        if call() != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), directory)


def _restored(scene, work, live):
    """What came of a restore: {error_code, cause, whole (is the old content there), left (what lies beside it)}."""
    # The audit log that is written where its own place is full lies in the caller's home: not in the real one.
    os.environ["HOME"] = work
    before, answer = files.sha256(live), {"error_code": None, "cause": "the restore went well"}
    try:
        scene.restore(live)
    except errors.BackupError as error:
        answer = {"error_code": error.error_code, "cause": error.cause}
    return {**answer, "whole": files.sha256(live) == before, "left": beside(live)}


def beside(live):
    """Names of what lies beside the database, sorted."""
    return sorted(set(os.listdir(os.path.dirname(live))) - {os.path.basename(live)})


# --- another owner ---------------------------------------------------------------------------------------------------


def wrong_owner(scene):
    """The database belongs to somebody else, with a mode of its own: both survive a restore that replaces the file, and
    where it is gone they are those of the manifest. Anybody but root has only the mode to give.
    """
    with scene.work() as work:
        replaced = os.path.join(work, f"{scene.name}.db")
        content.make(replaced, content.Form(size_bytes=scene.form.size_bytes))
        owner = _give_away(replaced)
        scene.restore(replaced, strategy="replace", pre_backup=False)
        _require(scene, replaced, owner, "replaced")
        files.remove(replaced)
        said = f"a file of uid {owner[0]}, mode {_MODE:04o}, was replaced and kept them"
        own = manifest.encode(scene.known)
        source = {**scene.known["source"], "uid": owner[0], "gid": owner[1], "mode": f"{_MODE:04o}"}
        try:
            files.write_atomically(
                scene.manifest, manifest.encode({**scene.known, "host": manifest.host(), "source": source})
            )
            absent = os.path.join(work, "absent", f"{scene.name}.db")
            files.make_directory(os.path.dirname(absent))
            scene.restore(absent)
        finally:
            files.write_atomically(scene.manifest, own)
        _require(scene, absent, owner, "brought back")
    return f"{said}; where there was none it has those of the manifest"


def _give_away(path):
    """(uid, gid) that the file has got: of nobody, where that is possible."""
    try:
        ownership.set_on(path, _NOBODY, _NOBODY, _MODE)
    except PermissionError:
        ownership.set_on(path, os.stat(path).st_uid, os.stat(path).st_gid, _MODE)
    facts = os.stat(path)
    return facts.st_uid, facts.st_gid


def _require(scene, path, owner, how):
    facts = os.stat(path)
    found = (facts.st_uid, facts.st_gid, stat.S_IMODE(facts.st_mode))
    wanted = (*owner, _MODE)
    require(
        found == wanted,
        "the file that was {} has uid, gid and mode {}:{}:{:04o}, not {}:{}:{:04o}".format(how, *found, *wanted),
    )
    require(content.same(path, scene.rows), f"the file that was {how} has not the backup's rows")
    require(not beside(path) or beside(path) == ["absent"], f"left beside it: {', '.join(beside(path))}")
