# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What only looks: the list, one backup, health, statistics, what a recovery needs, and what ran."""

from __future__ import annotations

import datetime
from typing import Literal, Optional

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import TypeAdapter

from . import answers, auth, models, operations, render
from .problems import Problem

ROUTER = APIRouter(prefix="/api/backup", tags=["looking"], dependencies=[Depends(auth.BEARER)])
READ = Depends(auth.allowed("read"))
_JSON = "application/json"
# Ages and a disk that fills change without anything else; so long an answer may be old.
_HEALTH_SECONDS = 1
_LIST = TypeAdapter(list[models.Backup])
_OPERATIONS = TypeAdapter(list[models.Operation])
_MOST = 1000
_STATUS = Literal["verified", "unverified", "unverifiable", "invalid", "missing"]


def _paged(request, response_bytes, total, page, size):
    headers = {"X-Total-Count": str(total), "X-Page": str(page), "X-Page-Size": str(size)}
    links = []
    for word, number in (("prev", page - 1), ("next", page + 1)):
        if 1 <= number <= max(1, -(-total // size)):
            url = request.url.include_query_params(page=number)
            links.append(f'<{url.path}?{url.query}>; rel="{word}"')
    if links:
        headers["Link"] = ", ".join(links)
    return Response(response_bytes, media_type=_JSON, headers=headers)


@ROUTER.get("", response_model=list[models.Backup], responses=answers.LOOKING, summary="The backups, newest first")
async def backups(
    request: Request,
    caller=READ,
    database: Optional[str] = answers.DATABASE,
    status: Optional[_STATUS] = Query(None, description="only of this status"),
    kind: Optional[Literal["regular", "preRecovery"]] = Query(None, description="only of this kind"),
    since: Optional[answers.Moment] = Query(None, description="not before this time"),
    until: Optional[answers.Moment] = Query(None, description="not after this time"),
    page: int = Query(1, ge=1, le=1_000_000, description="which page"),
    pageSize: int = Query(_MOST, ge=1, le=_MOST, description="how many on a page"),
):
    """A JSON array. `X-Total-Count` tells how many there are, `Link` where the next page is."""
    known = answers.known(request, database)
    wanted = (status, kind, since, until)

    def make(state):
        rows = [row for row in map(render.backup, state["backups"]) if _matches(row, *wanted)]
        part = rows[(page - 1) * pageSize : page * pageSize]
        return _LIST.dump_json(part), len(rows)

    content, total = await known.answer(("list", wanted, page, pageSize), make)
    return _paged(request, content, total, page, pageSize)


def _matches(row, status, kind, since, until):
    if (status and row.status != status) or (kind and row.kind != kind):
        return False
    if since is None and until is None:
        return True
    at = render.moment(row.createdAt)
    return at is not None and (since is None or at >= _aware(since)) and (until is None or at <= _aware(until))


def _aware(at):
    return at if at.tzinfo else at.replace(tzinfo=datetime.timezone.utc)


@ROUTER.get("/health", response_model=models.Health, responses=answers.LOOKING, summary="Are the backups healthy?")
async def health(request: Request, caller=READ, database: Optional[str] = answers.DATABASE):
    """`issues` name what is amiss, in words."""
    now = datetime.datetime.now(datetime.timezone.utc)
    content = await answers.known(request, database).answer(
        "health", lambda state: render.health(state, now).model_dump_json().encode("utf-8"), _HEALTH_SECONDS
    )
    return Response(content, media_type=_JSON)


@ROUTER.get("/statistics", response_model=models.Statistics, responses=answers.LOOKING, summary="Counts and sizes")
async def statistics(request: Request, caller=READ, database: Optional[str] = answers.DATABASE):
    """By status and day, with the success rate and the durations of the runs that the audit log tells of."""
    content = await answers.known(request, database).answer(
        "statistics", lambda state: render.statistics(state).model_dump_json().encode("utf-8")
    )
    return Response(content, media_type=_JSON)


@ROUTER.get("/operations", response_model=list[models.Operation], responses=answers.LOOKING, summary="What ran")
async def ran(
    request: Request,
    caller=READ,
    database: Optional[str] = answers.DATABASE,
    page: int = Query(1, ge=1, le=1_000_000, description="which page"),
    pageSize: int = Query(100, ge=1, le=_MOST, description="how many on a page"),
):
    """What ran, runs or failed, and by whom, newest first: from the audit log, without the results."""
    rows = await _operations(request, answers.known(request, database))
    part = [row.model_copy(update={"result": None}) for row in rows[(page - 1) * pageSize : page * pageSize]]
    return _paged(request, _OPERATIONS.dump_json(part), len(rows), page, pageSize)


@ROUTER.get(
    "/operations/{operation}", response_model=models.Operation, responses=answers.LOOKING, summary="One operation"
)
async def one(request: Request, operation: str, caller=READ, database: Optional[str] = answers.DATABASE):
    """To be asked until `status` is no longer `running`; then it has the `result` or the `error`."""
    rows = await _operations(request, answers.known(request, database))
    found = operations.find(rows, operation)
    return Response(found.model_dump_json(), media_type=_JSON)


async def _operations(request, known):
    service = request.app.state.service
    # In this order: one that ends in between is told of by the state.
    running = service.operations.running(known.gate.name)
    return operations.shown(await known.state(), running, answers.RESULTS)


@ROUTER.get(
    "/recovery-info/{file}",
    response_model=models.RecoveryInfo,
    responses=answers.LOOKING,
    summary="What a recovery needs",
)
async def recovery_info(request: Request, file: answers.File, caller=READ, database: Optional[str] = answers.DATABASE):
    """What a restore of this backup needs and would do, without trying it."""
    known = answers.known(request, database)
    view = await known.backup(file)
    found = await known.gate.needs(view["file"])
    return answers.dumped(render.recovery_info(view, found))


@ROUTER.get("/{file}", responses=answers.LOOKING, summary="The manifest of a backup")
async def manifest(request: Request, file: answers.File, caller=READ, database: Optional[str] = answers.DATABASE):
    """As it lies beside the backup (its fields are the engine's); older ones without the row counts of many tables."""
    view = await answers.known(request, database).backup(file)
    if view["manifest"] is None:
        raise Problem(404, "backup_not_found", "this backup has no manifest", next_step="Adopt it: validate --adopt.")
    return Response(view["manifest"], media_type=_JSON)
