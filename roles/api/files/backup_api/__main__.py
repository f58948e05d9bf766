# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""``python -m backup_api serve | openapi | token``."""

from __future__ import annotations

import argparse
import getpass
import json
import pathlib
import sys

from . import keys, settings, tokens

VERSION_FILE = pathlib.Path(__file__).with_name("VERSION")


def version():
    """The collection's version, which the role writes beside the package."""
    return VERSION_FILE.read_text(encoding="ascii").strip() if VERSION_FILE.exists() else "0"


def main(words=None):
    """Run one command; the exit status: 0 done, 1 failed, 2 usage or configuration."""
    parser = argparse.ArgumentParser(prog="backup_api", description=__doc__)
    parser.add_argument("--config", default=settings.PATH, metavar="FILE", help="configuration (default: %(default)s)")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("serve", help="answer requests until SIGTERM")
    commands.add_parser("openapi", help="print the OpenAPI document")
    _token_flags(commands.add_parser("token", help="sign a token and print it"))
    parsed = parser.parse_args(words)
    try:
        loaded = settings.load(parsed.config)
        return {"serve": _serve, "openapi": _openapi, "token": _token}[parsed.command](parsed, loaded)
    except (settings.SettingsError, keys.UnusableKey) as error:
        sys.stderr.write(f"backup_api: {error}\n")
        return 2


def _token_flags(command):
    command.add_argument("--scope", dest="scopes", action="append", choices=tokens.SCOPES, help="default: read")
    command.add_argument("--subject", default=None, help="who it is for; stands in every audit line (default: you)")
    command.add_argument("--lifetime", type=int, default=300, metavar="SECONDS", help="default: 300")
    command.add_argument("--kid", default=None, help="the key's id (default: the key file's stem)")
    command.add_argument(
        "--key-file", default=None, metavar="FILE", help="secret, or private key (default: the newest)"
    )


def _serve(_parsed, loaded):
    from . import app, server

    return 0 if server.serve(app.create(loaded, version()), loaded) else 1


def _openapi(_parsed, loaded):
    from . import app

    sys.stdout.write(json.dumps(app.create(loaded, version()).openapi(), indent=2, sort_keys=True) + "\n")
    return 0


def _token(parsed, loaded):
    rules = loaded.tokens
    path = pathlib.Path(parsed.key_file) if parsed.key_file else _newest(rules)
    if not 1 <= parsed.lifetime <= rules.longest_lifetime:
        raise keys.UnusableKey(f"--lifetime is from 1 to {rules.longest_lifetime:.0f} seconds")
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise keys.UnusableKey(f"{path}: {error.strerror}: run it as a user who may read the key") from None
    key = keys.checked("HS256", keys.secret(raw), str(path)) if rules.algorithm == "HS256" else raw
    try:
        signed = tokens.sign(
            key,
            algorithm=rules.algorithm,
            kid=parsed.kid or path.name.partition(".")[0],
            issuer=rules.issuer,
            audience=rules.audience,
            subject=parsed.subject or getpass.getuser(),
            scopes=parsed.scopes or ["read"],
            lifetime=parsed.lifetime,
        )
    except (ValueError, TypeError, tokens.jwt.PyJWTError):
        raise keys.UnusableKey(f"{path} is no private key for {rules.algorithm}") from None
    sys.stdout.write(signed + "\n")
    return 0


def _newest(rules):
    """The secret that was put there last: after a rotation the new one."""
    found = sorted(
        pathlib.Path(rules.keys_dir or "/nowhere").glob("*" + keys.SECRET), key=lambda path: path.stat().st_mtime
    )
    if rules.algorithm != "HS256" or not found:
        raise keys.UnusableKey(f"for {rules.algorithm} give the private key with --key-file")
    return found[-1]


if __name__ == "__main__":
    raise SystemExit(main())
