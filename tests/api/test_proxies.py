# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The examples of reverse proxies, run as they stand but for names, ports and paths."""

from __future__ import annotations

import contextlib
import http.client
import json
import pathlib
import socket
import ssl
import subprocess

import pytest
from served import PATIENCE, wait_for

EXAMPLES = pathlib.Path(__file__).resolve().parent.parent.parent / "docs" / "api"
# Loopback as well, and told apart from the proxy's own.
CLIENT = "127.0.0.5"


def _replaced(file, words):
    """The example with other words; each has to stand in it."""
    text = (EXAMPLES / file).read_text()
    for old, new in words.items():
        assert old in text, old
        text = text.replace(old, new)
    return text


def _nginx(place, port, service):
    words = {
        "listen 443 ssl;": f"listen 127.0.0.1:{port} ssl;",
        "/etc/ssl/backup.example.org/fullchain.pem": f"{place}/cert.pem",
        "/etc/ssl/backup.example.org/key.pem": f"{place}/key.pem",
        "127.0.0.1:5000": f"127.0.0.1:{service}",
    }
    temporary = "".join(
        f"{kind}_temp_path {place}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (place / "nginx.conf").write_text(
        f"pid {place}/pid;\nerror_log {place}/error.log;\nevents {{}}\nhttp {{\naccess_log off;\n{temporary}"
        f"{_replaced('nginx.conf', words)}}}\n"
    )
    return ["nginx", "-p", str(place), "-c", str(place / "nginx.conf"), "-g", "daemon off;"]


def _caddy(place, port, service):
    words = {
        "backup.example.org {": f"https://127.0.0.1:{port} {{\n\ttls {place}/cert.pem {place}/key.pem",
        "127.0.0.1:5000": f"127.0.0.1:{service}",
    }
    beginning = "{\n\tadmin off\n\tauto_https off\n}\n"
    (place / "Caddyfile").write_text(beginning + _replaced("Caddyfile", words))
    return ["caddy", "run", "--config", str(place / "Caddyfile"), "--adapter", "caddyfile"]


@contextlib.contextmanager
def proxied(words, place, port):
    """The proxy runs while the block does; yields what asks it: (method, path, token) -> (status, headers, body)."""
    context = ssl.create_default_context(cafile=place / "cert.pem")
    with open(place / "said", "wb") as said:
        process = subprocess.Popen(
            words, stdout=said, stderr=said, env={"HOME": str(place), "PATH": "/usr/sbin:/usr/bin"}
        )

    def ask(method, path, token=None, **headers):
        given = {"Authorization": f"Bearer {token}"} if token else {}
        connection = http.client.HTTPSConnection(
            "127.0.0.1", port, timeout=PATIENCE, context=context, source_address=(CLIENT, 0)
        )
        with contextlib.closing(connection):
            connection.request(method, path, headers={**given, **headers})
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()

    def there():
        with contextlib.suppress(OSError):
            return ask("GET", "/health")[0] == 200

    try:
        wait_for(there)
        yield ask
    finally:
        process.terminate()
        process.wait(PATIENCE)


def _free_port():
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


@pytest.mark.parametrize("make", [_nginx, _caddy], ids=["nginx", "caddy"])
def test_example_of_a_proxy_works_and_tells_whom_it_serves(serve, tmp_path, make):
    served = serve(trusted_proxies=["127.0.0.1"])
    words = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=x"]
    words += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "key.pem", "-out", "cert.pem"]
    subprocess.run(words, cwd=tmp_path, check=True, capture_output=True)
    port = _free_port()
    with proxied(make(tmp_path, port, served.port), tmp_path, port) as ask:
        status, _headers, body = ask("POST", "/api/backup", served.token())
        assert status == 201, body
        made = json.loads(body)["fileName"]
        # What the client says of itself is not believed.
        status, headers, _body = ask(
            "GET", "/api/backup/nothing.db", served.token(), **{"X-Forwarded-For": "192.0.2.9"}
        )
        assert status == 404
        (line,) = served.audited(next(value for key, value in headers.items() if key.lower() == "x-request-id"))
        assert line["by"]["address"] == CLIENT
        status, headers, body = ask("GET", f"/api/backup/download/{made}", served.token(), Range="bytes=0-15")
        assert (status, body) == (206, b"SQLite format 3\0")
        assert ask("POST", "/api/backup/restore/latest?confirmRestore=true", served.token())[0] == 200


def test_forwarded_address_of_a_stranger_is_not_believed(serve):
    served = serve()
    answer = served.ask("GET", "/api/backup", token="x.y.z", headers=[("X-Forwarded-For", "192.0.2.9")])
    (line,) = served.audited(answer.json["instance"])
    assert line["by"]["address"] == "127.0.0.1"
