# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Secrets: where they come from, and that they go nowhere but to the peer."""

from __future__ import annotations

import json
import logging
import os

import pytest
from engine import errors, notify
from engine.notify import secret
from peers import PATIENT

SECRET = "hunter2-f00d"


@pytest.fixture
def hold(tmp_path):
    """hold(content, name) -> path of a secret file, 0600"""

    def make(content, name="held", mode=0o600):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        path.chmod(mode)
        return str(path)

    return make


@pytest.mark.parametrize("ending", ["", "\n", "\r\n", "\n\n"])
def test_secret_of_a_file_is_used_without_its_newline(tell, web, hold, ending):
    peer = web()
    channel = {"type": "webhook", "url_file": hold(f"http://127.0.0.1:{peer.port}/x" + ending)}
    assert tell({**channel, "token_file": hold(SECRET + ending, "token")})["status"] == "sent"
    assert peer.requests[0][0] == "/x" and peer.requests[0][1]["Authorization"] == f"Bearer {SECRET}"


def test_bare_name_is_a_credential_of_the_service_manager(tell, web, tmp_path, hold):
    peer = web()
    hold(f"http://127.0.0.1:{peer.port}/x\n", "ping-url")
    channel = {"type": "healthchecks", "url_file": "ping-url"}
    assert tell(channel, environment={"CREDENTIALS_DIRECTORY": str(tmp_path)})["status"] == "sent"
    assert tell(channel, environment={})["error"].startswith(
        "'url_file' names the credential 'ping-url', and there is no CREDENTIALS_DIRECTORY. "
    )
    assert len(peer.requests) == 1


def test_environment_is_the_process_own_where_none_is_given(load, web, tmp_path, hold, event, monkeypatch):
    peer = web()
    hold(f"http://127.0.0.1:{peer.port}/x", "ping-url")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    channels = load({"type": "healthchecks", "url_file": "ping-url"})
    assert notify.send(channels, event(), patience=PATIENT)[0]["status"] == "sent"


def test_secret_is_read_each_time(load, web, event, hold):
    first, second = web(), web()
    path = hold(f"http://127.0.0.1:{first.port}/x")
    channels = load({"type": "webhook", "url_file": path})
    notify.send(channels, event(), {}, PATIENT)
    hold(f"http://127.0.0.1:{second.port}/x")
    notify.send(channels, event(), {}, PATIENT)
    assert (len(first.requests), len(second.requests)) == (1, 1)


@pytest.mark.parametrize(
    "content, cause",
    [
        (None, "cannot be read (No such file or directory)"),
        (b"", "what 'token_file' holds is no text, or empty"),
        (b"\n", "what 'token_file' holds is no text, or empty"),
        (b"hunter2-f00d\nhunter2-f00d", "what 'token_file' holds has control characters"),
        (b"hunter2-f00d\xff", "'token_file' is not UTF-8"),
        (b"hunter2-f00d" * 6000, "larger than 65536 bytes"),
    ],
    ids=["missing", "empty", "newline", "two lines", "no text", "too large"],
)
def test_secret_that_cannot_be_read_is_a_failed_delivery_that_names_the_file(tell, web, tmp_path, hold, content, cause):
    path = str(tmp_path / "held") if content is None else hold(content)
    peer = web()
    result = tell({"type": "webhook", "url": f"http://127.0.0.1:{peer.port}/", "token_file": path})
    assert result["status"] == "failed" and path in result["error"] and cause in result["error"]
    assert SECRET not in json.dumps(result) and peer.requests == []


def test_address_of_a_file_is_checked_as_one_of_the_configuration(tell, hold):
    result = tell({"type": "webhook", "url_file": hold(f"ftp://host/{SECRET}")})
    assert "what 'url_file' holds does not begin with http:// or https://" in result["error"]
    assert SECRET not in result["error"]


def test_secret_without_permission_is_named(open_place, as_nobody, event):
    path = open_place / "held"
    path.write_text(SECRET, encoding="ascii")
    path.chmod(0o600)
    config = open_place / "notifications.json"
    channel = {"type": "webhook", "url": "http://127.0.0.1:1/", "secret_file": str(path)}
    config.write_text(json.dumps({"channels": [channel]}), encoding="ascii")
    result = as_nobody(lambda: notify.send(notify.load(str(config)), event(), {}, PATIENT))[0]
    assert (
        result["status"] == "failed" and f"{path}: 'secret_file' cannot be read (Permission denied)" in result["error"]
    )


@pytest.mark.parametrize("mode, warned", [(0o600, False), (0o640, False), (0o644, True)])
def test_secret_that_everybody_can_read_is_told(tell, write, web, hold, event, mode, warned):
    address = f"http://127.0.0.1:{web().port}/"
    path = hold(address, mode=mode)
    warnings = tell({"type": "webhook", "url_file": path})["warnings"]
    assert warnings == ([f"{path} holds a secret and is readable by every user: chmod o-r"] if warned else [])
    path = write({"channels": [{"type": "webhook", "url": address}]}, mode)
    warnings = notify.send(notify.load(path), event(), {}, PATIENT)[0]["warnings"]
    assert warnings == ([f"{path} holds a secret and is readable by every user: chmod o-r"] if warned else [])


def test_public_file_without_a_secret_in_it_is_fine(write, web, hold, event):
    path = hold(f"http://127.0.0.1:{web().port}/")
    path = write({"channels": [{"type": "webhook", "url_file": path}]}, 0o644)
    assert notify.send(notify.load(path), event(), {}, PATIENT)[0]["warnings"] == []


# --- they show nowhere -----------------------------------------------------------------------------------------------


def _everywhere(port, ca_file):
    url = f"http://127.0.0.1:{port}/{SECRET}?key={SECRET}"
    mail = {"type": "mail", "host": "127.0.0.1", "port": port, "from": "a@x", "to": ["b@x"], "user": "u"}
    return [
        {"type": "healthchecks", "url": url},
        {"type": "webhook", "url": url, "secret": SECRET, "token": SECRET},
        {"type": "webhook", "url": url.replace("http", "https"), "token": SECRET},
        {"type": "webhook", "url": url.replace("http", "https"), "ca_file": ca_file},
        {**mail, "tls": "none", "password": SECRET},
        {**mail, "tls": "starttls", "password": SECRET},
        {**mail, "tls": "tls", "password": SECRET},
        {"type": "apprise", "urls": [f"json://127.0.0.1:{port}/{SECRET}"]},
    ]


def _echo(text):
    """A web server's every way to say again what it was told."""
    return (404, text.encode(), {"Location": f"/{text}", "X-Said": text})


def _meets(channel, world):
    """A mail server and a caller who speaks HTTP wait for each other, and so the other way round."""
    return world == "refused" or (channel["type"] == "mail") == world.startswith("mail")


WORLDS = ["refused", "web", "web 500", "redirect", "close", "garbage", "mail", "mail login", "mail echo"]


@pytest.mark.parametrize("world", WORLDS)
def test_secrets_show_in_no_result_whatever_goes_wrong(
    load, web, mail, event, free_port, hold, world, caplog, capfd, unknowing_apprise
):
    caplog.set_level(logging.DEBUG)
    port = {
        "refused": lambda: free_port,
        "web": lambda: web(_echo(SECRET)).port,
        "web 500": lambda: web((500, SECRET.encode())).port,
        "redirect": lambda: web((302, b"", {"Location": f"gopher://{SECRET}/"})).port,
        "close": lambda: web("close").port,
        "garbage": lambda: web("garbage").port,
        "mail": lambda: mail().port,
        "mail login": lambda: mail(AUTH=f"535 {SECRET}").port,
        "mail echo": lambda: mail(AUTH=f"454 {SECRET}").port,
    }[world]()
    channels = load(*(channel for channel in _everywhere(port, hold(SECRET, "ca.pem")) if _meets(channel, world)))
    results = notify.send(channels, event(), {}, PATIENT)
    assert len(results) == len(channels) and {"failed"} <= {result["status"] for result in results}
    output = capfd.readouterr()
    shown = json.dumps(results) + repr(channels) + str(channels) + caplog.text + output.out + output.err
    assert SECRET not in shown


@pytest.fixture
def unknowing_apprise(tmp_path, monkeypatch):
    """A library that takes no address and complains of it, address and all."""
    (tmp_path / "apprise.py").write_text(
        "import logging\n"
        "class Apprise:\n"
        "    def add(self, url):\n"
        "        logging.getLogger('apprise').error('Unparseable %s', url)\n"
        "        logging.getLogger('urllib3.connectionpool').warning('Retrying %s', url)\n"
        "        return False\n",
        encoding="ascii",
    )
    monkeypatch.syspath_prepend(str(tmp_path))


@pytest.mark.parametrize(
    "wrong",
    [
        {"type": "webhook", "url": f"ftp://{SECRET}/"},
        {"type": "webhook", "url": f"https://u:{SECRET}@host/"},
        {"type": "webhook", "url": f"https://host:{SECRET}/"},
        {"type": "webhook", "url": f"https://[{SECRET}/"},
        {"type": "webhook", "url": f"https://host/{SECRET} "},
        {"type": "webhook", "url": "https://host/", "token": f"{SECRET}\n"},
        {"type": "webhook", "url": "https://host/", "secret": [SECRET]},
        {"type": "webhook", "url": "https://host/", "secret": SECRET, "secret_file": "x"},
        {"type": "apprise", "urls": {SECRET: SECRET}},
        {"type": "mail", "host": "h", "from": "a@x", "to": ["b@x"], "user": "u", "tls": "none", "password": SECRET},
    ],
)
def test_secrets_show_in_no_refusal_of_the_configuration(load, wrong):
    with pytest.raises(errors.ConfigError) as caught:
        load(wrong)
    assert SECRET not in json.dumps(caught.value.as_result())


def test_secret_itself_neither_prints_nor_serialises():
    held = secret.Secret("token", str, value=SECRET)
    assert SECRET not in f"{held} {held!r}"
    with pytest.raises(TypeError):
        json.dumps(held)
    assert held.open(os.environ) == (SECRET, [])
