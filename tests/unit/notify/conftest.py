# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Makes `peers` importable; events, channels and certificates for the tests of the notifications."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import pathlib
import ssl
import subprocess
import sys
import threading

import pytest
from engine import clock, notify

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import peers


@pytest.fixture(autouse=True)
def _nothing_left():
    """A test ends when its threads have ended; loggers that the channels silence and the library are as before."""
    found = [logging.getLogger(name) for name in ("apprise", "requests", "urllib3")]
    before = [(logger.propagate, list(logger.handlers)) for logger in found]
    running = threading.enumerate()
    yield
    for thread in threading.enumerate():
        if thread not in running:
            thread.join(60)
            assert not thread.is_alive(), thread
    for logger, (propagate, handlers) in zip(found, before):
        logger.propagate, logger.handlers[:] = propagate, handlers
    sys.modules.pop("apprise", None)


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


@pytest.fixture
def event():
    """event(kind, **changes) -> Event"""

    def make(kind="failure", **changes):
        whole = notify.Event(
            kind,
            "app",
            "shop-17",
            clock.parse("2026-11-22T02:00:00Z"),
            "3f0b4c52-7a44-4d7e-9d0c-0c7f6b2c1d11",
            "the disk is full",
            {"error_code": "no_space", "free_bytes": 12},
        )
        return whole._replace(**changes)

    return make


@pytest.fixture
def write(tmp_path):
    """write(document) -> path of a notifications.json; bytes are written as they are."""

    def put(document, mode=0o600):
        path = tmp_path / "notifications.json"
        path.write_bytes(document if isinstance(document, bytes) else json.dumps(document).encode())
        path.chmod(mode)
        return str(path)

    return put


@pytest.fixture
def load(write):
    """load(channel, ...) -> what notify.load makes of these channels"""
    return lambda *channels: notify.load(write({"channels": channels}))


@pytest.fixture
def tell(load, event):
    """tell(channel, kind, ...) -> the one result of telling an event through one channel"""

    def run(channel, kind="failure", patience=peers.PATIENT, environment=None, **changes):
        channel = {"events": ["start", "success", "failure", "hold"], **channel}
        results = notify.send(load(channel), event(kind, **changes), environment or {}, patience)
        assert len(results) == 1
        return results[0]

    return run


@pytest.fixture
def web():
    """web(*answers, context) -> a running web peer"""
    with contextlib.ExitStack() as stack:
        yield lambda *answers, **options: stack.enter_context(peers.web_peer(*answers, **options))


@pytest.fixture
def mail():
    """mail(context, wrap, **replies) -> a running mail peer"""
    with contextlib.ExitStack() as stack:
        yield lambda *arguments, **replies: stack.enter_context(peers.mail_peer(*arguments, **replies))


@pytest.fixture(scope="session")
def certificates(tmp_path_factory):
    """{"127.0.0.1": ..., "elsewhere.example": ...}: (server's TLS context, file to trust) of certificates made now."""
    place, made = tmp_path_factory.mktemp("certificates"), {}
    for host, kind in (("127.0.0.1", "IP"), ("elsewhere.example", "DNS")):
        key, certificate = str(place / f"{host}.key"), str(place / f"{host}.pem")
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        command += ["-keyout", key, "-out", certificate, "-days", "2", "-subj", f"/CN={host}"]
        command += ["-addext", f"subjectAltName={kind}:{host}", "-addext", "keyUsage=digitalSignature,keyCertSign"]
        subprocess.run(command, check=True, capture_output=True)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        made[host] = (context, certificate)
    return made


@pytest.fixture
def free_port():
    """A port where nobody listens."""
    import socket

    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return held.getsockname()[1]
