# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""All backups of one name in one backup directory, read from the manifests; and how a reference finds one of them.

Nothing in the directory can stop the listing: a damaged, foreign or missing manifest is a ``problem`` of its entry.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
from typing import NamedTuple

from . import clock, compress, errors, files, links, manifest

STATE = links.STATE
PRE_RECOVERY = "_pre_recovery"
RAW = ".damaged"
LATEST = ("latest", "latest_backup.db")
STAMP = r"(?P<stamp>\d{8}_\d{6})(?:_(?P<nth>\d+))?"
STORED = r"\.db(?:\.gz|\.zst)?"
ANY_BACKUP = re.compile(rf"(?P<name>.+?)(?P<pre>{PRE_RECOVERY})?_{STAMP}{STORED}", re.DOTALL)
_BY_HAND = (".db", ".sqlite", ".sqlite3", ".db.gz", ".db.zst", ".bak")


class Entry(NamedTuple):
    """One backup as the directory shows it.

    ``status`` is ``verified``, ``unverified`` (never checked, or its manifest is of no use), ``unverifiable``,
    ``invalid`` (its last check failed, or its size is not that of the manifest) or ``missing`` (a manifest alone).
    ``kind`` is ``regular`` or ``pre_restore``. ``created_at`` is None where neither manifest nor name tell it.
    """

    file: str
    path: str
    name: str
    kind: str
    created_at: object
    status: str
    stored_bytes: int
    manifest: dict | None
    problems: tuple

    @property
    def verified(self):
        return self.status == "verified"

    def pinned(self, now):
        """Whether retention and deletion must leave it alone at that time."""
        if not self.manifest or not self.manifest.get("pinned"):
            return False
        until = self.manifest.get("pinned_until")
        try:
            return until is None or now < clock.parse(until)
        except (ValueError, AttributeError):
            return True

    def view(self):
        """The entry as plain data, for results."""
        known = self.manifest or {}
        return {
            "file": self.file,
            "path": self.path,
            "name": self.name,
            "kind": self.kind,
            "created_at": None if self.created_at is None else clock.iso(self.created_at),
            "status": self.status,
            "stored_bytes": self.stored_bytes,
            "size_bytes": known.get("size_bytes"),
            "compression": known.get("compression", compress.by_suffix(self.file)),
            "pinned": bool(known.get("pinned")),
            "problems": list(self.problems),
            "manifest": self.manifest,
        }


def check_name(name):
    """Raise NameInvalid unless the name can be a part of file names everywhere."""
    bad = None
    if not name:
        bad = "it is empty"
    elif not name.isprintable() or "/" in name or "\\" in name:
        bad = "it has a '/', a '\\' or a character that cannot be printed"
    elif name[0] in ".-":
        bad = f"it begins with '{name[0]}'"
    elif len(name.encode("utf-8", "surrogateescape")) > 100:
        bad = "it is longer than 100 bytes"
    elif name.endswith(PRE_RECOVERY) or re.search(r"_\d{8}_\d{6}$", name):
        bad = "it ends like a backup's own file name"
    elif os.name == "nt":
        from . import windows

        bad = windows.unusable(name)
    if bad:
        raise errors.NameInvalid(f"the name {errors.show(repr(name))} cannot be used: {bad}")


def default_name(database):
    """The database file's stem, refused where it makes no usable name."""
    name = os.path.splitext(os.path.basename(database))[0]
    try:
        check_name(name)
    except errors.NameInvalid as error:
        error.hint = "Choose a name for this database with the option 'name'."
        raise
    return name


def new_file_name(backup_dir, name, moment, kind="regular", compression="none"):
    """A file name that is free in every form: ``name_20261122_020000.db``, then ``_2``, ``_3``."""
    base = f"{name}{PRE_RECOVERY if kind == 'pre_restore' else ''}_{clock.stamp(moment)}"
    nth = 1
    while True:
        stem = base if nth == 1 else f"{base}_{nth}"
        if not _taken(backup_dir, stem):
            return f"{stem}.db{compress.SUFFIXES[compression]}"
        nth += 1


def _taken(backup_dir, stem):
    for suffix in compress.SUFFIXES.values():
        full = f"{stem}.db{suffix}"
        forms = (full, full + manifest.SUFFIX, partial(full), full + files.QUARANTINED)
        if any(files.exists(os.path.join(backup_dir, form)) for form in forms):
            return True
    return files.exists(os.path.join(backup_dir, f"{stem}{RAW}"))


def partial(file):
    """The name that a backup has until it is finished."""
    return f".{file}{files.PARTIAL}"


def leftovers(backup_dir, name):
    """Names of what an earlier run of this name left unfinished, in the order in which they are to be removed.

    What already has a final name (a manifest, sidecars of a raw copy) goes before the partial file: a crash in between
    leaves the partial file, by which the next run knows them all.
    """
    pattern = re.compile(rf"\.(?P<file>{re.escape(name)}(?:{PRE_RECOVERY})?_{STAMP}(?:{STORED}|{RAW}).*)", re.DOTALL)
    found = []
    present = listing(backup_dir)
    for entry in sorted(present):
        match = pattern.fullmatch(entry)
        if match and files.PARTIAL in entry:
            file = match.group("file").split(files.PARTIAL)[0]
            found += _named_too_early(file, present)
            found.append(entry)
    return list(dict.fromkeys(found))


def _named_too_early(file, present):
    """What lies under a final name although its backup is still a partial file."""
    found = [other + manifest.SUFFIX for other in (file, file + files.QUARANTINED) if other not in present]
    if file.endswith(RAW) and file not in present:
        found += [file + suffix for suffix in ("-journal", "-shm", "-wal")]
    return [other for other in found if other in present]


def listing(backup_dir):
    """The set of all file names in the directory; none where it is missing."""
    try:
        return set(os.listdir(backup_dir))
    except (FileNotFoundError, NotADirectoryError):
        return set()
    except OSError as error:
        raise errors.from_os_error(error, backup_dir) from error


def names(backup_dir):
    """All names that have backups in the directory, sorted."""
    matches = (ANY_BACKUP.fullmatch(entry) for entry in listing(backup_dir) if not entry.startswith("."))
    return sorted({match.group("name") for match in matches if match})


def scan(backup_dir, name):
    """All entries of the name, newest first; those of unknown time last. A directory that is missing has none."""
    present = listing(backup_dir)
    entries: list = []
    for file in present:
        if file.startswith(".") or file.endswith(files.QUARANTINED):
            continue
        if file.endswith(manifest.SUFFIX):
            backup = file[: -len(manifest.SUFFIX)]
            orphan = backup not in present and partial(backup) not in present
            if orphan and belongs(backup, name):
                entries.append(_orphan(backup_dir, backup, name))
        elif belongs(file, name):
            with contextlib.suppress(errors.BackupNotFound):  # It was removed since the directory was read.
                entries.append(read_entry(os.path.join(backup_dir, file), name))
    entries = [entry for entry in entries if entry is not None]
    entries.sort(key=_newest_first)
    return entries


def _newest_first(entry):
    when = -entry.created_at.timestamp() if entry.created_at else float("inf")
    return when, [-part for part in _nth(entry.file)], entry.file


def _nth(file):
    match = ANY_BACKUP.fullmatch(file)
    return [int(match.group("nth") or 1)] if match else [0]


def belongs(file, name):
    """Whether a file's name says that it is a backup of this name (by our pattern, or made by hand)."""
    match = ANY_BACKUP.fullmatch(file)
    if match:
        return match.group("name") == name
    # Made by hand: 'app-before-upgrade.db' is of 'app'; 'apple.db' is not, and 'app_prod.db' may be of 'app_prod'.
    return file.startswith(name) and file.endswith(_BY_HAND) and file[len(name)] in ".- "


def read_entry(path, name=None):
    """The entry of one file; None when it is not a regular file's (a directory, say) and no backup by its name."""
    directory, file = os.path.split(path)
    match = ANY_BACKUP.fullmatch(file)
    name = name or (match.group("name") if match else os.path.splitext(file)[0])
    try:
        facts = os.lstat(path)
    except FileNotFoundError:
        raise errors.BackupNotFound("there is no such backup", path=path) from None
    except OSError as error:
        raise errors.from_os_error(error, path) from error
    kind = "pre_restore" if match and match.group("pre") else "regular"
    created_at = _stamped(match)
    if not stat.S_ISREG(facts.st_mode):
        if not match:
            return None
        what = "a symbolic link, which is not followed" if stat.S_ISLNK(facts.st_mode) else "not a regular file"
        return Entry(file, path, name, kind, created_at, "invalid", 0, None, (f"it is {what}",))
    unfinished = [suffix for suffix in ("-wal", "-journal") if files.size(path + suffix)]
    if unfinished and not files.exists(manifest.path_for(path)):
        problem = f"a {unfinished[0]} file lies beside it: what that holds is missing in it, or it was never finished"
        return Entry(file, path, name, kind, created_at, "invalid", facts.st_size, None, (problem,))
    known, problem = None, "it has no manifest: adopt it (command 'validate --adopt') to make it count"
    try:
        if files.exists(manifest.path_for(path)):
            known = manifest.load(manifest.path_for(path))
    except errors.BackupError as error:
        problem = error.cause
    if known is None:
        if not files.exists(path):  # Both were removed just now, the manifest last.
            raise errors.BackupNotFound("there is no such backup any more", path=path)
        return Entry(file, path, name, kind, created_at, "unverified", facts.st_size, None, (problem,))
    if known["file"] != file or known["name"] != name:
        problem = f"its manifest is of another backup: {known['file']!r} of {known['name']!r}"
        return Entry(file, path, name, kind, created_at, "unverified", facts.st_size, None, (problem,))
    kind = "pre_restore" if known.get("trigger") == "pre_restore" else kind
    created_at = clock.parse(known["created_at"])
    status, problems = _judge(known, facts.st_size)
    return Entry(file, path, name, kind, created_at, status, facts.st_size, known, problems)


def _stamped(match):
    if not match:
        return None
    try:
        return clock.parse(match.group("stamp"))
    except ValueError:
        return None


_BY_VERIFICATION = {"ok": "verified", "none": "unverified", "unverifiable": "unverifiable"}


def _judge(known, size):
    if size != known["stored_bytes"]:
        return "invalid", (f"it has {size} bytes and its manifest says {known['stored_bytes']}",)
    verdict = known["verification"].get("status", "none")
    status = _BY_VERIFICATION.get(verdict, "invalid")
    rows = known["verification"].get("errors") or ()
    problems = tuple(f"{row.get('check')}: {row.get('message')}" for row in rows if isinstance(row, dict))
    return status, problems


def _orphan(backup_dir, file, name):
    """The entry of a manifest that was seen without its backup; None where it is now an unfinished one's, or gone."""
    path = os.path.join(backup_dir, file)
    if files.exists(os.path.join(backup_dir, partial(file))):
        return None
    with contextlib.suppress(errors.BackupNotFound):
        return read_entry(path, name)
    if not files.exists(manifest.path_for(path)):
        return None
    match = ANY_BACKUP.fullmatch(file)
    problem = "its file is gone: only the manifest is left"
    kind = "pre_restore" if match and match.group("pre") else "regular"
    return Entry(file, path, name, kind, _stamped(match), "missing", 0, None, (problem,))


def newest_verified(entries):
    """The newest verified regular backup of a scan, or None."""
    return next((entry for entry in entries if entry.verified and entry.kind == "regular"), None)


# --- references ----------------------------------------------------------------------------------------------------


def resolve(reference, backup_dir, name, entries=None):
    """The entry that a reference means: ``latest``, a file name, a path, or a time.

    ``latest`` and a time mean verified regular backups only. Raises BackupNotFound, which says what there is.
    """
    if entries is None:
        entries = scan(backup_dir, name)
    if reference in LATEST:
        return _newest(entries, "there is no verified backup", backup_dir, name)
    if os.path.dirname(reference):
        path = files.resolve(reference)
        if not os.path.isfile(path):
            raise errors.BackupNotFound("there is no such backup", path=path)
        within = os.path.dirname(path) == files.resolve(backup_dir) if backup_dir else False
        return read_entry(path, name if within else None)
    for entry in entries:
        if reference in (entry.file, entry.file + manifest.SUFFIX):
            if entry.status == "missing":
                raise errors.BackupNotFound(entry.problems[0], path=entry.path)
            return entry
    try:
        moment = clock.parse(reference)
    except ValueError:
        raise errors.BackupNotFound(
            f"'{errors.show(reference)}' is no backup of '{name}' ({what_there_is(entries)}), and no time",
            path=backup_dir,
        ) from None
    older = [entry for entry in entries if entry.created_at and entry.created_at <= moment]
    return _newest(older, f"there is no verified backup from {clock.iso(moment)} or before", backup_dir, name)


def _newest(entries, otherwise, backup_dir, name):
    found = newest_verified(entries)
    if found is None:
        raise errors.BackupNotFound(f"{otherwise} of '{name}' ({what_there_is(entries)})", path=backup_dir)
    return found


def what_there_is(entries):
    """``3 verified, 1 invalid: why the first of these is``, for messages."""
    if not entries:
        return "no backups at all"
    counts: dict = {}
    for entry in entries:
        counts[entry.status] = counts.get(entry.status, 0) + 1
    why = next((errors.show(f": {entry.file}: {entry.problems[0]}") for entry in entries if entry.problems), "")
    return ", ".join(f"{count} {status}" for status, count in sorted(counts.items())) + why
