"""Plain-file states of a root filesystem: each class says what is off, and how to put it right.

A state has three methods, and the third is optional: `off()` returns what deviates, as sentences for people (empty = in
force); `fix()` puts it right; a state without `fix` is verified only. Nothing is written unless something is off, files are
replaced by rename, and no backup stays.
"""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import glob
import os
import re
import stat
import tempfile


def read(path):
    """Text of a file; empty when it does not exist."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as f:
            return f.read()
    except FileNotFoundError:
        return ""


def write(path, text, mode=None):
    """Replaces a file by rename. Mode and owner of an existing file stay, unless mode is given."""
    path = os.path.realpath(path)
    try:
        was = os.stat(path)
        keep = stat.S_IMODE(was.st_mode) if mode is None else mode
        uid, gid = was.st_uid, was.st_gid
    except FileNotFoundError:
        keep, uid, gid = (0o644 if mode is None else mode), 0, 0
        os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    fd, temp = tempfile.mkstemp(prefix=".cis_controls.", dir=os.path.dirname(path))
    try:
        with os.fdopen(fd, "w", encoding="utf-8", errors="surrogateescape") as f:
            f.write(text)
        os.chown(temp, uid, gid)
        os.chmod(temp, keep)
        os.rename(temp, path)
    except BaseException:
        os.unlink(temp)
        raise


def lines_of(path):
    """Lines of a file without their ends."""
    return read(path).splitlines()


def ident(path, name):
    """Number of a user or group, from a passwd or group file."""
    for line in lines_of(path):
        fields = line.split(":")
        if fields[0] == name:
            return int(fields[2])
    return None


class Setting:
    """One key has one value in a line-based file. No value means a flag that stands alone."""

    def __init__(self, path, key, value="", sep=" ", before=None, create=False):
        self.path, self.key, self.value, self.before = path, key, str(value), before
        self.create = create
        self.line = key + (sep + self.value if self.value else "")
        self.live = re.compile(r"^\s*%s(?:\s*=\s*|\s+|$)(?P<value>.*?)\s*$" % re.escape(key), re.I if before else 0)
        self.hint = re.compile(r"^\s*#\s*%s\b" % re.escape(key))

    def off(self):
        if not self.create and not os.path.exists(self.path):
            return ["%s does not exist" % self.path]
        found = [m.group("value") for m in map(self.live.match, self.scope()) if m]
        if found == [self.value]:
            return []
        if not found or not self.value:
            return ["%s: %s is not set" % (self.path, self.line.strip())]
        return ["%s: %s is %s, not %s" % (self.path, self.key, " and ".join(found), self.value)]

    def scope(self):
        """A Match block of sshd_config applies to some connections only: it is left alone."""
        out = []
        for line in lines_of(self.path):
            if self.before and re.match(r"\s*Match\b", line, re.I):
                break
            out.append(line)
        return out

    def fix(self):
        lines = self.scope()
        rest = lines_of(self.path)[len(lines):]
        hits = [i for i, line in enumerate(lines) if self.live.match(line)]
        hints = [i for i, line in enumerate(lines) if self.hint.match(line)]
        kept = [line for i, line in enumerate(lines) if i not in hits]
        if self.before:
            at = next((i for i, line in enumerate(kept) if re.match(self.before, line)), 0)
        elif hits:
            at = hits[0]
        elif hints:
            at = hints[-1] + 1
        else:
            at = len(kept)
        kept.insert(at, self.line)
        write(self.path, "\n".join(kept + rest) + "\n")


class Line:
    """Exactly one line stands for all lines that match; it comes after another one, or last."""

    def __init__(self, path, line, match, after=None, create=False):
        self.path, self.line, self.match, self.after, self.create = path, line, re.compile(match), after, create

    def off(self):
        if not self.create and not os.path.exists(self.path):
            return ["%s does not exist" % self.path]
        found = [line for line in lines_of(self.path) if self.match.match(line)]
        return [] if found == [self.line] else ["%s: no line %r" % (self.path, self.line)]

    def fix(self):
        kept = [line for line in lines_of(self.path) if not self.match.match(line)]
        at = len(kept)
        if self.after:
            at = 1 + next((i for i, line in enumerate(kept) if re.match(self.after, line)), len(kept) - 1)
        kept.insert(at, self.line)
        write(self.path, "\n".join(kept) + "\n")


class Content:
    """A file has this text, mode and root as its owner."""

    def __init__(self, path, text, mode="0644"):
        self.path, self.text, self.mode = path, text.rstrip("\n") + "\n", int(mode, 8)

    def off(self):
        try:
            found = os.lstat(self.path)
        except FileNotFoundError:
            return ["%s does not exist" % self.path]
        if read(self.path) != self.text:
            return ["%s has another text" % self.path]
        if (stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid) != (self.mode, 0, 0):
            return ["%s is not root's with mode %04o" % (self.path, self.mode)]
        return []

    def fix(self):
        write(self.path, self.text, self.mode)
        os.chown(self.path, 0, 0)


class Mode:
    """Files or folders have no permission beyond at_most, and one of the owners and groups named."""

    def __init__(self, paths, at_most, owner=None, group=None, recurse=False, directories=False):
        self.paths, self.at_most, self.owner = paths, int(at_most, 8), owner
        self.groups = [group] if isinstance(group, str) else group
        self.recurse, self.directories = recurse, directories

    def each(self):
        for pattern in self.paths:
            for path in sorted(glob.glob(pattern)):
                yield path
                if self.recurse:
                    for folder, sub, files in os.walk(path):
                        sub.sort()
                        for name in sorted(files):
                            yield os.path.join(folder, name)

    def wrong(self):
        """Yields path, mode, uid, gid as they should be, where they are not."""
        uid = ident("/etc/passwd", self.owner) if self.owner else None
        gids = [g for g in (ident("/etc/group", name) for name in self.groups or []) if g is not None]
        for path in self.each():
            found = os.lstat(path)
            wanted = stat.S_ISDIR if self.directories else stat.S_ISREG
            if not wanted(found.st_mode):
                continue
            mode = stat.S_IMODE(found.st_mode)
            to = (mode & self.at_most, found.st_uid if uid is None else uid,
                  found.st_gid if not gids or found.st_gid in gids else gids[0])
            if to != (mode, found.st_uid, found.st_gid):
                yield path, found, to

    def off(self):
        return ["%s: mode %04o owner %d:%d, not %04o %d:%d"
                % (path, stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid, to[0], to[1], to[2])
                for path, found, to in self.wrong()]

    def fix(self):
        for path, _found, to in self.wrong():
            os.chown(path, to[1], to[2])
            os.chmod(path, to[0])


class Exists:
    """A file is there, made empty with this mode and owner when it is missing. What is in it does not matter."""

    def __init__(self, path, mode="0640", group="root"):
        self.path, self.mode, self.group = path, int(mode, 8), group

    def off(self):
        return [] if os.path.exists(self.path) else ["%s does not exist" % self.path]

    def fix(self):
        write(self.path, "", self.mode)
        os.chown(self.path, 0, ident("/etc/group", self.group) or 0)


class Absent:
    """A path does not exist."""

    def __init__(self, path):
        self.path = path

    def off(self):
        return ["%s exists" % self.path] if os.path.lexists(self.path) else []

    def fix(self):
        os.unlink(self.path)


class EmptyGroup:
    """A group exists, has a fixed number and no members."""

    def __init__(self, name, gid):
        self.name, self.gid = name, int(gid)

    def off(self):
        out = []
        for path, members in (("/etc/group", 3), ("/etc/gshadow", 3)):
            found = [line.split(":") for line in lines_of(path) if line.startswith(self.name + ":")]
            if not found:
                out.append("%s: no group %s" % (path, self.name))
            elif found[0][members]:
                out.append("%s: group %s has the members %s" % (path, self.name, found[0][members]))
        return out

    def fix(self):
        taken = [line.split(":")[0] for line in lines_of("/etc/group") if line.split(":")[2:3] == [str(self.gid)]]
        if taken and taken != [self.name]:
            raise ValueError("group number %d belongs to %s" % (self.gid, taken[0]))
        gid = ident("/etc/group", self.name)
        for path, entry in (("/etc/group", "%s:x:%d:" % (self.name, self.gid if gid is None else gid)),
                            ("/etc/gshadow", "%s:!::" % self.name)):
            lines = [line for line in lines_of(path) if not line.startswith(self.name + ":")]
            write(path, "\n".join(lines + [entry]) + "\n")


class Matches:
    """Verified only: some line of a file matches."""

    def __init__(self, path, regex):
        self.path, self.regex = path, re.compile(regex)

    def off(self):
        if any(self.regex.search(line) for line in lines_of(self.path)):
            return []
        return ["%s: no line matches %s" % (self.path, self.regex.pattern)]


class Lacks:
    """No line of these files matches. Lines that do are taken out on demand only: some were written by a person."""

    def __init__(self, paths, regex, remove=False):
        self.paths, self.regex = paths, re.compile(regex)
        if remove:
            self.fix = self.take_out

    def each(self):
        return [path for pattern in self.paths for path in sorted(glob.glob(pattern)) if os.path.isfile(path)]

    def off(self):
        return ["%s: %r is not allowed" % (path, line)
                for path in self.each() for line in lines_of(path) if self.regex.search(line)]

    def take_out(self):
        for path in self.each():
            lines = lines_of(path)
            kept = [line for line in lines if not self.regex.search(line)]
            if kept != lines:
                write(path, "".join(line + "\n" for line in kept))


PLAIN = {"setting": Setting, "line": Line, "content": Content, "mode": Mode, "absent": Absent, "exists": Exists,
         "empty_group": EmptyGroup, "matches": Matches, "lacks": Lacks}
