# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What SQLite says of a damaged file has bytes of the file in it."""

from __future__ import annotations

import sqlite3


def words(error):
    """What SQLite said. Where a name in it is no UTF-8, Python 3.11 and newer raise that instead of SQLite's error, and
    older ones leave it empty; SQLite's codes for damage never become an OperationalError.
    """
    if isinstance(error, UnicodeDecodeError):
        return error.object.decode("utf-8", "replace")
    if not str(error) and not isinstance(error, sqlite3.OperationalError):
        return "malformed database schema, told of in words that are no UTF-8"
    return str(error)


class Connection(sqlite3.Connection):
    """One whose errors are SQLite's, in words, whatever bytes they have in them."""

    def execute(self, *arguments):
        try:
            return super().execute(*arguments)
        except (UnicodeDecodeError, sqlite3.DatabaseError) as error:
            said = words(error)
            if said == str(error):
                raise
            raise sqlite3.DatabaseError(said) from error
