# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A served database: the real service in a process of its own, with gates that it starts itself, on loopback."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import pathlib
import secrets
import signal
import socket
import sqlite3
import subprocess
import sys
import time

import jwt

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
FILES = ROOT / "roles" / "api" / "files"
ENGINE = ROOT / "plugins" / "module_utils"
# More than any test waits for something that comes at once.
PATIENCE = 30


class Answer:
    """Status, headers (lower case) and body of an answer."""

    def __init__(self, response):
        self.status = response.status
        self.headers = {key.lower(): value for key, value in response.getheaders()}
        self.body = response.read()

    @property
    def json(self):
        return json.loads(self.body)


class Served:
    """One service in front of one or several databases, made below a directory."""

    def __init__(self, place, names=("shop",), **settings):
        self.place = place
        self.secret = secrets.token_hex(24).encode()
        self.audit_log = place / "audit.jsonl"
        self.process = None
        self.port = None
        (place / "keys").mkdir()
        (place / "keys" / "first.secret").write_bytes(self.secret)
        self.engine = {"databases": [], "defaults": {"busy_timeout": 0.2}, "audit_log": str(self.audit_log)}
        for name in names:
            path = place / name / f"{name}.db"
            path.parent.mkdir()
            with contextlib.closing(sqlite3.connect(path)) as connection, connection:
                connection.execute("PRAGMA journal_mode=wal")
                connection.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, what TEXT)")
                connection.execute("INSERT INTO orders (what) VALUES ('first')")
            self.engine["databases"].append({"name": name, "path": str(path), "backup_dir": str(self.backups(name))})
        self.settings = {
            "databases": [{"name": name, "gate": self.gate(name)} for name in names],
            "tokens": {"keys_dir": str(place / "keys")},
            "rates": {
                "costly": "1000/minute",
                "subject": "10000/minute",
                "address": "10000/minute",
                "refused": "10000/minute",
            },
            **settings,
        }
        self.configure()

    def backups(self, name="shop"):
        return self.place / "backups" / name

    def database(self, name="shop"):
        return self.place / name / f"{name}.db"

    def gate(self, name):
        words = [
            sys.executable,
            "-B",
            "-m",
            "engine",
            "gate",
            "--name",
            name,
            "--config",
            str(self.place / "engine.json"),
        ]
        return ["/usr/bin/env", f"PYTHONPATH={ENGINE}", *words]

    def configure(self):
        (self.place / "engine.json").write_text(json.dumps(self.engine), encoding="ascii")
        (self.place / "api.json").write_text(json.dumps(self.settings), encoding="ascii")

    # --- the process ---

    def start(self):
        """As systemd does it with socket activation: the service finds the listening socket as descriptor 3."""
        listening = socket.create_server(("127.0.0.1", 0))
        self.port = listening.getsockname()[1]
        number = listening.fileno()
        script = f'exec 3<&{number}; LISTEN_PID=$$ LISTEN_FDS=1 exec "$@"'
        words = [sys.executable, "-B", "-m", "backup_api", "--config", str(self.place / "api.json"), "serve"]
        with listening, open(self.place / "service.log", "ab") as log:
            self.process = subprocess.Popen(
                ["bash", "-c", script, "bash", *words],
                pass_fds=[number],
                env={**os.environ, "PYTHONPATH": str(FILES)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        # The socket listens already: the first request waits until the service is there.
        assert self.ask("GET", "/health", token=None).status == 200, self.log()
        return self

    def stop(self, how=signal.SIGTERM):
        """Stop it, and wait. It ends by the signal itself, after it has done what it had to."""
        self.process.send_signal(how)
        assert self.process.wait(PATIENCE) == -how, self.log()

    def log(self):
        return (self.place / "service.log").read_text(encoding="utf-8")

    # --- asking ---

    def token(self, scope="admin", key=None, algorithm="HS256", kid="first", drop=(), **claims):
        now = int(time.time())
        made = {
            "iss": "digitalme-backup",
            "aud": "digitalme-backup-api",
            "sub": "ada",
            "iat": now,
            "exp": now + 300,
            "jti": secrets.token_hex(8),
            "scope": scope,
            **claims,
        }
        made = {key_: value for key_, value in made.items() if key_ not in drop}
        return jwt.encode(made, key or self.secret, algorithm=algorithm, headers={"kid": kid} if kid else None)

    def ask(self, method, path, token="", body=None, headers=(), timeout=PATIENCE):
        """An Answer. ``token``: that of an administrator where it is not given; None: none."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        with contextlib.closing(connection):
            connection.putrequest(method, path, skip_accept_encoding=True)
            for key, value in headers:
                connection.putheader(key, value)
            if token is not None:
                connection.putheader("Authorization", "Bearer " + (token or self.token()))
            content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
            if body is not None and not isinstance(body, bytes):
                connection.putheader("Content-Type", "application/json")
            if content or method == "POST":
                connection.putheader("Content-Length", str(len(content)))
            connection.endheaders(content or None)
            return Answer(connection.getresponse())

    def made(self, **wish):
        """The name of a new backup."""
        answer = self.ask("POST", "/api/backup", body=wish or None)
        assert answer.status == 201, answer.body
        return answer.json["fileName"]

    # --- what is on the disk ---

    def rows(self, name="shop"):
        with contextlib.closing(sqlite3.connect(self.database(name))) as connection:
            return [row[0] for row in connection.execute("SELECT what FROM orders ORDER BY id")]

    def write(self, what, name="shop"):
        with contextlib.closing(sqlite3.connect(self.database(name))) as connection, connection:
            connection.execute("INSERT INTO orders (what) VALUES (?)", (what,))

    def audit(self):
        if not self.audit_log.exists():
            return []
        # Without the line that is being written.
        lines = self.audit_log.read_text(encoding="ascii").split("\n")[:-1]
        return [json.loads(line) for line in lines if line]

    def audited(self, request):
        """The audit lines of a request, which are written behind its answer: waits for the first."""
        return wait_for(lambda: [row for row in self.audit() if row["by"].get("request") == request])


def wait_for(look, patience=PATIENCE):
    """What ``look`` gives as soon as it gives something."""
    deadline = time.monotonic() + patience
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < deadline, "it has not come"
        time.sleep(0.02)


def unsigned(claims):
    """A token with the algorithm ``none``."""
    parts = ({"alg": "none", "typ": "JWT"}, claims)
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts]
    return ".".join([*encoded, ""])
