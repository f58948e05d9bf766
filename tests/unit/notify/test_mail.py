# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Mails to a real mail server."""

from __future__ import annotations

import email
import email.policy

import pytest
from engine import clock
from engine.notify import mail as mail_room
from peers import HASTY


def _mail(peer, **settings):
    return {
        "type": "mail",
        "host": "127.0.0.1",
        "port": peer.port,
        "tls": "none",
        "from": "Backup <backup@example.org>",
        "to": ["ops@example.org", "boss@example.org"],
        **settings,
    }


def _read(peer):
    assert len(peer.mails) == 1
    return email.message_from_bytes(peer.mails[0], policy=email.policy.default)


def test_mail_says_what_happened(tell, mail, set_clock):
    set_clock("2026-11-22T02:00:07Z")
    peer = mail()
    result = tell(_mail(peer))
    assert (result["status"], result["error"], result["warnings"]) == ("sent", None, [])
    message = _read(peer)
    assert message["Subject"] == "[digitalme-backup] FAILED: app on shop-17: the disk is full"
    assert message["From"] == "Backup <backup@example.org>"
    assert message["To"] == "ops@example.org, boss@example.org"
    assert message["Date"] == "Sun, 22 Nov 2026 02:00:07 +0000"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["Message-ID"].endswith("@example.org>")
    assert message.get_content().splitlines() == [
        "the disk is full",
        "",
        "name: app",
        "host: shop-17",
        "at: 2026-11-22T02:00:00.000Z",
        "run: 3f0b4c52-7a44-4d7e-9d0c-0c7f6b2c1d11",
        "error_code: no_space",
        "free_bytes: 12",
    ]
    said = [line.lower() for _tls, line in peer.lines]
    assert said[1].startswith("mail from:<backup@example.org>")
    assert said[2:4] == ["rcpt to:<ops@example.org>", "rcpt to:<boss@example.org>"]


@pytest.mark.parametrize(
    "text", ["x\r\nBcc: eve@example.org", "x\nBcc: eve@example.org", "x\x00\x1b[2J\u202e", "\udc80"]
)
def test_names_and_messages_put_nothing_into_the_header(tell, mail, text):
    peer = mail()
    assert tell(_mail(peer), name=text, host=text, message=text, details={text: text})["status"] == "sent"
    message = _read(peer)
    assert sorted(message.keys()) == sorted(
        ["Subject", "From", "To", "Date", "Message-ID", "Auto-Submitted", "MIME-Version", "Content-Type"]
        + ["Content-Transfer-Encoding"]
    )
    assert message["Subject"].isprintable() and "FAILED: x" in message["Subject"] or text == "\udc80"
    assert not [line for line in message.get_content().splitlines() if line.startswith("Bcc")]


def test_mail_is_seven_bits_and_reads_the_same(tell, mail):
    peer = mail()
    tell(_mail(peer), message="gr\u00fc\u00df dich " * 20, details={"long": "y" * 5000, "dot": "."})
    assert peer.mails[0].isascii() and max(map(len, peer.mails[0].splitlines())) < 998
    content = _read(peer).get_content()
    assert "gr\u00fc\u00df dich gr\u00fc\u00df" in content and "y" * 5000 in content


def test_one_event_has_one_identity_at_every_try_and_no_other_event_has_it(tell, mail):
    peer = mail(END=["451 later", "250 taken"])
    assert tell(_mail(peer))["status"] == "sent"
    tell(_mail(peer), message="another failure of the same run")
    identities = [email.message_from_bytes(raw)["Message-ID"] for raw in peer.mails]
    assert identities[0] == identities[1] != identities[2]


# --- TLS and login ---------------------------------------------------------------------------------------------------


def test_starttls_is_the_default_and_the_password_goes_through_it(tell, mail, certificates):
    context, trusted = certificates["127.0.0.1"]
    peer = mail(context)
    channel = _mail(peer, ca_file=trusted, user="shop", password="p4ssw0rd")
    del channel["tls"]
    assert tell(channel)["status"] == "sent"
    assert peer.logins == [["shop", "p4ssw0rd"]] and len(peer.mails) == 1
    assert [line.split()[0] for tls, line in peer.lines if not tls] == ["ehlo", "STARTTLS"]


def test_tls_from_the_first_byte(tell, mail, certificates):
    context, trusted = certificates["127.0.0.1"]
    peer = mail(context, wrap=True)
    assert tell(_mail(peer, tls="tls", ca_file=trusted))["status"] == "sent"
    assert len(peer.mails) == 1


@pytest.mark.parametrize("tls, wrap", [("starttls", False), ("tls", True)])
@pytest.mark.parametrize("host, trust", [("127.0.0.1", False), ("elsewhere.example", True)])
def test_certificate_that_is_not_trusted_gets_no_mail(tell, mail, certificates, tls, wrap, host, trust):
    context, trusted = certificates[host]
    peer = mail(context, wrap=wrap)
    settings = {"tls": tls, "user": "shop", "password": "p4ssw0rd", **({"ca_file": trusted} if trust else {})}
    result = tell(_mail(peer, **settings))
    assert result["error"].startswith(f"smtp://127.0.0.1:{peer.port}: its certificate is not trusted")
    assert peer.logins == [] and peer.mails == []


def test_server_without_starttls_gets_no_mail(tell, mail):
    peer = mail()
    result = tell(_mail(peer, tls="starttls", user="shop", password="p4ssw0rd"))
    assert "STARTTLS extension not supported" in result["error"] and "tried" not in result["error"]
    assert peer.logins == [] and peer.mails == [] and peer.connections == 1


def test_starttls_that_is_refused_gets_no_mail(tell, mail, certificates):
    peer = mail(certificates["127.0.0.1"][0], STARTTLS="454 not now")
    result = tell(_mail(peer, tls="starttls"))
    assert "454 not now (tried 3 times)" in result["error"] and peer.mails == []


def test_password_that_is_refused_is_not_tried_again(tell, mail):
    peer = mail(AUTH="535 no p4ssw0rd here")
    result = tell(_mail(peer, user="shop", password="p4ssw0rd"))
    assert result["error"] == f"smtp://127.0.0.1:{peer.port}: it refused user and password (535)"
    assert peer.connections == 1 and peer.mails == []


# --- refusals and tries ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["CONNECT", "MAIL", "DATA", "END"])
@pytest.mark.parametrize("code, tries", [("451", 3), ("550", 1)])
def test_refusal_is_tried_again_when_it_may_pass(tell, mail, verb, code, tries):
    peer = mail(**{verb: f"{code} go away\x07"})
    result = tell(_mail(peer))
    assert result["error"].startswith(f"smtp://127.0.0.1:{peer.port}: it answered {code} go away\\x07")
    assert peer.connections == tries


def test_recipient_who_is_refused_is_a_warning_where_another_took_it(tell, mail):
    peer = mail(**{"RCPT <boss@example.org>": "550 unknown"})
    result = tell(_mail(peer))
    assert result["status"] == "sent" and len(peer.mails) == 1
    assert result["warnings"] == [f"smtp://127.0.0.1:{peer.port}: it refused boss@example.org (550 unknown)"]


@pytest.mark.parametrize("codes, tries", [(("450", "451"), 3), (("450", "550"), 1), (("550", "550"), 1)])
def test_mail_that_every_recipient_refused_failed(tell, mail, codes, tries):
    replies = {f"RCPT <{who}@example.org>": f"{code} no" for who, code in zip(("ops", "boss"), codes)}
    peer = mail(**replies)
    result = tell(_mail(peer))
    assert f"it refused every recipient ({codes[0]} no)" in result["error"]
    assert peer.connections == tries


@pytest.mark.parametrize("verb", ["CONNECT", "EHLO", "DATA"])
def test_server_that_hangs_is_left(tell, mail, verb):
    peer = mail(**{verb: "hang"})
    result = tell(_mail(peer), patience=HASTY)
    assert result["status"] == "failed" and "s (tried 2 times)" in result["error"]


@pytest.mark.parametrize("verb", ["CONNECT", "EHLO", "DATA"])
def test_server_that_hangs_is_named(mail, load, event, verb):
    peer = mail(**{verb: "hang"})
    settings, _warnings = load(_mail(peer))[0].opened({})
    outcome = mail_room.deliver(settings, event(), 0.1)
    assert (outcome.error, outcome.again) == (f"smtp://127.0.0.1:{peer.port}: no answer within 0.1 s", True)


@pytest.mark.parametrize("verb", ["CONNECT", "EHLO", "MAIL", "END"])
def test_server_that_hangs_up_is_tried_again(tell, mail, verb):
    peer = mail(**{verb: "close"})
    result = tell(_mail(peer))
    assert result["status"] == "failed" and result["error"].endswith("(tried 3 times)")
    assert peer.connections == 3


def test_mail_that_was_taken_is_not_sent_again_whatever_the_goodbye(tell, mail):
    peer = mail(QUIT="hang")
    assert tell(_mail(peer), patience=HASTY._replace(timeout=60))["status"] == "sent"
    assert len(peer.mails) == 1 and peer.connections == 1


def test_nobody_who_listens_is_named(tell, mail, free_port, monkeypatch):
    waited = []
    monkeypatch.setattr(clock, "sleep", waited.append)
    result = tell({**_mail(mail()), "port": free_port})
    assert result["error"] == f"smtp://127.0.0.1:{free_port}: Connection refused (tried 3 times)"
    assert waited == [0, 0]


@pytest.mark.parametrize("tls, port", [("none", 25), ("starttls", 587), ("tls", 465)])
def test_port_follows_from_tls(tell, mail, monkeypatch, tls, port):
    import socket

    asked = []

    def refuse(address, *_arguments, **_options):
        asked.append(address)
        raise ConnectionRefusedError(111, "Connection refused")

    channel = _mail(mail(), tls=tls)
    del channel["port"]
    monkeypatch.setattr(socket, "create_connection", refuse)
    assert f"smtp://127.0.0.1:{port}:" in tell(channel)["error"]
    assert set(asked) == {("127.0.0.1", port)}
