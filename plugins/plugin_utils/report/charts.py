# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The charts of the page, as SVG without a script, an address or a colour of its own: the page's style has the colours.

They are drawn by pygal, which only the controller needs.
"""

from __future__ import annotations

import itertools
import math
import re
import xml.etree.ElementTree as etree  # nosec B405 # only writes: nothing is parsed

from . import words

# More bars than this nobody reads.
WORST = 15
DRILLS = 30
BINS = 10
_BAR_HEIGHT = 30
_SVG = "{http://www.w3.org/2000/svg}"
# Its own colours and behaviour, and the figures under the pointer: the tables of the page have them.
_DROPPED = ("defs", "style", "script", "desc")


def available():
    """Whether the library is installed."""
    try:
        import pygal
    except ImportError:
        return False
    return bool(pygal)


def objectives(report, key):
    """Achieved against objective, of the databases that are nearest to missing it or have missed it.

    {svg, shown, total}; None where nothing was measured. ``key`` is rto or rpo.
    """
    rows = [
        (f"{host['host']}/{row['name']}", row[key]["achieved_seconds"], row[key]["objective_seconds"])
        for host in report["hosts"]
        for row in host["databases"]
        if row[key] and row[key]["achieved_seconds"] is not None
    ]
    if not rows:
        return None
    rows.sort(key=_nearness, reverse=True)
    shown = rows[:WORST][::-1]
    unit, name = _unit(seconds for _label, achieved, aim in shown for seconds in (achieved, aim) if seconds)
    chart = _chart("HorizontalBar", height=130 + _BAR_HEIGHT * len(shown), x_title=name)
    chart.x_labels = [_label(label) for label, _achieved, _aim in shown]
    chart.add("achieved", [achieved / unit for _label, achieved, _aim in shown])
    if any(aim for _label, _achieved, aim in shown):
        chart.add("objective", [aim and aim / unit for _label, _achieved, aim in shown])
    title = {"rto": "Seconds that a restore takes", "rpo": "Age of what a restore brings back"}[key]
    return {"svg": _svg(chart, f"chart-{key}", title), "shown": len(shown), "total": len(rows)}


def _nearness(row):
    _label, achieved, aim = row
    return (1, achieved / aim) if aim else (0, achieved)


def distribution(report, key):
    """How many databases need how long: {svg}; None where there are not so many that it would tell anything."""
    found = [
        row[key]["achieved_seconds"]
        for host in report["hosts"]
        for row in host["databases"]
        if row[key] and row[key]["achieved_seconds"] is not None
    ]
    if len(found) <= WORST:
        return None
    edges, counts = bins(found)
    chart = _chart("Bar", height=260, x_title="at most", show_legend=False, y_title="databases")
    chart.x_labels = [words.span(high) for high in edges[1:]]
    chart.add("databases", counts)
    return {"svg": _svg(chart, f"chart-{key}-spread", "How many databases need how long")}


# What a person would draw the lines at.
_STEPS = (
    *(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 3, 5, 10, 15, 20, 30),
    *(60 * minutes for minutes in (1, 2, 3, 5, 10, 15, 20, 30, 45)),
    *(3600 * hours for hours in (1, 2, 3, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22)),
    *(86400 * days for days in (1, 1.5, 2, 3, 5, 7, 14, 30, 60, 90, 180, 365)),
)


def bins(found):
    """(bounds, counts) of the seconds that were found: how many are above a bound and at most the next."""
    edges = _edges(min(found), max(found))
    return edges, [sum(low < seconds <= high for seconds in found) for low, high in itertools.pairwise(edges)]


def _edges(least, most):
    """Bounds of the bins, ten at most: the first holds all that is less, the last all that is more."""
    within = [step for step in _STEPS if least <= step < most]
    above = next((step for step in _STEPS if step >= most), most)
    thinned = within[:: -(-len(within) // (BINS - 1)) or 1]
    return [-math.inf, *thinned, above]


def trend(history):
    """Earlier drills and this one: {svg} of what passed and what did not; None for the first drill."""
    if len(history) < 2:
        return None
    rows = history[-DRILLS:]
    chart = _chart("StackedBar", height=320, y_title="databases and hosts", x_label_rotation=45)
    chart.x_labels = _dates(rows)
    chart.add("passed", [row["counts"]["passed"] for row in rows])
    chart.add("not passed", [_bad(row["counts"]) for row in rows])
    return {"svg": _svg(chart, "chart-trend", "What passed and what did not, drill by drill")}


def _bad(counts):
    return counts["databases"] - counts["passed"] + counts["hosts_without_answer"]


def trend_of_times(history):
    """The worst time to restore, drill by drill: {svg}, or None."""
    rows = [row for row in history[-DRILLS:] if row.get("rto_worst") is not None]
    if len(rows) < 2:
        return None
    unit, name = _unit(row["rto_worst"] for row in rows)
    chart = _chart("Line", height=320, y_title=name, include_x_axis=True, x_label_rotation=45)
    chart.x_labels = _dates(rows)
    chart.add("worst RTO", [row["rto_worst"] / unit for row in rows])
    chart.add("median RTO", [row["rto_median"] and row["rto_median"] / unit for row in rows])
    return {"svg": _svg(chart, "chart-times", "Seconds that a restore takes, drill by drill")}


def _dates(rows):
    return [row["started_at"][:10] for row in rows]


def _unit(seconds):
    """What the largest is best said in: (seconds in a unit, its name)."""
    most = max(seconds, default=1)
    for unit, name in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if most >= 2 * unit:
            return unit, name
    return 1, "seconds"


def _label(text):
    text = words.clean(text, 60)
    return text if len(text) <= 34 else text[:16] + "\N{HORIZONTAL ELLIPSIS}" + text[-16:]


def _chart(kind, **options):
    import pygal
    from pygal.style import Style

    # By these it works out the room that words need; what they look like says the page's style.
    style = Style(label_font_size=13, major_label_font_size=13, legend_font_size=13, title_font_size=13)
    return getattr(pygal, kind)(
        style=style,
        js=[],
        css=[],
        width=680,
        explicit_size=False,
        legend_at_bottom=True,
        legend_box_size=12,
        print_values=False,
        margin=10,
        spacing=8,
        truncate_legend=-1,
        no_data_text="",
        **{"show_legend": True, "truncate_label": -1, **options},
    )


def _svg(chart, identity, title):
    """The chart's tree as text: without its style, script and comments, and with a name for who does not see it."""
    root = chart.render_tree()
    for parent in list(root.iter()):
        for child in list(parent):
            if not isinstance(child.tag, str) or _local(child.tag) in _DROPPED or "overlay" in child.get("class", ""):
                parent.remove(child)
    for node in root.iter():
        node.attrib.pop("id", None)
        for name in [name for name in node.attrib if "href" in name or name.startswith("on")]:
            del node.attrib[name]
    for node in root:
        if _local(node.tag) == "title":
            node.text = title
    root.set("id", identity)
    root.set("role", "img")
    root.set("aria-label", title)
    root.set("class", "chart")
    text = etree.tostring(root, encoding="unicode")
    # As a part of a page it needs no namespaces, and an address in them would look like one that is called.
    return re.sub(r"<(/?)ns\d+:", r"<\1", re.sub(r' xmlns(:\w+)?="[^"]*"', "", text))


def _local(tag):
    return tag.removeprefix(_SVG)
