# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""SQLite's own checks of a finished file, and what their answers mean. `verify` has the verdict.

**Several threads.** ``PRAGMA integrity_check`` of a large database is divided among threads, each with a connection of
its own, into a ``quick_check`` of the whole file and an ``integrity_check`` of each table
(https://www.sqlite.org/pragma.html#pragma_integrity_check). Together they look at everything that the undivided check
looks at:

* What the check of one table leaves out is what belongs to no table: the list of free pages, pages that nobody uses,
  pages that two trees use, the largest root page of an auto_vacuum database. The ``quick_check`` is of all trees at
  once and has all of these.
* What ``quick_check`` leaves out is whether the entries of each index are those of its table, and whether UNIQUE holds.
  The check of a table has that of all its indexes. Each row of ``sqlite_master`` of type table is checked, SQLite's own
  and virtual ones with them (whose own check, from SQLite 3.44 on, is part of it), and ``sqlite_master`` itself.

Only the structure of the trees is looked at twice. Where a name cannot be passed to SQL, where SQLite is older than
3.33 and knows no check of one table, with one processor, and for small files the check is undivided.
tests/unit/test_checks.py damages databases in every way it knows and holds that both say the same.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading

from . import contents, database, files, together, wording
from .findings import Findings

# SQLite stops its check after so many findings; a verdict needs one, a person a few.
FINDINGS = 20
# Below this threads take longer to start than they save.
LARGE = 8 * 1024 * 1024
_MOST_THREADS = 4
_KNOWS_ONE_TABLE = (3, 33, 0)
# The second is what Python makes of an error of SQLite that has a name in it which is no UTF-8.
_SAID = (sqlite3.Error, UnicodeDecodeError)


def run(connection, path, level, findings, newer, progress=None):
    """Do the checks of a level on the finished file that ``connection`` reads; what they find goes into ``findings``.

    ``newer`` says that a schema which cannot be parsed is newer than this SQLite.
    """
    steps = [("schema", _check_modules)]
    if level == "full":
        steps += [("integrity_check", _integrity), ("foreign_key_check", _foreign_keys), ("rows", count)]
    else:
        steps += [("quick_check", quick)]
    tables = _divisible(connection) if level == "full" and files.size(path) >= LARGE else None
    whole = steps[:1] if tables else steps
    heard(connection, progress, lambda: _follow(connection, whole, findings, newer))
    if tables and findings.status != "corrupt":
        _divided(connection, path, tables, findings, newer, progress)


def _follow(connection, steps, findings, newer):
    """One step after the other, to the end or to the first that shows damage or cannot be done."""
    for check, step in steps:
        try:
            step(connection, findings)
        except _SAID as error:
            judge_error(error, check, findings, newer)
            return
        if findings.status == "corrupt":
            return


def heard(connection, progress, work):
    """``work()`` in a thread that alone uses ``connection`` meanwhile, while this one hears signals and ``progress``.

    What these raise ends SQLite's work and is raised. A progress handler of SQLite cannot raise what a signal does:
    Python runs the signal before the first line of the handler, and SQLite says "interrupted" instead.
    """
    (outcome,) = _together([lambda _connection: work()], [connection], progress)
    if outcome.error is not None:
        raise outcome.error
    return outcome.value


# --- in threads ------------------------------------------------------------------------------------------------------


def _divided(connection, path, tables, findings, newer, progress):
    steps = [("integrity_check", _of_no_table), *(("integrity_check", _of_table(name)) for name in tables)]
    steps += [("foreign_key_check", _foreign_keys), ("rows", count)]
    with contextlib.ExitStack() as closing:
        hands = [connection]
        while len(hands) < min(together.processors(), _MOST_THREADS, len(steps)):
            hands.append(closing.enter_context(contextlib.closing(database.connect(path, immutable=True))))
        parts = _together([_apart(step, findings.level) for _check, step in steps], hands, progress)
    _merge(steps, parts, findings, newer)


def _apart(step, level):
    """The step with findings of its own, which it returns."""

    def task(connection):
        found = Findings(level)
        step(connection, found)
        return found

    return task


def _together(tasks, hands, progress):
    given_up = threading.Event()
    for hand in hands:
        hand.set_progress_handler(given_up.is_set, 1_000_000)
    tick = None if progress is None else lambda: progress(0, 0)
    try:
        return together.run(tasks, hands, stop=given_up.set, tick=tick)
    finally:
        for hand in hands:
            hand.set_progress_handler(None, 0)


def _merge(steps, parts, findings, newer):
    """Put together what the parts found, as if one step had followed the other."""
    known: set = set()
    failed = False
    for (check, _step), part in zip(steps, parts):
        if check != "integrity_check" and (failed or findings.status == "corrupt"):
            return  # What was read of a damaged file says nothing.
        if isinstance(part.error, _SAID):
            judge_error(part.error, check, findings, newer)
            failed = True
        elif part.error is not None:
            raise part.error
        else:
            # The whole and the table tell of the same; SQLite's own limit holds for all of them together.
            rows = [row for row in part.value.errors if row["message"] not in known]
            part.value.errors = rows[: max(0, FINDINGS - len(known))]
            known.update(row["message"] for row in rows)
            findings.merge(part.value)


def _divisible(connection):
    """The names of all tables, the longest first, where each can be checked by itself; else None."""
    if sqlite3.sqlite_version_info < _KNOWS_ONE_TABLE or together.processors() < 2:
        return None
    try:
        sql = "SELECT name, rootpage FROM sqlite_master WHERE type='table' ORDER BY name"
        rows = connection.execute(sql).fetchall()
    except _SAID:
        return None
    if not all(contents.encodable(name) for name, _root in rows):
        return None
    names = [name for name, _root in rows]
    lengths = {name: _length(connection, name) if root else 0 for name, root in rows}
    return ["sqlite_master", *sorted(names, key=lambda name: -lengths[name])]


def _length(connection, name):
    """About how many rows: only to begin with the longest. A column that is called so may hold anything."""
    try:
        sql = f"SELECT max(rowid) FROM {contents.quoted(name)}"  # nosec B608 # the name is quoted
        found = connection.execute(sql).fetchone()[0]
    except _SAID:
        found = None  # It has no rowid, or cannot be read, which its check will tell.
    return found if isinstance(found, int) else 0


# --- what SQLite says ------------------------------------------------------------------------------------------------

_OF_THE_HOST = ("disk I/O", "interrupted", "out of memory", "disk is full", "locked", "unable to open")
_DAMAGE = ("malformed", "not a database", "is encrypted")


def judge_error(error, check, findings, newer):
    """Record what SQLite raised; raises it again where it tells of this host and not of the file."""
    text = wording.words(error)
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
    for name in (name for (name,) in rows.fetchall() if contents.encodable(name)):
        try:
            sql = f"SELECT 1 FROM {contents.quoted(name)}"  # nosec B608 # the name is quoted
            connection.execute(f"{sql} LIMIT 0").fetchall()
        except _SAID as error:
            findings.add("unverifiable", "schema", f"the virtual table {name} cannot be opened here: {error}")


def _integrity(connection, findings):
    _pragma_check(connection, "integrity_check", FINDINGS, findings)


def quick(connection, findings):
    _pragma_check(connection, "quick_check", FINDINGS, findings)


def _of_no_table(connection, findings):
    _pragma_check(connection, "quick_check", FINDINGS, findings, "integrity_check")


def _of_table(name):
    def integrity(connection, findings):
        _pragma_check(connection, "integrity_check", contents.quoted(name), findings)

    return integrity


def _pragma_check(connection, pragma, argument, findings, called=None):
    # The pragma's rows are its verdict; that it ran says nothing.
    for (message,) in connection.execute(f"PRAGMA {pragma}({argument})"):
        if message == "ok":
            continue
        status = "unverifiable" if any(known in message for known in database.UNVERIFIABLE_TEXT) else "corrupt"
        findings.add(status, called or pragma, message)


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


def count(connection, findings):
    findings.tables = contents.count_rows(connection)
    findings.schema_sha256 = contents.schema_sha256(connection)
