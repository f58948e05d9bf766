# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Is this file sound?

The verdict is one of

* ``ok``: SQLite found nothing wrong, and everything that was expected of it holds;
* ``corrupt``: SQLite, the header or the size found damage;
* ``failed``: the file is sound, but is not what was expected (a row count, the schema, the user's assertion);
* ``unverifiable``: it cannot be judged here (a missing extension or collation, a newer SQLite), with the reason;
* ``none``: not looked at.

Foreign key violations are counted and told as a warning: SQLite lets an application create them, a faithful copy has
them too, and refusing such a copy would leave its owner without any backup. Who wants them refused asserts
``SELECT count(*) FROM pragma_foreign_key_check`` to be 0.
"""

from __future__ import annotations

import sqlite3

from . import assertions as assertions_room
from . import checks, database, errors, files
from .findings import Findings
from .header import library_version

LEVELS = ("none", "quick", "full")


def check_level(level):
    if level not in LEVELS:
        raise errors.UsageError(f"unknown verification level '{level}'; there are: {', '.join(LEVELS)}")


def verify(path, level="full", *, source=None, assertions=(), written_by=0, trusted=False, progress=None):
    """Findings about a self-contained database file (a backup's content, not a live database).

    ``source`` is the manifest's ``source`` object: its ``tables`` and ``schema_sha256`` are compared (level full).
    ``assertions`` are ``{"sql", "expect"}``. ``written_by`` is the SQLite version number of the live file's header and
    ``trusted`` says that the bytes match their recorded SHA-256: with either, a schema that this SQLite cannot parse
    is newer, not damaged. The file is opened as immutable: nothing is created beside it and no sidecar is believed.
    """
    check_level(level)
    findings = Findings(level)
    if level == "none":
        return findings
    header = _check_form(path, findings)
    if header is None or findings.status == "corrupt":
        return findings
    if header.read_version > 2:
        findings.add("unverifiable", "header", f"file format version {header.read_version} is newer than this SQLite's")
        return findings
    connection = database.connect(path, immutable=True)
    try:
        newer = trusted or max(written_by, header.sqlite_version) > library_version()
        checks.run(connection, path, level, findings, newer, progress)
        if findings.status != "corrupt":
            checks.heard(connection, progress, lambda: _expected(connection, level, findings, source, assertions))
    finally:
        connection.close()
    return findings


def _expected(connection, level, findings, source, assertions):
    if level == "full" and source:
        compare(findings, source)
    for assertion in assertions:
        assertions_room.check(connection, assertion, findings)


def verify_live(path, level="full", *, source=None, assertions=(), busy_timeout=30.0):
    """Findings about a live database just after a restore: did the content arrive?

    ``source`` has the expected ``tables`` and ``schema_sha256``. The content passed its full verification on the staged
    copy, so here a quick check is enough (none at level none); but the rows are always counted, because a restore that
    had no effect passes every integrity check. Raises DatabaseBusy and the like when it cannot be read.
    """
    findings = Findings("quick")
    header = database.check_file(path)
    connection = database.open_live(path, header, busy_timeout)
    try:
        if level != "none":
            checks.quick(connection, findings)
        if source and any(source.values()):
            checks.count(connection, findings)
            compare(findings, source)
        for assertion in assertions:
            assertions_room.check(connection, assertion, findings)
    except sqlite3.Error as error:
        try:
            checks.judge_error(error, "read", findings, True)
        except sqlite3.Error as of_the_host:
            raise database.translate(of_the_host, path) from error
    finally:
        connection.close()
    return findings


def _check_form(path, findings):
    """Header and size: an empty, short or overlong file can look healthy to SQLite."""
    try:
        header = database.check_file(path)
    except errors.DatabaseEncrypted as error:
        findings.add("unverifiable", "header", error.cause)
        return None
    except (errors.DatabaseEmpty, errors.NotADatabase, errors.DatabaseNotAFile) as error:
        findings.add("corrupt", "header", error.cause)
        return None
    actual = files.size(path)
    if actual % header.page_size:
        findings.add("corrupt", "size", f"{actual} bytes are no whole number of {header.page_size}-byte pages")
    elif header.sized and actual != header.page_count * header.page_size:
        findings.add("corrupt", "size", f"{actual} bytes where the header tells {header.page_count * header.page_size}")
    if files.size(path + "-journal"):
        findings.add("corrupt", "journal", "a rollback journal lies beside it: the copy was never finished")
    elif files.size(path + "-wal"):
        findings.warnings.append("a -wal file lies beside it; it is no part of the backup and was not read")
    return header


def compare(findings, source):
    """Row counts and schema against those of the manifest; what the manifest does not know is not compared."""
    expected = source.get("schema_sha256")
    if expected and findings.schema_sha256 and expected != findings.schema_sha256:
        findings.add("failed", "schema", "the schema is not the one that was backed up")
    tables = source.get("tables")
    if not isinstance(tables, dict) or findings.tables is None:
        return
    for name in sorted(set(tables) | set(findings.tables)):
        if tables.get(name) != findings.tables.get(name):
            findings.add(
                "failed", "rows", f"table {name} has {_rows(findings.tables, name)}, expected {_rows(tables, name)}"
            )


def _rows(tables, name):
    return f"{tables[name]} rows" if name in tables else "no such table"
