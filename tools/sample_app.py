#!/usr/bin/env python3
# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A small application with a SQLite database: what the drill backs up, and what the tests run the engine against.

It moves money between accounts. Every transaction touches several pages and keeps two invariants that a copy of mixed
states breaks: the balances add up to what there was at the start, and the ledger has as many entries as the counter says.

    sample_app.py create FILE [--journal-mode wal] [--mib 8]   make the database
    sample_app.py write FILE [--pause 0.002] [--seconds N]     write until SIGTERM; says "ready" after the first commit
    sample_app.py check FILE                                   do the invariants hold? prints the counts as JSON
    sample_app.py damage FILE                                  overwrite pages in the middle of the file, as a bad disk does
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sqlite3
import sys
import time

ACCOUNTS = 2000
START_BALANCE = 1000
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
    """Overwrite the first page and some in the middle."""
    size = os.path.getsize(path)
    with open(path, "r+b") as file:
        for offset in (0, size // 3 // 4096 * 4096, size // 2 // 4096 * 4096):
            file.seek(offset)
            file.write(b"\xde\xad\xbe\xef" * 1024)
        file.flush()
        os.fsync(file.fileno())


def say(text):
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("create", "write", "check", "damage"))
    parser.add_argument("file")
    parser.add_argument("--journal-mode", default="wal", choices=("wal", "delete", "truncate", "persist"))
    parser.add_argument("--mib", type=float, default=8)
    parser.add_argument("--pause", type=float, default=0.002, help="seconds between transactions")
    parser.add_argument("--seconds", type=float, help="stop after so many seconds")
    arguments = parser.parse_args()
    if arguments.action == "create":
        create(arguments.file, arguments.journal_mode, arguments.mib)
    elif arguments.action == "write":
        say(json.dumps(write(arguments.file, arguments.pause, arguments.seconds)))
    elif arguments.action == "check":
        say(json.dumps(check(arguments.file)))
    else:
        damage(arguments.file)


if __name__ == "__main__":
    main()
