# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Each rule complains of what it is there for. When one of these fails, the checker is broken, not the project."""

from __future__ import annotations

import ast

import house_rules
import pytest
import yaml


def parsed(source):
    return ast.parse(source)


def complaints(rule, source, *arguments):
    return rule(parsed(source), *arguments)


@pytest.mark.parametrize(
    ("rule", "bad", "good"),
    [
        ("engine_imports", "import ansible.module_utils.basic", "import os.path, sqlite3"),
        ("engine_imports", "def f():\n    from yaml import load", "from . import errors\nfrom ..files import copy"),
        (
            "engine_imports",
            "from ansible_collections.digitalme.backup.plugins import x",
            "from compression import zstd",
        ),
        ("time_read", "import time", "from . import clock\nclock.now()"),
        ("time_read", "def f():\n    from time import sleep", "clock.sleep(1)"),
        ("time_read", "import datetime\ndatetime.datetime.now()", "import datetime\ndatetime.datetime(2026, 1, 1)"),
        ("time_read", "import datetime as d\nd.date.today()", "import datetime as d\nd.timedelta(1)"),
        ("time_read", "from datetime import datetime", "import datetime"),
        ("answers", "def f(module):\n    module.fail_json(msg='x')", "raise errors.UsageError('x')"),
        ("answers", "exit_json(changed=True)", "module.warn('x')"),
        ("swallowed", "try:\n    f()\nexcept Exception:\n    pass", "try:\n    f()\nexcept OSError:\n    pass"),
        ("swallowed", "try:\n    f()\nexcept:\n    x = 1", "try:\n    f()\nexcept BaseException:\n    g()\n    raise"),
        ("disk_touched", "import os\ndef f():\n    os.replace(a, b)", "files.replace(a, b)\nos.stat(a)"),
        ("disk_touched", "os.fsync(3)", "os.close(3)"),
        ("disk_touched", "open(path, 'wb').write(b'')", "open(path, 'rb').read()\nopen(path)"),
        ("disk_touched", "open(path, mode='a')", "open(path, encoding='ascii')"),
        ("disk_touched", "open(path, how)", "open(path, mode='r')"),
        ("disk_touched", "os.open(p, os.O_RDWR | os.O_CREAT)", "os.open(p, os.O_RDWR)"),
        ("disk_touched", "shutil.copyfile(a, b)", "shutil.disk_usage(a)"),
        ("disk_touched", "tempfile.mkdtemp()", "text.replace(a, b)"),
        ("disk_touched", "pathlib.Path(p).write_text('')", "os.path.join(a, b)"),
    ],
)
def test_rule_tells_bad_from_good(rule, bad, good):
    check = getattr(house_rules, rule)
    assert len(complaints(check, bad)) == 1
    assert complaints(check, good) == []


def test_disk_rule_names_the_innermost_function():
    source = "def outer():\n    def inner():\n        os.unlink(a)\n    return inner"
    assert complaints(house_rules.disk_touched, source) == [("inner", "os.unlink")]


def test_rooms_are_found_from_where_they_are_imported():
    source = "from . import swap\nfrom .. import errors, operations\nfrom .journal import Journal\nimport os"
    used = house_rules.rooms_used(parsed(source), ("restore",))
    assert {("restore", "swap"), ("errors",), ("operations",), ("restore", "journal")} <= used
    assert house_rules.door_imports(used) == ["imports operations"]
    assert house_rules.door_imports({("errors",), ("restore", "operations_of_sqlite")}) == []
    with pytest.raises(ValueError, match="out of the engine"):
        house_rules.rooms_used(parsed("from .. import adapter"), ())


def test_circle_of_imports_is_found():
    assert house_rules.cycles({"a": {"b"}, "b": {"c"}, "c": {"a"}}) == ["a -> b -> c -> a"]
    assert house_rules.cycles({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_long_function_is_found_without_its_documentation():
    body = "\n".join(f"    x = {number}" for number in range(5))
    assert house_rules.long_functions(parsed(f"def f():\n{body}"), 6) == []
    assert "f has 6 lines" in house_rules.long_functions(parsed(f"def f():\n{body}"), 5)[0]
    assert house_rules.long_functions(parsed(f'def f():\n    """a\n\n    b\n    """\n{body}'), 6) == []


THIN = """
from ansible_collections.digitalme.backup.plugins.module_utils import adapter
def main():
    adapter.run({}, "info")
"""


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (("def main", "def helper():\n    pass\ndef main"), "helper is logic"),
        (('adapter.run({}, "info")', "pass"), "calls the adapter 0 times"),
        (("def main", "import sqlite3\ndef main"), "imports sqlite3"),
        (("import adapter", "import engine"), "('engine',)"),
        (("def main", "for x in ():\n    pass\ndef main"), "logic at the module's level"),
        (('    adapter.run({}, "info")', "    x = 1\n" * 10 + '    adapter.run({}, "info")'), "lines of code"),
    ],
)
def test_thick_module_is_found(change, complaint):
    assert house_rules.thick_module(parsed(THIN), 10) == []
    assert complaint in "; ".join(house_rules.thick_module(parsed(THIN.replace(*change)), 10))


SPEC = {
    "a": {"type": "int", "default": 1},
    "b": {"type": "list", "elements": "dict", "options": {"c": {"type": "str", "required": True}}},
    "d": {"choices": ["x", "y"]},
}
OPTIONS = {
    "a": {"type": "int", "default": 1},
    "b": {"type": "list", "elements": "dict", "suboptions": {"c": {"type": "str", "required": True}}},
    "d": {"type": "str", "choices": ["x", "y"]},
}


@pytest.mark.parametrize(
    "wrong",
    [
        {"a": {"type": "int", "default": 2}},
        {"a": {"type": "int", "default": True}},
        {"a": {"type": "float", "default": 1}},
        {"a": {"type": "int"}},
        {"d": {"choices": ["x"]}},
        {"d": {"choices": ["x", "y"], "required": True}},
        {"b": {**OPTIONS["b"], "elements": "str"}},
        {"b": {**OPTIONS["b"], "suboptions": {"c": {"type": "str"}}}},
        {"b": {**OPTIONS["b"], "suboptions": {}}},
        {"e": {"type": "str"}},
    ],
)
def test_documentation_that_differs_is_found(wrong):
    assert house_rules.spec_against_documentation(SPEC, OPTIONS) == []
    assert len(house_rules.spec_against_documentation(SPEC, {**OPTIONS, **wrong})) == 1


def test_option_that_is_not_documented_is_found():
    assert house_rules.spec_against_documentation({**SPEC, "e": {}}, OPTIONS) == ["e: not documented"]


def test_required_and_defaulted_is_found_also_inside():
    assert house_rules.required_and_defaulted(SPEC) == []
    inner = {"c": {"required": True, "default": 1}}
    assert house_rules.required_and_defaulted({"b": {"options": inner}, **inner}) == ["c", "b.c"]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("How many.", "does not say"),
        ("Default C(8), or what the host's configuration says.", "says that the default is 8, and it is 7"),
        ("Default C(7), or what the host's configuration says.", None),
    ],
)
def test_configured_default_that_differs_is_found(text, complaint):
    found = house_rules.configured_defaults({"days": {"description": [text]}}, {"days": {}}, {"days": 7})
    assert found == [] if complaint is None else complaint in found[0]


def test_default_that_no_configuration_has_is_found():
    options = {"days": {"description": "Default C(7), or what the host's configuration says."}}
    assert house_rules.configured_defaults(options, {"days": {}}, {})
    assert house_rules.configured_defaults(options, {"days": {"default": 7}}, {"days": 7})


FLAGS = {"keep_days": (("--keep-days",), None, None), "verify": (("--verify",), ("full", "none"), None)}
FLAG_SPEC = {"keep_days": {"type": "int"}, "verify": {"choices": ["none", "full"]}, "test": {"type": "bool"}}


@pytest.mark.parametrize(
    "wrong",
    [
        {"keep_days": (("--days",), None, None)},
        {"keep_days": (("--keep-days",), None, 7)},
        {"verify": (("--verify",), ("full",), None)},
        {"more": (("--more",), None, None)},
        {"test": (("--test",), None, None)},
    ],
)
def test_flag_that_differs_is_found(wrong):
    assert house_rules.flags_against_spec(FLAGS, FLAG_SPEC, {"test": "why"}) == []
    assert len(house_rules.flags_against_spec({**FLAGS, **wrong}, FLAG_SPEC, {"test": "why"})) == 1


def test_flag_that_is_missing_is_found():
    assert house_rules.flags_against_spec(FLAGS, FLAG_SPEC, {}) == ["test: the command has no flag"]


TASKS = """
- block:
    - some.module: {}
      register: found
      loop: [1]
      loop_control: {loop_var: item_of_mine}
  vars: {inner: 1}
- ansible.builtin.set_fact: {fact: 1, cacheable: true}
"""


def test_names_of_a_playbook_are_found_and_judged():
    names = house_rules.names_defined(yaml.safe_load(TASKS))
    assert names == {"found", "item_of_mine", "inner", "fact"}
    assert house_rules.badly_named({*names, "digitalme_backup_x", "__digitalme_backup_y", "ansible_user"}) == sorted(
        names
    )
    assert house_rules.badly_named({"digitalme_backup_x"}, internal_only=True) == ["digitalme_backup_x"]


@pytest.mark.parametrize("soft", ["ignore_errors: true", "failed_when: false", "ignore_unreachable: true"])
def test_softened_failure_is_found(soft):
    document = yaml.safe_load(f"- tasks:\n    - block:\n        - some.module: {{}}\n          {soft}\n")
    assert len(house_rules.softened(document)) == 1
    assert house_rules.softened(yaml.safe_load(TASKS)) == []
