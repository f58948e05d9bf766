# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Put a database where there is none: never over one that an application makes there in the meantime."""

from __future__ import annotations

import os

from .. import database, errors, files
from . import journal


def require(path):
    """Raise DatabaseBusy where the name is taken by now."""
    if files.exists(path):
        raise errors.DatabaseBusy(
            "a database has been made there since the restore began",
            path=path,
            hint="Stop the application that made it, and run the restore again, with force where it is to be replaced.",
        )


def orphans(path):
    """{suffix: which file it is} of the sidecars that lie there without a database, of one that is gone."""
    return {suffix: _which(path + suffix) for suffix in database.SIDECARS}


def require_orphan(path, suffix, known):
    """Raise DatabaseBusy where the sidecar is another than before: whoever makes a database there has made it."""
    require(path)
    if _which(path + suffix) != known[suffix]:
        raise errors.DatabaseBusy("somebody makes a database there", path=path)


def _which(path):
    try:
        facts = os.lstat(path)
    except OSError:
        return None
    return facts.st_dev, facts.st_ino, facts.st_ctime_ns


def give(staged, path):
    """The staged file gets the name, if that is still free.

    A crash leaves the file under one name or under both, which means that it is in place.
    """
    try:
        files.link(staged, path)
    except FileExistsError:
        require(path)
        raise
    except OSError:
        if journal.renamed(path):
            raise  # It has the name, which could not be made durable.
        require(path)  # A filesystem without hard links.
        files.replace(staged, path)
    else:
        files.remove_durably(staged)
