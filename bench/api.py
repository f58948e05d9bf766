#!/usr/bin/env python3
# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the REST API answers under load: percentiles by route, against the bare framework's empty route in the same run.

    make bench-api [BACKUPS=1000] [CONNECTIONS=32] [SECONDS=6] [ROUNDS=3]

wrk (Debian's package) asks; the routes take turns. The service, its gate and wrk share the machine. The last table has
the list while somebody makes a backup every second, so that the catalog is read again all the while.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import pathlib
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "api"))

from served import Served  # noqa: E402

ROUTES = {
    "bare framework, empty route": None,
    "/health": "/health",
    "/api/backup": "/api/backup",
    "/api/backup?pageSize=20": "/api/backup?pageSize=20",
    "/api/backup/health": "/api/backup/health",
    "/api/backup/statistics": "/api/backup/statistics",
    "/api/backup/operations?pageSize=20": "/api/backup/operations?pageSize=20",
    "/api/backup/{file}": "/api/backup/latest",
}
BARE = """
import sys
import uvicorn
from fastapi import FastAPI

application = FastAPI()


@application.get("/")
async def empty():
    return {}


uvicorn.run(application, port=int(sys.argv[1]), log_level="error", access_log=False)
"""
_UNITS = {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60000.0}
FOR_EVER = "100000000/minute"


def number(name, default):
    return int(os.environ.get(name) or default)


def fill(served, count):
    """So many backups in the catalog: one that was made, and copies of it with other times."""
    file = served.made()
    directory = served.backups()
    manifest = json.loads((directory / f"{file}.json").read_text())
    at = datetime.datetime.fromisoformat(manifest["created_at"].replace("Z", "+00:00"))
    for back in range(1, count):
        then = at - datetime.timedelta(minutes=back)
        copy = f"shop_{then:%Y%m%d_%H%M%S}.db"
        shutil.copyfile(directory / file, directory / copy)
        known = {**manifest, "file": copy, "created_at": f"{then:%Y-%m-%dT%H:%M:%SZ}"}
        (directory / f"{copy}.json").write_text(json.dumps(known))


def measured(url, token, connections, seconds):
    """{p50, p99 (milliseconds), rate (a second), bad} of wrk's run."""
    words = ["wrk", "-t2", f"-c{connections}", f"-d{seconds}s", "--latency", "--timeout", "10s"]
    words += ["-H", f"Authorization: Bearer {token}", url]
    said = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    percentiles = {key: float(value) * _UNITS[unit] for key, value, unit in re.findall(r"(\d+)% +([\d.]+)(\w+)", said)}
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", said)
    lost = re.search(r"Socket errors: (.*)", said)
    return {
        "p50": percentiles["50"],
        "p99": percentiles["99"],
        "rate": float(re.search(r"Requests/sec: +([\d.]+)", said).group(1)),
        "bad": int(bad.group(1)) if bad else 0,
        "lost": lost.group(1) if lost else "",
    }


@contextlib.contextmanager
def bare():
    """The address of the bare framework."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen([sys.executable, "-c", BARE, str(port)])
    try:
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}/"
    finally:
        process.terminate()
        process.wait()


def memory(pid):
    """Megabytes that the process has had at most."""
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status).group(1)) / 1000


@contextlib.contextmanager
def backups_all_the_while(served):
    """One a second, by API, while the block runs; the statuses are in what it yields."""
    ended, statuses = threading.Event(), []

    def run():
        while not ended.wait(1):
            statuses.append(served.ask("POST", "/api/backup").status)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield statuses
    finally:
        ended.set()
        thread.join()


def main():
    count, connections = number("BACKUPS", 1000), number("CONNECTIONS", 32)
    seconds, rounds = number("SECONDS", 6), number("ROUNDS", 3)
    place = pathlib.Path(tempfile.mkdtemp(prefix="digitalme-api-"))
    served = Served(place, rates=dict.fromkeys(("subject", "address", "costly", "refused"), FOR_EVER))
    try:
        served.start()
        fill(served, count)
        token = served.token(exp=int(time.time()) + 7200)
        start = memory(served.process.pid)
        address = f"http://127.0.0.1:{served.port}"
        found = {name: [] for name in ROUTES}
        # The first reading of the catalog is not what is measured here.
        measured(f"{address}/api/backup", token, connections, 2)
        with bare() as empty:
            for _round in range(rounds):
                for name, path in ROUTES.items():
                    found[name].append(measured(address + path if path else empty, token, connections, seconds))
        with backups_all_the_while(served) as statuses:
            busy = measured(f"{address}/api/backup", token, connections, seconds * 2)
        print(f"{count} backups, {connections} connections, medians of {rounds} rounds of {seconds} s, in turns")
        table(found)
        print(f"\nmemory of the service: {start:.0f} MB before, {memory(served.process.pid):.0f} MB at most")
        print(
            f"the list while {len(statuses)} backups are made ({set(statuses)}): "
            f"p50 {busy['p50']:.1f} ms, p99 {busy['p99']:.1f} ms, not 2xx: {busy['bad']} {busy['lost']}"
        )
        served.stop()
    finally:
        if served.process and served.process.poll() is None:
            served.process.kill()
        shutil.rmtree(place)


def table(found):
    medians = {
        name: {key: statistics.median(row[key] for row in rows) for key in ("p50", "p99", "rate")}
        for name, rows in found.items()
    }
    health = medians["/health"]["p99"]
    print("\n| route | p50 | p99 | more than /health | requests a second | not 2xx |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for name, row in medians.items():
        bad = sum(each["bad"] for each in found[name])
        more = "" if name.startswith("bare") else f"{row['p99'] - health:+.1f} ms"
        print(f"| {name} | {row['p50']:.1f} ms | {row['p99']:.1f} ms | {more} | {row['rate']:.0f} | {bad} |")


if __name__ == "__main__":
    main()
