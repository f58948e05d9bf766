# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Who is let in: tokens that are not valid, keys that change, scopes, rates. Each refusal is a problem and a line."""

from __future__ import annotations

import contextlib
import http.server
import itertools
import json
import secrets
import threading
import time

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from served import PATIENCE, unsigned, wait_for


def refused(served, answer, status, code):
    """It is that problem, tells nothing of the host, and has exactly one audit line."""
    assert (answer.status, answer.json["error_code"]) == (status, code), answer.body
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json["status"] == status and answer.json["title"] and answer.json["detail"]
    assert str(served.place) not in answer.body.decode() and "Traceback" not in answer.body.decode()
    (line,) = served.audited(answer.json["instance"])
    assert (line["outcome"], line["by"]["via"]) == (code, "api")
    return line


def _claims():
    now = int(time.time())
    return {
        "iss": "digitalme-backup",
        "aud": "digitalme-backup-api",
        "sub": "eve",
        "iat": now,
        "exp": now + 60,
        "scope": "admin",
    }


NOW = int(time.time())


def _without(claim):
    return lambda served: served.token(drop=(claim,))


BAD_TOKENS = {
    **{f"no {claim}": _without(claim) for claim in ("exp", "iat", "aud", "iss", "sub")},
    "no token at all": lambda served: None,
    "nonsense": lambda served: "nonsense",
    "three parts of nonsense": lambda served: "a.b.c",
    "alg none": lambda served: unsigned(_claims()),
    "another algorithm of the same family": lambda served: served.token(algorithm="HS384"),
    "another secret": lambda served: served.token(key=b"x" * 32),
    "an unknown kid": lambda served: served.token(kid="other"),
    "a kid that is a path": lambda served: served.token(kid="../keys/first"),
    "expired": lambda served: served.token(iat=NOW - 900, exp=NOW - 600),
    "not valid yet": lambda served: served.token(nbf=NOW + 3600),
    "issued in the future": lambda served: served.token(iat=NOW + 3600, exp=NOW + 7200),
    "another audience": lambda served: served.token(aud="other"),
    "a list of audiences": lambda served: served.token(aud=["digitalme-backup-api", "other"]),
    "another issuer": lambda served: served.token(iss="other"),
    "valid for a year": lambda served: served.token(exp=NOW + 366 * 86400),
    "too long": lambda served: served.token(more="x" * 9000),
    "a subject that is no text": lambda served: served.token(sub=""),
    "an end that is a text": lambda served: served.token(exp=str(NOW + 60)),
    "a begin that is a text": lambda served: served.token(iat=str(NOW)),
    "a subject with a line break": lambda served: served.token(sub="ada\nroot"),
}


@pytest.mark.parametrize("why", BAD_TOKENS)
def test_token_that_is_not_valid_is_refused(shop, why):
    answer = shop.ask("GET", "/api/backup", token=BAD_TOKENS[why](shop))
    code = "unauthorized" if why == "no token at all" else "invalid_token"
    refused(shop, answer, 401, code)
    assert answer.headers["www-authenticate"].startswith('Bearer realm="digitalme-backup"')


def test_public_key_is_no_hmac_secret(serve):
    private = rsa.generate_private_key(65537, 2048)
    public = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    served = serve(begin=False)
    served.settings["tokens"]["algorithm"] = "RS256"
    (served.place / "keys" / "first.pem").write_bytes(public)
    served.configure()
    served.start()
    assert served.ask("GET", "/api/backup", token=served.token(key=private, algorithm="RS256")).status == 200
    # What PyJWT would refuse to sign, whoever attacks makes by hand.
    import base64
    import hashlib
    import hmac

    head, body, _ = unsigned(_claims()).split(".")
    head = base64.urlsafe_b64encode(b'{"alg":"HS256","kid":"first"}').rstrip(b"=").decode()
    signature = hmac.new(public, f"{head}.{body}".encode(), hashlib.sha256).digest()
    token = f"{head}.{body}." + base64.urlsafe_b64encode(signature).rstrip(b"=").decode()
    refused(served, served.ask("GET", "/api/backup", token=token), 401, "invalid_token")


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
def test_token_of_a_key_pair_is_accepted(serve, algorithm):
    private = {
        "RS256": lambda: rsa.generate_private_key(65537, 2048),
        "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
        "EdDSA": ed25519.Ed25519PrivateKey.generate,
    }[algorithm]()
    served = serve(begin=False)
    served.settings["tokens"]["algorithm"] = algorithm
    pem = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (served.place / "keys" / "pair.pem").write_bytes(pem)
    served.configure()
    served.start()
    raw = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    token = served.token(key=raw, algorithm=algorithm, kid="pair")
    assert served.ask("GET", "/api/backup", token=token).status == 200


def test_keys_of_a_jwks_file_are_used(serve):
    private = ed25519.Ed25519PrivateKey.generate()
    row = json.loads(jwt.algorithms.OKPAlgorithm.to_jwk(private.public_key()))
    served = serve(begin=False)
    path = served.place / "jwks.json"
    path.write_text(json.dumps({"keys": [{**row, "kid": "one", "use": "sig"}, {**row, "kid": "two", "use": "enc"}]}))
    served.settings["tokens"] = {"algorithm": "EdDSA", "jwks_file": str(path)}
    served.configure()
    served.start()
    raw = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    assert served.ask("GET", "/api/backup", token=served.token(key=raw, algorithm="EdDSA", kid="one")).status == 200
    assert served.ask("GET", "/api/backup", token=served.token(key=raw, algorithm="EdDSA", kid="two")).status == 401


def test_keys_of_an_address_are_kept_when_it_is_gone(serve):
    import http.server
    import threading

    private, other = ed25519.Ed25519PrivateKey.generate(), ed25519.Ed25519PrivateKey.generate()
    document, asked = {"keys": []}, []

    def add(kid, key):
        row = json.loads(jwt.algorithms.OKPAlgorithm.to_jwk(key.public_key()))
        document["keys"].append({**row, "kid": kid, "alg": "EdDSA"})

    class Keys(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(document).encode())

        def log_message(self, *_arguments):
            pass

    add("one", private)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Keys)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    served = serve(begin=False)
    address = f"http://127.0.0.1:{server.server_port}/keys"
    served.settings["tokens"] = {"algorithm": "EdDSA", "jwks_url": address, "jwks_seconds": 10}
    served.configure()
    served.start()

    def status(key, kid):
        raw = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return served.ask("GET", "/api/backup", token=served.token(key=raw, algorithm="EdDSA", kid=kid)).status

    assert [status(private, "one") for _n in range(5)] == [200] * 5
    assert len(asked) == 1, "the address is asked for each token"
    # Whoever makes up ids of keys does not have the address asked for each.
    assert {status(other, f"made-up-{n}") for n in range(5)} == {401} and len(asked) == 1
    add("two", other)
    wait_for(lambda: status(other, "two") == 200)
    server.shutdown()
    server.server_close()
    wait_for(lambda: "could not be read again" in served.log() or status(private, "one") != 200)
    assert status(private, "one") == status(other, "two") == 200, "the last good keys are forgotten"


def _answering(content, status=200, headers=()):
    """A server of keys on loopback, that answers this: (server, its address)."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status)
            for key, value in headers:
                self.send_header(key, value)
            self.end_headers()
            with contextlib.suppress(OSError):
                for part in content:
                    self.wfile.write(part)

        def log_message(self, *_words):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server, f"http://127.0.0.1:{server.server_address[1]}/jwks.json"


def _pair():
    private = ed25519.Ed25519PrivateKey.generate()
    return private, json.loads(jwt.algorithms.OKPAlgorithm.to_jwk(private.public_key()))


@contextlib.contextmanager
def _keys(url):
    from backup_api import keys, settings

    yield keys.Keys(settings.Tokens(algorithm="EdDSA", jwks_url=url))


def test_keys_of_an_address_are_used_and_asked_for_once(serve):
    private, row = _pair()
    server, url = _answering([json.dumps({"keys": [{**row, "kid": "one"}]}).encode()])
    served = serve(begin=False)
    served.settings["tokens"] = {"algorithm": "EdDSA", "jwks_url": url}
    served.configure()
    with contextlib.closing(server.socket):
        served.start()
        raw = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        token = served.token(key=raw, algorithm="EdDSA", kid="one")
        assert served.ask("GET", "/api/backup", token=token).status == 200
        server.shutdown()
    assert served.ask("GET", "/api/backup", token=token).status == 200, "the address is gone, the key is known"


BAD_JWKS = {
    "a list": [b"[]"],
    "no list of keys": [b'{"keys": {"a": 1}}'],
    "keys that are none": [b'{"keys": [1, null, {"kid": []}, {"kid": "x", "kty": []}, {"kid": "x", "kty": "OKP"}]}'],
    "no JSON": [b"<html>"],
    "nested deeply": [b"[" * 100_000],
    "bytes": [b"\xff"],
    "more than keys can be": itertools.repeat(b"x" * 65536),
}


@pytest.mark.parametrize("why", BAD_JWKS)
def test_address_that_answers_nonsense_leaves_the_service_there(why, caplog):
    server, url = _answering(BAD_JWKS[why])
    with contextlib.closing(server.socket), _keys(url) as found:
        found.load()
        assert found.find("x") is None
        server.shutdown()
    assert caplog.records, "nobody is told"


def test_address_that_leads_elsewhere_is_not_followed(caplog):
    _private, row = _pair()
    other, elsewhere = _answering([json.dumps({"keys": [{**row, "kid": "one"}]}).encode()])
    server, url = _answering([], 302, [("Location", elsewhere)])
    with contextlib.closing(server.socket), contextlib.closing(other.socket):
        with _keys(elsewhere) as found:
            assert found.find("one"), "the test has no key"
        with _keys(url) as found:
            assert found.find("one") is None
        server.shutdown()
        other.shutdown()


def test_address_that_answers_drop_by_drop_is_given_up(monkeypatch, caplog):
    from backup_api import keys

    ended = threading.Event()
    monkeypatch.setattr(keys, "_FETCH_SECONDS", 0.5)

    def drops():
        while not ended.wait(0.05):
            yield b" "

    server, url = _answering(drops())
    with contextlib.closing(server.socket), _keys(url) as found:
        found.load()
        ended.set()
        server.shutdown()
    assert "has not answered within" in caplog.text


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1.example.org/keys", "http://127.0.0.1@example.org/keys", "file:///etc/keys", "https://"]
)
def test_address_of_keys_that_is_not_safe_is_refused(url):
    from backup_api import settings

    with pytest.raises(ValueError, match="has to be https"):
        settings.Tokens(algorithm="RS256", jwks_url=url)


def test_keys_are_rotated_without_a_restart(serve):
    served = serve()
    new = secrets.token_hex(24).encode()
    with_new = served.token(key=new, kid="second")
    assert served.ask("GET", "/api/backup", token=with_new).status == 401
    (served.place / "keys" / "second.secret").write_bytes(new + b"\n")
    wait_for(lambda: served.ask("GET", "/api/backup", token=with_new).status == 200)
    assert served.ask("GET", "/api/backup").status == 200, "the old one holds as well"
    (served.place / "keys" / "first.secret").unlink()
    wait_for(lambda: served.ask("GET", "/api/backup").status == 401)
    # One that cannot be used leaves those in use that there are.
    (served.place / "keys" / "third.secret").write_bytes(b"short")

    def complained():
        assert served.ask("GET", "/api/backup", token=with_new).status == 200
        return "third.secret has 5 bytes" in served.log()

    wait_for(complained)


def test_revoked_token_is_refused_at_once(serve):
    served = serve(begin=False)
    served.settings["tokens"]["revoked_file"] = str(served.place / "revoked")
    (served.place / "revoked").write_text("")
    served.configure()
    served.start()
    token = served.token(jti="lost-laptop")
    assert served.ask("GET", "/api/backup", token=token).status == 200
    (served.place / "revoked").write_text("other\nlost-laptop  # of Ada\n")
    answer = served.ask("GET", "/api/backup", token=token)
    refused(served, answer, 401, "invalid_token")
    assert "revoked" in answer.json["detail"]
    odd = served.token(jti="lost#2")
    assert served.ask("GET", "/api/backup", token=odd).status == 200
    (served.place / "revoked").write_text("# of Ada\nlost#2\n")
    assert served.ask("GET", "/api/backup", token=odd).status == 401
    (served.place / "revoked").unlink()
    assert served.ask("GET", "/api/backup").status == 401, "a list that is gone lets nobody in"


def test_token_in_the_address_is_refused_and_not_logged(shop):
    token = shop.token()
    answer = shop.ask("GET", f"/api/backup?access_token={token}", token=None)
    refused(shop, answer, 400, "invalid_request")
    assert token not in shop.log() and token not in shop.audit_log.read_text()


def test_two_tokens_are_refused(shop):
    answer = shop.ask("GET", "/api/backup", headers=[("Authorization", "Bearer " + shop.token())])
    refused(shop, answer, 400, "invalid_request")


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("POST", "/api/backup", "operate"),
        ("POST", "/api/backup/pre-recovery-backup", "operate"),
        ("POST", "/api/backup/validate/latest", "operate"),
        ("POST", "/api/backup/test-recovery/latest", "operate"),
        ("POST", "/api/backup/restore/latest?confirmRestore=true", "admin"),
        ("POST", "/api/backup/cleanup", "admin"),
        ("GET", "/api/backup/download/latest", "admin"),
        ("DELETE", "/api/backup/latest", "admin"),
    ],
)
def test_scope_is_needed(shop, method, path, scope):
    lower = {"operate": "read", "admin": "read operate"}[scope]
    answer = shop.ask(method, path, token=shop.token(scope=lower))
    line = refused(shop, answer, 403, "wrong_scope")
    assert line["by"]["subject"] == "ada" and f'scope="{scope}"' in answer.headers["www-authenticate"]


@pytest.mark.parametrize("scope", ["", "write", "ADMIN", None, ["admin"], {"admin": True}])
def test_scope_that_is_none_of_ours_reads_nothing(shop, scope):
    refused(shop, shop.ask("GET", "/api/backup", token=shop.token(scope=scope)), 403, "wrong_scope")


def test_subject_that_asks_too_often_is_told_to_wait(serve):
    rates = {"costly": "2/minute", "subject": "50/minute", "address": "1000/minute", "refused": "5/minute"}
    served = serve(rates=rates)
    served.made()
    asked = [served.ask("POST", "/api/backup/test-recovery/latest") for _n in range(2)]
    assert [answer.status for answer in asked] == [200, 429]
    line = refused(served, asked[1], 429, "too_many_requests")
    assert line["by"]["subject"] == "ada" and 1 <= int(asked[1].headers["retry-after"]) <= 61
    assert served.ask("GET", "/api/backup").status == 200, "what costs little goes on"
    other = served.token(sub="bob")
    assert served.ask("POST", "/api/backup/test-recovery/latest", token=other).status == 200
    # Whoever tries tokens is told to wait; a valid token from the same address is not held up.
    tried = [served.ask("GET", "/api/backup", token="x.y.z").status for _n in range(7)]
    assert tried == [401] * 5 + [429] * 2
    assert served.ask("GET", "/api/backup", token=other).status == 200


def test_flood_of_one_address_is_answered_and_makes_no_flood_of_lines(serve):
    served = serve(rates={"address": "100/minute", "subject": "100/minute", "refused": "10/minute"})
    import http.client

    statuses = {}
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=PATIENCE)
    for _n in range(10_000):
        connection.request("GET", "/api/backup", headers={"Authorization": "Bearer nonsense"})
        response = connection.getresponse()
        response.read()
        statuses[response.status] = statuses.get(response.status, 0) + 1
    connection.close()
    assert set(statuses) == {401, 429} and sum(statuses.values()) == 10_000
    served.stop()
    lines = [row for row in served.audit() if row["operation"] == "request"]
    assert len(lines) <= 30, "one line for each is a flood of its own"
    assert sum(row["times"] for row in lines) == 10_000, "what was refused and is not told"


@pytest.mark.parametrize(("address", "told"), [("x" * 300, "unknown"), ("fe80::1%" + "x" * 300, "fe80::1")])
def test_address_that_a_proxy_makes_up_takes_no_audit_line_away(serve, address, told):
    served = serve(trusted_proxies=["127.0.0.1"])
    line = refused(served, served.ask("GET", "/x", headers=[("X-Forwarded-For", address)]), 404, "not_found")
    assert line["by"]["address"] == told
