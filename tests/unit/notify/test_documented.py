# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""docs/NOTIFICATIONS.md tells the truth: its examples load, and every key has its row."""

from __future__ import annotations

import json
import pathlib
import re

import pytest
from engine import notify
from engine.notify import channels, event

TEXT = (pathlib.Path(__file__).resolve().parents[3] / "docs" / "NOTIFICATIONS.md").read_text(encoding="utf-8")
EXAMPLES = [body for body in re.findall(r"^```json\n(.*?)^```", TEXT, re.S | re.M) if '"channels"' in body]


def test_there_are_examples_of_every_type():
    found = {entry["type"] for body in EXAMPLES for entry in json.loads(body)["channels"]}
    assert found == set(channels.KINDS)


@pytest.mark.parametrize("body", EXAMPLES, ids=map(str, range(len(EXAMPLES))))
def test_examples_load(write, body):
    assert notify.load(write(body.encode()))


@pytest.mark.parametrize("kind", channels.KINDS)
def test_every_key_of_a_channel_is_documented(kind):
    section = TEXT.partition(f"\n## {kind}\n")[2].partition("\n## ")[0]
    keys = {*channels.KINDS[kind].plain, *channels.KINDS[kind].secrets}
    assert keys == set(re.findall(r"^\| `(\w+)`", section, re.M))


def test_events_are_documented():
    section = TEXT.partition("\n## Events\n")[2].partition("\n## ")[0]
    assert set(event.WORDS) == set(re.findall(r"^\| `(\w+)`", section, re.M))
