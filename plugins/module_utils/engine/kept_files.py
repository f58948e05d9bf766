# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What lies aside of a name's backups: copies that failed their verification, and what restores have kept."""

from __future__ import annotations

import os
import re

from . import catalog, files


def name_of(file):
    """The name of the database that a file is of, by its own name: a backup, or what is kept aside of one."""
    stem = file
    if file.endswith(files.QUARANTINED):
        stem = file[: -len(files.QUARANTINED)]
    elif file.endswith(catalog.RAW):
        stem = file[: -len(catalog.RAW)] + ".db"
    match = catalog.ANY_BACKUP.fullmatch(stem)
    return match.group("name") if match else os.path.splitext(stem)[0]


def quarantined(backup_dir, name):
    """File names of the failed copies that are kept aside, oldest first."""
    found = []
    for entry in catalog.listing(backup_dir):
        match = (
            catalog.ANY_BACKUP.fullmatch(entry[: -len(files.QUARANTINED)])
            if entry.endswith(files.QUARANTINED)
            else None
        )
        if match and match.group("name") == name:
            found.append(entry)
    return sorted(found)


def by_restores(backup_dir, name):
    """File names of what restores have kept of the database, oldest first: pre-restore backups, and of a damaged one
    copies that did not pass (``.quarantined``) or are raw (``.damaged``).
    """
    pattern = re.compile(
        rf"{re.escape(name)}{catalog.PRE_RECOVERY}_{catalog.STAMP}(?:{catalog.STORED}(?:{re.escape(files.QUARANTINED)})?|{re.escape(catalog.RAW)})"
    )
    found = [pattern.fullmatch(entry) for entry in catalog.listing(backup_dir)]
    matches = [match for match in found if match]
    matches.sort(key=lambda match: (match.group("stamp"), int(match.group("nth") or 1)))
    return [match.group() for match in matches]
