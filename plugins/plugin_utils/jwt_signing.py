# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Signs the short-lived token (a JWT, RFC 7519) by which the REST API of a host knows who asks, and what they may.

No message of this file has any part of a key in it.
"""

from __future__ import annotations

import os
import stat
import sys
import uuid

from ansible_collections.digitalme.backup.plugins.module_utils.engine import clock, errors, files

ALGORITHMS = ("HS256", "RS256", "ES256", "EdDSA")
# The later ones include the earlier ones on the server.
SCOPES = ("read", "operate", "admin")
LONGEST_LIFETIME = 86400
_SHORTEST_SECRET = 32
_SHORTEST_RSA = 2048
_LARGEST_FILE = 65536
_MAKE_HMAC = "Make one with: (umask 077; openssl rand -hex 32 > {path}), and give it to the API's host as well"
_MAKE_KEY = {
    "RS256": "openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:3072 -out {path}",
    "ES256": "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out {path}",
    "EdDSA": "openssl genpkey -algorithm ed25519 -out {path}",
}


def claims(issuer, audience, subject, scopes, lifetime):
    """The claims of a token that is valid from now on, for ``lifetime`` seconds. Raises UsageError.

    ``nbf`` is not set: a host whose clock is a little behind would refuse a token that has just been made.
    """
    unknown = [scope for scope in scopes if scope not in SCOPES]
    if unknown or not scopes:
        said = f"there is no scope '{errors.excerpt(unknown[0])}'" if unknown else "the token has no scope"
        raise errors.UsageError(said, hint=f"Give one or more of {', '.join(SCOPES)}.")
    if not 1 <= lifetime <= LONGEST_LIFETIME:
        hint = f"Give the seconds for which the token holds, from 1 to {LONGEST_LIFETIME}."
        raise errors.UsageError(f"the lifetime is {lifetime} s", hint=hint)
    for name, value in (("issuer", issuer), ("audience", audience), ("subject", subject)):
        if not value:
            raise errors.UsageError(f"the {name} is empty", hint="Give one, or leave it out to have the default.")
    now = int(clock.now().timestamp())
    return {
        "iss": issuer,
        "aud": audience,
        "sub": subject,
        "iat": now,
        "exp": now + lifetime,
        "jti": str(uuid.uuid4()),
        "scope": " ".join(dict.fromkeys(scopes)),
    }


def read_key(path, algorithm):
    """What ``sign`` needs of the file: the secret's bytes for HS256, else the private key. Raises BackupError.

    One newline at the end of a secret is the editor's, and no part of it.
    """
    if algorithm not in ALGORITHMS:
        hint = f"Give one of {', '.join(ALGORITHMS)}."
        raise errors.UsageError(f"there is no algorithm '{errors.excerpt(algorithm)}'", hint=hint)
    content = _content(path)
    if algorithm == "HS256":
        return _secret(content, path)
    return _private_key(content, path, algorithm)


def sign(payload, key, algorithm, kid=None):
    """The token as text, with ``kid`` in its header where one is given. Raises UsageError where PyJWT is missing."""
    try:
        import jwt
    except ImportError:
        raise _missing("PyJWT") from None
    return jwt.encode(payload, key, algorithm=algorithm, headers={"kid": kid} if kid else None)


def _content(path):
    """All bytes of the file, whose owner alone may read it."""
    try:
        descriptor = files.open_regular(path, follow=True)
    except OSError as error:
        translated = errors.from_os_error(error, path)
        translated.hint = "Name the key of the API in digitalme_backup_api_jwt_key_file, readable by whoever runs this."
        raise translated from None
    with open(descriptor, "rb") as source:
        mode = stat.S_IMODE(os.fstat(source.fileno()).st_mode)
        content = source.read(_LARGEST_FILE + 1)
    # Windows' modes say nothing about who may read.
    if mode & 0o077 and os.name != "nt":
        cause = f"the key may be used by others than its owner (mode {mode:04o})"
        hint = f"Run: chmod 600 {_quoted(path)}; and make a new key if somebody may have read this one."
        raise errors.UsageError(cause, path=path, hint=hint)
    if len(content) > _LARGEST_FILE:
        raise errors.UsageError("it is too large for a key", path=path, hint="Check the path.")
    return content


def _secret(content, path):
    if b"-----BEGIN " in content:
        # Whoever has a public key could sign with it as if it were a secret.
        hint = f"Say which algorithm it is for (one of {', '.join(_MAKE_KEY)}), or name the file of a secret."
        raise errors.UsageError("it is a key in PEM, and HS256 takes a secret", path=path, hint=hint)
    secret = content.removesuffix(b"\n")
    if len(secret) < _SHORTEST_SECRET:
        cause = f"the secret has {len(secret)} bytes, and HS256 needs {_SHORTEST_SECRET}"
        raise errors.UsageError(cause, path=path, hint=_MAKE_HMAC.format(path=_quoted(path)) + ".")
    return secret


def _private_key(content, path, algorithm):
    try:
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives import serialization
    except ImportError:
        raise _missing("cryptography") from None
    hint = f"Make one with: (umask 077; {_MAKE_KEY[algorithm].format(path=_quoted(path))})."
    try:
        key = serialization.load_pem_private_key(content, password=None)
    except TypeError:
        cause = "the key has a passphrase, which nobody is there to type"
        raise errors.UsageError(cause, path=path, hint=hint) from None
    except (ValueError, UnsupportedAlgorithm):
        public = b"PUBLIC KEY-----" in content
        cause = "it is a public key, and a token is signed with the private one" if public else "it has no private key"
        raise errors.UsageError(f"{cause} in PEM", path=path, hint=hint) from None
    lacking = _unfit(key, algorithm)
    if lacking:
        raise errors.UsageError(f"{algorithm} {lacking}", path=path, hint=hint)
    return key


def _unfit(key, algorithm):
    """Why this algorithm cannot sign with the key; None when it can."""
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    if algorithm == "RS256":
        if not isinstance(key, rsa.RSAPrivateKey):
            return "takes an RSA key, and this is another"
        if key.key_size < _SHORTEST_RSA:
            return f"takes an RSA key of at least {_SHORTEST_RSA} bits, and this has {key.key_size}"
    elif algorithm == "ES256":
        if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
            return "takes a key of the curve P-256, and this is another"
    elif not isinstance(key, ed25519.Ed25519PrivateKey):
        return "takes an Ed25519 key, and this is another"
    return None


def _missing(package):
    hint = f"Install it for {sys.executable}, which runs Ansible: pip install 'pyjwt[crypto]'."
    return errors.UsageError(f"{package}, which signs the token, is not installed on the controller", hint=hint)


def _quoted(path):
    import shlex

    return shlex.quote(errors.show(path))
