# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The syntax of the PowerShell scripts. Nothing here can run them; tests/cli holds them to the words of the others."""

from __future__ import annotations

import pathlib

import pytest
import tree_sitter
import tree_sitter_powershell

SCRIPTS = sorted((pathlib.Path(__file__).resolve().parents[2] / "scripts").glob("*.ps1"))


def has_error(text):
    parser = tree_sitter.Parser(tree_sitter.Language(tree_sitter_powershell.language()))
    return parser.parse(text.encode()).root_node.has_error


def test_both_scripts_are_there():
    assert [path.name for path in SCRIPTS] == ["Restore-Database.ps1", "backup-database.ps1"]


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_script_is_powershell(path):
    text = path.read_text(encoding="utf-8")
    assert not has_error(text)
    # The checker is held to what it is there for.
    for part in ("}\n", "param(", "'"):
        assert has_error(text.replace(part, "", 1)), part
