#!/usr/bin/env bash
# The Pythons of this machine, one path a line.
#   interpreters.sh controller   the newest from 3.12 on, for ansible-core 2.21; else python3 (3.11 gets 2.19)
#   interpreters.sh managed      one of each release from 3.9 to 3.14, for the engine's unit tests
set -euo pipefail

find_release() {
    local candidate
    for candidate in "$HOME"/.pyenv/versions/"$1".*/bin/python /usr/local/bin/python"$1" /usr/bin/python"$1"; do
        # A Python without venv or sqlite3 cannot run the tests.
        if [ -x "$candidate" ] && "$candidate" -c 'import ensurepip, sqlite3, venv' 2>/dev/null; then
            echo "$candidate"
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
