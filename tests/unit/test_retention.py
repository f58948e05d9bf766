# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The rules one by one, then all of them at random against a model that states them another way."""

from __future__ import annotations

import datetime
import os
import random

import pytest
from engine import catalog, clock, errors, manifest, retention, settings

NOW = clock.parse("2026-11-22T12:00:00Z")
DAY = datetime.timedelta(days=1)
OPEN = {**settings.RETENTION, "max_remove_percent": 100, "max_age": 0}
# A policy in which only the rule under test keeps anything, beside the newest.
BARE = {**OPEN, "keep_days": 0, "max_files": 0}


def _entry(when, status="verified", kind="regular", number=0, **document):
    """An entry of the catalog, without any file."""
    when = clock.parse(when) if isinstance(when, str) else when
    file = f"app_{'none' if when is None else clock.stamp(when)}_{number}.db"
    known = None if document.pop("foreign", False) else {"created_at": "", **document}
    return catalog.Entry(file, "/b/" + file, "app", kind, when, status, 10, known, ())


def _plan(entries, policy=OPEN, now=NOW):
    return retention.plan(entries, policy, now)


def _days(*ages, **options):
    return [_entry(NOW - age * DAY, **options) for age in ages]


def _kept_ages(entries, policy, now=NOW):
    return [round((now - row.entry.created_at) / DAY, 3) for row in _plan(entries, policy, now).kept]


def _kept(entries, policy, now=NOW):
    return [row.entry.created_at.strftime("%Y-%m-%dT%H") for row in _plan(entries, policy, now).kept]


# --- keep_days, max_files, min_keep ----------------------------------------------------------------------------------


def test_keep_days_keeps_to_the_second():
    entries = [_entry(NOW), _entry(NOW - 7 * DAY), _entry(NOW - 7 * DAY - datetime.timedelta(seconds=1))]
    assert [row.keep for row in _plan(entries).decisions] == [True, True, False]


@pytest.mark.parametrize("max_files, kept", [(0, 6), (1, 1), (3, 3), (6, 6), (30, 6)])
def test_max_files_are_the_newest_within_keep_days(max_files, kept):
    ages = _kept_ages(_days(0, 1, 2, 3, 4, 5, 20), {**OPEN, "max_files": max_files})
    assert ages == [0, 1, 2, 3, 4, 5][:kept]


def test_max_files_do_not_keep_what_keep_days_lets_go():
    assert _kept_ages(_days(0, 1, 8, 9), {**OPEN, "max_files": 30}) == [0, 1]


@pytest.mark.parametrize("min_keep, kept", [(1, [30]), (3, [30, 31, 32]), (9, [30, 31, 32, 33])])
def test_min_keep_keeps_the_newest_however_old(min_keep, kept):
    assert _kept_ages(_days(30, 31, 32, 33), {**OPEN, "min_keep": min_keep}) == kept


def test_backup_of_a_time_when_the_clock_was_behind_stays_as_long_as_the_one_before_it():
    before = _entry(NOW - DAY)
    behind = _entry(NOW - 400 * DAY, made_after=before.file)
    plan = _plan([before, behind, _entry(NOW - 401 * DAY)])
    assert [row.keep for row in plan.decisions] == [True, True, False]
    assert plan.decisions[1].reasons == (f"made after {before.file}, when the clock was behind",)
    assert [row.keep for row in _plan([_entry(NOW), behind]).decisions] == [True, False]
    strange = behind._replace(manifest={"made_after": [1]})
    assert [row.keep for row in _plan([before, strange]).decisions] == [True, False]


@pytest.mark.parametrize("status", ["unverified", "unverifiable", "invalid", "missing"])
def test_backup_of_a_time_when_the_clock_was_behind_stays_whatever_the_one_before_it_is(status):
    """That one was the newest, verified or not; and where it goes in the end, the other goes after it."""
    newest, before, older = _entry(NOW), _entry(NOW - DAY, status=status), _entry(NOW - 2 * DAY)
    behind = _entry(NOW - 400 * DAY, made_after=before.file)
    assert [row.keep for row in _plan([newest, before, older, behind]).decisions] == [True] * 4
    late = NOW + 30 * DAY
    newest = _entry(late)
    assert [row.keep for row in _plan([newest, before, behind], now=late).decisions] == [True, False, True]
    assert [row.keep for row in _plan([newest, behind], now=late).decisions] == [True, False]


def test_newest_verified_stays_under_every_policy():
    for policy in (OPEN, {**BARE, "keep_yearly": 1}, {**OPEN, "max_files": 1}):
        assert _kept_ages(_days(1000, 2000), policy)[0] == 1000


def test_only_verified_backups_count():
    entries = [*_days(0, status="verified"), *_days(1, 2, status="unverified"), *_days(3, 4)]
    plan = _plan(entries, {**OPEN, "max_files": 2})
    assert [row.entry.created_at for row in plan.removed] == [NOW - 4 * DAY]


@pytest.mark.parametrize("status", ["unverified", "unverifiable", "invalid"])
def test_what_is_not_verified_goes_when_it_is_old_and_a_newer_one_is_verified(status):
    entries = [*_days(0), *_days(6, 8, status=status)]
    assert _kept_ages(entries, OPEN) == [0, 6]
    assert len(_plan([_entry(NOW, status="verified", kind="pre_restore", pinned=True), *entries[1:]]).removed) == 0
    assert _kept_ages(entries, {**BARE, "keep_last": 1}) == [0, 6, 8]


def test_what_is_not_ours_stays():
    entries = [
        *_days(0),
        *_days(100, 1000, status="unverified", foreign=True),
        _entry(None, status="unverified", foreign=True),
    ]
    assert _plan(entries).removed == []
    assert "not ours" in _plan(entries).kept[-1].reasons[0]


def test_backup_whose_manifest_cannot_be_read_stays_for_that_reason():
    entries = [*_days(0), _entry(None, status="unverified", foreign=True)._replace(problems=("Input/output error",))]
    assert "Input/output error" in _plan(entries).kept[-1].reasons[0]


@pytest.mark.parametrize(
    "document, stays",
    [
        ({"pinned": True}, True),
        ({"pinned": True, "pinned_until": clock.iso(NOW + DAY)}, True),
        ({"pinned": True, "pinned_until": clock.iso(NOW - DAY)}, False),
        ({"pinned": False}, False),
    ],
)
@pytest.mark.parametrize("status", ["verified", "invalid"])
def test_pinned_stays_as_long_as_its_pin(document, stays, status):
    entries = [*_days(0), *_days(100, status=status, **document)]
    assert len(_plan(entries).kept) == (2 if stays else 1)
    assert ("pinned" in _plan(entries).kept[-1].reasons[0]) is stays


def test_pre_restore_backup_goes_after_its_time_to_live():
    entries = [
        *_days(0),
        *_days(5, kind="pre_restore", pinned=True, pinned_until=clock.iso(NOW + DAY)),
        *_days(40, kind="pre_restore", pinned=True, pinned_until=clock.iso(NOW - DAY)),
    ]
    assert _kept_ages(entries, OPEN) == [0, 5]


def test_pre_restore_backup_never_counts():
    entries = [*_days(0), *_days(1, kind="pre_restore", pinned=True), *_days(2, 3)]
    assert _kept_ages(entries, {**OPEN, "max_files": 2}) == [0, 1, 2]


def test_pre_restore_backup_stays_while_nothing_newer_is_verified():
    """It may be the last good copy of the data."""
    old = _days(40, kind="pre_restore", pinned=True, pinned_until=clock.iso(NOW - DAY))
    assert len(_plan(old).kept) == 1
    assert len(_plan([*old, *_days(41)]).kept) == 2
    assert len(_plan([*_days(39, status="unverified"), *old]).removed) == 0


def test_manifest_without_file_stays_until_every_backup_of_its_time_has_gone():
    entries = [*_days(0), *_days(1, status="missing"), *_days(2), *_days(3, status="missing")]
    plan = _plan(entries)
    assert [row.entry.created_at for row in plan.removed] == [NOW - 3 * DAY]
    assert len(_plan(_days(3, status="missing")).kept) == 1


def test_every_decision_carries_a_reason_and_the_order_is_that_of_the_catalog():
    entries = [*_days(0), *_days(1, status="unverified"), *_days(2, kind="pre_restore"), *_days(9, 10)]
    plan = _plan(entries)
    assert [row.entry for row in plan.decisions] == entries
    assert all(row.reasons and all(row.reasons) for row in plan.decisions)
    assert sorted(plan.kept + plan.removed) == sorted(plan.decisions)


# --- the calendar ----------------------------------------------------------------------------------------------------


def test_keep_last_keeps_the_newest():
    assert _kept_ages(_days(1, 2, 3, 4), {**BARE, "keep_last": 2}) == [1, 2]


@pytest.mark.parametrize(
    "rule, times, count, kept",
    [
        ("keep_hourly", ["2026-11-22T11:59", "2026-11-22T11:00", "2026-11-22T10:59", "2026-11-21T10:30"], 2, [0, 2]),
        ("keep_daily", ["2026-11-22T11:59", "2026-11-22T00:00", "2026-11-21T23:59", "2026-11-20T00:00"], 2, [0, 2]),
        (
            "keep_monthly",
            ["2026-11-22T00:00", "2026-11-01T00:00", "2026-10-31T23:59", "2025-11-22T00:00"],
            3,
            [0, 2, 3],
        ),
        ("keep_yearly", ["2026-01-01T00:00", "2025-12-31T23:59", "2025-01-01T00:00", "2024-12-31T23:59"], 3, [0, 1, 3]),
        # Sunday, Monday of the same week, Sunday of the week before.
        ("keep_weekly", ["2026-11-22T11:00", "2026-11-16T00:00", "2026-11-15T23:59", "2026-11-02T00:00"], 2, [0, 2]),
        # New Year 2026 lies within one week of two years (its Monday is 29 December); so does that of 2021 (week 53).
        (
            "keep_weekly",
            ["2026-01-04T00:00", "2026-01-01T00:00", "2025-12-29T00:00", "2025-12-28T23:59", "2025-12-01T00:00"],
            2,
            [0, 3],
        ),
        ("keep_weekly", ["2021-01-03T00:00", "2020-12-28T00:00", "2020-12-27T00:00", "2020-01-01T00:00"], 2, [0, 2]),
        # The same week number of two years is two weeks, the same month or hour likewise.
        ("keep_weekly", ["2026-11-18T00:00", "2025-11-19T00:00", "2024-11-20T00:00"], 2, [0, 1]),
        ("keep_monthly", ["2026-11-18T00:00", "2025-11-18T00:00", "2024-11-18T00:00"], 2, [0, 1]),
        ("keep_daily", ["2026-11-18T00:00", "2026-10-18T00:00", "2026-09-18T00:00"], 2, [0, 1]),
        ("keep_hourly", ["2026-11-18T05:00", "2026-11-17T05:00", "2026-11-16T05:00"], 2, [0, 1]),
    ],
)
def test_calendar_rule_keeps_the_newest_of_each_bucket(rule, times, count, kept):
    entries = [_entry(time + ":00Z") for time in times]
    plan = _plan(entries, {**BARE, rule: count})
    assert [position for position, row in enumerate(plan.decisions) if row.keep] == kept


def test_buckets_are_those_of_utc():
    entries = [_entry("2026-11-22T00:30:00+02:00"), _entry("2026-11-21T23:00:00+02:00"), _entry("2026-11-20T12:00:00Z")]
    assert _kept(entries, {**BARE, "keep_daily": 1}) == ["2026-11-21T22"]


def test_rule_with_room_left_keeps_the_oldest_as_restic_does():
    times = ["2026-11-22T10:00", "2026-11-22T09:00", "2026-11-22T08:00"]
    entries = [_entry(time + ":00Z") for time in times]
    assert _kept(entries, {**BARE, "keep_daily": 2}) == ["2026-11-22T10", "2026-11-22T08"]
    assert _kept(entries, {**BARE, "keep_daily": 1}) == ["2026-11-22T10"]


def test_minus_one_keeps_every_bucket():
    entries = [_entry(f"2026-{month:02d}-{day:02d}T00:00:00Z") for month in range(11, 0, -1) for day in (20, 10)]
    assert len(_kept(entries, {**BARE, "keep_monthly": -1})) == 12  # 11 months and the oldest of all
    assert len(_kept(entries, {**BARE, "keep_last": -1})) == 22


def test_rules_are_ored_and_all_reasons_are_told():
    entries = [_entry("2026-11-22T10:00:00Z"), _entry("2026-10-22T10:00:00Z"), _entry("2025-10-22T10:00:00Z")]
    plan = _plan(entries, {**BARE, "keep_monthly": 2, "keep_yearly": 2})
    assert [row.keep for row in plan.decisions] == [True, True, True]
    assert [reason.split(":")[0] for reason in plan.decisions[0].reasons] == ["min_keep", "keep_monthly", "keep_yearly"]


# --- holds -----------------------------------------------------------------------------------------------------------

OLD = [8, 9, 10, 11]


@pytest.mark.parametrize("status", ["unverified", "unverifiable", "invalid"])
def test_nothing_goes_while_the_newest_is_not_verified(status):
    plan = _plan([*_days(0, status=status), *_days(1, *OLD)])
    assert plan.removed == [] and status in plan.hold
    assert all("held" in row.reasons[0] for row in plan.decisions[2:])


def test_file_of_unknown_origin_that_is_newest_holds_too():
    assert _plan([*_days(0, status="unverified", foreign=True), *_days(1, *OLD)]).hold


def test_manifest_alone_and_pre_restore_backup_do_not_hold():
    entries = [
        *_days(0, status="missing"),
        *_days(0.5, kind="pre_restore", status="unverified", pinned=True),
        *_days(1, *OLD),
    ]
    assert _plan(entries).hold is None and len(_plan(entries).removed) == 4


@pytest.mark.parametrize("seconds, held", [(301, True), (299, False), (0, False), (86400 * 365, True)])
def test_nothing_goes_while_the_newest_is_in_the_future(seconds, held):
    plan = _plan([_entry(NOW + datetime.timedelta(seconds=seconds)), *_days(*OLD)])
    assert bool(plan.hold) is held and bool(plan.removed) is not held
    assert not held or "clock" in plan.hold


@pytest.mark.parametrize("age, held", [(172800, False), (172801, True)])
def test_nothing_goes_while_the_newest_is_older_than_expected(age, held):
    entries = [_entry(NOW - datetime.timedelta(seconds=age)), *_days(*OLD)]
    assert bool(_plan(entries, {**OPEN, "max_age": 172800}).hold) is held
    assert _plan(entries, {**OPEN, "max_age": 0}).hold is None


def test_hold_spares_expired_pre_restore_backups_and_orphans_too():
    entries = [
        *_days(0, status="invalid"),
        *_days(40, kind="pre_restore"),
        *_days(41),
        *_days(50, status="missing"),
    ]
    assert _plan(entries).removed == []


def test_empty_catalog_has_nothing_to_decide():
    assert _plan([]) == retention.Plan((), None, None)


@pytest.mark.parametrize(
    "back", [datetime.timedelta(seconds=301), datetime.timedelta(hours=2), DAY, 30 * DAY, 4000 * DAY]
)
@pytest.mark.parametrize("seed", range(20))
def test_clock_set_back_removes_nothing(seed, back):
    entries = _random_catalog(random.Random(seed), ordinary=True)
    for policy in (OPEN, {**OPEN, "max_files": 1}, {**BARE, "keep_daily": 1}):
        assert _plan(entries, policy, entries[0].created_at - back).removed == []


# --- the brake -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "removed, kept, percent, stopped",
    [
        (5, 5, 50, False),
        (6, 5, 50, True),
        (1, 1, 10, False),
        (2, 8, 10, True),
        (2, 18, 10, False),
        (9, 1, 100, False),
        (2, 1, 0, True),
        (1, 1, 0, False),
    ],
)
def test_brake_stops_a_run_that_would_remove_too_much_at_once(removed, kept, percent, stopped):
    entries = _days(*range(kept), *range(100, 100 + removed))
    plan = _plan(entries, {**OPEN, "keep_days": 50, "max_remove_percent": percent})
    assert len(plan.removed) == removed
    assert bool(plan.brake) is stopped
    assert not stopped or f"{removed} of {removed + kept}" in plan.brake


def test_brake_does_not_mind_pre_restore_backups():
    entries = [*_days(0), *_days(40, 41, 42, 43, kind="pre_restore")]
    assert _plan(entries, {**OPEN, "max_remove_percent": 10}).brake is None


# --- the policy ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes, named",
    [
        ({"keep_days": -1}, "keep_days"),
        ({"max_files": -1}, "max_files"),
        ({"keep_weekly": -2}, "keep_weekly"),
        ({"min_keep": 0}, "min_keep"),
        ({"max_remove_percent": -5}, "max_remove_percent"),
        ({"keep_days": 0}, "keeps nothing"),
    ],
)
def test_policy_that_cannot_be_meant_is_refused(changes, named):
    with pytest.raises(errors.UsageError) as caught:
        _plan([], {**settings.RETENTION, **changes})
    assert named in caught.value.message


def test_built_in_policy_is_a_good_one():
    retention.check_policy(settings.RETENTION)


# --- against the model -----------------------------------------------------------------------------------------------

_KEYS = {
    "keep_hourly": "%Y-%m-%d %H",
    "keep_daily": "%Y-%m-%d",
    "keep_weekly": "%G week %V",
    "keep_monthly": "%Y-%m",
    "keep_yearly": "%Y",
}


def _model_keeps(verified, policy, now):
    """The files that the rules keep, from the groups of each rule instead of one walk through the list."""
    keep = {entry.file for entry in verified[: policy["min_keep"]]}
    newest = verified[: policy["max_files"]] if policy["max_files"] else verified
    if policy["keep_days"]:
        keep |= {
            entry.file for entry in newest if (now - entry.created_at) <= datetime.timedelta(days=policy["keep_days"])
        }
    for rule in ("keep_last", *_KEYS):
        count = policy[rule]
        if not count or not verified:
            continue
        groups = {}
        for position, entry in enumerate(verified):
            key = position if rule == "keep_last" else entry.created_at.strftime(_KEYS[rule])
            groups.setdefault(key, entry.file)
        heads = list(groups.values())
        keep |= set(heads if count < 0 else heads[:count])
        if count < 0 or len(heads) < count:
            keep.add(verified[-1].file)
    return keep


def _model(entries, policy, now):
    """{file: whether it stays} and whether the run is held."""
    verified = [entry for entry in entries if entry.status == "verified" and entry.kind == "regular"]
    keep = _model_keeps(verified, policy, now)
    newest = next(
        (entry for entry in entries if entry.kind == "regular" and entry.created_at and entry.status != "missing"), None
    )
    held = newest is not None and (
        newest.status != "verified"
        or newest.created_at > now + datetime.timedelta(minutes=5)
        or bool(policy["max_age"] and newest.created_at < now - datetime.timedelta(seconds=policy["max_age"]))
    )
    stays = {}
    for entry in entries:
        newer = [good for good in verified if entry.created_at and good.created_at > entry.created_at]
        older = [good for good in verified if entry.created_at and good.created_at <= entry.created_at]
        expired = (
            bool(policy["keep_days"])
            and bool(entry.created_at)
            and (now - entry.created_at) > datetime.timedelta(days=policy["keep_days"])
        )
        if held or (entry.manifest or {}).get("pinned"):
            stays[entry.file] = True
        elif entry.status == "missing":
            stays[entry.file] = not (newer and not older)
        elif entry.manifest is None:
            stays[entry.file] = True
        elif entry.kind == "pre_restore":
            stays[entry.file] = not newer
        elif entry.status == "verified":
            stays[entry.file] = entry.file in keep
        else:
            stays[entry.file] = not (newer and expired)
    return stays, held


def _random_catalog(generator, ordinary=False):
    entries = []
    when = NOW - datetime.timedelta(seconds=generator.randrange(200_000))
    for number in range(generator.randrange(1, 40)):
        status = (
            "verified"
            if ordinary or generator.random() < 0.7
            else generator.choice(["unverified", "unverifiable", "invalid", "missing"])
        )
        kind = "pre_restore" if not ordinary and generator.random() < 0.1 else "regular"
        document = (
            {"foreign": True}
            if status != "verified" and generator.random() < 0.3
            else {"pinned": generator.random() < 0.1}
        )
        entries.append(_entry(when, status, kind, number, **document))
        when -= datetime.timedelta(
            seconds=generator.choice([0, 1, 1800, 3600, 40_000, 86_400, 86_400, 700_000, 5_000_000])
        )
    return entries


def _random_policy(generator):
    policy = dict(OPEN)
    policy["keep_days"] = generator.choice([0, 1, 7, 30, 365])
    policy["max_files"] = generator.choice([0, 1, 5, 30])
    policy["min_keep"] = generator.choice([1, 1, 2, 5])
    policy["max_age"] = generator.choice([0, 0, 100_000])
    for rule in ("keep_last", *_KEYS):
        policy[rule] = generator.choice([0, 0, 0, 1, 2, 5, 100, -1])
    if not policy["keep_days"] and not any(policy[rule] for rule in ("keep_last", *_KEYS)):
        policy["keep_daily"] = 3
    return policy


@pytest.mark.parametrize("seed", range(30))
def test_plan_agrees_with_the_model(seed):
    generator = random.Random(seed)
    for _round in range(40):
        entries, policy = _random_catalog(generator), _random_policy(generator)
        plan = retention.plan(entries, policy, NOW)
        stays, held = _model(entries, policy, NOW)
        assert {row.entry.file: row.keep for row in plan.decisions} == stays, (policy, entries)
        assert bool(plan.hold) is held


# --- apply -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def expired(put_backup, backup_dir):
    """A plan that removes four of five backups in the directory."""
    for day in range(18, 23):
        put_backup(f"202611{day}_020000")
    policy = {**BARE, "keep_last": 1}
    return lambda: retention.plan(catalog.scan(str(backup_dir), "app"), policy, NOW)


def test_apply_removes_backups_and_manifests_and_nothing_else(expired, backup_dir):
    (backup_dir / "app_20261118_020000.db-notes.txt").write_bytes(b"mine")
    removed, freed, failed = retention.apply(expired(), str(backup_dir))
    assert (len(removed), freed, failed) == (4, 4 * len(b"content"), [])
    assert sorted(os.listdir(backup_dir)) == [
        "app_20261118_020000.db-notes.txt",
        "app_20261122_020000.db",
        "app_20261122_020000.db.json",
    ]


def test_apply_removes_each_manifest_after_its_backup(expired, backup_dir, monkeypatch):
    order = []
    real = os.unlink
    monkeypatch.setattr(os, "unlink", lambda path, **options: (order.append(path), real(path, **options)))
    retention.apply(expired(), str(backup_dir))
    assert len(order) == 8
    for backup, beside in zip(order[::2], order[1::2]):
        assert beside == manifest.path_for(backup)


@pytest.mark.parametrize("calls", range(1, 8))
def test_apply_that_is_killed_leaves_no_backup_without_manifest(expired, backup_dir, monkeypatch, calls):
    real, done = os.unlink, []

    class Killed(BaseException):
        pass

    def unlink(path, **options):
        if len(done) == calls:
            raise Killed
        done.append(path)
        real(path, **options)

    monkeypatch.setattr(os, "unlink", unlink)
    with pytest.raises(Killed):
        retention.apply(expired(), str(backup_dir))
    monkeypatch.undo()
    left = os.listdir(backup_dir)
    assert all(name + ".json" in left for name in left if name.endswith(".db"))
    retention.apply(expired(), str(backup_dir))
    assert sorted(os.listdir(backup_dir)) == ["app_20261122_020000.db", "app_20261122_020000.db.json"]


@pytest.mark.parametrize("nth", range(1, 9))
def test_one_that_cannot_be_removed_does_not_stop_the_rest(expired, backup_dir, monkeypatch, nth):
    real, calls = os.unlink, []

    def unlink(path, **options):
        calls.append(path)
        if len(calls) == nth:
            raise PermissionError(1, "Operation not permitted", path)
        real(path, **options)

    monkeypatch.setattr(os, "unlink", unlink)
    removed, _freed, failed = retention.apply(expired(), str(backup_dir))
    assert len(removed) == 3 and len(failed) == 1
    assert failed[0]["file"] in calls[nth - 1] and "Operation not permitted" in failed[0]["error"]
    assert os.path.exists(manifest.path_for(str(backup_dir / failed[0]["file"])))


def test_directory_in_place_of_a_backup_is_told_and_left(expired, backup_dir):
    plan = expired()
    os.unlink(backup_dir / "app_20261119_020000.db")
    os.mkdir(backup_dir / "app_20261119_020000.db")
    removed, _freed, failed = retention.apply(plan, str(backup_dir))
    assert len(removed) == 3 and [row["file"] for row in failed] == ["app_20261119_020000.db"]
    assert os.path.isdir(backup_dir / "app_20261119_020000.db")
    assert os.path.exists(backup_dir / "app_20261119_020000.db.json")


def test_backup_that_has_gone_already_takes_its_manifest_along(expired, backup_dir):
    plan = expired()
    os.unlink(backup_dir / "app_20261119_020000.db")
    removed, freed, failed = retention.apply(plan, str(backup_dir))
    assert (len(removed), freed, failed) == (4, 3 * len(b"content"), [])
    assert not os.path.exists(backup_dir / "app_20261119_020000.db.json")
