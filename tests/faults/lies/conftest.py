# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Makes the rooms of these tests importable; tells at the end how many lies were told, and what became of them."""

from __future__ import annotations

import collections

import pytest
import surroundings

_told: collections.Counter = collections.Counter()
_kinds: collections.Counter = collections.Counter()
_doors: collections.Counter = collections.Counter()
_peaks: list = []
_fuzzed: list = []


@pytest.fixture(autouse=True, scope="module")
def _own_world(tmp_path_factory):
    """Nothing here reads the host's configuration or writes into the caller's home."""
    with pytest.MonkeyPatch.context() as patch:
        surroundings.isolate(patch, tmp_path_factory.mktemp("world"))
        yield


@pytest.fixture(scope="module")
def quick_place():
    with surroundings.quick_directory() as directory:
        yield str(directory)


@pytest.fixture(scope="module")
def tally():
    """tally(kind, door, outcome, whether nothing was changed, how it Ended): count a lie that was told."""

    def count(kind, door, outcome, same, ended):
        _told[f"{outcome}, and nothing had been changed" if same else outcome] += 1
        _kinds[kind] += 1
        _doors[door] += 1
        _peaks.append((ended.peak, ended.peak_of_programs))

    return count


@pytest.fixture
def fuzz_report():
    """fuzz_report(line): say it at the end."""
    return _fuzzed.append


def pytest_terminal_summary(terminalreporter):
    write = terminalreporter.write_line
    if _told:
        for counted in (_kinds, _doors, _told):
            write("; ".join(f"{what}: {number}" for what, number in sorted(counted.items())))
        own, programs = (max(peaks) / 2**20 for peaks in zip(*_peaks))
        write(f"most memory: {own:.1f} MiB, of programs {programs:.1f} MiB")
        tried = sum(_told.values())
        write(
            f"lies tried: {tried}; survived: {tried - sum(n for what, n in _told.items() if what.startswith('FAILED'))}"
        )
    for line in _fuzzed:
        write(line)
