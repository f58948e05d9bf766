# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The command line: ``digitalme-backup COMMAND``, or ``python3 -m engine COMMAND`` from a checkout.

With ``--json`` standard output is one JSON object with the fields that the module returns; progress and messages go
to standard error. Exit status: 0 done; 1 failed; 2 usage or configuration; 3 backup invalid or not found; 4 not
confirmed; 5 no space; 6 busy; 7 failed and rolled back; 8 cannot be verified here. ``health`` exits 0, 1, 2, 3 as
healthy, degraded, unhealthy, unknown. Where standard output cannot be written (a full disk, a closed pipe), the
operation is over all the same and has its audit line: standard error says so, and the status is that of the operation,
or 1 where that would be 0 (``health``: 3). Ended by a signal it has cleaned up, or the next run does, and there is its
audit line: 130 by SIGINT, 129 by SIGHUP (a closed terminal; not where nohup has it ignored), 143 by SIGTERM.
"""

from __future__ import annotations

import os
import signal
import sys

from . import arguments, errors

HEALTH_EXIT = {"healthy": 0, "degraded": 1, "unhealthy": 2}
HEALTH_UNKNOWN = 3
_OUR_OWN = ("run", "show", "json", "command", "nagios")


def main(words=None):
    """Run one command; returns the exit status."""
    words = sys.argv[1:] if words is None else words
    parsed = arguments.parser(words).parse_args(words)
    if not hasattr(parsed, "run"):
        arguments.parser().print_help(sys.stderr)
        return 2
    from . import terminal

    _hear_signals()
    try:
        return _answered(parsed, terminal)
    except KeyboardInterrupt:
        terminal.say(f"{arguments.PROGRAM}: interrupted; the next run removes or settles what was left")
        return 128 + signal.SIGINT
    except _Terminated as ended:
        terminal.say(f"{arguments.PROGRAM}: terminated; the next run removes or settles what was left")
        return 128 + ended.number


def _answered(parsed, terminal):
    """Perform the command and tell what came of it; the exit status."""
    options = {key: value for key, value in vars(parsed).items() if key not in _OUR_OWN}
    show = getattr(terminal, parsed.show)
    if getattr(parsed, "nagios", False):
        show = terminal.show_nagios
    try:
        result = _perform(parsed, options, terminal)
    except errors.BackupError as error:
        if getattr(parsed, "nagios", False):
            terminal.told(terminal.failed_nagios, error, parsed.name, error=error)
        else:
            terminal.told(terminal.failed, error, parsed.json, show, error=error)
        return HEALTH_UNKNOWN if parsed.command == "health" else error.exit_code
    status = HEALTH_EXIT[result["status"]] if parsed.command == "health" else 0
    if not terminal.told(terminal.done, result, parsed.json, show):
        status = status or (HEALTH_UNKNOWN if parsed.command == "health" else errors.AnswerLost.exit_code)
    return status


class _Terminated(BaseException):
    """SIGTERM or SIGHUP, as an exception: what is unfinished is cleaned up, the audit line is written, then it ends."""

    def __init__(self, number):
        super().__init__(number)
        self.number = number


def _hear_signals():
    signal.signal(signal.SIGTERM, _terminated)
    # A terminal that is closed ends what runs on it, unless that was begun with nohup.
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        signal.signal(signal.SIGHUP, _terminated)


def _terminated(number, _frame):
    # The shell and the kernel both tell of a closed terminal: the second time must not disturb the cleaning up.
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    raise _Terminated(number)


def _perform(parsed, options, terminal):
    from . import operations

    options["caller"] = {"via": "cli"}
    options["progress"] = terminal.Progress() if sys.stderr.isatty() else None
    options["config_path"] = options.pop("config")
    if "assertions" in options:
        options["assertions"] = _assertions(options["assertions"])
    if parsed.command == "scheduler":
        options["say"] = terminal.say
    if options.get("annotations"):
        options["annotations"] = dict(_pair(text, "annotation") for text in options["annotations"])
    operation = getattr(operations, parsed.run)
    if parsed.command == "restore" and parsed.check:
        options["force"] = True  # Who only looks at a plan need not confirm it.
    if parsed.command == "restore" and _asks(parsed):
        return _after_asking(operation, options, terminal)
    return operation(**options)


def _asks(parsed):
    """Whether a person sits there who can be asked, and nobody has confirmed it yet."""
    said = parsed.force or parsed.confirm or parsed.check or parsed.resume or parsed.json
    return not said and sys.stdin.isatty() and sys.stderr.isatty()


def _after_asking(operation, options, terminal):
    """Show what a restore would do, and do exactly that when a person says yes."""
    seen = operation(**{**options, "check": True, "force": True})
    terminal.show_restore(seen)
    if not terminal.yes("Restore as planned?"):
        raise errors.NotConfirmed("the answer was not yes")
    # An undo has no plan with an id: what it brings back was shown by name.
    confirmed = {"confirm": seen["plan"]["id"]} if seen["plan"] else {"force": True}
    return operation(**{**options, **confirmed})


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


def _open_standard_streams():
    """Take the place of each standard stream that the caller has closed: a database must not get its number."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is None:
            # An answer that nobody gets is an error, so what stands for standard output cannot be written.
            opened = os.open(os.devnull, os.O_WRONLY if number == 2 else os.O_RDONLY)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8", closefd=False))


def program():
    """The command itself: does not return."""
    _open_standard_streams()
    try:
        status = main()
    except SystemExit as error:  # Of the parser, which has told its help or what is wrong with the call.
        from . import terminal

        status = error.code if terminal.told() else error.code or errors.AnswerLost.exit_code
    # Python would only free memory from here on; the engine holds nothing that needs it.
    os._exit(status)


if __name__ == "__main__":
    program()
