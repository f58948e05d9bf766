# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which databases does this host have, and which of them does no backup protect?

Nothing is changed, nothing is locked. Not found are databases that are encrypted as a whole, because nothing tells them
from noise, and those that are compressed.
"""

from __future__ import annotations

import datetime
import os
import re
from typing import NamedTuple

from . import catalog, clock, config, database, errors, files, finding, manifest, processes

# Who has more is told so: the answer has to fit into one result of Ansible.
LIMIT = 10000


class _Known(NamedTuple):
    """What the configuration protects: {path: name} and {identity: name}; and where its backups lie."""

    paths: dict
    identities: dict
    backup_dirs: tuple

    def name(self, found):
        """The name by which the database is configured, or None."""
        return self.paths.get(found.path) or self.identities.get(found.identity)


def discover(configuration, roots, *, excludes=None, min_bytes=0, same_filesystem=False):
    """The databases below the roots, and those of them that the configuration does not have.

    Arguments as in `finding.find`. Returns {changed: False, databases (rows as of `_row`, sorted by path), unprotected
    (paths), protected_count, backups_seen, unreadable: {count, examples}, skipped_mounts, roots: [{path, problem}],
    files_seen, seconds, truncated, suggested: {databases: [{path, name}]} to be added to the configuration, warnings}.
    Raises UsageError for arguments that are of no use; what cannot be read is no error.
    """
    started = clock.monotonic()
    notes = finding.Notes()
    known = _known(configuration)
    search = finding.find(
        roots, notes, excludes=excludes or (), min_bytes=min_bytes or 0, same_filesystem=same_filesystem
    )
    found, backups, truncated = _gathered(search, known)
    users, _unseen = processes.users({one.identity for one in found})
    rows = [_row(one, known.name(one), users.get(one.identity, [])) for one in found]
    unprotected = [row["path"] for row in rows if not row["protected"]]
    suggested = suggest(unprotected, [entry["name"] for entry in configuration.databases])
    return {
        "changed": False,
        "databases": rows,
        "unprotected": unprotected,
        "protected_count": len(rows) - len(unprotected),
        "backups_seen": backups,
        "unreadable": {"count": notes.unreadable, "examples": notes.examples},
        "skipped_mounts": notes.skipped,
        "roots": notes.roots,
        "files_seen": notes.files,
        "seconds": round(clock.monotonic() - started, 3),
        "truncated": truncated,
        "suggested": {"databases": suggested},
        "warnings": [*configuration.warnings, *_warnings(notes, truncated, unprotected, suggested)],
    }


def _known(configuration):
    paths, identities, backup_dirs = {}, {}, {}
    for entry in configuration.databases:
        path = files.resolve(entry["path"])
        paths[path] = entry["name"]
        try:
            facts = os.stat(path)
        except OSError:
            pass  # Its path is still known; that it is missing is for the health checks to say.
        else:
            identities[facts.st_dev, facts.st_ino] = entry["name"]
        backup_dirs[config.target(configuration, name=entry["name"], need_database=False).backup_dir] = True
    return _Known(paths, identities, tuple(backup_dirs))


def _gathered(search, known):
    """(the databases, each once and sorted by path; the number of backups; whether there were more than LIMIT).

    Of several names of one file the configured one is taken, else the first.
    """
    chosen: dict = {}
    backups = set()
    for found in search:
        if known.name(found) is None and _is_backup(found.path, known.backup_dirs):
            backups.add(found.identity)
            continue
        other = chosen.get(found.identity)
        if other is None and len(chosen) == LIMIT:
            return _sorted(chosen), len(backups), True
        if other is None or (found.path not in known.paths, found.path) < (other.path not in known.paths, other.path):
            chosen[found.identity] = found
    return _sorted(chosen), len(backups), False


def _sorted(chosen):
    return sorted(chosen.values(), key=lambda found: found.path)


def _is_backup(path, backup_dirs):
    """Whether the file is a backup of ours, or one that was not finished or was set aside."""
    file = os.path.basename(path)
    if file.endswith(files.QUARANTINED) or (file.startswith(".") and files.PARTIAL in file):
        return True
    if any(path.startswith(os.path.join(directory, "")) for directory in backup_dirs):
        return True
    if not files.exists(manifest.path_for(path)):
        return False
    try:
        return manifest.load(manifest.path_for(path))["file"] == file
    except errors.BackupError:
        return False


def _row(found, name, users):
    """A database as plain data. ``name`` is that of the configuration, or None; ``in_use_by`` as far as we may look."""
    facts = found.facts
    beside = [found.path + suffix for suffix in database.SIDECARS if files.exists(found.path + suffix)]
    return {
        "path": found.path,
        "size_bytes": facts.st_size,
        "owner": _owner(facts.st_uid),
        "group": _group(facts.st_gid),
        "uid": facts.st_uid,
        "gid": facts.st_gid,
        "mode": f"{facts.st_mode & 0o7777:04o}",
        "journal_mode": "wal" if found.header.journal_mode == "wal" else "rollback",
        "page_size": found.header.page_size,
        "application_id": found.header.application_id,
        "modified_at": _modified_at(facts, found.path + "-wal"),
        "has_sidecars": bool(beside),
        "in_use_by": users,
        "protected": name is not None,
        "name": name,
    }


def _modified_at(facts, log):
    """When the database or its ``-wal`` was written last, as text; None for a time out of the calendar."""
    try:
        newest = max(facts.st_mtime, os.lstat(log).st_mtime)
    except OSError:
        newest = facts.st_mtime
    try:
        return clock.iso(datetime.datetime.fromtimestamp(newest, clock.UTC))
    except (ValueError, OverflowError, OSError):
        return None


def _owner(uid):
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return None


def _group(gid):
    import grp

    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return None


# --- what to add to the configuration --------------------------------------------------------------------------------


def suggest(paths, taken):
    """[{path, name}] for the configuration: valid names that are not among ``taken``, each used once.

    A path that is not valid UTF-8 is left out: it would not get through YAML unharmed.
    """
    used = set(taken)
    rows = []
    for path in paths:
        if _is_text(path):
            name = _free_name(path, used)
            used.add(name)
            rows.append({"path": path, "name": name})
    return rows


def _is_text(path):
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _free_name(path, used):
    """The file's stem; if that is taken with the directory's name before it, then with a number after it."""
    directory, file = os.path.split(path)
    stem = os.path.splitext(file)[0]
    longer = f"{os.path.basename(directory)}_{stem}"
    number = 1
    name = _usable(stem)
    while name in used:
        name = _usable(longer, "" if number == 1 else f"_{number}")
        number += 1
    return name


def _usable(text, end=""):
    """The text with ``end`` as a name that `catalog.check_name` takes."""
    plain = "".join(letter if letter.isprintable() and letter not in "/\\" else "_" for letter in text)
    # What is cut off is of the front: the end of a long name more often tells it from others.
    kept = plain.encode("utf-8")[-90:].decode("utf-8", "ignore").lstrip(".-") or "database"
    if not end and (kept.endswith(catalog.PRE_RECOVERY) or re.search(r"_\d{8}_\d{6}$", kept)):
        end = "_db"
    return kept + end


def _warnings(notes, truncated, unprotected, suggested):
    """What the answer does not show by itself, one line each."""
    lines = [f"{row['path']} was not searched: {row['problem']}" for row in notes.roots if row["problem"]]
    if notes.unreadable:
        first = notes.examples[0]
        lines.append(
            f"{notes.unreadable} files or directories could not be read, such as {first['path']} ({first['reason']})"
        )
    if truncated:
        lines.append(f"the search ended at {LIMIT} databases: search fewer directories, or exclude some")
    odd = len(unprotected) - len(suggested)
    if odd:
        lines.append(f"{odd} paths are not valid UTF-8 and are not suggested: rename or configure them by hand")
    return lines
