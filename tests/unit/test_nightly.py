# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One run of one name, with doors that do as they are told: what a part's failure means for the others."""

from __future__ import annotations

import pytest
from engine import errors, nightly

MADE = {
    "changed": True,
    "backup": {"file": "app_1.db", "stored_bytes": 5, "verification": {"level": "full", "status": "ok"}},
    "skipped_reason": None,
    "warnings": ["a warning"],
}
KEPT = {"changed": True, "kept": [{"file": "app_1.db"}], "removed": [{"file": "app_0.db"}], "held": None}
WELL = {"changed": False, "status": "healthy", "checks": [{"status": "ok", "message": "fine"}]}
ILL = {"changed": False, "status": "unhealthy", "checks": [{"status": "unhealthy", "message": "there is no backup"}]}
WRITTEN = {"changed": False, "path": "/textfile/digitalme_backup_app.prom", "text": ""}


class Doors:
    """Records what was called; each door answers or raises as told."""

    def __init__(self, **answers):
        self.called = []
        self.told = []
        self.answers = {"backup": MADE, "retention": KEPT, "health": WELL, "metrics": WRITTEN, "notify": [], **answers}

    def door(self, part):
        def call():
            self.called.append(part)
            answer = self.answers[part]
            if isinstance(answer, Exception):
                raise answer
            return dict(answer)

        return call

    def notify(self, kind, message, details):
        self.told.append((kind, message, details))
        return self.answers["notify"]

    def run(self, parts=nightly.PARTS, auto_cleanup=True, check=False):
        doors = nightly.Doors(*(self.door(part) for part in nightly.PARTS[:4]), self.notify)
        return nightly.run("app", doors, parts, auto_cleanup, check)


def _statuses(result):
    return {row["part"]: row["status"] for row in result["parts"]}


def test_run_does_every_part_in_order_and_tells_of_start_and_success():
    doors = Doors()
    result = doors.run()
    assert doors.called == ["backup", "retention", "health", "metrics"]
    assert [kind for kind, _message, _details in doors.told] == ["start", "success"]
    assert doors.told[-1][1] == "app_1.db, verification full: ok; healthy"
    assert _statuses(result) == dict.fromkeys(nightly.PARTS, "ok")
    assert (result["status"], result["changed"], result["removed"]) == ("ok", True, ["app_0.db"])
    assert (result["health"], result["checks"], result["warnings"]) == ("healthy", [], ["a warning"])
    assert nightly.exit_code([result]) == 0


def test_nothing_expires_after_a_failed_backup_and_the_other_parts_go_on():
    doors = Doors(backup=errors.NoSpace("the disk is full", path="/b"))
    result = doors.run()
    assert doors.called == ["backup", "health", "metrics"]
    assert _statuses(result)["retention"] == "skipped"
    assert (result["status"], nightly.exit_code([result])) == ("failed", 5)
    kind, message, details = doors.told[-1]
    assert kind == "failure" and "the disk is full" in message
    assert details["parts"]["retention"] == "skipped"


def test_backup_that_was_stored_but_cannot_be_judged_is_told_of_and_holds_retention():
    stored = errors.Unverifiable("a collation is missing", path="/b/app_1.db", backup=MADE["backup"])
    doors = Doors(backup=stored)
    result = doors.run()
    assert result["backup"]["file"] == "app_1.db" and "retention" not in doors.called
    assert nightly.exit_code([result]) == 8


@pytest.mark.parametrize("part", ["retention", "metrics"])
def test_failure_of_a_later_part_hides_no_other(part):
    doors = Doors(**{part: errors.IoError("the disk has a fault", path="/b")})
    result = doors.run()
    assert doors.called == ["backup", "retention", "health", "metrics"]
    assert (result["status"], _statuses(result)[part]) == ("degraded", "failed")
    assert doors.told[-1][0] == "failure" and nightly.exit_code([result]) == 1


def test_defect_of_a_part_hides_no_other():
    doors = Doors(retention=ZeroDivisionError("oops"))
    result = doors.run()
    assert doors.called == ["backup", "retention", "health", "metrics"]
    row = next(row for row in result["parts"] if row["part"] == "retention")
    assert row["status"] == "failed" and "ZeroDivisionError: oops" in row["detail"]


def test_unhealthy_name_is_a_failed_run_with_its_causes():
    doors = Doors(health=ILL)
    result = doors.run()
    assert (result["status"], nightly.exit_code([result])) == ("failed", 1)
    assert "there is no backup" in doors.told[-1][1]
    assert result["checks"] == ILL["checks"]


def test_degraded_health_is_no_failure_but_is_told():
    result = Doors(health={**WELL, "status": "degraded"}).run()
    assert (result["status"], nightly.exit_code([result])) == ("degraded", 0)


def test_hold_is_told_beside_the_outcome():
    doors = Doors(retention={**KEPT, "held": "the newest backup is unverified"})
    result = doors.run()
    assert [kind for kind, _message, _details in doors.told] == ["start", "hold", "success"]
    assert result["held"] == "the newest backup is unverified"


def test_notification_that_does_not_arrive_is_a_failed_part_and_changes_nothing_else():
    doors = Doors(notify=["webhook: refused"])
    result = doors.run()
    assert doors.called == ["backup", "retention", "health", "metrics"]
    assert (result["status"], nightly.exit_code([result])) == ("degraded", 1)
    failed = [row["detail"] for row in result["parts"] if row["status"] == "failed"]
    assert failed == ["start: webhook: refused", "failure: webhook: refused"]


def test_switched_off_cleanup_expires_nothing_but_when_asked_for():
    doors = Doors()
    assert _statuses(doors.run(auto_cleanup=False))["retention"] == "skipped"
    assert doors.called == ["backup", "health", "metrics"]
    doors = Doors()
    doors.run(parts=("retention",), auto_cleanup=False)
    assert doors.called == ["retention"]


def test_wanted_parts_alone_are_done():
    doors = Doors()
    result = doors.run(parts=("health",))
    assert (doors.called, doors.told, list(_statuses(result))) == (["health"], [], ["health"])


def test_plan_writes_no_metrics_and_tells_nobody():
    plan = {"changed": True, "backup": None, "skipped_reason": None, "plan": {"file": "app_2.db"}}
    doors = Doors(backup=plan)
    result = doors.run(check=True)
    assert (doors.called, doors.told) == (["backup", "retention", "health"], [])
    assert "would make app_2.db" in result["parts"][0]["detail"]


def test_worst_and_exit_code_of_several_names():
    good, bad = Doors().run(), Doors(backup=errors.Busy("held", path="/b")).run()
    assert nightly.worst([good, bad]) == "failed" and nightly.worst([good]) == "ok"
    assert nightly.exit_code([good, bad]) == 6
