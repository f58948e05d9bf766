# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The command line's commands and flags, as an argparse parser; the reference documents are made from it."""

from __future__ import annotations

from . import __version__, flags, host_arguments
from .flags import PROGRAM

STATUSES = ("verified", "unverified", "unverifiable", "invalid", "missing")
HOW = "write into the live file, or replace it (default: auto)"
SHRINK = "by how much a backup or the database may suddenly be smaller (default: 50; 0: any)"


def parser(words=None):
    """The command line as an argparse parser: the whole, or what is needed to parse these words.

    To make the parsers of all commands takes ten milliseconds, which a timer need not pay for.
    """
    top = flags.Parser(
        prog=PROGRAM,
        description="Back up live SQLite databases, prove that the backups can be restored, and restore them.",
        epilog=f"example: {PROGRAM} backup --database /srv/app/app.db --backup-dir /var/backups/app",
    )
    top.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    # With a name of the program argparse need not make a page of help to learn it.
    commands = top.add_subparsers(dest="command", metavar="COMMAND", prog=PROGRAM)
    wanted = _COMMANDS.get(words[0]) if words else None
    for build in [wanted] if wanted else _COMMANDS.values():
        build(commands)
    return top


def _backup(commands):
    text = "Back up a live database while its writers go on."
    example = "backup --database app.db --backup-dir backups --verify full --json"
    command = flags.name_command(commands, "backup", "backup", "show_backup", text, example)
    command.add_argument(
        "--method", choices=("auto", "online", "vacuum", "clone"), help="snapshot method (default: auto)"
    )
    flags.add_verify(command)
    flags.add_assertions(command)
    command.add_argument("--compression", choices=("none", "gzip", "zstd"), help="compress the backup (default: none)")
    flags.add_busy_timeout(command)
    command.add_argument(
        "--skip-if-younger-than",
        type=flags.seconds,
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
    command = flags.name_command(
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
    command = flags.name_command(
        commands, "info", "info", "show_info", text, "info latest --backup-dir backups", database=False
    )
    _reference(command)


def _validate(commands):
    text = "Verify stored backups again and record the result in their manifests."
    example = "validate --backup-dir backups app_20261122_020000.db"
    command = flags.name_command(commands, "validate", "validate", "show_validate", text, example, database=False)
    command.add_argument("backups", nargs="*", metavar="BACKUP", help="references; none means all")
    flags.add_verify(command)
    flags.add_assertions(command)
    flags.add_busy_timeout(command)
    command.add_argument("--adopt", action="store_true", help="give a backup without a manifest one")
    command.add_argument("--check", action="store_true", help="verify, and record nothing")


def _add_fall_back(command):
    text = "when the backup is damaged take the newest sound one before it"
    command.add_argument("--fall-back", action="store_true", help=text)


def _test(commands):
    text = "Rehearse the restore of a backup in a scratch place; the live database is not touched."
    command = flags.name_command(commands, "test", "restore", "show_restore", text, "test latest --backup-dir backups")
    command.set_defaults(test=True)
    _reference(command)
    _add_fall_back(command)
    flags.add_verify(command)
    flags.add_assertions(command)
    flags.add_busy_timeout(command)


def _restore(commands):
    text = "Restore a backup over a database; the old content comes back if a check fails."
    example = "restore latest --database app.db --backup-dir backups --force"
    command = flags.name_command(commands, "restore", "restore", "show_restore", text, example)
    _reference(command)
    command.add_argument("--force", action="store_true", help="replace the database that is there")
    command.add_argument(
        "--no-pre-backup", dest="pre_backup", action="store_false", help="keep nothing of the old content"
    )
    command.add_argument(
        "--no-rollback", dest="rollback", action="store_false", help="leave the new content when a check fails"
    )
    command.add_argument(
        "--strategy", choices=("auto", "in_place", "replace", "replace_if_free"), default="auto", help=HOW
    )
    command.add_argument("--confirm", metavar="ID", help="in place of --force: only if the plan is still this one")
    _add_fall_back(command)
    command.add_argument("--other-database", action="store_true", help="take a backup of another database")
    command.add_argument("--resume", action="store_true", help="end a restore that was interrupted")
    command.add_argument("--undo", action="store_true", help="bring the content back that the last restore replaced")
    flags.add_verify(command)
    flags.add_assertions(command)
    flags.add_busy_timeout(command)
    command.add_argument("--check", action="store_true", help="plan and rehearse it, and change nothing")


def _retention(commands):
    text = "Expire backups by age, number and calendar; the newest verified one always stays."
    example = "retention --backup-dir backups --keep-days 7 --max-files 30 --check"
    command = flags.name_command(commands, "retention", "retention", "show_retention", text, example, database=False)
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
    command.add_argument("--max-age", type=flags.seconds, metavar="SECONDS", help=text)
    flags.add_busy_timeout(command)
    command.add_argument("--check", action="store_true", help="say what would be removed, and remove nothing")


def _health(commands):
    text = "Judge the backups of a name: healthy (exit 0), degraded (1), unhealthy (2), unknown (3)."
    command = flags.name_command(
        commands, "health", "health", "show_health", text, "health --backup-dir backups --max-age 26h"
    )
    for flag, help_text in (
        ("max-age", "age of the newest backup (default: 26h)"),
        ("max-verified-age", "age of the newest verified backup (default: 26h)"),
        ("max-restore-test-age", "age of the newest restore test (default: 31d; 0: any)"),
    ):
        command.add_argument(f"--{flag}", type=flags.seconds, metavar="SECONDS", help=help_text)
    command.add_argument("--min-backups", type=int, metavar="N", help="verified backups wanted (default: 1)")
    command.add_argument("--max-shrink-percent", type=float, metavar="PERCENT", help=SHRINK)
    command.add_argument(
        "--disk-limit-percent", type=float, metavar="PERCENT", help="how full the filesystem may be (default: 80)"
    )
    flags.add_verify(command, "verify the newest backup again (default: none)")
    command.add_argument("--nagios", action="store_true", help="answer with one line for Nagios and its kin")


def _statistics(commands):
    text = "Counts, sizes, success rate and durations, by day."
    flags.name_command(
        commands, "statistics", "statistics", "show_statistics", text, "statistics --backup-dir backups", database=False
    )


def _delete(commands):
    text = "Delete one backup; refuses a pinned one and the last verified one."
    example = "delete app_20261122_020000.db --backup-dir backups"
    command = flags.name_command(commands, "delete", "delete", "show_delete", text, example, database=False)
    _reference(command, default=None)
    flags.add_busy_timeout(command)
    command.add_argument("--check", action="store_true", help="say what would be deleted, and delete nothing")


def _audit(commands):
    text = "Check that nobody changed the audit log, and show its newest lines."
    command = flags.name_command(
        commands, "audit", "audit_log", "show_audit", text, "audit --backup-dir backups --limit 20", database=False
    )
    command.add_argument("--limit", type=int, metavar="N", default=10, help="how many lines to show (default: 10)")


_COMMANDS = {
    "backup": _backup,
    "list": _list,
    "info": _info,
    "validate": _validate,
    "test": _test,
    "restore": _restore,
    "retention": _retention,
    "health": _health,
    "statistics": _statistics,
    "delete": _delete,
    "audit": _audit,
    **host_arguments.COMMANDS,
}
