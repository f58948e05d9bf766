# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Who owns a file, and what else is written on it beside its bytes: mode, extended attributes, security context."""

from __future__ import annotations

import errno
import os
import stat

from . import files, links


def give_back(*places):
    """What root made in a backup directory of somebody else's becomes his: he is to expire it himself.

    ``places`` are the directory and those below it that are looked into. Only what belongs to root is given, only to
    the owner of the directory that it lies in, and nothing behind a link; for anybody but root nothing is done.
    """
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return
    top = places[0]
    for directory in (top, *(os.path.join(top, inner) for inner in places[1:])):
        try:
            _give_back_in(directory, os.stat(top, follow_symlinks=False))
        except FileNotFoundError:
            continue


def _give_back_in(directory, owner):
    if owner.st_uid == 0:
        return
    with links.place(directory) as (above, name):
        descriptor = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=above)
    try:
        if os.fstat(descriptor).st_uid == 0:
            os.fchown(descriptor, owner.st_uid, owner.st_gid)
        for name in os.listdir(descriptor):
            facts = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
            # A second name of a file is none of ours: it could be a link that he made to a file of root's.
            if facts.st_uid == 0 and stat.S_ISREG(facts.st_mode) and facts.st_nlink == 1:
                os.chown(name, owner.st_uid, owner.st_gid, dir_fd=descriptor, follow_symlinks=False)
    finally:
        os.close(descriptor)


def copy(reference, target):
    """Give ``target`` the owner, group, mode and extended attributes (ACL, security context) of ``reference``."""
    facts = os.lstat(reference)
    if stat.S_ISLNK(facts.st_mode):  # Whoever owns the directory has put it there meanwhile.
        raise OSError(errno.ELOOP, "it is a symbolic link", reference)
    _take_away(reference, target)  # Before the mode, which would else only be the mask of an ACL.
    set_on(target, facts.st_uid, facts.st_gid, stat.S_IMODE(facts.st_mode))
    if os.name == "nt":
        from . import windows

        windows.copy_access(reference, target)
    if not hasattr(os, "listxattr"):
        return
    descriptor = files.open_regular(target)
    try:
        with files.naming(descriptor):
            for attribute in os.listxattr(reference, follow_symlinks=False):
                _copy_attribute(reference, descriptor, attribute)
    finally:
        os.close(descriptor)


def _take_away(reference, target):
    """What the target has of its directory's default ACL, or of its owner, and the reference has not."""
    if not hasattr(os, "listxattr"):
        return
    descriptor = files.open_regular(target)
    try:
        with files.naming(descriptor):
            for attribute in set(os.listxattr(descriptor)) - set(os.listxattr(reference, follow_symlinks=False)):
                if attribute.startswith(_HIS_TO_SET):
                    os.removexattr(descriptor, attribute)
    finally:
        os.close(descriptor)


def _copy_attribute(reference, descriptor, attribute):
    try:
        wanted = os.getxattr(reference, attribute, follow_symlinks=False)
        if attribute not in os.listxattr(descriptor) or os.getxattr(descriptor, attribute) != wanted:
            os.setxattr(descriptor, attribute, wanted)
    except OSError as error:
        # security.* of another label set, trusted.* or what a filesystem adds need rights that an owner who may replace
        # the file can lack.
        if error.errno not in _ATTRIBUTE_REFUSED or attribute.startswith(_HIS_TO_SET):
            raise OSError(error.errno, error.strerror, reference) from error


_HIS_TO_SET = ("user.", "system.posix_acl")
_ATTRIBUTE_REFUSED = (1, 13, 95)  # EPERM, EACCES, EOPNOTSUPP


def give_to_owner_of(directory, descriptor):
    """Let the owner of the directory have the open file, and nobody else: root hands it to whoever is to fetch it.

    Only by its descriptor: he could put a second name of another file in its place meanwhile.
    """
    if hasattr(os, "fchown"):
        facts = os.stat(directory)
        os.fchown(descriptor, facts.st_uid, facts.st_gid)


def close_to_others(target):
    """Let nobody but the owner read the file, as every backup of ours."""
    facts = os.stat(target)
    if stat.S_IMODE(facts.st_mode) & 0o077:
        set_on(target, facts.st_uid, facts.st_gid, 0o600)


def set_on(target, uid, gid, mode):
    """Owner, group and mode of a regular file, through its descriptor: in a directory of somebody else's the name
    could be exchanged for a link in the meantime.
    """
    if not hasattr(os, "fchown"):
        os.chmod(target, mode)
        return
    descriptor = files.open_regular(target)
    try:
        facts = os.fstat(descriptor)
        with files.naming(descriptor):
            if (facts.st_uid, facts.st_gid) != (uid, gid):
                os.fchown(descriptor, uid, gid)
            os.fchmod(descriptor, mode)
    finally:
        os.close(descriptor)
