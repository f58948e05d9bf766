# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A stand-in for the REST API of a host: it answers as the API's contract says, or as a test wants it.

It remembers what it was asked, and speaks TLS with a certificate that openssl has signed.
"""

from __future__ import annotations

import contextlib
import datetime
import http.server
import json
import socket
import ssl
import subprocess
import threading
import urllib.parse

import jwt

SECRET = "a-secret-of-the-tests-of-the-api-client"
FILE = "shop_20261122_020000.db"
KEPT = "/var/backups/digitalme/shop/shop_pre_recovery_20261122_031500.db"
OPERATION = "20261122T031500Z-0123456789ab"
SCOPES = ("read", "operate", "admin")
NEEDS = {
    "backupSizeBytes": 1048576,
    "requiredFreeSpaceBytes": 3145728,
    "availableFreeSpaceBytes": 10737418240,
    "requiresApplicationStop": False,
    "estimatedDuration": "00:00:00.300",
}
# Instead of an answer: the connection is closed.
DROP = "drop"


def ago(hours):
    moment = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(hours=hours)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def backup(file=FILE, hours=2, **more):
    common = {"filePath": f"/b/{file}", "sizeBytes": 1048576, "formattedSize": "1.0 MiB", "isValid": True}
    return {"fileName": file, "createdAt": ago(hours), "kind": "regular", "status": "verified", **common, **more}


def problem(status, code, detail, **more):
    body = {"type": f"urn:x:{code}", "title": "Title", "status": status, "detail": detail, "error_code": code, **more}
    return status, {"Content-Type": "application/problem+json"}, body


RECOVERED = {
    "success": True,
    "backupPath": f"/b/{FILE}",
    "preRecoveryBackupPath": KEPT,
    "duration": "00:00:00.310",
    "details": {"integrityVerified": True, "rolledBack": False, "steps": []},
    "warnings": [],
}
HEALTH = {
    "isHealthy": True,
    "status": "healthy",
    "totalBackups": 30,
    "lastBackupTime": "2026-11-22T02:00:00.000Z",
    "timeSinceLastBackup": "02:00:00.000",
    "formattedTotalSize": "30.0 MiB",
    "issues": [],
}
STATISTICS = {
    "totalBackups": 30,
    "validBackups": 29,
    "successRatePercent": 99.5,
    "backupsByDate": [{"date": "2026-11-22", "count": 1, "formattedTotalSize": "1.0 MiB"}],
}


def certificates(place):
    """(CA, certificate with its key) for 127.0.0.1, made by openssl below ``place``."""
    authority, request, made = place / "ca.pem", place / "host.csr", place / "host.pem"
    common = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    names = place / "names"
    names.write_text("subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\n")
    usage = ["-addext", "keyUsage=critical,keyCertSign,cRLSign"]
    commands = [
        ["req", "-x509", *common, *usage, "-subj", "/CN=A CA", "-keyout", place / "ca.key", "-out", authority],
        ["req", *common[:-2], "-subj", "/CN=shop-17", "-keyout", place / "host.key", "-out", request],
        ["x509", "-req", "-in", request, "-CA", authority, "-CAkey", place / "ca.key", "-CAcreateserial", "-days", "2"]
        + ["-extfile", names, "-out", made],
    ]
    for command in commands:
        subprocess.run(["openssl", *command], check=True, capture_output=True)
    made.write_text(made.read_text() + (place / "host.key").read_text())
    return authority, made


class StandIn:
    """``answers`` is {(method, route): [answer, ...]}, each (status, headers, body), a function of the request that
    returns one, or DROP; the last of them is given again and again. ``asked`` are (method, route, query, headers).
    """

    def __init__(self, certificate=None):
        self.asked = []
        self.subjects = []
        self.lock = threading.Lock()
        good = 200, {}, None
        self.answers = {
            ("GET", ""): [(*good[:2], [backup("shop_20261122_010000.db", 3), backup()])],
            ("GET", "/health"): [(*good[:2], HEALTH)],
            ("GET", "/statistics"): [(*good[:2], STATISTICS)],
            ("GET", f"/recovery-info/{FILE}"): [(*good[:2], self.info(FILE))],
            ("POST", f"/test-recovery/{FILE}"): [(*good[:2], self.tested())],
            ("POST", f"/restore/{FILE}"): [(202, {"Location": f"/api/backup/operations/{OPERATION}"}, self.state())],
            ("GET", f"/operations/{OPERATION}"): [
                (*good[:2], self.state()),
                (*good[:2], self.state("succeeded", result=RECOVERED)),
            ],
            ("GET", "/operations"): [(*good[:2], [{**self.state(), "operation": "restore"}])],
        }
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.server.daemon_threads = True
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self.server.socket = context.wrap_socket(
                self.server.socket,
                server_side=True,
                do_handshake_on_connect=False,  # A client that is slow holds up its own thread alone.
            )
        self.url = f"{'https' if certificate else 'http'}://127.0.0.1:{self.server.server_port}"

    @staticmethod
    def state(status="running", **more):
        return {"operationId": OPERATION, "status": status, **more}

    @staticmethod
    def info(file, **more):
        common = {
            "canRecover": True,
            "requirements": NEEDS,
            "recommendations": [],
            "preRecoveryBackupRecommended": True,
        }
        return {"backupInfo": backup(file), **common, **more}

    @staticmethod
    def tested(**more):
        sound = {"backupValid": True, "sufficientSpace": True, "databaseAccessible": True}
        common = {"canRecover": True, "testDuration": "00:00:00.120", "errorMessage": None, "requirements": NEEDS}
        return {**common, **sound, **more}

    @contextlib.contextmanager
    def running(self):
        thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield self
        finally:
            self.server.shutdown()
            thread.join()
            self.server.server_close()

    def routes(self, method=None):
        return [route for how, route, _query, _headers in self.asked if method in (None, how)]

    def _answer(self, method, address, headers):
        split = urllib.parse.urlsplit(address)
        route = urllib.parse.unquote(split.path.removeprefix("/api/backup"))
        query = dict(urllib.parse.parse_qsl(split.query))
        with self.lock:
            self.asked.append((method, route, query, headers))
            waiting = self.answers.get((method, route), [problem(404, "backup_not_found", "there is no such backup")])
            given = waiting.pop(0) if len(waiting) > 1 else waiting[0]
        refused = self._refused(method, route, headers)
        if refused:
            return refused
        return given(query, headers) if callable(given) else given

    def _refused(self, method, route, headers):
        """What a request without a good token for its route is answered with."""
        needed = {"GET": "read"}.get(method) or ("admin" if route.startswith("/restore") else "operate")
        try:
            token = headers.get("Authorization", "").removeprefix("Bearer ")
            claims = jwt.decode(
                token, SECRET, algorithms=["HS256"], audience="digitalme-backup-api", issuer="digitalme-backup"
            )
        except jwt.PyJWTError as error:
            return problem(401, "invalid_token", str(error))
        self.subjects.append(claims["sub"])
        given = max(SCOPES.index(scope) for scope in claims["scope"].split())
        if given < SCOPES.index(needed):
            return problem(403, "wrong_scope", f"the token lacks the scope {needed}")
        return None

    def _handler(stand_in):
        class Handler(http.server.BaseHTTPRequestHandler):
            def _serve(self):
                answer = stand_in._answer(self.command, self.path, dict(self.headers.items()))
                if answer == DROP:
                    self.close_connection = True
                    self.connection.shutdown(socket.SHUT_RDWR)
                    return
                status, headers, body = answer
                content = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                for name, value in {"Content-Type": "application/json", **headers}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = _serve

            def log_message(self, *_arguments):
                """What was asked is kept, and not shown."""

        return Handler


def token(scope):
    """A token of that scope, as somebody else may have signed it."""
    now = datetime.datetime.now(datetime.timezone.utc)
    claims = {"iss": "digitalme-backup", "aud": "digitalme-backup-api", "sub": "ada", "iat": now, "scope": scope}
    return jwt.encode({**claims, "exp": now + datetime.timedelta(minutes=9)}, SECRET, algorithm="HS256")
