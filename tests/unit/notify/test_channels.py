# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What notifications.json may say, and what is refused with which words."""

from __future__ import annotations

import os

import pytest
from engine import errors, notify

WEBHOOK = {"type": "webhook", "url": "https://hooks.example/x"}
MAIL = {"type": "mail", "host": "mail.example", "from": "backup@example.org", "to": ["ops@example.org"]}


def test_missing_file_is_no_channel(tmp_path):
    assert notify.load(str(tmp_path / "notifications.json")) == ()


def test_channels_have_the_defaults_of_their_kind(load):
    found = load(
        {"type": "healthchecks", "url": "http://ping.example/1"},
        WEBHOOK,
        MAIL,
        {"type": "apprise", "urls": ["json://x"]},
    )
    assert [channel.type for channel in found] == ["healthchecks", "webhook", "mail", "apprise"]
    assert [channel.name for channel in found] == ["healthchecks-1", "webhook-2", "mail-3", "apprise-4"]
    every = ("start", "success", "failure", "hold")
    assert [channel.events for channel in found] == [every, every, ("failure", "hold"), ("failure", "hold")]
    assert {channel.databases for channel in found} == {None}


@pytest.mark.parametrize(
    "document, cause",
    [
        (b"{", "not valid JSON"),
        (b"\xff\xfe\x00", "not valid JSON"),
        pytest.param(b"[" * 60_000, "not valid JSON", id="nested too deep"),
        ([], "'channels'"),
        ({}, "'channels'"),
        ({"channels": {}}, "'channels'"),
        ({"channels": [], "chanels": []}, "unknown key 'chanels'"),
        ({"channels": ["webhook"]}, "channel 1: 'type' is none of healthchecks, webhook, mail, apprise"),
        ({"channels": [WEBHOOK, {"type": "pigeon"}]}, "channel 2: 'type'"),
        ({"channels": [{"type": ["webhook"]}]}, "channel 1: 'type'"),
        ({"channels": [{**WEBHOOK, "name": "a"}, {**WEBHOOK, "name": "a"}]}, "the name 'a' is used twice"),
    ],
)
def test_document_that_is_none_is_refused(write, document, cause):
    path = write(document)
    with pytest.raises(errors.ConfigError) as caught:
        notify.load(path)
    assert cause in str(caught.value) and path in str(caught.value)
    assert "docs/NOTIFICATIONS.md" in str(caught.value)


@pytest.mark.parametrize(
    "base, changes, cause",
    [
        (WEBHOOK, {"uri": "x"}, "channel 1 (webhook) has the unknown key 'uri'"),
        (WEBHOOK, {"password": "x"}, "unknown key 'password'"),
        (WEBHOOK, {"url": None}, "'url' is no text"),
        (WEBHOOK, {"url": ""}, "'url' is no text, or empty"),
        (WEBHOOK, {"url": "ftp://host/x"}, "'url' does not begin with http:// or https://"),
        (WEBHOOK, {"url": "file:///etc/passwd"}, "'url' does not begin"),
        (WEBHOOK, {"url": "hooks.example/x"}, "'url' does not begin"),
        (WEBHOOK, {"url": "https:///x"}, "'url' names no host"),
        (WEBHOOK, {"url": "https://host:port/x"}, "'url' is no valid URL"),
        (WEBHOOK, {"url": "https://[::1/x"}, "'url' is no valid URL"),
        (WEBHOOK, {"url": "https://user:pw@host/x"}, "'url' has a user or a password"),
        (WEBHOOK, {"url": "https://host/a b"}, "'url' has a space"),
        (WEBHOOK, {"url": "https://host/\r\nX: y"}, "'url' has control characters"),
        (WEBHOOK, {"url": "https://host/\u00e4"}, "'url' has characters that are not ASCII"),
        (WEBHOOK, {"token": "a\nb"}, "'token' has control characters"),
        (WEBHOOK, {"token": 5}, "'token' is no text"),
        (WEBHOOK, {"url_file": "/x"}, "either 'url' or 'url_file'"),
        (WEBHOOK, {"token_file": "dir/x"}, "'token_file' is neither"),
        (WEBHOOK, {"token_file": ".."}, "'token_file' is neither"),
        (WEBHOOK, {"token_file": ""}, "'token_file' is no file name"),
        (WEBHOOK, {"token_file": "/x\0y"}, "'token_file' is no file name"),
        (WEBHOOK, {"ca_file": "ca.pem"}, "'ca_file' is no absolute path"),
        (WEBHOOK, {"events": []}, "'events' is no list"),
        (WEBHOOK, {"events": "failure"}, "'events' is no list"),
        (WEBHOOK, {"events": ["fail"]}, "'events' has 'fail', which is none of start, success, failure, hold"),
        (WEBHOOK, {"databases": []}, "'databases' is no list"),
        (WEBHOOK, {"databases": [1]}, "'databases' is no text"),
        (WEBHOOK, {"name": "a\nb"}, "'name' has control characters"),
        ({"type": "webhook"}, {}, "there is no 'url' or 'url_file'"),
        ({"type": "apprise"}, {}, "there is no 'urls' or 'urls_file'"),
        ({"type": "apprise"}, {"urls": []}, "'urls' is no list"),
        ({"type": "apprise"}, {"urls": [5]}, "'urls' is no text"),
        ({"type": "mail"}, {}, "there is no 'host'"),
        (MAIL, {"port": "25"}, "'port' is no whole number"),
        (MAIL, {"port": True}, "'port' is no whole number"),
        (MAIL, {"port": 65536}, "'port' is no whole number"),
        (MAIL, {"port": 0}, "'port' is no whole number"),
        (MAIL, {"tls": "yes"}, "'tls' is none of none, starttls, tls"),
        (MAIL, {"to": []}, "'to' is no list"),
        (MAIL, {"to": "ops@example.org"}, "'to' is no list"),
        (MAIL, {"to": ["a@x, b@x"]}, "'to' is no mail address"),
        (MAIL, {"from": "a@x\r\nBcc: b@x"}, "'from' has control characters"),
        (MAIL, {"user": "u"}, "'user' and 'password'"),
        (MAIL, {"password": "p"}, "'user' and 'password'"),
        (MAIL, {"user": "u", "password": "p\u00e4ss"}, "'password' has characters that are not ASCII"),
        (MAIL, {"user": "u", "password": "p", "tls": "none"}, "the password would cross the network"),
    ],
)
def test_key_that_is_wrong_is_named(write, base, changes, cause):
    path = write({"channels": [{**base, **changes}]})
    with pytest.raises(errors.ConfigError) as caught:
        notify.load(path)
    assert "channel 1" in str(caught.value) and cause in str(caught.value) and path in str(caught.value)


@pytest.mark.parametrize("value", ["Backup of shop <backup@example.org>", "root", "b@example.org"])
def test_mail_addresses_may_have_a_name(load, value):
    assert load({**MAIL, "from": value})[0].settings["from"] == value


def test_password_to_this_host_itself_needs_no_tls(load):
    assert load({**MAIL, "host": "127.0.0.1", "user": "u", "password": "p", "tls": "none"})


def test_file_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "notifications.json").mkdir()
    with pytest.raises(errors.ConfigError, match="notifications.json: it cannot be read"):
        notify.load(str(tmp_path / "notifications.json"))


def test_file_that_never_ends_is_refused(write):
    with pytest.raises(errors.ConfigError, match="larger than 65536 bytes"):
        notify.load(write(b" " * 65537))


def test_fifo_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "notifications.json")
    with pytest.raises(errors.ConfigError, match="not a regular file"):
        notify.load(str(tmp_path / "notifications.json"))


def test_loading_imports_nothing_of_the_network_and_reads_no_secret(write, child):
    path = write(
        {"channels": [{**MAIL, "user": "u", "password_file": "/nowhere"}, {"type": "webhook", "url_file": "x"}]}
    )
    code = (
        "import sys\n"
        "before = set(sys.modules)\n"
        "from engine import notify\n"
        "assert len(notify.load(sys.argv[1])) == 2\n"
        "names = {'http', 'smtplib', 'ssl', 'socket', 'urllib.request', 'email', 'logging'}\n"
        "print(sorted(names & (set(sys.modules) - before)))\n"
    )
    assert child(code, path).communicate()[0].strip() == b"[]"


# --- which channels want an event ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings, kind, name, wanted",
    [
        ({}, "start", "app", True),
        ({"events": ["failure"]}, "start", "app", False),
        ({"events": ["failure"]}, "failure", "app", True),
        ({"databases": ["app"]}, "failure", "app", True),
        ({"databases": ["app"]}, "failure", "shop", False),
        ({"databases": ["app"]}, "failure", None, True),
        ({"databases": ["app"], "events": ["failure"]}, "success", "app", False),
    ],
)
def test_channel_wants_its_events_of_its_databases(load, event, settings, kind, name, wanted):
    assert load({**WEBHOOK, **settings})[0].wants(event(kind, name=name)) is wanted
