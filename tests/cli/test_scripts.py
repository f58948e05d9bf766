# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The scripts of the operations manual do what their words say, wherever they find the command line."""

from __future__ import annotations

import contextlib
import os
import pathlib
import pty
import re
import select
import shutil
import sqlite3
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
SCRIPTS = ROOT / "scripts"


class Host:
    """A host without a configuration: the environment names the database and the directory of its backups."""

    def __init__(self, root, name="app.db"):
        self.root, self.database, self.backups = root, root / "live" / name, root / "backups"
        self.database.parent.mkdir(parents=True)
        self.write("CREATE TABLE t (word TEXT)", "INSERT INTO t VALUES ('first')")
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(root),
            "BACKUP_DATABASE": str(self.database),
            "BACKUP_DIRECTORY": str(self.backups),
            "DIGITALME_BACKUP_CONFIG": str(root / "config.json"),
        }
        (root / "config.json").write_text("{}")

    def write(self, *statements):
        with contextlib.closing(sqlite3.connect(self.database)) as connection:
            for statement in statements:
                connection.execute(statement)
            connection.commit()

    def rows(self):
        with contextlib.closing(sqlite3.connect(self.database)) as connection:
            return connection.execute("SELECT count(*) FROM t").fetchone()[0]

    def run(self, script, *words, **environment):
        done = subprocess.run(
            [script if os.sep in str(script) else SCRIPTS / script, *words],
            env={**self.environment, **environment},
            cwd=self.root,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    def made(self):
        return sorted(name for name in os.listdir(self.backups) if re.fullmatch(r"[^.].*_\d{8}_\d{6}(_\d+)?\.db", name))


@pytest.fixture
def host(tmp_path):
    host = Host(tmp_path)
    assert host.run("backup-database.sh")[0] == 0
    host.write("INSERT INTO t VALUES ('second')")
    return host


def test_backup_is_the_word_that_need_not_be_said(host):
    assert host.run("backup-database.sh", "backup")[0] == 0
    assert len(host.made()) == 2


def test_status_judges_the_backups(host):
    status, said = host.run("backup-database.sh", "status")
    assert status == 0 and "app" in said
    shutil.rmtree(host.backups)
    assert host.run("backup-database.sh", "status")[0] != 0


@pytest.mark.parametrize("script", ["backup-database.sh", "restore-database.sh"])
def test_help_shows_the_words_and_an_unknown_word_is_a_usage_error(host, script):
    for word in ("help", "--help"):
        status, said = host.run(script, word)
        assert status == 0 and said.startswith(f"usage: {script} [")
    for words in (["--colour"], ["one", "two"]) if script.startswith("restore") else (["restore"],):
        status, said = host.run(script, *words)
        assert status == 2 and "usage:" in said


@pytest.mark.parametrize("reference", ["latest", "latest_backup.db", "{file}", "{path}", "--|{file}"])
def test_restore_takes_every_kind_of_reference(host, reference):
    words = reference.format(file=host.made()[0], path=host.backups / host.made()[0]).split("|")
    status, said = host.run("restore-database.sh", "--force", "--pre-backup", "--verify", *words)
    assert status == 0 and host.rows() == 1, said
    assert len([name for name in host.made() if "pre_recovery" in name]) == 1


def test_test_touches_nothing(host):
    status, said = host.run("restore-database.sh", "--test", "--force", "latest")
    assert status == 0 and "can be restored" in said and host.rows() == 2


def test_restore_without_a_terminal_and_without_force_is_refused(host):
    status, said = host.run("restore-database.sh", "latest")
    assert status == 4 and "not_confirmed" in said and host.rows() == 2


@pytest.mark.parametrize(("answer", "expected", "rows"), [(b"no\n", 4, 2), (b"\n", 4, 2), (b"yes\n", 0, 1)])
def test_restore_on_a_terminal_shows_the_plan_and_asks(host, answer, expected, rows):
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(SCRIPTS / "restore-database.sh", ["restore-database.sh", "latest"], host.environment)
    said = b""
    with contextlib.suppress(OSError):
        while select.select([terminal], [], [], 60)[0]:
            said += os.read(terminal, 4096)
            if said.endswith(b"Type yes: "):
                os.write(terminal, answer)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == expected, said
    assert b"table t: 2 rows now, 1 in the backup" in said and host.rows() == rows


def test_directories_are_given_by_flags(host, tmp_path):
    elsewhere = tmp_path / "new place"
    elsewhere.mkdir()
    words = ("--backup-dir", str(host.backups), "--data-dir", str(elsewhere), "--force", host.made()[0])
    status, said = host.run("restore-database.sh", *words, BACKUP_DATABASE="", BACKUP_DIRECTORY="")
    assert status == 0 and os.listdir(elsewhere) == ["app.db"] and host.rows() == 2, said
    assert host.run("restore-database.sh", "--data-dir")[0] == 2


def test_no_backup_has_its_exit_status(host):
    assert host.run("restore-database.sh", "--force", "none.db")[0] == 3


@pytest.mark.parametrize("name", ["with space.db", "-dash.db", "quote'\".db", "star*.db", "nl\n.db", "$HOME.db"])
def test_names_of_any_kind_pass(tmp_path, name):
    host = Host(tmp_path, name)
    usable = name[0] != "-" and "\n" not in name
    status, said = host.run("backup-database.sh")
    assert (status == 0) == usable, said
    if usable:
        host.write("INSERT INTO t VALUES ('second')")
        status, said = host.run("restore-database.sh", "--force", host.made()[0])
        assert status == 0 and host.rows() == 1, said


def test_command_is_the_named_one_or_that_on_the_path_or_the_checkouts(host, tmp_path):
    named = tmp_path / "named command"
    named.write_text('#!/bin/sh\necho "named: $*"\nexit 7\n')
    named.chmod(0o755)
    assert host.run("backup-database.sh", DIGITALME_BACKUP=str(named)) == (7, "named: run --only backup\n")
    place = tmp_path / "bin"
    place.mkdir()
    shutil.copy(named, place / "digitalme-backup")
    path = f"{place}:{os.environ['PATH']}"
    words = ("--force", "--verify", "--data-dir", "/d", "x.db")
    assert host.run("restore-database.sh", *words, PATH=path) == (
        7,
        "named: restore --force --verify full --database /d/ -- x.db\n",
    )
    installed = tmp_path / "installed"
    shutil.copytree(SCRIPTS, installed)
    assert host.run(installed / "backup-database.sh", PATH=path)[0] == 7


# There is no PowerShell to run these in, so they are held to the words of the others and to balanced brackets.


@pytest.mark.parametrize(
    ("script", "parameters"),
    [
        ("backup-database.ps1", ["Action"]),
        ("Restore-Database.ps1", ["Test", "Force", "PreBackup", "Verify", "BackupDir", "DataDir", "File"]),
    ],
)
def test_powershell_scripts_have_the_words_and_are_closed(script, parameters):
    text = (SCRIPTS / script).read_text()
    code = re.sub(r"'[^']*'", "''", re.sub(r"(?m)^#.*$", "", text))
    head = code[code.index("param(") : code.index("$ErrorActionPreference")]
    assert re.findall(r"\] \$(\w+)", head) == parameters
    for opening, closing in ("()", "{}", "[]"):
        assert code.count(opening) == code.count(closing)
    assert "'" not in code.replace("''", "") and '"' not in code and text.endswith("exit $LASTEXITCODE\n")
