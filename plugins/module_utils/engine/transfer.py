# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Backups travel in parts from one backup directory to another, on different machines.

Whoever carries the parts asks the receiving side what it has, the sending side what it offers and the receiving side
what of that it accepts, carries the parts of each file, and has the receiving side finish it. What has arrived so far
lies in ``.state/incoming-NAME/X``, where no run of the name removes it, so that a transfer that was killed goes on
where it was. The order on the receiving side, X being the backup's name:

1. Parts are added to ``.state/incoming-NAME/X``. A crash leaves what has arrived.
2. Its SHA-256 is the manifest's, and it is fsynced: a crash leaves it whole, to be finished.
3. It is renamed to ``.X.partial``, the manifest written, the directory fsynced, ``.X.partial`` renamed to ``X``: as
   `store` publishes a backup, and with the same leavings. A failure in between, such as a full disk, puts it back where
   it was.

Nothing that the sending side says is believed: a manifest must be one, of a backup of this name, with a file name that
has no way out of the directory, and the bytes must be those of its SHA-256. Nor is the receiving directory: it can
belong to somebody who is not root, so no link in it is followed, and only what has a backup's name is ever removed.
"""

from __future__ import annotations

import os
import stat

from . import catalog, copying, errors, files, manifest, ownership, space

INCOMING = "incoming"
# With the dot and the suffix that it has until it is finished, a name is to fit into a file system's 255 bytes.
_LONGEST_NAME = 240


def have(target):
    """What need not be offered: [{file, sha256}] of the backups that are there with all their bytes."""
    entries = catalog.scan(target.backup_dir, target.name)
    whole = [entry for entry in entries if entry.manifest and entry.stored_bytes == entry.manifest["stored_bytes"]]
    return [{"file": entry.file, "sha256": entry.manifest["sha256"]} for entry in whole]


def offer(target, wanted):
    """The backups to send, oldest first: ([{file, stored_bytes, manifest (text)}], [{file, problem}], [file]).

    ``wanted`` has references in ``backups`` (None: all), ``newest`` (how many, 0: all), ``unverified`` and
    ``pre_restore`` (whether these are sent, too), and in ``there`` what `have` says of the destination: the last list
    has those. The bytes of each other one are read and compared with its manifest.
    """
    there = {(one.get("file"), one.get("sha256")) for one in wanted["there"] or ()}
    entries = catalog.scan(target.backup_dir, target.name)
    if wanted["backups"]:
        chosen = [catalog.resolve(one, target.backup_dir, target.name, entries) for one in wanted["backups"]]
    else:
        kinds = ("regular", "pre_restore") if wanted["pre_restore"] else ("regular",)
        statuses = ("verified", "unverified", "unverifiable") if wanted["unverified"] else ("verified",)
        chosen = [entry for entry in entries if entry.kind in kinds and entry.status in statuses and entry.manifest]
        chosen = chosen[: wanted["newest"] or None]
    rows, problems, known = [], [], []
    for entry in reversed(chosen):
        if entry.manifest and (entry.file, entry.manifest["sha256"]) in there:
            known.append(entry.file)
            continue
        problem = _unfit(entry)
        if problem:
            problems.append({"file": entry.file, "problem": problem})
        else:
            rows.append(_offered(entry))
    return rows, problems, known


def _unfit(entry):
    if entry.manifest is None:
        return entry.problems[0] if entry.problems else "it has no manifest"
    if files.sha256(entry.path) != entry.manifest.get("sha256"):
        return "its bytes are not those of its manifest's SHA-256: it is damaged"
    return None


def _offered(entry):
    text = manifest.read(entry.path).decode("ascii")
    return {
        "file": entry.file,
        "stored_bytes": entry.stored_bytes,
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
        writer = files.open_new(part)
        try:
            copied = copying.copy_range(source, offset, length, writer)
            if not copied:
                raise errors.BackupInvalid("it has become shorter while it was sent", path=entry.path)
            ownership.give_to_owner_of(os.path.dirname(part), writer)
        finally:
            os.close(writer)
    finally:
        os.close(source)
    return copied


def accept(target, texts):
    """What is to be sent: [{file, state, offset, problem}]. ``state`` is ``wanted`` (from ``offset`` on), ``there`` or
    ``conflict`` (something else has that name; ``problem`` says what).

    Raises NoSpace when there is no room for all that is wanted.
    """
    _require_own(target)
    rows, needed = [], 0
    for text in texts:
        known = _trusted(target, text)
        row = {"file": known["file"], "state": "wanted", "offset": 0, "problem": None}
        taken, problem = _taken(target, known)
        if taken:
            row.update(state="conflict" if problem else "there", problem=problem)
        else:
            arrived = _arrived(incoming_path(target, known["file"]))
            row["offset"] = arrived if arrived <= known["stored_bytes"] else 0
            needed += known["stored_bytes"] - row["offset"]
        rows.append(row)
    space.require_space(_there_already(target.backup_dir), needed, "what is to arrive")
    return rows


def _taken(target, known):
    """(whether the backup's name is taken at the destination, why that is not this backup or None)."""
    path = os.path.join(target.backup_dir, known["file"])
    if not files.exists(path):
        unfinished = os.path.join(target.backup_dir, catalog.partial(known["file"]))
        if files.exists(manifest.path_for(path)) and not files.exists(unfinished):
            return True, "a manifest without its backup has this name at the destination; it was left alone"
        return False, None
    entry = catalog.read_entry(path, target.name)
    if entry is None or not entry.manifest or entry.manifest["sha256"] != known["sha256"]:
        return True, "another backup of this name is at the destination; it was left alone"
    if entry.stored_bytes != known["stored_bytes"]:
        return True, f"the one that is at the destination is damaged: {'; '.join(entry.problems)}"
    return True, None


def _there_already(path):
    """The directory, or the nearest one above it that exists."""
    while not os.path.isdir(path) and os.path.dirname(path) != path:
        path = os.path.dirname(path)
    return path


def _arrived(path):
    """Bytes that have arrived; what is not a regular file, such as a link, counts for nothing."""
    try:
        facts = os.lstat(path)
    except FileNotFoundError:
        return 0
    return facts.st_size if stat.S_ISREG(facts.st_mode) else 0


def _require_own(target):
    """Raise BackupDirInvalid when a link stands where parts are put together: it could lead anywhere."""
    for path in (target.state_dir, os.path.dirname(incoming_path(target, "x"))):
        if os.path.islink(path):
            raise errors.BackupDirInvalid(
                "a symbolic link stands where parts are put together",
                path=path,
                hint="Remove it; nothing was written or removed behind it.",
            )


def receive_part(target, text, offset, part):
    """Add the bytes of the file ``part`` at ``offset`` to what has arrived; 0 begins anew. Returns the bytes there are.

    Raises Busy when another transfer has added to it meanwhile, BackupInvalid when it becomes longer than announced.
    """
    known = _trusted(target, text)
    path = incoming_path(target, known["file"])
    _require_own(target)
    if offset == 0:
        files.make_directory(os.path.dirname(path))
        files.remove(path)
    elif _arrived(path) != offset:
        raise errors.Busy("another transfer of this backup is running", path=path)
    if not files.size(part):
        raise errors.BackupInvalid("a part of it has no bytes", path=path, hint="Run the transfer again.")
    space.require_space(target.backup_dir, known["stored_bytes"] - offset, "the rest of the backup that arrives")
    arrived = copying.append(part, path)
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
    _require_own(target)
    if _arrived(incoming) != known["stored_bytes"] or files.sha256(incoming) != known["sha256"]:
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
    try:
        files.write_new(manifest.path_for(path), text.encode("ascii"))
        files.sync_directory(target.backup_dir)
        files.publish(working, path)
    except BaseException:
        if not files.exists(path):
            manifest.remove_if_alone(path)
            files.replace(working, incoming)
        raise
    if not os.listdir(os.path.dirname(incoming)):
        files.remove_tree(os.path.dirname(incoming))


def tidy(target, texts):
    """Remove what had arrived of backups that are not offered any more; returns their names."""
    wanted = {_trusted(target, text)["file"] for text in texts}
    _require_own(target)
    directory = os.path.dirname(incoming_path(target, "x"))
    left = [one for one in sorted(catalog.listing(directory) - wanted) if catalog.belongs(one, target.name)]
    for name in left:
        files.remove(os.path.join(directory, name))
    return left


def incoming_path(target, file):
    """Where the parts of a backup are put together."""
    return os.path.join(target.state_dir, f"{INCOMING}-{target.name}", file)


def _plain(file):
    if not _is_plain(file):
        raise errors.UsageError(f"'{errors.excerpt(file)}' is no file name of a backup")
    return file


def _is_plain(file):
    """Whether it can be a file's name in a backup directory of ours: printable, of one part, not too long."""
    if "/" in file or "\\" in file or file.startswith(".") or not file.isprintable():
        return False
    return len(os.fsencode(file)) <= _LONGEST_NAME


def _trusted(target, text):
    """The manifest, when it can be one of a backup of this name."""
    path = os.path.join(target.backup_dir, "manifest that was sent")
    if len(text) > manifest.LARGEST:
        raise errors.BackupInvalid(f"the manifest that was sent is larger than {manifest.LARGEST} bytes", path=path)
    try:
        known = manifest.decode(text.encode("ascii"), path)
    except UnicodeEncodeError:
        raise errors.BackupInvalid("the manifest that was sent is not plain ASCII", path=path) from None
    file = known["file"]
    if not catalog.belongs(file, target.name) or not _is_plain(file):
        raise errors.BackupInvalid(
            f"the manifest that was sent is of '{errors.excerpt(file)}', which is no backup of '{target.name}'",
            path=path,
        )
    if known["name"] != target.name or known["stored_bytes"] < 1 or not isinstance(known.get("sha256"), str):
        raise errors.BackupInvalid("the manifest that was sent does not fit its backup", path=path)
    return known
