# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the routes have in common: the database that is meant, the documented answers, asking for later."""

from __future__ import annotations

import datetime
import re
from typing import Annotated
from urllib.parse import quote

from fastapi import Path, Query, Request, Response
from pydantic import BeforeValidator

from . import models, render
from .problems import Problem

DATABASE = Query(None, min_length=1, max_length=100, description="name of the database (default: the first one)")
_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d(\.\d+)?)?([Zz]|[+-]\d\d:\d\d)?")


def _of_text(value):
    """pydantic would take a bare number for seconds since 1970."""
    if isinstance(value, str) and not _TIME.fullmatch(value):
        raise ValueError("use ISO 8601, such as 2026-11-22T02:00:00Z")
    return value


Moment = Annotated[datetime.datetime, BeforeValidator(_of_text)]
File = Annotated[
    str, Path(description="a backup's file name, or `latest`: the newest verified one", examples=["latest"])
]
_KINDS = {
    400: "more than one token, or one in the address",
    401: "no token, or none that is accepted",
    403: "the token lacks the scope",
    404: "there is no such backup or database",
    408: "the request came too slowly",
    409: "not confirmed, or the database or the backup is not in a state for it",
    413: "the body is too large",
    416: "there is no such range",
    422: "a value is not valid, or the backup is not",
    423: "another operation holds the lock",
    429: "too many requests: see Retry-After",
    500: "the host's fault",
    502: "the operation ended without an answer",
    503: "the gate does not answer",
    507: "no space",
}


def documented(*statuses):
    """For OpenAPI: the problems that a route may answer with."""
    return {status: {"description": _KINDS[status], "model": models.Problem} for status in sorted(statuses)}


_ALWAYS = (400, 401, 403, 404, 408, 413, 422, 429, 500, 503)
LOOKING = documented(*_ALWAYS)
_BYTES = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
DOWNLOAD = {
    200: {"description": "the whole file", "content": _BYTES},
    206: {"description": "the range that was asked for", "content": _BYTES},
    **documented(*_ALWAYS, 409, 416),
}
_LATER = {"model": models.Accepted, "description": "begun (Prefer: respond-async): ask its location"}
DOING = {202: _LATER, **documented(*_ALWAYS, 409, 423, 502, 507)}


def known(request, database):
    """The `known.Known` of the database that the request means; the first one where it does not say."""
    service = request.app.state.service
    found = service.known.get(database) if database else next(iter(service.known.values()))
    if found is None:
        raise Problem(404, "database_not_configured", "no such database is configured")
    request.state.request.database = found.gate.name
    return found


def place(path, found):
    """The address of something of a database: their names may have any character that can be printed."""
    return f"/api/backup/{quote(path)}?database={quote(found.gate.name, safe='')}"


def dumped(model, status=200, headers=None):
    return Response(model.model_dump_json(), status, headers, "application/json")


async def done(request: Request, found, operation, make, status=200, headers=None, **arguments):
    """Have the operation done and answer with ``make(result, its id, when it ended)``; with ``Prefer: respond-async``
    answer at once with where to ask.
    """
    service, seen = request.app.state.service, request.state.request
    if later(request):
        await service.operations.start(found, seen, operation, **arguments)
        where = place(f"operations/{seen.id}", found)
        accepted = models.Accepted(operationId=seen.id, status="running", location=where)
        return dumped(accepted, 202, {"Location": where, "Preference-Applied": "respond-async"})
    result = await service.operations.run(found, seen, operation, **arguments)
    made = make(result, seen.id, service.now())
    return dumped(made, status, headers(made) if headers else None)


def later(request):
    wishes = ",".join(request.headers.getlist("prefer")).lower()
    return "respond-async" in [wish.split(";")[0].strip() for wish in wishes.split(",")]


# How the result of each operation is worded when it is asked for by its id.
RESULTS = {
    "backup": lambda result, request, at: render.made(result, request),
    "retention": lambda result, request, at: render.cleanup(result, request),
    "delete": lambda result, request, at: render.deleted(result, request),
    "validate": lambda result, request, at: render.validation(result["backups"][0], request),
    "restore": render.recovery,
}
