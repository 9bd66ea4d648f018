"""Options of the lines of a PAM stack."""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import re

from ansible.module_utils.rootfs import lines_of, write


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
