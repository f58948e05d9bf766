# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Is a value of the configuration what its key means? Each check returns the value to use or raises ValueError.

The cause is a part of a sentence after the key's name and never quotes the value, which may be a secret.
"""

from __future__ import annotations

import os
import re

_ADDRESS = re.compile(r"(?:[^<>]*<[^\s<>,;]+>|[^\s<>,;]+)")
_TLS = ("none", "starttls", "tls")


def text(value):
    if not isinstance(value, str) or not value:
        raise ValueError("is no text, or empty")
    return value


def line(value):
    if not text(value).isprintable():
        raise ValueError("has control characters")
    return value


def ascii_line(value):
    if not line(value).isascii():
        raise ValueError("has characters that are not ASCII")
    return value


def token(value):
    """What may stand in a header or an address: a space or a newline would end it."""
    if " " in ascii_line(value):
        raise ValueError("has a space")
    return value


def url(value):
    import urllib.parse

    token(value)
    try:
        parts = urllib.parse.urlsplit(value)
        host, _port = parts.hostname, parts.port
    except ValueError:  # Its own text quotes the address.
        raise ValueError("is no valid URL") from None
    if parts.scheme not in ("http", "https"):
        raise ValueError("does not begin with http:// or https://")
    if not host:
        raise ValueError("names no host")
    if "@" in parts.netloc:
        raise ValueError("has a user or a password in it, which is not supported")
    return value


def urls(value):
    """Addresses of apprise: a list, or text with one in each line. Only apprise knows which are valid."""
    if isinstance(value, str):
        value = [entry.strip() for entry in value.splitlines() if entry.strip()]
    if not isinstance(value, list) or not value:
        raise ValueError("is no list of URLs, or empty")
    return tuple(line(entry) for entry in value)


def port(value):
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 65536:
        raise ValueError("is no whole number from 1 to 65535")
    return value


def tls(value):
    if value not in _TLS:
        raise ValueError("is none of " + ", ".join(_TLS))
    return value


def address(value):
    if not _ADDRESS.fullmatch(line(value)):
        raise ValueError("is no mail address")
    return value


def addresses(value):
    if not isinstance(value, list) or not value:
        raise ValueError("is no list of mail addresses, or empty")
    return tuple(address(entry) for entry in value)


def absolute(value):
    if not os.path.isabs(line(value)):
        raise ValueError("is no absolute path")
    return value


def names(value):
    if not isinstance(value, list) or not value:
        raise ValueError("is no list of names, or empty")
    return tuple(text(entry) for entry in value)
