# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The command line's promises: one JSON object on standard output, exit statuses, help with examples, progress."""

from __future__ import annotations

import json
import os
import pty
import shlex
import subprocess
import sys

import pytest
from engine import arguments as command_line
from engine import terminal

COMMANDS = sorted(
    next(action for action in command_line.parser()._actions if action.choices and action.dest == "command").choices
)


def _call(site, *arguments):
    return subprocess.run(
        [sys.executable, "-m", "engine", *arguments],
        env=site.environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_each_command_shows_an_example_that_parses(site, command):
    done = _call(site, command, "--help")
    assert done.returncode == 0
    example = " ".join(done.stdout.partition("example: ")[2].split())
    program, *words = shlex.split(example)
    assert (program, words[0]) == (command_line.PROGRAM, command)
    command_line.parser().parse_args(words)


@pytest.mark.parametrize("command", COMMANDS)
def test_json_is_one_object_also_of_a_failure(site, command):
    arguments = ["nothing.db"] if command in ("delete", "info", "restore", "test") else []
    if command == "restore":
        arguments += ["--database", str(site.database)]
    done = _call(site, command, *arguments, "--backup-dir", str(site.backups), "--name", "app", "--json")
    answer = json.loads(done.stdout)
    assert isinstance(answer, dict)
    assert ("error_code" in answer) == (done.returncode != 0 and command != "health")


def test_json_of_a_usage_error_is_an_object_too(site):
    done = _call(site, "backup", "--no-such-flag", "--json")
    assert done.returncode == 2
    assert json.loads(done.stdout)["error_code"] == "usage"


def test_no_command_shows_the_help_and_is_a_usage_error(site):
    done = _call(site)
    assert (done.returncode, done.stdout) == (2, "")
    assert "COMMAND" in done.stderr


def test_exit_status_of_health_tells_its_verdict(site):
    site.make()
    assert site.run("health", "--backup-dir", site.backups, "--name", "app").status == 2
    site.made()
    assert site.run("health", "--backup-dir", site.backups).status == 0
    assert site.run("health", "--backup-dir", site.backups, "--min-backups", "2").status == 1
    assert site.run("health", "--backup-dir", site.root / "none").status == 3


def test_failed_check_after_a_restore_is_rolled_back_with_status_7(site, tmp_path):
    """The assertion holds on the copy and fails on the live file: only there is a writer's table looked at."""
    site.make()
    site.made()
    before = site.database.read_bytes()
    code = (
        "import sys\n"
        "from engine import verify\n"
        "from engine.__main__ import main\n"
        "real = verify.verify_live\n"
        "seen = []\n"
        "def failing(*arguments, **options):\n"
        "    findings = real(*arguments, **options)\n"
        "    if not seen:\n"
        "        findings.add('failed', 'schema', 'broken on purpose')\n"
        "    seen.append(1)\n"
        "    return findings\n"
        "verify.verify_live = failing\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    arguments = ["restore", "--database", str(site.database), "--backup-dir", str(site.backups), "--force", "--json"]
    connection_script = (
        "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('DELETE FROM item'); c.commit()"
    )
    subprocess.run([sys.executable, "-c", connection_script, str(site.database)], check=True)
    emptied = site.database.read_bytes()
    assert emptied != before
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], env=site.environment, capture_output=True, text=True, check=False
    )
    answer = json.loads(done.stdout)
    assert (done.returncode, answer["error_code"], answer["rolled_back"]) == (7, "rolled_back", True), answer
    count = (
        "import sqlite3, sys; print(sqlite3.connect(sys.argv[1]).execute('SELECT count(*) FROM item').fetchone()[0])"
    )
    left = subprocess.run(
        [sys.executable, "-c", count, str(site.database)], check=True, capture_output=True, text=True
    ).stdout
    assert left == "0\n"


def test_progress_is_shown_on_a_terminal_from_the_second_on(monkeypatch, capsys):
    """The clock is handed in: nothing is shown in the first second, then a line that is written over."""
    now = [100.0]
    monkeypatch.setattr(terminal.clock, "monotonic", lambda: now[0])
    progress = terminal.Progress()
    now[0] += 0.5
    progress("copy", 10, 100)
    assert capsys.readouterr().err == ""
    now[0] += 0.6
    progress("copy", 50, 100)
    assert "copy:  50 %" in capsys.readouterr().err


def test_progress_stays_off_where_there_is_no_terminal(site):
    site.make()
    done = _call(site, "backup", "--database", str(site.database), "--backup-dir", str(site.backups))
    assert (done.returncode, done.stderr) == (0, "")


def test_result_on_a_terminal_is_the_same_text(site):
    """With a pseudo-terminal as standard error the answer on standard output does not change."""
    site.make()
    ours, theirs = pty.openpty()
    done = subprocess.run(
        site.command("backup", "--database", site.database, "--backup-dir", site.backups),
        env=site.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=theirs,
        text=True,
        check=False,
    )
    os.close(theirs)
    os.close(ours)
    assert json.loads(done.stdout)["changed"] is True


def _shell(site, redirection, *words):
    """A command whose standard streams a shell has redirected."""
    command = [sys.executable, "-m", "engine", *map(str, words)]
    return subprocess.run(
        ["bash", "-c", f"set -o pipefail; {shlex.join(command)} {redirection}"],
        env=site.environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


LOST = ("> /dev/full", ">&-", "<&- >&-", "| python3 -c 'import os; os.close(0)'")


@pytest.mark.parametrize("json_too", [(), ("--json",)], ids=["text", "json"])
@pytest.mark.parametrize("redirection", LOST)
def test_answer_that_cannot_be_written_is_one_line_and_the_backup_is_made(site, redirection, json_too):
    site.make()
    where = ("--database", site.database, "--backup-dir", site.backups)
    done = _shell(site, redirection, "backup", *where, *json_too)
    if "|" in redirection and done.returncode == 0:
        assert done.stderr == ""  # It was written into the pipe before that was closed.
    else:
        assert done.returncode == 1
        assert done.stderr.startswith("error (answer_lost): standard output: ")
        assert done.stderr.count("\n") == 1
    assert list(site.listed().values()) == ["verified"]
    assert [line["outcome"] for line in site.audit_lines()] == ["ok"]


@pytest.mark.parametrize("json_too", [(), ("--json",)], ids=["text", "json"])
def test_failure_that_cannot_be_written_keeps_its_status_and_is_told_on_standard_error(site, json_too):
    done = _shell(site, ">&-", "backup", "--database", site.database, "--backup-dir", site.backups, *json_too)
    assert done.returncode == 1
    assert "error (database_not_found): " in done.stderr
    done = _shell(site, "> /dev/full", "info", "latest", "--backup-dir", site.srv, "--name", "app", "--json")
    assert done.returncode == 3
    first, second = done.stderr.splitlines()
    assert first.startswith("error (backup_not_found): ") and second.startswith("error (answer_lost): ")


def test_health_that_cannot_be_told_is_unknown(site):
    site.make()
    site.made()
    words = ("health", "--backup-dir", site.backups, "--disk-limit-percent", "100")
    assert _shell(site, "", *words).returncode == 0
    for more in ((), ("--json",), ("--nagios",)):
        done = _shell(site, "> /dev/full", *words, *more)
        assert done.returncode == 3 and done.stderr.startswith("error (answer_lost): "), done


def test_help_that_cannot_be_written_ends_without_a_traceback(site):
    for redirection in ("> /dev/full", ">&-"):
        done = _shell(site, redirection, "backup", "--help")
        assert done.returncode in (0, 1) and "Traceback" not in done.stderr, done  # argparse itself may be silent.
        done = _shell(site, redirection, "backup", "--no-such-flag", "--json")
        assert done.returncode == 2 and "Traceback" not in done.stderr, done


def test_standard_error_that_cannot_be_written_changes_nothing(site):
    site.make()
    where = ("--database", site.database, "--backup-dir", site.backups)
    for redirection in ("2> /dev/full", "2>&-"):
        done = _shell(site, redirection, "backup", *where, "--json")
        assert done.returncode == 0 and json.loads(done.stdout)["changed"], done
        done = _shell(site, redirection, "backup", "--database", "/no/such.db", "--backup-dir", site.backups)
        assert done.returncode == 1, done


def test_database_does_not_get_the_number_of_a_closed_stream(site):
    """What would be written there by mistake would be written into it."""
    site.make()
    before = site.database.read_bytes()
    where = ("--database", site.database, "--backup-dir", site.backups)
    done = _shell(site, "<&- >&- 2>&-", "backup", *where, "--method", "clone")
    assert done.returncode == 1, done
    assert list(site.listed().values()) == ["verified"]
    assert site.database.read_bytes() == before
