# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The token for the API: PyJWT takes it with the right key alone, and a key that is not fit is refused by its name."""

from __future__ import annotations

import json
import os
import pathlib
import socket
import subprocess
import sys

import jwt
import pytest
from ansible_collections.digitalme.backup.plugins.module_utils.engine import clock, errors
from ansible_collections.digitalme.backup.plugins.plugin_utils import jwt_signing
from cryptography.hazmat.primitives import serialization

SECRET = "7d1f6c0e9a5b4c3d8e2f1a0b9c8d7e6f"
AUDIENCE, ISSUER = "digitalme-backup-api", "digitalme-backup"
KINDS = {
    "rsa": ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
    "weak": ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024"],
    "p256": ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
    "p384": ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"],
    "ed25519": ["-algorithm", "ed25519"],
    "ed448": ["-algorithm", "ed448"],
    "locked": ["-algorithm", "ed25519", "-aes-256-cbc", "-pass", "pass:secret"],
}
FIT = {"HS256": "secret", "RS256": "rsa", "ES256": "p256", "EdDSA": "ed25519"}


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """{kind: path} of a key of each kind, made by openssl as the messages say."""
    place = tmp_path_factory.mktemp("keys")
    found = {kind: place / f"{kind}.pem" for kind in KINDS}
    for kind, words in KINDS.items():
        subprocess.run(["openssl", "genpkey", *words, "-out", found[kind]], check=True, capture_output=True)
    found["public"] = place / "public.pem"
    command = ["openssl", "pkey", "-in", found["rsa"], "-pubout", "-out", found["public"]]
    subprocess.run(command, check=True, capture_output=True)
    contents = {"secret": SECRET + "\n", "short": SECRET[:31] + "\n", "empty": "", "noise": "nothing of use\n" * 9}
    for kind, content in contents.items():
        found[kind] = place / kind
        found[kind].write_text(content)
    (place / "large").write_bytes(b"x" * 70000)
    found["large"] = place / "large"
    for path in found.values():
        path.chmod(0o600)
    found["open"] = place / "open"
    found["open"].write_text(SECRET)
    found["open"].chmod(0o644)
    return found


def _token(path, algorithm="HS256", kid=None, scopes=("read",), lifetime=300):
    """A token as the plugin makes it with its defaults."""
    payload = jwt_signing.claims(ISSUER, AUDIENCE, "ada@night", list(scopes), lifetime)
    return jwt_signing.sign(payload, jwt_signing.read_key(str(path), algorithm), algorithm, kid)


def _verifier(path, algorithm):
    """What a server verifies with: the same secret, or the public key alone."""
    if algorithm == "HS256":
        return path.read_text().removesuffix("\n")
    return serialization.load_pem_private_key(path.read_bytes(), None).public_key()


def _decoded(token, key, algorithm="HS256", **more):
    options = {"audience": AUDIENCE, "issuer": ISSUER, **more}
    wanted = ["exp", "iat", "aud", "iss", "sub", "jti", "scope"]
    return jwt.decode(token, key, algorithms=[algorithm], options={"require": wanted}, **options)


@pytest.mark.parametrize("algorithm", FIT)
def test_token_of_each_algorithm_is_verified_by_its_key_and_by_no_other(keys, algorithm):
    path = keys[FIT[algorithm]]
    token = _token(path, algorithm, "2026-11", ["admin"])
    assert _decoded(token, _verifier(path, algorithm), algorithm)["scope"] == "admin"
    assert jwt.get_unverified_header(token) == {"alg": algorithm, "kid": "2026-11", "typ": "JWT"}
    changed = token[:-8] + ("AAAAAAAA" if not token.endswith("AAAAAAAA") else "BBBBBBBB")
    with pytest.raises(jwt.InvalidSignatureError):
        _decoded(changed, _verifier(path, algorithm), algorithm)
    with pytest.raises(jwt.InvalidAlgorithmError):
        _decoded(token, _verifier(path, algorithm), "HS384" if algorithm == "HS256" else "HS256")


def test_claims_are_those_that_the_api_requires(keys):
    before = int(clock.now().timestamp())
    token = _token(keys["secret"], scopes=["operate", "read", "operate"])
    found = _decoded(token, SECRET)
    assert set(found) == {"iss", "aud", "sub", "iat", "exp", "jti", "scope"}
    assert before <= found["iat"] <= int(clock.now().timestamp()) and found["exp"] - found["iat"] == 300
    assert found["scope"] == "operate read" and found["sub"] == "ada@night"
    assert _decoded(_token(keys["secret"]), SECRET)["jti"] != found["jti"]
    assert "kid" not in jwt.get_unverified_header(token)


def test_one_newline_at_the_end_is_no_part_of_the_secret(tmp_path):
    path = tmp_path / "secret"
    for content, expected in ((b"s" * 32, b"s" * 32), (b"s" * 32 + b"\n", b"s" * 32), (b"s" * 32 + b"\n\n", None)):
        path.write_bytes(content)
        path.chmod(0o600)
        assert jwt_signing.read_key(str(path), "HS256") == (expected or b"s" * 32 + b"\n")


REFUSED = {
    "short secret": ("short", "HS256", "has 31 bytes, and HS256 needs 32", "openssl rand -hex 32"),
    "empty secret": ("empty", "HS256", "has 0 bytes", "openssl rand"),
    "private key as a secret": ("rsa", "HS256", "HS256 takes a secret", "RS256, ES256, EdDSA"),
    "public key as a secret": ("public", "HS256", "HS256 takes a secret", "RS256, ES256, EdDSA"),
    "public key": ("public", "RS256", "it is a public key", "rsa_keygen_bits"),
    "secret as a key": ("noise", "RS256", "it has no private key in PEM", "openssl genpkey"),
    "other kind for RS256": ("p256", "RS256", "takes an RSA key", "rsa_keygen_bits"),
    "other kind for ES256": ("rsa", "ES256", "takes a key of the curve P-256", "P-256"),
    "other curve": ("p384", "ES256", "takes a key of the curve P-256", "P-256"),
    "other kind for EdDSA": ("p256", "EdDSA", "takes an Ed25519 key", "ed25519"),
    "other curve of Edwards": ("ed448", "EdDSA", "takes an Ed25519 key", "ed25519"),
    "small RSA key": ("weak", "RS256", "at least 2048 bits, and this has 1024", "rsa_keygen_bits:3072"),
    "passphrase": ("locked", "EdDSA", "has a passphrase", "openssl genpkey"),
    "large file": ("large", "HS256", "too large for a key", "Check the path"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_key_that_is_not_fit_is_refused_with_its_file_and_the_next_step_and_nothing_of_it(keys, case):
    kind, algorithm, cause, step = REFUSED[case]
    with pytest.raises(errors.UsageError) as caught:
        jwt_signing.read_key(str(keys[kind]), algorithm)
    said = str(caught.value)
    assert said.startswith(f"{keys[kind]}: ") and cause in said and step in said
    lines = [line for line in keys[kind].read_text().splitlines() if len(line) > 8 and "KEY" not in line]
    assert [line for line in lines if line[:12] in said] == []
    assert caught.value.__context__ is None or caught.value.__suppress_context__


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o610])
def test_key_that_others_may_use_is_refused_with_the_command_that_mends_it(tmp_path, mode):
    path = tmp_path / "it's a key"
    path.write_text(SECRET)
    path.chmod(mode)
    with pytest.raises(errors.UsageError) as caught:
        jwt_signing.read_key(str(path), "HS256")
    command = str(caught.value).partition("Run: ")[2].partition(";")[0]
    assert command.startswith("chmod 600 ") and f"mode 0{mode:o}" in str(caught.value)
    subprocess.run(["sh", "-euc", command], check=True)
    assert jwt_signing.read_key(str(path), "HS256") == SECRET.encode()


@pytest.mark.parametrize(
    ("path", "cause"),
    [("/nowhere/key", "/nowhere/key: No such file or directory"), ("/", "/: not a regular file")],
)
def test_file_that_cannot_be_read_is_named_with_the_variable_that_names_it(path, cause):
    with pytest.raises(errors.BackupError) as caught:
        jwt_signing.read_key(path, "HS256")
    assert str(caught.value).startswith(cause) and "digitalme_backup_api_jwt_key_file" in str(caught.value)


@pytest.mark.parametrize(
    ("changed", "cause"),
    [
        ({"scopes": ["write"]}, "there is no scope 'write'. Give one or more of read, operate, admin."),
        ({"scopes": ["read admin"]}, "there is no scope 'read admin'"),
        ({"scopes": []}, "the token has no scope"),
        ({"lifetime": 0}, "the lifetime is 0 s"),
        ({"lifetime": 86401}, "from 1 to 86400"),
        ({"issuer": ""}, "the issuer is empty"),
        ({"subject": ""}, "the subject is empty"),
    ],
)
def test_claims_that_make_no_sense_are_refused(changed, cause):
    given = {"issuer": "i", "audience": "a", "subject": "s", "scopes": ["read"], "lifetime": 86400}
    assert jwt_signing.claims(**given)["exp"]
    with pytest.raises(errors.UsageError) as caught:
        jwt_signing.claims(**{**given, **changed})
    assert cause in str(caught.value)


@pytest.mark.parametrize(("missing", "algorithm"), [("jwt", "HS256"), ("cryptography.exceptions", "EdDSA")])
def test_missing_package_is_told_with_what_to_install(keys, monkeypatch, missing, algorithm):
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(errors.UsageError) as caught:
        _token(keys[FIT[algorithm]], algorithm)
    said = str(caught.value)
    assert f"Install it for {sys.executable}" in said and "pip install 'pyjwt[crypto]'" in said


# --- the plugin ------------------------------------------------------------------------------------------------------


def _look_up(name, arguments, **variables):
    """A task that makes a token, and lets the next one have its turn."""
    called = f"lookup('digitalme.backup.jwt'{', ' if arguments else ''}{arguments})"
    task = {"name": name, "ansible.builtin.debug": {"msg": "{{ " + called + " }}"}, "ignore_errors": True}
    return {**task, "vars": {f"digitalme_backup_api_jwt_{key}": value for key, value in variables.items()}}


def test_variables_of_the_inventory_set_the_options_and_the_call_goes_before_them(controller, keys):
    other = {"issuer": "me", "audience": "you", "subject": "eve", "scopes": ["read", "operate"], "lifetime": 60}
    signed = {"key_file": str(keys["ed25519"]), "algorithm": "EdDSA", "kid": "k1"}
    tasks = [
        _look_up("plain", "", key_file=str(keys["secret"])),
        _look_up("terms", "'read', 'admin'", key_file=str(keys["secret"]), scopes=["operate"]),
        _look_up("variables", "", **signed, **other),
        _look_up("call", "'admin', lifetime=9, issuer='digitalme-backup', subject='bob'", **signed, **other),
    ]
    run = controller.play(tasks)
    tokens = {task.name: task.result["msg"] for task in run.tasks}
    plain = _decoded(tokens["plain"], SECRET)
    user, _at, host = plain["sub"].rpartition("@")
    assert user and host == socket.gethostname() and plain["scope"] == "read" and plain["exp"] - plain["iat"] == 300
    assert _decoded(tokens["terms"], SECRET)["scope"] == "read admin"
    key = _verifier(keys["ed25519"], "EdDSA")
    found = _decoded(tokens["variables"], key, "EdDSA", audience="you", issuer="me")
    assert (found["sub"], found["scope"], found["exp"] - found["iat"]) == ("eve", "read operate", 60)
    assert jwt.get_unverified_header(tokens["variables"])["kid"] == "k1"
    found = _decoded(tokens["call"], key, "EdDSA", audience="you")
    assert (found["sub"], found["scope"], found["exp"] - found["iat"]) == ("bob", "admin", 9)


def test_what_the_plugin_refuses_names_the_next_step_and_never_the_key(controller, keys):
    tasks = [
        _look_up("no key", ""),
        _look_up("open", "", key_file=str(keys["open"])),
        _look_up("short", "", key_file=str(keys["short"])),
        _look_up("scope", "'write'", key_file=str(keys["secret"])),
        _look_up("scopes", "", key_file=str(keys["secret"]), scopes=["root"]),
        _look_up("algorithm", "", key_file=str(keys["secret"]), algorithm="none"),
        _look_up("confused", "algorithm='RS256'", key_file=str(keys["secret"])),
    ]
    run = controller.play(tasks, "-vvv")
    assert [task.state for task in run.tasks] == ["failed"] * len(tasks), run.output
    for name, said in (
        ("no key", "digitalme_backup_api_jwt_key_file"),
        ("open", f"chmod 600 {keys['open']}"),
        ("short", f"{keys['short']}: the secret has 31 bytes"),
        ("scope", "there is no scope 'write'"),
        ("scopes", "root"),
        ("algorithm", "none"),
        ("confused", f"{keys['secret']}: it has no private key in PEM"),
    ):
        assert said in run[name].result["msg"], name
    assert SECRET[:20] not in run.output


def test_plugin_has_a_manual_page(tmp_path):
    environment = {**os.environ, "ANSIBLE_HOME": str(tmp_path)}
    command = [str(pathlib.Path(sys.executable).parent / "ansible-doc"), "--json", "--type", "lookup"]
    done = subprocess.run(
        [*command, "digitalme.backup.jwt"], env=environment, capture_output=True, text=True, check=True
    )
    page = json.loads(done.stdout)["digitalme.backup.jwt"]
    assert "digitalme.backup.jwt" in page["examples"]
    for name, option in page["doc"]["options"].items():
        assert option["description"], name
        assert name == "_terms" or [one["name"] for one in option["vars"]] == [f"digitalme_backup_api_jwt_{name}"]
