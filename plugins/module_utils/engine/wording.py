# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What SQLite says of a damaged file has bytes of the file in it."""

from __future__ import annotations

import sqlite3


class Connection(sqlite3.Connection):
    """Where SQLite's message is no UTF-8, Python 3.11 and newer raise UnicodeDecodeError, and older ones leave it
    empty: here it is SQLite's error, in words. SQLite's codes for damage never become an OperationalError.
    """

    def execute(self, *arguments):
        try:
            return super().execute(*arguments)
        except UnicodeDecodeError as error:
            raise sqlite3.DatabaseError(error.object.decode("utf-8", "replace")) from error
        except sqlite3.DatabaseError as error:
            if str(error) or isinstance(error, sqlite3.OperationalError):
                raise
            raise sqlite3.DatabaseError("malformed database schema, told of in words that are no UTF-8") from error
