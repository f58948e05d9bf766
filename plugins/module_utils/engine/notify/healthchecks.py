# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Pings as healthchecks.io takes them: a run that does not even start is missed there."""

from __future__ import annotations

import urllib.parse

from . import event as words
from . import web
from .event import Outcome

_ENDINGS = {"start": "/start", "success": "", "failure": "/fail", "hold": "/log"}


def deliver(settings, event, timeout):
    """The Outcome of one ping. ``settings``: url, ca_file."""
    body = words.body(event).encode("utf-8")
    headers = {"Content-Type": "text/plain; charset=utf-8"}
    url = _address(settings["url"], event)
    outcome, answer = web.post(url, body, headers, settings["ca_file"], timeout, want_answer=True)
    return _judge(outcome, answer)


def _address(url, event):
    parts = urllib.parse.urlsplit(url)
    query = "&".join(part for part in (parts.query, urllib.parse.urlencode({"rid": event.run_id})) if part)
    path = parts.path.rstrip("/") + _ENDINGS[event.kind]
    return urllib.parse.urlunsplit((parts.scheme, parts.netloc, path, query, ""))


def _judge(outcome, answer):
    """A ping of an unknown check, and one too many, are answered 200 as well: only the text tells."""
    if outcome.error is None and b"(not found)" in answer:
        return Outcome("the service has no check with this address: copy it again from the check's page")
    if outcome.error is None and b"(rate limited)" in answer:
        return Outcome("the service takes no more pings of this check for now", again=True)
    return outcome
