# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The operations during which the power goes, and what must be true after it has come back.

The scenes are those of the restore's own tests: ``old`` is the content of the live database, ``new`` the other one that
the operation may leave. As a program, this does a scene's operation in the place that is put up, and tells the result.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys

import scenes
import surroundings
from engine import audit, catalog, config, files, kept_files, manifest, operations, unpacking


class BackupWithLog(scenes.Backup):
    """The last commits are in the log."""

    def build(self):
        super().build()
        scenes.leave_log(self.path, "old")


class BackupOnline(BackupWithLog):
    """SQLite reads, and the result is compressed."""

    options = {"method": "online", "compression": "gzip"}


class BackupRollbackMode(scenes.Backup):
    mode = "delete"


class BackupFirst(scenes.Backup):
    """Of a database that has none: its directories are made, and the audit log begins."""

    mode = "delete"

    def build(self):
        super().build()
        shutil.rmtree(self.backups)


class BackupAfterAnother(scenes.Backup):
    """One before was killed when its manifest was written: what it left is removed first."""

    mode = "delete"

    def build(self):
        super().build()
        newest = catalog.scan(self.backups, "app")[0]
        left = newest.file.replace("app_2", "app_1")
        shutil.copy(newest.path, os.path.join(self.backups, catalog.partial(left)))
        shutil.copy(manifest.path_for(newest.path), os.path.join(self.backups, left + manifest.SUFFIX))


class ReplaceRollbackMode(scenes.Scene):
    mode = "delete"
    options = {"strategy": "replace"}


class AbsentWithLog(scenes.Absent):
    """Of the lost database its log is left, which must never be replayed over the new content."""

    def build(self):
        super(scenes.Absent, self).build()
        scenes.leave_log(self.path, "old")
        os.unlink(self.path)


class Received(scenes.Scene):
    """All parts of another backup have arrived, and it is published."""

    mode = "delete"

    def build(self):
        super().build()
        made = self.back_up()["backup"]["path"]
        with open(manifest.path_for(made), encoding="ascii") as told, open(self.told, "w", encoding="ascii") as kept:
            kept.write(told.read())
        part = os.path.join(self.base, "part")
        os.rename(made, part)
        os.unlink(manifest.path_for(made))
        self.ask("receive", offset=0, part=part)
        os.rename(part, os.path.join(self.base, "sent"))

    @property
    def told(self):
        """The file with the manifest that the sending side tells."""
        return os.path.join(self.base, "manifest")

    def ask(self, step, **options):
        with open(self.told, encoding="ascii") as kept:
            options.setdefault("manifests", [kept.read()])
        return operations.transfer(step=step, backup_dir=self.backups, name="app", **options)

    def operate(self):
        return {"changed": self.ask("finish")["changed"]}

    def next_run(self):
        """And the transfer that is tried next brings it, if it is not there."""
        super().next_run()
        (row,) = self.ask("accept")["rows"]
        if row["state"] == "wanted":
            if row["offset"] == 0:
                self.ask("receive", offset=0, part=os.path.join(self.base, "sent"))
            assert self.ask("finish")["rows"] == [{"problem": None}]
        else:
            assert row["state"] == "there", row
        self.ask("accept", manifests=[])
        with contextlib.suppress(FileNotFoundError):  # Empty, it stays until another backup arrives.
            os.rmdir(os.path.join(self.backups, catalog.STATE, "incoming-app"))


ALL = (
    Received,
    BackupWithLog,
    BackupOnline,
    BackupRollbackMode,
    BackupFirst,
    BackupAfterAnother,
    ReplaceRollbackMode,
    AbsentWithLog,
    *scenes.ALL,
)


def command(scene):
    """The words that do the scene's operation in a process of its own, and options for `subprocess.run`."""
    paths = (*(path for path in sys.path if path), os.path.dirname(os.path.abspath(__file__)))
    told = surroundings.environment(os.path.join(scene.base, "home"), PYTHONPATH=os.pathsep.join(dict.fromkeys(paths)))
    words = [sys.executable, "-B", os.path.abspath(__file__), type(scene).__name__, scene.base]
    return words, {"env": told, "cwd": "/"}


def perform(name, base):
    config.PATH = os.path.join(base, "no", "config.json")
    kind = next(kind for kind in ALL if kind.__name__ == name)
    scene = kind.__new__(kind)
    scene.base, scene.place = base, os.path.join(base, "place")
    scene.path, scene.backups = os.path.join(scene.place, "live", "app.db"), os.path.join(scene.place, "backups")
    return json.dumps(scene.act())


def view(scene):
    """All that a user can see of a scene's place."""
    entries = catalog.scan(scene.backups, "app")
    listed = {entry.file: (entry.status, entry.manifest) for entry in entries}
    aside = {file: files.sha256(os.path.join(scene.backups, file)) for file in _aside(scene)}
    mode = os.stat(scene.path).st_mode if os.path.exists(scene.path) else None
    return {
        "content": scene.read(),
        "mode": mode,
        "listed": listed,
        "kept aside": aside,
        "audit lines": audit.check(os.path.join(scene.backups, catalog.STATE, "audit.jsonl"))["lines"],
        "interrupted": scene.pending(),
    }


def _aside(scene):
    """Finished files that are kept and are no backups."""
    present = catalog.listing(scene.backups)
    raw = [name for name in present if name.endswith(catalog.RAW) and name + manifest.SUFFIX in present]
    return [*kept_files.quarantined(scene.backups, "app"), *raw]


def check(scene, told, before, after):
    """Nothing is lost, mixed or untrue. ``told`` is whether it had said that it was done; the others are of `view`."""
    seen = view(scene)
    for file, (status, known) in seen["listed"].items():
        assert status in ("verified", "missing"), (file, status)
        assert status != "missing" or isinstance(scene, scenes.Retention), f"of {file} only the manifest is there"
        if status == "verified":
            assert files.sha256(os.path.join(scene.backups, file)) == known["sha256"], f"{file} is listed and is a lie"
            unpacking.unpack(catalog.read_entry(os.path.join(scene.backups, file), "app"), None)
    if told:
        differing = {key for key in after if seen[key] != after[key]}
        assert not differing, [(key, seen[key], after[key]) for key in differing]
        return
    assert seen["content"] in (before["content"], scene.old, scene.new), seen["content"]
    for file, facts in before["listed"].items():
        stays = file in after["listed"]
        assert seen["listed"].get(file, (None,))[0] == facts[0] or not stays, f"{file} is lost"
    if seen["content"] != before["content"] and scene.options.get("pre_backup", True) and before["content"]:
        assert len(seen["listed"]) + len(seen["kept aside"]) > len(before["listed"]) + len(before["kept aside"]), (
            "the old content is gone and was not kept"
        )


def go_on(scene):
    """The next ordinary run ends what was begun, says so, and leaves nothing lying about."""
    scene.next_run()
    scene.check_audit()
    scene.check_tidy()


if __name__ == "__main__":
    sys.stdout.write(perform(*sys.argv[1:]) + "\n")
