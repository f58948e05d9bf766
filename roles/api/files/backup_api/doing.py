# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What does something: backup, cleanup, deletion, validation, restore test, restore, and handing a backup out."""

from __future__ import annotations

from typing import Annotated, Literal, Optional

from fastapi import APIRouter, Body, Depends, Header, Query, Request

from . import answers, auth, download, models, render
from .problems import Problem

ROUTER = APIRouter(prefix="/api/backup", tags=["doing"], dependencies=[Depends(auth.BEARER)])
OPERATE = Depends(auth.allowed("operate"))
COSTLY = Depends(auth.allowed("operate", "costly"))
ADMIN = Depends(auth.allowed("admin"))
COSTLY_ADMIN = Depends(auth.allowed("admin", "costly"))
_PREFER = Header(None, description="respond-async: answer 202 at once, with where to ask for the outcome")
_COUNT = {"ge": 1, "le": 1_000_000}
_CONFIRM = "Nothing was changed; look at recovery-info, then say confirmRestore=true."
# Whoever sits at the host may know better: the command line restores these, after it has proved them.
_UNPROVED = ("unverified", "unverifiable")
_PROVE = "Choose one that is verified; or validate this one, on the host with --adopt where it has no manifest."
# What is wrong with a backup is what its restore test tells: no failure of the request.
_OF_THE_BACKUP = ("backup_invalid", "unverifiable", "no_space", "verification_failed")


_MADE = {"status_code": 201, "response_model": models.Made, "responses": answers.DOING}


@ROUTER.post("/pre-recovery-backup", summary="Make a backup before a recovery", **_MADE)
@ROUTER.post("", summary="Make a backup now", **_MADE)
async def backup(
    request: Request,
    wish: Annotated[Optional[models.NewBackup], Body()] = None,
    caller=COSTLY,
    database: Optional[str] = answers.DATABASE,
    prefer: Optional[str] = _PREFER,
):
    """Of the live database, while its writers go on; verified as the host is configured. A restore makes its own
    pre-recovery backup as well.
    """
    known, wish = answers.known(request, database), wish or models.NewBackup()

    def where(made):
        return {"Location": answers.place(made.fileName, known)}

    arguments = {"pinned": wish.pinned, "annotations": wish.annotations}
    return await answers.done(request, known, "backup", answers.RESULTS["backup"], 201, where, **arguments)


@ROUTER.post("/cleanup", response_model=models.Cleanup, responses=answers.DOING, summary="Expire backups")
async def cleanup(
    request: Request,
    caller=ADMIN,
    database: Optional[str] = answers.DATABASE,
    retentionDays: Optional[int] = Query(None, description="keep what is at most so many days old", **_COUNT),
    maxBackups: Optional[int] = Query(None, description="of these only the newest so many", **_COUNT),
    prefer: Optional[str] = _PREFER,
):
    """By the host's configuration, or by these two. The newest verified backup and pinned ones always stay."""
    known = answers.known(request, database)
    policy = {"keep_days": retentionDays, "max_files": maxBackups}
    return await answers.done(request, known, "retention", answers.RESULTS["retention"], **policy)


@ROUTER.post(
    "/validate/{file}", response_model=models.Validation, responses=answers.DOING, summary="Verify a backup again"
)
async def validate(
    request: Request,
    file: answers.File,
    caller=COSTLY,
    database: Optional[str] = answers.DATABASE,
    level: Optional[Literal["quick", "full"]] = Query(None, description="how thoroughly (default: as configured)"),
    prefer: Optional[str] = _PREFER,
):
    """Its bytes against the manifest, and SQLite's checks. The outcome is recorded in the manifest."""
    known = answers.known(request, database)
    view = await known.backup(file)
    try:
        return await answers.done(
            request, known, "validate", answers.RESULTS["validate"], file=view["file"], verify=level
        )
    except Problem as problem:
        rows = problem.details.get("backups")
        if not rows:
            raise
        return answers.dumped(render.validation(rows[0], request.state.request.id))


@ROUTER.post(
    "/test-recovery/{file}", response_model=models.RecoveryTest, responses=answers.DOING, summary="Rehearse a recovery"
)
async def test_recovery(
    request: Request,
    file: answers.File,
    caller=COSTLY,
    database: Optional[str] = answers.DATABASE,
    prefer: Optional[str] = _PREFER,
):
    """A full restore into a scratch place; the live database is not touched."""
    known, seen = answers.known(request, database), request.state.request
    view = await known.backup(file)
    if answers.later(request):
        return await answers.done(request, known, "test", None, file=view["file"])
    needs = await known.gate.needs(view["file"])
    try:
        result = await request.app.state.service.operations.run(known, seen, "test", file=view["file"])
    except Problem as problem:
        if problem.error_code not in _OF_THE_BACKUP:
            raise
        return answers.dumped(render.recovery_test(needs, seen.id, failure=problem))
    return answers.dumped(render.recovery_test(needs, seen.id, result=result))


@ROUTER.post("/restore/{file}", response_model=models.Recovery, responses=answers.DOING, summary="Restore a backup")
async def restore(
    request: Request,
    file: answers.File,
    caller=COSTLY_ADMIN,
    database: Optional[str] = answers.DATABASE,
    confirmRestore: bool = Query(False, description="has to be true: the database is replaced"),
    prefer: Optional[str] = _PREFER,
):
    """Over the live database. The backup is proved first, the old content is kept, and comes back if a check fails."""
    known = answers.known(request, database)
    view = await known.backup(file)
    arguments = {"file": view["file"], "confirmed": confirmRestore}
    if view["status"] in _UNPROVED:
        raise Problem(409, "backup_unverified", "this backup was never found sound", next_step=_PROVE)
    if not confirmRestore and answers.later(request):
        raise Problem(409, "not_confirmed", "a restore replaces the database", next_step=_CONFIRM)
    return await answers.done(request, known, "restore", answers.RESULTS["restore"], **arguments)


@ROUTER.get("/download/{file}", responses=answers.DOWNLOAD, summary="Hand a backup out")
async def hand_out(
    request: Request,
    file: answers.File,
    caller=COSTLY_ADMIN,
    database: Optional[str] = answers.DATABASE,
    range_: Optional[str] = Header(None, alias="Range"),
    if_range: Optional[str] = Header(None, alias="If-Range"),
):
    """The stored file, as it is (compressed ones stay so), with ranges; its ETag is its SHA-256."""
    known = answers.known(request, database)
    view = await known.backup(file)
    facts, descriptor = await known.gate.open(request.state.request.by(), view["file"])
    return download.answer(facts, descriptor, range_, if_range)


@ROUTER.delete("/{file}", response_model=models.Deleted, responses=answers.DOING, summary="Delete a backup")
async def delete(
    request: Request,
    file: answers.File,
    caller=ADMIN,
    database: Optional[str] = answers.DATABASE,
    prefer: Optional[str] = _PREFER,
):
    """Refused for a pinned one and for the last verified one."""
    known = answers.known(request, database)
    view = await known.backup(file)
    return await answers.done(request, known, "delete", answers.RESULTS["delete"], file=view["file"])
