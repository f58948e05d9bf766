#!/usr/bin/env bash
# Install the products that bench/run.py compares with: those of PyPI into build/bench-peers, those of Debian as root.
# Who cannot be installed here is left out by name in the tables.
set -euo pipefail
cd "$(dirname "$0")/.."

place=${BENCH_PEERS:-build/bench-peers}
if [ ! -x "$place/bin/borgmatic" ] || [ ! -x "$place/bin/litestream" ]; then
    python3 -m venv --clear "$place"
    "$place/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r bench/requirements.txt
fi

missing=()
command -v restic >/dev/null || missing+=(restic)
command -v borg >/dev/null || missing+=(borgbackup)
command -v zstd >/dev/null || missing+=(zstd)
PATH=$PATH:/usr/sbin command -v mkfs.xfs >/dev/null || missing+=(xfsprogs)
PATH=$PATH:/usr/sbin command -v mkfs.btrfs >/dev/null || missing+=(btrfs-progs)
if [ ${#missing[@]} -gt 0 ]; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${missing[@]}" >/dev/null
    else
        echo "Not installed, so left out: ${missing[*]}" >&2
    fi
fi
