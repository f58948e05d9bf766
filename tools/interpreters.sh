#!/usr/bin/env bash
# The Pythons of this machine, one path a line.
#   interpreters.sh controller   the newest from 3.12 on, for ansible-core 2.21; else python3, if it is 3.11 (gets 2.19)
#   interpreters.sh managed      one of each release from 3.9 to 3.14, for the engine's unit tests
set -euo pipefail

find_release() {
    local candidate
    # On PATH lie a version manager's stand-ins, too: what counts is what starts, and has venv and sqlite3.
    for candidate in "${PYENV_ROOT:-$HOME/.pyenv}"/versions/"$1".*/bin/python "python$1"; do
        if "$candidate" -c 'import ensurepip, sqlite3, sys, venv; print(sys.executable)' 2>/dev/null; then
            return
        fi
    done
}

case "${1:-}" in
controller)
    for release in 3.14 3.13 3.12; do
        found=$(find_release "$release")
        if [ -n "$found" ]; then
            echo "$found"
            exit 0
        fi
    done
    if ! python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
        echo "ansible-core needs Python 3.11 or newer: install one, and venv and sqlite3 with it" >&2
        exit 1
    fi
    command -v python3
    ;;
managed)
    for release in 3.9 3.10 3.11 3.12 3.13 3.14; do
        find_release "$release"
    done
    ;;
*)
    echo "usage: interpreters.sh controller|managed" >&2
    exit 2
    ;;
esac
