# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What goes around every request: its id, limits of size and time, the headers, the log, the metrics, and one audit
line for each refusal.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import logging
import secrets
import time

from .problems import Problem
from .rates import network

_LOG = logging.getLogger("backup_api")
_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
)
_PAGE = (
    b"default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    b"img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'"
)


def new_id():
    """The request's id, and that of its operation: sorted by time, and no one else's guess."""
    now = datetime.datetime.now(datetime.timezone.utc)
    return f"{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(6)}"


class Guard:
    """ASGI around the application. ``service`` is `app.Service`."""

    def __init__(self, application, service):
        self._application = application
        self._service = service

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        request = _Request(scope, self._service)
        scope.setdefault("state", {})["request"] = request
        try:
            try:
                self._service.rates.count("address", request.network)
                body = await self._body(scope, receive)
                await self._application(scope, _replayed(body, receive), request.sender(send))
            except Problem as problem:
                request.problem = problem
                await problem.response(request.id)(scope, receive, request.sender(send))
            except Exception:
                _LOG.exception("request %s failed", request.id)
                if request.status is not None:
                    raise
                request.problem = Problem(500, "failed", "an unexpected error; the service's journal has it")
                await request.problem.response(request.id)(scope, receive, request.sender(send))
        finally:
            self._service.seen(request)

    async def _body(self, scope, receive):
        """The whole body, within its size and time: what is read slowly holds no operation."""
        largest = self._service.settings.largest_body
        headers = dict(scope["headers"])
        if b"transfer-encoding" in headers and b"content-length" in headers:
            # A proxy in front may have taken the other for where the request ends.
            headers = {"Connection": "close"}
            raise Problem(400, "invalid_request", "the length of the body is told twice", headers=headers)
        length = headers.get(b"content-length", b"0")
        if length.isdigit() and int(length) > largest:
            raise Problem(413, "body_too_large", f"the body may have {largest} bytes", headers={"Connection": "close"})
        body = b""
        deadline = time.monotonic() + self._service.settings.request_seconds
        while True:
            try:
                message = await asyncio.wait_for(receive(), max(0.01, deadline - time.monotonic()))
            except asyncio.TimeoutError:
                headers = {"Connection": "close"}
                raise Problem(408, "too_slow", "the body did not come in time", headers=headers) from None
            if message["type"] == "http.disconnect":
                return body
            body += message.get("body", b"")
            if len(body) > largest:
                headers = {"Connection": "close"}
                raise Problem(413, "body_too_large", f"the body may have {largest} bytes", headers=headers)
            if not message.get("more_body"):
                return body


def _replayed(body, receive):
    told = False

    async def again():
        nonlocal told
        if told:
            return await receive()
        told = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


class _Request:
    """One request, as the log, the metrics and the audit log see it. The query is not kept: it may hold secrets."""

    def __init__(self, scope, service):
        self.id = new_id()
        self.method = scope["method"]
        self.path = scope["path"]
        # By a proxy's X-Forwarded-For it is what anybody has written; the zone of an IPv6 address can be any text.
        client = scope["client"][0].partition("%")[0] if scope.get("client") else "local"
        self.network = network(client) if scope.get("client") else "local"
        self.address = self.network if self.network == "unknown" else client
        self.route = None
        self.subject = None
        self.database = None
        self.problem = None
        self.status = None
        self.begun_at = time.monotonic()
        self._page = service.is_page(self.path)
        self._scope = scope

    def by(self):
        """Who asks, for the audit line."""
        known = {"subject": self.subject, "address": self.address, "request": self.id}
        return {key: value for key, value in known.items() if value}

    def sender(self, send):
        async def sending(message):
            if message["type"] == "http.response.start":
                self.status = message["status"]
                route = self._scope.get("route")
                self.route = getattr(route, "path", None)
                headers = [pair for pair in _HEADERS if not (self._page and pair[0] == b"content-security-policy")]
                if self._page:
                    headers.append((b"content-security-policy", _PAGE))
                message = {
                    **message,
                    "headers": [*message["headers"], *headers, (b"x-request-id", self.id.encode("ascii"))],
                }
            await send(message)

        return sending


class Refusals:
    """The audit lines of what was refused, written one after the other behind the answers.

    Each has its own, up to ``each`` of one address in a minute; the rest is one line with their number, so that a flood
    of requests makes no flood of lines.
    """

    _SECONDS = 60
    _WAITING = 1000

    def __init__(self, write, each):
        self._write = write
        self._each = each
        self._queue = asyncio.Queue(self._WAITING)
        self._counts = {}
        self._task = None

    def start(self):
        self._task = asyncio.get_running_loop().create_task(self._run())

    def note(self, request):
        now = time.monotonic()
        since, count, rest = self._counts.get(request.network, (now, 0, None))
        if now - since >= self._SECONDS:
            self._flush(request.network)
            since, count, rest = now, 0, None
        if count < self._each:
            self._put(request, 1)
            count += 1
        else:
            rest = (request, 1 if rest is None else rest[1] + 1)
        self._counts[request.network] = (since, count, rest)

    def _flush(self, key):
        _since, _count, rest = self._counts.pop(key, (0, 0, None))
        if rest is not None:
            self._put(*rest)

    def _put(self, request, times):
        try:
            self._queue.put_nowait((request, times))
        except asyncio.QueueFull:
            _LOG.error("the refusal %s has no audit line: too many wait for theirs", request.id)

    async def _run(self):
        while True:
            try:
                request, times = await asyncio.wait_for(self._queue.get(), self._SECONDS)
            except asyncio.TimeoutError:
                self._flush_old()
                continue
            try:
                await self._write(request, times)
            except Exception:
                _LOG.exception("the refusal %s has no audit line", request.id)
            self._queue.task_done()
            self._flush_old()

    def _flush_old(self):
        now = time.monotonic()
        for key in [key for key, (since, _count, _rest) in self._counts.items() if now - since >= self._SECONDS]:
            self._flush(key)

    async def stop(self):
        for key in list(self._counts):
            self._flush(key)
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._queue.join(), 10)
        self._task.cancel()
