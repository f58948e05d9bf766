#!/usr/bin/env bash
# The engine's tests on every Python from 3.9 to 3.14 that the machine has, each in an environment of its own.
set -euo pipefail
cd "$(dirname "$0")/.."

lock=requirements-test.txt
stamp_name=".test-$(sha256sum "$lock" | cut -c1-16)"
tools/interpreters.sh managed | while read -r python; do
    release=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    environment=".venv/py$release"
    if [ ! -e "$environment/$stamp_name" ]; then
        "$python" -m venv --clear "$environment"
        "$environment/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r "$lock"
        touch "$environment/$stamp_name"
    fi
    echo "== Python $release: $*"
    "$environment/bin/python" -m pytest "$@" </dev/null
done
