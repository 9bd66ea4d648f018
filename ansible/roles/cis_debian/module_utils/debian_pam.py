"""Debian's PAM stack, changed the way Debian means it to be: profiles for pam-auth-update and options of its lines.

Options that are added or taken out in /etc/pam.d/common-* are local changes that pam-auth-update keeps when a package of
a child image calls it; anything else written there would make it refuse to work ever after.
"""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import os
import re
import subprocess

from ansible.module_utils.rootfs import Content, lines_of

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
