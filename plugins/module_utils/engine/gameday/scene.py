# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The scratch scene of a game day: a copy of one backup in a catalog of its own, and the operations that act there.

They run with a configuration and an audit log of the scene, so that what is done here concerns nobody. All of it lies
in one directory, which `drill.scratch` takes away whatever happens.
"""

from __future__ import annotations

import contextlib
import os
from typing import Any, NamedTuple

from .. import catalog, config, copying, errors, files, manifest, space
from ..drill import exercise
from ..restore import plan, rehearse
from ..restore.steps import Steps
from . import content

# Beside the copy of the stored backup, where a restore is interrupted: the database that it writes over, the staged
# copy, the old content that is kept, and SQLite's journal or log.
CONTENT_COPIES = 4
_SPARE_BYTES = 4 * 1024 * 1024
# These say nothing of the backup or of the fault: the scratch place itself is in trouble.
OF_THE_PLACE = (errors.NoSpace, errors.IoError, errors.PermissionDenied, errors.ReadOnly, errors.Busy)


class Doors(NamedTuple):
    """The operations that faults are tried on."""

    backup: Any
    restore: Any
    validate: Any
    info: Any
    health: Any


class Scene(NamedTuple):
    """``file`` is the copy's name in ``backups``, ``known`` its manifest, ``rows`` what `content.rows` tells of it."""

    place: str
    name: str
    file: str
    known: dict
    rows: str
    doors: Doors
    common: dict

    @property
    def backups(self):
        return files.Resolved(os.path.join(self.place, "backups"))

    @property
    def backup(self):
        return os.path.join(self.backups, self.file)

    @property
    def manifest(self):
        return manifest.path_for(self.backup)

    @property
    def form(self):
        return content.form_of(self.known)

    def test(self, reference="latest", backup_dir=None):
        """A restore test, as of any backup."""
        given = {"backup": reference, "backup_dir": files.Resolved(backup_dir or self.backups)}
        return self.doors.restore(test=True, verify=exercise.LEVEL, **given, **self.common)

    def restore(self, database, **options):
        """A restore of the copy over a database of the scene. It was proved before, so that a quick look is enough."""
        given = {"backup": self.file, "backup_dir": self.backups, "force": True, "other_database": True}
        return self.doors.restore(
            database=files.Resolved(database), verify="quick", **{**self.common, **given, **options}
        )

    def back_up(self, database, backup_dir, **options):
        """A backup of a database of the scene, as the next scheduled one would be made."""
        given = {"backup_dir": files.Resolved(backup_dir), "verify": "quick", "disk_limit_percent": 100}
        return self.doors.backup(database=files.Resolved(database), **{**self.common, **given, **options})

    def listed(self):
        """The status of the copy as the list of backups shows it."""
        found = self.doors.info(backup_dir=self.backups, **self.common)["backups"]
        return next((row["status"] for row in found if row["file"] == self.file), "not listed")

    @contextlib.contextmanager
    def work(self):
        """A directory for one fault, gone afterwards with whatever else lies in the catalog by then."""
        path = os.path.join(self.place, "work")
        files.make_directory(path)
        try:
            yield path
        finally:
            files.remove_tree(path)
            self.tidy()

    def tidy(self):
        """Remove what faults have put beside the copy in its catalog."""
        for name in os.listdir(self.backups):
            if name not in (self.file, os.path.basename(self.manifest), catalog.STATE):
                files.remove(os.path.join(self.backups, name))


def needed_bytes(entry):
    """How many bytes a game day takes at most."""
    return entry.stored_bytes + CONTENT_COPIES * plan.content_bytes(entry) + _SPARE_BYTES


def put_up(session, entry, place, doors, progress, steps):
    """The Scene in the empty directory ``place``: the backup copied, and proved to be one that can be restored.

    Raises NoSpace before anything is copied, BackupInvalid and Unverifiable, with which no fault can be told apart.
    """
    with steps.step("space") as step:
        needed = needed_bytes(entry)
        space.require_space(place, needed, "the game day")
        step["detail"] = f"{needed} bytes needed at most, {space.free_bytes(place)} free"
    known = entry.manifest
    # No file: who owns the directory that the place is in could put another there, and no path in it is resolved again.
    configuration = config.of_nothing()._replace(audit_log=os.path.join(place, "audit.jsonl"))
    common = {
        "name": session.target.name,
        "config_path": configuration,
        "caller": session.caller,
        "progress": progress,
    }
    scene = Scene(place, session.target.name, entry.file, known, "", doors, common)
    with steps.step("copy") as step:
        files.make_directory(scene.backups)
        copying.copy(entry.path, scene.backup, progress=lambda done, total: progress("stage", done, total))
        files.write_new(scene.manifest, manifest.encode(known))
        step["detail"] = f"{entry.file} and its manifest copied"
    with steps.step("verify") as step, scene.work() as work:
        rehearse.prove(
            catalog.read_entry(scene.backup, scene.name),
            work,
            Steps(),
            level=exercise.LEVEL,
            assertions=tuple(session.settings["assertions"]),
            progress=progress,
        )
        scene = scene._replace(rows=content.rows(os.path.join(work, rehearse.RESTORED)))
        step["detail"] = "without a fault the copy can be restored"
    return scene
