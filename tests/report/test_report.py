# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""From what hosts have answered to the files of a report: the verdict, the parts, the merge, what is on the disk."""

from __future__ import annotations

import hashlib
import json
import os
import pathlib
import re
import subprocess
import xml.etree.ElementTree as etree

import pytest
import samples
from ansible_collections.digitalme.backup.plugins.module_utils.engine import clock, errors, files
from ansible_collections.digitalme.backup.plugins.plugin_utils import parts
from ansible_collections.digitalme.backup.plugins.plugin_utils.report import (
    charts,
    history,
    judging,
    junit,
    markdown,
    merge,
    model,
    signature,
    words,
    write,
)

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent

# --- the verdict -----------------------------------------------------------------------------------------------------


def test_passed_needs_every_host_and_every_database():
    good = samples.host("a", samples.row())
    assert samples.report(good)["verdict"] == "passed"
    assert samples.report(good, samples.silent("b"))["verdict"] == "failed"
    assert samples.report(good, samples.host("b"))["verdict"] == "passed"
    for status in judging.STATUSES[1:]:
        assert samples.report(good, samples.host("b", samples.row(status=status)))["verdict"] == "failed"


def test_nothing_drilled_is_not_passed():
    assert samples.report()["verdict"] == "failed"
    assert samples.report(samples.host("a"))["verdict"] == "failed"


def test_counts_and_figures():
    report = samples.small()
    assert report["counts"] == {
        "hosts": 4,
        "databases": 4,
        "passed": 1,
        "objective_missed": 1,
        "failed": 1,
        "no_backup": 1,
        "not_run": 0,
        "hosts_without_answer": 1,
    }
    assert report["summary"]["rto_seconds"] == {"median": 0.402, "worst": 0.536, "worst_of": "shop-1/log"}
    assert report["summary"]["rpo_seconds"]["worst_of"] == "shop-1/log"
    assert report["versions"] == ["0.1.0"]
    assert judging.failures(report) == [
        "shop-4: no route to it",
        "shop-1/log: what was wrong with log",
        "shop-2/shop: what was wrong with shop",
        "shop-3/shop: what was wrong with shop",
    ]


# --- from the parts to the report ------------------------------------------------------------------------------------

RUN = {"id": "drill-1", "kind": "drill", "started_at": "2026-11-22T12:00:00.000Z", "version": "0.1.0", "selection": {}}
BY = {"user": "ops", "controller": "ctl", "ansible": "2.21.5", "job": None}


def _part(host="a", **changes):
    result = {"databases": [samples.row()], "tool": samples.TOOL, "seconds": 1.0, "clock": "2026-11-22T12:00:01.000Z"}
    times = {"asked_at": "2026-11-22T12:00:00.500Z", "answered_at": "2026-11-22T12:00:02.000Z"}
    told = {"outcome": "answered", "error_code": None, "cause": None, "next_step": None}
    return {"host": host, **times, **told, "result": result, **changes}


def _built(*found):
    return model.build(RUN, found, BY, clock.parse("2026-11-22T12:00:42Z"))


def test_report_of_the_parts():
    report = _built(_part(), _part("b", outcome="unreachable", error_code="unreachable", cause="away", result=None))
    assert (report["verdict"], report["seconds"], report["by"]) == ("failed", 42.0, BY)
    assert [host["outcome"] for host in report["hosts"]] == ["answered", "unreachable"]
    assert report["hosts"][1]["databases"] == []


def test_host_without_databases_is_no_answer():
    (host,) = _built(_part(result={"databases": []}))["hosts"]
    assert (host["outcome"], host["error_code"]) == ("failed", "no_databases")
    assert host["next_step"]


@pytest.mark.parametrize(
    ("theirs", "skew"),
    [("12:00:01.000", 0.0), ("12:00:32.000", 30.0), ("11:59:30.500", -30.0), ("nonsense", None)],
)
def test_clock_that_is_wrong_is_told(theirs, skew):
    result = {**_part()["result"], "clock": f"2026-11-22T{theirs}Z"}
    assert _built(_part(result=result))["hosts"][0]["clock_skew_seconds"] == skew


def test_hosts_of_another_version_are_warned_of():
    result = {**_part()["result"], "tool": {**samples.TOOL, "version": "0.0.9"}}
    report = _built(_part(), _part("b", result=result))
    assert report["versions"] == ["0.0.9", "0.1.0"]
    assert "0.0.9" in report["warnings"][0]
    assert _built(_part())["warnings"] == []


def test_parts_are_read_back_in_the_order_of_the_hosts(tmp_path):
    for name in ("b", "a/../b", "ä", "b"):
        parts.write(str(tmp_path), _part(name))
    found = list(parts.read(str(tmp_path), ["ä", "b", "a/../b", "missing"]))
    assert [part["host"] for part in found] == ["ä", "b", "a/../b", "missing"]
    assert [part["outcome"] for part in found] == ["answered"] * 3 + ["failed"]
    assert found[3]["error_code"] == "no_answer"
    assert {path.parent for path in tmp_path.rglob("*.json")} == {tmp_path}


@pytest.mark.parametrize("content", ["", "{", "[]", '{"part_version": 2}', "\udcff"])
def test_part_that_is_damaged_is_told_as_a_host_without_answer(tmp_path, content):
    (tmp_path / "a.json").write_bytes(os.fsencode(content))
    (part,) = parts.read(str(tmp_path), ["a"])
    assert (part["outcome"], part["error_code"]) == ("failed", "io_error")


def test_what_a_killed_run_has_left_goes_with_the_next_one(tmp_path, monkeypatch):
    alive = parts.begin(str(tmp_path), "drill-1")
    ended = subprocess.Popen(["true"])
    ended.wait()
    monkeypatch.setattr(os, "getppid", lambda: ended.pid)
    killed = parts.begin(str(tmp_path), "drill-2")
    monkeypatch.setattr("socket.gethostname", lambda: "another")
    elsewhere = parts.begin(str(tmp_path), "drill-3")
    monkeypatch.undo()
    (tmp_path / ".mine.parts").mkdir()
    parts.begin(str(tmp_path), "drill-4")
    assert [os.path.isdir(place) for place in (alive, killed, elsewhere, tmp_path / ".mine.parts")] == [
        True,
        False,
        True,
        True,
    ]


def test_ids_sort_by_time_and_differ():
    moment = clock.parse("2026-11-22T12:00:00Z")
    first, second = model.new_id("drill", moment), model.new_id("drill", moment)
    assert first != second
    assert max(first, second) < model.new_id("drill", clock.after(moment, 1))
    assert re.fullmatch(r"drill-20261122T120000Z-[0-9a-f]{4}", first)


# --- merging ---------------------------------------------------------------------------------------------------------


def test_merge_of_slices_counts_anew():
    one = samples.report(samples.host("b", samples.row()), id="one")
    two = samples.report(
        samples.host("a", samples.row(status="failed")), id="two", started_at="2026-11-22T13:00:00.000Z"
    )
    whole = merge.merge([two, one])
    assert [host["host"] for host in whole["hosts"]] == ["a", "b"]
    assert (whole["verdict"], whole["counts"]["passed"], whole["merged_from"]) == ("failed", 1, ["one", "two"])
    assert whole["id"] not in ("one", "two")
    assert whole["started_at"] == one["started_at"]
    assert merge.merge([one])["verdict"] == "passed"


def test_merge_takes_the_newer_of_two_answers_and_says_so():
    old = samples.report(samples.host("a", samples.row(status="failed")), id="old")
    new = samples.report(samples.host("a", samples.row()), id="new", started_at="2026-11-23T12:00:00.000Z")
    whole = merge.merge([new, old])
    assert (whole["verdict"], whole["counts"]["hosts"]) == ("passed", 1)
    assert "a is in several reports" in whole["warnings"][0]


def test_merge_tells_of_other_versions_and_rules():
    one = samples.report(samples.host("a", samples.row()), tool={"version": "0.0.1"})
    two = samples.report(samples.host("b", samples.row()), selection={"rule": "random"})
    said = " ".join(merge.merge([one, two])["warnings"])
    assert "0.0.1" in said and "different rules" in said


def test_merge_refuses_a_drill_with_a_game_day():
    with pytest.raises(errors.UsageError, match="different kinds"):
        merge.merge([samples.small(), samples.gameday()])


@pytest.mark.parametrize(
    "changes",
    [
        {"schema_version": 2},
        {"schema_version": None},
        {"kind": "backup"},
        {"hosts": {}},
        {"hosts": [{}]},
        {"hosts": [{"host": "a", "outcome": "answered", "databases": [{}]}]},
        {"hosts": [{"host": "a", "outcome": "answered", "databases": [{**samples.row(), "status": "fine"}]}]},
        {"started_at": None},
        {"counts": None},
    ],
    ids=str,
)
def test_what_is_no_report_is_refused_by_its_name(changes):
    with pytest.raises(errors.UsageError, match=r"/x/drill\.json"):
        merge.checked({**samples.small(), **changes}, "/x/drill.json")
    assert merge.checked(samples.small(), "/x/drill.json")


# --- JUnit and Markdown ----------------------------------------------------------------------------------------------


def _cases(report):
    root = etree.fromstring(junit.render(report))
    found = {}
    for case in root.iter("testcase"):
        bad = [child for child in case if child.tag in ("failure", "error")]
        found[case.get("classname"), case.get("name")] = bad[0].tag if bad else "passed"
    return root, found


def test_junit_has_a_test_for_each_database():
    root, found = _cases(samples.small())
    assert found == {
        ("shop-1", "shop"): "passed",
        ("shop-1", "log"): "failure",
        ("shop-2", "shop"): "failure",
        ("shop-3", "shop"): "failure",
        ("shop-4", "host answers"): "error",
    }
    assert (root.get("tests"), root.get("failures"), root.get("errors")) == ("5", "3", "1")
    failure = root.find("testsuite[@name='shop-2']/testcase/failure")
    assert failure.get("type") == "backup_invalid"
    assert "Next step: Mend it." in failure.text and "shop_20261121_020000.db" in failure.text
    told = {one.get("name"): one.get("value") for one in root.find("testsuite/testcase/properties")}
    assert (told["rto_seconds"], told["rto_objective_seconds"], len(told["backup_sha256"])) == ("0.268", "60", 64)


def test_what_could_not_be_looked_at_is_an_error_in_junit():
    _root, found = _cases(samples.report(samples.host("a", samples.row(status="not_run"))))
    assert found == {("a", "shop"): "error"}


def test_faults_that_went_unnoticed_are_in_junit():
    root, _found = _cases(samples.gameday())
    assert "missed: full_disk: nothing was said" in root.find(".//failure").text
    assert "flipped_byte" not in root.find(".//failure").text


def test_junit_and_markdown_bear_hostile_words():
    root, found = _cases(samples.hostile())
    assert len(found) == 2
    text = markdown.render(samples.hostile())
    assert "\x1b" not in text and "\u202e" not in text
    for line in text.splitlines():
        assert not re.search(r"(?<!\\)[<`]", line), line
        assert not re.match(r"\|.*", line) or line.replace(r"\|", "").count("|") == 9, line
    assert "\\u202e" in root.find(".//failure").get("message")


def test_markdown_of_a_fleet_fits_a_comment():
    text = markdown.render(samples.fleet(3000))
    assert len(text) < 32_000
    assert "more, in the full report" in text
    assert "# Disaster-recovery drill: failed" in text


# --- words and charts ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(None, "–"), (0.311, "0.31 s"), (42, "42 s"), (60, "60 s"), (252, "4.2 min"), (90000, "25 h"), (1036800, "12 d")],
)
def test_spans(seconds, said):
    assert words.span(seconds) == said


def test_sizes():
    assert [words.size(count) for count in (None, 12, 10485760, 10**9)] == ["–", "12 B", "10.5 MB", "1 GB"]


def test_words_of_a_host_become_one_harmless_line():
    assert words.clean("a\n b\t\x1b[31m\u202e") == "a b \\u001b[31m\\u202e"
    assert len(words.clean("x" * 10_000)) == 2003


def test_charts_have_no_script_no_address_no_colour():
    report = samples.fleet(100)
    drawn = [charts.objectives(report, "rto"), charts.distribution(report, "rpo"), charts.trend(samples.history())]
    drawn.append(charts.trend_of_times(samples.history()))
    for chart in drawn:
        svg = chart["svg"]
        root = etree.fromstring(svg)
        assert root.get("role") == "img" and root.get("aria-label") == root.find("title").text
        assert not re.search(r"<(script|style)|href|https?:|#[0-9a-f]{3}", svg)
    assert drawn[0]["shown"] == charts.WORST < drawn[0]["total"]


def test_chart_shows_those_nearest_to_their_objective():
    rows = [
        samples.row(f"db{n}", rto={"achieved_seconds": 1.0, "objective_seconds": 100 - n, "met": True})
        for n in range(90)
    ]
    svg = charts.objectives(samples.report(samples.host("h", *rows)), "rto")["svg"]
    assert "h/db89<" in svg and "h/db10<" not in svg


@pytest.mark.parametrize(
    ("seconds", "bins"),
    [
        ([-5.0, 0.0, 0.0005, 0.001], 1),
        ([1, 2, 2.0, 3], 3),
        ([0.0012, 9 * 365 * 86400.0], charts.BINS),
        ([40000.0, 50000.0, 43200.0], 2),
        ([7.0] * 50, 1),
    ],
)
def test_bins_hold_every_value_once_and_are_few(seconds, bins):
    rows = [
        samples.row(f"db{number}", rpo={"achieved_seconds": value, "objective_seconds": None, "met": None})
        for number, value in enumerate(seconds * 20)
    ]
    (first, *_rest), counts = charts.bins([row["rpo"]["achieved_seconds"] for row in rows])
    assert (first, len(counts), sum(counts)) == (float("-inf"), bins, len(rows))
    assert counts[-1] > 0
    assert charts.distribution(samples.report(samples.host("h", *rows)), "rpo")["svg"].count("<rect") > bins


def test_bin_at_most_two_seconds_has_what_took_two_seconds():
    edges, counts = charts.bins([0.9, 2, 2, 2.5, 3])
    assert (edges[1:], counts) == ([1, 2, 3], [1, 2, 2])


def test_charts_of_nothing_are_left_out():
    nothing = samples.report(samples.silent("a"))
    assert charts.objectives(nothing, "rto") is charts.distribution(nothing, "rto") is None
    assert charts.trend(samples.history()[:1]) is charts.trend_of_times([]) is None


# --- on the disk -----------------------------------------------------------------------------------------------------


@pytest.fixture
def key(tmp_path):
    path = tmp_path / "drill.key"
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", str(path)], check=True)
    return str(path)


def test_files_of_a_report_and_their_checksums(tmp_path):
    made = write.write(samples.small(), str(tmp_path))
    assert sorted(os.listdir(made["directory"])) == [
        "SHA256SUMS",
        "drill.json",
        "junit.xml",
        "report.html",
        "report.md",
    ]
    assert made["signature"] is made["public_key"] is None
    subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=made["directory"], check=True)
    with open(made["json"], encoding="ascii") as source:
        assert json.load(source)["verdict"] == "failed"
    assert os.readlink(tmp_path / "latest") == samples.small()["id"]
    assert [name for name in os.listdir(tmp_path) if name.startswith(".")] == []


def test_signature_is_verified_by_openssl_and_broken_by_a_changed_byte(tmp_path, key):
    directory = tmp_path / "reports"
    directory.mkdir()
    made = write.write(samples.small(), str(directory), key)
    verify = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", made["public_key"], "-rawin"]
    verify += ["-in", made["json"], "-sigfile", made["signature"]]
    assert subprocess.run(verify, check=False, capture_output=True).returncode == 0
    der = subprocess.run(
        ["openssl", "pkey", "-pubin", "-in", made["public_key"], "-outform", "DER"], check=True, capture_output=True
    ).stdout
    with open(made["html"], encoding="utf-8") as page:
        assert hashlib.sha256(der).hexdigest() in page.read()
    with open(made["json"], "r+b") as file:
        file.seek(100)
        file.write(b"X")
    assert subprocess.run(verify, check=False, capture_output=True).returncode != 0


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["genpkey", "-algorithm", "RSA"], "no Ed25519 key"),
        (["genpkey", "-algorithm", "ed25519", "-aes256", "-pass", "pass:x"], "passphrase"),
        (None, "no private key"),
    ],
    ids=["rsa", "passphrase", "nonsense"],
)
def test_key_that_cannot_sign_is_told_before_any_host_is_asked(tmp_path, command, message):
    path = tmp_path / "key"
    path.write_text("nonsense")
    if command:
        subprocess.run(["openssl", *command, "-out", str(path)], check=True, capture_output=True)
    with pytest.raises(errors.UsageError, match=message) as caught:
        write.check(str(tmp_path / "reports"), str(path))
    assert str(path) in caught.value.message and "openssl genpkey" in caught.value.message


def test_key_that_is_gone_is_told(tmp_path):
    with pytest.raises(errors.BackupError, match="bring it back") as caught:
        signature.load(str(tmp_path / "gone.key"))
    assert "gone.key" in caught.value.message


def test_history_grows_and_is_shown_in_the_next_report(tmp_path):
    first = write.write(samples.small(), str(tmp_path))
    good = samples.report(samples.host("a", samples.row()), id="drill-later", started_at="2026-11-23T12:00:00.000Z")
    second = write.write(good, str(tmp_path))
    with open(second["json"], encoding="ascii") as source:
        (line,) = json.load(source)["history"]
    with open(first["json"], "rb") as source:
        assert line["sha256"] == hashlib.sha256(source.read()).hexdigest()
    assert (line["verdict"], line["failures"][0]) == ("failed", "shop-4: no route to it")
    with open(second["html"], encoding="utf-8") as page:
        text = page.read()
    assert "(this one)" in text and "shop-4: no route to it" in text and 'id="chart-trend"' in text


def test_game_days_and_drills_have_each_their_own_history(tmp_path):
    write.write(samples.small(), str(tmp_path))
    made = write.write(samples.gameday(), str(tmp_path))
    with open(made["json"], encoding="ascii") as source:
        assert json.load(source)["history"] == []


def test_damaged_history_costs_its_damaged_lines_only(tmp_path):
    lines = [json.dumps(row).encode() for row in samples.history(4)]
    torn = lines[2][:40]
    (tmp_path / "history.jsonl").write_bytes(b"\n".join([lines[0], b"\xff{", b'{"id": 1}', lines[1], torn]))
    rows, said = history.read(str(tmp_path))
    assert [row["started_at"][:7] for row in rows] == ["2026-01", "2026-02"]
    assert "2, 3, 5" in said[0]
    made = write.write(samples.small(), str(tmp_path))
    with open(made["json"], encoding="ascii") as source:
        assert len(json.load(source)["history"]) == 2
    rows, _said = history.read(str(tmp_path))
    assert rows[-1]["id"] == samples.small()["id"], "the new line was glued to the torn one"


def test_report_directory_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(errors.BackupError, match="no host has been asked"):
        write.check(str(tmp_path / "file" / "reports"), None)


def test_every_crash_leaves_no_half_report_and_the_next_one_is_whole(tmp_path, monkeypatch):
    """Each function that changes the disk fails once; then a run without a failure succeeds."""

    class Crash(BaseException):
        pass

    changing = ("make_directory", "write_new", "sync_directory", "publish", "open_append", "write_all", "replace_link")
    real = {name: getattr(files, name) for name in changing}
    calls = []

    def counted(name):
        def call(*arguments, **options):
            calls.append(name)
            if len(calls) == call.crash_at:
                raise Crash
            return real[name](*arguments, **options)

        call.crash_at = 0
        return call

    doubles = {name: counted(name) for name in changing}
    for name, double in doubles.items():
        monkeypatch.setattr(files, name, double)
    write.write(samples.small(), str(tmp_path / "count") if (tmp_path / "count").mkdir() is None else "")
    points = len(calls)
    assert points > 8
    for point in range(1, points + 1):
        place = tmp_path / str(point)
        os.mkdir(place)
        calls.clear()
        for double in doubles.values():
            double.crash_at = point
        with pytest.raises(Crash):
            write.write(samples.small(), str(place))
        for double in doubles.values():
            double.crash_at = 0
        for name in os.listdir(place):
            if not name.startswith(".") and name not in ("latest", "history.jsonl"):
                check = ["sha256sum", "--check", "--quiet", "SHA256SUMS"]
                subprocess.run(check, cwd=place / name, check=True)
        again = {**samples.small(), "id": "drill-again", "warnings": []}
        write.write(again, str(place))
        assert os.readlink(place / "latest") == "drill-again"
        assert history.read(str(place))[0][-1]["id"] == "drill-again"


# --- the standards ---------------------------------------------------------------------------------------------------


def _at(report, path):
    """The values at a path such as ``hosts[].databases[].rpo.met``; raises KeyError where there is no such field."""
    values = [report]
    for part in path.split("."):
        many = part.endswith("[]")
        values = [value[part.removesuffix("[]")] for value in values if value is not None]
        if many:
            values = [one for value in values for one in value]
    return values


def test_standards_map_names_fields_that_a_report_has():
    text = (ROOT / "docs" / "DRILLS.md").read_text(encoding="utf-8").partition("## Standards")[2]
    rows = [line.split("|") for line in text.splitlines() if line.startswith("|")][2:]
    assert len(rows) == 7
    report = {**samples.small(), "history": samples.history()}
    for row in rows:
        fields = re.findall(r"`([^`]+)`", row[3])
        assert fields, row[1]
        for field in fields:
            assert _at(report, field), f"{row[1]}: there is no {field} in a report"
    with pytest.raises(KeyError):
        _at(report, "hosts[].databases[].no_such_field")
