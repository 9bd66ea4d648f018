"""Cut a root down to some of its packages.

usage: cut.py PLAN ROOT

What stays: the files of the packages named and what their installation made of them, the paths named, accounts, the folders that
every program takes for granted, and a package database of exactly these packages. The last line on stderr says why it failed.
"""
import glob
import json
import os
import shutil
import stat
import sys

# What the installation of a package makes, and no list of files names.
MADE = {
    "base-files": ["/etc/os-release", "/etc/nsswitch.conf", "/etc/motd"],
    "ca-certificates": ["/etc/ssl/certs/*", "/etc/ca-certificates.conf"],
    "libc6": ["/etc/ld.so.cache"],
    "tzdata": ["/etc/localtime", "/etc/timezone"],
}
ACCOUNTS = ["/etc/passwd", "/etc/group", "/etc/shadow", "/etc/gshadow"]
# Of the root folder: what is mounted over, what programs write to, and the links of a merged /usr.
FOLDERS = ["/dev", "/etc", "/home", "/proc", "/root", "/run", "/sys", "/tmp", "/usr", "/usr/bin", "/usr/lib", "/usr/sbin",
           "/usr/local", "/usr/local/bin", "/usr/local/sbin", "/var", "/var/lib", "/var/tmp"]
LINKS = ["/bin", "/lib", "/lib64", "/sbin", "/var/run", "/var/lock"]
DATABASE = "/var/lib/dpkg"
KEPT = (".list", ".md5sums", ".conffiles")  # scripts have nothing here that could run them


class Missing(Exception):
    pass


class Cut:
    def __init__(self, root, packages, paths):
        self.root, self.packages, self.keep = root, packages, {"/"}
        for path in FOLDERS + ACCOUNTS + paths:
            self.add(path)
        for path in LINKS:
            self.link(path)

    def real(self, path):
        """Where a path lies below the root: links on the way are followed, the last part is not."""
        done, parts, hops = "", path.strip("/").split("/"), 0
        while len(parts) > 1:
            step = done + "/" + parts.pop(0)
            if os.path.islink(self.root + step):
                hops += 1
                if hops > 40:
                    raise Missing(f"{path}: links that lead nowhere")
                to = os.readlink(self.root + step)
                whole = os.path.normpath(to if to.startswith("/") else f"{done}/{to}")
                parts, done = whole.strip("/").split("/") + parts, ""
                continue
            done = step
        return os.path.normpath(f"{done}/{parts[0]}")

    def add(self, path):
        """Keep a path, when it is there, and the folders that it lies in."""
        path = self.real(path)
        if not os.path.lexists(self.root + path):
            return
        while path not in self.keep:
            self.keep.add(path)
            path = os.path.dirname(path)

    def link(self, path):
        """Keep a link, and the folder that it leads to."""
        if os.path.islink(self.root + path):
            self.add(path)
            self.add(os.path.join(os.path.dirname(path), os.readlink(self.root + path)))

    def package(self, stanza):
        """Keep what a package shipped and what its installation made, and its part of the database."""
        name = field(stanza, "Package")
        info = f"{DATABASE}/info/{name}"
        if not os.path.exists(f"{self.root}{info}.list"):
            info += ":" + field(stanza, "Architecture")
        if not os.path.exists(f"{self.root}{info}.list"):
            raise Missing(f"{name}: dpkg has no list of its files")
        with open(f"{self.root}{info}.list", encoding="utf-8", errors="surrogateescape") as f:
            for line in f.read().split("\n"):
                if line.strip("/."):
                    self.add(line)
        for pattern in MADE.get(name, []):
            for path in glob.glob(self.root + pattern):
                self.add(path[len(self.root):])
        for end in KEPT:
            self.add(info + end)

    def database(self):
        """Leave the entries of the packages that stay, and keep their files."""
        status = f"{self.root}{DATABASE}/status"
        with open(status, encoding="utf-8", errors="surrogateescape") as f:
            stanzas = {field(s, "Package"): s for s in f.read().strip("\n").split("\n\n")}
        missing = sorted(self.packages - set(stanzas))
        if missing:
            raise Missing(f"{', '.join(missing)}: the parent does not have it")
        kept = [stanzas[name] for name in sorted(self.packages)]
        for stanza in kept:
            self.package(stanza)
        with open(status, "w", encoding="utf-8", errors="surrogateescape") as f:
            f.write("\n\n".join(kept) + "\n")
        self.add(DATABASE + "/status")

    def remove(self, folder=""):
        for name in sorted(os.listdir(self.root + (folder or "/"))):
            path = f"{folder}/{name}"
            is_folder = stat.S_ISDIR(os.lstat(self.root + path).st_mode)
            if path in self.keep:
                if is_folder:
                    self.remove(path)
            elif is_folder:
                shutil.rmtree(self.root + path)
            else:
                os.unlink(self.root + path)


def field(stanza, name):
    for line in stanza.split("\n"):
        key, _, value = line.partition(":")
        if key == name:
            return value.strip()
    return ""


def main():
    with open(sys.argv[1]) as f:
        plan = json.load(f)
    cut = Cut(os.path.realpath(sys.argv[2]), set(plan["packages"]), plan["paths"])
    try:
        cut.database()
    except Missing as e:
        print(e, file=sys.stderr)
        sys.exit(2)
    cut.remove()


main()
