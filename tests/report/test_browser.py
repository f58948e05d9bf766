# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The page of a report in a browser: for everybody, on every screen and on paper, and as an attachment that is safe."""

from __future__ import annotations

import subprocess
import xml.etree.ElementTree as etree

import axe_playwright_python.sync_playwright as axe
import playwright.sync_api as playwright
import pytest
import samples
from ansible_collections.digitalme.backup.plugins.plugin_utils.report import charts, html, junit, write

SAMPLES = {
    "small": samples.small,
    "gameday": samples.gameday,
    "hostile": samples.hostile,
    "fleet": lambda: samples.fleet(300),
}
PHONE = {"width": 360, "height": 740}


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """{sample: path of its report.html}, each with a trend of earlier drills."""
    found = {}
    for name, sample in SAMPLES.items():
        directory = tmp_path_factory.mktemp(name)
        report = sample()
        rows = "".join(samples.as_line({**row, "kind": report["kind"]}) for row in samples.history())
        (directory / "history.jsonl").write_text(rows)
        found[name] = write.write(report, str(directory))["html"]
    return found


@pytest.fixture
def visit(browser):
    """visit(path, **settings of the browser) -> the page, and what it asked for and complained of, in ``heard``."""
    contexts = []

    def go(path, **settings):
        context = browser.new_context(**settings)
        contexts.append(context)
        page = context.new_page()
        page.heard = heard = []
        page.on("request", lambda request: heard.append(("request", request.url)))
        page.on("console", lambda message: heard.append(("console", message.text)))
        page.on("pageerror", lambda error: heard.append(("error", str(error))))
        page.on("dialog", lambda dialog: (heard.append(("dialog", dialog.message)), dialog.dismiss()))
        page.goto(f"file://{path}")
        return page

    yield go
    for context in contexts:
        context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", SAMPLES)
def test_page_is_accessible(pages, visit, name, scheme):
    page = visit(pages[name], color_scheme=scheme)
    found = axe.Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(255, 255, 255)") == (scheme == "light")


def test_axe_complains_of_what_is_wrong(visit, pages):
    """When this fails, the checker is broken, not the page."""
    page = visit(pages["small"])
    page.evaluate("document.documentElement.removeAttribute('lang')")
    page.evaluate("document.querySelector('h1').style.color = '#eee'")
    said = axe.Axe().run(page).generate_snapshot()
    assert "html-has-lang" in said and "color-contrast" in said


@pytest.mark.parametrize("name", SAMPLES)
def test_phone_scrolls_the_tables_but_not_the_page(pages, visit, name):
    page = visit(pages[name], viewport=PHONE, is_mobile=True)
    wide, seen = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert wide <= seen == PHONE["width"]
    table = "document.querySelector('[aria-label=\"Table of the scoreboard\"]')"
    assert page.evaluate(f"{table}.scrollWidth > {table}.clientWidth")
    page.evaluate(f"{table}.scrollLeft = 200")
    assert page.evaluate(f"{table}.querySelector('tbody th').getBoundingClientRect().left >= 0"), "no host is in sight"


@pytest.mark.parametrize("name", SAMPLES)
def test_page_asks_for_nothing_and_runs_nothing(pages, visit, name):
    page = visit(pages[name])
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    assert page.heard == [("request", f"file://{pages[name]}")]
    # Not only because the page's own policy forbids it: there is nothing that could run or ask.
    assert page.evaluate("document.querySelectorAll('script, img, iframe, object, link, form, base').length") == 0
    attributes = page.evaluate("[...document.querySelectorAll('*')].flatMap(e => e.getAttributeNames())")
    assert [name for name in attributes if name.startswith("on") or name == "src"] == []
    links = page.evaluate("[...document.querySelectorAll('[href]')].map(e => e.getAttribute('href'))")
    assert links and [link for link in links if not link.startswith("#")] == []
    assert page.evaluate(f"{links!r}.filter(link => !document.querySelector(link))") == []


def test_words_of_hosts_are_shown_as_words(pages, visit):
    page = visit(pages["hostile"])
    text = page.inner_text("main")
    assert "<script>alert(1)</script>" in text and "\\u202e" in text and "\\u0000" in text
    assert "\u202e" not in text and "\x1b" not in text


@pytest.mark.parametrize("name", SAMPLES)
def test_page_and_junit_say_the_same(pages, visit, name):
    root = etree.fromstring(junit.render(SAMPLES[name]()))
    cases = [
        (case.get("classname"), case.get("name"), bool(case.findall("*[@message]"))) for case in root.iter("testcase")
    ]
    page = visit(pages[name])
    cells = "r => [...r.cells].slice(0, 3).map(c => c.textContent)"
    rows = page.evaluate(f"[...document.querySelectorAll('.score tbody tr')].map({cells})")
    good = {(host, database) for host, database, bad in cases if not bad}
    rows = [tuple(_flat(cell) for cell in row) for row in rows]
    assert {(host, database) for host, database, word in rows if word == "passed"} == good
    bad = {(host, "–" if database == "host answers" else database) for host, database, bad in cases if bad}
    assert {(host, database) for host, database, word in rows if word != "passed"} == bad
    told = page.evaluate("[...document.querySelectorAll('.card h3')].map(h => h.firstChild.textContent)")
    assert {_flat(text) for text in told} == {host if base == "–" else f"{host}/{base}" for host, base in bad}


def _flat(text):
    return " ".join(text.split())


@pytest.mark.parametrize("name", SAMPLES)
def test_paper_has_all_of_it_and_is_light(pages, visit, tmp_path, name):
    page = visit(pages[name], color_scheme="dark")
    titles = page.evaluate("[...document.querySelectorAll('h1, h2')].map(h => h.innerText)")
    path = tmp_path / "report.pdf"
    page.pdf(path=str(path), format="A4")
    said = subprocess.run(["pdftotext", str(path), "-"], check=True, capture_output=True, text=True).stdout
    flat = _flat(said)
    assert len(titles) >= 6
    assert [title for title in titles if title not in flat] == []
    hosts = [_flat(host["host"])[:12] for host in SAMPLES[name]()["hosts"]]
    assert [host for host in hosts if host not in flat] == []
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb(27, 31, 36)", "light words on white paper"
    picture = ["pdftoppm", "-r", "9", "-gray", "-f", "1", "-l", "3", str(path), str(tmp_path / "page")]
    subprocess.run(picture, check=True)
    for shot in sorted(tmp_path.glob("page*.pgm")):
        dots = shot.read_bytes().split(b"\n", 3)[-1]
        assert sum(dots) / len(dots) > 200, f"{shot.name} is dark"


def test_page_without_the_library_of_charts(monkeypatch, tmp_path, visit):
    monkeypatch.setattr(charts, "available", lambda: False)
    page = visit(write.write(samples.small(), str(tmp_path))["html"])
    assert page.evaluate("document.querySelectorAll('svg').length") == 0
    assert axe.Axe().run(page).violations_count == 0
    assert html.lacking()[0] in page.inner_text("main")
    assert page.evaluate("document.querySelectorAll('.score tbody tr').length") == 5


def test_charts_are_seen(pages, visit):
    page = visit(pages["fleet"])
    boxes = page.evaluate("[...document.querySelectorAll('svg.chart')].map(s => s.getBoundingClientRect().height)")
    assert len(boxes) == 6 and min(boxes) > 100
    for sort in ("#chart-rto .color-0 rect", "#chart-trend .color-1 rect", "#chart-times path.line"):
        assert page.evaluate(f"document.querySelectorAll('{sort}').length"), sort
    paints = page.evaluate(
        "['.color-0', '.color-1'].map(s => getComputedStyle(document.querySelector('.passing ' + s)).fill)"
    )
    bad = page.evaluate("getComputedStyle(document.querySelector('.tiles .no')).color")
    assert paints[1] == bad != paints[0] != "rgb(0, 0, 0)"
