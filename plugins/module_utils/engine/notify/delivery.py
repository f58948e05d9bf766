# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Sends an event through the channels that want it, one after the other, each within a bounded time.

A channel is tried at most three times, each try ends after 10 s, with 1 s and 2 s between: at most 33 s for a channel.
"""

from __future__ import annotations

import os
import threading
from typing import NamedTuple

from .. import clock, errors
from .event import Outcome


class Patience(NamedTuple):
    """Seconds for one try, and seconds to wait before each further one."""

    timeout: float = 10
    waits: tuple = (1, 2)


PATIENCE = Patience()


def send(channels, event, environment=None, patience=None):
    """Tell the event to the channels that want it. What became of each, in their order:

    ``{"channel", "type", "status": "sent" | "failed", "seconds", "error": None or text, "warnings": [text]}``.
    Never raises for a channel that fails: one that cannot be reached, a secret that cannot be read, a library's own
    error. ``environment`` (default: the process's own) says where the service manager's credentials are; proxies are
    always taken from the process's own.
    """
    environment = os.environ if environment is None else environment
    patience = patience or PATIENCE
    return [_deliver(channel, event, environment, patience) for channel in channels if channel.wants(event)]


def _deliver(channel, event, environment, patience):
    begun = clock.monotonic()
    warnings: list = []
    try:
        settings, warnings = channel.opened(environment)
    except errors.ConfigError as error:
        outcome = Outcome(error.message)
    else:
        deliver = _room(channel.type).deliver
        # A single wait ends a little earlier than the whole try, because it can say whom it waited for.
        outcome = _try(lambda: deliver(settings, event, patience.timeout * 0.9), patience)
    return {
        "channel": channel.name,
        "type": channel.type,
        "status": "sent" if outcome.error is None else "failed",
        "seconds": round(clock.monotonic() - begun, 3),
        "error": outcome.error,
        "warnings": [*warnings, *outcome.warnings],
    }


def _room(kind):
    """Imported here, because the network's modules take longer to import than a small backup takes."""
    if kind == "mail":
        from . import mail

        return mail
    if kind == "webhook":
        from . import webhook

        return webhook
    if kind == "healthchecks":
        from . import healthchecks

        return healthchecks
    from . import apprise_library

    return apprise_library


def _try(attempt, patience):
    """The Outcome of the last try."""
    outcome = _within(patience.timeout, attempt)
    for wait in patience.waits:
        if not outcome.again:
            return outcome
        clock.sleep(wait)
        outcome = _within(patience.timeout, attempt)
    if not outcome.again:
        return outcome
    return outcome._replace(error=f"{outcome.error} (tried {len(patience.waits) + 1} times)")


def _within(seconds, attempt):
    """The Outcome of ``attempt()``, or that it took too long.

    A socket's timeout bounds one wait, neither a name's resolution nor a peer that sends a byte now and then. So the
    try runs in a thread; one that has not ended in time is left behind and does not keep the process from ending.
    """
    came: list = []

    def run():
        try:
            came.append(attempt())
        except BaseException as error:  # A library of the operator's raises what it likes; the backup goes on.
            failed = error
            came.append(Outcome(_cause(failed)))

    thread = threading.Thread(target=run, name="notify", daemon=True)
    try:
        thread.start()
    except RuntimeError:  # The system gives the process no more threads.
        return Outcome("it was not tried, because the process may have no more threads", again=True)
    thread.join(seconds)
    return came[0] if came else Outcome(f"it was not done within {seconds:g} s", again=True)


def _cause(error):
    """What may be said of an error: its own text may quote a secret, unless it is the engine's."""
    if isinstance(error, errors.BackupError):
        return error.message
    import traceback

    frames = traceback.extract_tb(error.__traceback__)
    place = f" in {os.path.basename(frames[-1].filename)} line {frames[-1].lineno}" if frames else ""
    return f"unexpected {type(error).__name__}{place}"
