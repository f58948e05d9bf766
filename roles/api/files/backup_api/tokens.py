# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Bearer tokens: who asks, and what for. `check` judges one, `sign` makes one."""

from __future__ import annotations

import time
import uuid
from typing import NamedTuple

import jwt

# Each includes the ones before it.
SCOPES = ("read", "operate", "admin")
_REQUIRED = ("exp", "iat", "aud", "iss", "sub")
_LONGEST_SUBJECT = 200
_LONGEST_TOKEN = 8192


class Refused(Exception):
    """Why a token is not accepted, in words that may be told to whoever has sent it."""


class Caller(NamedTuple):
    """Who asks: the token's subject, and the highest scope that it has (None: none of ours)."""

    subject: str
    scope: str | None

    def may(self, scope):
        return self.scope is not None and SCOPES.index(self.scope) >= SCOPES.index(scope)


class Checker:
    """Judges tokens by the settings (`settings.Tokens`), the keys and the list of those that were revoked."""

    def __init__(self, tokens, keys, revoked):
        self._tokens = tokens
        self._keys = keys
        self._revoked = revoked

    def check(self, token):
        """The Caller. Raises Refused. May block while keys are fetched."""
        if len(token) > _LONGEST_TOKEN:
            raise Refused("the token is too long")
        try:
            header = jwt.get_unverified_header(token)
        except jwt.PyJWTError:
            raise Refused("the token is malformed") from None
        # Pinned: what the token itself says of its algorithm is only compared.
        if header.get("alg") != self._tokens.algorithm:
            raise Refused("the token is signed by another algorithm than this service accepts")
        kid = header.get("kid")
        if kid is not None and not isinstance(kid, str):
            raise Refused("the token's kid is malformed")
        key = self._keys.find(kid)
        if key is None:
            raise Refused("the token is signed by a key that is not known here")
        claims = self._decoded(token, key)
        self._judge(claims)
        return Caller(claims["sub"], _highest(claims.get("scope")))

    def _decoded(self, token, key):
        try:
            return jwt.decode(
                token,
                key,
                algorithms=[self._tokens.algorithm],
                audience=self._tokens.audience,
                issuer=self._tokens.issuer,
                leeway=self._tokens.clock_skew,
                options={"require": list(_REQUIRED), "strict_aud": True},
            )
        except jwt.ExpiredSignatureError:
            raise Refused("the token has expired") from None
        except jwt.ImmatureSignatureError:
            raise Refused("the token is not valid yet") from None
        except jwt.InvalidAudienceError:
            raise Refused("the token is for another audience") from None
        except jwt.InvalidIssuerError:
            raise Refused("the token is from another issuer") from None
        except jwt.MissingRequiredClaimError as error:
            raise Refused(f"the token has no {error.claim}") from None
        except jwt.PyJWTError:
            raise Refused("the token's signature or a claim is not valid") from None

    def _judge(self, claims):
        subject = claims["sub"]
        if not isinstance(subject, str) or not 0 < len(subject) <= _LONGEST_SUBJECT or not subject.isprintable():
            raise Refused("the token's subject is malformed")
        if not all(isinstance(claims[key], (int, float)) for key in ("exp", "iat")):
            raise Refused("the token's times are malformed")
        if claims["exp"] - claims["iat"] > self._tokens.longest_lifetime:
            raise Refused("the token lives longer than this service accepts")
        try:
            if self._revoked.has(claims.get("jti")):
                raise Refused("the token was revoked")
        except OSError:
            raise Refused("the list of revoked tokens cannot be read, so none is accepted") from None


def _highest(text):
    given = text.split() if isinstance(text, str) else ()
    return next((scope for scope in reversed(SCOPES) if scope in given), None)


def sign(key, *, algorithm, kid, issuer, audience, subject, scopes, lifetime):
    """A token for ``lifetime`` seconds. ``key`` is an HMAC secret or a private key in PEM, as bytes."""
    now = int(time.time())
    claims = {
        "iss": issuer,
        "aud": audience,
        "sub": subject,
        "iat": now,
        "exp": now + lifetime,
        "jti": str(uuid.uuid4()),
        "scope": " ".join(scopes),
    }
    return jwt.encode(claims, key, algorithm=algorithm, headers={"kid": kid} if kid else None)
