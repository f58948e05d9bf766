# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Everything else, through the library apprise where the operator has installed it."""

from __future__ import annotations

import importlib
import logging
import sys

from . import event as words
from .event import Outcome

_TYPES = {"start": "info", "success": "success", "failure": "failure", "hold": "warning"}
_TALKERS = ("apprise", "requests", "urllib3")


def deliver(settings, event, _timeout):
    """The Outcome of one notification through all of ``settings["urls"]``.

    No further try: the library does not say why an address failed, and those that took it would be told twice.
    """
    try:
        library = importlib.import_module("apprise")  # By name: the engine itself needs the standard library only.
    except ImportError:
        return Outcome(f"the library apprise is not there: install it for {sys.executable}, or use another channel")
    _silence()
    hub = library.Apprise()
    unknown = [str(number) for number, url in enumerate(settings["urls"], 1) if not hub.add(url)]
    told = False
    if len(unknown) < len(settings["urls"]):
        # Said to be text, because a service that takes HTML would run its lines together.
        message = {"title": words.subject(event), "body": words.body(event), "body_format": "text"}
        told = hub.notify(notify_type=_TYPES[event.kind], **message)
    if unknown:
        return Outcome(f"apprise does not understand these of the 'urls' (counted from 1): {', '.join(unknown)}")
    if not told:
        return Outcome("apprise could not deliver to all of the 'urls': try them one by one with the command 'apprise'")
    return Outcome()


def _silence():
    """What these libraries log has addresses in it, which are secrets; the Outcome says what matters."""
    for name in _TALKERS:
        logger = logging.getLogger(name)
        logger.propagate = False
        if not logger.handlers:
            logger.addHandler(logging.NullHandler())
