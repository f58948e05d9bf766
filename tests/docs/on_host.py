#!/usr/bin/env python3
# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Run a document's commands from top to bottom, on a controller and a real host, and compare what they print.

    on_host.py DOCUMENT --directory D --host COMMAND --actions FILE

``D`` is where ansible-playbook runs, with inventory.yml in it; COMMAND runs a shell script from standard input on the
host as root. The marks before the fences (see fences.py):

    <!-- test: host -->                  its lines are run on the host, by sh -eu
    <!-- test: controller -->            its lines are run on the controller
    ... after NAME                       before that, the action NAME: a shell function of FILE, run on the controller
    ... exit 4                           they end with this status, not with 0
    <!-- test: output -->                of a ``text`` fence: its lines stand in what the fence before has printed, in
                                         this order. Numbers, times and hashes may differ; what follows ``...`` also.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import re
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import fences


def run(words, script, directory):
    """(exit status, what was printed)."""
    done = subprocess.run(
        words, input=script, cwd=directory, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    return done.returncode, done.stdout


def general(line):
    """The line with everything that differs from run to run made equal."""
    line = re.sub(r"\x1b\[[0-9;]*m", "", line).strip().strip("'\",").lstrip("- '\"")
    line = re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z", "TIME", line)
    line = re.sub(r"\d{8}_\d{6}(_\d+)?", "STAMP", line)
    line = re.sub(r"\b[0-9a-f]{16}\b", "ID", line)
    return re.sub(r"\s+", " ", re.sub(r"\d+(\.\d+)?", "N", line))


def missing(shown, printed):
    """The first line of what the document shows that was not printed in its place; None when all were."""
    lines = iter([general(line) for line in printed.splitlines()])
    for line in shown.splitlines():
        beginning, dots, _rest = line.partition("...")
        wanted = general(beginning)
        if not any(found.startswith(wanted) if dots else found == wanted for found in lines):
            return line
    return None


def options_of(rest):
    """{after, exit} of a mark's other words."""
    words = rest.split()
    found = dict(zip(words[::2], words[1::2]))
    if len(words) % 2 or set(found) - {"after", "exit"}:
        raise SystemExit(f"the mark has words that mean nothing: {rest}")
    return found.get("after"), int(found.get("exit", 0))


class Failed(Exception):
    """A fence did not do what the document says."""


def check(fence, arguments, printed):
    """Run or compare one fence; returns what it printed."""
    where = f"{fence.document}:{fence.line}"
    if fence.verb == "output":
        lacking = missing(fence.body, printed)
        if lacking is not None:
            raise Failed(f"{where}: this was not printed: {lacking}\nbut this:\n{printed}")
        return printed
    action, status = options_of(fence.rest)
    if action:
        before, said = run(
            ["bash", "-euo", "pipefail", "-c", f". {arguments.actions}; {action}"], "", arguments.directory
        )
        if before:
            raise Failed(f"{where}: the action {action} failed:\n{said}")
    words = ["sh", "-c", arguments.host] if fence.verb == "host" else ["sh", "-eu"]
    found, printed = run(words, fence.body, arguments.directory)
    if found != status:
        raise Failed(f"{where}: it ended with {found}, not {status}:\n{fence.body}\n{printed}")
    return printed


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("document", type=pathlib.Path)
    parser.add_argument("--directory", required=True, help="where the controller's commands run")
    parser.add_argument("--host", required=True, help="runs a script from standard input on the host")
    parser.add_argument("--actions", required=True, help="shell functions that bring about what a section is for")
    arguments = parser.parse_args()
    printed, count = "", 0
    for fence in fences.of(arguments.document.name, arguments.document.read_text(encoding="utf-8"), fences.ALL):
        if fence.verb in ("host", "controller", "output"):
            try:
                printed = check(fence, arguments, printed)
            except Failed as failure:
                raise SystemExit(str(failure)) from None
            count += 1
            sys.stdout.write(f"{fence.document}:{fence.line}: {fence.verb} {fence.rest}\n")
    sys.stdout.write(f"{arguments.document.name}: {count} fences are as it says\n")


if __name__ == "__main__":
    main()
