# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""From what hosts have answered when they were reviewed to an entry of the maintenance log."""

from __future__ import annotations

import copy
import json
import pathlib
import re
import threading

import pytest
from ansible_collections.digitalme.backup.plugins.module_utils.engine import clock, operations
from ansible_collections.digitalme.backup.plugins.plugin_utils import maintenance, maintenance_page

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PAGE = ROOT / "docs" / "BACKUP_MAINTENANCE_PROCEDURES.md"
BY = {"user": "ada", "controller": "ctl", "ansible": "2.21.5", "job": None}
RUN = {"id": "weekly-1", "kind": "weekly", "started_at": "2026-11-22T10:00:00Z", "version": "0.1.0", "checklist": []}
DONE = clock.parse("2026-11-22T10:05:00Z")


@pytest.fixture(scope="module")
def answer(tmp_path_factory):
    """What a host answers: a backup, a restore test, a restore, one that was refused, and one that failed."""
    import sqlite3

    place = tmp_path_factory.mktemp("host")
    path, settings = place / "live" / "app.db", place / "config.json"
    path.parent.mkdir()
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY)")
    connection.close()
    entry = {"name": "app", "path": str(path), "backup_dir": str(place / "backups"), "schedule": "0 2 * * *"}
    settings.write_text(json.dumps({"databases": [entry], "audit_log": str(place / "audit.jsonl")}))
    named = {"name": "app", "config_path": str(settings)}
    operations.backup(**named)
    with sqlite3.connect(path) as connection:
        connection.execute("INSERT INTO t VALUES (1)")
    connection.close()
    operations.restore(**named, test=True)
    operations.restore(**named, force=True, caller={"via": "api", "subject": "eve"})
    for wrong in ({"force": False}, {"force": True, "backup": "nothing.db"}):
        with pytest.raises(Exception, match=r"."):
            operations.restore(**named, **wrong)
    found = operations.review(config_path=str(settings))
    return json.loads(json.dumps(found))


def _part(result, host="shop-1", **changes):
    times = {"asked_at": "2026-11-22T10:00:00Z", "answered_at": "2026-11-22T10:00:01Z"}
    told = {"outcome": "answered", "error_code": None, "cause": None, "next_step": None}
    return {"host": host, **times, **told, "result": result, **changes}


def _entry(*parts, **run):
    return maintenance.entry({**RUN, **run}, [], parts, BY, DONE)


def _in_time(answer):
    return {**copy.deepcopy(answer), "clock": "2026-11-22T10:00:00.5Z"}


# --- the figures -----------------------------------------------------------------------------------------------------


def test_figures_failures_and_restores_are_in_the_entry(answer):
    made = _entry(_part(_in_time(answer)), kind="monthly")
    (row,) = made["databases"]
    assert (row["host"], row["database"], row["status"]) == ("shop-1", "app", "attention")
    assert row["backups"]["runs"] == row["backups"]["ok"] == 1
    assert (row["days_without_backup"], row["kept"], row["pre_restore"]) == (0, 2, 1)
    assert row["database_bytes"] > 0 and row["seconds"]["backup"]["median"] > 0 and row["seconds"]["restore"]
    assert "days_left" not in row, "what is not known is left out"
    assert made["rates"]["restore_tests"]["percent"] == 100.0 and made["rates"]["backups"]["percent_before"] is None
    assert [(one["host"], one["outcome"]) for one in made["failures"]] == [
        ("shop-1", "not_confirmed"),
        ("shop-1", "backup_not_found"),
    ]
    assert [one["outcome"] for one in made["restores"]] == ["ok", "not_confirmed", "backup_not_found"]
    assert (made["restores"][0]["who"], made["restores"][0]["via"]) == ("eve", "api")


def test_page_shows_the_same_to_people(answer):
    text = maintenance_page.entry(_entry(_part(_in_time(answer))))
    assert "- 1 of 1 backups succeeded (100 %; as long before: \N{EN DASH})" in text
    assert "| database | size |" in text and "| shop\\-1/app | " in text
    assert re.search(r"- 20\d\d.* shop\\-1/app: restore ok, by eve \(api\)\n", text)
    assert text.index("backup\\_not\\_found") < text.index("not\\_confirmed"), "the newest is not the first"
    assert "full in" not in text, "a column of nothing"


def test_rates_of_a_fleet_are_those_of_its_runs():
    def rated(runs, good, before, good_before):
        rate = {"runs": runs, "ok": good, "percent": 0, "runs_before": before, "ok_before": good_before}
        return {"backups": {**rate, "percent_before": 0}}

    whole = maintenance.maintenance_reviews.fleet([rated(100, 100, 10, 5), rated(1, 0, 0, 0), {}])
    assert whole == {
        "backups": {"runs": 101, "ok": 100, "percent": 99.0, "runs_before": 10, "ok_before": 5, "percent_before": 50.0}
    }


def test_hosts_clock_is_compared_with_the_controllers(answer):
    for wrong, said in (("2026-11-22T10:20:01Z", "20 min ahead of"), ("2026-11-22T09:20:00Z", "40 min behind")):
        (row,) = [row for row in _entry(_part({**answer, "clock": wrong}))["findings"] if row["id"] == "clock_differs"]
        assert said in row["finding"] and row["severity"] == "medium"
    assert "clock_differs" not in {row["id"] for row in _entry(_part(_in_time(answer)))["findings"]}


# --- what must not cost the others their entry -----------------------------------------------------------------------


def _broken(answer, *path, value):
    broken = _in_time(answer)
    place = broken
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return broken


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("databases",), "all of them"),
        (("databases",), [None]),
        (("databases", 0, "status"), "fine"),
        (("databases", 0, "findings"), [{"id": "x"}]),
        (("databases", 0, "findings"), 7),
        (("databases", 0, "findings", 0, "severity"), "terrible"),
        (("databases", 0, "log", "rates", "backup"), []),
        (("databases", 0, "log", "rates", "backup", "runs"), "many"),
        (("databases", 0, "disk", "database_bytes"), float("nan")),
        (("databases", 0, "disk", "free_bytes"), True),
        (("databases", 0, "retention", "would_remove"), None),
        (("databases", 0, "performance", "backup"), "fast"),
        (("databases", 0, "log", "failures"), [{}]),
        (("databases", 0, "log", "restores", 0, "time"), "yesterday"),
        (("findings",), {"a": 1}),
        (("status",), ["ok"] * 999),
    ],
)
def test_answer_that_makes_no_sense_costs_no_other_host_its_entry(answer, path, value):
    made = _entry(_part(_broken(answer, *path, value=value), "bad"), _part(_in_time(answer), "good"))
    assert {row["host"] for row in made["databases"]} == {"good"}
    assert [row["id"] for row in made["findings"] if row["host"] == "bad"] == ["not_reviewed"]
    assert (made["verdict"], made["hosts"][0]["status"]) == ("action", "failed")
    json.dumps(made, allow_nan=False)
    maintenance_page.entry(made)


def test_words_of_a_host_stay_words(answer):
    evil = _in_time(answer)
    evil["databases"][0]["name"] = "app](http://evil) <script>\n## 2026-11-22 weekly: ok"
    evil["databases"][0]["log"]["failures"][0]["cause"] = "| x |\n\u202e" + "y" * 9000
    made = _entry(_part(evil))
    text = maintenance_page.entry(made)
    assert "<script>" not in text and "](http" not in text and "\u202e" not in text
    assert [line for line in text.splitlines() if line.startswith("## ")] == ["## 2026-11-22 weekly: attention"]
    assert len(json.dumps(made)) < 20000


def test_large_fleet_makes_a_short_page(answer):
    made = _entry(*(_part(_in_time(answer), f"shop-{number}") for number in range(300)))
    assert len(made["databases"]) == 300 and len(made["restores"]) == 50
    text = maintenance_page.entry(made)
    assert len(text.splitlines()) < 160
    assert "- and 280 more, in maintenance.jsonl" in text and "- and 30 more, in maintenance.jsonl" in text


# --- the files -------------------------------------------------------------------------------------------------------


def test_two_runs_at_once_write_one_whole_line_each(tmp_path, answer):
    made = [_entry(_part(_in_time(answer)), id=f"weekly-{number}") for number in range(8)]
    threads = [threading.Thread(target=maintenance.append, args=(str(tmp_path), each)) for each in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = (tmp_path / "maintenance.jsonl").read_text("ascii").splitlines()
    assert {json.loads(line)["id"] for line in lines} == {each["id"] for each in made}
    text = (tmp_path / "MAINTENANCE_LOG.md").read_text("utf-8")
    assert text.count("# Maintenance log\n") == 1 and text.count("\n## ") == 8


# --- the document ----------------------------------------------------------------------------------------------------


def _documented(title):
    section = PAGE.read_text("utf-8").partition(f"\n{title}\n")[2].partition("\n#")[0]
    rows = re.findall(r"^\| (`[^|]+) \|", section, re.MULTILINE)
    return {name for row in rows for name in re.findall(r"`(\w+)`", row)}


def test_fields_of_an_entry_are_documented(answer):
    made = _entry(_part(_in_time(answer)))
    assert _documented("### Fields of an entry") == set(made)
    documented = _documented("### Figures of a database")
    assert set(made["databases"][0]) <= documented
    reviews = maintenance.maintenance_reviews
    assert documented - set(made["databases"][0]) <= {
        "database_bytes_per_day",
        "backups_bytes_per_day",
        "days_left",
        "held",
    }
    assert set(reviews._DISK) <= documented


def test_every_finding_has_its_row_in_the_document():
    review = ROOT / "plugins" / "module_utils" / "engine" / "review"
    code = "".join(
        path.read_text("utf-8")
        for path in [*review.glob("*.py"), *(ROOT / "plugins" / "plugin_utils").glob("maint*.py")]
    )
    known = set(re.findall(r'finding\(\s*"(\w+)"', code)) | set(re.findall(r'"id": "(\w+)"', code))
    kinds = ("backup", "verification", "restore_test", "restore")
    known |= {f"{kind}_slower" for kind in kinds} | {"rpo_objective_missing", "rto_objective_missing"}
    known |= {f"{place}_open" for place in ("backup_dir", "state_dir", "audit_log")} | {"config_writable"}
    assert len(known) > 30, "the findings are not found"
    assert _documented("## What to do with a finding") >= known
