# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Backup, restore and undo through the command line, with a database that another process holds open."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import subprocess
import sys

HOLD = "import sqlite3, sys, time; c = sqlite3.connect(sys.argv[1]); c.execute('SELECT count(*) FROM t').fetchall()\n"
HOLD += "print('ready', flush=True); time.sleep(600)"


UNNAMED = [{"pid": None, "command": "a process that Windows does not name"}]


def command(*words):
    """(exit status, answer)."""
    done = subprocess.run(
        [sys.executable, "-m", "engine", *words, "--json"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, json.loads(done.stdout.splitlines()[-1])


def rows(path):
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT count(*) FROM t").fetchone()[0]


def write(path, sql):
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute(sql)
        connection.commit()


def expect(what, found, wanted):
    if found != wanted:
        raise SystemExit(f"{what}: {found!r} and not {wanted!r}")
    sys.stdout.write(f"ok  {what}\n")


def damaged_and_open(path, place, where):
    """What must be replaced and cannot be: refused, and everything is as it was."""
    with open(path, "rb") as file:
        sound = file.read()
    with open(path, "r+b") as file:
        file.write(bytes(100))
    before = sorted(os.listdir(place)), os.path.getsize(path)
    status, answer = command("restore", "latest", *where, "--force")
    expect("damaged and open is refused", (status, answer["error_code"], answer["processes"]), (6, "in_use", UNNAMED))
    expect("nothing has changed", (sorted(os.listdir(place)), os.path.getsize(path)), before)
    with open(path, "r+b") as file:
        expect("the bytes are those that were there", file.read(), bytes(100) + sound[100:])
        file.seek(0)
        file.write(sound)


def main():
    place = sys.argv[1]
    path, backups = os.path.join(place, "app.db"), os.path.join(place, "backups")
    where = ("--database", path, "--backup-dir", backups)
    write(path, "CREATE TABLE t (word TEXT)")
    write(path, "INSERT INTO t VALUES ('first')")
    expect("a backup", command("backup", *where)[0], 0)
    expect("a restore test", command("test", "latest", "--backup-dir", backups)[0], 0)
    write(path, "INSERT INTO t VALUES ('second')")
    holder = subprocess.Popen([sys.executable, "-c", HOLD, path], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    try:
        expect("somebody holds it", holder.stdout.readline().strip(), b"ready")
        status, answer = command("restore", "latest", *where, "--force")
        expect("restored in place under an open connection", (status, rows(path)), (0, 1))
        write(path, "INSERT INTO t VALUES ('third')")
        status, answer = command("restore", "latest", *where, "--force", "--strategy", "replace")
        expect("not replaced while it is open", (status, answer["error_code"], rows(path)), (6, "in_use", 2))
        damaged_and_open(path, place, where)
    finally:
        holder.kill()
        holder.wait()
    expect(
        "replaced when it is free",
        (command("restore", "latest", *where, "--force", "--strategy", "replace")[0], rows(path)),
        (0, 1),
    )
    expect("undone", (command("restore", *where, "--undo", "--force")[0], rows(path)), (0, 2))
    expect("nothing is left", [name for name in os.listdir(place) if name.startswith(".")], [])
    with open(path, "r+b") as file:
        file.write(bytes(100))
    expect("damaged and restored", (command("restore", "latest", *where, "--force")[0], rows(path)), (0, 1))


if __name__ == "__main__":
    main()
