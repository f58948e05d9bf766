# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How the command line answers: JSON, short text for people, progress for what takes more than a second."""

from __future__ import annotations

import contextlib
import json
import sys

from . import clock, errors

_QUIET_SECONDS = 1.0
_REFRESH_SECONDS = 0.2
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def say(text):
    with contextlib.suppress(OSError):  # There is nobody left to tell it to.
        sys.stderr.write(text + "\n")
        sys.stderr.flush()


def put(text):
    sys.stdout.write(text.encode("utf-8", "backslashreplace").decode("utf-8") + "\n")


def size(count):
    """``12.3 MiB``."""
    if count is None:
        return "-"
    value = float(count)
    for unit in _UNITS:
        if value < 1024 or unit == _UNITS[-1]:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    raise AssertionError("unreachable")


class Progress:
    """One line on a terminal, from the second on that an operation takes."""

    def __init__(self):
        self._started = self._shown = clock.monotonic()
        self._visible = False

    def __call__(self, stage, done, total):
        now = clock.monotonic()
        if now - self._started < _QUIET_SECONDS or now - self._shown < _REFRESH_SECONDS:
            return
        self._shown, self._visible = now, True
        amount = f"{100 * done // total:3d} %" if total else f"{now - self._started:.0f} s"
        with contextlib.suppress(OSError):  # A terminal that is gone is no reason to stop.
            sys.stderr.write(f"\r{stage}: {amount}\x1b[K")
            sys.stderr.flush()


def _clear():
    if sys.stderr.isatty():
        with contextlib.suppress(OSError):
            sys.stderr.write("\r\x1b[K")


def told(answer=None, *arguments, error=None):
    """Call ``answer``, which tells of ``error`` or of a success; whether all that was told could be written.

    Where not, standard error says so, and what the error was.
    """
    try:
        if answer is not None:
            answer(*arguments)
        sys.stdout.flush()
    except OSError as cause:
        lost = errors.AnswerLost(f"the answer cannot be written ({cause.strerror or cause})", path="standard output")
        for each in (error, lost):
            if each is not None:
                say(f"error ({each.error_code}): {each.message}")
        return False
    return True


def done(result, as_json, show):
    """Answer with a result; warnings go to standard error."""
    _clear()
    if as_json:
        put(json.dumps(result, ensure_ascii=True))
    else:
        show(result)
        _warn(result)


def _warn(result):
    for text in result.get("warnings", ()):
        say(f"warning: {text}")


def failed(error, as_json, show):
    """Answer with an error, and with what had been done when it came."""
    _clear()
    result = error.as_result()
    if as_json:
        put(json.dumps(result, ensure_ascii=True))
        return
    if result.get("steps"):
        show_steps(result["steps"])
    shown = {
        "run_failed": show_run,
        "drill_failed": show_drill,
        "review_failed": show_review,
        "gameday_failed": show_gameday,
    }.get(error.error_code)
    if shown is not None:
        shown(result)
    _warn(result)
    say(f"error ({error.error_code}): {error.message}")


def yes(question):
    """Whether the person on the terminal says yes."""
    sys.stderr.write(f"{question} Type yes: ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() == "yes"


def show_steps(rows):
    for row in rows:
        put(f"  {row['status']:<8}{row['name']:<14}{row['seconds']:>9.3f} s  {errors.show(row['detail'])}")


def show_backup(result):
    made = result["backup"]
    if made is None:
        what = result["skipped_reason"] or "would back up to " + result["plan"]["file"]
        put(("no backup needed: " if result["skipped_reason"] else "") + errors.show(what))
        return
    checked = made["verification"]
    put(
        f"{errors.show(made['path'])}\n  {size(made['stored_bytes'])} in {made['duration_seconds']:.2f} s, "
        f"method {made['method']}, verification {checked['level']}: {checked['status']}"
    )


def show_list(result):
    for row in result["backups"]:
        when = row["created_at"] or "-"
        put(f"{when:<25}{size(row['stored_bytes']):>12}  {row['status']:<13}{errors.show(row['file'])}")
        for problem in row["problems"]:
            put(f"{'':39}{errors.show(problem)}")
    where = errors.show(result["backup_dir"])
    put(f"{len(result['backups'])} of {result['total']} backups of {result['name']} in {where}")


def show_info(result):
    put(json.dumps(result["backups"][0], indent=2, ensure_ascii=True))


def show_validate(result):
    for row in result["backups"]:
        adopted = ", adopted" if row["adopted"] else ""
        put(f"{row['status']:<13}{row['seconds']:>8.2f} s  {errors.show(row['file'])}{adopted}")


def show_restore(result):
    show_steps(result["steps"])
    if result["backup"] is None:
        _show_settled(result)
        return
    lost = "unknown" if result["rpo_seconds"] is None else f"{result['rpo_seconds']:.0f} s"
    name = errors.show(result["backup"]["file"])
    unchanged = "is what the database already holds" if result["plan"] else "can be restored"
    planned = "rows" in (result["plan"] or {})
    done_word = ("would be restored" if planned else "restored") if result["changed"] else unchanged
    put(f"{name} {done_word}: RTO {result['rto_seconds']:.2f} s, RPO {lost}")
    if result["pre_restore_backup"]:
        put(f"the old content is kept in {errors.show(result['pre_restore_backup'])}")
    _show_plan(result["plan"] or {})


def _show_settled(result):
    """What came of a restore that was resumed or undone without another backup."""
    settled = result["recovered"]
    if not result["changed"]:
        put("nothing to do: no restore of this database was interrupted")
    elif settled:
        put(f"{errors.show(settled['backup'])} {settled['outcome']}: {errors.show(settled['detail'])}")
    else:
        put("the old content is back")


def _show_plan(plan):
    """What check mode has found out: the rows that would change, and the id that confirms exactly this."""
    if "rows" not in plan:
        return
    for row in plan["rows"]:
        if row["now"] != row["then"]:
            now, then = ("-" if count is None else count for count in (row["now"], row["then"]))
            put(f"  table {errors.show(row['table'])}: {now} rows now, {then} in the backup")
    put(f"{errors.show(plan['database'])} is {plan['live']} and would be restored by {plan['strategy']}")
    put(f"about {plan['seconds_expected']:.1f} s; confirm this plan with --confirm {plan['id']}, or --force")


def show_retention(result):
    for word in ("kept", "removed"):
        for row in result[word]:
            put(f"{word:<9}{errors.show(row['file'])}: {'; '.join(row['reasons'])}")
    if result["held"]:
        put(f"held: {result['held']}")
    put(f"{len(result['removed'])} removed, {size(result['freed_bytes'])} freed, {len(result['kept'])} kept")


def show_health(result):
    for row in result["checks"]:
        put(f"{row['status']:<11}{row['name']:<16}{errors.show(row['message'])}")
    put(f"{result['name']}: {result['status']}")


def show_statistics(result):
    put(json.dumps(result["statistics"], indent=2, ensure_ascii=True))


def show_delete(result):
    put(f"{errors.show(result['file'])} deleted, {size(result['freed_bytes'])} freed")


def show_audit(result):
    for row in result["records"]:
        who = (row.get("by") or {}).get("user", "-")
        put(f"{row.get('time', '-'):<25}{row.get('operation', '-'):<14}{row.get('outcome', '-'):<20}{who}")
    torn = f", {len(result['torn'])} torn" if result["torn"] else ""
    put(f"{errors.show(result['path'])}: {result['lines']} lines, the chain is whole{torn}")


def show_nagios(result):
    from . import nagios

    put(nagios.line(result))


def failed_nagios(error, name):
    """One line also where nothing can be told."""
    from . import nagios

    put(nagios.unknown(name, error.message))


def show_run(result):
    for one in result["databases"]:
        put(f"{errors.show(one['name'])}: {one['status']}")
        for row in one["parts"]:
            put(f"  {row['status']:<8}{row['part']:<11}{row['seconds']:>9.3f} s  {errors.show(row['detail'])}")


def show_drill(result):
    for one in result["databases"]:
        backup = (one["backup"] or {}).get("file", "no backup")
        put(f"{one['status']:<17}{errors.show(one['name'])}: {errors.show(backup)}")
        show_steps(one["phases"])
        for key in ("rto", "rpo"):
            figures = one[key] or {}
            if figures.get("achieved_seconds") is not None:
                aim = figures["objective_seconds"]
                compared = "no objective" if aim is None else f"objective {aim:g} s"
                put(f"  {key.upper()} {figures['achieved_seconds']:.2f} s ({compared})")
        _show_cause(one)


def _show_cause(row):
    """Why a database of a drill did not pass, what to do, and what else is to be said of it."""
    if row["cause"]:
        put(f"  {errors.show(row['cause'])}")
    if row["next_step"]:
        put(f"  next: {errors.show(row['next_step'])}")
    for text in row["warnings"]:
        say(f"warning: {errors.show(row['name'])}: {errors.show(text)}")


def show_review(result):
    for where, rows in [("host", result["findings"]), *((one["name"], one["findings"]) for one in result["databases"])]:
        for row in rows:
            put(f"{row['severity']:<8}{errors.show(where)}: {errors.show(row['finding'])}")
            put(f"{'':8}{errors.show(row['why'])}")
            put(f"{'':8}do: {errors.show(row['todo'])}")
    for one in result["databases"]:
        if one["cause"]:
            put(f"{'failed':<8}{errors.show(one['name'])}: {errors.show(one['cause'])}")
    put(f"{result['status']}: {len(result['databases'])} databases reviewed")


def show_gameday(result):
    for one in result["databases"]:
        backup = (one["backup"] or {}).get("file", "no backup")
        put(f"{one['status']:<9}{errors.show(one['name'])}: {errors.show(backup)}")
        for fault in one["faults"]:
            put(f"  {fault['outcome']:<9}{fault['name']:<21}{fault['seconds']:>9.3f} s  {errors.show(fault['what'])}")
        _show_cause(one)


def show_scheduler(result):
    put(f"ended; {result['failed_runs']} runs failed")


def show_gate(result):
    put(f"ended; {result['answered']} requests answered")


def show_token(result):
    put(result["token"])


def show_metrics(result):
    sys.stdout.write(result["text"])


def show_notify(result):
    for row in result["sent"]:
        put(f"{row['status']:<8}{errors.show(row['channel'])} ({row['type']}), {row['seconds']:.2f} s")
    put(f"{len(result['sent'])} channels told")


def show_discover(result):
    for row in result["databases"]:
        state = "protected" if row["protected"] else "UNPROTECTED"
        put(f"{state:<13}{size(row['size_bytes']):>12}  {errors.show(row['path'])}")
    for row in result["suggested"]["databases"]:
        put(f"{'add to config':<13}  {errors.show(row['name'])}: {errors.show(row['path'])}")
    counts = f"{len(result['databases'])} databases, {len(result['unprotected'])} unprotected"
    put(f"{counts}, {result['backups_seen']} backups, {result['files_seen']} files in {result['seconds']:.1f} s")
