#!/usr/bin/env bash
# Hosts with systemd for the tests, as podman containers on this machine (see molecule/README.md):
#   testhosts.sh setup                what Debian packages are missing (as root)
#   testhosts.sh image RELEASE...     the image localhost/digitalme-backup-host:RELEASE (bookworm, bullseye, trixie ...)
#   testhosts.sh python [RELEASE]     the image localhost/digitalme-backup-python:RELEASE: Python alone, without systemd
#   testhosts.sh podman ARGUMENT...   podman with the configuration that it needs here
# Root filesystems are kept in ~/.cache/digitalme-backup/testhosts by the hash of their recipe; images that are there
# already are left alone.
set -euo pipefail

tools=$(dirname "$(realpath "$0")")
recipe="$tools/testhosts-rootfs.sh"
cache="${XDG_CACHE_HOME:-$HOME/.cache}/digitalme-backup/testhosts"
export CONTAINERS_CONF="$cache/containers.conf"

# program:package, for what podman finds by itself as well.
NEEDED=(
    podman:podman runc:runc iptables:iptables mmdebstrap:mmdebstrap zstd:zstd ssh-keygen:openssh-client
    /usr/lib/podman/netavark:netavark /usr/lib/podman/aardvark-dns:aardvark-dns
)

setup() {
    local pair missing=()
    for pair in "${NEEDED[@]}"; do
        command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        echo "The test hosts need these Debian packages, installed by root: ${missing[*]}" >&2
        exit 1
    fi
    echo "Installing ${missing[*]} ..." >&2
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${missing[@]}" >/dev/null
}

# Without the limits: "setrlimit RLIMIT_NOFILE: Operation not permitted" inside another container; crun refuses the
# mixed hierarchy of control groups that such machines have.
configure() {
    mkdir -p "$cache"
    cat >"$CONTAINERS_CONF.new.$$" <<'CONF'
[containers]
default_ulimits = ["nofile=20000:20000", "nproc=4096:4096"]
log_driver = "k8s-file"
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
[network]
network_backend = "netavark"
CONF
    mv "$CONTAINERS_CONF.new.$$" "$CONTAINERS_CONF"
}

# make_image KIND RELEASE CHANGE...: the image, from the archive in the cache, which is made when it is not there.
make_image() {
    local kind=$1 release=$2 hash image archive old change changes=()
    shift 2
    hash=$(sha256sum "$recipe" | cut -c1-16)
    image="localhost/digitalme-backup-$kind:$release"
    if [ "$(podman image inspect --format '{{index .Labels "recipe"}}' "$image" 2>/dev/null)" = "$hash" ]; then
        return
    fi
    archive="$cache/$kind-$release-$hash.tar.zst"
    if [ ! -e "$archive" ]; then
        echo "Making the root filesystem of $image ..." >&2
        if ! "$recipe" "$kind" "$release" 2>"$archive.log" | zstd -q -3 -T0 >"$archive.new.$$"; then
            rm -f "$archive.new.$$"
            tail -n 20 "$archive.log" >&2
            exit 1
        fi
        mv "$archive.new.$$" "$archive"
        rm -f "$archive.log"
        find "$cache" -name "$kind-$release-*.tar.zst" ! -name "${archive##*/}" -delete
    fi
    for change in "$@" "LABEL recipe=$hash"; do changes+=(--change "$change"); done
    old=$(podman image ls --quiet "$image")
    zstd -qdc "$archive" | podman import --quiet "${changes[@]}" - "$image" >/dev/null
    # A host of another run may still use it: then it stays until it is removed by hand.
    [ -z "$old" ] || podman image rm "$old" >/dev/null 2>&1 || true
}

images() {
    setup
    configure
    # One at a time: two runs on a machine would make the same image.
    exec {lock}>"$cache/lock"
    flock "$lock"
    "$@"
}

hosts() {
    local release
    for release in "$@"; do
        make_image host "$release" 'CMD ["/sbin/init"]' 'STOPSIGNAL SIGRTMIN+3'
    done
}

action=${1:-help}
[ $# -eq 0 ] || shift
case "$action" in
setup) setup && configure ;;
image) images hosts "${@:-bookworm}" ;;
python) images make_image python "${1:-bookworm}" 'CMD ["python3"]' ;;
podman)
    [ -e "$CONTAINERS_CONF" ] || configure
    exec podman "$@"
    ;;
*)
    sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//p}' "$0"
    [ "$action" = help ] || exit 2
    ;;
esac
