# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Directories full of files of each kind, and how much work an operation has with them.

Work is counted, in calls that Python makes, and not measured in seconds: so it is the same on every machine.
"""

from __future__ import annotations

import datetime
import json
import os
import sqlite3
import sys
import tracemalloc

from engine import catalog, clock, errors, files, manifest, operations


class Place:
    """A database with one backup of it, in a directory that is to be filled."""

    def __init__(self, base):
        self.base = str(base)
        self.database, self.backups = os.path.join(self.base, "app.db"), os.path.join(self.base, "backups")
        self.serial = 0
        os.makedirs(self.base)
        self.change()
        operations.backup(database=self.database, backup_dir=self.backups)
        self.first = catalog.scan(self.backups, "app")[0]
        with open(self.first.path, "rb") as source:
            self.bytes = source.read()

    def change(self):
        """Write a row, so that the database is none of its backups."""
        self.serial += 1
        connection = sqlite3.connect(self.database)
        with connection:
            connection.execute("CREATE TABLE IF NOT EXISTS t (a INTEGER)")
            connection.execute("INSERT INTO t VALUES (?)", (self.serial,))
        connection.close()

    def write(self, name, data=b""):
        descriptor = os.open(os.path.join(self.backups, name), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as target:
            target.write(data)

    def put(self, moment, ending="", kind="", **changes):
        """One more backup with its manifest, of that time; returns its name. Small, and as real as the first."""
        file = f"app{kind}_{clock.stamp(moment)}.db"
        document = {**self.first.manifest, "file": file, "created_at": clock.iso(moment), **changes}
        self.write(file + ending, self.bytes)
        self.write(file + ending + manifest.SUFFIX, json.dumps(dict(document, file=file + ending)).encode("ascii"))
        return file

    # --- what there may be very many of -------------------------------------------------------------------------------

    def foreign(self, number):
        for each in range(number):
            self.write(f"core.{each}")

    def verified(self, number):
        for each in range(number):
            self.put(self._before(each))

    def unverified_and_newer(self, number):
        """Half of them are verified, and the other half is newer than those."""
        lowest = number // 2
        for each in range(number):
            unchecked = {"verification": dict(self.first.manifest["verification"], status="none")}
            self.put(self._before(each), **(unchecked if each < lowest else {}))
        for name in (self.first.file, self.first.file + manifest.SUFFIX):
            files.remove(os.path.join(self.backups, name))

    def pre_restore(self, number):
        for each in range(number):
            self.put(self._before(each), kind=catalog.PRE_RECOVERY, trigger="pre_restore")

    def by_hand(self, number):
        for each in range(number):
            self.write(f"app-{each}.db", self.bytes)

    def partial(self, number):
        for each in range(number):
            self.write(catalog.partial(f"app_{clock.stamp(self._before(each))}.db"))

    def partial_raw(self, number):
        """Copies of a damaged database that were never finished, with a log each under its final name."""
        for each in range(number):
            name = f"app{catalog.PRE_RECOVERY}_{clock.stamp(self._before(each))}{catalog.RAW}"
            self.write(catalog.partial(name))
            self.write(name + "-wal")

    def quarantined(self, number):
        for each in range(number):
            self.put(self._before(each), ending=files.QUARANTINED)

    def lost(self, number):
        """Manifests whose backups are gone."""
        for each in range(number):
            files.remove(os.path.join(self.backups, self.put(self._before(each))))

    def damaged(self, number):
        """Listed as verified until somebody looks at their bytes; the first one is sound, and older."""
        for each in range(number):
            file = self.put(self.first.created_at + datetime.timedelta(seconds=each + 1))
            with open(os.path.join(self.backups, file), "r+b") as target:
                target.seek(len(self.bytes) // 2)
                target.write(b"damaged")

    def _before(self, each):
        return self.first.created_at - datetime.timedelta(minutes=each + 1)


KINDS = (
    *("foreign", "verified", "unverified_and_newer", "pre_restore", "by_hand", "partial", "partial_raw"),
    *("quarantined", "lost", "damaged"),
)
_FEW_STAY = {"keep_days": 0, "keep_last": 5, "max_remove_percent": 100}


def info(place):
    return operations.info(backup_dir=place.backups, name="app")


def health(place):
    return operations.health(backup_dir=place.backups, name="app", database=place.database)


def statistics(place):
    return operations.statistics(backup_dir=place.backups, name="app")


def backup(place):
    place.change()
    return operations.backup(database=place.database, backup_dir=place.backups)


def retention(place):
    return operations.retention(backup_dir=place.backups, name="app", **_FEW_STAY)


def restore(place):
    place.change()
    return operations.restore(database=place.database, backup_dir=place.backups, force=True, fall_back=True)


OPERATIONS = (info, health, statistics, backup, retention, restore)


def outcome(operation, place):
    """Its result, or that of the engine's error."""
    try:
        return operation(place)
    except errors.BackupError as error:
        return error.as_result()


class Work:
    """What a block costs: ``calls`` of Python, ``passes`` over a directory's names, ``bytes`` of memory at its most."""

    def __init__(self, backups):
        self.calls = self.passes = self.bytes = 0
        self._backups, self._before = backups, None

    def _count(self, frame, event, argument):
        self.calls += 1
        if event == "c_call" and argument is os.listdir and frame.f_code is catalog.listing.__code__:
            self.passes += 1

    def __enter__(self):
        self._before = sys.getprofile()
        tracemalloc.start()
        sys.setprofile(self._count)
        return self

    def __exit__(self, *_error):
        sys.setprofile(self._before)
        self.bytes = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
