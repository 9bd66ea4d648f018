"""Checks of the account files and of who owns what. They find; a person decides: nothing here changes anything."""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import collections
import os
import stat
import time

from ansible.module_utils.rootfs import lines_of

NO_LOGIN = ("/usr/sbin/nologin", "/sbin/nologin", "/bin/false", "/usr/bin/false")
FOUND_AT_BOOT = ("/proc", "/sys", "/dev", "/run", "/tmp")


def table(path):
    return [line.split(":") for line in lines_of(path) if ":" in line]


def passwd():
    return table("/etc/passwd")


def shadow():
    return table("/etc/shadow")


def groups():
    return table("/etc/group")


def twice(path, column, what):
    count = collections.Counter(row[column] for row in table(path))
    return ["%s: %s %s is there %d times" % (path, what, key, n) for key, n in sorted(count.items()) if n > 1]


def interactive():
    shells = [line for line in lines_of("/etc/shells") if line.startswith("/")]
    return [row for row in passwd() if row[6] in shells and (row[0] == "root" or 1000 <= int(row[2]) < 60000)]


def all_shadowed():
    return ["%s has a password in /etc/passwd" % row[0] for row in passwd() if row[1] != "x"]


def no_empty_passwords():
    return ["%s has an empty password" % row[0] for row in shadow() if row[1] == ""]


def groups_exist():
    known = {row[2] for row in groups()}
    return ["%s has the unknown group %s" % (row[0], row[3]) for row in passwd() if row[3] not in known]


def shadow_group_empty():
    gid = [row[2] for row in groups() if row[0] == "shadow"]
    named = ["group shadow has the members %s" % row[3] for row in groups() if row[0] == "shadow" and row[3]]
    return named + ["%s has the primary group shadow" % row[0] for row in passwd() if row[3] in gid]


def only_root_is_zero():
    return ["%s has user number 0" % row[0] for row in passwd() if row[2] == "0" and row[0] != "root"]


def root_group_zero():
    exempt = ("root", "sync", "shutdown", "halt", "operator")
    out = ["root's primary group is %s" % row[3] for row in passwd() if row[0] == "root" and row[3] != "0"]
    return out + ["%s has the primary group 0" % row[0] for row in passwd() if row[3] == "0" and row[0] not in exempt]


def group_zero_is_root():
    return ["group %s has number 0" % row[0] for row in groups() if row[2] == "0" and row[0] != "root"]


def root_is_controlled():
    return ["root has neither a password nor a lock" for row in shadow() if row[0] == "root" and row[1] == ""]


def changed_in_past():
    today = time.time() / 86400 + 1
    return ["%s changed the password in the future" % row[0] for row in shadow()
            if row[1][:1] not in ("", "!", "*") and row[2] and int(row[2]) > today]


def system_accounts_locked():
    exempt = ("root", "sync", "shutdown", "halt", "nfsnobody")
    return ["system account %s has the shell %s" % (row[0], row[6]) for row in passwd()
            if row[0] not in exempt and int(row[2]) < 1000 and row[6] not in NO_LOGIN]


def shell_less_locked():
    shells = [line for line in lines_of("/etc/shells") if line.startswith("/")]
    locked = {row[0] for row in shadow() if row[1][:1] in ("!", "*")}
    return ["%s has no valid shell, but a password" % row[0] for row in passwd()
            if row[0] != "root" and row[6] not in shells and row[0] not in locked]


def root_path():
    out = []
    for line in lines_of("/etc/login.defs"):
        words = line.split()
        if words[:1] != ["ENV_SUPATH"]:
            continue
        for folder in words[1].replace("PATH=", "", 1).split(":"):
            if folder in ("", "."):
                out.append("root's PATH holds the current folder")
            elif os.path.isdir(folder):
                found = os.stat(folder)
                if found.st_uid != 0 or found.st_mode & 0o022:
                    out.append("%s in root's PATH can be written by others" % folder)
    return out


def homes():
    out = []
    for row in interactive():
        if not os.path.isdir(row[5]):
            out.append("%s has no home folder %s" % (row[0], row[5]))
            continue
        found = os.stat(row[5])
        if found.st_uid != int(row[2]) or found.st_mode & 0o027:
            out.append("%s: owner %d mode %04o" % (row[5], found.st_uid, stat.S_IMODE(found.st_mode)))
    return out


def dot_files():
    out = []
    for row in interactive():
        names = os.listdir(row[5]) if os.path.isdir(row[5]) else []
        for name in sorted(n for n in names if n.startswith(".")):
            path = os.path.join(row[5], name)
            found = os.lstat(path)
            if not stat.S_ISREG(found.st_mode):
                continue
            if name in (".forward", ".rhosts", ".netrc"):
                out.append("%s exists" % path)
            if found.st_uid != int(row[2]) or found.st_mode & 0o022:
                out.append("%s can be written by others" % path)
    return out


def walk():
    """All files of the root filesystem itself: no mounts, nothing that only exists while it runs."""
    device = os.lstat("/").st_dev
    for folder, sub, files in os.walk("/"):
        sub[:] = [name for name in sub if os.path.join(folder, name) not in FOUND_AT_BOOT
                  and not (folder == "/" and name.startswith("."))
                  and os.lstat(os.path.join(folder, name)).st_dev == device]
        for name in sub + files:
            path = os.path.join(folder, name)
            yield path, os.lstat(path)


def world_writable():
    out = []
    for path, found in walk():
        if stat.S_ISREG(found.st_mode) and found.st_mode & 0o002:
            out.append("%s is world-writable" % path)
        if stat.S_ISDIR(found.st_mode) and found.st_mode & 0o002 and not found.st_mode & stat.S_ISVTX:
            out.append("%s is world-writable without the sticky bit" % path)
    return out


def unowned():
    users, known = {int(row[2]) for row in passwd()}, {int(row[2]) for row in groups()}
    return ["%s belongs to %d:%d, whom nobody knows" % (path, found.st_uid, found.st_gid)
            for path, found in walk() if found.st_uid not in users or found.st_gid not in known]


CHECKS = {
    "unique_uid": lambda: twice("/etc/passwd", 2, "user number"),
    "unique_user": lambda: twice("/etc/passwd", 0, "user"),
    "unique_gid": lambda: twice("/etc/group", 2, "group number"),
    "unique_group": lambda: twice("/etc/group", 0, "group"),
}
CHECKS.update((f.__name__, f) for f in (
    all_shadowed, no_empty_passwords, groups_exist, shadow_group_empty, only_root_is_zero, root_group_zero,
    group_zero_is_root, root_is_controlled, changed_in_past, system_accounts_locked, shell_less_locked, root_path, homes,
    dot_files, world_writable, unowned))


class Verified:
    """Verified only: one of the checks finds nothing."""

    def __init__(self, check):
        self.off = CHECKS[check]
