"""States of plain files that only RPM distributions have, or that they have in other places. The module cis_controls takes
them from here. Each has the methods that rootfs.py tells of. PAM has a file of its own: rpm_pam.py.
"""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import fnmatch
import glob
import os
import re
import subprocess

from ansible.module_utils.rootfs import Content, Lacks, Line, Setting, lines_of, read, write
from ansible.module_utils.rpm_pam import PAM


class All:
    """Several states that are one."""

    def __init__(self, states):
        self.states = states

    def off(self):
        return [what for state in self.states for what in state.off()]

    def fix(self):
        for state in self.states:
            if state.off():
                state.fix()


def settings(path, values, **how):
    """Several keys of one file."""
    return All([Setting(path, key, value, **how) for key, value in values.items()])


def sysctl(**values):
    """Kernel parameters from the next boot on."""
    return settings("/etc/sysctl.d/60-cis.conf", values, sep=" = ", create=True)


def sshd(**values):
    """Settings of the SSH server, above its Include line: the first word counts. No drop-in says otherwise."""
    others = [Lacks(["/etc/ssh/sshd_config.d/*.conf"], r"(?i)^\s*%s[\s=]+(?!%s\s*$)" % (key, re.escape(value)), remove=True)
              for key, value in values.items()]
    return All([settings("/etc/ssh/sshd_config", values, before=r"\s*Include\b")] + others)


def kernel_module(name):
    """A kernel module is not loaded, neither by itself nor on demand."""
    like = name.replace("-", "[-_]")
    path = "/etc/modprobe.d/60-cis.conf"
    return All([Line(path, "install %s /bin/false" % name, r"install\s+%s\s" % like, create=True),
                Line(path, "blacklist %s" % name, r"blacklist\s+%s$" % like, create=True)])


class Umask:
    """No umask that a start-up file sets is weaker than this one. With add, a file that sets none gets it as its last line."""

    def __init__(self, path, value, add=False):
        self.path, self.value, self.add = path, value, add
        self.set = re.compile(r"\bumask\s+(0?[0-7]{3})\b")

    def stronger(self, found):
        mine = int(self.value, 8)
        return found.group() if int(found.group(1), 8) & mine == mine else "umask " + self.value

    def mended(self, line):
        code, sign, comment = line.partition("#")
        return self.set.sub(self.stronger, code) + sign + comment

    def lacking(self):
        return self.add and not any(self.set.search(line.partition("#")[0]) for line in lines_of(self.path))

    def off(self):
        if self.lacking():
            return ["%s sets no umask" % self.path]
        return ["%s: %r is weaker than %s" % (self.path, line.strip(), self.value)
                for line in lines_of(self.path) if self.mended(line) != line]

    def fix(self):
        lines = [self.mended(line) for line in lines_of(self.path)]
        if self.lacking():
            lines.append("umask " + self.value)
        write(self.path, "\n".join(lines) + "\n")


class CryptoModule:
    """A module of the system-wide crypto policy exists and is part of the policy. Where the tool that applies policies is not
    in the image, what the module forbids is taken out of the SSH lists here; the tool does the same once it is there."""

    home = "/etc/crypto-policies/"
    tool = "/usr/bin/update-crypto-policies"

    def __init__(self, name, text=None, forbids=()):
        self.name, self.forbids = name, forbids
        self.file = Content(self.home + "policies/modules/%s.pmod" % name, text) if text else None

    def policy(self):
        found = [line.strip() for line in lines_of(self.home + "config") if line.strip() and not line.startswith("#")]
        return found[0] if found else "DEFAULT"

    def allowed(self, found):
        words = [w for w in found.group(2).split(",") if not any(fnmatch.fnmatch(w, p) for p in self.forbids)]
        return found.group(1) + ",".join(words)

    def lists(self):
        """Back-ends that allow what is forbidden: path, and text without it."""
        for path in sorted(glob.glob(self.home + "back-ends/*ssh*.config")):
            text = read(path)
            mended = re.sub(r"((?:Ciphers|MACs)[ =])([^\s']+)", self.allowed, text)
            if mended != text:
                yield path, mended

    def off(self):
        out = self.file.off() if self.file else []
        if self.name not in self.policy().split(":")[1:]:
            out.append("the crypto policy %s lacks %s" % (self.policy(), self.name))
        return out + ["%s allows what %s forbids" % (path, self.name) for path, _mended in self.lists()]

    def fix(self):
        if self.file:
            self.file.fix()
        if self.name not in self.policy().split(":")[1:]:
            write(self.home + "config", self.policy() + ":" + self.name + "\n")
        if os.path.exists(self.tool):
            self.apply()
        for path, mended in list(self.lists()):
            # The path is a link to the package's own list, which is not ours to change.
            Content(path + ".new", mended).fix()
            os.rename(path + ".new", path)

    def apply(self):
        run = subprocess.run([self.tool, "--no-reload"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                             env={"PATH": "/usr/sbin:/usr/bin", "LC_ALL": "C", "PYTHONDONTWRITEBYTECODE": "1"}, universal_newlines=True, check=False)
        if run.returncode != 0:
            raise RuntimeError("update-crypto-policies: %s" % (run.stdout.strip() or "exit %d" % run.returncode))


STATES = dict(PAM, settings=settings, sysctl=sysctl, sshd=sshd, kernel_module=kernel_module, umask=Umask,
              crypto_module=CryptoModule)
