# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The rules of the house as functions: each takes a parsed source (or data) and returns what is wrong, as lines.

test_house.py applies them to the project, test_house_rules.py shows that each one complains of what it is there for.
"""

from __future__ import annotations

import ast
import re
import sys

import yaml

# Newer than the oldest Python that may read this list; Python 3.14's own package.
STANDARD_LIBRARY = sys.stdlib_module_names | {"compression"}


def imports(tree):
    """(line, level, module, names) of every import, wherever it stands."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, 0, alias.name, ()
        elif isinstance(node, ast.ImportFrom):
            yield node.lineno, node.level, node.module or "", tuple(alias.name for alias in node.names)


def calls(tree):
    """(line, dotted name, call) of every call whose function is a name or an attribute of names."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = dotted(node.func)
            if name:
                yield node.lineno, name, node


def dotted(node):
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if isinstance(node, ast.Name):
        parts.append(node.id)
    elif parts:
        parts.append("?")
    return ".".join(reversed(parts))


def functions(tree):
    return [node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]


# --- who may import whom ---------------------------------------------------------------------------------------------


def engine_imports(tree):
    """The engine imports the standard library, and itself relatively; so nothing of Ansible either."""
    wrong = []
    for line, level, module, _names in imports(tree):
        if level == 0 and module.partition(".")[0] not in STANDARD_LIBRARY:
            wrong.append(f"line {line}: imports {module}, which is not of the standard library")
    return wrong


def rooms_used(tree, package=()):
    """The engine's rooms that a room imports, as paths such as ("restore", "plan"); ``package`` is where it lies."""
    found = set()
    for line, level, module, names in imports(tree):
        if level == 0:
            continue
        if level > len(package) + 1:
            raise ValueError(f"line {line}: leads out of the engine")
        base = tuple(package[: len(package) + 1 - level]) + tuple(part for part in module.split(".") if part)
        found |= {base} if base else set()
        found |= {(*base, name) for name in names}
    return found


def door_imports(used):
    """Nobody behind the door goes out through it: no room imports the operations or the command line."""
    return [f"imports {room[0]}" for room in sorted(used) if room[0] in ("operations", "__main__")]


def cycles(graph):
    """Circles in {room: rooms it imports}, each as a line."""
    found, done = [], set()

    def follow(room, path):
        if room in path:
            found.append(" -> ".join([*path[path.index(room) :], room]))
            return
        if room in done:
            return
        for other in sorted(graph.get(room, ())):
            follow(other, [*path, room])
        done.add(room)

    for room in sorted(graph):
        follow(room, [])
    return found


# --- one place for each thing ----------------------------------------------------------------------------------------

_DISK_OS = (
    *(
        "rename",
        "renames",
        "replace",
        "link",
        "symlink",
        "unlink",
        "remove",
        "rmdir",
        "removedirs",
        "mkdir",
        "makedirs",
    ),
    *("mkfifo", "mknod", "fsync", "fdatasync", "sync", "truncate", "ftruncate", "write", "pwrite", "writev", "pwritev"),
    *("chown", "lchown", "fchown", "chmod", "lchmod", "fchmod", "utime", "setxattr", "removexattr"),
    *("posix_fallocate", "sendfile", "copy_file_range"),
)
_DISK_OTHERS = ("shutil.move", "shutil.copy", "shutil.rmtree", "shutil.make_archive", "tempfile.", "pathlib.")
_WRITING_FLAGS = {"O_CREAT", "O_TRUNC", "O_APPEND"}


def disk_touched(tree):
    """(function, what) of every call that makes, renames, removes or writes a file, or makes one durable."""
    found = []
    for function, node in _by_function(tree):
        name = dotted(node.func)
        if name.startswith("os.") and name[3:] in _DISK_OS or name.startswith(_DISK_OTHERS):
            found.append((function, name))
        elif name == "os.open" and _names(node) & _WRITING_FLAGS:
            found.append((function, "os.open that creates"))
        elif name in ("open", "io.open", "os.fdopen") and set(_mode(node)) & set("wax+"):
            found.append((function, f"open for writing ({_mode(node)})"))
    return found


def _by_function(tree, name="module"):
    """(name of the innermost function, call) of every call."""
    for child in ast.iter_child_nodes(tree):
        inner = child.name if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)) else name
        if isinstance(child, ast.Call):
            yield name, child
        yield from _by_function(child, inner)


def _names(node):
    return {part.attr for part in ast.walk(node) if isinstance(part, ast.Attribute)}


def _mode(call):
    given = [keyword.value for keyword in call.keywords if keyword.arg == "mode"] + call.args[1:2]
    if not given:
        return "r"
    # A mode that is not written down may be any.
    return given[0].value if isinstance(given[0], ast.Constant) and isinstance(given[0].value, str) else "w"


def time_read(tree):
    """Reading the clock or waiting, which clock.py alone does."""
    wrong = []
    for line, level, module, names in imports(tree):
        if level == 0 and module == "time":
            wrong.append(f"line {line}: imports time")
        if level == 0 and module == "datetime" and names:
            wrong.append(f"line {line}: imports names out of datetime, which hides where the time is read")
    for line, name, _call in calls(tree):
        if name.rpartition(".")[2] in ("now", "utcnow", "today") and name != "clock.now":
            wrong.append(f"line {line}: reads the time by {name}")
    return wrong


def answers(tree):
    """Calls that end a module."""
    return [f"line {line}: {name}" for line, name, _call in calls(tree) if name.endswith(("fail_json", "exit_json"))]


def swallowed(tree):
    """Broad handlers that let nobody know: no raise in them, and the error is not kept to be raised later."""
    wrong = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler) and (
            node.type is None or dotted(node.type) in ("Exception", "BaseException")
        ):
            raises = any(isinstance(part, ast.Raise) for part in ast.walk(node))
            keeps = any(isinstance(part, ast.Assign) and dotted(part.value) == node.name for part in ast.walk(node))
            if not raises and not keeps:
                wrong.append(f"line {node.lineno}: catches everything and raises nothing")
    return wrong


# --- small parts -----------------------------------------------------------------------------------------------------


def long_functions(tree, limit):
    """Functions of more lines than ``limit``, their documentation not counted."""
    wrong = []
    for node in functions(tree):
        lines = node.end_lineno - node.lineno + 1
        if ast.get_docstring(node) is not None:
            lines -= node.body[0].end_lineno - node.body[0].lineno + 1
        if lines > limit:
            wrong.append(f"line {node.lineno}: {node.name} has {lines} lines, more than {limit}")
    return wrong


def thick_module(tree, limit):
    """A module is documentation, an argument spec and one call of the adapter."""
    wrong = []
    code = 0
    for node in tree.body:
        assigned = isinstance(node, ast.Assign) and dotted(node.targets[0])
        if assigned not in ("DOCUMENTATION", "EXAMPLES", "RETURN"):
            code += node.end_lineno - node.lineno + 1
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name != "main":
            wrong.append(f"line {node.lineno}: {node.name} is logic, which belongs into the engine")
        if isinstance(node, (ast.For, ast.While, ast.With, ast.Try)):
            wrong.append(f"line {node.lineno}: logic at the module's level")
    if code > limit:
        wrong.append(f"{code} lines of code, more than {limit}")
    runs = [name for _line, name, _call in calls(tree) if name in ("adapter.run", "adapter.controller_only")]
    if len(runs) != 1:
        wrong.append(f"calls the adapter {len(runs)} times instead of once")
    for line, level, module, names in imports(tree):
        allowed = module == "__future__" or (module.startswith("ansible_collections.") and names == ("adapter",))
        if level or not allowed:
            wrong.append(f"line {line}: imports {module} {names}")
    return wrong


# --- the spec and what is said of it ---------------------------------------------------------------------------------


def spec_against_documentation(spec, options, where=""):
    """An argument spec and the options of a documentation say the same, by value."""
    wrong = [f"{where}{name}: not documented" for name in spec if name not in options]
    wrong += [f"{where}{name}: documented, and not in the spec" for name in options if name not in spec]
    for name in sorted(set(spec) & set(options)):
        for key, fallback in (
            ("type", "str"),
            ("required", False),
            ("default", None),
            ("choices", None),
            ("elements", None),
        ):
            ours, told = spec[name].get(key, fallback), options[name].get(key, fallback)
            if ours != told or type(ours) is not type(told) and key == "default":
                wrong.append(f"{where}{name}: {key} is {ours!r} and is documented as {told!r}")
        inner, told = spec[name].get("options", {}), options[name].get("suboptions", {})
        wrong += spec_against_documentation(inner, told, f"{where}{name}.")
    return wrong


def required_and_defaulted(spec):
    wrong = [name for name, option in spec.items() if option.get("required") and "default" in option]
    for name, option in spec.items():
        wrong += [f"{name}.{inner}" for inner in required_and_defaulted(option.get("options", {}))]
    return wrong


_DEFAULT = re.compile(r"Default C\(([^)]*)\), or what the host's configuration says")


def configured_defaults(options, spec, known):
    """An option whose default comes from the configuration says so, with the value that ``known`` has for it."""
    wrong = []
    for name, option in options.items():
        described = option["description"]
        text = described if isinstance(described, str) else " ".join(described)
        said = _DEFAULT.search(text)
        if name in known and "default" not in spec[name]:
            if said is None:
                wrong.append(f"{name}: does not say that the default is {known[name]!r}")
            elif yaml.safe_load(said[1]) != known[name]:
                wrong.append(f"{name}: says that the default is {said[1]}, and it is {known[name]!r}")
        elif said is not None:
            wrong.append(f"{name}: names a default of the configuration, and there is none")
    return wrong


def flags_against_spec(flags, spec, left_out):
    """A command's flags are its module's options with dashes.

    ``flags``: {option: (flag strings, choices, default)}; ``left_out``: the options that this command has no flag for.
    """
    wrong = [f"{name}: the module has no such option" for name in flags if name not in spec]
    wrong += [f"{name}: the command has no flag" for name in spec if name not in flags and name not in left_out]
    wrong += [f"{name}: is left out, and has a flag" for name in left_out if name in flags]
    for name in sorted(set(flags) & set(spec)):
        strings, choices, default = flags[name]
        if strings and "--" + name.replace("_", "-") not in strings:
            wrong.append(f"{name}: the flag is {', '.join(strings)}")
        if sorted(choices or ()) != sorted(spec[name].get("choices") or ()):
            wrong.append(f"{name}: the choices are {choices} and {spec[name].get('choices')}")
        if (default or None) != (spec[name].get("default") or None):
            wrong.append(f"{name}: the default is {default!r} and {spec[name].get('default')!r}")
    return wrong


# --- roles and playbooks ---------------------------------------------------------------------------------------------

PUBLIC, INTERNAL = "digitalme_backup_", "__digitalme_backup_"


def names_defined(document):
    """Every variable that a YAML document of tasks or plays defines: vars, register, set_fact, loop_var."""
    found = set()
    if isinstance(document, list):
        for item in document:
            found |= names_defined(item)
    elif isinstance(document, dict):
        for key, value in document.items():
            if key in ("vars", "ansible.builtin.set_fact") and isinstance(value, dict):
                found |= set(value) - {"cacheable"}
            elif key in ("register", "loop_var", "index_var") and isinstance(value, str):
                found.add(value)
            found |= names_defined(value)
    return found


def badly_named(names, internal_only=False):
    """Names without the collection's prefix; Ansible's own may be set, too."""
    allowed = (INTERNAL,) if internal_only else (INTERNAL, PUBLIC)
    return sorted(name for name in names if not name.startswith((*allowed, "ansible_")))


def softened(document, path=""):
    """Failures that a playbook lets pass."""
    wrong = []
    if isinstance(document, list):
        for number, item in enumerate(document):
            wrong += softened(item, f"{path}/{number}")
    elif isinstance(document, dict):
        for key, value in document.items():
            if key in ("ignore_errors", "ignore_unreachable") and value is not False:
                wrong.append(f"{path}: {key}")
            if key == "failed_when" and value in (False, "false"):
                wrong.append(f"{path}: failed_when: false")
            wrong += softened(value, f"{path}/{document.get('name', '') if key == 'block' else key}")
    return wrong
