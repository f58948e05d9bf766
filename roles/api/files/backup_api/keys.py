# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The keys by which tokens are checked, from a directory, a JWKS file or a JWKS address; read again when they change.

So a key is rotated without a pause: put the new one beside the old, sign with it, and remove the old one when the last
token that it has signed is out of date.
"""

from __future__ import annotations

import http.client
import json
import logging
import os
import pathlib
import re
import threading
import time
import urllib.request

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from .settings import SHORTEST_SECRET

_LOG = logging.getLogger("backup_api")
_LOOK_SECONDS = 1.0
# A token with an unknown kid has the address asked again, but not more often than that.
_AGAIN_SECONDS = 30.0
_FETCH_SECONDS = 5
_CHUNK = 64 * 1024
_LARGEST_JWKS = 1024 * 1024
_SMALLEST_RSA = 2048
_KINDS = {"RS256": rsa.RSAPublicKey, "ES256": ec.EllipticCurvePublicKey, "EdDSA": ed25519.Ed25519PublicKey}
SECRET, PUBLIC = ".secret", ".pem"


class UnusableKey(Exception):
    """A key that cannot be used: which one, why, and what to do. Never the key itself."""


def checked(algorithm, key, what):
    """The key, if it is one for the algorithm."""
    if algorithm == "HS256":
        if len(key) < SHORTEST_SECRET:
            raise UnusableKey(f"{what} has {len(key)} bytes; an HMAC secret has at least {SHORTEST_SECRET}")
        return key
    if not isinstance(key, _KINDS[algorithm]):
        raise UnusableKey(f"{what} is no public key for {algorithm}")
    if isinstance(key, rsa.RSAPublicKey) and key.key_size < _SMALLEST_RSA:
        raise UnusableKey(f"{what} has {key.key_size} bits; RSA needs at least {_SMALLEST_RSA}")
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name != "secp256r1":
        raise UnusableKey(f"{what} is on the curve {key.curve.name}; ES256 needs P-256")
    return key


def secret(raw):
    """An HMAC secret as its file holds it: one newline at its end is not part of it."""
    return raw[:-1] if raw.endswith(b"\n") else raw


def _of_file(algorithm, path):
    raw = path.read_bytes()
    if algorithm == "HS256":
        return checked(algorithm, secret(raw), str(path))
    if b"PRIVATE KEY" in raw:
        raise UnusableKey(f"{path} holds a private key: the service is given the public one alone")
    try:
        return checked(algorithm, load_pem_public_key(raw), str(path))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise UnusableKey(f"{path} is no public key in PEM ({error})") from None


def _of_jwks(algorithm, document, where):
    """{kid: key} of those of a JWKS that are for signatures of this algorithm."""
    rows = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(rows, list):
        raise UnusableKey(f"{where} is no JWKS")
    found = {}
    for row in rows:
        if not isinstance(row, dict) or not isinstance(row.get("kid"), str) or not row["kid"]:
            continue
        if row.get("use", "sig") != "sig" or row.get("alg", algorithm) != algorithm:
            continue
        try:
            found[row["kid"]] = checked(algorithm, jwt.PyJWK(row, algorithm).key, f"{where}: the key {row['kid']}")
        except (jwt.PyJWTError, UnusableKey, TypeError, ValueError, AttributeError) as error:
            _LOG.warning("%s: a key is left out: %s", where, error)
    return found


class Keys:
    """``find(kid)`` is the key, or None. Keys that cannot be read again leave the last good ones in use, and a line in
    the log.
    """

    def __init__(self, tokens):
        self._tokens = tokens
        self._lock = threading.Lock()
        self._found = {}
        self._mark = None
        self._looked = None
        self._fetched = None

    def load(self):
        """Read the keys for the first time. Raises UnusableKey where there is none, so that the service does not start.

        An address that does not answer yet is no reason: it is asked again with the first token.
        """
        self._refresh(first=True)
        if not self._found and not self._tokens.jwks_url:
            where = self._tokens.keys_dir or self._tokens.jwks_file
            raise UnusableKey(f"{where} has no key for {self._tokens.algorithm}")

    def find(self, kid):
        """The key of that id; without an id the only one that there is. Blocks while an address is asked."""
        # While an address is asked, only those wait for it whose key is not known yet.
        if self._lock.acquire(blocking=kid not in self._found):
            try:
                self._refresh(kid=kid)
            finally:
                self._lock.release()
        found = self._found
        if kid is None:
            return next(iter(found.values())) if len(found) == 1 else None
        return found.get(kid)

    def _refresh(self, kid=None, first=False):
        now = time.monotonic()
        try:
            if self._tokens.jwks_url:
                self._fetch(now, kid)
            elif first or now - self._looked >= _LOOK_SECONDS:
                self._looked = now
                self._read()
        except (OSError, ValueError, RecursionError, http.client.HTTPException, UnusableKey) as error:
            if first and not self._tokens.jwks_url:
                raise UnusableKey(str(error)) from error
            _LOG.error("the keys could not be read again, the last ones stay in use: %s", error)

    def _read(self):
        tokens = self._tokens
        paths = [pathlib.Path(tokens.jwks_file)] if tokens.jwks_file else self._files(tokens.keys_dir)
        mark = [(str(path), facts.st_ino, facts.st_mtime_ns, facts.st_size) for path, facts in _stats(paths)]
        if mark == self._mark:
            return
        if tokens.jwks_file:
            found = _of_jwks(tokens.algorithm, json.loads(paths[0].read_bytes()), tokens.jwks_file)
        else:
            found = {path.stem: _of_file(tokens.algorithm, path) for path in paths}
        self._found, self._mark = found, mark

    def _files(self, directory):
        suffix = SECRET if self._tokens.algorithm == "HS256" else PUBLIC
        return sorted(path for path in pathlib.Path(directory).iterdir() if path.suffix == suffix)

    def _fetch(self, now, kid):
        age = None if self._fetched is None else now - self._fetched
        unknown = kid is not None and kid not in self._found
        if age is not None and age < self._tokens.jwks_seconds and not (unknown and age >= _AGAIN_SECONDS):
            return
        self._fetched = now
        url = self._tokens.jwks_url
        found = _of_jwks(self._tokens.algorithm, json.loads(_fetched(url)), url)
        if found:
            self._found = found


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """The configured address is what is trusted, and no other that it names."""

    def redirect_request(self, req, fp, code, msg, headers, newurl):
        return None


def _fetched(url):
    """What the address answers, within its time and size. Raises OSError, also for a redirect."""
    deadline = time.monotonic() + _FETCH_SECONDS
    content = b""
    with urllib.request.build_opener(_NoRedirect).open(url, timeout=_FETCH_SECONDS) as answer:
        # One read each, of what is there: a server that sends drop by drop is out of time as well.
        while part := answer.read1(_CHUNK):
            content += part
            if len(content) > _LARGEST_JWKS:
                raise OSError(f"{url} has answered more than {_LARGEST_JWKS} bytes")
            if time.monotonic() > deadline:
                raise OSError(f"{url} has not answered within {_FETCH_SECONDS} s")
    return content


def _stats(paths):
    return [(path, os.stat(path)) for path in paths]


class Revoked:
    """The ``jti`` that are not accepted any more: a text file, one a line, read again when it changes.

    One that cannot be read refuses every token: who has revoked one wants it to be refused.
    """

    def __init__(self, path):
        self._path = path
        self._mark = None
        self._known = frozenset()

    def has(self, jti):
        """Whether the token is revoked. Raises OSError."""
        if self._path is None:
            return False
        facts = os.stat(self._path)
        mark = (facts.st_ino, facts.st_mtime_ns, facts.st_size)
        if mark != self._mark:
            lines = pathlib.Path(self._path).read_text(encoding="utf-8", errors="replace").splitlines()
            # A '#' begins a comment only after a blank: it may be a part of an id.
            self._known = frozenset(re.split(r"(?:^|\s)#", line)[0].strip() for line in lines) - {""}
            self._mark = mark
        return jti in self._known
