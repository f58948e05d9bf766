# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a person and a CI system see of a report, as JSON: `page.py REPORT_DIRECTORY`.

{junit: {test: cause}, failures: {what: cause}, verdict, drills, chart}: the failing tests of junit.xml, the cards of
the page in Chromium, its verdict, the rows of its history, and whether the trend is drawn.
"""

from __future__ import annotations

import json
import pathlib
import sys
import xml.etree.ElementTree as etree

from playwright.sync_api import sync_playwright

CARDS = """cards => Object.fromEntries(cards.map(card =>
  [card.querySelector("h3").firstChild.textContent.trim(), card.querySelector("p").innerText]))"""


def main(directory):
    tests = etree.parse(directory / "junit.xml").getroot().iter("testcase")
    bad = {
        f"{test.get('classname')}/{test.get('name')}": child.get("message")
        for test in tests
        for child in test
        if child.tag in ("failure", "error")
    }
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        page = browser.new_page()
        page.goto((directory / "report.html").resolve().as_uri())
        seen = {
            "junit": bad,
            "failures": page.locator("article.card").evaluate_all(CARDS),
            "verdict": page.locator(".verdict strong").inner_text(),
            "drills": page.locator("section[aria-labelledby=history] tbody tr").count(),
            "chart": page.locator("#chart-trend").is_visible() if page.locator("#chart-trend").count() else False,
        }
        browser.close()
    sys.stdout.write(json.dumps(seen) + "\n")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
