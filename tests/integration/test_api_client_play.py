# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The plays for hosts that answer only by HTTPS, against a stand-in of the API: nothing else of the host is touched."""

from __future__ import annotations

import json
import os
import pathlib
import re
import subprocess

import pytest
import stand_in as api
from stand_in import DROP, FILE, KEPT, OPERATION, SECRET, StandIn, problem

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
RESTORE, POLL = ("POST", f"/restore/{FILE}"), ("GET", f"/operations/{OPERATION}")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    return api.certificates(tmp_path_factory.mktemp("tls"))


class Client:
    """A controller with the key of the API, and an inventory of hosts that no ssh reaches."""

    def __init__(self, root, authority, host):
        self.root, self.host = root, host
        self.key = root / "api.key"
        self.key.write_text(SECRET + "\n")
        self.key.chmod(0o600)
        # Of somebody who uses curl: it must not take the place of the token.
        (root / ".netrc").write_text("machine 127.0.0.1 login ada password hidden\n")
        (root / ".netrc").chmod(0o600)
        self.common = {
            # Whatever would go to the host itself fails.
            "ansible_connection": "ssh",
            "ansible_host": "127.0.0.1",
            "ansible_port": 1,
            "ansible_become": True,
            "ansible_become_user": "nobody",
            "ansible_python_interpreter": "/nowhere/python3",
            "digitalme_backup_api_url": host.url if host else "",
            "digitalme_backup_api_ca": str(authority),
            "digitalme_backup_api_jwt_key_file": str(self.key),
            "digitalme_backup_api_poll_interval": 0.1,
            "digitalme_backup_api_timeout": 60,
            "digitalme_backup_contacts": ["Ada, +44 1"],
        }
        self.hosts = {"shop-17": {}}

    def play(self, name, *options, limit="shop-17", **variables):
        inventory = self.root / "inventory.json"
        inventory.write_text(json.dumps({"all": {"hosts": self.hosts, "vars": self.common}}))
        words = ["ansible-playbook", "-i", str(inventory), str(ROOT / "playbooks" / name), *options]
        words += ["-l", limit] if limit else []
        words += ["-e", json.dumps(variables)] if variables else []
        kept = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
        environment = {
            **kept,
            "ANSIBLE_HOME": str(self.root / "ansible"),
            "ANSIBLE_NOCOLOR": "1",
            "HOME": str(self.root),
        }
        # As ansible-core before 2.21 does it anyway: what a module was called with is shown with -vvv.
        environment["ANSIBLE_INJECT_INVOCATION"] = "true"
        done = subprocess.run(
            words, env=environment, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
        )
        said = done.stdout + done.stderr
        assert SECRET not in said and "eyJ" not in said, "a token or the key is in the output"
        return done.returncode, said

    def restore(self, *options, **variables):
        return self.play("api_restore.yml", *options, **{"confirm": "yes", **variables})


@pytest.fixture
def host(certificates):
    with StandIn(certificates[1]).running() as found:
        yield found


@pytest.fixture
def client(tmp_path, certificates, host):
    return Client(tmp_path, certificates[0], host)


# --- it goes well ----------------------------------------------------------------------------------------------------


def test_one_command_has_the_host_restore_once_and_waits_for_its_end(client, host):
    status, said = client.restore("-vvv", digitalme_backup_api_database="shop")
    assert status == 0, said
    assert "RESTORED shop on shop-17" in said and KEPT in said and "RTO" in said and "RPO" in said
    assert f"run this play again with -e backup={KEPT.rpartition('/')[2]}" in said
    assert host.routes() == [
        "",
        f"/recovery-info/{FILE}",
        f"/test-recovery/{FILE}",
        f"/restore/{FILE}",
        f"/operations/{OPERATION}",
        f"/operations/{OPERATION}",
    ]
    assert all(query["database"] == "shop" for _method, _route, query, _headers in host.asked)
    _method, _route, query, headers = next(row for row in host.asked if row[:2] == RESTORE)
    assert query["confirmRestore"] == "true" and headers["Prefer"] == "respond-async"
    assert len(set(host.subjects)) == 1 and "@" in host.subjects[0]
    assert re.search(r"shop-17 .*changed=1 .*failed=0", said)


def test_check_mode_shows_the_plan_and_begins_nothing_and_its_id_confirms_that_plan_alone(client, host):
    status, said = client.play("api_restore.yml", "--check")
    assert status == 0 and "RESTORED" not in said, said
    for line in ("backup        " + FILE + ", valid", "age           0 d 02 h", "a pre-restore backup is made first"):
        assert line in said
    assert RESTORE not in [row[:2] for row in host.asked]
    plan = re.search(r"PLAN ([0-9a-f]{16}) by", said).group(1)
    status, said = client.play("api_restore.yml", confirm="0123456789abcdef")
    assert status == 2 and "Another plan was confirmed: 0123456789abcdef" in said and f"confirm={plan}" in said, said
    assert host.routes("POST") == [f"/test-recovery/{FILE}"] * 2
    assert client.play("api_restore.yml", confirm=plan)[0] == 0
    # Another backup under the same name is another plan.
    host.answers[("GET", "")] = [(200, {}, [api.backup(hours=1)])]
    status, said = client.play("api_restore.yml", confirm=plan)
    assert status == 2 and "Another plan was confirmed" in said


def test_time_means_the_newest_backup_not_after_it_and_a_pre_restore_backup_is_named_by_its_file(client, host):
    status, said = client.restore("--check", backup=api.ago(2.5))
    assert status == 2 and host.routes()[1] == "/recovery-info/shop_20261122_010000.db", said
    host.asked.clear()
    kept = KEPT.rpartition("/")[2]
    status, said = client.restore("--check", backup=kept)
    assert status == 2 and host.routes()[1] == f"/recovery-info/{kept}" and "there is no such backup" in said
    assert "-e backup=FILE" in said


def test_operation_that_an_earlier_run_has_begun_is_waited_for_and_nothing_is_begun(client, host):
    status, said = client.play("api_restore.yml", digitalme_backup_api_operation=OPERATION)
    assert status == 0 and "RESTORED" in said, said
    assert set(host.routes()) == {f"/operations/{OPERATION}"} and host.routes("POST") == []


def test_host_that_restores_at_once_is_not_asked_again(client, host):
    host.answers[RESTORE] = [(200, {}, api.RECOVERED)]
    status, said = client.restore()
    assert status == 0 and "RESTORED" in said and POLL not in [row[:2] for row in host.asked], said


# --- connections, and what nobody knows ------------------------------------------------------------------------------


def test_lost_connections_while_it_runs_are_no_end_and_the_restore_is_sent_once(client, host):
    refused = problem(503, "gate_unreachable", "later", next_step="Wait.")
    limited = problem(429, "too_many_requests", "too often")
    host.answers[POLL] = [DROP, (502, {}, b"<html>"), refused, limited, *host.answers[POLL]]
    status, said = client.restore()
    assert status == 0 and "RESTORED" in said, said
    assert host.routes("POST").count(f"/restore/{FILE}") == 1 and host.routes().count(f"/operations/{OPERATION}") == 6


def test_polling_gets_a_new_token_before_the_old_one_expires(client, host):
    seen = []

    def poll(_query, headers):
        seen.append(headers["Authorization"])
        done = len(set(seen)) > 1
        return 200, {}, host.state("succeeded", result=api.RECOVERED) if done else host.state()

    host.answers[POLL] = [poll]
    # A token of ten seconds is used for five.
    status, said = client.restore(digitalme_backup_api_jwt_lifetime=10)
    assert status == 0 and len(set(seen)) == 2, said


def test_restore_that_does_not_end_in_time_is_told_with_how_to_wait_for_it(client, host):
    # With a tenth of a second between the questions it is over before the last of these is asked for.
    host.answers[POLL] = [(200, {}, host.state())] * 12 + host.answers[POLL]
    status, said = client.restore(digitalme_backup_api_timeout=1)
    assert status == 2 and "NOT ENDED" in said and f"digitalme_backup_api_operation={OPERATION}" in said, said
    assert host.routes("POST").count(f"/restore/{FILE}") == 1


@pytest.mark.parametrize("answer", [DROP, (504, {}, b"gateway")], ids=["drop", "504"])
def test_answer_to_the_restore_that_is_lost_is_told_as_unknown_and_it_is_not_sent_again(client, host, answer):
    host.answers[RESTORE] = [answer]
    status, said = client.restore()
    assert status == 2 and "NOT KNOWN: whether the restore was begun" in said and "Ada, +44 1" in said, said
    assert f"Runs there now: restore {OPERATION}" in said
    assert host.routes("POST").count(f"/restore/{FILE}") == 1 and "The database is as it was" not in said


def test_location_elsewhere_is_not_followed_and_no_redirect_takes_the_token_along(client, host, certificates):
    with StandIn(certificates[1]).running() as elsewhere:
        host.answers[RESTORE] = [(202, {"Location": elsewhere.url + "/steal"}, host.state())]
        assert client.restore()[0] == 0
        host.answers[RESTORE] = [(202, {"Location": elsewhere.url + "/steal"}, {"status": "running"})]
        status, said = client.restore()
        assert status == 2 and "NOT KNOWN" in said, said
        host.answers[("GET", "")] = [(307, {"Location": elsewhere.url + "/api/backup"}, {})]
        status, said = client.restore()
        assert status == 2 and "no token is sent" in said, said
        assert elsewhere.asked == []


# --- refusals --------------------------------------------------------------------------------------------------------

REFUSED = {
    "busy": (RESTORE, problem(423, "busy", "a backup runs (pid 7)", next_step="Wait for it."), "Wait for it."),
    "scope": (RESTORE, problem(403, "wrong_scope", "lacks admin"), "must have the scope 'admin'"),
    "often, for long": (RESTORE, problem(429, "too_many_requests", "ask again in 3600 s"), "ask again in 3600 s"),
    "token": (("GET", ""), problem(401, "invalid_token", "the token has expired"), "digitalme_backup_api_jwt_*"),
    "rehearsal": (
        ("POST", f"/test-recovery/{FILE}"),
        (200, {}, StandIn.tested(canRecover=False, errorMessage="the SHA-256 differs", backupValid=False)),
        "It cannot be restored: the SHA-256 differs. Nothing was changed",
    ),
    "no backup": (("GET", ""), (200, {}, [api.backup(isValid=False)]), "there is no valid backup among the 1"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusal_says_why_and_what_to_do_and_nothing_is_restored(client, host, case):
    request, answer, said_of_it = REFUSED[case]
    host.answers[request] = [(answer[0], {**answer[1], "Retry-After": "3600"}, answer[2])]
    status, said = client.restore()
    assert status == 2 and said_of_it in said and "RESTORED /" not in said and "RESTORED the" not in said, said
    assert host.routes("POST").count(f"/restore/{FILE}") == (1 if request == RESTORE else 0)
    assert ("The database is as it was." in said) == (request == RESTORE) and "changed=0" in said


def test_without_a_confirmation_nothing_is_begun(client, host):
    status, said = client.play("api_restore.yml")
    assert status == 2 and "Not confirmed" in said and host.routes("POST") == [f"/test-recovery/{FILE}"], said


def test_without_a_limit_a_fleet_is_not_restored(client, host):
    client.hosts["shop-18"] = {}
    status, said = client.play("api_restore.yml", limit=None, confirm="yes")
    assert status == 2 and "Name the host with -l" in said and host.asked == [], said


def test_host_that_says_wait_is_asked_once_more_and_no_oftener(client, host):
    limited = problem(429, "too_many_requests", "too often")
    limited = (limited[0], {**limited[1], "Retry-After": "1"}, limited[2])
    host.answers[("POST", f"/test-recovery/{FILE}")].insert(0, limited)
    host.answers[RESTORE].insert(0, limited)
    assert client.restore()[0] == 0
    # It was refused for its frequency alone: this is the one case in which it is sent again.
    assert host.routes("POST").count(f"/restore/{FILE}") == 2
    host.asked.clear()
    host.answers[RESTORE] = [limited]
    status, said = client.restore()
    assert status == 2 and "too often" in said and host.routes("POST").count(f"/restore/{FILE}") == 2, said


def test_restore_that_fails_on_the_host_is_told_with_its_cause_and_whom_to_call(client, host):
    error = problem(422, "rolled_back", "the assertion did not hold", next_step="Choose another.")[2]
    error["steps"] = [{"name": "verify", "status": "ok"}, {"name": "assertions", "status": "failed"}]
    host.answers[POLL] = [(200, {}, host.state("failed", error=error))]
    status, said = client.restore()
    assert status == 2 and "Call: Ada, +44 1" in said, said
    cause = (
        "NOT RESTORED: the assertion did not hold (rolled_back) at the step assertions. Rolled back: the old content"
    )
    assert cause + " is in place again. Choose another." in said


# --- whom to trust ---------------------------------------------------------------------------------------------------


def test_certificate_of_an_unknown_ca_is_refused_and_no_token_is_sent(client, host, certificates, tmp_path):
    (tmp_path / "other").mkdir()
    client.common["digitalme_backup_api_ca"] = str(api.certificates(tmp_path / "other")[0])
    for variables in ({}, {"digitalme_backup_api_ca": ""}):
        status, said = client.restore(**variables)
        assert status == 2 and "certificate verify failed" in said and "digitalme_backup_api_ca" in said, said
    assert host.asked == []


def test_key_that_is_open_to_others_and_an_address_without_tls_are_told_before_anything_is_sent(client, host):
    client.key.chmod(0o644)
    status, said = client.restore()
    assert status == 2 and f"chmod 600 {client.key}" in said, said
    client.key.chmod(0o600)
    status, said = client.restore(digitalme_backup_api_url="http://shop-17:5000")
    assert status == 2 and "as plain text" in said, said
    assert host.asked == []


def test_token_of_the_operator_is_sent_instead_of_a_signed_one_and_never_shown(client, host):
    token = api.token("read")
    status, said = client.restore(digitalme_backup_api_token=token + "\n", digitalme_backup_api_jwt_key_file="/nowhere")
    assert status == 2 and "must have the scope 'operate'" in said, said
    assert {row[3]["Authorization"] for row in host.asked} == {f"Bearer {token}"}
    host.asked.clear()
    status, said = client.restore("-vvv", digitalme_backup_api_token="hidden-one\r\nX-Injected: yes")
    assert status == 2 and "is no token" in said and host.asked == [], said


def test_what_the_host_sends_is_no_template_and_no_command_to_the_terminal(client, host, tmp_path):
    trap = tmp_path / "trapped"
    hostile = "{{ lookup('ansible.builtin.pipe', 'touch " + str(trap) + "') }}\x1b[2J\n"
    name = "{{ lookup('ansible.builtin.pipe', 'touch " + trap.name + "') }}.db"
    failed = problem(422, hostile, hostile, next_step=hostile)[2]
    host.answers = {
        ("GET", ""): [(200, {}, [api.backup(name, sha256=hostile), 7, {"fileName": ["x"]}])],
        ("GET", f"/recovery-info/{name}"): [(200, {}, host.info(name, recommendations=[hostile, 7]))],
        ("POST", f"/test-recovery/{name}"): [(200, {}, host.tested(testDuration=hostile))],
        ("POST", f"/restore/{name}"): [(202, {}, host.state())],
        POLL: [(200, {}, host.state("failed", error={**failed, "steps": [{"name": hostile, "status": "failed"}]}))],
        ("GET", "/health"): [(200, {}, {**api.HEALTH, "isHealthy": False, "status": hostile, "issues": [hostile]})],
        ("GET", "/statistics"): [(200, {}, {**api.STATISTICS, "backupsByDate": [{"date": hostile}, 7]})],
    }
    status, said = client.restore("-v")
    assert status == 2 and "NOT RESTORED: {{ lookup(" in said, said
    status, health = client.play("api_health.yml", "-v")
    assert status == 2 and "{{ lookup(" in health, health
    assert "\x1b" not in said + health and not trap.exists() and not list(tmp_path.rglob(trap.name))


# --- health ----------------------------------------------------------------------------------------------------------


def test_health_asks_all_hosts_and_then_fails_those_that_are_not_healthy(client, certificates):
    with StandIn(certificates[1]).running() as ill, StandIn(certificates[1]).running() as odd:
        sick = {**api.HEALTH, "isHealthy": False, "status": "degraded", "issues": ["the newest backup is 26 h old"]}
        ill.answers[("GET", "/health")] = [(200, {}, sick)]
        odd.answers[("GET", "/health")] = [(200, {}, {"isHealthy": "yes", "status": "healthy"})]
        client.hosts = {
            "away": {"digitalme_backup_api_url": "https://127.0.0.1:1"},
            "keyless": {"digitalme_backup_api_jwt_key_file": "/nowhere"},
            "ill": {"digitalme_backup_api_url": ill.url},
            "odd": {"digitalme_backup_api_url": odd.url},
            "shop-17": {"database": "shop"},
        }
        status, said = client.play("api_health.yml", limit=None)
    assert status == 2, said
    failed = {line.split()[0] for line in said.splitlines() if " failed=" in line and " failed=0" not in line}
    assert failed == {"away", "keyless", "ill", "odd"}
    assert "shop-17  shop      healthy" in said and "30 backups, newest 2026-11-22T02:00:00.000Z" in said
    assert "ill is degraded: the newest backup is 26 h old" in said and "29 of 30" in said
    assert "Connection refused" in said and "digitalme_backup_api_jwt_key_file" in said


def test_health_of_a_host_that_is_well_succeeds_also_in_check_mode_and_reads_alone(client, host):
    for options in ((), ("--check",)):
        status, said = client.play("api_health.yml", *options, database="shop")
        assert status == 0 and "healthy       yes" in said and "2026-11-22    1 backups, 1.0 MiB" in said, said
    assert host.routes() == ["/health", "/statistics"] * 2
    assert {row[2].get("database") for row in host.asked} == {"shop"}
