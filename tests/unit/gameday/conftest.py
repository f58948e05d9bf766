# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A host with one configured database and a backup of it, whose game day can be had."""

from __future__ import annotations

import json
import os

import pytest
from engine import operations
from engine.gameday import exercise


class Host:
    """``row(**options)`` is what the game day of its only database has found."""

    def __init__(self, place, database, backup_dir):
        self.place, self.path, self.backup_dir = place, database, backup_dir
        self.configuration = str(place / "config.json")
        self.log = str(place / "audit.jsonl")
        self.configure()

    def configure(self, **settings):
        entry = {"name": "app", "path": self.path, "backup_dir": self.backup_dir, **settings}
        document = {"databases": [entry], "audit_log": self.log, "defaults": {"disk_limit_percent": 100}}
        with open(self.configuration, "w", encoding="ascii") as target:
            json.dump(document, target)

    def backup(self):
        return operations.backup(name="app", config_path=self.configuration)["backup"]

    def gameday(self, **options):
        return operations.gameday(**{"config_path": self.configuration, "fail_on": "never", **options})

    def row(self, **options):
        (row,) = self.gameday(**options)["databases"]
        return row

    def only(self, name):
        """(outcome, what happened) of one fault, all others left out; and the row."""
        row = self.row(skip=[other for other in exercise.NAMES if other != name])
        (fault,) = [fault for fault in row["faults"] if fault["name"] == name]
        return fault["outcome"], fault["what"], row

    def scratch(self):
        """What lies in the state directory beside locks."""
        return {name for name in os.listdir(os.path.join(self.backup_dir, ".state")) if not name.endswith(".lock")}


@pytest.fixture
def host(tmp_path, database, backup_dir):
    made = Host(tmp_path, database, str(backup_dir))
    made.backup()
    return made


@pytest.fixture
def make_host():
    """make_host(place, database, backup_dir) -> Host, without a backup."""
    return Host
