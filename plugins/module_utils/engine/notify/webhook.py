# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A JSON document to an address of the operator's, signed where there is a secret."""

from __future__ import annotations

import hashlib
import hmac
import json

from .. import __version__, clock
from . import web


def deliver(settings, event, timeout):
    """The Outcome of one POST. ``settings``: url, secret, token, ca_file."""
    document = {
        "event": event.kind,
        "name": event.name,
        "host": event.host,
        "at": clock.iso(event.at),
        "run_id": event.run_id,
        "message": event.message,
        "details": event.details,
        "version": __version__,
    }
    body = json.dumps(document).encode("ascii")
    headers = {"Content-Type": "application/json"}
    if settings["token"] is not None:
        headers["Authorization"] = f"Bearer {settings['token']}"
    if settings["secret"] is not None:
        headers.update(_signed(settings["secret"], body))
    outcome, _answer = web.post(settings["url"], body, headers, settings["ca_file"], timeout)
    return outcome


def _signed(secret, body):
    """The time is signed, too, so that the receiver can refuse what somebody recorded and sends again."""
    timestamp = str(int(clock.now().timestamp()))
    digest = hmac.new(secret.encode("utf-8"), f"{timestamp}.".encode("ascii") + body, hashlib.sha256).hexdigest()
    return {"X-Digitalme-Timestamp": timestamp, "X-Digitalme-Signature": f"sha256={digest}"}
