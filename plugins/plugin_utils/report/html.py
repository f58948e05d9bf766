# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The report as one page that needs nothing else: no script, no network. report.html.j2 is its text, report.css its
look.
"""

from __future__ import annotations

import functools
import itertools
import os
from typing import NamedTuple

from . import charts, words

_HERE = os.path.dirname(os.path.abspath(__file__))
# A browser lays out what is not in sight only when it comes into sight, in pieces of so many rows.
CHUNK = 100
PHASES = (
    *("choose", "space", "stage", "verify", "copy", "restore", "compare", "full_restore"),
    *("check", "faults", "fall_back", "clean"),
)
# Longer lists of what went wrong are cut; the scoreboard has all.
TOLD = 500
# The phases of more databases than this nobody looks through: those that failed or took longest are shown.
DETAILED = 5000
_NO_CHARTS = (
    "pygal is not installed on the controller, so the page has no charts (it is in the collection's requirements.txt)"
)
_TITLES = {"drill": "Disaster-recovery drill", "gameday": "Game day"}
_BAD_FAULTS = ("missed", "not_run")
_OUTCOMES = ("noticed", "survived", *_BAD_FAULTS)
_UNMEASURED = {"achieved_seconds": None, "objective_seconds": None, "met": None}
_NO_BACKUP = {"size_bytes": None, "rows": None}
_RESTORABLE = {True: "yes", False: "no", None: "not known"}


class Evidence(NamedTuple):
    """SHA-256 of drill.json, and the fingerprint of the key that signed it or None."""

    sha256: str
    fingerprint: str | None


def lacking():
    """A warning where the charts have to be left out."""
    return [] if charts.available() else [_NO_CHARTS]


def render(report, history, evidence):
    """The page as text; ``history`` ends with this report's own line."""
    rows = [_row(host["host"], row) for host in report["hosts"] for row in host["databases"]]
    silent = [host for host in report["hosts"] if host["outcome"] != "answered"]
    bad = [row for row in rows if row["status"] != "passed"]
    with open(os.path.join(_HERE, "report.css"), encoding="utf-8") as source:
        style = source.read()
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            report=report,
            title=_TITLES[report["kind"]],
            style=style,
            evidence=evidence,
            history=history[::-1],
            score=_chunks([_unscored(host) for host in silent] + [_scored(row) for row in rows]),
            detailed=_chunks(_most_telling(rows)),
            detailed_of=len(rows) if len(rows) > DETAILED else None,
            phases=[name for name in PHASES if any(name in row["took"] for row in rows)],
            bad=_cut(bad),
            silent=_cut(silent),
            unbacked=_cut([row for row in rows if row["status"] == "no_backup"]),
            faults=_cut(_worst_first([row for row in rows if row.get("faults")])),
            outcomes=(outcomes := _outcomes(rows)),
            tried=_tried(outcomes),
            # A game day has no figures, and a drill that has none says so.
            measured=report["kind"] == "drill" or report["summary"]["rto_seconds"]["worst_of"] is not None,
            limits=_limits(rows),
            notes=_cut([(row, text) for row in rows for text in row["warnings"]]),
            charts=_charts(report, history) if charts.available() else {},
        )
    )


def _environment():
    """Every value is cleaned and escaped as it goes into the page, so that no place can forget it."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE), autoescape=True, trim_blocks=True, lstrip_blocks=True, finalize=_shown
    )
    environment.filters.update(
        span=words.span, size=words.size, moment=words.moment, word=words.status, badge=_badge, clean=words.clean
    )
    return environment


def _shown(value):
    # Markup is a str as well: what the template has made itself stays as it is, and so do the spaces of its words.
    harmless = not isinstance(value, str) or hasattr(value, "__html__")
    harmless = harmless or (value.isascii() and value.isprintable() and len(value) <= words.LONGEST)
    return value if harmless else words.clean(value)


@functools.lru_cache(maxsize=256)
def _badge(word):
    """A status as a coloured word."""
    import markupsafe

    return markupsafe.Markup('<b class="status {}">{}</b>').format(words.clean(word), words.clean(words.status(word)))


class Cut(NamedTuple):
    """The first rows of a list, and how many more there are."""

    rows: list
    more: int


def _cut(rows):
    return Cut(rows[:TOLD], max(0, len(rows) - TOLD))


def _row(host, row):
    """A database's row with what the tables need: its host, its phases by name, figures also where there are none."""
    filled = {key: row[key] or _UNMEASURED for key in ("rto", "rpo")}
    return {**row, **filled, "host": host, "took": {phase["name"]: phase for phase in row["phases"]}}


class Score(NamedTuple):
    """A line of the scoreboard, as words; a large fleet has many, and a template is slow at working them out."""

    host: str
    name: str
    status: str
    rto: str
    rto_missed: bool
    rto_aim: str
    rpo: str
    rpo_missed: bool
    rpo_aim: str
    size: str
    rows: str
    restorable: str


def _unscored(host):
    """The line of a host that has not answered."""
    dash = words.span(None)
    figures = (dash, False, dash)
    return Score(host["host"], dash, host["outcome"], *figures, *figures, dash, dash, _RESTORABLE[None])


def _scored(row):
    backup = row["backup"] or _NO_BACKUP
    count = words.span(None) if backup["rows"] is None else str(backup["rows"])
    return Score(
        row["host"],
        row["name"],
        row["status"],
        *_figures(row["rto"]),
        *_figures(row["rpo"]),
        words.size(backup["size_bytes"]),
        count,
        _RESTORABLE[row["recoverable"]],
    )


def _figures(it):
    """(achieved, whether it misses the objective, objective)."""
    aim = it["objective_seconds"]
    return words.span(it["achieved_seconds"]), it["met"] is False, words.span(aim) if aim else "none set"


def _most_telling(rows):
    """All rows, or of many those that did not pass and then those that took longest."""
    if len(rows) <= DETAILED:
        return rows
    return sorted(rows, key=lambda row: (row["status"] == "passed", -(row["seconds"] or 0)))[:DETAILED]


def _worst_first(rows):
    return sorted(rows, key=lambda row: not any(fault["outcome"] in _BAD_FAULTS for fault in row["faults"]))


def _chunks(rows):
    rows = iter(rows)
    return list(iter(lambda: list(itertools.islice(rows, CHUNK)), []))


def _outcomes(rows):
    """Of each fault, how often it had which outcome: {fault: {outcome: count}}."""
    found: dict = {}
    for row in rows:
        for fault in row.get("faults") or ():
            counts = found.setdefault(fault["name"], {})
            counts[fault["outcome"]] = counts.get(fault["outcome"], 0) + 1
    return found


def _tried(outcomes):
    """All faults together: {all, good, missed, not_run}."""
    counts = {key: sum(found.get(key, 0) for found in outcomes.values()) for key in _OUTCOMES}
    good = counts["noticed"] + counts["survived"]
    return {**counts, "all": sum(counts.values()), "good": good}


def _limits(rows):
    """What was measured against the promised limits: {name, unit, limit, met, measured, worst, worst_of}."""
    found: dict = {}
    for row in rows:
        for limit in row["limits"]:
            known = found.setdefault(limit["name"], {**limit, "met": 0, "measured": 0, "worst": None, "worst_of": None})
            if limit["measured"] is None:
                continue
            known["measured"] += 1
            known["met"] += bool(limit["met"])
            if known["worst"] is None or limit["measured"] > known["worst"]:
                known.update(worst=limit["measured"], worst_of=f"{row['host']}/{row['name']}")
    return [row for row in found.values() if row["measured"]]


def _charts(report, history):
    return {
        "rto": charts.objectives(report, "rto"),
        "rto_spread": charts.distribution(report, "rto"),
        "rpo": charts.objectives(report, "rpo"),
        "rpo_spread": charts.distribution(report, "rpo"),
        "trend": charts.trend(history),
        "times": charts.trend_of_times(history),
    }
