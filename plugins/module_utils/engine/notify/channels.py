# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which channels there are: reads and checks ``notifications.json``."""

from __future__ import annotations

import json
from typing import NamedTuple

from .. import errors
from . import checks, secret
from .event import WORDS

_HINT = "Correct it there; docs/NOTIFICATIONS.md has every key and examples."
_TROUBLE = ("failure", "hold")
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


class Kind(NamedTuple):
    """A type of channel: ``events`` it wants by default, ``secrets`` and ``plain`` keys with their checks."""

    events: tuple
    required: tuple
    secrets: dict
    plain: dict


KINDS = {
    "healthchecks": Kind(tuple(WORDS), ("url",), {"url": checks.url}, {"ca_file": checks.absolute}),
    "webhook": Kind(
        tuple(WORDS),
        ("url",),
        {"url": checks.url, "secret": checks.line, "token": checks.token},
        {"ca_file": checks.absolute},
    ),
    "mail": Kind(
        _TROUBLE,
        ("host", "from", "to"),
        {"password": checks.ascii_line},
        {
            "host": checks.token,
            "port": checks.port,
            "tls": checks.tls,
            "user": checks.ascii_line,
            "from": checks.address,
            "to": checks.addresses,
            "ca_file": checks.absolute,
        },
    ),
    "apprise": Kind(_TROUBLE, ("urls",), {"urls": checks.urls}, {}),
}
_COMMON = {"name": checks.line, "events": checks.names, "databases": checks.names}


class Channel(NamedTuple):
    """One way to tell somebody. ``databases`` None is for all; ``settings`` and ``secrets`` have every key of the kind,
    None where it is not given.
    """

    name: str
    type: str
    events: tuple
    databases: tuple | None
    settings: dict
    secrets: dict

    def wants(self, event):
        """An event of the whole run is for every channel: whichever databases it is for, theirs may not have run."""
        about = self.databases is None or event.name is None or event.name in self.databases
        return about and event.kind in self.events

    def opened(self, environment):
        """(all settings with the secrets in them, warnings). Raises ConfigError for a secret that cannot be read."""
        settings, warnings = dict(self.settings), []
        for key, held in self.secrets.items():
            settings[key], said = held.open(environment) if held else (None, [])
            warnings += said
        return settings, warnings


def load(path):
    """The channels of a file as a tuple; none where there is no file. Only reads it: no secret, no network.

    Raises ConfigError that names the file, the channel and the key.
    """
    try:
        raw, exposed = secret.read_file(path)
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise errors.ConfigError(f"it cannot be read ({error.strerror})", path=path, hint=_HINT) from error
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise errors.ConfigError(f"it is not valid JSON ({error})", path=path, hint=_HINT) from None
    warning = secret.exposed_warning(path) if exposed else None
    try:
        return _channels(document, warning)
    except ValueError as error:
        raise errors.ConfigError(str(error), path=path, hint=_HINT) from None


def _channels(document, warning):
    if not isinstance(document, dict) or not isinstance(document.get("channels"), list):
        raise ValueError("it is not an object with a list 'channels'")
    _refuse_unknown(document, ("channels",), "it")
    found = tuple(_channel(entry, number, warning) for number, entry in enumerate(document["channels"], 1))
    labels = [channel.name for channel in found]
    for label in labels:
        if labels.count(label) > 1:
            raise ValueError(f"the name '{label}' is used twice")
    return found


def _channel(entry, number, warning):
    if not isinstance(entry, dict) or entry.get("type") not in tuple(KINDS):
        raise ValueError(f"channel {number}: 'type' is none of " + ", ".join(KINDS))
    kind, where = KINDS[entry["type"]], f"channel {number} ({entry['type']})"
    known = ["type", *_COMMON, *kind.plain]
    for key in kind.secrets:
        known += [key, f"{key}_file"]
    _refuse_unknown(entry, known, where)
    common = {key: _checked(entry, key, check, where) for key, check in _COMMON.items()}
    unknown = sorted(set(common["events"] or ()) - set(WORDS))
    if unknown:
        raise ValueError(f"{where}: 'events' has '{errors.show(unknown[0])}', which is none of " + ", ".join(WORDS))
    settings = {key: _checked(entry, key, check, where) for key, check in kind.plain.items()}
    secrets = {key: _secret(entry, key, parse, where, warning) for key, parse in kind.secrets.items()}
    for key in kind.required:
        if settings.get(key) is None and secrets.get(key) is None:
            also = f" or '{key}_file'" if key in secrets else ""
            raise ValueError(f"{where}: there is no '{key}'{also}")
    if entry["type"] == "mail":
        _check_login(settings, secrets, where)
    label = common["name"] or f"{entry['type']}-{number}"
    events = common["events"] or kind.events
    return Channel(label, entry["type"], events, common["databases"], settings, secrets)


def _refuse_unknown(entry, known, where):
    for key in entry:
        if key not in known:
            raise ValueError(f"{where} has the unknown key '{errors.show(key)}' (known: {', '.join(known)})")


def _checked(entry, key, check, where):
    if key not in entry:
        return None
    try:
        return check(entry[key])
    except ValueError as error:
        raise ValueError(f"{where}: '{key}' {error}") from None


def _secret(entry, key, parse, where, warning):
    """The Secret of a key, or None. A value that stands in the file is checked now, a file's when something is sent."""
    if key in entry and f"{key}_file" in entry:
        raise ValueError(f"{where}: give either '{key}' or '{key}_file'")
    if f"{key}_file" in entry:
        _checked(entry, f"{key}_file", secret.check_place, where)
        return secret.Secret(key, parse, file=entry[f"{key}_file"])
    value = _checked(entry, key, parse, where)
    return None if value is None else secret.Secret(key, parse, value=value, warning=warning)


def _check_login(settings, secrets, where):
    if (settings["user"] is None) != (secrets["password"] is None):
        raise ValueError(f"{where}: 'user' and 'password' (or 'password_file') belong together")
    if secrets["password"] is not None and settings["tls"] == "none" and settings["host"] not in _LOOPBACK:
        raise ValueError(f"{where}: 'tls' is 'none', so the password would cross the network for everyone to read")
