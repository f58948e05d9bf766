# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Runs of a configured host through the door, with real databases and a real listener for the notifications."""

from __future__ import annotations

import http.server
import json
import os
import threading

import pytest
from engine import audit, clock, errors, host, operations


@pytest.fixture
def listener():
    """A web server on loopback: ``listener.events`` are the JSON bodies that it was sent."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.server.events.append(json.loads(body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_arguments):
            """Nothing is printed."""

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    server.events = []
    server.url = f"http://127.0.0.1:{server.server_address[1]}/hook"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


class Site:
    """A configured host: ``put`` writes its configuration, ``run`` runs it, ``lines`` reads its audit log."""

    def __init__(self, root):
        self.root = root
        self.path = root / "config.json"
        self.log = root / "audit.jsonl"
        self.metrics = root / "textfile"
        self.metrics.mkdir()

    def put(self, *databases, **more):
        document = {
            "audit_log": str(self.log),
            "metrics_dir": str(self.metrics),
            "databases": [{"backup_dir": str(self.root / "backups" / row["name"]), **row} for row in databases],
            **more,
        }
        self.path.write_text(json.dumps(document))

    def tell(self, *channels):
        (self.root / "notifications.json").write_text(json.dumps({"channels": list(channels)}))

    def run(self, **wanted):
        return operations.run(config_path=str(self.path), caller={"via": "test"}, **wanted)

    def lines(self):
        return [(row["operation"], row["name"], row["outcome"]) for row in audit.read(str(self.log))]


@pytest.fixture
def site(tmp_path):
    (tmp_path / "host").mkdir()
    return Site(tmp_path / "host")


def test_each_part_of_a_run_leaves_its_own_audit_line(site, database, listener):
    site.put({"name": "app", "path": database})
    site.tell({"type": "webhook", "url": listener.url})
    result = site.run()
    assert result["status"] == "ok" and result["changed"]
    parts = ["notify", "backup", "retention", "health", "metrics", "notify", "run"]
    assert site.lines() == [(part, "app", "ok") for part in parts]
    assert audit.check(str(site.log))["intact"]
    assert [event["event"] for event in listener.events] == ["start", "success"]
    assert len({event["run_id"] for event in listener.events}) == 1
    assert [path.name for path in site.metrics.iterdir()] == ["digitalme_backup_app.prom"]


def test_database_that_is_not_there_yet_fails_alone_and_has_its_metrics(site, database, tmp_path):
    site.put({"name": "gone", "path": str(tmp_path / "gone.db")}, {"name": "app", "path": database})
    with pytest.raises(errors.RunFailed, match=r"gone: backup: .*there is no such file") as caught:
        site.run()
    rows = {row["name"]: row for row in caught.value.details["databases"]}
    assert (rows["gone"]["status"], rows["app"]["status"]) == ("failed", "ok")
    assert sorted(path.name for path in site.metrics.iterdir()) == [
        "digitalme_backup_app.prom",
        "digitalme_backup_gone.prom",
    ]
    assert not (tmp_path / "gone.db").exists()


def test_damaged_database_rotates_nothing_out(site, database, listener):
    site.put({"name": "app", "path": database, "retention": {"keep_days": 0, "keep_last": 1}})
    site.tell({"type": "webhook", "url": listener.url, "events": ["failure"]})
    good = site.run()["databases"][0]["backup"]["file"]
    with open(database, "r+b") as stream:
        stream.seek(4096)
        stream.write(b"\xff" * 4096)
    with pytest.raises(errors.RunFailed):
        site.run()
    assert ("retention", "app", "ok") not in site.lines()[-4:]
    assert os.path.exists(site.root / "backups" / "app" / good)
    assert [event["event"] for event in listener.events] == ["failure"]


def test_configuration_that_cannot_be_read_is_told_and_touches_nothing(site, database, listener, monkeypatch):
    site.put({"name": "app", "path": database})
    site.tell({"type": "webhook", "url": listener.url})
    site.run()
    listener.events.clear()
    before = sorted(os.listdir(site.root / "backups" / "app"))
    site.path.write_text('{"databases": [')
    monkeypatch.setattr(host.config, "PATH", str(site.path))
    monkeypatch.setattr(host.config, "AUDIT_LOG", str(site.log))
    with pytest.raises(errors.ConfigError, match="not valid JSON"):
        operations.run(caller={"via": "test"})
    assert [(event["event"], event["name"]) for event in listener.events] == [("failure", "all")]
    assert "not valid JSON" in listener.events[0]["message"]
    assert sorted(os.listdir(site.root / "backups" / "app")) == before
    assert site.lines()[-1] == ("run", "all", "config_invalid")


def test_broken_notifications_are_a_failed_part_and_the_backup_is_made(site, database):
    site.put({"name": "app", "path": database})
    (site.root / "notifications.json").write_text("{")
    with pytest.raises(errors.RunFailed) as caught:
        site.run(fail_on="degraded")
    row = caught.value.details["databases"][0]
    assert (row["status"], row["backup"] is None) == ("degraded", False)
    assert "notifications.json" in row["message"]


def test_failure_that_a_run_has_told_is_not_told_again_from_outside(site, database, tmp_path, listener):
    site.put({"name": "app", "path": database}, {"name": "gone", "path": str(tmp_path / "gone.db")})
    site.tell({"type": "webhook", "url": listener.url, "events": ["failure"]})
    told = {"config_path": str(site.path), "event": "failure", "unless_told": True}
    with pytest.raises(errors.RunFailed):
        site.run(names=["gone"])
    assert len(listener.events) == 1
    operations.notify(name="gone", **told)
    assert len(listener.events) == 1
    operations.notify(name="app", **told)
    assert [event["name"] for event in listener.events] == ["gone", "app"]


def test_run_that_was_interrupted_has_told_nobody(site, database, listener):
    site.put({"name": "app", "path": database})
    site.tell({"type": "webhook", "url": listener.url, "events": ["failure"]})
    audit.append(str(site.log), {"operation": "run", "name": "app", "outcome": "interrupted"})
    operations.notify(name="app", config_path=str(site.path), event="failure", unless_told=True)
    assert [event["name"] for event in listener.events] == ["app"]


def test_run_of_the_night_before_is_not_the_one_that_failed_now(site, database, listener, monkeypatch):
    site.put({"name": "app", "path": database})
    site.tell({"type": "webhook", "url": listener.url, "events": ["failure"]})
    with monkeypatch.context() as patch:
        yesterday = clock.after(clock.now(), -86400)
        patch.setattr(clock, "now", lambda: yesterday)
        audit.append(str(site.log), {"operation": "run", "name": "app", "outcome": "ok"})
    operations.notify(name="app", config_path=str(site.path), event="failure", unless_told=True)
    assert len(listener.events) == 1


def test_plan_changes_nothing(site, database):
    site.put({"name": "app", "path": database})
    result = site.run(check=True, parts=["backup"])
    assert result["changed"] and result["databases"][0]["backup"] is None
    assert not (site.root / "backups").exists() and site.lines() == []


@pytest.mark.parametrize(
    ("wanted", "cause"),
    [({"names": ["other"]}, "no database is called other"), ({"parts": ["dance"]}, "a run has no part dance")],
)
def test_unknown_names_and_parts_are_refused(site, database, wanted, cause):
    site.put({"name": "app", "path": database})
    with pytest.raises(errors.UsageError, match=cause):
        site.run(**wanted)


def test_host_without_a_database_is_refused(site):
    site.put()
    with pytest.raises(errors.UsageError, match="configured: none"):
        site.run()
    site.put({"name": "app", "path": "/srv/app.db"})


def test_metrics_directory_that_is_not_there_is_a_failed_part(site, database):
    site.put({"name": "app", "path": database}, metrics_dir=str(site.root / "nothing"))
    row = site.run()["databases"][0]
    assert row["status"] == "degraded"
    assert "no such directory for metrics" in row["message"]
