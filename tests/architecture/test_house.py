# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The project keeps the rules of its house; house_rules.py has the rules."""

from __future__ import annotations

import argparse
import ast
import collections
import importlib.metadata
import importlib.util
import json
import os
import pathlib
import subprocess
import sys

import house_rules
import pytest
import yaml
from engine import arguments as command_line
from engine import errors, settings

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PLUGINS = ROOT / "plugins"
ENGINE = PLUGINS / "module_utils" / "engine"
ADAPTER = PLUGINS / "module_utils" / "adapter.py"
ROOMS = sorted(ENGINE.rglob("*.py"))
MODULE_FILES = sorted((PLUGINS / "modules").glob("*.py"))
MODULES = [path.stem for path in MODULE_FILES]
YAML_FILES = sorted(path for place in ("roles", "playbooks") for path in (ROOT / place).rglob("*.yml"))

# Where a room touches the disk itself, and why files.py does not do it.
DISK_ALLOWED = {
    ("__main__.py", "_open_standard_streams", "open for writing (w)"): "what the caller has closed leads to /dev/null",
    ("backing.py", "_content_now", "tempfile.TemporaryDirectory"): "check mode's scratch copy may lie anywhere",
    ("copying.py", "move", "os.copy_file_range"): "it moves the bytes of files that are open",
    ("processes.py", "run_within", "tempfile.TemporaryFile"): "what a program says; it has no name on the disk",
    ("restore/rehearse.py", "_make_scratch", "tempfile.mkdtemp"): "a test of read-only media has its scratch elsewhere",
}
# Modules that know more than the adapter, and why.
THICK_ALLOWED = {"plugins/modules/backup_engine.py": "it carries the command line along, to install it"}
FUNCTION_LINES = 50
FILE_LINES = 350
MODULE_LINES = 60

EXIT_STATUS = {
    "failed": 1,
    "usage": 2,
    "config_invalid": 2,
    "name_invalid": 2,
    "backup_dir_invalid": 2,
    "database_not_found": 1,
    "database_not_a_file": 1,
    "database_empty": 1,
    "not_a_database": 1,
    "database_encrypted": 8,
    "database_corrupt": 1,
    "database_busy": 6,
    "in_use": 6,
    "busy": 6,
    "backup_not_found": 3,
    "backup_invalid": 3,
    "verification_failed": 3,
    "unverifiable": 8,
    "not_confirmed": 4,
    "other_database": 4,
    "retention_brake": 4,
    "no_space": 5,
    "rolled_back": 7,
    "restore_failed": 1,
    "permission_denied": 1,
    "read_only": 1,
    "io_error": 1,
    "audit_broken": 1,
    "unhealthy": 1,
    "run_failed": 1,
    "notification_failed": 1,
    "answer_lost": 1,
    "check_failed": 1,
    "time_limit": 1,
    "drill_failed": 1,
    "fault_missed": 1,
    "fault_not_run": 1,
    "gameday_failed": 1,
    "review_failed": 1,
}

# command: (module, {option that it has no flag for: why})
_TEST = "a restore test replaces nothing"
_INFO = "the command shows one backup; `list` has the filters"
COMMANDS = {
    "backup": ("sqlite_backup", {}),
    "restore": (
        "sqlite_restore",
        {"test": "it is a command of its own", "config_path": "it is --config, as everywhere"},
    ),
    "test": (
        "sqlite_restore",
        {
            "test": "it is this command",
            "config_path": "it is --config, as everywhere",
            **dict.fromkeys(("force", "pre_backup", "rollback", "strategy", "confirm"), _TEST),
            **dict.fromkeys(("other_database", "resume", "undo"), _TEST),
        },
    ),
    "list": ("backup_info", {"backup": "`info` shows one"}),
    "info": ("backup_info", dict.fromkeys(("status", "kind", "since", "until", "limit"), _INFO)),
    "validate": ("backup_validate", {}),
    "retention": ("backup_retention", {}),
    "health": ("backup_health", {"fail_on": "the exit status tells the status"}),
    "run": ("backup_run", {"config_path": "it is --config, as everywhere"}),
    "discover": ("sqlite_discover", {}),
    "review": (
        "backup_review",
        {"config_path": "it is --config, as everywhere", "parts": "it is the controller's"},
    ),
    "drill": (
        "backup_drill",
        {
            "config_path": "it is --config, as everywhere",
            "databases": "a command works on what is configured",
            **dict.fromkeys(("parts", "chosen", "lacking"), "it is the controller's"),
        },
    ),
    "gameday": (
        "backup_gameday",
        {
            "config_path": "it is --config, as everywhere",
            "databases": "a command works on what is configured",
            "parts": "it is the controller's",
        },
    ),
}
# Flags that are not the option with dashes, and why.
OTHER_FLAGS = {
    "assertions": ("--assert", "one at a time"),
    "annotations": ("--annotation", "one at a time"),
    "pre_backup": ("--no-pre-backup", "a flag can only switch it off"),
    "rollback": ("--no-rollback", "a flag can only switch it off"),
    "names": ("--name", "one at a time"),
    "parts": ("--only", "one at a time"),
    "look_at": ("--only", "one at a time"),
    "excludes": ("--exclude", "one at a time"),
}
WITHOUT_MODULE = {"gate", "token", "statistics", "delete", "audit", "scheduler", "metrics", "notify"}
# Flags that say only how the answer looks.
FORM = {"nagios"}


def parse(path):
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def short(path):
    return str(path.relative_to(ROOT))


def by_file(paths, rule):
    """{file: what the rule finds there}, of the files in which it finds something."""
    found = {short(path): rule(parse(path)) for path in paths}
    return {path: lines for path, lines in found.items() if lines}


# --- the arrows ------------------------------------------------------------------------------------------------------


def test_engine_imports_the_standard_library_and_itself():
    assert len(ROOMS) > 20
    assert by_file(ROOMS, house_rules.engine_imports) == {}


def room_of(path):
    """("restore", "plan") for restore/plan.py, ("restore",) for what stands in restore/__init__.py."""
    parts = path.relative_to(ENGINE).with_suffix("").parts
    return parts[:-1] if len(parts) > 1 and parts[-1] == "__init__" else parts


def graph():
    """{room: rooms it imports}, at its top or inside a function."""
    known = {room_of(path) for path in ROOMS}
    edges = {}
    for path in ROOMS:
        parts = room_of(path)
        package = path.relative_to(ENGINE).parts[:-1]
        # A sibling is imported through the package, which is no arrow to the package's own door.
        used = house_rules.rooms_used(parse(path), package) & known - {parts, package}
        edges[".".join(parts)] = {".".join(room) for room in used}
    return edges


def test_rooms_do_not_go_out_through_the_door():
    edges = graph()
    wrong = {
        room: house_rules.door_imports({tuple(other.split(".")) for other in used})
        for room, used in edges.items()
        if room != "__main__" and room.partition(".")[0] != "operations"
    }
    assert {room: lines for room, lines in wrong.items() if lines} == {}
    assert any(other.partition(".")[0] == "operations" for other in edges["__main__"])


def test_rooms_import_each_other_in_one_direction():
    edges = graph()
    assert sum(len(used) for used in edges.values()) > 50, "the graph is not read"
    assert house_rules.cycles(edges) == []


def test_adapter_reaches_the_engine_through_its_door():
    used = [
        names for _line, level, module, names in house_rules.imports(parse(ADAPTER)) if level and module == "engine"
    ]
    assert used == [("errors", "operations")]


# --- one home for each thing -----------------------------------------------------------------------------------------


def test_adapter_alone_ends_a_module():
    others = [path for path in PLUGINS.rglob("*.py") if path != ADAPTER]
    assert by_file(others, house_rules.answers) == {}
    assert len(house_rules.answers(parse(ADAPTER))) == 4


def test_files_alone_touches_the_disk():
    found = {
        (str(path.relative_to(ENGINE)), function, what)
        for path in ROOMS
        if path.name not in ("files.py", "ownership.py")
        for function, what in house_rules.disk_touched(parse(path))
    }
    assert found == set(DISK_ALLOWED)
    assert len(house_rules.disk_touched(parse(ENGINE / "files.py"))) > 10


def test_clock_alone_knows_the_time():
    others = [path for path in ROOMS if path.name != "clock.py"]
    assert by_file(others, house_rules.time_read) == {}


def test_no_failure_is_swallowed():
    assert by_file(PLUGINS.rglob("*.py"), house_rules.swallowed) == {}


# --- small parts, each with its documentation ------------------------------------------------------------------------


def test_functions_are_short():
    assert by_file(PLUGINS.rglob("*.py"), lambda tree: house_rules.long_functions(tree, FUNCTION_LINES)) == {}


def test_files_are_short():
    lengths = {short(path): len(path.read_text(encoding="utf-8").splitlines()) for path in PLUGINS.rglob("*.py")}
    assert {path: lines for path, lines in lengths.items() if lines > FILE_LINES} == {}


def test_every_room_says_what_it_is():
    assert [short(path) for path in ROOMS if not ast.get_docstring(parse(path))] == []
    for private in (ADAPTER, ENGINE / "__init__.py", ENGINE / "restore" / "__init__.py"):
        assert "private to the collection" in ast.get_docstring(parse(private)).lower()


def test_modules_are_thin():
    found = by_file(MODULE_FILES, lambda tree: house_rules.thick_module(tree, MODULE_LINES))
    assert list(found) == list(THICK_ALLOWED)
    assert [len(lines) for lines in found.values()] == [1]


# --- specs, documentation, flags and configuration say the same ------------------------------------------------------


@pytest.fixture(scope="module")
def documented(tmp_path_factory):
    """{module: its documentation}, with the fragments merged, as ansible-doc has it."""
    place = tmp_path_factory.mktemp("ansible")
    (place / "ansible.cfg").write_text("[defaults]\n", encoding="ascii")
    settings = {"ANSIBLE_HOME": str(place), "ANSIBLE_CONFIG": str(place / "ansible.cfg")}
    settings["ANSIBLE_COLLECTIONS_PATH"] = str(place / "collections")
    command = [str(pathlib.Path(sys.executable).parent / "ansible-doc"), "--json", "--type", "module"]
    command += [f"digitalme.backup.{name}" for name in MODULES]
    done = subprocess.run(command, env={**os.environ, **settings}, capture_output=True, text=True, check=True)
    return {name.rpartition(".")[2]: page["doc"] for name, page in json.loads(done.stdout).items()}


@pytest.fixture(scope="module")
def specs():
    """{module: its argument spec}, as the module hands it to the adapter."""
    from ansible_collections.digitalme.backup.plugins.module_utils import adapter

    found = {}
    with pytest.MonkeyPatch.context() as patch:
        for path in MODULE_FILES:
            for door in ("run", "controller_only"):
                patch.setattr(adapter, door, lambda spec, *_args, _name=path.stem, **_kw: found.update({_name: spec}))
            loader = importlib.util.spec_from_file_location(f"module_{path.stem}", path)
            module = importlib.util.module_from_spec(loader)
            loader.loader.exec_module(module)
            module.main()
    return found


def test_collection_has_six_modules(specs):
    assert sorted(specs) == MODULES
    assert len(MODULES) >= 6


@pytest.mark.parametrize("name", MODULES)
def test_spec_equals_documentation(name, specs, documented):
    assert house_rules.spec_against_documentation(specs[name], documented[name]["options"]) == []
    assert house_rules.required_and_defaulted(specs[name]) == []


def refused(spec, arguments):
    """What Ansible itself would say against a call."""
    from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

    return ArgumentSpecValidator(spec).validate(arguments).error_messages


@pytest.mark.parametrize("path", MODULE_FILES, ids=lambda path: path.stem)
def test_examples_are_calls_that_the_spec_takes(path, specs):
    source = path.read_text(encoding="utf-8").partition('EXAMPLES = r"""')[2].partition('"""')[0]
    used = [task[f"digitalme.backup.{path.stem}"] for task in yaml.safe_load(source) if f".{path.stem}" in str(task)]
    assert used
    assert [refused(specs[path.stem], arguments) for arguments in used] == [[]] * len(used)
    assert refused(specs[path.stem], {**used[0], "no_such_option": 1})


@pytest.mark.parametrize("name", MODULES)
def test_documented_defaults_are_those_of_the_configuration(name, specs, documented):
    group = {"backup_retention": "retention", "backup_health": "health"}.get(name)
    known = {key: value for key, value in settings.DEFAULTS.items() if not isinstance(value, (dict, list))}
    known = {**known, **(settings.DEFAULTS[group] if group else {})}
    assert house_rules.configured_defaults(documented[name]["options"], specs[name], known) == []


def test_every_module_is_in_the_action_group(documented):
    runtime = yaml.safe_load((ROOT / "meta" / "runtime.yml").read_text(encoding="utf-8"))
    assert sorted(runtime["action_groups"]["backup"]) == MODULES
    for page in documented.values():
        assert page["attributes"]["action_group"]["membership"] == ["digitalme.backup.backup"]
        assert page["attributes"]["check_mode"]["support"] == "full"


def commands():
    """{command: {option: (flags, choices, default)}} of the command line."""
    top = command_line.parser()
    groups = [action for action in top._actions if isinstance(action, argparse._SubParsersAction)]
    found = {}
    for name, command in groups[0].choices.items():
        aside = {"help", "json", "config", "check", *FORM}
        actions = [action for action in command._actions if action.dest not in aside]
        found[name] = {
            action.dest: (tuple(action.option_strings), action.choices, command.get_default(action.dest))
            for action in actions
        }
    return found


@pytest.mark.parametrize("command", COMMANDS)
def test_flags_are_the_options_of_the_module(command, specs):
    module, left_out = COMMANDS[command]
    flags = commands()[command]
    for option, (flag, _why) in OTHER_FLAGS.items():
        if option in flags:
            strings, choices, default = flags[option]
            assert strings == (flag,)
            flags[option] = (("--" + option.replace("_", "-"),), choices, default)
    if command == "test":
        left_out = {**left_out, "database": "is taken for the name, and may be given"}
        flags.pop("database")
    if command == "info":
        flags["backup"] = (*flags["backup"][:2], None)  # One backup is shown, so there is a default.
    spec = specs[module]
    if command == "health":
        spec = {**spec, "verify": {**spec["verify"], "default": None}}  # Not given is none, as its help text says.
    assert house_rules.flags_against_spec(flags, spec, left_out) == []


def test_every_command_is_looked_at():
    assert set(commands()) == set(COMMANDS) | WITHOUT_MODULE


def test_every_error_code_has_its_exit_status():
    assert {code: kind.exit_code for code, kind in errors.CODES.items()} == EXIT_STATUS
    assert {kind.exit_code for kind in errors.CODES.values()} == set(range(1, 9))


def test_every_error_has_a_code_of_its_own():
    def kinds(root):
        yield root
        for child in root.__subclasses__():
            yield from kinds(child)

    found = list(kinds(errors.BackupError))
    assert len({kind.error_code for kind in found}) == len(found) == len(errors.CODES)
    assert [kind.__name__ for kind in found if not kind.hint.endswith(".")] == []


# --- roles and playbooks ---------------------------------------------------------------------------------------------


def load(path):
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def test_role_variables_carry_the_prefix():
    wrong = {}
    for path in YAML_FILES:
        document, place = load(path), path.parent.name
        if place in ("defaults", "vars"):
            names = set(document or {})
        elif path.name == "argument_specs.yml":
            names = {name for entry in document["argument_specs"].values() for name in entry.get("options", {})}
        else:
            names = house_rules.names_defined(document)
        wrong[short(path)] = house_rules.badly_named(names, internal_only=place in ("vars", "tasks"))
    assert {path: names for path, names in wrong.items() if names} == {}
    assert any(house_rules.names_defined(load(path)) for path in YAML_FILES)


def test_entry_points_are_named_so_that_their_arguments_are_checked():
    """Ansible looks for the argument spec by what stands in ``tasks_from``: with an extension it finds none."""
    wrong = []
    for path in YAML_FILES:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            _, found, entry = line.partition("tasks_from: ")
            role = load(ROOT / "roles" / _role_above(path, number) / "meta" / "argument_specs.yml") if found else None
            if found and entry.partition(".")[0] in role["argument_specs"] and "." in entry:
                wrong.append(f"{short(path)}:{number}")
    assert wrong == []


def _role_above(path, number):
    lines = path.read_text(encoding="utf-8").splitlines()[:number]
    return next(line for line in reversed(lines) if "name: digitalme.backup." in line).rpartition(".")[2]


# Plays that go on without a host that cannot be reached: the play after it names that host, and fails it.
FLEET_PLAYS = {
    **{
        f"playbooks/{name}.yml": ["/0: ignore_unreachable"]
        for name in ("backup", "fetch", "health", "push", "retention")
    },
    **{
        f"playbooks/{name}.yml": ["/1: ignore_unreachable"]
        for name in (
            "drill",
            "gameday",
            "maintenance_daily",
            "maintenance_weekly",
            "maintenance_monthly",
            "maintenance_quarterly",
        )
    },
}


def test_playbooks_let_no_failure_pass():
    wrong = {short(path): house_rules.softened(load(path)) for path in YAML_FILES}
    assert {path: lines for path, lines in wrong.items() if lines} == FLEET_PLAYS
    for path in FLEET_PLAYS:
        last = str(load(ROOT / path)[-1])
        assert "report" in last or "record" in last, path


def test_list_of_what_cannot_hold_on_windows_names_tests_that_are_there():
    unit = ROOT / "tests" / "unit"
    listed = [
        line.strip()
        for line in (ROOT / "tests" / "windows" / "expected.txt").read_text(encoding="utf-8").splitlines()
        if line.startswith("  ")
    ]
    assert len(listed) > 100
    for row in listed:
        file, _, test = row.partition(" *")[0].partition("::")
        text = (unit / file).read_text(encoding="utf-8")
        assert f"def {test.partition('[')[0]}(" in text or row == f"{file} *", row


def test_helpers_of_tests_have_names_of_their_own():
    """Their directories are put on the path: of two with one name a run of both would import the first twice.

    One with the name of a library would be imported in its place by whatever runs after it.
    """
    counts = collections.Counter(
        path.name
        for path in (ROOT / "tests").rglob("*.py")
        if not path.name.startswith(("test_", "conftest.", "__init__."))
    )
    assert [name for name, count in counts.items() if count > 1] == []
    taken = {*sys.stdlib_module_names, *importlib.metadata.packages_distributions()}
    assert sorted(taken.intersection(name.removesuffix(".py") for name in counts)) == []
