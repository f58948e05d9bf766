# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Operations: begun for a caller, and going on whatever becomes of him; asked for again by their id."""

from __future__ import annotations

import asyncio
import contextlib
import datetime

from . import models, render
from .gate import decoded
from .problems import Problem, of_engine, without

_STATUSES = {"succeeded": "succeeded", "failed": "failed", "running": "running", "interrupted": "interrupted"}


class Operations:
    """Those that this process has begun and that have not ended. All others are told by the gate."""

    def __init__(self, gauge):
        self._running = {}
        self._gauge = gauge

    async def run(self, known, request, operation, **arguments):
        """Have it done, and wait. The result as the engine gives it. Raises Problem.

        The task is the service's: a client that goes away ends its waiting, and nothing else.
        """
        return await asyncio.shield(self._begin(known, request, operation, **arguments))

    async def start(self, known, request, operation, **arguments):
        """Have it done, and wait only until the gate has the request: it goes on even where this process is killed.

        Raises Problem where the gate cannot be reached.
        """
        handed_over = asyncio.Event()
        task = self._begin(known, request, operation, handed_over=handed_over, **arguments)
        waiting = asyncio.ensure_future(handed_over.wait())
        try:
            await asyncio.wait((task, waiting), return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
        if not handed_over.is_set():
            await task

    def _begin(self, known, request, operation, **arguments):
        row = {"id": request.id, "operation": operation, "file": arguments.get("file"), "by": request.by()}
        row["started_at"] = render.iso(datetime.datetime.now(datetime.timezone.utc))
        task = asyncio.get_running_loop().create_task(known.gate.do(operation, request.by(), **arguments))
        self._running[request.id] = (known, row, task)
        self._gauge.set(len(self._running))
        task.add_done_callback(lambda _task: self._ended(request.id))
        return task

    def _ended(self, request_id):
        known, _row, task = self._running.pop(request_id)
        known.changed()
        self._gauge.set(len(self._running))
        if not task.cancelled():
            task.exception()  # It was told to whoever waited, and stands in the gate's record.

    def running(self, name):
        return [row for known, row, _task in self._running.values() if known.gate.name == name]


def shown(state, running, results):
    """Everything that ran or runs, newest first, as `models.Operation`. ``results`` render a result by operation."""
    rows = [_of_running(row) for row in running]
    known = {row.operationId for row in rows}
    lines = [line for line in decoded(state["operations"].encode("ascii")) if line["id"] not in known]
    rows += [row for row in (_legible(line, state, results) for line in lines) if row is not None]
    return sorted(rows, key=lambda row: row.startedAt or "", reverse=True)


def _legible(line, state, results):
    """What the gate has kept lies in the application's directory; where it makes no sense the audit line alone counts.
    None where that makes none either.
    """
    for polled in (line["polled"], None):
        with contextlib.suppress(AttributeError, KeyError, TypeError, ValueError, OverflowError):
            return _of_line({**line, "polled": polled}, state, results)
    return None


def _of_running(row):
    return models.Operation(
        operationId=row["id"],
        operation=row["operation"],
        status="running",
        outcome=None,
        startedAt=row["started_at"],
        finishedAt=None,
        duration=None,
        fileName=row["file"],
        requestedBy=row["by"].get("subject"),
        via="api",
        message=None,
    )


def _of_line(line, state, results):
    """From a line of the audit log, from what the gate has kept of the operation, or from both."""
    polled, by = line["polled"] or {}, line.get("by") or (line["polled"] or {}).get("by") or {}
    seconds = line.get("seconds")
    ended = line.get("time") if "outcome" in line else polled.get("finished_at")
    outcome = line.get("outcome")
    began = polled.get("started_at")
    if began is None and ended and seconds is not None:
        began = render.iso(render.moment(ended) - datetime.timedelta(seconds=seconds))
    # The audit log is the record.
    status = polled.get("status") if outcome is None else "succeeded" if outcome == "ok" else "failed"
    hidden = state["hidden"]
    return models.Operation(
        operationId=line["id"],
        operation=line.get("operation") or polled.get("operation") or "unknown",
        status=_STATUSES.get(status, "failed"),
        outcome=outcome,
        startedAt=began,
        finishedAt=ended,
        duration=render.duration(seconds),
        fileName=line.get("file") or polled.get("file"),
        requestedBy=by.get("subject") or by.get("sudo_user") or by.get("user"),
        via=by.get("via"),
        message=without(line["error"], hidden) if isinstance(line.get("error"), str) else None,
        result=_result(polled, results),
        error=of_engine(polled["error"], hidden).body(line["id"]) if "error" in polled else None,
    )


def _result(polled, results):
    make = results.get(polled.get("operation"))
    if "result" not in polled or make is None:
        return None
    return make(polled["result"], polled["id"], polled.get("finished_at")).model_dump(mode="json")


def find(rows, request_id):
    """The one with that id. Raises the Problem 404."""
    for row in rows:
        if row.operationId == request_id:
            return row
    raise Problem(404, "operation_not_found", "there is no such operation", next_step="List the operations.")
