#!/usr/bin/env python3
# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the report of a large fleet costs: seconds by part, bytes of each file, memory, and until Chromium shows it.

    make bench-report [HOSTS=5000] [DATABASES="1 10"] [ROUNDS=3]

The hosts' parts are those of a fleet that never was (tests/report/samples.py). Each round is a process of its own.
Needs the controller's environment for development, and Chromium.
"""

from __future__ import annotations

import json
import os
import pathlib
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "report"))
# What is timed, in its order; the rest of a report is small.
PARTS = (
    *(("model", "build", "read and judge"), ("history", "read", "history"), ("junit", "render", "JUnit")),
    *(("markdown", "render", "Markdown"), ("html", "render", "page"), ("write", "_publish", "to the disk")),
)
PAINTED = """() => new Promise(done => new PerformanceObserver((list, observer) => {
  observer.disconnect();
  done([list.getEntriesByName('first-contentful-paint')[0].startTime,
        performance.getEntriesByType('navigation')[0].loadEventEnd]);
}).observe({type: 'paint', buffered: true}))"""


def once(hosts, databases):
    """The figures of one report, in a process that does nothing else."""
    import samples
    from ansible_collections.digitalme.backup.plugins.module_utils.engine import clock
    from ansible_collections.digitalme.backup.plugins.plugin_utils import parts
    from ansible_collections.digitalme.backup.plugins.plugin_utils.report import model, write

    place = pathlib.Path(tempfile.mkdtemp(prefix="digitalme-report-"))
    try:
        names = _parts(samples, parts, place, hosts, databases)
        (place / "history.jsonl").write_text("".join(samples.as_line(row) for row in samples.history(13)))
        took = _timed()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        started = time.monotonic()
        run = {
            "id": "drill-0",
            "kind": "drill",
            "started_at": clock.iso(clock.now()),
            "version": "0.1.0",
            "selection": {},
        }
        by = {"user": "ops", "controller": "ctl", "ansible": None, "job": None}
        made = write.write(model.build(run, parts.read(str(place / "parts"), names), by, clock.now()), str(place))
        seconds = time.monotonic() - started
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        sizes = {path.name: path.stat().st_size for path in pathlib.Path(made["directory"]).iterdir()}
        painted, loaded = _shown(made["html"])
        return {
            "seconds": {**took, "in all": seconds, "first painted": painted / 1000, "loaded": loaded / 1000},
            "bytes": sizes,
            "memory": {"before": before * 1024, "peak": peak * 1024},
        }
    finally:
        shutil.rmtree(place)


def _parts(samples, parts, place, hosts, databases):
    """Write the hosts' parts one by one, so that this process has not all of them in memory; returns their names."""
    (place / "parts").mkdir()
    names = []
    for number in range(hosts):
        (host,) = samples.fleet(1, databases, first=number)["hosts"]
        told = {key: host[key] for key in ("host", "outcome", "error_code", "cause", "next_step")}
        result = None if host["outcome"] != "answered" else {key: host[key] for key in ("seconds", "tool", "databases")}
        part = {"part_version": parts.VERSION, **told, "asked_at": None, "answered_at": None, "result": result}
        (place / "parts" / f"{host['host']}.json").write_text(json.dumps(part))
        names.append(host["host"])
    return names


def _timed():
    """{what: seconds}, filled in as the parts of a report are made."""
    import importlib

    took = {}
    for room, function, what in PARTS:
        module = importlib.import_module(f"ansible_collections.digitalme.backup.plugins.plugin_utils.report.{room}")

        setattr(module, function, _noting(getattr(module, function), what, took))
    return took


def _noting(function, what, took):
    """The function, which notes in ``took`` how long it needs."""

    def timed(*given, **named):
        started = time.monotonic()
        try:
            return function(*given, **named)
        finally:
            took[what] = time.monotonic() - started

    return timed


def _shown(page):
    """Milliseconds until Chromium has painted the page for the first time, and until it is loaded."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        tab = browser.new_page()
        tab.goto(f"file://{page}", timeout=120_000)
        figures = tab.evaluate(PAINTED)
        browser.close()
    return figures


def main():
    hosts, rounds = int(os.environ.get("HOSTS", "5000")), int(os.environ.get("ROUNDS", "3"))
    print(f"{hosts} hosts, medians of {rounds} rounds, {os.cpu_count()} cores\n")
    for databases in os.environ.get("DATABASES", "1 10").split():
        runs = []
        for _round in range(rounds):
            done = subprocess.run(
                [sys.executable, __file__, str(hosts), databases], check=True, stdout=subprocess.PIPE, text=True
            )
            runs.append(json.loads(done.stdout))
        print(f"| {databases} databases on each host | |\n| --- | ---: |")
        for group, unit, scale in (("seconds", "s", 1), ("bytes", "MB", 10**6), ("memory", "MB", 10**6)):
            for name in runs[0][group]:
                middle = statistics.median(run[group][name] for run in runs) / scale
                print(f"| {'memory, ' if group == 'memory' else ''}{name} | {middle:.2f} {unit} |")
        print(flush=True)


if __name__ == "__main__":
    if len(sys.argv) == 3:
        print(json.dumps(once(int(sys.argv[1]), int(sys.argv[2]))))
    else:
        main()
