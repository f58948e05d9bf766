# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The user's SQL assertions: what must hold in a copy, asked read-only."""

from __future__ import annotations

import sqlite3

from . import database, errors


def check(connection, assertion, findings):
    """Run one ``{"sql", "expect"}``: the first column of the first row must equal ``expect`` (without it: be true)."""
    sql = assertion.get("sql") if isinstance(assertion, dict) else None
    if not isinstance(sql, str):
        raise errors.UsageError(f"an assertion needs 'sql', and has none: {assertion!r}")
    expect = assertion.get("expect")
    connection.set_authorizer(_allow_reading)
    try:
        row = connection.execute(sql).fetchone()
        got = row[0] if row else None
        passed = matches(got, expect)
    except (sqlite3.Error, sqlite3.Warning, ValueError) as error:
        status = "unverifiable" if any(known in str(error) for known in database.UNVERIFIABLE_TEXT) else "failed"
        findings.add(status, "assertion", f"{sql}: {error}")
        findings.assertions.append({"sql": sql, "expect": expect, "got": None, "passed": False})
        return
    finally:
        connection.set_authorizer(_allow_all)  # None switches it off only from Python 3.11 on.
    findings.assertions.append({"sql": sql, "expect": expect, "got": _plain(got), "passed": passed})
    if not passed:
        wanted = "a true value" if expect is None else repr(expect)
        findings.add("failed", "assertion", f"{sql}: got {_plain(got)!r}, expected {wanted}")


def _allow_reading(action, first, second, *_rest):
    """Assertions may read this file; they may not attach another one, write, or change a setting."""
    if action == sqlite3.SQLITE_PRAGMA:
        allowed = second is None or first.lower() in _ASKING_PRAGMAS
    elif action == sqlite3.SQLITE_UPDATE:
        # So a table-valued function declares its columns; a real write there needs the setting writable_schema.
        allowed = first == "sqlite_master"
    else:
        allowed = action in (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, _RECURSIVE)
    return sqlite3.SQLITE_OK if allowed else sqlite3.SQLITE_DENY


def _allow_all(*_names):
    return sqlite3.SQLITE_OK


_RECURSIVE = getattr(sqlite3, "SQLITE_RECURSIVE", 33)
# With an argument these ask, all others set.
_ASKING_PRAGMAS = (
    "table_info",
    "table_xinfo",
    "index_list",
    "index_info",
    "index_xinfo",
    "foreign_key_list",
    "foreign_key_check",
    "integrity_check",
    "quick_check",
)


def _plain(value):
    return value.hex() if isinstance(value, bytes) else value


def matches(got, expect):
    """Whether a value of SQLite is the expected one, which may have come as text from a playbook or a flag."""
    if expect is None:
        return bool(got)
    if isinstance(expect, bool):
        return got is not None and str(got).lower() in (("1", "true") if expect else ("0", "false"))
    return got == expect or (got is not None and str(_plain(got)) == str(expect))
