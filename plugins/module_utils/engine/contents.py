# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a database holds, in numbers: the rows of its tables, and a hash of its schema."""

from __future__ import annotations

import sqlite3

_NEVER_COUNTED = "sqlite_"


def count_rows(connection):
    """{table: rows} of every ordinary table; SQLite's own and virtual tables are left out."""
    rows = connection.execute("SELECT name FROM sqlite_master WHERE type='table' AND rootpage>0 ORDER BY name")
    names = [name for (name,) in rows.fetchall() if not name.lower().startswith(_NEVER_COUNTED) and encodable(name)]
    return {name: _count(connection, name) for name in names}


def _count(connection, name):
    sql = f"SELECT count(*) FROM {quoted(name)}"  # nosec B608 # the name is quoted
    return connection.execute(sql).fetchone()[0]


def readable_rows(connection):
    """As `count_rows`, of a database that may be damaged: None for a table that cannot be read, {} for the schema."""
    sql = "SELECT name FROM sqlite_master WHERE type='table' AND rootpage>0"
    try:
        names = [name for (name,) in connection.execute(sql).fetchall() if not name.lower().startswith(_NEVER_COUNTED)]
    except sqlite3.Error:
        return {}
    found = {}
    for name in filter(encodable, names):
        try:
            found[name] = _count(connection, name)
        except sqlite3.Error:
            found[name] = None
    return found


def encodable(name):
    """Whether SQL can name it at all: SQLite lets a table have a name that is no UTF-8, which Python cannot pass on."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def quoted(identifier):
    return '"' + identifier.replace('"', '""') + '"'


def schema_sha256(connection):
    """SHA-256 over type, name, table and SQL of everything in the schema, sorted; SQLite's own tables are left out."""
    import hashlib

    rows = connection.execute("SELECT type, name, tbl_name, coalesce(sql, '') FROM sqlite_master ORDER BY type, name")
    digest = hashlib.sha256()
    for row in rows:
        if not str(row[1]).lower().startswith(_NEVER_COUNTED):
            digest.update("\x00".join(str(field) for field in row).encode("utf-8", "surrogateescape") + b"\x01")
    return digest.hexdigest()
