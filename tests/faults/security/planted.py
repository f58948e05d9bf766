# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Secrets that can be told from anything else, and where they turn up: in bytes, in files, in command lines."""

from __future__ import annotations

import base64
import contextlib
import http.server
import os
import pathlib
import secrets
import shutil
import subprocess
import threading


class Secrets:
    """Planted secrets by the place where each was given."""

    def __init__(self):
        self.known = {}

    def new(self, where):
        """A secret that no encoding of a URL changes; where it was given is told when it is found."""
        return self.add(where, f"p1anted{secrets.token_hex(16)}")

    def add(self, where, secret):
        self.known[where] = secret
        return secret

    def found(self, data):
        """Where the secrets in these bytes were given; also those that are base64 in it, as in a header."""
        seen = []
        for where, secret in self.known.items():
            raw = secret.encode()
            # A secret in the middle of what was encoded: three ways to lie in groups of three bytes, whole ones only.
            forms = [base64.b64encode(raw[skip : skip + (len(raw) - skip) // 3 * 3]) for skip in range(3)]
            if any(form in data for form in (raw, *forms)):
                seen.append(where)
        return seen


class Echo:
    """A peer that answers 400 with all that it was sent: a message that quotes its answer quotes the secrets."""

    def __init__(self):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                length = int(self.headers.get("Content-Length") or 0)
                said = f"{self.path}\n{self.headers}\n".encode() + self.rfile.read(length)
                self.send_response(400, self.path.replace("\n", " "))
                self.send_header("Content-Length", str(len(said)))
                self.end_headers()
                self.wfile.write(said)

            do_GET = do_POST

            def log_message(self, *_arguments):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_port

    @contextlib.contextmanager
    def running(self):
        thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join()


class Runner:
    """Runs programs under strace, which writes down the command line of whatever they start."""

    def __init__(self, place, environment):
        self.place, self.environment = place, environment
        self.said = []
        self.lines = place / "command-lines"
        self.lines.mkdir()
        self._strace = shutil.which("strace")
        assert self._strace, "strace is needed (Debian's package strace)"

    def run(self, *words, seconds=300, **environment):
        """The finished process; what it says is kept."""
        log = self.lines / f"{len(self.said)}"
        traced = [self._strace, "--seccomp-bpf", "-f", "-qq", "-s", "1000000"]
        traced += ["-e", "trace=execve", "-e", "signal=none"]
        done = subprocess.run(
            [*traced, "-o", str(log), *map(str, words)],
            env={**self.environment, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=seconds,
            check=False,
            cwd=self.place,
        )
        assert log.exists() and b"execve(" in log.read_bytes(), done.stderr
        self.said.append((" ".join(map(str, words)), done.stdout, done.stderr))
        return done


class Watch(threading.Thread):
    """Reads the command lines of all processes of this user again and again, for what strace does not start."""

    def __init__(self):
        super().__init__(daemon=True)
        self.lines = set()
        self._end = threading.Event()

    def run(self):
        while not self._end.is_set():
            for process in pathlib.Path("/proc").glob("[0-9]*"):
                with contextlib.suppress(OSError):
                    self.lines.add((process / "cmdline").read_bytes())
            self._end.wait(0.005)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_details):
        self._end.set()
        self.join()


def in_files(root, planted, allowed):
    """["path: where"] of the secrets in all files below root, except where ``allowed(path, where)``."""
    wrong = []
    for directory, _names, files in os.walk(root):
        for name in files:
            path = os.path.join(directory, name)
            if os.path.islink(path) or not os.path.isfile(path):
                continue
            data = pathlib.Path(path).read_bytes()
            wrong += [f"{path}: {where}" for where in planted.found(data) if not allowed(path, where)]
    return wrong
