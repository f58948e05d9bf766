# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The application: routes, the page of its documentation, and how it starts and ends."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import logging
import pathlib
import time

import fastapi
import fastapi_offline
import limits
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.routing import Match, Route
from starlette.staticfiles import StaticFiles

from . import answers, auth, doing, gate, guard, keys, looking, models, problems, render, tokens
from .known import Known
from .metrics import Metrics
from .operations import Operations
from .problems import Problem
from .rates import Rates

_LOG = logging.getLogger("backup_api")
_TITLE = "digitalme.backup"
_DESCRIPTION = (
    "Backups of live SQLite databases: list, verify, rehearse and restore them. Every route but `/health` wants a "
    "bearer token with a scope: `read`, `operate` (which includes it) or `admin` (which includes both). Errors are "
    "problem details (RFC 9457) with an `error_code`."
)


class Service:
    """What the parts of the application share."""

    def __init__(self, settings, version):
        self.settings = settings
        self.version = version
        self.metrics = Metrics()
        self.rates = Rates(settings.rates)
        self.keys = keys.Keys(settings.tokens)
        self.checker = tokens.Checker(settings.tokens, self.keys, keys.Revoked(settings.tokens.revoked_file))
        self.known = {database.name: Known(gate.Gate(database)) for database in settings.databases}
        self.operations = Operations(self.metrics.running)
        self.refusals = guard.Refusals(self._write, limits.parse(settings.rates.refused).amount)

    def now(self):
        return render.iso(datetime.datetime.now(datetime.timezone.utc))

    def is_page(self, path):
        return path == "/docs" or path.startswith("/docs/")

    def seen(self, request):
        """A request has been answered: count it, log it, and have an audit line written where it was refused."""
        seconds = time.monotonic() - request.begun_at
        self.metrics.seen(request, seconds)
        status = request.status or 0
        if status >= 400 or request.method != "GET":
            _LOG.info(
                "%s %s %s %s %d %.3f s by %s",
                request.id,
                request.address,
                request.method,
                _shown(request.path),
                status,
                seconds,
                request.subject or "-",
            )
        if status >= 400 and not (request.problem and request.problem.begun):
            self.refusals.note(request)

    async def _write(self, request, times):
        name = request.database or next(iter(self.known))
        code = request.problem.error_code if request.problem else str(request.status)
        what = f"{request.method} {_shown(request.path)}"[:200]
        line = self.known[name].gate.do(
            "refused", request.by(), request=what, outcome=code, status=request.status, times=times
        )
        try:
            await asyncio.wait_for(line, gate.LOOK_SECONDS)
        except asyncio.TimeoutError:
            _LOG.error("the refusal %s has no audit line: the gate of '%s' is silent", request.id, name)
        except Problem as problem:
            _LOG.error("the refusal %s has no audit line: %s", request.id, problem.detail)


def _shown(path):
    return "".join(c if c.isprintable() else f"%{ord(c):02X}" for c in path)


def create(settings, version):
    """The ASGI application. Raises keys.UnusableKey."""
    service = Service(settings, version)
    service.keys.load()

    @contextlib.asynccontextmanager
    async def lifespan(_application):
        service.refusals.start()
        yield
        await service.refusals.stop()
        for known in service.known.values():
            known.gate.close()

    application = FastAPI(
        title=_TITLE,
        description=_DESCRIPTION,
        version=version,
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        redirect_slashes=False,
    )
    application.state.service = service
    for router in (doing.ROUTER, looking.ROUTER):
        application.include_router(router)
    _add_service_routes(application, service)
    _add_page(application)
    _add_problems(application)
    application.openapi = lambda: _document(application)
    application.add_middleware(guard.Guard, service=service)
    return application


def _add_service_routes(application, service):
    @application.get("/health", response_model=models.Alive, tags=["service"], summary="Is the service there?")
    async def health():
        """For load balancers: no token, no paths, no file names."""
        # At once: one gate that is silent does not hold up what is told of the others.
        told = await asyncio.gather(*map(_status, service.known.values()))
        found = dict(zip(service.known, told))
        worst = max(found.values(), key=("healthy", "degraded", "unhealthy", "unknown").index)
        return answers.dumped(models.Alive(status=worst, databases=found))

    if service.settings.metrics != "off":
        guarded = service.settings.metrics == "token"
        needs = [fastapi.Depends(auth.BEARER), fastapi.Depends(auth.allowed("read"))] if guarded else []

        problems_of = answers.LOOKING if guarded else {}
        text = {200: {"content": {"text/plain": {"schema": {"type": "string"}}}}, **problems_of}

        told = {"summary": "Prometheus text", "openapi_extra": {"x-required-scope": "read"} if guarded else None}

        @application.get(
            "/metrics", tags=["service"], dependencies=needs, response_class=Response, responses=text, **told
        )
        async def metrics():
            """The service's own series, and those of the backups. Only where the settings tell it."""
            texts = []
            for known in service.known.values():
                # One whose gate is silent has no series: that is what alerts look at.
                with contextlib.suppress(Problem):
                    texts.append((await known.state())["metrics"])
            return Response(service.metrics.text() + merged(texts), media_type="text/plain; version=0.0.4")


async def _status(known):
    try:
        return (await known.state())["status"]
    except Problem:
        return "unknown"


def merged(texts):
    """One Prometheus text of several: the samples of a family stand together, below its HELP and TYPE."""
    families: dict = {}
    for text in texts:
        family = None
        for line in text.splitlines():
            if line.startswith("# HELP "):
                family = families.setdefault(line.split(" ", 3)[2], [])
            if family is not None and (not line.startswith("#") or line not in family):
                family.append(line)
    return "".join("\n".join(lines) + "\n" for lines in families.values())


def _add_page(application):
    static = pathlib.Path(fastapi_offline.__file__).parent / "static"
    application.mount("/docs/assets", StaticFiles(directory=static))

    @application.get("/docs", include_in_schema=False)
    async def docs():
        return get_swagger_ui_html(
            openapi_url="/openapi.json",
            title=_TITLE,
            swagger_js_url="/docs/assets/swagger-ui-bundle.js",
            swagger_css_url="/docs/assets/swagger-ui.css",
            swagger_favicon_url="/docs/assets/favicon.png",
        )


def _add_problems(application):
    @application.exception_handler(Problem)
    async def problem(request: Request, error):
        return _told(request, error)

    @application.exception_handler(HTTPException)
    async def http_error(request: Request, error):
        code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "refused")
        headers = dict(error.headers or {})
        if error.status_code == 405:
            headers["Allow"] = ", ".join(_methods(application, request.scope))
        return _told(request, Problem(error.status_code, code, str(error.detail), headers=headers))

    @application.exception_handler(RequestValidationError)
    async def invalid(request: Request, error):
        rows = [{"in": ".".join(map(str, row["loc"])), "message": str(row["msg"])[:200]} for row in error.errors()[:20]]
        detail = "; ".join(f"{row['in']}: {row['message']}" for row in rows)
        return _told(request, Problem(422, "invalid_request", detail[:1000], errors=rows))


def _methods(application, scope):
    """The methods of a path, of all its routes; where a path is also a file's name, it is that path that counts."""
    found: dict = {}
    for route in (*doing.ROUTER.routes, *looking.ROUTER.routes, *application.routes):
        if isinstance(route, Route) and route.matches(scope)[0] != Match.NONE:
            found.setdefault(route.path, set()).update(route.methods)
    plainest = min(found, key=lambda path: path.count("{"), default=None)
    return sorted(found.get(plainest, ()))


def _told(request, problem):
    request.state.request.problem = problem
    return problem.response(request.state.request.id)


def _scope(route):
    return next(each.call.scope for each in route.dependant.dependencies if hasattr(each.call, "scope"))


def _document(application):
    """The OpenAPI document: problems have their own media type, and are all that 422 means."""
    if application.openapi_schema is None:
        made = FastAPI.openapi(application)
        for methods in made["paths"].values():
            for operation in methods.values():
                for status, response in operation["responses"].items():
                    content = response.get("content", {})
                    if status >= "400" and "application/json" in content:
                        content[problems.TYPE] = content.pop("application/json")
        for route in (*doing.ROUTER.routes, *looking.ROUTER.routes):
            for method in route.methods:
                made["paths"][route.path][method.lower()]["x-required-scope"] = _scope(route)
        for name in ("HTTPValidationError", "ValidationError"):
            made["components"]["schemas"].pop(name, None)
        application.openapi_schema = made
    return application.openapi_schema
