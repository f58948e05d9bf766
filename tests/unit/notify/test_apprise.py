# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The apprise channel, with a stand-in for the library that records what it is told."""

from __future__ import annotations

import sys

import pytest

STAND_IN = """
import logging
told = []
class Apprise:
    def __init__(self):
        self.urls = []
    def add(self, url):
        if url.startswith("odd"):
            logging.getLogger("apprise").error("Unparseable %s", url)
            return False
        self.urls.append(url)
        return True
    def notify(self, **what):
        for url in self.urls:
            told.append((url, what))
            logging.getLogger("apprise").warning("Failed to send to %s", url)
            logging.getLogger("urllib3.connectionpool").warning("Retrying %s", url)
        if "raise" in self.urls[0]:
            raise LookupError(self.urls[0])
        if "exit" in self.urls[0]:
            raise SystemExit(self.urls[0])
        return not any("bad" in url for url in self.urls)
"""


@pytest.fixture
def library(tmp_path, monkeypatch):
    """What the stand-in was told: [(url, what)]"""
    (tmp_path / "apprise.py").write_text(STAND_IN, encoding="ascii")
    monkeypatch.syspath_prepend(str(tmp_path))
    import apprise

    return apprise.told


def _apprise(*urls):
    return {"type": "apprise", "urls": list(urls)}


@pytest.mark.parametrize(
    "kind, type_", [("start", "info"), ("success", "success"), ("failure", "failure"), ("hold", "warning")]
)
def test_every_address_is_told(tell, library, kind, type_):
    assert tell(_apprise("a://1", "b://2"), kind)["status"] == "sent"
    assert [url for url, _what in library] == ["a://1", "b://2"]
    assert {what["notify_type"] for _url, what in library} == {type_}
    assert "app on shop-17: the disk is full" in library[0][1]["title"]
    assert "error_code: no_space" in library[0][1]["body"] and library[0][1]["body_format"] == "text"


def test_addresses_may_be_the_lines_of_a_file(tell, library, tmp_path):
    (tmp_path / "urls").write_text("a://1\n\n  b://2  \n", encoding="ascii")
    (tmp_path / "urls").chmod(0o600)
    assert tell({"type": "apprise", "urls_file": str(tmp_path / "urls")})["status"] == "sent"
    assert [url for url, _what in library] == ["a://1", "b://2"]


def test_address_that_is_not_understood_is_counted_and_the_others_are_told(tell, library):
    result = tell(_apprise("odd://1", "a://2", "odd://3"))
    assert result["error"] == "apprise does not understand these of the 'urls' (counted from 1): 1, 3"
    assert [url for url, _what in library] == ["a://2"]
    assert tell(_apprise("odd://1"))["status"] == "failed"
    assert len(library) == 1


def test_address_that_is_not_reached_is_a_failure_and_nobody_is_told_twice(tell, library):
    result = tell(_apprise("a://1", "bad://2"))
    assert result["status"] == "failed" and "could not deliver to all" in result["error"]
    assert len(library) == 2


@pytest.mark.parametrize("address, error", [("raise://s3cret", "LookupError"), ("exit://s3cret", "SystemExit")])
def test_library_that_raises_fails_its_channel_alone(tell, library, address, error):
    result = tell(_apprise(address))
    assert result["error"].startswith(f"unexpected {error} in apprise.py line ")


def test_library_that_is_not_there_is_named_with_the_next_step(tell, monkeypatch):
    monkeypatch.setitem(sys.modules, "apprise", None)
    result = tell(_apprise("a://s3cret"))
    assert result["status"] == "failed"
    assert (
        result["error"] == f"the library apprise is not there: install it for {sys.executable}, or use another channel"
    )


def test_what_the_library_logs_shows_nowhere(tell, library, caplog, capfd):
    tell(_apprise("odd://s3cret", "bad://s3cret"))
    output = capfd.readouterr()
    assert "s3cret" not in caplog.text + output.out + output.err
