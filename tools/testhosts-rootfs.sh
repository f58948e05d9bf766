#!/usr/bin/env bash
# Make the root filesystem of a test image as a tar archive on standard output:
#   testhosts-rootfs.sh host RELEASE     Debian with systemd, ssh, Python and SQLite, for a host that Ansible manages
#   testhosts-rootfs.sh python RELEASE   Debian with Python alone, for container images
# The mirror is that of this machine's apt, or the one that MIRROR names.
# testhosts.sh keeps the archives by the hash of this file: any change here makes new ones.
set -euo pipefail

kind=${1:?usage: testhosts-rootfs.sh host|python RELEASE}
release=${2:?usage: testhosts-rootfs.sh host|python RELEASE}
# shellcheck disable=SC2016  # The words are apt's.
mirror=${MIRROR:-$(apt-get indextargets --format '$(REPO_URI)' 'Origin: Debian' 'Created-By: Packages' 2>/dev/null | grep -v security | head -n 1)}

options=(
    --mode=root --variant=minbase
    --aptopt='APT::Install-Recommends "false"'
    --dpkgopt=force-unsafe-io
    --dpkgopt='path-exclude=/usr/share/doc/*'
    --dpkgopt='path-exclude=/usr/share/man/*'
    --dpkgopt='path-exclude=/usr/share/locale/*'
)

# What mmdebstrap's customize hook runs, with the root directory as $1.
prepare_host() {
    : >"$1/etc/machine-id"
    rm -f "$1/etc/hostname" "$1/etc/resolv.conf" "$1"/etc/ssh/ssh_host_*_key*
    chroot "$1" systemctl --quiet mask apt-daily.timer apt-daily-upgrade.timer fstrim.timer e2scrub_all.timer \
        getty.target systemd-update-utmp.service
    chroot "$1" useradd --create-home --shell /bin/bash ansible
    echo 'ansible ALL=(ALL) NOPASSWD: ALL' >"$1/etc/sudoers.d/ansible"
    chmod 0440 "$1/etc/sudoers.d/ansible"
    # The key of a run is mounted at /etc/ssh/test_keys. Host keys are made at the first start.
    printf '%s\n' 'UseDNS no' 'AuthorizedKeysFile .ssh/authorized_keys /etc/ssh/test_keys' >>"$1/etc/ssh/sshd_config"
    # On a real machine / is shared; in a container it is not, and systemd hands no credentials to services then.
    printf '%s\n' '[Unit]' DefaultDependencies=no Before=sysinit.target '[Service]' Type=oneshot \
        'ExecStart=/bin/mount --make-rshared /' '[Install]' WantedBy=sysinit.target \
        >"$1/etc/systemd/system/shared-mounts.service"
    chroot "$1" systemctl --quiet enable shared-mounts.service
    mkdir -p "$1/etc/systemd/system/ssh.service.d"
    printf '%s\n' '[Service]' 'ExecStartPre=' 'ExecStartPre=/usr/bin/ssh-keygen -A' 'ExecStartPre=/usr/sbin/sshd -t' \
        >"$1/etc/systemd/system/ssh.service.d/host-keys.conf"
}

case "$kind" in
hook)
    prepare_host "$release"
    exit
    ;;
host)
    options+=(
        --include='systemd,systemd-sysv,dbus,python3,python3-apt,sqlite3,openssh-server,cron,sudo,iproute2,procps,acl,curl,jq,tzdata'
        --customize-hook="'$(realpath "$0")' hook \"\$1\""
    )
    ;;
python) options+=(--include='python3,tzdata') ;;
*)
    echo "usage: testhosts-rootfs.sh host|python RELEASE" >&2
    exit 2
    ;;
esac

mmdebstrap "${options[@]}" --format=tar "$release" - "${mirror:-http://deb.debian.org/debian}"
