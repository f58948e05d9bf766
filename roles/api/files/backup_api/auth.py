# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Who may ask: the bearer token of a request, the scope that a route needs, and how often."""

from __future__ import annotations

from fastapi import Request
from fastapi.security import HTTPBearer
from starlette.concurrency import run_in_threadpool

from .problems import Problem
from .tokens import Refused

# Says in the OpenAPI document what is wanted; the checking is ours.
BEARER = HTTPBearer(auto_error=False, bearerFormat="JWT", description="A signed token with a scope")
_IN_QUERY = ("access_token", "token", "authorization", "jwt")
_REALM = 'Bearer realm="digitalme-backup"'


def allowed(scope, *kinds):
    """A dependency that lets in whoever has the scope; each of ``kinds`` is a rate that the request counts for."""

    async def check(request: Request):
        service, seen = request.app.state.service, request.state.request
        caller = await _caller(request, service, seen)
        seen.subject = caller.subject
        if not caller.may(scope):
            challenge = f'{_REALM}, error="insufficient_scope", scope="{scope}"'
            raise Problem(
                403, "wrong_scope", f"the token lacks the scope {scope}", headers={"WWW-Authenticate": challenge}
            )
        for kind in ("subject", *kinds):
            service.rates.count(kind, caller.subject)
        return caller

    check.scope = scope
    return check


async def _caller(request, service, seen):
    given = request.headers.getlist("authorization")
    if len(given) > 1 or any(key in request.query_params for key in _IN_QUERY):
        detail = "one Authorization header, please" if len(given) > 1 else "a token in the address is not accepted"
        raise _unauthorized(service, seen, 400, "invalid_request", detail)
    if not given:
        raise _unauthorized(service, seen, 401, None, "a bearer token is needed")
    kind, _space, token = given[0].partition(" ")
    if kind.lower() != "bearer" or not token.strip():
        raise _unauthorized(service, seen, 401, "invalid_token", "a bearer token is needed")
    try:
        if service.settings.tokens.jwks_url:
            return await run_in_threadpool(service.checker.check, token.strip())
        return service.checker.check(token.strip())
    except Refused as error:
        raise _unauthorized(service, seen, 401, "invalid_token", str(error)) from None


def _unauthorized(service, seen, status, kind, detail):
    """Counted by address: whoever tries tokens is soon told to wait; a valid token is not held up by that."""
    service.rates.count("refused", seen.network)
    challenge = _REALM + (f', error="{kind}", error_description="{detail}"' if kind else "")
    return Problem(status, kind or "unauthorized", detail, headers={"WWW-Authenticate": challenge})
