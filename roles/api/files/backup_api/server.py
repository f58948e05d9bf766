# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Serving: uvicorn on the sockets that systemd hands over, or on an address of the settings."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import socket

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

_FIRST_HANDED = 3
_BACKLOG = 256
_LAST_SECONDS = 2.0
# How long a stop waits for answers under way. Operations go on without: their processes are not this one's.
_STOP_SECONDS = 60


def protocol(seconds):
    """uvicorn's protocol, with a limit for how long a request's head may take: a slow one holds a connection for ever.

    uvicorn itself limits only the time between two requests. And at a stop it hangs up on whoever was accepted a moment
    before and has not asked yet; here they may ask once, so that a restart behind systemd's socket refuses nobody.
    """

    class Impatient(H11Protocol):
        _waiting = None
        _last = False

        def connection_made(self, transport):
            super().connection_made(transport)
            self._wait(seconds)

        def shutdown(self):
            if self.cycle is not None:
                super().shutdown()
                return
            self._last = True
            self._wait(min(seconds, _LAST_SECONDS))

        def _wait(self, limit):
            self._stop_waiting()
            self._waiting = asyncio.get_running_loop().call_later(limit, self._too_slow)

        def _stop_waiting(self):
            if self._waiting is not None:
                self._waiting.cancel()
                self._waiting = None

        def _is_answering(self):
            # The cycle of an answered request stays until the next head is whole.
            return self.cycle is not None and not self.cycle.response_complete

        def _too_slow(self):
            self._waiting = None
            if not self._is_answering():
                self.transport.close()

        def data_received(self, data):
            super().data_received(data)
            if self._is_answering():
                self._stop_waiting()
                if self._last:
                    self.cycle.keep_alive = False

        def on_response_complete(self):
            super().on_response_complete()
            # What follows is another head, and has its time again.
            if not self.transport.is_closing() and not self._is_answering():
                self._wait(seconds)

        def connection_lost(self, exc):
            self._stop_waiting()
            super().connection_lost(exc)

    return Impatient


def handed_over(environment=None):
    """The listening sockets that systemd has opened for this process."""
    environment = os.environ if environment is None else environment
    if environment.get("LISTEN_PID") != str(os.getpid()):
        return []
    count = int(environment.get("LISTEN_FDS", "0"))
    return [socket.socket(fileno=number) for number in range(_FIRST_HANDED, _FIRST_HANDED + count)]


def serve(application, settings):
    """Serve until SIGTERM or SIGINT; whether it could."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    config = uvicorn.Config(
        application,
        host=settings.host,
        port=settings.port,
        http=protocol(settings.request_seconds),
        ws="none",
        loop="asyncio",
        access_log=False,
        log_level="warning",
        server_header=False,
        date_header=True,
        backlog=_BACKLOG,
        limit_concurrency=settings.connections,
        timeout_keep_alive=int(max(1, settings.request_seconds)),
        timeout_graceful_shutdown=_STOP_SECONDS,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=settings.trusted_proxies or None,
        ssl_certfile=settings.certificate,
        ssl_keyfile=settings.private_key,
        h11_max_incomplete_event_size=16 * 1024,
    )
    server = uvicorn.Server(config)
    # What is loaded stays: without this each full collection walks through all of it, for tens of milliseconds.
    gc.collect()
    gc.freeze()
    sockets = handed_over() or None
    asyncio.run(server.serve(sockets=sockets))
    return server.started
