# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The service's configuration: one JSON file, checked as a whole before anything is begun."""

from __future__ import annotations

import json
import pathlib
import urllib.parse
from typing import Literal, Optional, Union

import limits
import pydantic

PATH = "/etc/digitalme-backup-api/api.json"
SHORTEST_SECRET = 32


class SettingsError(Exception):
    """What is wrong with the configuration, with the file, the key and the next step."""


class _Strict(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)


class Database(_Strict):
    """``gate`` is the Unix socket of its gate, or the command that starts one with the socket as standard input."""

    name: str = pydantic.Field(min_length=1, max_length=100)
    gate: Union[str, list[str]]

    @pydantic.field_validator("gate")
    @classmethod
    def _is_gate(cls, value):
        if isinstance(value, str) and value.startswith("/"):
            return value
        if isinstance(value, list) and value and all(isinstance(word, str) for word in value):
            return value
        raise ValueError("the absolute path of a socket, or a command as a list of words")


class Tokens(_Strict):
    """How bearer tokens are judged. Of ``keys_dir``, ``jwks_file`` and ``jwks_url`` exactly one is given. Seconds."""

    algorithm: Literal["HS256", "RS256", "ES256", "EdDSA"] = "HS256"
    issuer: str = pydantic.Field("digitalme-backup", min_length=1)
    audience: str = pydantic.Field("digitalme-backup-api", min_length=1)
    keys_dir: Optional[str] = None
    jwks_file: Optional[str] = None
    jwks_url: Optional[str] = None
    jwks_seconds: float = pydantic.Field(300, ge=10, le=86400)
    revoked_file: Optional[str] = None
    clock_skew: float = pydantic.Field(30, ge=0, le=300)
    longest_lifetime: float = pydantic.Field(86400, ge=60)

    @pydantic.model_validator(mode="after")
    def _has_one_source(self):
        given = [key for key in ("keys_dir", "jwks_file", "jwks_url") if getattr(self, key)]
        if len(given) != 1:
            raise ValueError("exactly one of keys_dir, jwks_file and jwks_url is needed")
        if self.algorithm == "HS256" and given != ["keys_dir"]:
            raise ValueError("HS256 takes its secrets from keys_dir")
        if self.jwks_url:
            parts = urllib.parse.urlsplit(self.jwks_url)
            near = parts.scheme == "http" and parts.hostname in ("127.0.0.1", "::1")
            if not parts.hostname or not (parts.scheme == "https" or near):
                raise ValueError("jwks_url has to be https")
        return self


class Rates(_Strict):
    """How often may be asked, as ``N/minute``: by a subject, by an address, by a subject for what is costly (download,
    test-recovery, restore, backup), and how often an address may be refused before it is not listened to.
    """

    subject: str = "300/minute"
    address: str = "600/minute"
    costly: str = "10/minute"
    refused: str = "60/minute"

    @pydantic.field_validator("*")
    @classmethod
    def _is_rate(cls, value):
        try:
            limits.parse(value)
        except ValueError:
            raise ValueError(f"'{value}' is no rate such as 300/minute") from None
        return value


class Settings(_Strict):
    """``host`` and ``port`` serve where systemd hands no socket over. ``metrics``: ``off``, ``open`` to whoever reaches
    the port, or ``token`` (scope read). ``trusted_proxies`` are addresses whose X-Forwarded-For is believed.
    """

    databases: list[Database] = pydantic.Field(min_length=1)
    tokens: Tokens
    rates: Rates = Rates()
    host: str = "127.0.0.1"
    port: int = pydantic.Field(5000, ge=0, le=65535)
    certificate: Optional[str] = None
    private_key: Optional[str] = None
    trusted_proxies: list[str] = []
    metrics: Literal["off", "open", "token"] = "off"
    largest_body: int = pydantic.Field(65536, ge=1024, le=1048576)
    request_seconds: float = pydantic.Field(10, gt=0, le=300)
    connections: int = pydantic.Field(200, ge=1, le=10000)

    @pydantic.model_validator(mode="after")
    def _fits_together(self):
        if bool(self.certificate) != bool(self.private_key):
            raise ValueError("certificate and private_key belong together")
        names = [database.name for database in self.databases]
        if len(set(names)) != len(names):
            raise ValueError("a name is used twice")
        return self


def load(path):
    """The Settings of a file. Raises SettingsError, naming the file and each key that is wrong."""
    try:
        raw = pathlib.Path(path).read_bytes()
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}. Write it (role api), or name it with --config.") from error
    try:
        return Settings.model_validate(json.loads(raw))
    except pydantic.ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, row['loc'])) or 'as a whole'}: {row['msg']}" for row in error.errors())
        raise SettingsError(f"{path}: {wrong}. Correct it; the service was not started.") from None
    except ValueError as error:
        raise SettingsError(
            f"{path}: it is not valid JSON ({error}). Correct it; the service was not started."
        ) from None
