"""Debian's PAM stack, changed the way Debian means it to be: profiles for pam-auth-update and options of its lines.

Options that are added or taken out in /etc/pam.d/common-* are local changes that pam-auth-update keeps when a package of
a child image calls it; anything else written there would make it refuse to work ever after.
"""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import os
import re
import subprocess

from ansible.module_utils.rootfs import Content, lines_of, write

PROFILES = "/usr/share/pam-configs/"
DEBCONF = ("/var/cache/debconf/config.dat-old", "/var/cache/debconf/templates.dat-old")


class Profiles:
    """Profiles of pam-auth-update exist and are enabled."""

    def __init__(self, **texts):
        self.files = {name: Content(PROFILES + name, text) for name, text in texts.items()}

    def off(self):
        out = []
        enabled = "\n".join(line for kind in ("auth", "account", "session", "password")
                            for line in lines_of("/var/lib/pam/" + kind))
        for name, content in sorted(self.files.items()):
            out += content.off()
            if not re.search(r"^Module: %s$" % re.escape(name), enabled, re.M):
                out.append("PAM profile %s is not enabled" % name)
        return out

    def fix(self):
        backups = [path for path in DEBCONF if not os.path.exists(path)]
        for content in self.files.values():
            content.fix()
        env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C",
               "PERL_HASH_SEED": "0"}
        run = subprocess.run(["pam-auth-update", "--enable"] + sorted(self.files), env=env, stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True, check=False)
        for path in backups:
            if os.path.exists(path):
                os.unlink(path)
        if run.returncode != 0 or "not updating" in run.stdout:
            raise RuntimeError("pam-auth-update: %s" % (run.stdout.strip() or "exit %d" % run.returncode))


class Option:
    """The lines of one PAM module have an option, or lack it."""

    def __init__(self, path, module, has=None, lacks=None, type=None):
        self.path, self.has, self.lacks = path, has, lacks
        self.line = re.compile(r"^\s*%s\s+(?:\[[^\]]*\]|\w+)\s+%s(?:\s|$)" % (type or r"-?\w+", re.escape(module)))
        self.module = module
        self.word = re.compile(r"(?<=\s)%s(?:=\S*)?(?=\s|$)" % re.escape((has or lacks).split("=")[0]))

    def wrong(self, line):
        if not self.line.match(line):
            return False
        return [self.has] != self.word.findall(line) if self.has else bool(self.word.search(line))

    def off(self):
        lines = lines_of(self.path)
        if self.has and not any(map(self.line.match, lines)):
            return ["%s: %s is not in use" % (self.path, self.module)]
        return ["%s: %s %s %s" % (self.path, self.module, "lacks" if self.has else "has", self.has or self.lacks)
                for line in lines if self.wrong(line)]

    def fix(self):
        out = []
        for line in lines_of(self.path):
            if self.wrong(line):
                # Options are single-spaced; the gap before the module stays as pam-auth-update wrote it.
                line = re.sub(r"(?<=\S) +(?=\s|$)", "", self.word.sub("", line))
                line = (line.rstrip() + " " + self.has) if self.has else line
            out.append(line)
        write(self.path, "\n".join(out) + "\n")


PAM = {"pam_profiles": Profiles, "pam_option": Option}
