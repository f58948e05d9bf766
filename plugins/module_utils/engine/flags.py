# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the commands' flags have in common: how a command is made, time spans, the flags that recur."""

from __future__ import annotations

import argparse
import contextlib
import sys

PROGRAM = "digitalme-backup"


class Parser(argparse.ArgumentParser):
    """Usage errors go to standard error with status 2, as argparse has it; with --json also as an object.

    Examples stay on one line, to be copied.
    """

    def __init__(self, **options):
        super().__init__(**options, formatter_class=argparse.RawDescriptionHelpFormatter)

    def _print_message(self, message, file=None):
        with contextlib.suppress(OSError):  # Of help that cannot be written newer releases of Python are silent, too.
            super()._print_message(message, file)

    def error(self, message):
        if "--json" in sys.argv:
            import json

            with contextlib.suppress(OSError):  # Standard error tells it as well.
                sys.stdout.write(json.dumps({"error_code": "usage", "msg": message}) + "\n")
        super().error(message)


def seconds(text):
    """Seconds, or a number with s, m, h or d."""
    units = {"s": 1, "m": 60, "h": 3600, "d": 86400}
    unit = units.get(text[-1:].lower())
    try:
        return float(text[:-1]) * unit if unit else float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is no time span such as 90, 30m, 26h or 7d") from None


def name_command(commands, name, run, show, text, example, database=True):
    """A command about one name."""
    command = host_command(commands, name, run, show, text, example)
    if database:
        command.add_argument("--database", metavar="FILE", help="the live SQLite file")
    command.add_argument("--backup-dir", metavar="DIR", help="where the backups lie")
    command.add_argument("--name", help="name of the backup set (default: the file's stem)")
    return command


def host_command(commands, name, run, show, text, example):
    """A command about the host as it is configured."""
    command = commands.add_parser(name, help=text, description=text, epilog=f"example: {PROGRAM} {example}")
    command.set_defaults(run=run, show=show)
    command.add_argument("--config", metavar="FILE", help="configuration (default: /etc/digitalme-backup/config.json)")
    command.add_argument("--json", action="store_true", help="answer with one JSON object on standard output")
    return command


def add_verify(command, text="how thoroughly to verify (default: full)"):
    command.add_argument("--verify", choices=("none", "quick", "full"), help=text)


def add_assertions(command):
    command.add_argument(
        "--assert",
        dest="assertions",
        action="append",
        metavar="SQL[ => EXPECTED]",
        help="SQL whose first value must be EXPECTED, or true; may be repeated",
    )


def add_busy_timeout(command):
    text = "how long to wait for locks (default: 30 s)"
    command.add_argument("--busy-timeout", type=seconds, metavar="SECONDS", help=text)
