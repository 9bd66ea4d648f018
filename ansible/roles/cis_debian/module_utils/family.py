"""States that only Debian has. The module cis_controls takes them from here."""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

from ansible.module_utils.cracklib import Dictionary
from ansible.module_utils.debian_pam import Profiles
from ansible.module_utils.rootfs import read


class Installed:
    """Verified only: a Debian package is installed. Packages come with the lock, never from here."""

    def __init__(self, package):
        self.package = package

    def off(self):
        for stanza in read("/var/lib/dpkg/status").split("\n\n"):
            fields = stanza.strip().split("\n")
            if fields[0] == "Package: " + self.package and "Status: install ok installed" in fields:
                return []
        return ["package %s is not installed; add it to the image's packages" % self.package]


STATES = {"installed": Installed, "dictionary": Dictionary, "pam_profiles": Profiles}
