# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Backups travel in parts from one backup directory to another, on different machines.

Whoever carries the parts asks the sending side what it offers and the receiving side what it accepts, carries the parts
of each file, and has the receiving side finish it. What has arrived so far lies in ``.state/incoming-NAME/X``, where
no run of the name removes it, so that a transfer that was killed goes on where it was. The order on the receiving side,
X being the backup's name:

1. Parts are added to ``.state/incoming-NAME/X``. A crash leaves what has arrived.
2. Its SHA-256 is the manifest's, and it is fsynced: a crash leaves it whole, to be finished.
3. It is renamed to ``.X.partial``, the manifest written, ``.X.partial`` renamed to ``X``: as `store` publishes a
   backup, and with the same leavings.

Nothing that the sending side says is believed: a manifest must be one, of a backup of this name, with a file name that
has no way out of the directory, and the bytes must be those of its SHA-256.
"""

from __future__ import annotations

import os

from . import catalog, errors, files, manifest, ownership

INCOMING = "incoming"


def offer(target, wanted):
    """The backups to send, oldest first: ([{file, stored_bytes, sha256, manifest (text)}], [{file, problem}]).

    ``wanted`` has references in ``backups`` (None: all), ``newest`` (how many, 0: all), ``unverified`` and
    ``pre_restore`` (whether these are sent, too). The bytes of each are read and compared with its manifest.
    """
    entries = catalog.scan(target.backup_dir, target.name)
    if wanted["backups"]:
        chosen = [catalog.resolve(one, target.backup_dir, target.name, entries) for one in wanted["backups"]]
    else:
        kinds = ("regular", "pre_restore") if wanted["pre_restore"] else ("regular",)
        statuses = ("verified", "unverified", "unverifiable") if wanted["unverified"] else ("verified",)
        chosen = [entry for entry in entries if entry.kind in kinds and entry.status in statuses and entry.manifest]
        chosen = chosen[: wanted["newest"] or None]
    rows, problems = [], []
    for entry in reversed(chosen):
        problem = _unfit(entry)
        if problem:
            problems.append({"file": entry.file, "problem": problem})
        else:
            rows.append(_offered(entry))
    return rows, problems


def _unfit(entry):
    if entry.manifest is None:
        return entry.problems[0] if entry.problems else "it has no manifest"
    if files.sha256(entry.path) != entry.manifest.get("sha256"):
        return "its bytes are not those of its manifest's SHA-256: it is damaged"
    return None


def _offered(entry):
    with open(manifest.path_for(entry.path), encoding="ascii") as source:
        text = source.read()
    return {
        "file": entry.file,
        "stored_bytes": entry.stored_bytes,
        "sha256": entry.manifest["sha256"],
        "manifest": text,
    }


def read_part(target, file, offset, length, part):
    """Copy so many bytes of a backup into the new file ``part``, which belongs to the owner of its directory; returns
    how many there were.
    """
    entry = catalog.resolve(_plain(file), target.backup_dir, target.name)
    source = files.open_regular(entry.path)
    try:
        files.remove(part)
        copied = files.copy_range(source, offset, length, part)
    finally:
        os.close(source)
    if not copied:
        raise errors.BackupInvalid("it has become shorter while it was sent", path=entry.path)
    ownership.give_to_owner_of(os.path.dirname(part), part)
    return copied


def accept(target, texts):
    """What is to be sent: [{file, state, offset}]. ``state`` is ``wanted`` (from ``offset`` on), ``there`` or
    ``conflict`` (another backup of that name is there).
    """
    rows = []
    for text in texts:
        known = _trusted(target, text)
        path = os.path.join(target.backup_dir, known["file"])
        incoming = incoming_path(target, known["file"])
        if files.exists(path):
            entry = catalog.read_entry(path, target.name)
            same = entry is not None and entry.manifest and entry.manifest.get("sha256") == known["sha256"]
            rows.append({"file": known["file"], "state": "there" if same else "conflict", "offset": 0})
        else:
            arrived = files.size(incoming)
            offset = arrived if arrived <= known["stored_bytes"] else 0
            rows.append({"file": known["file"], "state": "wanted", "offset": offset})
    return rows


def receive_part(target, text, offset, part):
    """Add the bytes of the file ``part`` at ``offset`` to what has arrived; 0 begins anew. Returns the bytes there are.

    Raises Busy when another transfer has added to it meanwhile, BackupInvalid when it becomes longer than announced.
    """
    known = _trusted(target, text)
    path = incoming_path(target, known["file"])
    if os.path.islink(os.path.dirname(path)):
        raise errors.BackupDirInvalid("a symbolic link stands where parts are put together", path=os.path.dirname(path))
    if offset == 0:
        files.make_directory(os.path.dirname(path))
        files.remove(path)
    elif files.size(path) != offset:
        raise errors.Busy("another transfer of this backup is running", path=path)
    if not files.size(part):
        raise errors.BackupInvalid("a part of it has no bytes", path=path, hint="Run the transfer again.")
    files.require_space(target.backup_dir, files.size(part), "the part that arrived")
    arrived = files.append(part, path)
    if arrived > known["stored_bytes"]:
        files.remove(path)
        raise errors.BackupInvalid("more arrived than its manifest says", path=path, hint="Run the transfer again.")
    return arrived


def finish(target, text):
    """Check what has arrived and publish it with its manifest; call it under the name's lock.

    Raises BackupInvalid when the bytes are not those that were announced; what arrived is then removed.
    """
    known = _trusted(target, text)
    path, incoming = os.path.join(target.backup_dir, known["file"]), incoming_path(target, known["file"])
    if files.size(incoming) != known["stored_bytes"] or files.sha256(incoming) != known["sha256"]:
        files.remove(incoming)
        raise errors.BackupInvalid(
            "what arrived is not what was sent: its SHA-256 differs", path=path, hint="Run the transfer again."
        )
    if files.exists(path) or files.exists(manifest.path_for(path)):
        raise errors.BackupInvalid(
            "another backup of this name is there", path=path, hint="Look at both, and remove or rename one."
        )
    files.sync(incoming)
    working = os.path.join(target.backup_dir, catalog.partial(known["file"]))
    files.replace(incoming, working)
    files.write_new(manifest.path_for(path), text.encode("ascii"))
    files.publish(working, path)


def tidy(target, texts):
    """Remove what had arrived of backups that are not offered any more; returns their names."""
    wanted = {_trusted(target, text)["file"] for text in texts}
    directory = os.path.dirname(incoming_path(target, "x"))
    left = sorted(set(os.listdir(directory)) - wanted) if os.path.isdir(directory) else []
    for name in left:
        files.remove(os.path.join(directory, name))
    return left


def incoming_path(target, file):
    """Where the parts of a backup are put together."""
    return os.path.join(target.state_dir, f"{INCOMING}-{target.name}", file)


def _plain(file):
    if os.path.basename(file) != file or file.startswith("."):
        raise errors.UsageError(f"'{errors.excerpt(file)}' is no file name of a backup")
    return file


def _trusted(target, text):
    """The manifest, when it can be one of a backup of this name."""
    path = os.path.join(target.backup_dir, "manifest that was sent")
    try:
        known = manifest.decode(text.encode("ascii"), path)
    except UnicodeEncodeError:
        raise errors.BackupInvalid("the manifest that was sent is not plain ASCII", path=path) from None
    file = known["file"]
    if not catalog.belongs(file, target.name) or "/" in file or "\\" in file or file.startswith("."):
        raise errors.BackupInvalid(
            f"the manifest that was sent is of '{errors.excerpt(file)}', which is no backup of '{target.name}'",
            path=path,
        )
    if known["name"] != target.name or known["stored_bytes"] < 1 or not isinstance(known.get("sha256"), str):
        raise errors.BackupInvalid("the manifest that was sent does not fit its backup", path=path)
    return known
