# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The fields of a report: the schema says them all, and what does not have them costs nobody else their report."""

from __future__ import annotations

import copy
import errno
import gc
import importlib.util
import json
import os
import pathlib
import subprocess
import xml.etree.ElementTree as etree

import jsonschema
import pytest
import samples
from ansible_collections.digitalme.backup.plugins.module_utils.engine import clock, errors, files, lock
from ansible_collections.digitalme.backup.plugins.plugin_utils import parts
from ansible_collections.digitalme.backup.plugins.plugin_utils.report import history, junit, merge, model, shape, write

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
SCHEMA = json.loads((ROOT / "docs" / "drill-report.schema.json").read_text("ascii"))
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
SAMPLES = [samples.small, samples.gameday, samples.hostile, lambda: samples.fleet(40, 2), samples.report]

# --- the schema ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sample", SAMPLES)
def test_reports_are_as_the_schema_says(sample, tmp_path):
    (tmp_path / "history.jsonl").write_text("".join(samples.as_line(row) for row in samples.history()))
    with open(write.write(sample(), str(tmp_path))["json"], encoding="ascii") as source:
        report = json.load(source)
    VALIDATOR.validate(report)
    assert shape.problem(report) is None
    with open(tmp_path / "history.jsonl", encoding="ascii") as lines:
        assert [shape.problem(json.loads(line), "line") for line in lines] == [None] * (len(samples.history()) + 1)


def test_schema_is_one_and_describes_every_field():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    fields = [(name, field) for part in _objects(SCHEMA) for name, field in part["properties"].items()]
    assert len(fields) > 90
    assert [name for name, field in fields if len(field.get("description", "")) < 2] == []


def _objects(node):
    if isinstance(node, dict):
        if isinstance(node.get("properties"), dict):
            yield node
        for child in node.values():
            yield from _objects(child)


def test_samples_have_no_field_that_the_schema_does_not_know():
    """So that a field which is added to the code is added to the schema."""
    strict = copy.deepcopy(SCHEMA)
    for part in list(_objects(strict)):
        part["additionalProperties"] = False
    for sample in SAMPLES:
        jsonschema.Draft202012Validator(strict).validate(sample())


def _places(node, above=()):
    """The path of every value in a report."""
    for key, child in node.items() if isinstance(node, dict) else enumerate(node):
        yield (*above, key)
        if isinstance(child, (dict, list)):
            yield from _places(child, (*above, key))


WRONG = (None, True, "word", "", -1, 1.5, 10**400, [], [1], {})


@pytest.mark.parametrize("sample", SAMPLES[:2])
def test_our_check_and_the_library_s_agree_on_every_damage(sample):
    whole = sample()
    whole["history"] = samples.history(2)
    seen = {True: 0, False: 0}
    for path in list(_places(whole)):
        for value in (_GONE, *WRONG):
            damaged = copy.deepcopy(whole)
            _put(damaged, path, value)
            good = VALIDATOR.is_valid(damaged)
            assert (shape.problem(damaged) is None) == good, (path, value)
            seen[good] += 1
    assert seen[True] > 100 and seen[False] > 1000


_GONE = object()


def _put(node, path, value):
    for key in path[:-1]:
        node = node[key]
    if value is _GONE:
        del node[path[-1]]
    else:
        node[path[-1]] = value


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_what_json_cannot_say_is_refused_wherever_it_is(number):
    assert "no JSON" in shape.problem({**samples.small(), "unknown": [number]})


# --- hosts that answer nonsense --------------------------------------------------------------------------------------

RUN = {"id": "drill-1", "kind": "drill", "started_at": "2026-11-22T12:00:00.000Z", "version": "0.1.0", "selection": {}}
BY = {"user": "ops", "controller": "ctl", "ansible": "2.21.5", "job": None}


def _answer(host="bad", **result):
    told = {"error_code": None, "cause": None, "next_step": None}
    times = {"asked_at": "2026-11-22T12:00:00.500Z", "answered_at": "2026-11-22T12:00:02.000Z"}
    return {"host": host, "outcome": "answered", **told, **times, "result": result}


NONSENSE = {
    "databases are a word": {"databases": "many"},
    "databases are words": {"databases": ["many"]},
    "a status that there is not": {"databases": [samples.row(status="passed", seconds="x")]},
    "passed and broken": {"databases": [{**samples.row(), "status": "fine"}]},
    "nothing in it": {"databases": [{}]},
    "no number": {
        "databases": [samples.row(rto={"achieved_seconds": float("nan"), "objective_seconds": 1, "met": True})]
    },
    "too large a number": {"databases": [samples.row(seconds=10**400)]},
    "infinity where nobody looks": {"databases": [samples.row(unknown=float("inf"))]},
    "a clock that is a number": {"databases": [samples.row()], "clock": 5, "tool": {"version": 7}},
    "phases of nothing": {"databases": [samples.row(phases=[None])]},
}


@pytest.mark.parametrize("result", NONSENSE.values(), ids=NONSENSE)
def test_host_that_answers_nonsense_costs_the_others_nothing(result, tmp_path):
    good = _answer("good", databases=[samples.row()], tool=samples.TOOL, seconds=1.0)
    report = model.build(RUN, [_answer(**result), good], BY, clock.parse("2026-11-22T12:00:42Z"))
    bad, fine = report["hosts"]
    assert (bad["outcome"], bad["error_code"], bad["databases"]) == ("failed", "bad_answer", [])
    assert "no result of a drill" in bad["cause"] and bad["next_step"]
    assert (fine["outcome"], report["verdict"], report["counts"]["passed"]) == ("answered", "failed", 1)
    with open(write.write(report, str(tmp_path))["json"], encoding="ascii") as source:
        VALIDATOR.validate(json.load(source))


def test_part_that_is_too_deep_is_a_host_without_answer(tmp_path):
    (tmp_path / "deep.json").write_text("[" * 100_000)
    (part,) = parts.read(str(tmp_path), ["deep"])
    assert (part["outcome"], part["error_code"]) == ("failed", "io_error")


def test_codes_that_are_no_xml_are_written_as_xml():
    odd = "\x00\x1b\ud800]]>"
    fault = {"name": odd, "outcome": "missed", "expected": odd, "what": odd, "seconds": 0.1}
    report = samples.report(samples.host(odd, samples.row(odd, "failed", error_code=odd, cause=odd, faults=[fault])))
    failure = etree.fromstring(junit.render(report)).find(".//failure")
    assert failure.get("type") == "\\u0000\\u001b\\ud800]]>"


def test_words_that_are_no_text_are_in_every_file(tmp_path):
    odd = "a\ud800\x00b"
    row = samples.row(odd, "failed", error_code=odd, cause=odd, next_step=odd, warnings=[odd])
    row["limits"][0]["name"] = row["backup"]["sha256"] = row["backup"]["file"] = odd
    report = samples.report(samples.host(odd, row, tool={"version": odd}), warnings=[odd])
    made = write.write(report, str(tmp_path))
    for name in ("html", "markdown", "junit"):
        with open(made[name], encoding="utf-8") as source:
            text = source.read()
        assert "\x00" not in text and "ud800" in text, name


# --- merging and history ---------------------------------------------------------------------------------------------


def test_report_that_would_break_the_page_is_not_merged():
    damaged = samples.small()
    del damaged["hosts"][0]["databases"][0]["limits"]
    with pytest.raises(errors.UsageError, match=r"hosts\[0\]\.databases\[0\]\.limits is missing"):
        merge.checked(damaged, "/x/drill.json")
    with pytest.raises(errors.UsageError, match="finished_at is no time"):
        merge.checked({**samples.small(), "finished_at": "2026-13-45T12:00:00Z"}, "/x/drill.json")


def test_same_report_given_twice_is_one():
    whole = merge.merge([samples.small(), samples.small()])
    assert whole["merged_from"] == [samples.small()["id"]]
    assert [text for text in whole["warnings"] if "several" in text] == []


def test_other_report_of_the_same_id_is_not_lost():
    other = samples.report(samples.host("z", samples.row(status="failed")))
    whole = merge.merge([samples.report(samples.host("a", samples.row())), other])
    assert (whole["counts"]["hosts"], whole["verdict"]) == (2, "failed")


def test_many_hosts_that_are_in_several_reports_are_told_in_short():
    later = samples.fleet(300)
    later.update(id="later", started_at="2026-11-23T12:00:00.000Z")
    whole = merge.merge([samples.fleet(300), later])
    assert whole["counts"]["hosts"] == 300
    assert len(whole["warnings"]) == 21 and whole["warnings"][20].startswith("280 more")


def test_history_stays_small_whatever_hosts_say(tmp_path):
    rows = [samples.row(f"db{number}", "failed", cause=samples.HOSTILE) for number in range(50)]
    write.write(samples.report(samples.host("a", *rows)), str(tmp_path))
    assert (tmp_path / "history.jsonl").stat().st_size < 10_000


@pytest.mark.parametrize(
    "damage", [{"started_at": 5}, {"rto_worst": "x"}, {"rto_median": []}, {"failures": 1}], ids=str
)
def test_line_of_the_history_that_would_break_the_page_is_left_out(tmp_path, damage):
    lines = [samples.history(2)[0], {**samples.history(2)[0], **damage}]
    (tmp_path / "history.jsonl").write_text("".join(samples.as_line(row) for row in lines))
    rows, said = history.read(str(tmp_path))
    assert len(rows) == 1 and "damaged lines were left out: 2" in said[0]


# --- on the disk -----------------------------------------------------------------------------------------------------


def test_what_a_crash_has_left_is_taken_away_by_the_next_report(tmp_path):
    (tmp_path / ".drill-20260101T000000Z-0000.partial").mkdir()
    (tmp_path / ".gameday-20260101T000000Z-0000.partial").mkdir()
    (tmp_path / ".drill-20260101T000000Z-0000.parts").mkdir()
    write.write(samples.small(), str(tmp_path))
    assert [name for name in os.listdir(tmp_path) if name.startswith(".")] == [".drill-20260101T000000Z-0000.parts"]


def test_report_waits_for_another_one_and_says_so_when_it_waited_in_vain(tmp_path, monkeypatch):
    monkeypatch.setattr(write, "_PATIENCE", 0)
    (tmp_path / "history.jsonl").touch()
    descriptor = lock.open_locked(str(tmp_path / "history.jsonl"), 0)
    (tmp_path / ".drill-20260101T000000Z-0000.partial").mkdir()
    with pytest.raises(errors.Busy):
        write.write(samples.small(), str(tmp_path))
    assert (tmp_path / ".drill-20260101T000000Z-0000.partial").is_dir(), "the other one's work was taken away"
    os.close(descriptor)
    write.write(samples.small(), str(tmp_path))


def test_full_disk_leaves_no_part_of_a_report(tmp_path, monkeypatch):
    real = files.write_new

    def full(path, data, mode=0o600):
        if path.endswith("report.html"):
            raise OSError(errno.ENOSPC, "No space left on device", path)
        real(path, data, mode=mode)

    monkeypatch.setattr(files, "write_new", full)
    with pytest.raises(OSError, match="No space left"):
        write.write(samples.small(), str(tmp_path))
    assert os.listdir(tmp_path) == ["history.jsonl"]
    assert history.read(str(tmp_path)) == ([], [])


def test_search_for_circles_goes_on_after_a_report(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(history, "append", lambda *_given: seen.append(gc.isenabled()))
    write.write(samples.small(), str(tmp_path))
    with pytest.raises(FileExistsError):
        write.write(samples.small(), str(tmp_path))
    assert seen == [False] and gc.isenabled()


def test_probe_that_a_crash_has_left_is_no_obstacle(tmp_path):
    (tmp_path / f".probe.{os.getpid()}.partial").touch()
    write.check(str(tmp_path), None)
    assert os.listdir(tmp_path) == []


# --- the document ----------------------------------------------------------------------------------------------------


def _fences():
    spec = importlib.util.spec_from_file_location("fences", ROOT / "tests" / "docs" / "fences.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return [fence.body for fence in module.of("x", (ROOT / "docs" / "DRILL_REPORT.md").read_text("utf-8"))]


def _typed(command, place):
    return subprocess.run(["bash", "-ec", command], cwd=place, capture_output=True, text=True, check=False)


@pytest.fixture
def typed(tmp_path):
    """The document's commands, and the directory of a signed report that they are for."""
    sums, proofs, fingerprint, earlier, key = _fences()
    assert _typed(key, tmp_path).returncode == 0
    reports = tmp_path / "reports"
    reports.mkdir()
    first = write.write(samples.small(), str(reports), str(tmp_path / "drill.key"))
    later = samples.report(samples.host("a", samples.row()), id="drill-later", started_at="2026-11-23T12:00:00.000Z")
    second = write.write(later, str(reports), str(tmp_path / "drill.key"))
    earlier = earlier.replace("EARLIER", os.path.basename(first["directory"]))
    commands = {"sums": sums, "proofs": proofs, "fingerprint": fingerprint, "earlier": earlier}
    return commands, pathlib.Path(second["directory"])


def test_commands_of_the_document_verify_a_report(typed):
    commands, place = typed
    done = {name: _typed(command, place) for name, command in commands.items()}
    assert {name: one.returncode for name, one in done.items()} == dict.fromkeys(commands, 0), done
    assert done["fingerprint"].stdout.split()[0] in (place / "report.html").read_text("utf-8")
    assert done["earlier"].stdout == "1\n"


def test_commands_of_the_page_are_those_of_the_document(typed):
    commands, place = typed
    page = (place / "report.html").read_text("utf-8")
    for line in "".join(commands[name] for name in ("sums", "proofs", "fingerprint")).splitlines():
        assert line in page


@pytest.mark.parametrize(
    ("name", "fails"),
    [
        ("drill.json", ["sums", "proofs"]),
        ("report.html", ["sums"]),
        ("SHA256SUMS", ["sums", "proofs"]),
        ("drill.json.sig", ["sums", "proofs"]),
        ("SHA256SUMS.sig", ["proofs"]),
        ("../drill-20261122T120000Z-4f2a/drill.json", ["earlier"]),
    ],
)
def test_commands_of_the_document_tell_of_every_changed_byte(typed, name, fails):
    commands, place = typed
    data = bytearray((place / name).read_bytes())
    data[10] ^= 1
    (place / name).write_bytes(data)
    assert [name for name, command in commands.items() if _typed(command, place).returncode] == fails
