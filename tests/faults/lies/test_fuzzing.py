# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The parsers of manifests, configurations and cron expressions, guided by what their lines see (`fuzzing`).

Each may refuse with the error that is documented for it, and nothing else; what it accepts must be of use.
"""

from __future__ import annotations

import datetime
import json
import os

import fuzzing
from asked import EVERYTHING, SEED
from engine import catalog, clock, config, cron, errors, manifest, settings

EXECUTIONS = 40_000 if EVERYTHING else 10_000
# What a schedule promises takes longer to check.
OF_CRON = 8_000 if EVERYTHING else 2_500
NUMBERS = (b"0", b"-1", b"1e999", b"9" * 400, b"9" * 5000, b"1.5", b"NaN", b"-Infinity", b"9223372036854775808")
JSON_WORDS = (
    *NUMBERS,
    *(b"{", b"}", b"[", b"]", b'"', b",", b":", b"null", b"true", b"{}", b"[]", b'""', b'"\\ud800"', b'"\\u0000"'),
    *(b"\\", b"\xff", b"\xef\xbb\xbf", b"[" * 5000, b"[" * 700 + b"]" * 700, b'"a":1,'),
)
SOUND = {
    "schema_version": 1,
    "file": "app_20261122_020000.db.gz",
    "name": "app",
    "host": "h1",
    "created_at": "2026-11-22T02:00:00.000Z",
    "duration_seconds": 0.5,
    "method": "online",
    "trigger": "manual",
    "pinned": True,
    "pinned_until": "2026-12-01T00:00:00Z",
    "annotations": {"why": "before"},
    "source": {"path": "/srv/app.db", "page_size": 4096, "uid": 0, "gid": 0, "mode": "0640", "tables": {"a": 1}},
    "size_bytes": 9,
    "stored_bytes": 7,
    "compression": "gzip",
    "sha256": "00" * 32,
    "content_sha256": "11" * 32,
    "verification": {"status": "ok", "level": "full", "errors": [{"check": "a", "message": "b"}], "warnings": []},
}


def _words_of(document):
    """Every key and text of a document, as JSON."""
    if isinstance(document, dict):
        return {word for key, value in document.items() for word in (*_words_of(key), *_words_of(value))}
    if isinstance(document, list):
        return {word for value in document for word in _words_of(value)}
    return {json.dumps(document).encode()}


def _survives(name, modules, fuzzed, report):
    files = ", ".join(os.path.basename(module.__file__) for module in modules)
    report(
        f"fuzzed {name}: {fuzzed.executions} executions, {fuzzed.accepted} accepted, {fuzzed.kept} inputs kept, "
        f"{fuzzed.lines} of {fuzzed.of_lines} lines reached of the functions of {files} that it entered; "
        f"failures: {len(fuzzed.failures)}"
    )
    assert not fuzzed.failures, "\n".join(f"{said}\n    {raw!r}" for raw, said in fuzzed.failures)


def test_manifests(fuzz_report):
    path = "/backups/app_20261122_020000.db.gz.json"

    def check(document):
        again = manifest.encode(document)
        json.dumps(document, allow_nan=False)
        assert manifest.decode(again, path) == document, "it does not come back as it was written"
        entry = catalog.Entry("f", path, "app", "regular", None, "verified", 1, document, ())
        json.dumps(entry.view(), allow_nan=False)
        entry.pinned(clock.now())

    modules = (manifest, clock)
    seeds = [manifest.encode(SOUND), manifest.encode({key: SOUND[key] for key in manifest._REQUIRED})]
    words = (*JSON_WORDS, *sorted(_words_of(SOUND)))
    fuzzed = fuzzing.run(
        modules,
        seeds,
        words,
        lambda raw: manifest.decode(raw, path),
        refusals=errors.BackupInvalid,
        check=check,
        executions=EXECUTIONS,
        seed=f"{SEED} manifest",
    )
    _survives("manifests", modules, fuzzed, fuzz_report)


def test_configurations(fuzz_report, quick_place):
    path = os.path.join(quick_place, "config.json")
    whole = {
        "databases": [
            {"path": "/srv/app.db", "name": "app", "retention": {"keep_days": 3}},
            {"path": "/srv/b.db", "schedule": "@daily"},
        ],
        "defaults": {**settings.DEFAULTS, "backup_dir": "/backups", "retention": {**settings.RETENTION}},
        "audit_log": "/var/log/a.jsonl",
        "metrics_dir": "/var/lib/m",
        "Backup": {"RetentionDays": 7, "MaxBackups": 3},
    }

    def work(raw):
        with open(path, "wb") as file:
            file.write(raw)
        return config.load(path, {})

    def check(found):
        json.dumps(found, allow_nan=False)
        for entry in found.databases:
            target = config.target(found, name=entry["name"], environment={})
            assert target.name == entry["name"]

    modules = (config, settings)
    words = (*JSON_WORDS, *sorted(_words_of(whole)))
    fuzzed = fuzzing.run(
        modules,
        [json.dumps(whole).encode(), b"{}"],
        words,
        work,
        refusals=errors.BackupError,
        check=check,
        executions=EXECUTIONS,
        seed=f"{SEED} configuration",
    )
    _survives("configurations", modules, fuzzed, fuzz_report)


def test_cron_expressions(fuzz_report):
    moments = [datetime.datetime(year, 2, 28, 23, 59, tzinfo=datetime.timezone.utc) for year in (1999, 2028)]
    fields = ("minutes", "hours", "days", "months", "weekdays")

    def check(found):
        text = " ".join(",".join(str(value) for value in sorted(getattr(found, field))) for field in fields)
        again = cron.parse(text, "UTC")
        for field in fields:
            assert getattr(again, field) == getattr(found, field), f"{field} do not come back from {text}"
        for moment in moments:
            coming = found.next(moment)
            assert coming is not None and coming > moment, f"nothing comes after {moment}"
            assert found.previous(coming) == coming, "what comes is no firing"
            assert found.longest_interval(moment) > 0

    modules = (cron,)
    words = tuple(
        word.encode()
        for word in (
            *"0123456789*/,- @#\t\n",
            "jan",
            "sun",
            "SAT",
            "@daily",
            "59",
            "60",
            "31",
            "1-5",
            "*/7",
            "²",
            "\u0663",
        )
    )
    seeds = [b"0 2 * * *", b"*/15 1-5,7 1,15 jan-mar mon", b"@weekly", b"0 0 29 2 *", b"5/10 23 */2 dec 1-5"]
    fuzzed = fuzzing.run(
        modules,
        seeds,
        words,
        lambda raw: cron.parse(raw.decode("utf-8", "surrogateescape"), "UTC"),
        refusals=errors.ConfigError,
        check=check,
        executions=OF_CRON,
        seed=f"{SEED} cron",
    )
    _survives("cron expressions", modules, fuzzed, fuzz_report)


def test_the_fuzzer_finds_what_is_deep():
    """One that is wrong behind four conditions, which chance alone does not meet in so few tries."""
    import needle

    fuzzed = fuzzing.run(
        (needle,),
        [b"....."],
        (b"d", b"e", b"p"),
        needle.parse,
        refusals=ValueError,
        check=bool,
        executions=20_000,
        seed="1",
    )
    assert [said for _raw, said in fuzzed.failures] == ["KeyError: 'found'"]
