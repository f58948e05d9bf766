# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The four who can come to one name at once, each by its own way in and in a process of its own: the timer, Ansible's
module, the API through its gate, and a person at the command line.
"""

from __future__ import annotations

import json
import os
import pathlib
import socket
import subprocess
import sys

import surroundings

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent.parent
NAME = "app"
# The way of a request id: its time, and who asked.
REQUEST = "20261122T020000Z-0123456789ab"
MODULE = """
import json, sys
from ansible.module_utils.testing import patch_module_args
from ansible_collections.digitalme.backup.plugins.modules import {module} as module
with patch_module_args(json.loads(sys.argv[1])):
    module.main()
"""


class Place:
    """A configured host: the environment of its processes."""

    def __init__(self, root, database, **settings):
        self.root, self.database, self.backups = root, str(database), str(root / "backups")
        self.audit, self.config = str(root / "audit.jsonl"), str(root / "config.json")
        self.lock = os.path.join(self.backups, ".state", f"{NAME}.lock")
        self.configure(**settings)
        # The collection is this checkout, whatever else is installed.
        collection = root / "collections" / "ansible_collections" / "digitalme"
        collection.mkdir(parents=True)
        (collection / "backup").symlink_to(ROOT)

    def configure(self, **settings):
        entry = {"name": NAME, "path": self.database, "backup_dir": self.backups}
        defaults = {"disk_limit_percent": 100, **settings}
        document = {"databases": [entry], "audit_log": self.audit, "defaults": defaults}
        pathlib.Path(self.config).write_text(json.dumps(document), encoding="ascii")

    @property
    def environment(self):
        path = os.pathsep.join((surroundings.ENGINE_PARENT, str(self.root / "collections")))
        more = {"PYTHONPATH": path, "DIGITALME_BACKUP_CONFIG": self.config}
        made = surroundings.environment(self.root, **more)
        return {name: value for name, value in made.items() if not name.startswith("ANSIBLE_")}


class Contestant:
    """A process that was started; `answer` waits for it: {made, removed, error_code, message}."""

    def __init__(self, place, words, stdin=subprocess.DEVNULL):
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(words, stdin=stdin, stdout=pipe, stderr=pipe, env=place.environment)

    @property
    def pid(self):
        return self.process.pid

    def waits_for(self, path):
        """Whether it has opened the lock file, or has ended without."""
        if self.process.poll() is not None:
            return True
        try:
            opened = os.listdir(f"/proc/{self.pid}/fd")
            return any(os.readlink(f"/proc/{self.pid}/fd/{one}") == path for one in opened)
        except OSError:
            return False

    def _said(self):
        said, complaint = self.process.communicate(timeout=300)
        assert b"Traceback" not in complaint, complaint.decode()
        return json.loads(said)

    def answer(self):
        return _told(self._said())


def _told(result):
    made = result.get("backup") if result.get("changed") else None
    removed = [row["file"] for row in result.get("removed") or ()]
    message = result.get("msg") or result.get("message") or result.get("cause")
    return {"made": made, "removed": removed, "error_code": result.get("error_code"), "message": message}


class Person(Contestant):
    """Backs up by the command line."""

    def __init__(self, place, *words):
        command = [sys.executable, "-m", "engine", "backup", "--name", NAME, *words]
        super().__init__(place, [*command, "--config", place.config, "--json"])


class Timer(Contestant):
    """The nightly run: backup, retention, health."""

    def __init__(self, place):
        command = [sys.executable, "-m", "engine", "run", "--name", NAME, "--trigger", "scheduled"]
        super().__init__(place, [*command, "--config", place.config, "--json"])

    def answer(self):
        (row,) = self._said()["databases"]
        failed = [part for part in row["parts"] if part["status"] == "failed"]
        return {
            "made": row["backup"],
            "removed": row["removed"],
            "error_code": failed[0]["error_code"] if failed else None,
            "message": failed[0]["detail"] if failed else None,
        }


class Module(Contestant):
    """Ansible's module, as its process on the host."""

    def __init__(self, place, module="sqlite_backup", **arguments):
        given = json.dumps({"name": NAME, **arguments})
        super().__init__(place, [sys.executable, "-c", MODULE.format(module=module), given])


class Api(Contestant):
    """The API's way: a request through the gate of the name."""

    def __init__(self, place):
        self.connection, theirs = socket.socketpair()
        words = [sys.executable, "-m", "engine", "gate", "--name", NAME, "--config", place.config]
        with theirs:
            super().__init__(place, words, stdin=theirs)
        by = {"subject": "ada", "address": "127.0.0.1", "request": REQUEST}
        request = {"operation": "backup", "arguments": {"pinned": False, "annotations": {}}, "by": by}
        self.connection.sendall(json.dumps(request).encode() + b"\n")

    def _said(self):
        with self.connection, self.connection.makefile("rb") as lines:
            answer = json.loads(lines.readline())
        self.process.communicate(timeout=60)
        return answer.get("result") or answer["error"]
