#!/usr/bin/env python3
# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How long do our snapshot, verification, backup, restore test and restore take, against everybody else's?

    make bench [PARTS="snapshot writers ..."] [SIZES="10M 100M 1G 5G"] [ROUNDS=3]

Each contender is a whole process and they take turns within one run, so that a machine that is slow for a while is slow
for all of them; each turn begins with another one. What counts is the ratio of the medians; the seconds are the
machine's. The figures of every turn go to bench/results/performance.json, each part in the place of the one that was
there, and docs/PERFORMANCE.md is written from it (page.py).
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import pathlib
import shutil
import sqlite3
import statistics
import sys
import time

import common
import contenders
import places
import writers

SIZES = os.environ.get("SIZES", "10M 100M 1G 5G").split()
ROUNDS = int(os.environ.get("ROUNDS", "3"))
FILESYSTEMS = os.environ.get("FILESYSTEMS", "xfs btrfs").split()
RATES = [int(rate) for rate in os.environ.get("COMMITS", "200 1000").split()]
STARTS = 15
NIGHT = int(os.environ.get("DATABASES", "20"))


def up_to(limit):
    """The sizes of this run that are not larger; the smallest, where all are."""
    return [size for size in SIZES if common.parse_size(size) <= common.parse_size(limit)] or SIZES[:1]


class Stage:
    """A folder with a live database of a size; ``turn`` clears away what the last turn has left."""

    def __init__(self, folder, size, journal="wal"):
        self.folder, self.size, self.journal = pathlib.Path(folder), size, journal
        self.live, self.copy = self.folder / "live.db", self.folder / "copy.db"

    def __enter__(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "restored").mkdir()
        common.require_room(self.folder, 3 * common.parse_size(self.size))
        shutil.copyfile(database(self.size), self.live)
        with sqlite3.connect(self.live) as connection:
            connection.execute(f"PRAGMA journal_mode={self.journal}")
        connection.close()
        return self

    def __exit__(self, *_error):
        shutil.rmtree(self.folder)

    def turn(self, keep_backups=False):
        for path in self.folder.glob("copy.db*"):
            path.unlink()
        shutil.rmtree(self.folder / "peer", ignore_errors=True)
        (self.folder / "peer").mkdir()
        if not keep_backups:
            shutil.rmtree(self.folder / "backups", ignore_errors=True)


def database(size):
    """A database of that size, made once."""
    path = common.WORK / f"{size}.db"
    if not path.exists():
        common.WORK.mkdir(parents=True, exist_ok=True)
        say(f"making a database of {size}")
        common.make_database(path, common.parse_size(size))
    return path


def say(text):
    sys.stderr.write(f"{time.strftime('%H:%M:%S', time.gmtime())} {text}\n")


def compete(stage, racers, *, before, rounds=ROUNDS, application=None, **facts):
    """[a row for each contender]; ``before()`` prepares each turn, ``application()`` gives who commits meanwhile."""
    rows = {name: {"contender": name, "seconds": [], "memory_mib": [], **facts} for name in racers}
    for number in range(rounds):
        names = list(racers)
        for name in names[number % len(names) :] + names[: number % len(names)]:
            row = rows[name]
            if "failed" in row:
                continue
            try:
                before()
                with contextlib.ExitStack() as ending:
                    who = application and ending.enter_context(contextlib.closing(application()))
                    begun = time.monotonic()
                    seconds, memory = racers[name](stage.live, stage.copy)
                    ended = time.monotonic()
                row["seconds"].append(round(seconds, 4))
                row["memory_mib"].append(round(memory, 1))
                if who:
                    row.setdefault("felt", []).append(who.felt(begun, ended))
            except (contenders.Missing, SystemExit) as error:
                row["failed"] = str(error).strip().splitlines()[-1][-200:]
    say(", ".join(f"{name} {statistics.median(row['seconds'] or [0]):.2f}" for name, row in rows.items()))
    return list(rows.values())


# --- the parts -------------------------------------------------------------------------------------------------------


def part_snapshot():
    """Each method at each size; rollback mode, a cold cache and other filesystems where it tells something."""
    rows = []
    for size in SIZES:
        with Stage(common.WORK / "here", size) as stage:
            facts = {"size": size, "filesystem": places.kind(stage.folder), "journal": "wal"}
            rows += compete(stage, contenders.SNAPSHOTS, before=warmly(stage), cache="warm", **facts)
            if common.parse_size(size) >= common.parse_size("1G") or size == SIZES[-1]:
                few = pick(contenders.SNAPSHOTS, "clone", "clone, SHA-256", "sqlite3 .backup", "cp + fsync")
                rows += compete(stage, few, before=coldly(stage), cache="cold", **facts)
    for size in up_to("1G")[-1:]:
        with Stage(common.WORK / "here", size, "delete") as stage:
            facts = {"size": size, "filesystem": places.kind(stage.folder), "journal": "delete"}
            rows += compete(stage, contenders.SNAPSHOTS, before=warmly(stage), cache="warm", **facts)
    return rows


def part_log():
    """A log that nobody has checkpointed, up to some times the database: a clone copies and replays it."""
    rows = []
    racers = pick(contenders.SNAPSHOTS, "clone", "online", "sqlite3 .backup")
    for size, ratio in itertools.product(up_to("1G")[-2:], (0.1, 0.25, 0.5, 1, 2)):
        with Stage(common.WORK / "here", size) as stage:
            application = sqlite3.connect(stage.live, isolation_level=None)
            application.execute("PRAGMA wal_autocheckpoint=0")
            log, wanted = stage.folder / "live.db-wal", ratio * stage.live.stat().st_size
            last = application.execute("SELECT max(id) FROM item").fetchone()[0]
            first = 1
            while not log.exists() or log.stat().st_size < wanted:
                application.execute(
                    "UPDATE item SET body = randomblob(900) WHERE id BETWEEN ? AND ?", (first, first + 999)
                )
                first = first + 1000 if first < last else 1
            rows += compete(stage, racers, before=warmly(stage), size=f"{size} with a log of {ratio:g} times that")
            application.close()
    return rows


def part_reflink():
    """Filesystems that can share blocks."""
    rows = []
    racers = pick(contenders.SNAPSHOTS, "clone", "sqlite3 .backup", "cp + fsync")
    racers["cp --reflink=always (not consistent)"] = contenders.shell('cp --reflink=always "$1" "$2"; sync "$2"')
    for name in FILESYSTEMS:
        why_not = places.why_not(name)
        if why_not:
            rows.append({"contender": "clone", "filesystem": name, "failed": why_not})
            continue
        largest = max(common.parse_size(size) for size in SIZES)
        # More than a stage asks for: XFS gives back what was removed only after a while.
        with places.filesystem(name, common.WORK, 4 * largest + 2**31) as folder:
            for size in SIZES:
                with Stage(folder / "stage", size) as stage:
                    facts = {"size": size, "filesystem": name, "journal": "wal", "cache": "warm"}
                    rows += compete(stage, racers, before=warmly(stage), **facts)
    return rows


def part_writers():
    """What an application feels, at one size, in both journal modes."""
    rows = []
    size = up_to("1G")[-1]
    names = ("clone", "clone, SHA-256", "online", "sqlite3 .backup", "VACUUM INTO", "cp + fsync")
    racers = pick(contenders.SNAPSHOTS, *names)
    # It begins again with every commit of somebody else, for ever; what is felt meanwhile counts all the same.
    backup, _end, sync = contenders.BACKUP.partition(";")
    racers["sqlite3 .backup"] = contenders.shell(f"timeout 20 {backup} || [ $? = 124 ];{sync}")
    racers["nothing"] = nothing
    for journal in ("wal", "delete"):
        for rate in RATES:
            with Stage(common.WORK / "here", size, journal) as stage:
                facts = {"size": size, "filesystem": places.kind(stage.folder), "journal": journal, "commits": rate}

                def application(stage=stage, rate=rate):
                    return writers.Application(stage.live, rate, stage.folder)

                rows += compete(stage, racers, before=without_log(stage), application=application, **facts)
    return rows


def part_backup():
    """Whole backups, against products too."""
    rows = []
    for size in up_to("1G"):
        with Stage(common.WORK / "here", size) as stage:
            rows += compete(stage, contenders.BACKUPS, before=warmly(stage), size=size)
    return rows


def part_compression():
    rows = []
    for size in up_to("100M")[-1:]:
        with Stage(common.WORK / "here", size) as stage:
            found = compete(stage, contenders.COMPRESSIONS, before=warmly(stage), size=size)
            rows += found
    return rows


def part_verification():
    rows = []
    for size in up_to("1G")[-2:]:
        with Stage(common.WORK / "here", size) as stage:

            def ready(stage=stage):
                if not stage.copy.exists():
                    shutil.copyfile(stage.live, stage.copy)
                places.quiet()
                places.warm(stage.copy)

            rows += compete(stage, contenders.VERIFICATIONS, before=ready, size=size)
    return rows


def part_test():
    return _with_a_backup(contenders.TESTS)


def part_restore():
    return _with_a_backup(contenders.RESTORES)


def _with_a_backup(racers):
    rows = []
    for size in up_to("1G")[-2:]:
        with Stage(common.WORK / "here", size) as stage:
            contenders.BACKUPS["ours, full verification"](stage.live, stage.copy)
            older = stage.folder / "restored" / "live.db"
            shutil.copyfile(stage.live, older)

            def ready(stage=stage, older=older):
                stage.turn(keep_backups=True)
                for kept in (stage.folder / "backups").glob("*_pre_recovery_*"):
                    kept.unlink()
                fall_behind(older)
                places.quiet()
                places.warm(stage.live)

            rows += compete(stage, racers, before=ready, size=size)
    return rows


def fall_behind(path):
    """It is not what was backed up any more, so that a restore has something to do."""
    with sqlite3.connect(path) as connection:
        connection.execute("DELETE FROM item WHERE id = (SELECT max(id) FROM item)")
    connection.close()


def part_phases():
    """Where the time of our longest operations goes, as they tell it themselves."""
    return _phases_of_clones() + _phases_of_commands()


def _phases_of_clones():
    rows = []
    for size in up_to("5G")[-2:]:
        with Stage(common.WORK / "here", size) as stage:
            warmly(stage)()
            stage.copy.touch()
            *laps, alone = contenders.laps(stage.live, stage.copy)
            rows.append({**_phases("clone, SHA-256", size, sum(took for _lap, took in laps), laps), "beside": [alone]})
    return rows


def _phases_of_commands():
    size = up_to("1G")[-1]
    with Stage(common.WORK / "here", size) as stage:
        backups, older = stage.folder / "backups", stage.folder / "restored" / "live.db"
        where = ("--backup-dir", backups, "--name", "live")
        shutil.copyfile(stage.live, older)
        places.quiet()
        places.warm(stage.live)
        made = common.answer("backup", "--database", stage.live, *where, "--disk-limit-percent", 100)["backup"]
        parts = [("snapshot", made["snapshot_seconds"]), ("verify", made["verification"]["duration_seconds"])]
        rows = [_phases("backup", size, made["duration_seconds"], parts)]
        for name, words in (
            ("restore test", ("test", "latest", *where)),
            ("restore in place", ("restore", "latest", "--database", older, *where, "--force")),
            (
                "restore by replacing",
                ("restore", "latest", "--database", older, *where, "--force", "--strategy", "replace"),
            ),
        ):
            fall_behind(older)
            places.quiet()
            places.warm(stage.live)
            steps = [(step["name"], step["seconds"]) for step in common.answer(*words)["steps"]]
            rows.append(_phases(name, size, sum(took for _step, took in steps), steps))
    return rows


def _phases(name, size, whole, parts):
    return {"contender": name, "size": size, "whole": whole, "phases": [[step, took] for step, took in parts if took]}


def part_nightly():
    """What the timer runs, over many small databases, against a loop of the sqlite3 program."""
    folder = common.WORK / "night"
    with Stage(folder, up_to("10M")[-1]) as stage:
        entries = []
        for number in range(NIGHT):
            path = folder / f"app{number}.db"
            shutil.copyfile(stage.live, path)
            entries.append({"name": f"app{number}", "path": str(path), "backup_dir": str(folder / "backups")})
        config = folder / "config.json"
        place = {"audit_log": str(folder / "audit.jsonl"), "defaults": {"disk_limit_percent": 100}}
        config.write_text(json.dumps({"databases": entries, **place}), encoding="utf-8")
        loop = (
            'cd "$1"; mkdir -p backups; for db in app*.db; do to="backups/$db"; sqlite3 "$db" ".backup \'$to\'"; '
            'sqlite3 "$to" "PRAGMA integrity_check" | grep -qx ok; sha256sum "$to" > "$to.sum"; sync "$to"; '
            "done; find backups -mtime +7 -delete"
        )
        racers = {
            "ours: run": lambda _live, _copy: common.engine("run", "--config", config),
            "loop of .backup, integrity_check, sha256sum, find": lambda _live, _copy: common.shell(loop, folder),
        }
        return compete(stage, racers, before=warmly(stage), size=f"{NIGHT} of {stage.size}")


def part_memory():
    """The most memory of the command line's longest operations, at the largest size."""
    with Stage(common.WORK / "here", SIZES[-1]) as stage:
        backups = stage.folder / "backups"
        where = ("--backup-dir", backups, "--name", "live")
        new = ("--database", stage.folder / "restored" / "live.db")
        racers = {
            "backup": contenders.ours(),
            "restore test": lambda _live, _copy: common.engine("test", "latest", *where),
            "restore": lambda _live, _copy: common.engine("restore", "latest", *new, *where, "--force"),
        }
        return compete(stage, racers, before=places.quiet, rounds=1, size=stage.size)


def part_start():
    """How long the command takes to start, in turns with Python alone."""
    empty = common.WORK / "empty"
    empty.mkdir(parents=True, exist_ok=True)
    ours, plain = (sys.executable, "-m", "engine"), common.environment("installed")
    listing = (*ours, "list", "--backup-dir", str(empty), "--name", "none", "--json")
    commands = {
        "python -c pass": ((sys.executable, "-c", "pass"), plain),
        "python -I -S -c pass": ((sys.executable, "-I", "-S", "-c", "pass"), plain),
        "ours --version": ((*ours, "--version"), plain),
        "ours, list of nothing": (listing, plain),
        "ours, list of nothing, not compiled yet": (listing, common.environment("source")),
    }
    racers = {}
    for name, (words, environment) in commands.items():
        racers[name] = lambda _live, _copy, words=words, environment=environment: common.run(*words, env=environment)
    with Stage(common.WORK / "here", SIZES[0]) as stage:
        return compete(stage, racers, before=lambda: None, rounds=STARTS)


def nothing(_live, _copy):
    """The application by itself, for comparison."""
    time.sleep(3)
    return 3.0, 0.0


def pick(racers, *names):
    return {name: race for name, race in racers.items() if name.startswith(names)}


def warmly(stage):
    def ready():
        stage.turn()
        places.quiet()
        places.warm(stage.live)

    return ready


def without_log(stage):
    """So that what the log grows by in each turn can be seen."""

    def ready():
        connection = sqlite3.connect(stage.live)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        connection.close()
        warmly(stage)()

    return ready


def coldly(stage):
    def ready():
        stage.turn()
        places.cold()

    return ready


PARTS = {name[len("part_") :]: part for name, part in list(globals().items()) if name.startswith("part_")}


def merge(document, name, rows):
    """The results with one part put in the place of what it was."""
    parts = {**document.get("parts", {}), name: {"date": time.strftime("%Y-%m-%d", time.gmtime()), "rows": rows}}
    return {**document, "machine": common.machine(), "rounds": ROUNDS, "parts": parts}


def main():
    wanted = os.environ.get("PARTS", " ".join(PARTS)).split()
    unknown = sorted(set(wanted) - set(PARTS))
    if unknown:
        raise SystemExit(f"PARTS: there is no {', '.join(unknown)}; there are: {', '.join(PARTS)}")
    common.RESULTS.parent.mkdir(exist_ok=True)
    try:
        common.install_engine()
        for name in wanted:
            say(f"part {name}")
            rows = PARTS[name]()
            document = json.loads(common.RESULTS.read_text(encoding="utf-8")) if common.RESULTS.exists() else {}
            common.RESULTS.write_text(json.dumps(merge(document, name, rows), indent=1) + "\n", encoding="utf-8")
    finally:
        shutil.rmtree(common.WORK, ignore_errors=True)


if __name__ == "__main__":
    main()
