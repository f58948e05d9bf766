# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Healthchecks pings and webhooks against a real web server, and how often a channel is tried."""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
import urllib.parse

import pytest
from engine import __version__, clock, notify
from engine.notify import delivery
from engine.notify import web as web_room
from peers import HASTY, PATIENT


def _hook(peer, **settings):
    return {"type": "webhook", "url": f"http://127.0.0.1:{peer.port}/hook/s3cret?key=s3cret", **settings}


def _ping(peer, path="/ping/uuid"):
    return {"type": "healthchecks", "url": f"http://127.0.0.1:{peer.port}{path}"}


# --- healthchecks ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind, path", [("start", "/p/start"), ("success", "/p"), ("failure", "/p/fail"), ("hold", "/p/log")]
)
@pytest.mark.parametrize("ending", ["", "/"])
def test_ping_goes_to_the_address_of_its_kind(tell, web, event, kind, path, ending):
    peer = web()
    result = tell(_ping(peer, "/p" + ending), kind)
    assert (result["status"], result["error"], result["warnings"]) == ("sent", None, [])
    assert (result["channel"], result["type"]) == ("healthchecks-1", "healthchecks")
    (asked, headers, body) = peer.requests[0]
    assert asked == f"{path}?rid={event().run_id}"
    assert headers["User-Agent"] == f"digitalme-backup/{__version__}"
    assert b"the disk is full" in body and b"error_code: no_space" in body
    assert len(peer.requests) == 1


def test_ping_keeps_the_query_that_the_address_has(tell, web, event):
    peer = web()
    tell(_ping(peer, "/key/slug/?create=1#part"), "start")
    assert peer.requests[0][0] == f"/key/slug/start?create=1&rid={event().run_id}"


def test_ping_body_is_bounded(tell, web):
    peer = web()
    tell(_ping(peer), details={"text": "\u00e4" * 20_000})
    body = peer.requests[0][2]
    assert 9_900 < len(body) <= 10_000 and body.decode("utf-8").endswith("... (cut)\n")


@pytest.mark.parametrize(
    "answer, tries, cause", [(b"OK (not found)", 1, "no check with this address"), (b"OK (rate limited)", 3, "no more")]
)
def test_ping_that_is_taken_by_nobody_failed_although_it_was_answered_200(tell, web, answer, tries, cause):
    peer = web((200, answer))
    result = tell(_ping(peer))
    assert result["status"] == "failed" and cause in result["error"]
    assert len(peer.requests) == tries


# --- webhook ---------------------------------------------------------------------------------------------------------


def test_webhook_posts_the_event_as_json(tell, web, event):
    peer = web()
    assert tell(_hook(peer), "hold")["status"] == "sent"
    path, headers, body = peer.requests[0]
    assert path == "/hook/s3cret?key=s3cret" and headers["Content-Type"] == "application/json"
    assert json.loads(body) == {
        "event": "hold",
        "name": "app",
        "host": "shop-17",
        "at": "2026-11-22T02:00:00.000Z",
        "run_id": event().run_id,
        "message": "the disk is full",
        "details": {"error_code": "no_space", "free_bytes": 12},
        "version": __version__,
    }
    assert not [name for name in headers if name.startswith("X-Digitalme") or name == "Authorization"]


def test_webhook_is_signed_with_the_time(tell, web, set_clock):
    moment = set_clock("2026-11-22T02:00:07Z")
    peer = web()
    tell(_hook(peer, secret="k\u00e9y", token="t0ken"))
    _path, headers, body = peer.requests[0]
    stamp = str(int(moment.timestamp()))
    expected = hmac.new("k\u00e9y".encode(), stamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    assert headers["X-Digitalme-Timestamp"] == stamp
    assert headers["X-Digitalme-Signature"] == f"sha256={expected}"
    assert headers["Authorization"] == "Bearer t0ken"


def test_name_that_no_text_can_carry_is_told_all_the_same(tell, web):
    peer = web()
    assert tell(_hook(peer), name="a\udc80\n")["status"] == "sent"
    assert json.loads(peer.requests[0][2])["name"] == "a\udc80\n"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirect_is_not_followed(tell, web, status):
    peer, other = web(), web()
    peer.answers[0] = (status, b"", {"Location": f"http://127.0.0.1:{other.port}/elsewhere"})
    result = tell(_hook(peer, token="t0ken"))
    assert result["status"] == "failed" and f"answered {status}, a redirect" in result["error"]
    assert len(peer.requests) == 1 and other.requests == []


def test_proxy_of_the_environment_is_used(tell, web, monkeypatch):
    proxy = web()
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
    assert tell({"type": "webhook", "url": "http://hooks.invalid/x"})["status"] == "sent"
    assert proxy.requests[0][0] == "http://hooks.invalid/x"


# --- TLS -------------------------------------------------------------------------------------------------------------


def _secure(peer, **settings):
    return {"type": "webhook", "url": f"https://127.0.0.1:{peer.port}/s3cret", **settings}


def test_certificate_of_the_own_authority_is_trusted_when_named(tell, web, certificates):
    context, trusted = certificates["127.0.0.1"]
    peer = web(context=context)
    assert tell(_secure(peer, ca_file=trusted))["status"] == "sent"
    assert len(peer.requests) == 1


def test_certificate_that_nobody_vouches_for_is_refused_at_once(tell, web, certificates):
    peer = web(context=certificates["127.0.0.1"][0])
    result = tell(_secure(peer))
    assert result["error"].startswith(f"https://127.0.0.1:{peer.port}: its certificate is not trusted")
    assert peer.requests == [] and "tried" not in result["error"]


def test_certificate_of_another_host_is_refused(tell, web, certificates):
    context, trusted = certificates["elsewhere.example"]
    peer = web(context=context)
    assert "its certificate is not trusted" in tell(_secure(peer, ca_file=trusted))["error"]
    assert peer.requests == []


@pytest.mark.parametrize("content, cause", [(None, "No such file"), (b"none", "cannot be used")])
def test_authority_that_cannot_be_read_is_a_failed_delivery(tell, web, certificates, tmp_path, content, cause):
    place = tmp_path / "ca.pem"
    if content is not None:
        place.write_bytes(content)
    result = tell(_secure(web(context=certificates["127.0.0.1"][0]), ca_file=str(place)))
    assert result["status"] == "failed" and str(place) in result["error"] and cause in result["error"]


# --- tries -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [500, 502, 503, 429])
def test_trouble_that_may_pass_is_tried_again(tell, web, status):
    peer = web((status,), (200,))
    assert tell(_hook(peer))["status"] == "sent"
    assert len(peer.requests) == 2


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
def test_refusal_is_not_tried_again(tell, web, status):
    peer = web((status,))
    assert tell(_hook(peer))["error"] == f"http://127.0.0.1:{peer.port}: it answered {status}"
    assert len(peer.requests) == 1


def test_three_tries_and_no_more(tell, web, monkeypatch):
    waited = []
    monkeypatch.setattr(clock, "sleep", waited.append)
    peer = web((500,))
    result = tell(_hook(peer), patience=delivery.PATIENCE._replace(timeout=60))
    assert result["error"] == f"http://127.0.0.1:{peer.port}: it answered 500 (tried 3 times)"
    assert len(peer.requests) == 3 and waited == [1, 2]


def test_bound_of_a_channel_is_what_the_documents_say():
    assert delivery.PATIENCE.timeout * (len(delivery.PATIENCE.waits) + 1) + sum(delivery.PATIENCE.waits) == 33


def test_patience_is_the_rooms_own_where_none_is_given(load, web, event, monkeypatch):
    monkeypatch.setattr(delivery, "PATIENCE", PATIENT._replace(waits=()))
    peer = web((500,), (200,))
    assert notify.send(load(_hook(peer)), event())[0]["error"].endswith("answered 500 (tried 1 times)")


def test_nobody_who_listens_is_tried_again_and_named(tell, free_port, monkeypatch):
    waited = []
    monkeypatch.setattr(clock, "sleep", waited.append)
    result = tell({"type": "webhook", "url": f"http://127.0.0.1:{free_port}/s3cret"})
    assert result["error"] == f"http://127.0.0.1:{free_port}: Connection refused (tried 3 times)"
    assert waited == [0, 0]


def test_connection_that_is_closed_is_tried_again(tell, web):
    peer = web("close", (200,))
    assert tell(_hook(peer))["status"] == "sent"
    assert len(peer.requests) == 2


@pytest.mark.parametrize("answer", ["hang", "drip"])
def test_peer_that_never_ends_its_answer_is_left(tell, web, answer):
    peer = web(answer)
    result = tell(_hook(peer), patience=HASTY)
    assert result["status"] == "failed" and "s (tried 2 times)" in result["error"]


def test_peer_that_does_not_answer_is_named(web):
    address = f"http://127.0.0.1:{web('hang').port}"
    outcome, _answer = web_room.post(f"{address}/s3cret", b"", {}, None, 0.1)
    assert (outcome.error, outcome.again) == (f"{address}: no answer within 0.1 s", True)


def test_peer_that_is_no_web_server_is_refused(tell, web):
    result = tell(_hook(web("garbage")))
    assert "what answers is no web server" in result["error"] and "tried" not in result["error"]


# --- one channel does not hinder the others --------------------------------------------------------------------------


def test_channels_are_told_in_their_order_and_all_of_them(load, web, event, free_port, tmp_path):
    peer = web()
    broken = [
        {"type": "webhook", "name": "nobody", "url": f"http://127.0.0.1:{free_port}/"},
        {"type": "webhook", "name": "no secret", "url_file": str(tmp_path / "none")},
        {"type": "webhook", "name": "no ca", "url": "https://127.0.0.1:1/", "ca_file": str(tmp_path / "none")},
    ]
    channels = load(*broken, {**_hook(peer), "name": "good"}, {**_hook(peer), "name": "deaf", "events": ["start"]})
    results = notify.send(channels, event(), {}, PATIENT)
    assert [(result["channel"], result["status"]) for result in results] == [
        ("nobody", "failed"),
        ("no secret", "failed"),
        ("no ca", "failed"),
        ("good", "sent"),
    ]
    assert {tuple(result) for result in results} == {("channel", "type", "status", "seconds", "error", "warnings")}
    assert all(isinstance(result["seconds"], float) and result["seconds"] >= 0 for result in results)
    assert len(peer.requests) == 1


def test_details_that_json_cannot_carry_fail_one_channel_and_raise_nothing(load, web, event):
    peer = web()
    results = notify.send(load(_hook(peer), _ping(peer)), event(details={"x": object()}), {}, PATIENT)
    assert [result["status"] for result in results] == ["failed", "sent"]
    assert results[0]["error"].startswith("unexpected TypeError in ")


def test_process_that_may_have_no_more_threads_fails_the_channel(tell, web, monkeypatch):
    peer = web()
    address = _hook(peer)

    def refuse(_thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert "no more threads (tried 3 times)" in tell(address)["error"]
    assert peer.requests == []


def test_event_of_the_whole_run_has_no_name(tell, web):
    peer = web()
    tell(_hook(peer), name=None)
    assert json.loads(peer.requests[0][2])["name"] is None
    tell(_ping(peer), name=None)
    assert not peer.requests[1][2].startswith(b"name:") and b"\nname:" not in peer.requests[1][2]
    assert urllib.parse.urlsplit(peer.requests[1][0]).path == "/ping/uuid/fail"
