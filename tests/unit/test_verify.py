# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Damage is ``corrupt``, what cannot be judged here is ``unverifiable``, and neither is ever taken for the other."""

from __future__ import annotations

import os
import random
import sqlite3

import pytest
from engine import clock, errors, verify
from engine.findings import Findings

PAGE = 4096


def _patch(path, offset, data):
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(data)


def _byte(path, offset):
    with open(path, "rb") as file:
        file.seek(offset)
        return file.read(1)[0]


def _bytes(path):
    with open(path, "rb") as file:
        return file.read()


def _schema(path, statement):
    """Change the stored schema itself, as no statement of SQL could."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA writable_schema=ON")
    connection.execute(statement)
    connection.close()


@pytest.fixture
def sound(tmp_path, make_db):
    (tmp_path / "copy").mkdir()
    return make_db(tmp_path / "copy" / "x.db", rows=3000, sql="DELETE FROM t WHERE id BETWEEN 500 AND 1500")


def _status(path, level="full", **options):
    return verify.verify(path, level, **options).status


# --- sound -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("journal_mode", ["wal", "delete"])
@pytest.mark.parametrize("level", ["quick", "full"])
def test_sound_file_is_ok_and_nothing_is_created_beside_it(tmp_path, make_db, level, journal_mode):
    (tmp_path / "copy").mkdir()
    path = make_db(tmp_path / "copy" / "x.db", journal_mode)
    before = _bytes(path)
    findings = verify.verify(path, level)
    assert (findings.status, findings.errors, findings.warnings) == ("ok", [], [])
    assert _bytes(path) == before and os.listdir(tmp_path / "copy") == ["x.db"]


def test_full_level_counts_rows_and_hashes_the_schema(sound):
    findings = verify.verify(sound)
    assert findings.tables == {"t": 1999} and len(findings.schema_sha256) == 64
    assert verify.verify(sound, "quick").tables is None


def test_level_none_looks_at_nothing_and_says_so(tmp_path):
    assert verify.verify(str(tmp_path / "missing"), "none").status == "none"


def test_unknown_level_is_refused(sound):
    with pytest.raises(errors.UsageError):
        verify.verify(sound, "thorough")


def test_missing_file_is_an_error_of_its_own(tmp_path):
    with pytest.raises(errors.DatabaseNotFound):
        verify.verify(str(tmp_path / "missing.db"))


def test_record_carries_level_status_time_and_findings(sound):
    record = verify.verify(sound).as_dict(clock.parse("2026-11-22T02:00:00Z"), 1.23456)
    assert record == {
        "level": "full",
        "status": "ok",
        "checked_at": "2026-11-22T02:00:00.000Z",
        "duration_seconds": 1.235,
        "errors": [],
        "warnings": [],
        "assertions": [],
    }


# --- damage ----------------------------------------------------------------------------------------------------------


def _index_entry(path):
    """Change a value inside the index only: every page stays well-formed."""
    content = _bytes(path)
    for at in range(len(content)):
        # A leaf of an index begins with 10, one of a table with 13. What lies in a page's free space is of no account.
        if content.startswith(b"word 002500", at) and content[at // PAGE * PAGE] == 10:
            _patch(path, at, b"ward")
            if not _found_by_index(path, "word 002500"):
                return
    raise AssertionError("the checker is broken: no entry of the index was found")


def _found_by_index(path, word):
    connection = sqlite3.connect(path)
    try:
        return connection.execute("SELECT 1 FROM t INDEXED BY t_word WHERE word = ?", (word,)).fetchone()
    finally:
        connection.close()


DAMAGES = {
    "empty": lambda path: os.truncate(path, 0),
    "header-only": lambda path: os.truncate(path, 100),
    "cut-short-by-a-page": lambda path: os.truncate(path, os.path.getsize(path) - PAGE),
    "cut-within-a-page": lambda path: os.truncate(path, os.path.getsize(path) - 1000),
    "first-page-only": lambda path: os.truncate(path, PAGE),
    "appended-page": lambda path: _patch(path, os.path.getsize(path), bytes(PAGE)),
    "appended-byte": lambda path: _patch(path, os.path.getsize(path), b"x"),
    "magic": lambda path: _patch(path, 0, b"sqlite"),
    "page-size-impossible": lambda path: _patch(path, 16, b"\x00\x03"),
    "page-size-other": lambda path: _patch(path, 16, b"\x04\x00"),
    "page-count": lambda path: _patch(path, 31, bytes([_byte(path, 31) ^ 1])),
    "freelist-count": lambda path: _patch(path, 39, bytes([_byte(path, 39) ^ 1])),
    "freelist-trunk": lambda path: _patch(path, 32, b"\x00\x00\x00\x02"),
    "payload-fraction": lambda path: _patch(path, 21, b"\x41"),
    "b-tree-page-type": lambda path: _patch(path, PAGE, bytes([_byte(path, PAGE) ^ 0x08])),
    "b-tree-cell-count": lambda path: _patch(path, PAGE + 3, bytes([_byte(path, PAGE + 3) ^ 0x40])),
    "b-tree-page-overwritten": lambda path: _patch(path, 3 * PAGE, b"\xde\xad\xbe\xef" * 1024),
    "schema-page": lambda path: _patch(path, 100, b"\xff"),
}


@pytest.mark.parametrize("level", ["quick", "full"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_corrupt_and_named(sound, damage, level):
    assert _status(sound, level) == "ok"
    DAMAGES[damage](sound)
    findings = verify.verify(sound, level)
    assert findings.status == "corrupt"
    assert findings.errors and all(row["check"] and row["message"] for row in findings.errors)


def test_damaged_index_is_found_by_the_full_level(sound):
    _index_entry(sound)
    assert _status(sound) == "corrupt"


@pytest.mark.parametrize("seed", range(5))
def test_file_of_noise_behind_a_good_header_is_never_ok(sound, seed):
    generator = random.Random(seed)
    size = os.path.getsize(sound)
    _patch(sound, 100, bytes(generator.randrange(256) for _ in range(size - 100)))
    assert _status(sound) in ("corrupt", "unverifiable")


def test_index_that_lacks_rows_is_corrupt(sound):
    """An index that was made over fewer rows than the table has, as a lost write leaves it."""
    _schema(sound, "UPDATE sqlite_master SET sql='CREATE INDEX t_word ON t (word) WHERE id < 0' WHERE name='t_word'")
    connection = sqlite3.connect(sound)
    connection.execute("INSERT INTO t (word) VALUES ('not indexed')")
    connection.commit()
    connection.close()
    _schema(sound, "UPDATE sqlite_master SET sql='CREATE INDEX t_word ON t (word)' WHERE name='t_word'")
    assert _status(sound) == "corrupt"


def test_not_null_violation_is_corrupt(sound):
    _schema(sound, "UPDATE sqlite_master SET sql='CREATE TABLE t (id INTEGER PRIMARY KEY, word TEXT)' WHERE name='t'")
    connection = sqlite3.connect(sound)
    connection.execute("UPDATE t SET word = NULL WHERE id = 7")
    connection.commit()
    connection.close()
    _schema(
        sound,
        "UPDATE sqlite_master SET sql='CREATE TABLE t (id INTEGER PRIMARY KEY, word TEXT NOT NULL)' WHERE name='t'",
    )
    assert _status(sound) == "corrupt"


def test_journal_beside_a_copy_is_corrupt_because_it_was_never_finished(sound):
    _patch_new(sound + "-journal", b"x")
    assert _status(sound) == "corrupt"


def test_log_beside_a_copy_is_not_believed(sound, make_db, tmp_path, holding):
    other = make_db(tmp_path / "other.db", "wal")
    with holding(other, "PRAGMA wal_autocheckpoint=0", "DELETE FROM t"):
        _patch_new(sound + "-wal", _bytes(other + "-wal"))
    findings = verify.verify(sound)
    assert (findings.status, findings.tables) == ("ok", {"t": 1999})
    assert "-wal" in findings.warnings[0]


def _patch_new(path, data):
    with open(path, "wb") as file:
        file.write(data)


def test_summary_is_short_and_says_how_many_more():
    findings = Findings("full")
    for number in range(5):
        findings.add("corrupt", "integrity_check", f"page {number}")
    assert "page 2" in findings.summary() and "page 3" not in findings.summary()
    assert "2 more" in findings.summary()


def test_verdict_is_the_worst_of_all_findings():
    findings = Findings("full")
    for status, expected in (("unverifiable", "unverifiable"), ("corrupt", "corrupt"), ("failed", "corrupt")):
        findings.add(status, "x", "y")
        assert findings.status == expected


# --- what cannot be judged here --------------------------------------------------------------------------------------


def _functions(connection):
    connection.create_collation("german", lambda a, b: (a > b) - (a < b))
    connection.create_function("fold", 1, lambda text: text, deterministic=True)


def _built(path, sql):
    connection = sqlite3.connect(path, isolation_level=None)
    _functions(connection)
    connection.executescript(sql)
    connection.execute("INSERT INTO own (a) VALUES ('b'), ('a'), ('c')")
    connection.close()


def _random_file(path):
    _patch_new(path, os.urandom(16384))


UNJUDGEABLE = {
    "collation": lambda path: _built(path, "CREATE TABLE own (a COLLATE german); CREATE INDEX i ON own (a)"),
    "collation-of-a-primary-key": lambda path: _built(
        path, "CREATE TABLE own (a PRIMARY KEY COLLATE german) WITHOUT ROWID"
    ),
    "function-in-an-index": lambda path: _built(path, "CREATE TABLE own (a); CREATE INDEX i ON own (fold(a))"),
    "function-in-a-partial-index": lambda path: _built(
        path, "CREATE TABLE own (a); CREATE INDEX i ON own (a) WHERE fold(a)"
    ),
    "function-in-an-indexed-generated-column": lambda path: _built(
        path, "CREATE TABLE own (a, b GENERATED ALWAYS AS (fold(a))); CREATE INDEX i ON own (b)"
    ),
    "virtual-table-module": lambda path: _schema(
        path, "INSERT INTO sqlite_master VALUES ('table', 'v', 'v', 0, 'CREATE VIRTUAL TABLE v USING nosuch(a)')"
    ),
    "virtual-table-module-in-lower-case": lambda path: _schema(
        path, "INSERT INTO sqlite_master VALUES ('table', 'v', 'v', 0, 'create virtual table v using nosuch(a)')"
    ),
    "read-version": lambda path: _patch(path, 18, b"\x03\x03"),
    "schema-format": lambda path: _patch(path, 44, b"\x00\x00\x00\x05"),
    "encrypted": _random_file,
}


@pytest.mark.parametrize("part", UNJUDGEABLE)
def test_what_lacks_a_part_here_is_unverifiable_with_the_reason(sound, part):
    UNJUDGEABLE[part](sound)
    findings = verify.verify(sound)
    assert findings.status == "unverifiable"
    assert findings.errors and all(row["message"] for row in findings.errors)


@pytest.mark.parametrize("part", ["collation", "virtual-table-module", "read-version", "schema-format", "encrypted"])
def test_what_lacks_a_part_here_is_unverifiable_at_the_quick_level_too(sound, part):
    UNJUDGEABLE[part](sound)
    assert _status(sound, "quick") == "unverifiable"


def test_missing_tokenizer_is_unverifiable(tmp_path):
    path = str(tmp_path / "fts.db")
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("CREATE VIRTUAL TABLE v USING fts5(a)")
    connection.execute("INSERT INTO v VALUES ('hello world')")
    connection.close()
    assert _status(path) == "ok"
    _schema(path, "UPDATE sqlite_master SET sql='CREATE VIRTUAL TABLE v USING fts5(a, tokenize=nosuch)' WHERE name='v'")
    assert _status(path) == "unverifiable"


def test_damage_beside_a_missing_module_is_still_corrupt(sound):
    UNJUDGEABLE["virtual-table-module"](sound)
    DAMAGES["b-tree-cell-count"](sound)
    assert _status(sound) == "corrupt"


def _unknown_option(path):
    _schema(path, "UPDATE sqlite_master SET sql=sql || ' NEWOPTION' WHERE name='t'")


def test_schema_of_a_newer_sqlite_is_unverifiable(sound):
    _unknown_option(sound)
    assert _status(sound) == "corrupt"
    assert _status(sound, written_by=3_099_000) == "unverifiable"
    assert _status(sound, trusted=True) == "unverifiable"
    _patch(sound, 96, (3_099_000).to_bytes(4, "big"))
    assert _status(sound) == "unverifiable"
    assert _status(sound, "quick") == "unverifiable"


def test_damage_of_a_file_by_a_newer_sqlite_is_still_corrupt(sound):
    _patch(sound, 96, (3_099_000).to_bytes(4, "big"))
    DAMAGES["b-tree-cell-count"](sound)
    assert _status(sound, trusted=True) == "corrupt"


def test_write_version_of_the_future_alone_can_be_read(sound):
    _patch(sound, 18, b"\x03")
    assert _status(sound) == "ok"


# --- foreign keys ----------------------------------------------------------------------------------------------------


def test_foreign_key_violations_are_counted_as_a_warning(tmp_path, make_db):
    sql = (
        "CREATE TABLE c (x REFERENCES t (id)); INSERT INTO c VALUES (1), (-1), (-2);"
        "CREATE TABLE d (x REFERENCES t (id)); INSERT INTO d VALUES (-3)"
    )
    findings = verify.verify(make_db(tmp_path / "x.db", sql=sql))
    assert findings.status == "ok"
    assert findings.warnings == ["3 foreign key violations, in c, d"]


def test_foreign_keys_that_cannot_be_checked_are_a_warning(tmp_path, make_db):
    sql = "CREATE TABLE c (x REFERENCES t (word)); INSERT INTO c VALUES ('a')"
    findings = verify.verify(make_db(tmp_path / "x.db", sql=sql))
    assert findings.status == "ok"
    assert "foreign keys cannot be checked" in findings.warnings[0]


def test_foreign_keys_can_be_asserted(tmp_path, make_db):
    path = make_db(tmp_path / "x.db", sql="CREATE TABLE c (x REFERENCES t (id)); INSERT INTO c VALUES (-1)")
    sql = "SELECT count(*) FROM pragma_foreign_key_check"
    assert _status(path, assertions=[{"sql": sql, "expect": 0}]) == "failed"
    assert _status(path, assertions=[{"sql": sql, "expect": 1}]) == "ok"


# --- the user's assertions -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sql, expect, passed",
    [
        ("SELECT count(*) FROM t", 1999, True),
        ("SELECT count(*) FROM t", "1999", True),
        ("SELECT count(*) FROM t", 1999.0, True),
        ("SELECT count(*) FROM t", 2000, False),
        ("SELECT count(*) FROM t", None, True),
        ("SELECT count(*) > 5000 FROM t", None, False),
        ("SELECT 1", True, True),
        ("SELECT 0", True, False),
        ("SELECT 0", False, True),
        ("SELECT 'true'", True, True),
        ("SELECT NULL", False, False),
        ("SELECT NULL", None, False),
        ("SELECT word FROM t WHERE id = 1", "word 000000", True),
        ("SELECT 1.5", 1.5, True),
        ("SELECT 1.5", "1.5", True),
        ("SELECT x'beef'", "beef", True),
        ("SELECT 'None'", None, True),
        ("SELECT word FROM t WHERE id = -1", "x", False),
        ("SELECT word FROM t WHERE id = -1", None, False),
        (
            "WITH RECURSIVE n (x) AS (VALUES (1) UNION ALL SELECT x + 1 FROM n WHERE x < 9) SELECT max(x) FROM n",
            9,
            True,
        ),
        ("PRAGMA user_version", 0, True),
        ("SELECT name FROM pragma_table_info('t') WHERE pk", "id", True),
        ("SELECT count(*) FROM pragma_index_list('t')", 1, True),
        ("SELECT integrity_check FROM pragma_integrity_check", "ok", True),
        ("SELECT count(*) FROM json_each('[1, 2]')", 2, True),
        ("PRAGMA table_info(t)", 0, True),
        ("SELECT max(length(word)) FROM t", 11, True),
    ],
)
def test_assertion_compares_the_first_column_of_the_first_row(sound, sql, expect, passed):
    findings = verify.verify(sound, assertions=[{"sql": sql, "expect": expect}])
    assert findings.status == ("ok" if passed else "failed")
    assert [(row["sql"], row["passed"]) for row in findings.assertions] == [(sql, passed)]


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM t",
        "INSERT INTO t (word) VALUES ('x')",
        "UPDATE t SET word = 'x'",
        "DROP TABLE t",
        "CREATE TABLE u (x)",
        "CREATE TEMP TABLE u (x)",
        "ATTACH DATABASE '{other}' AS other",
        "VACUUM INTO '{other}'",
        "VACUUM",
        "BEGIN IMMEDIATE",
        "REINDEX",
        "PRAGMA user_version = 1",
        "PRAGMA writable_schema = ON",
        "PRAGMA query_only(0)",
        "UPDATE sqlite_master SET sql = 'x'",
        "DELETE FROM sqlite_master",
        "SELECT load_extension('{other}')",
        "SELECT 1; DROP TABLE t",
        "SELECT nosuch FROM t",
        "SELECT nosuch(",
        "",
    ],
)
def test_assertion_that_is_wrong_or_would_write_fails_and_changes_nothing(sound, tmp_path, sql):
    other = tmp_path / "other.db"
    before = _bytes(sound)
    assertions = [{"sql": sql.format(other=other), "expect": 1}, {"sql": "SELECT 1", "expect": 1}]
    findings = verify.verify(sound, assertions=assertions)
    assert findings.status == "failed"
    assert [row["passed"] for row in findings.assertions] == [False, True]
    assert _bytes(sound) == before and not other.exists() and os.listdir(tmp_path / "copy") == ["x.db"]


def test_assertion_that_needs_a_missing_function_is_unverifiable(sound):
    assert _status(sound, assertions=[{"sql": "SELECT soundslike(word) FROM t"}]) == "unverifiable"


@pytest.mark.parametrize("assertion", [{}, {"expect": 1}, {"sql": 5}, {"sql": None}, "SELECT 1", None])
def test_assertion_without_sql_is_a_usage_error(sound, assertion):
    with pytest.raises(errors.UsageError):
        verify.verify(sound, assertions=[assertion])


def test_assertions_are_not_run_on_a_corrupt_file(sound):
    DAMAGES["b-tree-cell-count"](sound)
    assert verify.verify(sound, assertions=[{"sql": "SELECT 1"}]).assertions == []


# --- against the manifest --------------------------------------------------------------------------------------------


def _source(path):
    findings = verify.verify(path)
    return {"tables": findings.tables, "schema_sha256": findings.schema_sha256}


def _change(path, sql):
    connection = sqlite3.connect(path)
    connection.executescript(sql)
    connection.close()


def test_same_content_is_ok(sound):
    assert _status(sound, source=_source(sound)) == "ok"


@pytest.mark.parametrize(
    "sql, check, message",
    [
        ("DELETE FROM t WHERE id = 1", "rows", "table t has 1998 rows, expected 1999 rows"),
        ("CREATE TABLE u (x)", "rows", "table u has 0 rows, expected no such table"),
        ("DROP TABLE t", "rows", "table t has no such table, expected 1999 rows"),
        ("CREATE VIEW v AS SELECT 1", "schema", "the schema is not the one that was backed up"),
        ("DROP INDEX t_word", "schema", "the schema is not the one that was backed up"),
    ],
)
def test_other_content_failed_and_says_where(sound, sql, check, message):
    source = _source(sound)
    _change(sound, sql)
    findings = verify.verify(sound, source=source)
    assert findings.status == "failed"
    assert {"check": check, "message": message} in findings.errors


def test_statistics_and_order_of_creation_are_no_change_of_the_schema(sound, tmp_path):
    source = _source(sound)
    _change(sound, "ANALYZE; VACUUM")
    assert _status(sound, source=source) == "ok"


@pytest.mark.parametrize("source", [{}, {"tables": None}, {"schema_sha256": None}, {"tables": "many"}])
def test_what_the_manifest_does_not_know_is_not_compared(sound, source):
    assert _status(sound, source=source) == "ok"


def test_odd_table_names_are_counted(tmp_path, make_db):
    path = make_db(
        tmp_path / "x.db", rows=1, sql='CREATE TABLE "a ""b"" [c]" (x); CREATE TABLE "" (x); CREATE TABLE "Sqlitex" (x)'
    )
    assert verify.verify(path).tables == {"t": 1, 'a "b" [c]': 0, "": 0, "Sqlitex": 0}


# --- the live database after a restore -------------------------------------------------------------------------------


@pytest.mark.parametrize("journal_mode", ["wal", "delete"])
@pytest.mark.parametrize("level", ["none", "quick", "full"])
def test_live_database_that_holds_what_was_restored_is_ok(tmp_path, make_db, journal_mode, level):
    (tmp_path / "live").mkdir()
    path = make_db(tmp_path / "live" / "x.db", journal_mode)
    assert verify.verify_live(path, level, source=_source(path)).status == "ok"
    assert os.listdir(tmp_path / "live") == ["x.db"]


@pytest.mark.parametrize("level", ["none", "quick", "full"])
def test_live_database_that_holds_something_else_failed_at_every_level(tmp_path, make_db, level):
    path = make_db(tmp_path / "x.db")
    source = _source(path)
    _change(path, "DELETE FROM t WHERE id = 1")
    assert verify.verify_live(path, level, source=source).status == "failed"


def test_live_database_is_seen_with_its_log(tmp_path, make_db, holding):
    path = make_db(tmp_path / "x.db", "wal")
    source = _source(path)
    with holding(path, "PRAGMA wal_autocheckpoint=0", "DELETE FROM t WHERE id = 1"):
        findings = verify.verify_live(path, source=source)
    assert (findings.status, findings.tables) == ("failed", {"t": 199})


def test_live_database_that_is_locked_is_busy(tmp_path, make_db, holding):
    path = make_db(tmp_path / "x.db")
    with holding(path, "BEGIN EXCLUSIVE"), pytest.raises(errors.DatabaseBusy):
        verify.verify_live(path, busy_timeout=0.1)


@pytest.mark.parametrize("journal_mode", ["wal", "delete"])
def test_live_database_is_not_changed_by_an_assertion(tmp_path, make_db, journal_mode):
    path = make_db(tmp_path / "x.db", journal_mode)
    before = _bytes(path)
    statements = ("PRAGMA user_version = 9", "DELETE FROM t", "COMMIT", "PRAGMA optimize", "PRAGMA incremental_vacuum")
    assertions = [{"sql": sql} for sql in statements]
    verify.verify_live(path, assertions=assertions)
    assert _bytes(path) == before
