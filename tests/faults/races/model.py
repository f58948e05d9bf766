# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A host with one database, and beside it a simple model of what must be there: the live content, and the content of
every backup that was ever listed as verified and not let go.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import tempfile

import killing
import scenes
import stopping
import surroundings
from engine import audit, catalog, clock, errors, manifest, operations, unpacking

NAME = "app"
FUTURE = clock.SKEW_SECONDS
_real_now = clock.now


class Host:
    """The real thing and its model. ``act`` does one operation, with or without a fault, and judges what came of it."""

    def __init__(self, mode):
        self.place = tempfile.mkdtemp(prefix="digitalme-test-", dir=surroundings.MEMORY)
        self.path = os.path.join(self.place, "live", "app.db")
        self.backups, self.vault = (os.path.join(self.place, name) for name in ("backups", "vault"))
        os.makedirs(os.path.dirname(self.path))
        self.moment = clock.parse("2026-11-22T02:00:00Z")
        clock.now = self._now
        scenes.fill(self.path, "first", mode, count=20)
        self.written = 0
        self.live = self.read()
        self.known: dict = {}  # file: the content that it was made of
        self.damaged: set = set()
        self.vaulted: dict = {}
        self.before_kill: list = []  # what was live when a restore was killed: an undo may bring it back
        self._seen: dict = {}

    def _now(self):
        self.moment = clock.after(self.moment, 0.001)
        return self.moment

    def close(self):
        clock.now = _real_now
        shutil.rmtree(self.place, ignore_errors=True)

    # --- what is there ------------------------------------------------------------------------------------------------

    def read(self):
        return scenes.rows(self.path)["t"]

    def scan(self):
        return catalog.scan(self.backups, NAME)

    def content_of(self, entry):
        """The rows of a stored backup, read without the engine's own reading where it is not compressed."""
        facts = os.stat(entry.path)
        key = (entry.path, facts.st_ino, facts.st_mtime_ns, facts.st_size)
        if key not in self._seen:
            path, scratch = entry.path, None
            if not path.endswith(".db"):
                scratch = path = os.path.join(self.place, "unpacked.db")
                unpacking.unpack(entry, path)
            with contextlib.closing(sqlite3.connect(f"file:{path}?immutable=1", uri=True)) as connection:
                assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
                self._seen[key] = connection.execute("SELECT * FROM t ORDER BY 1").fetchall()
            if scratch:
                os.unlink(scratch)
        return self._seen[key]

    # --- what is done -------------------------------------------------------------------------------------------------

    def write(self, rows):
        """The application commits."""
        self.written += 1
        with contextlib.closing(sqlite3.connect(self.path, isolation_level=None)) as connection:
            connection.execute("BEGIN")
            words = [(f"{self.written} {n}",) for n in range(rows)]
            connection.executemany("INSERT INTO t (word) VALUES (?)", words)
            connection.execute("DELETE FROM t WHERE id IN (SELECT id FROM t ORDER BY id LIMIT ?)", (rows - 1,))
            connection.execute("COMMIT")
        self.live = self.read()

    def act(self, operation, fault=None, *, new=(), removes="", **options):
        """The result or error as plain data, None when it was killed. ``fault`` is None, ("kill", n) or ("full", n).

        ``new`` are the contents that may be live afterwards instead of the one before; ``removes`` is what lets backups
        go by it: "retention", "delete" or nothing.
        """
        before, old, began = self.scan(), self.live, self.moment
        answer = self._do(lambda: self._plain(operation, options), fault)
        self.live = self.read()
        assert self.live in [old, *new], f"a mixture after {operation}"
        self.before_kill = [old] if answer is None and new else self.before_kill if fault else []
        if answer is not None and answer.get("error_code") in ("no_space", "backup_invalid", "busy", "not_confirmed"):
            assert self.live == old, f"{operation} failed and has changed the database"
        self._learn(before, old, began, removes, answer, fault)
        return answer

    def _do(self, function, fault):
        kind, n = fault or (None, 0)
        if kind is None:
            return function()
        if kind == "full":
            return stopping.run_on_full_disk(function, self.place, n)
        try:
            return killing.run(function, self.place, kill_at=n)
        except killing.Killed:
            return None

    def _plain(self, operation, options):
        try:
            result = getattr(operations, operation)(backup_dir=self.backups, name=NAME, **options)
        except errors.BackupError as error:
            result = error.as_result()
        kept = ("changed", "error_code", "msg", "held", "skipped_reason", "warnings", "removed", "pre_restore_backup")
        return {key: result[key] for key in kept if key in result}

    # --- what must be true of it --------------------------------------------------------------------------------------

    def _learn(self, before, old, began, removes, answer, fault):
        """Compare the catalog with the model, and take up what is new."""
        after = {entry.file: entry for entry in self.scan()}
        for entry in after.values():
            self._judge(entry, old, fault)
        gone = [entry for entry in before if entry.file not in after or after[entry.file].status == "missing"]
        gone = [entry for entry in gone if entry.status != "missing"]
        assert removes or not gone, f"{gone[0].file} is gone"
        self._judge_removal(before, gone, began, removes, answer)
        for entry in gone:
            self.known.pop(entry.file, None)
            self.damaged.discard(entry.file)
        found = audit.check(os.path.join(self.backups, ".state", "audit.jsonl"))
        assert found["intact"], found

    def _judge(self, entry, old, fault):
        if entry.status == "missing":
            assert entry.file not in self.known or fault, f"{entry.file} has lost its file"
            return
        if entry.file in self.damaged:
            return
        assert entry.verified, f"{entry.file} is {entry.status}: {entry.problems}"
        assert self.known.setdefault(entry.file, old) == self.content_of(entry), f"{entry.file} holds another content"

    def _judge_removal(self, before, gone, began, removes, answer):
        """The promises of retention and deletion, whatever the policy."""
        files = {entry.file for entry in gone}
        newest = catalog.newest_verified(before)
        assert newest is None or newest.file not in files or removes == "delete", "the newest verified backup is gone"
        pinned = [entry.file for entry in gone if entry.pinned(began)]
        assert not pinned, f"pinned, and gone: {pinned}"
        if answer and answer.get("held"):
            assert not gone, "held, and something is gone"

    # --- one after the other ------------------------------------------------------------------------------------------

    def expire(self, fault, policy):
        before = self.scan()
        answer = self.act("retention", fault, removes="retention", **policy)
        regular = [entry for entry in before if entry.kind == "regular" and entry.status != "missing"]
        left = sum(entry.verified and entry.kind == "regular" for entry in self.scan())
        had = sum(entry.verified for entry in regular)
        assert left >= min(had, policy["min_keep"]), f"{left} verified backups are left, {policy['min_keep']} promised"
        if regular and clock.seconds_between(self.moment, regular[0].created_at) > FUTURE + 1:
            assert left == had, "the clock was set back, and something is gone"
        if regular and not regular[0].verified:
            assert left == had, "the newest backup is no good, and something is gone"
        return answer

    def damage(self, entry, place):
        with open(entry.path, "r+b") as file:
            file.seek(place % entry.stored_bytes)
            (byte,) = file.read(1)
            file.seek(-1, os.SEEK_CUR)
            file.write(bytes([byte ^ 1]))
        self.damaged.add(entry.file)

    def pin(self, entry):
        manifest.update(manifest.path_for(entry.path), pinned=True)

    def carry(self, fault):
        """Bring the sound backups to a vault, which must then have them as they are."""

        def step(where, name, **options):
            return operations.transfer(step=name, backup_dir=where, name=NAME, **options)

        def all_of_it():
            part = os.path.join(self.place, "part")
            rows = step(self.backups, "offer", there=step(self.vault, "have")["rows"])["rows"]
            accepted = step(self.vault, "accept", manifests=[row["manifest"] for row in rows])["rows"]
            arrived = []
            for row, at in zip(rows, accepted):
                offset = at["offset"]
                while at["state"] == "wanted" and offset < row["stored_bytes"]:
                    step(self.backups, "read", file=row["file"], offset=offset, part_bytes=30_000, part=part)
                    answer = step(self.vault, "receive", manifests=[row["manifest"]], offset=offset, part=part)
                    offset = answer["bytes"]
                arrived += [row["manifest"]] if at["state"] == "wanted" else []
            return step(self.vault, "finish", manifests=arrived)["rows"]

        def try_it():
            try:
                return {"rows": all_of_it()}
            except errors.BackupError as error:
                return error.as_result()

        answer = self._do(try_it, fault)
        for entry in catalog.scan(self.vault, NAME):
            assert entry.verified, f"{entry.file} arrived {entry.status}"
            was = self.vaulted.setdefault(entry.file, self.known.get(entry.file))
            assert was == self.content_of(entry), f"{entry.file} arrived as another"
        return answer

    def settle(self):
        """The next ordinary run always recovers: it makes a backup, and nothing unfinished is left."""
        answer = self.act("backup", database=self.path, disk_limit_percent=100)
        assert answer.get("changed"), answer
        assert not catalog.leftovers(self.backups, NAME)
        beside = set(os.listdir(os.path.dirname(self.path)))
        # What an undo has renamed over is kept.
        beside = {name for name in beside if not name.startswith(".app.db.restore-set-aside")}
        assert beside <= {"app.db", "app.db-wal", "app.db-shm", "app.db-journal"}, beside
        return answer
