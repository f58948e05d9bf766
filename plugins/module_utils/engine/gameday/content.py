# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Databases for the scratch place, and whether one holds exactly the rows of another."""

from __future__ import annotations

import hashlib
import marshal
import sqlite3
from typing import NamedTuple

from .. import contents, database, errors, files

_ROWS = 1000
_FEWEST_PAGES = 8


class Form(NamedTuple):
    """What a database looks like from outside."""

    page_size: int = 4096
    encoding: str = "UTF-8"
    journal_mode: str = "delete"
    size_bytes: int = 0


def form_of(known):
    """The Form of the database that a manifest is of."""
    source = known["source"]
    return Form(
        int(source.get("page_size") or 4096),
        str(source.get("encoding") or "UTF-8"),
        "wal" if source.get("journal_mode") == "wal" else "delete",
        int(known.get("size_bytes") or known["stored_bytes"]),
    )


def make(path, form):
    """Make a sound database with random rows at ``path``, about as large as the form says. Raises IoError, NoSpace.

    Its pages have nothing in common with those of any other, so that a mixture of the two is never sound.
    """
    files.create_new(path)
    pages = max(_FEWEST_PAGES, form.size_bytes // form.page_size)
    try:
        connection = database.connect(path, mode="rw")
        try:
            connection.execute(f"PRAGMA page_size={form.page_size}")
            connection.execute(f"PRAGMA encoding='{form.encoding}'")
            connection.execute("CREATE TABLE gameday (id INTEGER PRIMARY KEY, filler BLOB NOT NULL)")
            connection.execute(
                "WITH RECURSIVE page (nth) AS (SELECT 1 UNION ALL SELECT nth + 1 FROM page WHERE nth < ?)"
                " INSERT INTO gameday SELECT nth, randomblob(?) FROM page",
                # A row that fills its page, but for its own header and the page's.
                (pages, form.page_size - 100),
            )
            # Last, so that not all of it goes through a log.
            connection.execute(f"PRAGMA journal_mode={form.journal_mode}").fetchall()
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise database.translate(error, path) from error


def rows(path):
    """SHA-256 over the schema and every row of a database that nobody has open, whatever the bytes of its file are.

    Raises DatabaseCorrupt and what else SQLite says where it cannot all be read.
    """
    digest = hashlib.sha256()
    try:
        connection = database.connect(path, immutable=True)
        try:
            for key in ("user_version", "application_id"):
                _add(digest, connection.execute(f"PRAGMA {key}"))
            _add(digest, connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY type, name"))
            for name in _tables(connection):
                sql = f"SELECT * FROM {contents.quoted(name)}"  # nosec B608 # the name is quoted
                _add(digest, connection.execute(f"{sql} NOT INDEXED"))
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise database.translate(error, path) from error
    return digest.hexdigest()


def _tables(connection):
    """The names of all tables that have rows of their own, but for one whose name is no UTF-8: SQL cannot say it."""
    names = connection.execute("SELECT name FROM sqlite_master WHERE type='table' AND rootpage>0 ORDER BY name")
    for (name,) in names.fetchall():
        try:
            name.encode("utf-8")
        except UnicodeEncodeError:
            continue
        yield name


def _add(digest, cursor):
    while True:
        some = cursor.fetchmany(_ROWS)
        if not some:
            return
        # Version 2: it knows no references, so that equal rows give equal bytes.
        digest.update(marshal.dumps(some, 2))


def same(path, expected):
    """Whether the database is sound to read and has exactly the rows that `rows` has told."""
    try:
        return rows(path) == expected
    except (errors.DatabaseCorrupt, errors.NotADatabase, errors.IoError):
        return False
