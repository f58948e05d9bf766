#!/usr/bin/env bash
# ansible-test sanity, without network. It refuses to run but from a real path .../ansible_collections/NAMESPACE/NAME,
# so it gets a copy of what git knows. The tests and tools are no part of a plugin; ruff looks after them.
set -euo pipefail
cd "$(dirname "$0")/.."

environment="$PWD/.venv/controller"
target="$PWD/build/sanity/ansible_collections/digitalme/backup"
rm -rf "$target"
mkdir -p "$target"
git ls-files -z --cached --others --exclude-standard -- . ":!tests" ":!tools" ":!bench" | tar --null --ignore-failed-read -cf - -T - | tar -xf - -C "$target"
git -C "$target" init -q
# Its own output is no part of the collection; ansible-core 2.19 would look at that, too.
echo tests/output/ >>"$target/.git/info/exclude"
git -C "$target" add -A

# It installs pip into its own environments with a get-pip.py that it downloads; the Python it runs on has one already.
cache="$HOME/.ansible/test/cache"
mkdir -p "$cache"
for name in get_pip_25_2.py get_pip_24_2.py; do
    if [ ! -e "$cache/$name" ]; then
        cat >"$cache/$name" <<'PY'
import subprocess
import sys

sys.exit(subprocess.call([sys.executable, "-m", "ensurepip", "--upgrade", "--default-pip"]))
PY
    fi
done

# It looks for each release as pythonX.Y on PATH, where a version manager's stand-ins would only fail.
pythons="$PWD/build/sanity/pythons"
mkdir -p "$pythons"
tools/interpreters.sh managed | while read -r python; do
    ln -sf "$python" "$pythons/python$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')"
done

export PATH="$environment/bin:$pythons:$PATH"
cd "$target"
ansible-test sanity --venv --color no "$@"
