# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The commands about the host as a whole."""

from __future__ import annotations

from . import flags

# As in `gameday.exercise`, which takes longer to be imported than a command to be parsed.
FAULTS = (
    "flipped_byte",
    "foreign_manifest",
    "missing_backup",
    "full_disk",
    "wrong_owner",
    "missing_key",
    "interrupted_restore",
)


def _add_names(command):
    text = "only this one of those configured; may be repeated"
    command.add_argument("--name", dest="names", action="append", metavar="NAME", help=text)


def _run(commands):
    text = "What a timer calls: backup, retention, health, metrics and notification of all configured databases."
    command = flags.host_command(commands, "run", "run", "show_run", text, "run --name shop")
    _add_names(command)
    command.add_argument(
        "--only",
        dest="parts",
        action="append",
        choices=("backup", "retention", "health", "metrics", "notify"),
        help="only this part; may be repeated",
    )
    command.add_argument(
        "--trigger",
        choices=("scheduled", "manual"),
        default="manual",
        help="why, for the manifest (default: manual)",
    )
    command.add_argument(
        "--fail-on",
        choices=("never", "degraded", "failed"),
        default="failed",
        help="the status that makes the command fail (default: failed)",
    )
    command.add_argument("--check", action="store_true", help="say what would be done, and change nothing")


def _drill(commands):
    text = "Prove that the configured databases can be brought back: restore a backup of each into a scratch place."
    command = flags.host_command(commands, "drill", "drill", "show_drill", text, "drill --selection random")
    _add_names(command)
    command.add_argument(
        "--selection",
        default="latest",
        metavar="RULE",
        help="latest, oldest, random, untested, an age such as 7d, a file name or a time (default: latest)",
    )
    command.add_argument("--window-days", type=float, metavar="N", help="only backups of the last N days")
    command.add_argument("--seed", metavar="TEXT", help="what `random` chooses by")
    command.add_argument(
        "--full-restore", action="store_true", help="also make a whole restore over the scratch copy, and measure it"
    )
    command.add_argument("--scratch-dir", metavar="DIR", help="where to unpack (default: beside the backups)")
    command.add_argument(
        "--time-limit", type=flags.seconds, default=3600, metavar="SECONDS", help="for all databases (default: 1h)"
    )
    command.add_argument(
        "--fail-on",
        choices=("never", "failed", "objective_missed"),
        default="objective_missed",
        help="what makes the command fail (default: objective_missed)",
    )
    command.add_argument("--check", action="store_true", help="only say which backups would be drilled")


def _review(commands):
    text = (
        "Review the configured databases: audit log, disk, retention, performance, rights, strategy. Changes nothing."
    )
    command = flags.host_command(commands, "review", "review", "show_review", text, "review --since-days 31")
    _add_names(command)
    command.add_argument(
        "--only",
        dest="look_at",
        action="append",
        choices=("log", "disk", "retention", "performance", "access", "configuration", "strategy"),
        help="only this part; may be repeated",
    )
    command.add_argument("--since-days", type=float, default=7, metavar="N", help="the days to look at (default: 7)")
    command.add_argument(
        "--fail-on",
        choices=("never", "action", "attention"),
        default="never",
        help="the status that makes the command fail (default: never)",
    )
    command.add_argument("--check", action="store_true", help="leave no line in the audit log either")


def _gameday(commands):
    text = "Put faults into a copy of the newest backup of the configured databases: each must be noticed or survived."
    command = flags.host_command(commands, "gameday", "gameday", "show_gameday", text, "gameday --name shop")
    _add_names(command)
    command.add_argument("--skip", action="append", choices=FAULTS, help="leave this fault out; may be repeated")
    command.add_argument("--scratch-dir", metavar="DIR", help="where to put the copies (default: beside the backups)")
    command.add_argument(
        "--time-limit", type=flags.seconds, default=3600, metavar="SECONDS", help="for all databases (default: 1h)"
    )
    command.add_argument(
        "--fail-on", choices=("never", "failed"), default="failed", help="what makes the command fail (default: failed)"
    )
    command.add_argument("--check", action="store_true", help="only say which backups would be copied")


def _scheduler(commands):
    text = "In a container: run the configured databases by their cron expressions, in the foreground, until SIGTERM."
    flags.host_command(
        commands, "scheduler", "schedule", "show_scheduler", text, "scheduler --config /etc/backup/config.json"
    )


def _gate(commands):
    text = "For the REST API: answer its requests about one configured name on standard input, which is a socket."
    command = flags.host_command(commands, "gate", "gate", "show_gate", text, "gate --name shop")
    command.add_argument("--name", required=True, help="the configured database that it is about")


def _token(commands):
    text = "Sign a short-lived token for the REST API, where the role api has installed it; prints the token."
    command = flags.host_command(commands, "token", "token", "show_token", text, "token --scope operate --lifetime 300")
    command.add_argument(
        "--scope",
        dest="scopes",
        action="append",
        choices=("read", "operate", "admin"),
        help="what it may be used for (default: read); may be repeated",
    )
    command.add_argument("--subject", help="who it is for; stands in every audit line (default: the user)")
    command.add_argument(
        "--lifetime", type=flags.seconds, default=300, metavar="SECONDS", help="how long it is valid (default: 5m)"
    )
    command.add_argument("--kid", help="id of the key (default: the stem of its file)")
    command.add_argument("--key-file", metavar="FILE", help="secret or private key (default: the newest secret)")


def _metrics(commands):
    text = "Print the metrics of a name, and write them where the configuration names a directory for them."
    flags.name_command(commands, "metrics", "metrics", "show_metrics", text, "metrics --name shop", database=False)


def _notify(commands):
    text = "Tell the configured channels of an event: to try them, and for the unit that tells of a run that failed."
    command = flags.host_command(
        commands, "notify", "notify", "show_notify", text, "notify --event success --message test"
    )
    command.add_argument("--name", help="the database that it is about (default: all)")
    command.add_argument(
        "--event",
        choices=("start", "success", "failure", "hold"),
        default="failure",
        help="what happened (default: failure)",
    )
    command.add_argument("--message", default="", help="one line")
    command.add_argument(
        "--unless-told", action="store_true", help="only if no run has ended, and told of it, within the last minute"
    )


def _discover(commands):
    text = "Find SQLite databases by their header, and say which ones no backup is configured for."
    command = flags.host_command(commands, "discover", "discover", "show_discover", text, "discover /srv /var/lib")
    command.add_argument("roots", nargs="+", metavar="DIR", help="where to look")
    command.add_argument(
        "--exclude", dest="excludes", action="append", metavar="PATTERN", help="skip paths like this; may be repeated"
    )
    command.add_argument("--min-bytes", type=int, default=0, metavar="N", help="skip smaller files (default: 0)")
    command.add_argument(
        "--same-filesystem", action="store_true", help="stay on the filesystems of the given directories"
    )


COMMANDS = {
    "run": _run,
    "drill": _drill,
    "gameday": _gameday,
    "review": _review,
    "scheduler": _scheduler,
    "gate": _gate,
    "token": _token,
    "metrics": _metrics,
    "notify": _notify,
    "discover": _discover,
}
