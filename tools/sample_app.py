#!/usr/bin/env python3
# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A small application with a SQLite database: what the drill backs up, and what the tests run the engine against.

It moves money between accounts. Every transaction touches several pages and keeps two invariants that a copy of mixed
states breaks: the balances add up to what there was at the start, and the ledger has as many entries as the counter
says.

    sample_app.py create FILE [--journal-mode wal] [--mib 8]   make the database
    sample_app.py write FILE [--pause 0.002] [--seconds N]     write until SIGTERM; says "ready" after the first commit
    sample_app.py start FILE --pid-file PID                    the same in the background
    sample_app.py stop FILE --pid-file PID                     end it and wait until it has gone
    sample_app.py check FILE                                   do the invariants hold? prints the counts as JSON
    sample_app.py damage FILE                                  overwrite pages as a bad disk does; only of a sample
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time

ACCOUNTS = 2000
START_BALANCE = 1000
# "dmbk": damage() refuses every database that does not carry it.
APPLICATION_ID = 0x646D626B
SCHEMA = """
CREATE TABLE accounts (id INTEGER PRIMARY KEY, balance INTEGER NOT NULL, note TEXT NOT NULL);
CREATE TABLE ledger (
    id INTEGER PRIMARY KEY, source INTEGER NOT NULL REFERENCES accounts, target INTEGER NOT NULL REFERENCES accounts,
    amount INTEGER NOT NULL, at TEXT NOT NULL
);
CREATE INDEX ledger_source ON ledger (source);
CREATE TABLE counter (entries INTEGER NOT NULL);
CREATE TABLE archive (id INTEGER PRIMARY KEY, document BLOB NOT NULL);
INSERT INTO counter VALUES (0);
"""
_DOCUMENT = 64 * 1024


def connect(path, timeout=30.0):
    if not os.path.exists(path):
        raise SystemExit(f"{path}: there is no such file")
    return sqlite3.connect(path, timeout=timeout, isolation_level=None)


def create(path, journal_mode="wal", mib=8):
    """Make the database with about so many MiB of content."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(f"PRAGMA journal_mode={journal_mode}")
    connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
    connection.executescript(SCHEMA)
    connection.execute("BEGIN")
    notes = ((START_BALANCE, f"account {number}") for number in range(ACCOUNTS))
    connection.executemany("INSERT INTO accounts (balance, note) VALUES (?, ?)", notes)
    for _number in range(max(0, int(mib * 1024 * 1024 / _DOCUMENT) - 4)):
        connection.execute("INSERT INTO archive (document) VALUES (randomblob(?))", (_DOCUMENT,))
    connection.execute("COMMIT")
    connection.close()


def move(connection, randomness):
    """One transaction that keeps the invariants."""
    source, target = randomness.sample(range(1, ACCOUNTS + 1), 2)
    amount = randomness.randint(1, 50)
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("UPDATE accounts SET balance = balance - ? WHERE id = ?", (amount, source))
    connection.execute("UPDATE counter SET entries = entries + 1")
    connection.execute(
        "INSERT INTO ledger (source, target, amount, at) VALUES (?, ?, ?, ?)", (source, target, amount, at)
    )
    connection.execute("UPDATE accounts SET balance = balance + ? WHERE id = ?", (amount, target))
    connection.execute("COMMIT")


def write(path, pause=0.002, seconds=None):
    """Write until SIGTERM (or so many seconds); returns {commits, longest_seconds}."""
    stopped = []
    signal.signal(signal.SIGTERM, lambda *_args: stopped.append(True))
    randomness = random.Random(os.getpid())
    connection = connect(path)
    commits, longest = 0, 0.0
    end = None if seconds is None else time.monotonic() + seconds
    while not stopped and (end is None or time.monotonic() < end):
        before = time.monotonic()
        move(connection, randomness)
        longest = max(longest, time.monotonic() - before)
        commits += 1
        if commits == 1:
            say("ready")
        if pause:
            time.sleep(pause)
    connection.close()
    return {"commits": commits, "longest_seconds": round(longest, 4)}


def check(path):
    """The counts of a database whose invariants hold; raises AssertionError otherwise."""
    connection = connect(path)
    try:
        connection.execute("BEGIN")
        total = connection.execute("SELECT sum(balance) FROM accounts").fetchone()[0]
        entries = connection.execute("SELECT entries FROM counter").fetchone()[0]
        ledger = connection.execute("SELECT count(*) FROM ledger").fetchone()[0]
        by_index = connection.execute("SELECT count(source) FROM ledger INDEXED BY ledger_source").fetchone()[0]
    finally:
        connection.close()
    if total != ACCOUNTS * START_BALANCE:
        raise AssertionError(f"the balances add up to {total}, not to {ACCOUNTS * START_BALANCE}")
    if not entries == ledger == by_index:
        raise AssertionError(f"the counter says {entries}, the ledger has {ledger}, its index {by_index}")
    return {"ledger": ledger, "total": total}


def damage(path):
    """Overwrite the first page and some in the middle. Refuses a file that `create` did not make."""
    with open(path, "r+b") as file:
        header = file.read(100)
        if int.from_bytes(header[68:72], "big") != APPLICATION_ID:
            raise SystemExit(f"{path}: this is not a sample database, and it was left alone")
        size = os.path.getsize(path)
        for offset in (0, size // 3 // 4096 * 4096, size // 2 // 4096 * 4096):
            file.seek(offset)
            file.write(b"\xde\xad\xbe\xef" * 1024)
        file.flush()
        os.fsync(file.fileno())


def start(path, pid_file):
    """Start a writer in the background, and wait for its first commit."""
    command = [sys.executable, os.path.abspath(__file__), "write", path]
    writer = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, start_new_session=True)
    if writer.stdout is None or writer.stdout.readline().strip() != b"ready":
        raise SystemExit("the writer did not start")
    with open(pid_file, "w", encoding="ascii") as file:
        file.write(str(writer.pid))


def stop(pid_file):
    """End the background writer and wait until it has gone; one that is not there is fine."""
    try:
        with open(pid_file, encoding="ascii") as file:
            pid = int(file.read())
    except FileNotFoundError:
        return
    os.unlink(pid_file)
    try:
        os.kill(pid, signal.SIGTERM)
    except ProcessLookupError:
        return
    while _runs(pid):
        time.sleep(0.02)


def _runs(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def say(text):
    try:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Nobody listens to a background writer.


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("create", "write", "start", "stop", "check", "damage"))
    parser.add_argument("file")
    parser.add_argument("--journal-mode", default="wal", choices=("wal", "delete", "truncate", "persist"))
    parser.add_argument("--mib", type=float, default=8)
    parser.add_argument("--pause", type=float, default=0.002, help="seconds between transactions")
    parser.add_argument("--seconds", type=float, help="stop after so many seconds")
    parser.add_argument("--pid-file", help="where the background writer's process number is kept")
    arguments = parser.parse_args()
    if arguments.action in ("start", "stop") and not arguments.pid_file:
        parser.error("--pid-file is needed")
    if arguments.action == "create":
        create(arguments.file, arguments.journal_mode, arguments.mib)
    elif arguments.action == "write":
        say(json.dumps(write(arguments.file, arguments.pause, arguments.seconds)))
    elif arguments.action == "start":
        start(arguments.file, arguments.pid_file)
    elif arguments.action == "stop":
        stop(arguments.pid_file)
    elif arguments.action == "check":
        say(json.dumps(check(arguments.file)))
    else:
        damage(arguments.file)


if __name__ == "__main__":
    main()
