#!/usr/bin/env bash
# The engine's tests on every Python from 3.9 to 3.14 that the machine has, each in an environment of its own.
# The sweeps over every call of an operation run on the oldest and the newest: what they look for is not in a release.
#   unit.sh TESTS...
# As many run at a time as there are cores; what each says goes to build/unit/pyVERSION.log.
set -euo pipefail
cd "$(dirname "$0")/.."

test_with() {
    local python=$1 lock=requirements-test.txt release environment stamp
    shift
    release=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    environment=".venv/py$release"
    stamp="$environment/.test-$(sha256sum "$lock" | cut -c1-16)"
    if [ ! -e "$stamp" ] || [ ! -x "$environment/bin/python" ]; then
        "$python" -m venv --clear "$environment"
        "$environment/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r "$lock"
        touch "$stamp"
    fi
    case "$SWEEPERS" in
    *"[$python]"*) set -- "$@" -m "sweep or not sweep" ;;
    *) set -- "$@" -m "not sweep" ;;
    esac
    tools/run_tests.sh "build/unit/py$release.log" "$environment/bin/python" "$@"
}

if [ "${1:?usage: unit.sh TESTS...}" = --with ]; then
    shift
    test_with "$@"
    exit
fi

pythons=$(tools/interpreters.sh managed)
if [ -z "$pythons" ]; then
    echo "No Python from 3.9 to 3.14 with venv and sqlite3 was found: on Debian, install python3-venv" >&2
    exit 1
fi
SWEEPERS="[$(head -n 1 <<<"$pythons")][$(tail -n 1 <<<"$pythons")]"
export SWEEPERS
xargs -d '\n' -P "$(nproc)" -I '{}' tools/unit.sh --with '{}' "$@" <<<"$pythons"
