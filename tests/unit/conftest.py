# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Real databases, real writers in other processes, a clock that can be set, a user who is not root."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import signal
import sqlite3
import subprocess
import sys
import threading
import traceback

import pytest
import sample_app
from engine import catalog, clock, config, manifest

ENGINE_PARENT = os.path.dirname(os.path.dirname(os.path.abspath(manifest.__file__)))
NOBODY = 65534


@pytest.fixture(autouse=True)
def _own_world(own_world):
    """For every test."""


# --- databases -------------------------------------------------------------------------------------------------------


@pytest.fixture
def make_db():
    """make_db(path, journal_mode, rows, sql) -> path: a closed database with a table ``t`` and an index on it."""

    def make(path, journal_mode="delete", rows=200, sql=""):
        connection = sqlite3.connect(os.fspath(path), isolation_level=None)
        connection.execute(f"PRAGMA journal_mode={journal_mode}")
        connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, word TEXT NOT NULL)")
        connection.execute("CREATE INDEX t_word ON t (word)")
        connection.execute("BEGIN")
        connection.executemany("INSERT INTO t (word) VALUES (?)", ((f"word {number:06d}",) for number in range(rows)))
        connection.execute("COMMIT")
        connection.executescript(sql)
        connection.close()
        return os.fspath(path)

    return make


@pytest.fixture
def database(tmp_path, make_db):
    """A small database in rollback mode, in a directory of its own."""
    (tmp_path / "live").mkdir()
    return make_db(tmp_path / "live" / "app.db")


@pytest.fixture
def writing():
    """``with writing(path) as process``: another process moves money in a sample database all the while."""

    @contextlib.contextmanager
    def write(path, pause=0.001):
        command = [sys.executable, sample_app.__file__, "write", os.fspath(path), "--pause", str(pause)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
        try:
            assert process.stdout.readline().strip() == b"ready"
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            process.communicate(timeout=60)

    return write


@pytest.fixture
def child():
    """``child(code, *arguments)``: another Python process that can import the engine, with piped streams."""
    running = []

    def start(code, *arguments):
        environment = {**os.environ, "PYTHONPATH": ENGINE_PARENT}
        process = subprocess.Popen(
            [sys.executable, "-c", code, *(os.fspath(argument) for argument in arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
        )
        running.append(process)
        return process

    yield start
    for process in running:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=60)


@pytest.fixture
def holding(child):
    """``with holding(path, *statements)``: another process has run the statements and keeps its connection open."""
    code = (
        "import sqlite3, sys\n"
        "c = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "for s in sys.argv[2:]: c.execute(s).fetchall()\n"
        "print('ready', flush=True); sys.stdin.read()\n"
    )

    @contextlib.contextmanager
    def hold(path, *statements):
        process = child(code, path, *statements)
        assert process.stdout.readline().strip() == b"ready"
        yield process
        process.kill()
        process.wait(timeout=60)

    return hold


@pytest.fixture
def as_nobody():
    """``as_nobody(function)``: run it in a child process that is no longer root; what it returned, through JSON."""

    def run(function):
        reading, writing_end = os.pipe()
        pid = os.fork()
        if pid == 0:
            answer = {}
            try:
                if os.geteuid() == 0:
                    os.setgroups([])
                    os.setresgid(NOBODY, NOBODY, NOBODY)
                    os.setresuid(NOBODY, NOBODY, NOBODY)
                answer["value"] = function()
            except BaseException:
                answer["traceback"] = traceback.format_exc()
            os.write(writing_end, json.dumps(answer).encode())
            os._exit(0)
        os.close(writing_end)
        with os.fdopen(reading, "rb") as stream:
            answer = json.loads(stream.read())
        os.waitpid(pid, 0)
        assert "traceback" not in answer, answer["traceback"]
        return answer["value"]

    return run


@pytest.fixture
def open_place():
    """A directory that everybody can reach (pytest's own are for the user who runs it)."""
    import shutil
    import tempfile

    place = pathlib.Path(os.path.realpath(tempfile.mkdtemp(prefix="digitalme-test-")))
    place.chmod(0o777)
    yield place
    shutil.rmtree(place, ignore_errors=True)


# --- backups ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def backup_dir(tmp_path):
    directory = tmp_path / "backups"
    directory.mkdir(mode=0o700)
    return directory


@pytest.fixture
def make_target(tmp_path, backup_dir):
    """make_target(database, name, **settings) -> config.Target, as a call without any configuration would give it."""

    def make(database=None, name="app", **settings):
        options = {key.replace("__", "."): value for key, value in settings.items()}
        return config.target(
            config.load(environment={}),
            database=database,
            backup_dir=str(backup_dir),
            name=name,
            environment={},
            need_database=False,
            **options,
        )

    return make


@pytest.fixture
def put_backup(backup_dir):
    """put_backup(stamp, **changes of the manifest) -> path: a backup as the catalog sees it, with any content."""

    def put(stamp="20261122_020000", name="app", content=b"content", kind="", nth=None, suffix=".db", **changes):
        import hashlib

        file = f"{name}{kind}_{stamp}{'' if nth is None else f'_{nth}'}{suffix}"
        path = backup_dir / file
        path.write_bytes(content)
        document = {
            "schema_version": 1,
            "file": file,
            "name": name,
            "created_at": clock.iso(clock.parse(stamp)),
            "size_bytes": len(content),
            "stored_bytes": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
            "source": {},
            "verification": {"level": "full", "status": "ok", "errors": [], "warnings": [], "assertions": []},
        }
        document.update(changes)
        pathlib.Path(manifest.path_for(str(path))).write_bytes(manifest.encode(document))
        return str(path)

    return put


@pytest.fixture
def scan(backup_dir):
    """scan(name) -> {file: entry}, in the catalog's order."""
    return lambda name="app": {entry.file: entry for entry in catalog.scan(str(backup_dir), name)}


@pytest.fixture
def set_clock(monkeypatch):
    """set_clock("2026-11-22T02:00:00Z"): what `clock.now` says from now on."""

    def set_to(text):
        moment = clock.parse(text)
        monkeypatch.setattr(clock, "now", lambda: moment)
        return moment

    return set_to


@pytest.fixture
def no_thread(monkeypatch):
    """no_thread(begun): from now on the system lets this process start only so many threads."""
    start, started = threading.Thread.start, []

    def arrange(begun):
        def refuse(thread):
            if len(started) == begun:
                raise RuntimeError("can't start new thread")
            started.append(thread)
            start(thread)

        monkeypatch.setattr(threading.Thread, "start", refuse)

    return arrange
