# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""An entry of the maintenance log for people, as Markdown. Pure."""

from __future__ import annotations

from .report import words

TITLE = (
    "# Maintenance log\n\nAn entry for each run, the newest at the end; `maintenance.jsonl` has them for machines.\n"
)
# So many rows of a kind are told; the line of JSON has more.
_TOLD = 20
_SEVERITIES = ("high", "medium", "low")
_STATUSES = ("failed", "action", "attention", "ok")
_KINDS = {"backups": "backups", "verifications": "verifications", "restore_tests": "restore tests"}
_UNKNOWN = "\N{EN DASH}"


def entry(made):
    """The entry as Markdown; what hosts have said is shown and does nothing else."""
    by = f"{words.markdown(made['by']['user'])} on {words.markdown(made['by']['controller'])}"
    lines = [
        f"## {made['started_at'][:10]} {made['kind']}: {made['verdict']}",
        "",
        f"{words.moment(made['started_at'])} to {words.moment(made['finished_at'])}, by {by}, {made['version']}.",
        "",
        *_table(
            ("part", "status", "what"),
            [(row["part"], row["status"], words.markdown(row["summary"], 300)) for row in made["parts"]],
        ),
    ]
    lines += [f"- report of the {row['part']}: {row['report']}" for row in made["parts"] if row.get("report")]
    lines += _findings(made["findings"])
    lines += _rates(made["rates"])
    lines += _figures(made["databases"])
    lines += _events("Failures", made["failures"])
    lines += _events("Restores", made["restores"])
    if made["checklist"]:
        rows = [(words.markdown(text, 300), "", "", "") for text in made["checklist"]]
        head = ("what", "done by", "date", "remark")
        lines += ["", "### To be done and signed by people", "", *_table(head, rows)]
    return "\n".join(lines).rstrip("\n") + "\n"


def _table(head, rows):
    if not rows:
        return []
    lines = [head, ("---",) * len(head), *rows]
    return [*("|" + "|".join(f" {cell} " if cell else " " for cell in line) + "|" for line in lines), ""]


def _where(row):
    return words.markdown(row["host"] + (f"/{row['database']}" if row["database"] else ""))


def _findings(findings):
    if not findings:
        return ["", "Nothing was found."]
    lines = ["", "### Found, and what to do", ""]
    order = sorted(findings, key=lambda row: _SEVERITIES.index(row["severity"]))
    for row in order[:_TOLD]:
        lines.append(f"- **{row['severity']}** {_where(row)}: {words.markdown(row['finding'] or '', 400)}")
        lines.append(f"  Do: {words.markdown(row['todo'] or '', 300)}")
    return lines + _more(order)


def _more(rows):
    return [f"- and {len(rows) - _TOLD} more, in maintenance.jsonl"] if len(rows) > _TOLD else []


def _rates(rates):
    lines = []
    for key, name in _KINDS.items():
        if key in rates:
            row = rates[key]
            of_all = f"{row['ok']} of {row['runs']} {name} succeeded ({_percent(row['percent'])}"
            lines.append(f"- {of_all}; as long before: {_percent(row['percent_before'])})")
    return ["", "### Success", "", *lines] if lines else []


def _percent(value):
    return _UNKNOWN if value is None else f"{value:g} %"


def _figures(databases):
    """A table of what is known, those with findings first; what no database has is no column."""
    columns = [(head, cell) for head, cell in _COLUMNS if any(cell(row) != _UNKNOWN for row in databases)]
    if not columns:
        return []
    order = sorted(databases, key=lambda row: _STATUSES.index(row["status"]))
    rows = [(_where(row), *(cell(row) for _head, cell in columns)) for row in order[:_TOLD]]
    head = ("database", *(head for head, _cell in columns))
    return ["", "### Figures", "", *_table(head, rows), *_more(order)]


def _size(key):
    return lambda row: words.size(row.get(key))


def _count(key, unit=""):
    return lambda row: _UNKNOWN if row.get(key) is None else f"{row[key]:g}{unit}"


def _seconds(kind):
    """Median and worst of the newest month, and the usual median of those before."""

    def cell(row):
        month = (row.get("seconds") or {}).get(kind)
        if month is None:
            return _UNKNOWN
        return f"{words.span(month['median'])} / {words.span(month['worst'])} ({words.span(month['before'])})"

    return cell


_COLUMNS = (
    ("size", _size("database_bytes")),
    ("a day", _size("database_bytes_per_day")),
    ("backups", _size("stored_bytes")),
    ("a day", _size("backups_bytes_per_day")),
    ("disk", _count("used_percent", " %")),
    ("full in", _count("days_left", " d")),
    ("days without", _count("days_without_backup")),
    ("kept", _count("kept")),
    ("would go", _count("would_remove")),
    ("pinned", _count("pinned")),
    ("before restores", _count("pre_restore")),
    ("aside", _size("aside_bytes")),
    ("oldest", _count("oldest_days", " d")),
    ("backup: median / worst (before)", _seconds("backup")),
    ("verification", _seconds("verification")),
    ("restore test", _seconds("restore_test")),
    ("restore", _seconds("restore")),
)


def _events(title, events):
    if not events:
        return []
    lines = ["", f"### {title}", ""]
    for row in events[: -_TOLD - 1 : -1]:
        who = f", by {words.markdown(row['who'])}" if row["who"] else ""
        via = f" ({words.markdown(row['via'])})" if row["via"] else ""
        cause = f": {words.markdown(row['cause'], 300)}" if row["cause"] else ""
        what = f"{words.markdown(row['operation'])} {words.markdown(row['outcome'])}"
        lines.append(f"- {words.moment(row['time'])} {_where(row)}: {what}{who}{via}{cause}")
    return lines + _more(events)
