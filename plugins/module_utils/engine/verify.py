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
from . import clock, database, errors, files

LEVELS = ("none", "quick", "full")
# SQLite stops its check after so many findings; a verdict needs one, a person a few.
FINDINGS = 20
_NEVER_COUNTED = "sqlite_"


class Findings:
    """What a verification collects; ``as_dict`` is what the manifest records."""

    def __init__(self, level):
        self.level = level
        self.errors = []
        self.warnings = []
        self.assertions = []
        self.tables = None
        self.schema_sha256 = None
        self._worst = "ok" if level != "none" else "none"

    _ORDER = ("none", "ok", "unverifiable", "failed", "corrupt")

    def add(self, status, check, message):
        """Record an error; the verdict is the worst of all."""
        self.errors.append({"check": check, "message": message})
        if self._ORDER.index(status) > self._ORDER.index(self._worst):
            self._worst = status

    @property
    def status(self):
        return self._worst

    def as_dict(self, checked_at, seconds):
        return {
            "level": self.level,
            "status": self.status,
            "checked_at": clock.iso(checked_at),
            "duration_seconds": round(seconds, 3),
            "errors": self.errors,
            "warnings": self.warnings,
            "assertions": self.assertions,
        }


def summary(findings):
    """The errors as one line, for messages."""
    shown = "; ".join(f"{row['check']}: {row['message']}" for row in findings.errors[:3])
    more = len(findings.errors) - 3
    return shown + (f" (and {more} more)" if more > 0 else "")


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
        newer = trusted or max(written_by, header.sqlite_version) > _own_version()
        _run_checks(connection, level, findings, source, assertions, newer, progress)
    finally:
        connection.close()
    return findings


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
            _quick(connection, findings)
        if source and any(source.values()):
            _count(connection, findings)
            compare(findings, source)
        for assertion in assertions:
            assertions_room.check(connection, assertion, findings)
    except sqlite3.Error as error:
        _judge_error(error, "read", findings, True)
    finally:
        connection.close()
    return findings


def _own_version():
    major, minor, patch = (int(part) for part in sqlite3.sqlite_version.split("."))
    return major * 1_000_000 + minor * 1_000 + patch


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


def _run_checks(connection, level, findings, source, assertions, newer, progress):
    pulse = _Pulse(progress)
    connection.set_progress_handler(pulse, 1_000_000)
    steps = [("schema", _check_modules)]
    if level == "full":
        steps += [("integrity_check", _integrity), ("foreign_key_check", _foreign_keys), ("rows", _count)]
    else:
        steps += [("quick_check", _quick)]
    for check, step in steps:
        try:
            step(connection, findings)
        except sqlite3.Error as error:
            pulse.reraise()
            _judge_error(error, check, findings, newer)
            return
        if findings.status == "corrupt":
            return
    if level == "full" and source:
        compare(findings, source)
    for assertion in assertions:
        assertions_room.check(connection, assertion, findings)


class _Pulse:
    """Called by SQLite every so often. What a signal raises here (an interrupt) ends the check, and is raised after it:
    SQLite itself would only say "interrupted". It is set without progress too, so that signals are heard at all.
    """

    def __init__(self, progress):
        self._progress, self._raised = progress, None

    def __call__(self):
        try:
            if self._progress is not None:
                self._progress(0, 0)
        except BaseException as error:  # pylint: disable=broad-exception-caught
            self._raised = error
            return 1
        return 0

    def reraise(self):
        if self._raised is not None:
            raise self._raised


_OF_THE_HOST = ("disk I/O", "interrupted", "out of memory", "disk is full", "locked", "unable to open")
_DAMAGE = ("malformed", "not a database", "is encrypted")


def _judge_error(error, check, findings, newer):
    text = str(error)
    schema = "malformed database schema" in text
    # So a virtual table's own check (SQLite 3.44 on) says that a part of it, such as a tokenizer, is missing here.
    lacking = "SQL logic error" in text or any(known in text for known in database.UNVERIFIABLE_TEXT)
    if lacking or (schema and newer):
        findings.add("unverifiable", check, text)
    elif any(known in text for known in _DAMAGE):
        findings.add("corrupt", check, text)
    elif any(known in text for known in _OF_THE_HOST):
        raise error  # It says nothing of the file.
    else:
        findings.add("unverifiable", check, text)


def _check_modules(connection, findings):
    """A virtual table whose module is missing passes integrity_check unseen, so each is connected to first."""
    rows = connection.execute("SELECT name FROM sqlite_master WHERE type='table' AND sql LIKE 'create virtual%'")
    for name in (name for (name,) in rows.fetchall() if _encodable(name)):
        try:
            connection.execute(f"SELECT 1 FROM {quoted(name)} LIMIT 0").fetchall()
        except sqlite3.Error as error:
            findings.add("unverifiable", "schema", f"the virtual table {name} cannot be opened here: {error}")


def _integrity(connection, findings):
    _pragma_check(connection, "integrity_check", findings)


def _quick(connection, findings):
    _pragma_check(connection, "quick_check", findings)


def _pragma_check(connection, pragma, findings):
    # The pragma's rows are its verdict; that it ran says nothing.
    for (message,) in connection.execute(f"PRAGMA {pragma}({FINDINGS})"):
        if message == "ok":
            continue
        status = "unverifiable" if any(known in message for known in database.UNVERIFIABLE_TEXT) else "corrupt"
        findings.add(status, pragma, message)


def _foreign_keys(connection, findings):
    try:
        rows = connection.execute("PRAGMA foreign_key_check").fetchmany(1000)
    except sqlite3.OperationalError as error:
        if "foreign key mismatch" not in str(error):
            raise
        findings.warnings.append(f"foreign keys cannot be checked: {error}")
        return
    if rows:
        tables = sorted({str(row[0]) for row in rows})
        count = "1000 or more" if len(rows) == 1000 else str(len(rows))
        findings.warnings.append(f"{count} foreign key violations, in {', '.join(tables)}")


def _count(connection, findings):
    findings.tables = count_rows(connection)
    findings.schema_sha256 = schema_sha256(connection)


def count_rows(connection):
    """{table: rows} of every ordinary table; SQLite's own and virtual tables are left out."""
    rows = connection.execute("SELECT name FROM sqlite_master WHERE type='table' AND rootpage>0 ORDER BY name")
    names = [name for (name,) in rows.fetchall() if not name.lower().startswith(_NEVER_COUNTED) and _encodable(name)]
    return {name: connection.execute(f"SELECT count(*) FROM {quoted(name)}").fetchone()[0] for name in names}


def readable_rows(connection):
    """As `count_rows`, of a database that may be damaged: None for a table that cannot be read, {} for the schema."""
    sql = "SELECT name FROM sqlite_master WHERE type='table' AND rootpage>0"
    try:
        names = [name for (name,) in connection.execute(sql).fetchall() if not name.lower().startswith(_NEVER_COUNTED)]
    except sqlite3.Error:
        return {}
    found = {}
    for name in filter(_encodable, names):
        try:
            found[name] = connection.execute(f"SELECT count(*) FROM {quoted(name)}").fetchone()[0]
        except sqlite3.Error:
            found[name] = None
    return found


def _encodable(name):
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
