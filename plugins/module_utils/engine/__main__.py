# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The command line: ``digitalme-backup COMMAND``, or ``python3 -m engine COMMAND`` from a checkout.

With ``--json`` standard output is one JSON object with the fields that the module returns; progress and messages go
to standard error. Exit status: 0 done; 1 failed; 2 usage or configuration; 3 backup invalid or not found; 4 not
confirmed; 5 no space; 6 busy; 7 failed and rolled back; 8 cannot be verified here. ``health`` exits 0, 1, 2, 3 as
healthy, degraded, unhealthy, unknown.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys

from . import __version__, errors

PROGRAM = "digitalme-backup"
HEALTH_EXIT = {"healthy": 0, "degraded": 1, "unhealthy": 2}
HEALTH_UNKNOWN = 3
STATUSES = ("verified", "unverified", "unverifiable", "invalid", "missing")
HOW = "write into the live file, or replace it (default: auto)"
SHRINK = "by how much a backup or the database may suddenly be smaller (default: 50; 0: any)"


def main(arguments=None):
    """Run one command; returns the exit status."""
    parsed = parser().parse_args(arguments)
    if not hasattr(parsed, "run"):
        parser().print_help(sys.stderr)
        return 2
    from . import terminal

    options = {key: value for key, value in vars(parsed).items() if key not in ("run", "show", "json", "command")}
    show = getattr(terminal, parsed.show)
    signal.signal(signal.SIGTERM, _terminated)
    try:
        result = _perform(parsed, options, terminal)
    except errors.BackupError as error:
        terminal.failed(error, parsed.json, show)
        return HEALTH_UNKNOWN if parsed.command == "health" else error.exit_code
    except KeyboardInterrupt:
        terminal.say(f"{PROGRAM}: interrupted; the next run removes or settles what was left")
        return 130
    except _Terminated:
        terminal.say(f"{PROGRAM}: terminated; the next run removes or settles what was left")
        return 143
    terminal.done(result, parsed.json, show)
    return HEALTH_EXIT[result["status"]] if parsed.command == "health" else 0


class _Terminated(BaseException):
    """SIGTERM, as an exception: what is unfinished is cleaned up and the audit line is written before the end."""


def _terminated(*_arguments):
    raise _Terminated


def _perform(parsed, options, terminal):
    from . import operations

    options["caller"] = {"via": "cli"}
    options["progress"] = terminal.Progress() if sys.stderr.isatty() else None
    options["config_path"] = options.pop("config")
    if "assertions" in options:
        options["assertions"] = _assertions(options["assertions"])
    if options.get("annotations"):
        options["annotations"] = dict(_pair(text, "annotation") for text in options["annotations"])
    return getattr(operations, parsed.run)(**options)


def _assertions(texts):
    """``SQL`` or ``SQL => EXPECTED`` from the command line."""
    if texts is None:
        return None
    rows = []
    for text in texts:
        sql, arrow, expect = text.rpartition("=>")
        rows.append({"sql": sql.strip(), "expect": expect.strip()} if arrow else {"sql": text, "expect": None})
    return rows


def _pair(text, what):
    key, equals, value = text.partition("=")
    if not equals:
        raise errors.UsageError(f"the {what} '{text}' is not KEY=VALUE")
    return key, value


class _Parser(argparse.ArgumentParser):
    """Usage errors go to standard error with status 2, as argparse has it; with --json also as an object.

    Examples stay on one line, to be copied.
    """

    def __init__(self, **options):
        super().__init__(**options, formatter_class=argparse.RawDescriptionHelpFormatter)

    def error(self, message):
        if "--json" in sys.argv:
            import json

            sys.stdout.write(json.dumps({"error_code": "usage", "msg": message}) + "\n")
        super().error(message)


def _seconds(text):
    """Seconds, or a number with s, m, h or d."""
    units = {"s": 1, "m": 60, "h": 3600, "d": 86400}
    unit = units.get(text[-1:].lower())
    try:
        return float(text[:-1]) * unit if unit else float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is no time span such as 90, 30m, 26h or 7d") from None


def parser():
    """The whole command line as an argparse parser; the reference documents are made from it."""
    top = _Parser(
        prog=PROGRAM,
        description="Back up live SQLite databases, prove that the backups can be restored, and restore them.",
        epilog=f"example: {PROGRAM} backup --database /srv/app/app.db --backup-dir /var/backups/app",
    )
    top.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND")
    for build in (_backup, _list, _info, _validate, _test, _restore, _retention, _health, _statistics, _delete, _audit):
        build(commands)
    return top


def _command(commands, name, run, show, text, example, database=True):
    command = commands.add_parser(name, help=text, description=text, epilog=f"example: {PROGRAM} {example}")
    command.set_defaults(run=run, show=show)
    if database:
        command.add_argument("--database", metavar="FILE", help="the live SQLite file")
    command.add_argument("--backup-dir", metavar="DIR", help="where the backups lie")
    command.add_argument("--name", help="name of the backup set (default: the file's stem)")
    command.add_argument("--config", metavar="FILE", help="configuration (default: /etc/digitalme-backup/config.json)")
    command.add_argument("--json", action="store_true", help="answer with one JSON object on standard output")
    return command


def _add_verify(command, text="how thoroughly to verify (default: full)"):
    command.add_argument("--verify", choices=("none", "quick", "full"), help=text)


def _add_assertions(command):
    command.add_argument(
        "--assert",
        dest="assertions",
        action="append",
        metavar="SQL[ => EXPECTED]",
        help="SQL whose first value must be EXPECTED, or true; may be repeated",
    )


def _add_busy_timeout(command):
    text = "how long to wait for locks (default: 30 s)"
    command.add_argument("--busy-timeout", type=_seconds, metavar="SECONDS", help=text)


def _backup(commands):
    text = "Back up a live database while its writers go on."
    example = "backup --database app.db --backup-dir backups --verify full --json"
    command = _command(commands, "backup", "backup", "show_backup", text, example)
    command.add_argument("--method", choices=("auto", "online", "vacuum"), help="snapshot method (default: auto)")
    _add_verify(command)
    _add_assertions(command)
    command.add_argument("--compression", choices=("none", "gzip", "zstd"), help="compress the backup (default: none)")
    _add_busy_timeout(command)
    command.add_argument(
        "--skip-if-younger-than",
        type=_seconds,
        default=0,
        metavar="SECONDS",
        help="do nothing if the newest verified is younger",
    )
    command.add_argument(
        "--skip-if-unchanged", action="store_true", help="keep no backup whose content is the newest's"
    )
    command.add_argument(
        "--disk-limit-percent",
        type=float,
        metavar="PERCENT",
        help="refuse to fill the filesystem beyond this (default: 80)",
    )
    command.add_argument("--pinned", action="store_true", help="retention never removes it")
    command.add_argument(
        "--annotation",
        dest="annotations",
        action="append",
        metavar="KEY=VALUE",
        help="a note in the manifest; may be repeated",
    )
    command.add_argument("--trigger", choices=("scheduled", "manual", "drill"), default="manual", help="why it is made")
    command.add_argument("--check", action="store_true", help="say what would be done, and change nothing")


def _list(commands):
    text = "List the backups of a name, newest first."
    command = _command(
        commands, "list", "info", "show_list", text, "list --backup-dir backups --status verified", database=False
    )
    command.add_argument("--status", choices=STATUSES, help="only of this status")
    command.add_argument("--kind", choices=("regular", "pre_restore"), help="only of this kind")
    command.add_argument("--since", metavar="TIME", help="not before this time (ISO 8601, UTC)")
    command.add_argument("--until", metavar="TIME", help="not after this time (ISO 8601, UTC)")
    command.add_argument("--limit", type=int, metavar="N", help="at most the newest N")


def _reference(command, default="latest"):
    text = "latest, a file name, a path, or a time (the newest verified one not after it)"
    command.add_argument("backup", nargs="?" if default else None, default=default, metavar="BACKUP", help=text)


def _info(commands):
    text = "Show one backup with its manifest."
    command = _command(commands, "info", "info", "show_info", text, "info latest --backup-dir backups", database=False)
    _reference(command)


def _validate(commands):
    text = "Verify stored backups again and record the result in their manifests."
    example = "validate --backup-dir backups app_20261122_020000.db"
    command = _command(commands, "validate", "validate", "show_validate", text, example, database=False)
    command.add_argument("backups", nargs="*", metavar="BACKUP", help="references; none means all")
    _add_verify(command)
    _add_assertions(command)
    _add_busy_timeout(command)
    command.add_argument("--adopt", action="store_true", help="give a backup without a manifest one")
    command.add_argument("--check", action="store_true", help="verify, and record nothing")


def _test(commands):
    text = "Rehearse the restore of a backup in a scratch place; the live database is not touched."
    command = _command(commands, "test", "restore", "show_restore", text, "test latest --backup-dir backups")
    command.set_defaults(test=True)
    _reference(command)
    _add_verify(command)
    _add_assertions(command)
    _add_busy_timeout(command)


def _restore(commands):
    text = "Restore a backup over a database; the old content comes back if a check fails."
    example = "restore latest --database app.db --backup-dir backups --force"
    command = _command(commands, "restore", "restore", "show_restore", text, example)
    _reference(command)
    command.add_argument("--force", action="store_true", help="replace the database that is there")
    command.add_argument(
        "--no-pre-backup", dest="pre_backup", action="store_false", help="keep nothing of the old content"
    )
    command.add_argument(
        "--no-rollback", dest="rollback", action="store_false", help="leave the new content when a check fails"
    )
    command.add_argument("--strategy", choices=("auto", "in_place", "replace"), default="auto", help=HOW)
    _add_verify(command)
    _add_assertions(command)
    _add_busy_timeout(command)
    command.add_argument("--check", action="store_true", help="plan and rehearse it, and change nothing")


def _retention(commands):
    text = "Expire backups by age, number and calendar; the newest verified one always stays."
    example = "retention --backup-dir backups --keep-days 7 --max-files 30 --check"
    command = _command(commands, "retention", "retention", "show_retention", text, example, database=False)
    rules = {
        "keep-days": "keep what is at most so many days old (default: 7; 0: no such rule)",
        "max-files": "of these only the newest so many (default: 30; 0: any number)",
        "keep-last": "also keep the newest so many",
        "keep-hourly": "also the newest of each of the last so many hours",
        "keep-daily": "also the newest of each of the last so many days",
        "keep-weekly": "also the newest of each of the last so many ISO weeks",
        "keep-monthly": "also the newest of each of the last so many months",
        "keep-yearly": "also the newest of each of the last so many years",
        "min-keep": "verified backups that always stay (default: 1)",
        "max-remove-percent": "refuse to remove more than this share at once (default: 50)",
    }
    for flag, help_text in rules.items():
        command.add_argument(f"--{flag}", type=int, metavar="N", help=help_text.replace("%", "%%"))
    text = "remove nothing while the newest backup is older (default: 2d; 0: whatever its age)"
    command.add_argument("--max-age", type=_seconds, metavar="SECONDS", help=text)
    _add_busy_timeout(command)
    command.add_argument("--check", action="store_true", help="say what would be removed, and remove nothing")


def _health(commands):
    text = "Judge the backups of a name: healthy (exit 0), degraded (1), unhealthy (2), unknown (3)."
    command = _command(commands, "health", "health", "show_health", text, "health --backup-dir backups --max-age 26h")
    for flag, help_text in (
        ("max-age", "age of the newest backup (default: 26h)"),
        ("max-verified-age", "age of the newest verified backup (default: 26h)"),
        ("max-restore-test-age", "age of the newest restore test (default: 31d; 0: any)"),
    ):
        command.add_argument(f"--{flag}", type=_seconds, metavar="SECONDS", help=help_text)
    command.add_argument("--min-backups", type=int, metavar="N", help="verified backups wanted (default: 1)")
    command.add_argument("--max-shrink-percent", type=float, metavar="PERCENT", help=SHRINK)
    command.add_argument(
        "--disk-limit-percent", type=float, metavar="PERCENT", help="how full the filesystem may be (default: 80)"
    )
    _add_verify(command, "verify the newest backup again (default: none)")


def _statistics(commands):
    text = "Counts, sizes, success rate and durations, by day."
    _command(
        commands, "statistics", "statistics", "show_statistics", text, "statistics --backup-dir backups", database=False
    )


def _delete(commands):
    text = "Delete one backup; refuses a pinned one and the last verified one."
    example = "delete app_20261122_020000.db --backup-dir backups"
    command = _command(commands, "delete", "delete", "show_delete", text, example, database=False)
    _reference(command, default=None)
    _add_busy_timeout(command)
    command.add_argument("--check", action="store_true", help="say what would be deleted, and delete nothing")


def _audit(commands):
    text = "Check that nobody changed the audit log, and show its newest lines."
    command = _command(
        commands, "audit", "audit_log", "show_audit", text, "audit --backup-dir backups --limit 20", database=False
    )
    command.add_argument("--limit", type=int, metavar="N", default=10, help="how many lines to show (default: 10)")


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    # Python would only free memory from here on; the engine holds nothing that needs it.
    os._exit(status)
