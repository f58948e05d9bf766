# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The drill of a host: which backup has its turn, what is proved of it, what is told, and that nothing is left."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import select
import signal
import sys

import pytest
from engine import clock, errors, files, lock, manifest, operations, space, store
from engine.drill import choose, objectives
from engine.drill import row as rows
from engine.operations import backups


@pytest.fixture
def host(tmp_path, database, backup_dir):
    """A host with one configured database and a backup of its 200 rows; host(**settings) -> its drill's only row."""

    place = str(backup_dir)

    class Host:
        path = database
        backup_dir = place
        configuration = str(tmp_path / "config.json")
        log = str(tmp_path / "audit.jsonl")

        def configure(self, **settings):
            entry = {"name": "app", "path": database, "backup_dir": self.backup_dir, **settings}
            self.write({"databases": [entry], "audit_log": self.log})

        def write(self, document):
            with open(self.configuration, "w", encoding="ascii") as target:
                json.dump(document, target)

        def drill(self, **options):
            return operations.drill(**{"config_path": self.configuration, "fail_on": "never", **options})

        def row(self, **options):
            (row,) = self.drill(**options)["databases"]
            return row

        def backup(self):
            return operations.backup(name="app", config_path=self.configuration)["backup"]

        def state(self):
            """Names below the backup directory, without the backups themselves."""
            return {name for name in os.listdir(os.path.join(self.backup_dir, ".state")) if not name.endswith(".lock")}

    made = Host()
    made.configure()
    made.backup()
    return made


def _damage(path):
    with open(path, "r+b") as file:
        file.seek(5000)
        byte = file.read(1)
        file.seek(5000)
        file.write(bytes([byte[0] ^ 1]))


def _tree(directory):
    found = {}
    for place, _directories, names in os.walk(directory):
        for name in names:
            path = os.path.join(place, name)
            with open(path, "rb") as source:
                found[path] = hashlib.sha256(source.read()).hexdigest()
    return found


# --- what is proved --------------------------------------------------------------------------------------------------


def test_drill_proves_the_newest_backup_and_measures_each_phase(host):
    host.configure(rto_objective=600, rpo_objective=86400)
    row = host.row()
    assert (row["status"], row["error_code"], row["cause"], row["warnings"]) == ("passed", None, None, [])
    names = ["choose", "space", "stage", "verify", "restore", "compare", "clean"]
    assert [(phase["name"], phase["status"]) for phase in row["phases"]] == [(name, "ok") for name in names]
    assert row["recoverable"] is True and row["recoverable_from"] is None
    newest = manifest.load(os.path.join(host.backup_dir, row["backup"]["file"] + ".json"))
    assert row["backup"]["sha256"] == newest["sha256"]
    assert (row["backup"]["tables"], row["backup"]["rows"]) == (1, 200)
    assert row["rto"]["met"] is row["rpo"]["met"] is True
    assert row["rto"]["achieved_seconds"] <= row["seconds"]
    limits = {limit["name"]: limit for limit in row["limits"]}
    assert list(limits) == ["restore_test", "full_restore", "validation", "memory"]
    assert limits["full_restore"]["measured"] is None and limits["full_restore"]["met"] is None
    assert limits["restore_test"]["met"] is True and limits["memory"]["measured"] > 1_000_000
    assert newest["restore_test"]["status"] == "ok"
    assert host.state() == set()


def test_drill_opens_no_live_database_and_writes_nothing_beside_it(host):
    os.chmod(host.path, 0)
    live = os.path.dirname(host.path)
    os.rename(live, live + ".away")
    assert host.row()["status"] == "passed"
    assert not os.path.exists(live)


def test_full_restore_is_made_over_the_scratch_copy_only(host):
    before = _tree(os.path.dirname(host.path))
    backups = set(os.listdir(host.backup_dir))
    row = host.row(full_restore=True)
    assert row["status"] == "passed"
    (phase,) = [phase for phase in row["phases"] if phase["name"] == "full_restore"]
    assert phase["detail"].startswith("in_place: ") and "pre_backup, restore, compare" in phase["detail"]
    limit = {limit["name"]: limit["measured"] for limit in row["limits"]}
    assert limit["full_restore"] == phase["seconds"] == row["rto"]["achieved_seconds"]
    assert _tree(os.path.dirname(host.path)) == before
    assert set(os.listdir(host.backup_dir)) == backups
    # The restore of the scratch copy is none of the host's.
    assert [line["operation"] for line in _log(host)] == ["backup", "drill"]
    assert host.state() == set()


def _log(host):
    with open(host.log, encoding="ascii") as source:
        return [json.loads(line) for line in source]


def test_audit_line_names_backup_verdict_and_rule(host):
    host.row(selection="oldest")
    line = _log(host)[-1]
    assert (line["operation"], line["outcome"], line["status"], line["selection"]) == (
        "drill",
        "ok",
        "passed",
        "oldest",
    )
    _damage(os.path.join(host.backup_dir, line["file"]))
    host.row()
    assert _log(host)[-1]["outcome"] == "backup_invalid"


def test_health_counts_a_drill_as_a_restore_test_also_when_the_backup_is_gone(host):
    file = host.row()["backup"]["file"]
    os.unlink(os.path.join(host.backup_dir, file + ".json"))
    os.unlink(os.path.join(host.backup_dir, file))
    checks = operations.health(name="app", config_path=host.configuration, fail_on="never")["checks"]
    (tested,) = [check for check in checks if check["name"] == "restore_tested"]
    assert file in tested["message"]


# --- what does not pass ----------------------------------------------------------------------------------------------


def test_damaged_backup_fails_and_the_one_to_use_instead_is_named(host):
    first = host.backup()["file"]
    newest = host.backup()["file"]
    _damage(os.path.join(host.backup_dir, newest))
    host.configure(rpo_objective=86400, rto_objective=60)
    row = host.row()
    assert (row["status"], row["error_code"]) == ("failed", "backup_invalid")
    assert newest in row["cause"] and "SHA-256" in row["cause"] and row["next_step"].endswith(".")
    assert row["recoverable"] is True and row["recoverable_from"]["file"] == first
    assert row["rpo"]["achieved_seconds"] == row["recoverable_from"]["age_seconds"] and row["rpo"]["met"] is True
    assert row["rto"]["met"] is False, "nobody knows how long it takes"
    assert [p["status"] for p in row["phases"] if p["name"] == "stage"] == ["failed"]
    assert manifest.load(os.path.join(host.backup_dir, newest + ".json"))["restore_test"]["status"] == "failed"
    assert manifest.load(os.path.join(host.backup_dir, first + ".json"))["restore_test"]["status"] == "ok"
    assert host.state() == set()


def test_when_no_backup_can_be_restored_that_is_said(host):
    host.configure(rpo_objective=86400)
    for file in os.listdir(host.backup_dir):
        if file.endswith(".db"):
            _damage(os.path.join(host.backup_dir, file))
    row = host.row()
    assert (row["status"], row["recoverable"], row["recoverable_from"]) == ("failed", False, None)
    assert row["rpo"] == {"achieved_seconds": None, "objective_seconds": 86400, "met": False}


def test_database_without_any_backup_is_told_as_that(host):
    host.configure(backup_dir=host.backup_dir + "-elsewhere", rto_objective=60)
    row = host.row()
    assert (row["status"], row["error_code"], row["recoverable"]) == ("no_backup", "backup_not_found", False)
    assert "no backups at all" in row["cause"]
    assert row["rto"] == {"achieved_seconds": None, "objective_seconds": 60, "met": False}
    assert not os.path.exists(host.backup_dir + "-elsewhere")


def test_assertion_of_the_user_that_does_not_hold_fails(host):
    host.configure(assertions=[{"sql": "SELECT count(*) FROM t", "expect": 201}])
    row = host.row()
    assert (row["status"], row["error_code"]) == ("failed", "backup_invalid")
    assert "SELECT count(*) FROM t" in row["cause"]


def test_objectives_that_are_missed_are_no_failure_of_the_backup(host):
    check = [sys.executable, "-c", ""]  # It takes some time, which counts.
    host.configure(rto_objective=0.000001, rpo_objective=0.000001, drill_check=check)
    row = host.row()
    assert (row["status"], row["error_code"], row["recoverable"]) == ("objective_missed", "objective_missed", True)
    assert "a restore takes" in row["cause"] and "old, the objective is 1e-06 s" in row["cause"]


def test_missing_objectives_are_warned_of(host):
    row = host.row()
    assert row["status"] == "passed"
    assert sorted(text.split()[1] for text in row["warnings"]) == ["rpo_objective", "rto_objective"]


@pytest.mark.parametrize("absurd", [0, -1, 4e8, float("inf"), float("nan")])
def test_absurd_objective_is_refused_and_named(absurd):
    with pytest.raises(errors.ConfigError, match="rto_objective"):
        objectives.of({"rpo_objective": None, "rto_objective": absurd})


def test_absurd_objective_of_one_database_keeps_no_other_from_its_turn(host):
    entry = {"path": host.path, "backup_dir": host.backup_dir}
    other = {**entry, "name": "app"}
    host.write({"databases": [{**entry, "name": "bad", "rpo_objective": -5}, other], "audit_log": host.log})
    found = {row["name"]: (row["status"], row["error_code"]) for row in host.drill()["databases"]}
    assert found == {"bad": ("failed", "config_invalid"), "app": ("passed", None)}


def test_limits_decide_nothing(host, monkeypatch):
    monkeypatch.setattr(objectives, "LIMITS", (("restore_test", "seconds", -1),))
    row = host.row()
    assert row["status"] == "passed" and row["limits"][0]["met"] is False


# --- the application's own check -------------------------------------------------------------------------------------


def _check(host, code, *more):
    host.configure(drill_check=[sys.executable, "-c", code, *more])
    return host.row()


def test_check_of_the_application_sees_the_restored_copy(host):
    code = (
        "import os, sqlite3, sys\n"
        "assert sys.argv[1] == os.environ['DIGITALME_BACKUP_DRILL_DATABASE']\n"
        "print(sqlite3.connect(sys.argv[1]).execute('SELECT count(*) FROM t').fetchone()[0], 'rows')"
    )
    row = _check(host, code, "{database}")
    assert row["status"] == "passed"
    (phase,) = [phase for phase in row["phases"] if phase["name"] == "check"]
    assert phase["detail"] == "status 0: 200 rows"
    assert row["rto"]["achieved_seconds"] >= phase["seconds"] > 0


def test_check_that_fails_fails_the_drill_with_its_last_words(host):
    row = _check(host, "import sys; print('first'); sys.exit('orders are missing')")
    assert (row["status"], row["error_code"], row["recoverable"]) == ("failed", "check_failed", False)
    assert "status 1: orders are missing" in row["cause"]


def test_time_to_restore_is_not_known_where_another_backup_has_to_serve(host, tmp_path):
    older = host.backup()["file"]
    host.backup()
    code = "import os, sys; m = sys.argv[1]; sys.exit(0 if os.path.exists(m) else open(m, 'w').close() or 1)"
    host.configure(rto_objective=600, drill_check=[sys.executable, "-c", code, str(tmp_path / "marker")])
    row = host.row()
    assert (row["status"], row["error_code"]) == ("failed", "check_failed")
    assert (row["recoverable"], row["recoverable_from"]["file"]) == (True, older)
    assert row["rto"] == {"achieved_seconds": None, "objective_seconds": 600, "met": False}


def test_check_that_cannot_be_started_is_told(host):
    host.configure(drill_check=["/no/such/program", "{database}"])
    assert "/no/such/program" in host.row()["cause"]


def test_check_that_hangs_is_ended_with_all_that_it_has_started(host, tmp_path):
    code = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "open(sys.argv[1], 'w').write(str(child.pid)); time.sleep(600)"
    )
    host.configure(drill_check=[sys.executable, "-c", code, str(tmp_path / "pid")])
    row = host.row(time_limit=3)
    assert (row["status"], row["error_code"]) == ("not_run", "time_limit")
    pid = int((tmp_path / "pid").read_text())
    with contextlib.suppress(ProcessLookupError):  # Gone; or it ends now, on a machine that has much else to do.
        ended = os.pidfd_open(pid)
        assert select.select([ended], [], [], 60)[0]
        os.close(ended)
    assert host.state() == set()


@pytest.mark.parametrize("wrong", [[], "ls", [1], [["ls"]]])
def test_check_that_is_no_command_is_refused(host, wrong):
    host.configure(drill_check=wrong)
    with pytest.raises(errors.ConfigError, match="drill_check"):
        host.drill()


# --- the host --------------------------------------------------------------------------------------------------------


def test_host_without_databases_is_refused(host):
    host.write({"databases": []})
    with pytest.raises(errors.ConfigError, match="no database is configured"):
        host.drill()


def test_databases_can_be_given_where_there_is_no_configuration(host):
    given = {"name": "app", "backup_dir": host.backup_dir, "rto_objective": 60}
    result = operations.drill(
        databases=[given, {"path": "/srv/other.db", "backup_dir": host.backup_dir}], fail_on="never"
    )
    first, second = result["databases"]
    assert (first["status"], first["rto"]["met"], first["database"]) == ("passed", True, None)
    assert (second["name"], second["status"]) == ("other", "no_backup")
    with pytest.raises(errors.ConfigError, match="no_such_setting"):
        operations.drill(databases=[{**given, "no_such_setting": 1}])
    with pytest.raises(errors.UsageError, match="'path'"):
        operations.drill(databases=[{"backup_dir": host.backup_dir}])


def test_only_the_names_that_are_asked_for(host):
    with pytest.raises(errors.UsageError, match="no database is called shop"):
        host.drill(names=["shop"])
    assert [row["name"] for row in host.drill(names=["app"])["databases"]] == ["app"]


@pytest.mark.parametrize(
    ("fail_on", "settings", "raised"),
    [
        ("objective_missed", {"rpo_objective": 1e-6}, True),
        ("failed", {"rpo_objective": 1e-6}, False),
        ("failed", {"rpo_objective": -1}, True),
        ("objective_missed", {}, False),
    ],
)
def test_what_makes_a_drill_fail(host, fail_on, settings, raised):
    host.configure(**settings)
    if not raised:
        assert host.drill(fail_on=fail_on)["databases"]
        return
    with pytest.raises(errors.DrillFailed) as caught:
        host.drill(fail_on=fail_on)
    assert caught.value.details["databases"][0]["name"] == "app"


def test_exit_status_is_that_of_the_first_database_that_did_not_pass(host):
    host.configure(backup_dir=host.backup_dir + "-elsewhere")
    with pytest.raises(errors.DrillFailed) as caught:
        host.drill(fail_on="failed")
    assert caught.value.exit_code == errors.BackupNotFound.exit_code


def test_check_mode_only_chooses(host):
    before = _tree(host.backup_dir)
    lines = len(_log(host))
    row = host.row(check=True, fail_on="objective_missed")
    assert row["status"] == "not_run" and row["backup"]["file"].startswith("app_")
    assert _tree(host.backup_dir) == before and len(_log(host)) == lines


def test_time_limit_leaves_the_rest_not_run(host, monkeypatch):
    entry = {"path": host.path, "backup_dir": host.backup_dir}
    host.write({"databases": [{**entry, "name": "app"}, {**entry, "name": "second"}], "audit_log": host.log})
    real = clock.monotonic
    late = []
    monkeypatch.setattr(clock, "monotonic", lambda: real() + (1000 if late else 0))
    monkeypatch.setattr(space, "require_space", lambda *_arguments: late.append(True))
    first, second = host.drill(time_limit=500)["databases"]
    assert (first["status"], first["error_code"], first["recoverable"]) == ("not_run", "time_limit", None)
    assert first["phases"][-2]["name"] == "stage" and first["phases"][-2]["status"] == "failed"
    assert (second["status"], second["error_code"], second["phases"]) == ("not_run", "time_limit", [])
    assert host.state() == set()
    assert "restore_test" not in manifest.load(os.path.join(host.backup_dir, first["backup"]["file"] + ".json"))


@pytest.mark.parametrize("limit", [0, -1, float("inf"), float("nan")])
def test_time_limit_that_is_none_is_refused(host, limit):
    with pytest.raises(errors.UsageError, match="time limit"):
        host.drill(time_limit=limit)


# --- the scratch place -----------------------------------------------------------------------------------------------


def test_scratch_without_room_is_told_before_anything_is_unpacked(host, monkeypatch):
    monkeypatch.setattr(space, "free_bytes", lambda _path: 1000)
    row = host.row()
    assert (row["status"], row["error_code"], row["recoverable"]) == ("failed", "no_space", None)
    assert [phase["name"] for phase in row["phases"]] == ["choose", "space", "clean"]
    assert host.state() == set()


def test_scratch_elsewhere(host, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    row = host.row(scratch_dir=str(elsewhere))
    assert (row["error_code"], row["status"]) == ("backup_dir_invalid", "failed")
    elsewhere.mkdir()
    code = "import sys; print(sys.argv[1])"
    host.configure(drill_check=[sys.executable, "-c", code, "{database}"])
    row = host.row(scratch_dir=str(elsewhere))
    assert row["status"] == "passed"
    assert [p["detail"] for p in row["phases"] if p["name"] == "check"][0].startswith(f"status 0: {elsewhere}/")
    assert [name for name in os.listdir(elsewhere) if not name.endswith(".lock")] == []


def test_scratch_of_somebody_else_is_left_alone(host, tmp_path, make_target):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    trap = store.drill_dir(make_target(name="app"), str(elsewhere))
    os.symlink(host.backup_dir, trap)
    row = host.row(scratch_dir=str(elsewhere))
    assert (row["status"], row["error_code"]) == ("failed", "permission_denied")
    assert os.listdir(host.backup_dir)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives away what it has made")
@pytest.mark.parametrize("moment", ["remove_tree", "exists"])
def test_scratch_place_that_somebody_else_made_in_that_moment_gets_nothing(
    host, tmp_path, make_target, monkeypatch, moment
):
    """In a directory that all can write: when the drill begins, and when it has cleaned up and may go on."""
    elsewhere = tmp_path / "shared"
    elsewhere.mkdir()
    elsewhere.chmod(0o1777)
    place = store.drill_dir(make_target(name="app"), str(elsewhere))
    real, real_restore, his = getattr(files, moment), backups.restore, []

    def taken(path):
        answer = real(path)
        if path == place and not os.path.lexists(place):
            os.makedirs(os.path.join(place, "kept"))
            for made in (place, os.path.join(place, "kept")):
                os.chown(made, 4711, 4711)
        return answer

    def looking(**options):
        answer = real_restore(**options)
        for directory, _names, found in os.walk(elsewhere):
            his.extend(name for name in found if os.stat(os.path.join(directory, name)).st_uid == 4711)
        return answer

    monkeypatch.setattr(files, moment, taken)
    monkeypatch.setattr(backups, "restore", looking)
    row = host.row(scratch_dir=str(elsewhere), full_restore=True)
    assert his == []
    assert (row["status"], row["error_code"]) == ("failed", "permission_denied"), row
    assert "not ours" in row["cause"]


def test_backup_and_restore_go_on_while_a_drill_runs(host, child):
    """A drill holds no lock that the nightly backup, or a restore in an emergency, would have to wait for."""
    code = (
        "import sys; from engine import operations\n"
        "path, log = sys.argv[1:3]\n"
        "operations.backup(name='app', config_path=path, busy_timeout=0)\n"
        "operations.restore(name='app', config_path=path, force=True, busy_timeout=0)\n"
        "print('done')"
    )
    host.configure(drill_check=[sys.executable, "-c", code, host.configuration, host.log])
    os.environ["PYTHONPATH"] = os.path.dirname(os.path.dirname(os.path.abspath(manifest.__file__)))
    try:
        row = host.row()
    finally:
        del os.environ["PYTHONPATH"]
    assert (row["cause"], row["status"]) == (None, "passed")
    assert [p["detail"] for p in row["phases"] if p["name"] == "check"] == ["status 0: done"]


def test_second_drill_of_the_name_waits_and_then_says_who_runs(host, make_target):
    with lock.held(store.drill_lock(make_target(name="app")), "drill", 0):
        host.configure(busy_timeout=0.0)
        row = host.row()
    assert (row["status"], row["error_code"]) == ("failed", "busy")
    assert "drill by pid" in row["cause"]


@pytest.mark.parametrize("next_run", ["drill", "backup"])
def test_drill_that_was_killed_leaves_nothing_after_the_next_run(host, child, make_target, next_run):
    code = "import os, signal; os.kill(os.getppid(), signal.SIGKILL)"
    host.configure(drill_check=[sys.executable, "-c", code])
    process = child(
        "import sys; from engine import operations; operations.drill(config_path=sys.argv[1])", host.configuration
    )
    assert process.wait(timeout=60) == -signal.SIGKILL
    left = store.drill_dir(make_target(name="app"))
    assert os.listdir(left) != []
    host.configure()
    if next_run == "drill":
        assert host.row()["status"] == "passed"
    else:
        host.backup()
    assert not os.path.exists(left)


def test_what_a_killed_drill_left_is_removed_under_the_lock_of_drills(host, make_target, monkeypatch):
    """A drill that begins in this moment waits, and does not lose the place that it has just made."""
    target = make_target(name="app")
    left = store.drill_dir(target)
    host.backup()
    os.makedirs(left)
    held = []
    real = files.remove_tree

    def remove_tree(path):
        held.append(path != left or lock.is_held(store.drill_lock(target)))
        real(path)

    monkeypatch.setattr(files, "remove_tree", remove_tree)
    host.backup()
    assert held and all(held) and not os.path.exists(left)


def test_drill_that_is_recorded_while_the_name_is_busy_only_warns(host, make_target):
    host.configure(busy_timeout=0.0)
    with lock.held(make_target(name="app").lock_path, "backup", 0):
        row = host.row()
    assert row["status"] == "passed"
    assert any("could not be recorded" in text for text in row["warnings"])


# --- which backup has its turn ---------------------------------------------------------------------------------------


NOW = clock.parse("2026-11-23T12:00:00Z")
DAYS = ("20261101", "20261108", "20261115", "20261122")


@pytest.fixture
def chosen(put_backup, scan, make_target):
    """chosen(rule, **selection) -> stamp of the backup that is chosen, of one a week."""
    for day in DAYS:
        put_backup(f"{day}_020000")

    def run(rule="latest", **selection):
        choice = choose.choose(list(scan().values()), choose.Selection(rule, **selection), make_target(), NOW, "host")
        run.choice = choice
        return choice.entry.file.split("_")[1]

    return run


@pytest.mark.parametrize(
    ("rule", "day"),
    [
        ("latest", "20261122"),
        ("oldest", "20261101"),
        ("7d", "20261115"),
        ("24h", "20261122"),
        ("2026-11-10", "20261108"),
        ("app_20261101_020000.db", "20261101"),
    ],
)
def test_rules(chosen, rule, day):
    assert chosen(rule) == day
    assert chosen.choice.candidates == 4


def test_window_leaves_out_what_is_older(chosen):
    assert chosen("oldest", window_days=10) == "20261115"
    assert chosen.choice.candidates == 2
    with pytest.raises(errors.BackupNotFound, match="of the last 0.5 days"):
        chosen("oldest", window_days=0.5)


def test_age_that_none_has_yet_takes_the_oldest_and_says_so(chosen):
    assert chosen("90d") == "20261101"
    assert chosen.choice.warnings == ("no backup is 90d old yet: the oldest was taken",)


def test_random_is_told_again_by_its_seed_and_has_all_their_turn(chosen):
    assert chosen("random", seed="2026-11") == chosen("random", seed="2026-11")
    assert {chosen("random", seed=str(seed)) for seed in range(40)} == set(DAYS)
    # Anybody can work it out: the hash of seed, host and name, as a number, over the backups from the oldest on.
    number = int(hashlib.sha256(b"2026-11\nhost\napp").hexdigest(), 16)
    assert chosen("random", seed="2026-11") == DAYS[number % 4]


def test_untested_goes_round(put_backup, chosen, backup_dir):
    turns = []
    for minute in range(5):
        turns.append(chosen("untested"))
        path = manifest.path_for(os.path.join(str(backup_dir), chosen.choice.entry.file))
        record = {"checked_at": f"2026-11-23T12:0{minute}:00.000Z", "status": "ok", "seconds": 1}
        manifest.update(path, restore_test=record)
    assert turns == [*DAYS, DAYS[0]]


def test_only_verified_regular_backups_have_a_turn(put_backup, chosen):
    put_backup("20261123_020000", verification={"level": "full", "status": "corrupt", "errors": []})
    put_backup("20261123_030000", kind="_pre_recovery", trigger="pre_restore")
    assert chosen("latest") == "20261122"
    assert "20261123_020000" in chosen.choice.warnings[0]


@pytest.mark.parametrize(
    ("selection", "message"),
    [({"rule": ""}, "no rule"), ({"window_days": 0}, "window"), ({"window_days": -3}, "window")],
)
def test_selection_that_means_nothing_is_refused(host, selection, message):
    options = {"selection" if key == "rule" else key: value for key, value in selection.items()}
    with pytest.raises(errors.UsageError, match=message):
        host.drill(**options)


def test_rule_that_nobody_knows_is_told_with_what_there_is(host):
    row = host.row(selection="lattest")
    assert (row["status"], row["error_code"]) == ("no_backup", "backup_not_found")
    assert "lattest" in row["cause"]


def test_newest_backup_from_the_future_is_warned_of(host, set_clock):
    set_clock("2020-01-01T00:00:00Z")
    host.configure(rpo_objective=60)
    assert any("younger than this host's clock" in text for text in host.row()["warnings"])


def test_every_status_has_an_exit_status():
    blank = rows.blank("app")
    assert rows.exit_code({**blank, "status": "passed"}) == 0
    assert rows.exit_code({**blank, "status": "objective_missed", "error_code": "objective_missed"}) == 1
    assert rows.exit_code({**blank, "status": "failed", "error_code": "no_space"}) == errors.NoSpace.exit_code
