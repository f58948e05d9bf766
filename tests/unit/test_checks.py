# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The check that is divided among threads says what SQLite's undivided check says, whatever is wrong with the file.

More damage than CI has time for: DAMAGES=5000 pytest tests/unit/test_checks.py
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import threading

import pytest
from engine import assertions, checks, database, files, snapshot, verify

pytestmark = pytest.mark.skipif(sqlite3.sqlite_version_info < (3, 33), reason="SQLite knows no check of one table here")
DAMAGES = int(os.environ.get("DAMAGES", "150"))
PAGE = 1024
SCHEMA = """
CREATE TABLE plain (id INTEGER PRIMARY KEY, a TEXT NOT NULL, b INTEGER, c BLOB);
CREATE INDEX plain_a ON plain (a);
CREATE UNIQUE INDEX plain_b ON plain (b);
CREATE INDEX plain_part ON plain (a) WHERE b > 100;
CREATE INDEX plain_expression ON plain (length(c), a);
CREATE TABLE keyed (k TEXT PRIMARY KEY, v BLOB) WITHOUT ROWID;
CREATE INDEX keyed_v ON keyed (v);
CREATE TABLE counted (id INTEGER PRIMARY KEY AUTOINCREMENT, x REAL CHECK (x < 1000000));
CREATE TABLE "odd ""name" (a, b AS (a * 2));
CREATE TABLE "7" (a);
CREATE TABLE parent (id INTEGER PRIMARY KEY);
CREATE TABLE child (parent REFERENCES parent);
CREATE VIEW seen AS SELECT * FROM plain;
CREATE TRIGGER after_plain AFTER DELETE ON plain BEGIN SELECT 1; END;
"""


@pytest.fixture(params=[0, 1], ids=["none", "full"], scope="module")
def sound(request, tmp_path_factory):
    """A database of every kind of table, with overflow pages and free pages; with and without auto_vacuum."""
    path = str(tmp_path_factory.mktemp("sound") / "sound.db")
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(f"PRAGMA page_size={PAGE}")
    connection.execute(f"PRAGMA auto_vacuum={2 * request.param}")
    connection.executescript(SCHEMA)
    chance = random.Random(7)
    connection.execute("BEGIN")
    for number in range(400):
        body = chance.randbytes(chance.choice((5, 50, 3000)))
        connection.execute("INSERT INTO plain VALUES (?, ?, ?, ?)", (number, f"word {number % 50}", number, body))
        connection.execute("INSERT INTO keyed VALUES (?, ?)", (f"key {number}", body[:40]))
        connection.execute("INSERT INTO counted (x) VALUES (?)", (number / 7,))
        connection.execute('INSERT INTO "odd ""name" (a) VALUES (?)', (number,))
        connection.execute("INSERT INTO child VALUES (?)", (number,))
    connection.execute("DELETE FROM plain WHERE id BETWEEN 100 AND 180")
    connection.execute("COMMIT")
    connection.execute("ANALYZE")
    connection.close()
    return path


@pytest.fixture
def divided(monkeypatch):
    """Divide also what is small, on machines of one processor too; tells what was divided."""
    seen = []
    real = checks._divided

    def note(*arguments):
        seen.append(threading.active_count())
        real(*arguments)

    monkeypatch.setattr(checks, "LARGE", 0)
    monkeypatch.setattr(checks.together, "processors", lambda: 3)
    monkeypatch.setattr(checks, "_divided", note)
    return seen


def undivided(path):
    """What SQLite's own whole check says: ok, or corrupt; None when it cannot be asked."""
    connection = sqlite3.connect(f"file:{path}?immutable=1", uri=True)
    connection.text_factory = bytes
    try:
        rows = connection.execute("PRAGMA integrity_check(20)").fetchall()
    except UnicodeDecodeError as error:
        return "corrupt" if b"malformed" in error.object else "ok"
    except sqlite3.Error as error:
        text = str(error) or "malformed"  # Python 3.9 and 3.10 leave out a text that is no UTF-8.
        return "ok" if "malformed" not in text and "not a database" not in text else "corrupt"
    finally:
        connection.close()
    return "ok" if rows == [(b"ok",)] else "corrupt"


def _overwrite(content, chance):
    at = chance.randrange(100, len(content))
    content[at : at + chance.choice((1, 2, 4, 30))] = chance.randbytes(chance.choice((1, 2, 4, 30)))


def _flip(content, chance):
    content[chance.randrange(100, len(content))] ^= 1 << chance.randrange(8)


def _zero_page(content, chance):
    page = chance.randrange(1, len(content) // PAGE)
    content[page * PAGE : (page + 1) * PAGE] = bytes(PAGE)


def _exchange_pages(content, chance):
    one, two = (PAGE * chance.randrange(1, len(content) // PAGE) for _ in range(2))
    kept = content[one : one + PAGE]
    content[one : one + PAGE] = content[two : two + PAGE]
    content[two : two + PAGE] = kept


def _double_page(content, chance):
    one, two = (PAGE * chance.randrange(1, len(content) // PAGE) for _ in range(2))
    content[one : one + PAGE] = content[two : two + PAGE]


def _header(content, chance):
    # First free page, number of free pages, largest root page, incremental vacuum.
    at = chance.choice((32, 36, 52, 64))
    content[at : at + 4] = chance.choice((0, 1, 2, 3, 50, 1 << 20)).to_bytes(4, "big")


def _cell_pointer(content, chance):
    page = PAGE * chance.randrange(1, len(content) // PAGE)
    at = page + 8 + 2 * chance.randrange(10)
    content[at : at + 2] = chance.randrange(PAGE).to_bytes(2, "big")


def _number_of_cells(content, chance):
    page = PAGE * chance.randrange(1, len(content) // PAGE)
    content[page + 3 : page + 5] = chance.randrange(40).to_bytes(2, "big")


def _index_entry(content, chance):
    at = content.find(b"word %d" % chance.randrange(50), chance.randrange(len(content)))
    if at > 0:
        content[at + 1] = ord("x")


DAMAGE = (
    *(_overwrite, _flip, _zero_page, _exchange_pages, _double_page, _header, _cell_pointer, _number_of_cells),
    *(_index_entry, _index_entry),
)


def test_divided_check_says_what_the_whole_one_says(sound, divided, tmp_path):
    path = str(tmp_path / "damaged.db")
    with open(sound, "rb") as file:
        intact = file.read()
    chance, verdicts = random.Random(11), {"ok": 0, "corrupt": 0}
    for number in range(DAMAGES):
        content = bytearray(intact)
        damage = DAMAGE[number % len(DAMAGE)]
        for _ in range(chance.choice((1, 1, 2))):
            damage(content, chance)
        with open(path, "wb") as file:
            file.write(content)
        findings = verify.verify(path, "full")
        expected = undivided(path)
        found = "ok" if findings.status == "ok" else "corrupt"
        if findings.status == "unverifiable":
            found = expected  # Judged alike by both: what SQLite says of the schema is no matter of dividing.
        assert found == expected, (number, damage.__name__, findings.errors[:3])
        verdicts[expected] += 1
    assert min(verdicts.values()) > DAMAGES / 20, verdicts
    assert len(divided) > DAMAGES / 2


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM sqlite_master WHERE name='plain_a'",
        "UPDATE sqlite_master SET rootpage=(SELECT rootpage FROM sqlite_master WHERE name='keyed')"
        " WHERE name='counted'",
        "UPDATE sqlite_master SET rootpage=(SELECT rootpage FROM sqlite_master WHERE name='plain_b')"
        " WHERE name='plain_a'",
        "UPDATE sqlite_master SET sql='CREATE UNIQUE INDEX plain_a ON plain (a)' WHERE name='plain_a'",
        "UPDATE sqlite_master SET sql=replace(sql, 'b INTEGER', 'b INTEGER NOT NULL') WHERE name='plain'",
        "UPDATE sqlite_master SET sql=replace(sql, '1000000', '5') WHERE name='counted'",
    ],
)
def test_damage_of_the_schema_is_found_as_the_whole_check_finds_it(sound, divided, tmp_path, damage):
    path = str(tmp_path / "damaged.db")
    shutil.copy(sound, path)
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("UPDATE plain SET b = NULL WHERE id = 3")
    connection.execute("PRAGMA writable_schema=ON")
    connection.execute(damage)
    connection.close()
    # A schema that cannot be parsed at all is not even divided.
    assert verify.verify(path, "full").status == undivided(path)


def test_sound_database_is_found_sound_and_counted_alike(sound, divided, monkeypatch):
    findings = verify.verify(sound, "full")
    monkeypatch.setattr(checks, "LARGE", 1 << 60)
    whole = verify.verify(sound, "full")
    assert findings.status == whole.status == "ok" and len(divided) == 1
    for field in ("errors", "warnings", "tables", "schema_sha256"):
        assert getattr(findings, field) == getattr(whole, field)
    assert "foreign key violations" in findings.warnings[0]


def test_findings_are_the_same_at_every_run_and_no_more_than_sqlite_tells(sound, divided, tmp_path):
    path = str(tmp_path / "damaged.db")
    with open(sound, "rb") as file:
        content = file.read().replace(b"word 1", b"w0rd 1")
    with open(path, "wb") as file:
        file.write(content)
    found = [verify.verify(path, "full").errors for _ in range(5)]
    assert found[0] and all(other == found[0] for other in found)
    assert len(found[0]) <= checks.FINDINGS and {row["check"] for row in found[0]} == {"integrity_check"}


def test_what_cannot_be_judged_here_is_told_as_by_the_whole_check(tmp_path, divided):
    path = str(tmp_path / "x.db")
    connection = sqlite3.connect(path)
    connection.create_collation("german", lambda a, b: (a > b) - (a < b))
    connection.executescript(
        "CREATE TABLE t (a COLLATE german); CREATE INDEX i ON t (a); INSERT INTO t VALUES ('x'), ('y')"
    )
    connection.close()
    assert verify.verify(path, "full").status == "unverifiable" and divided


@pytest.mark.parametrize("why", ["one processor", "old SQLite", "name that SQL cannot say"])
def test_check_is_whole_where_it_cannot_be_divided(sound, divided, tmp_path, monkeypatch, why):
    path = str(tmp_path / "copy.db")
    shutil.copy(sound, path)
    if why == "one processor":
        monkeypatch.setattr(checks.together, "processors", lambda: 1)
    elif why == "old SQLite":
        monkeypatch.setattr(checks, "_KNOWS_ONE_TABLE", (9, 0, 0))
    else:
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute("PRAGMA writable_schema=ON")
        connection.execute("UPDATE sqlite_master SET name = CAST(x'ff' AS TEXT), sql = NULL WHERE name = 'seen'")
        connection.execute("UPDATE sqlite_master SET name = CAST(x'ff' AS TEXT), tbl_name = name WHERE name = '7'")
        connection.close()
    findings = verify.verify(path, "full")
    assert not divided and findings.status == undivided(path)


def test_error_of_the_disk_in_a_thread_is_no_verdict(sound, divided, monkeypatch):
    def fail(_connection, _findings):
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(checks, "_foreign_keys", fail)
    with pytest.raises(sqlite3.OperationalError, match="disk I/O"):
        verify.verify(sound, "full")
    assert divided and threading.active_count() == 1


def test_progress_is_told_while_threads_check(sound, divided, monkeypatch):
    told = threading.Event()
    monkeypatch.setattr(checks, "_foreign_keys", lambda _connection, _findings: told.wait(30))
    assert verify.verify(sound, "full", progress=lambda *_numbers: told.set()).status == "ok" and told.is_set()


def test_column_that_is_called_rowid_may_hold_anything(tmp_path, divided):
    path = str(tmp_path / "x.db")
    connection = sqlite3.connect(path)
    connection.executescript("CREATE TABLE t (rowid TEXT); INSERT INTO t VALUES ('x'); CREATE TABLE u (rowid BLOB);")
    connection.execute("INSERT INTO u VALUES (x'ff'), (1.5)")
    connection.commit()
    connection.close()
    findings = verify.verify(path, "full")
    assert divided and findings.status == "ok" and findings.tables == {"t": 1, "u": 2}


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize("where", ["a check", "an assertion", "a vacuum"])
def test_signal_while_sqlite_works_ends_it_and_is_raised(sound, monkeypatch, where):
    """Whatever it raises: SQLite would say that it was interrupted, and that would be an error of the disk."""

    class Signalled(BaseException):
        pass

    def raising(_number, _frame):
        raise Signalled

    busy, over, running, unheard = threading.Event(), threading.Event(), [], []

    def endless(connection, *_arguments):
        running.append(connection)
        connection.create_function("busy", 0, busy.set)
        sql = "WITH RECURSIVE n(i) AS (SELECT busy() UNION ALL SELECT 1 FROM n) SELECT count(*) FROM n"
        connection.execute(sql).fetchall()

    def send():
        busy.wait(30)
        os.kill(os.getpid(), signal.SIGUSR1)
        if not over.wait(10):
            unheard.append(True)
            running[0].interrupt()

    class Vacuuming(sqlite3.Connection):
        def execute(self, sql, *values):
            if sql.startswith("VACUUM"):
                endless(super())
            return super().execute(sql, *values)

    def work():
        if where == "a vacuum":
            files.create_new(sound + "-copy")
            snapshot.take(sound, sound + "-copy", "vacuum")
        verify.verify(sound, "quick", assertions=({"sql": "SELECT 1"},) if where == "an assertion" else ())

    def opened(path, *_arguments):
        source = sqlite3.connect(path, factory=Vacuuming, check_same_thread=False)
        source.execute("BEGIN")
        return source

    if where == "a vacuum":
        monkeypatch.setattr(database, "open_live", opened)
    else:
        monkeypatch.setattr(*((checks, "quick") if where == "a check" else (assertions, "check")), endless)
    before = signal.signal(signal.SIGUSR1, raising)
    sender = threading.Thread(target=send)
    sender.start()
    try:
        with pytest.raises(Signalled):
            work()
    finally:
        over.set()
        sender.join()
        signal.signal(signal.SIGUSR1, before)
    assert not unheard
