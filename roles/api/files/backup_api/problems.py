# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Problem details (RFC 9457): what every refusal and every failure is answered with."""

from __future__ import annotations

import http
import json

from fastapi.responses import Response

TYPE = "application/problem+json"
_KIND = "urn:digitalme-backup:"
_RETRY_SECONDS = 5

# error_code of the engine (docs/ERRORS.md): status. What is not here is the host's fault: 500.
STATUSES = {
    "usage": 422,
    "name_invalid": 422,
    "backup_not_found": 404,
    "backup_invalid": 422,
    "verification_failed": 422,
    "unverifiable": 422,
    "rolled_back": 422,
    "database_not_found": 409,
    "database_not_a_file": 409,
    "database_empty": 409,
    "not_a_database": 409,
    "database_encrypted": 409,
    "database_corrupt": 409,
    "not_confirmed": 409,
    "other_database": 409,
    "retention_brake": 409,
    "busy": 423,
    "database_busy": 423,
    "in_use": 423,
    "no_space": 507,
}


class Problem(Exception):
    """A refusal or a failure, as it is answered. ``begun``: the engine had begun and has left the audit line itself.

    ``details`` are the engine's, and are not told as they are.
    """

    def __init__(self, status, error_code, detail, *, headers=None, begun=False, **more):
        self.status = status
        self.error_code = error_code
        self.detail = detail
        self.headers = headers or {}
        self.begun = begun
        self.more = more
        self.details = {}
        super().__init__(detail)

    def body(self, instance=None):
        return {
            "type": _KIND + self.error_code,
            "title": http.HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            "error_code": self.error_code,
            **({"instance": instance} if instance else {}),
            **self.more,
        }

    def response(self, instance=None):
        content = json.dumps(self.body(instance)).encode("ascii")
        return Response(content, self.status, media_type=TYPE, headers={"Cache-Control": "no-store", **self.headers})


def of_engine(error, hidden):
    """The Problem of an error that the gate has answered with. ``hidden`` are {path: what is said for it}."""
    status = STATUSES.get(error["error_code"], 500)
    headers = {"Retry-After": str(_RETRY_SECONDS)} if status == 423 else {}
    more = {"next_step": without(error["hint"], hidden)}
    steps = error["details"].get("steps")
    if steps:
        more["steps"] = [{**row, "detail": without(str(row.get("detail") or ""), hidden)} for row in steps]
    if error["details"].get("rolled_back"):
        more["rolledBack"] = True
    cause = without(error["cause"], hidden)
    problem = Problem(status, error["error_code"], cause, headers=headers, begun=error.get("begun", True), **more)
    problem.details = error["details"]
    return problem


def without(text, hidden):
    """The text without the host's paths: the longest first, so that none is left in part."""
    for path in sorted(hidden, key=len, reverse=True):
        text = text.replace(path, hidden[path])
    return text


def unavailable(detail):
    headers = {"Retry-After": str(_RETRY_SECONDS)}
    return Problem(503, "gate_unreachable", detail, headers=headers)
