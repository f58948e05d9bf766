# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Real backups are changed in every way that is known here, and shown to the public doors.

None may be called verified when its content is not what was backed up; none may crash, hang or fill the memory; one
that is refused leaves everything as it was. `telling` has the kinds, `doors` what must be true.

``FAULTS=all`` tells 10,000 lies, otherwise a sample; ``FAULTS_SEED`` chooses others, ``FAULTS_ONLY=KIND`` or
``=KIND/NUMBER`` only these.
"""

from __future__ import annotations

import itertools
import math
import os
import random

import bounded
import doors
import originals
import pytest
import telling
from asked import EVERYTHING, SEED

ONLY = os.environ.get("FAULTS_ONLY", "")
TOLD = 10_000 if EVERYTHING else 700


@pytest.fixture(scope="module")
def houses(quick_place):
    """Every kind of database in every compression that this host has a way to do."""
    found = []
    for kind, compression in itertools.product(originals.KINDS, originals.COMPRESSIONS):
        base = os.path.join(quick_place, f"{kind}-{compression}")
        os.mkdir(base)
        found.append(originals.House(base, kind, compression))
    return found


def told(number_of_lies):
    """(kind, number) of at least so many lies, each kind by its share and none left out."""
    shares = sum(lie.share for lie in telling.LIES.values())
    for kind, lie in telling.LIES.items():
        for number in range(math.ceil(number_of_lies * lie.share / shares)):
            yield kind, number


def fitting(houses, lie):
    if lie.compressed is None:
        return houses
    return [house for house in houses if (house.compression != "none") == lie.compressed]


def show(houses, kind, number):
    """Tell one lie at one of its doors, which take turns: (door, how it Ended)."""
    lie = telling.LIES[kind]
    door = lie.doors[int(number) % len(lie.doors)]
    numbers = random.Random(f"{SEED} {kind} {number}")
    house = numbers.choice(fitting(houses, lie))
    file = numbers.choice((house.newest, house.newest, house.elder))
    house.put_up()
    lie.tell(numbers, house, file)
    same = house.looks_untouched()
    ended = bounded.alone(lambda: doors.DOORS[door](house, file, numbers))
    if ended.failure is not None:
        told_of = f"{kind}/{number} ({house.label}, {file}) at the door '{door}': {ended.failure}"
        ended = ended._replace(failure=told_of)
    return door, same, ended


def _chosen():
    kind, slash, number = ONLY.partition("/")
    found = told(TOLD)
    return [(kind, int(number))] if slash else [one for one in found if one[0].startswith(kind)]


def test_no_lie_is_believed(houses, tally):
    failures: dict = {}
    for kind, number in _chosen():
        door, same, ended = show(houses, kind, number)
        if ended.failure is None:
            tally(kind, door, ended.value, same, ended)
        else:
            # Of those that failed alike one is shown.
            alike = (kind, ended.where.rstrip().rsplit("\n", 1)[-1] or ended.failure.rsplit(": ", 1)[-1])
            failures.setdefault(alike, []).append(ended)
            tally(kind, door, "FAILED", same, ended)
    shown = [f"{len(alike)} times: {alike[0].failure}\n{alike[0].where}" for alike in failures.values()]
    assert not failures, "lies were believed:\n" + "\n".join(shown)
