#!/usr/bin/env python3
# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Write the figures of bench/results/performance.json into docs/PERFORMANCE.md, and its charts.

    python3 bench/page.py        (make bench does it after each run)

What stands between ``<!-- figures: NAME -->`` and ``<!-- end -->`` is made anew; the rest of the page is left alone.
"""

from __future__ import annotations

import json
import re
import statistics
import sys

import common

PAGE = common.ROOT / "docs" / "PERFORMANCE.md"
CHARTS = common.ROOT / "docs" / "performance"
FLOOR = "(not consistent)"
GROUPED_BY = ("size", "filesystem", "journal", "cache", "commits")
_NAMES = {"wal": "WAL mode", "delete": "rollback mode", "warm": "warm cache", "cold": "cold cache"}


class Figures:
    """The results of a run, asked by part and facts."""

    def __init__(self, document):
        self.document = document

    def rows(self, part, **facts):
        found = self.document["parts"].get(part, {}).get("rows", [])
        return [row for row in found if all(row.get(key) == value for key, value in facts.items())]

    def groups(self, part):
        """[(title, rows)] of the rows that were measured together."""
        found: dict = {}
        for row in self.rows(part):
            found.setdefault(tuple(row.get(key) for key in GROUPED_BY), []).append(row)
        return [(title(key), rows) for key, rows in found.items()]

    def median(self, part, contender, **facts):
        """Median seconds, or None where it was not measured."""
        for row in self.rows(part, contender=contender, **facts):
            if row.get("seconds") and "failed" not in row:
                return statistics.median(row["seconds"])
        return None

    def ratio(self, part, one, other, **facts):
        first, second = self.median(part, one, **facts), self.median(part, other, **facts)
        return None if first is None or not second else first / second

    def felt(self, contender, key, **facts):
        """The median over the turns of what the application felt."""
        for row in self.rows("writers", contender=contender, **facts):
            values = [felt[key] for felt in row.get("felt", []) if key in felt]
            if values:
                return statistics.median(values)
        return None


def title(key):
    size, filesystem, journal, cache, commits = key
    words = [size, filesystem, _NAMES.get(journal), _NAMES.get(cache)]
    words.append(f"{commits} commits a second" if commits else None)
    return ", ".join(word for word in words if word)


def seconds(value):
    return f"{value:.3f}" if value < 0.1 else f"{value:.2f}"


def against(rows, reference):
    """Markdown lines: a table of rows that were measured together, with their ratio to one of them."""
    base = next((statistics.median(row["seconds"]) for row in rows if row["contender"] == reference), None)
    lines = [f"| | median s | least to most | against `{reference}` | peak MiB |"]
    lines.append("| --- | ---: | --- | ---: | ---: |")
    for row in rows:
        if "failed" in row or not row["seconds"]:
            lines.append(f"| {row['contender']} | | {row.get('failed', 'not measured')} | | |")
            continue
        values = row["seconds"]
        median = statistics.median(values)
        span = f"{seconds(min(values))} to {seconds(max(values))}"
        ratio = f"{median / base:.2f}" if base else ""
        lines.append(f"| {row['contender']} | {seconds(median)} | {span} | {ratio} | {max(row['memory_mib']):.0f} |")
    return lines


def tables(figures, part, reference):
    lines = []
    for name, rows in figures.groups(part):
        lines += [f"**{name}**", "", *against(rows, reference), ""]
    return lines


def felt_tables(figures):
    lines = []
    for name, rows in figures.groups("writers"):
        lines += [f"**{name}**", ""]
        lines.append("| while it runs | s | longest commit ms | 99th percentile ms | median ms | log MiB |")
        lines.append("| --- | ---: | --- | ---: | ---: | ---: |")
        for row in rows:
            felt = [one for one in row.get("felt", []) if one.get("commits")]
            if "failed" in row or not felt:
                lines.append(f"| {row['contender']} | | never ended: killed after 20 s | | | |")
                continue
            middle = {key: statistics.median(one[key] for one in felt) for key in felt[0]}
            longest = sorted(one["longest_ms"] for one in felt)
            span = f"{middle['longest_ms']:.1f} ({longest[0]:.1f} to {longest[-1]:.1f})"
            took = seconds(statistics.median(row["seconds"]))
            numbers = f"{middle['p99_ms']:.1f} | {middle['median_ms']:.2f} | {middle['log_growth_mib']:.1f}"
            lines.append(f"| {row['contender']} | {took} | {span} | {numbers} |")
        lines.append("")
    return lines


def phases(figures):
    lines = ["| | s | of which |", "| --- | ---: | --- |"]
    for row in figures.rows("phases"):
        parts = ", ".join(f"{name} {seconds(took)}" for name, took in row["phases"])
        beside = "".join(f"; {name} takes {seconds(took)}" for name, took in row.get("beside", []))
        lines.append(f"| {row['contender']} of {row['size']} | {seconds(row['whole'])} | {parts}{beside} |")
    return lines


# --- what was wanted -------------------------------------------------------------------------------------------------

DOT = "sqlite3 .backup"
CP = "cp + fsync (not consistent)"
OURS = "ours, full verification"
CHECKED = "sqlite3 .backup + integrity_check"


def wanted(figures):
    """[(what, the most it may be, what was measured or None)]"""
    warm = {"cache": "warm", "journal": "wal", "filesystem": here(figures)}
    rows = []
    for size, plain, hashed in (("1G", 0.4, 0.5), ("5G", 0.5, 0.6)):
        facts = {"size": size, **warm}
        rows.append((f"snapshot of {size} against `{DOT}`", plain, figures.ratio("snapshot", "clone", DOT, **facts)))
        measured = figures.ratio("snapshot", "clone, SHA-256", DOT, **facts)
        rows.append((f"the same with SHA-256, {size}", hashed, measured))
    for size in ("1G", "5G"):
        facts = {"size": size, **warm, "cache": "cold"}
        rows.append((f"cold cache, {size}, against `{DOT}`", 0.9, figures.ratio("snapshot", "clone", DOT, **facts)))
        rows.append((f"cold cache, {size}, against cp + fsync", 1.1, figures.ratio("snapshot", "clone", CP, **facts)))
    for name in ("xfs", "btrfs"):
        small, large = (figures.median("reflink", "clone", filesystem=name, size=size) for size in ("10M", "5G"))
        rows.append((f"reflink on {name}: 5G against 10M", 2, large / small if small and large else None))
    rows.append(("backup of 100M, verified, against .backup + integrity_check", 1.3, _whole(figures, CHECKED)))
    for peer in ("restic of a .backup", "borgmatic's SQLite hook", "litestream, first snapshot"):
        rows.append((f"backup of 100M, verified, against {peer}", 1, _whole(figures, peer)))
    measured = figures.ratio("test", "ours", "cp + integrity_check", size="1G")
    rows.append(("restore test of 1G against cp + integrity_check", 1.2, measured))
    for name in ("ours, replacing, no checks", "ours, in place, no checks", "ours, everything on"):
        measured = figures.ratio("restore", name, "cp + fsync", size="1G")
        rows.append((f"restore of 1G, {name[6:]}, against cp + fsync", 1.5, measured))
    return rows + wanted_of_writers(figures) + wanted_of_memory(figures)


def _whole(figures, peer):
    return figures.ratio("backup", OURS, peer, size="100M")


def wanted_of_writers(figures):
    rows = []
    for rate in (200, 1000):
        facts = {"journal": "wal", "commits": rate}
        for what, key, peer, most in (
            ("99th percentile of a commit, WAL, against an idle disk", "p99_ms", "nothing", 2),
            (f"longest commit, WAL, against `{DOT}`", "longest_ms", DOT, 1),
        ):
            rows.append((f"{what}, {rate} a second", most, _felt_ratio(figures, key, peer, **facts)))
        facts["journal"] = "delete"
        what = f"longest commit, rollback mode, against the same API in one step (online), {rate} a second"
        rows.append((what, 0.5, _felt_ratio(figures, "longest_ms", "online", **facts)))
    return rows


def _felt_ratio(figures, key, peer, **facts):
    one, other = figures.felt("clone", key, **facts), figures.felt(peer, key, **facts)
    return None if one is None or not other else one / other


def wanted_of_memory(figures):
    peaks = [max(row["memory_mib"]) for row in figures.rows("memory") if row.get("memory_mib")]
    return [("peak memory at the largest size, MiB", 64, max(peaks) if peaks else None)]


def goals(figures):
    lines = ["| | wanted at most | measured | |", "| --- | ---: | ---: | --- |"]
    for what, most, measured in wanted(figures):
        if measured is None:
            lines.append(f"| {what} | {most:g} | not measured | |")
            continue
        lines.append(f"| {what} | {most:g} | {measured:.2f} | {'reached' if measured <= most else '**missed**'} |")
    return lines


def here(figures):
    rows = figures.rows("snapshot")
    return rows[0]["filesystem"] if rows else "ext4"


def beaten(figures):
    """Where somebody who makes a consistent copy was faster than the best of ours."""
    lines = ["| task | who | s | ours s |", "| --- | --- | ---: | ---: |"]
    for part in ("snapshot", "reflink", "backup", "compression", "verification", "test", "restore", "nightly"):
        for name, rows in figures.groups(part):
            whole = {row["contender"]: statistics.median(row["seconds"]) for row in rows if row.get("seconds")}
            mine = {who: value for who, value in whole.items() if who.startswith(("clone", "online", "ours"))}
            if not mine:
                continue
            best = min(mine.values())
            for who, value in whole.items():
                if who not in mine and FLOOR not in who and value < best:
                    lines.append(f"| {part}: {name} | {who} | {seconds(value)} | {seconds(best)} |")
    return lines if len(lines) > 2 else ["Nowhere in this run."]


def machine(figures):
    facts = figures.document["machine"]
    dates = sorted({part["date"] for part in figures.document["parts"].values()})
    return [
        f"{facts['processor']}, {facts['memory_gib']} GiB, Linux {facts['kernel']}, {here(figures)} unless something "
        f"else is said; Python {facts['python']} with SQLite {facts['sqlite']}, "
        f"sqlite3 program {facts['sqlite3_program']}; "
        f"{' to '.join(dict.fromkeys((dates[0], dates[-1])))}; {figures.document['rounds']} turns of each."
    ]


BLOCKS = {
    "machine": machine,
    "goals": goals,
    "snapshot": lambda figures: tables(figures, "snapshot", DOT),
    "log": lambda figures: tables(figures, "log", DOT),
    "reflink": lambda figures: tables(figures, "reflink", DOT),
    "writers": felt_tables,
    "backup": lambda figures: tables(figures, "backup", CHECKED),
    "compression": lambda figures: tables(figures, "compression", "ours"),
    "verification": lambda figures: tables(figures, "verification", "PRAGMA integrity_check"),
    "test": lambda figures: tables(figures, "test", "cp + integrity_check"),
    "restore": lambda figures: tables(figures, "restore", "cp + fsync"),
    "phases": phases,
    "nightly": lambda figures: tables(figures, "nightly", "loop of .backup, integrity_check, sha256sum, find"),
    "memory": lambda figures: tables(figures, "memory", "backup"),
    "start": lambda figures: tables(figures, "start", "python -c pass"),
    "beaten": beaten,
}
_BLOCK = re.compile(r"(<!-- figures: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def fill(page, figures):
    """The page with every block made anew."""

    def block(match):
        lines = "\n".join(BLOCKS[match.group(2)](figures)).rstrip("\n")
        return f"{match.group(1)}\n{lines}\n\n{match.group(3)}"

    return _BLOCK.sub(block, page)


# --- charts ----------------------------------------------------------------------------------------------------------


def charts(figures, folder):
    """Bars as SVG; needs pygal, which is in the controller's environment."""
    import pygal

    folder.mkdir(exist_ok=True)
    style = pygal.style.Style(background="white", plot_background="white", font_family="sans-serif")
    looks = {"style": style, "width": 900, "height": 420, "legend_at_bottom": True, "js": [], "pretty_print": True}
    chart = pygal.Bar(**looks, title=f"Snapshot with fsync, warm cache: time against {DOT}", y_title="ratio")
    sizes = [size for size in ("10M", "100M", "1G", "5G") if figures.rows("snapshot", size=size)]
    chart.x_labels = sizes
    facts = {"cache": "warm", "journal": "wal"}
    for name in ("clone", "clone, SHA-256", "online", "VACUUM INTO", CP):
        ratios = [figures.ratio("snapshot", name, DOT, size=size, **facts) for size in sizes]
        chart.add(name, [None if ratio is None else round(ratio, 2) for ratio in ratios])
    save(chart, folder / "snapshot.svg")
    for journal, mode in (("wal", "WAL mode"), ("delete", "rollback mode")):
        chart = pygal.Bar(**looks, title=f"Longest commit while 1 GB is copied, {mode}", y_title="milliseconds")
        rates = sorted({row["commits"] for row in figures.rows("writers")})
        chart.x_labels = [f"{rate} commits/s" for rate in rates]
        for name in ("nothing", "clone", "clone, SHA-256", "online", DOT, "VACUUM INTO"):
            chart.add(name, [figures.felt(name, "longest_ms", journal=journal, commits=rate) for rate in rates])
        save(chart, folder / f"writers-{journal}.svg")
    chart = pygal.HorizontalBar(**looks, title="Backup of 100 MB", x_title="seconds", show_legend=False)
    rows = [row for row in figures.rows("backup", size="100M") if row.get("seconds")]
    chart.x_labels = [row["contender"] for row in rows]
    chart.add("seconds", [round(statistics.median(row["seconds"]), 2) for row in rows])
    save(chart, folder / "backup.svg")


def save(chart, path):
    # What pygal makes up for each drawing, such as identifiers, would make every run another file.
    text = re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", path.stem, chart.render(is_unicode=True))
    path.write_text("\n".join(line.rstrip() for line in text.splitlines()) + "\n", encoding="utf-8")


def main():
    figures = Figures(json.loads(common.RESULTS.read_text(encoding="utf-8")))
    PAGE.write_text(fill(PAGE.read_text(encoding="utf-8"), figures), encoding="utf-8")
    charts(figures, CHARTS)
    sys.stdout.write("\n".join(goals(figures)) + "\n")


if __name__ == "__main__":
    main()
