#!/usr/bin/env python3
# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Write the reference documents from the code: docs/ERRORS.md and docs/COMMANDS.md. tests/docs compares them.

The layout of argparse's help differs between Python releases, so the commands are written from the parser's data.
"""

from __future__ import annotations

import argparse
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "plugins" / "module_utils"))

from engine import __main__ as command_line  # noqa: E402
from engine import errors  # noqa: E402

MADE = "<!-- made by tools/reference.py: change the code, then run make reference -->\n"


def error_page():
    """Every error code, its exit status and the next step."""
    lines = [
        "# Error codes",
        "",
        MADE,
        "A failed module, command or API call answers with `error_code` and `msg`, which names the file, the cause and",
        "the next step; the command line exits with the status. Unless the step says otherwise, all is as it was.",
        "",
        "| code | exit status | next step |",
        "| --- | ---: | --- |",
    ]
    for code, kind in sorted(errors.CODES.items()):
        lines.append(f"| `{code}` | {kind.exit_code} | {kind.hint} |")
    return "\n".join(lines) + "\n"


def command_page():
    """Every command with its arguments, flags and example."""
    lines = ["# The command line", "", MADE, (command_line.__doc__ or "").strip(), ""]
    for name, command in commands().items():
        lines += [f"## {name}", "", str(command.description), "", "```text", example(command), "```", ""]
        lines += ["| | |", "| --- | --- |"]
        lines += [row(action) for action in command._actions if not isinstance(action, argparse._HelpAction)]
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def commands():
    """{name: parser} of all commands."""
    top = command_line.parser()
    groups = [action for action in top._actions if isinstance(action, argparse._SubParsersAction)]
    return dict(groups[0].choices)


def example(command):
    return str(command.epilog).partition("example: ")[2]


def row(action):
    shown = ", ".join(f"`{flag}`" for flag in action.option_strings) or f"`{action.metavar}`"
    if action.option_strings and action.nargs != 0:
        shown += f" {action.metavar or action.dest.upper()}"
    if action.choices:
        shown = ", ".join(f"`{flag}`" for flag in action.option_strings) + " " + "\\|".join(action.choices)
    return f"| {shown} | {(action.help or '').replace('%%', '%')} |"


PAGES = {"docs/ERRORS.md": error_page, "docs/COMMANDS.md": command_page}


def main():
    for name, page in PAGES.items():
        (ROOT / name).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
