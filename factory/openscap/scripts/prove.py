"""Evaluate a root filesystem with OpenSCAP, seen one way.

usage: prove.py REQUEST OUTPUT

REQUEST is JSON (type request in step.go). OUTPUT gets report.json, and NAME.arf.xml and NAME.html of every evaluation. The root
filesystem is a throwaway copy and is changed: see CORRECTIONS and VIEWS. Nothing is judged here: that is done by whoever
reads the report.
"""
import concurrent.futures
import gzip
import json
import os
import re
import shutil
import subprocess
import sys
import time

OSCAP = "/usr/bin/oscap"
PREFIX = "xccdf_org.ssgproject.content_rule_"
CONTENT = "/tmp/%s.xml"
DEVICE = b"^/dev/.*$"
LIMIT = 64 << 10  # bytes kept of what oscap prints
STANZA = """
Package: %s
Status: install ok installed
Maintainer: none
Architecture: all
Version: 1
Description: stands for a kernel while the machine view is evaluated

"""
RPM_ENTRY = {"version": "1", "release": "1", "arch": "noarch", "os": "linux", "sourcerpm": "none-1-1.src.rpm"}


def take_away(path):
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.unlink(path)


def link(path, to):
    take_away(path)
    os.symlink(to, path)


def write(path, text, mode="w"):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, mode) as f:
        f.write(text)


# What makes oscap measure at all in a build step. Each is named in the request, so that leaving one out can be tried.

def correct_proc(job):
    """The partition and environment probes need a real procfs below the root."""
    link(job.target + "/proc", "/proc")


def correct_mtab(job):
    """The file walk asks the toolbox's mtab which filesystems are local."""
    link("/etc/mtab", "/proc/self/mounts")


def correct_device(job):
    """File walks only enter mounts of devices that the content names; a build's root is on none of these."""
    with open("/proc/self/mounts") as f:
        mounts = [line.split() for line in f]
    # The last mount on a path is the one that is seen.
    devices = {m[1]: m[0] for m in mounts if m[1] in ("/", job.target)}
    job.devices = sorted({d for d in devices.values() if not d.startswith("/dev/")})
    wide = "^(" + "|".join(["/dev/.*"] + [re.escape(d) for d in job.devices]) + ")$"
    for name, content in job.contents.items():
        job.widened[name] = content.count(b">" + DEVICE + b"<")
        job.contents[name] = content.replace(b">" + DEVICE + b"<", b">" + wide.encode() + b"<")


def inside(job, path):
    """Makes a link that is absolute, or climbs above the root, relative: oscap follows links from the toolbox's root."""
    to, folder = os.readlink(path), os.path.dirname(path)
    if to.startswith("/") or not (os.path.normpath(os.path.join(folder, to)) + "/").startswith(job.target + "/"):
        meant = os.path.normpath(os.path.join("/", folder[len(job.target):].lstrip("/"), to))  # above the root is the root
        link(path, os.path.relpath(job.target + meant, folder))
        job.links += 1


def correct_links(job):
    """A file behind such a link is looked for in the toolbox, and rules about what it must not say pass."""
    for folder, below, files in os.walk(job.target):
        if folder == job.target:
            below[:] = [name for name in below if name != "proc"]
        for name in below + files:
            if os.path.islink(folder + "/" + name):
                inside(job, folder + "/" + name)


def correct_conflicts(job):
    """A conflict with a rule that the content does not have ends oscap with an assertion."""
    for name, content in job.contents.items():
        def drop(m, content=content):
            if b' id="%s"' % m[1] in content:
                return m[0]
            job.dangling.add(m[1].decode().removeprefix(PREFIX))
            return b""
        job.contents[name] = re.sub(rb'<xccdf-1\.2:conflicts idref="([^"]*)"\s*/>\s*', drop, content)


CORRECTIONS = {"proc": correct_proc, "mtab": correct_mtab, "device": correct_device, "links": correct_links,
               "conflicts": correct_conflicts}


# How a package that is not there comes into the copy's package database.

def add_deb(job, name):
    write(job.target + "/var/lib/dpkg/status", STANZA % name, "a")


def add_rpm(job, name):
    import rpm  # only here, because it costs more than all of the above
    header = rpm.hdr()
    for tag, value in dict(RPM_ENTRY, name=name).items():
        header[tag] = value
    with open("/tmp/header", "wb+") as f:
        header.write(f)
        f.seek(0)
        subprocess.run(["/usr/bin/rpmdb", "--root", job.target, "--importdb"], stdin=f, check=True)


PACKAGES = {"deb": add_deb, "rpm": add_rpm}


# How a root filesystem tells the content what it is.

def as_container(job):
    write(job.target + "/run/.containerenv", "")


def as_machine(job):
    for marker in ("/run/.containerenv", "/.dockerenv"):
        take_away(job.target + marker)
    job.add(job.kernel)


VIEWS = {"container": as_container, "extended": as_machine}


# What a canary evaluation must find.

def plant_world_writable(job):
    path = job.target + "/usr/share/.canary/world-writable"
    write(path, "")
    os.chmod(path, 0o666)


def plant_unowned(job):
    path = job.target + "/usr/share/.canary/unowned"
    write(path, "")
    os.chown(path, 4242424, 4242424)


def plant_root_path(job):
    path = job.target + "/usr/local/.canary"
    os.makedirs(path)
    os.chmod(path, 0o777)
    job.path = "/usr/local/.canary:" + job.path


def plant_open_log(job):
    path = job.target + "/var/log/gdm/.canary"
    write(path, "")
    os.chmod(path, 0o666)


def plant_second_root(job):
    write(job.target + "/etc/passwd", "canary:x:0:0::/root:/bin/sh\n", "a")


def plant_package(job):
    job.add("telnet-server")


def plant_linked(job):
    """A file that all shells read and that sets a bad umask, behind an absolute link."""
    write(job.target + "/usr/share/.canary/umask.sh", "umask 000\n")
    path = job.target + "/etc/profile.d/canary.sh"
    os.makedirs(os.path.dirname(path), exist_ok=True)
    os.symlink("/usr/share/.canary/umask.sh", path)
    if "links" in job.corrections:
        inside(job, path)


def plant_foreign_file(job):
    """A start-up file of a user that belongs to somebody else."""
    home = "/home/.canary"
    write(job.target + "/etc/passwd", "canary-user:x:4321:4321::%s:/bin/bash\n" % home, "a")
    write(job.target + home + "/.profile", "")
    os.chown(job.target + home, 4321, 4321)


PLANTS = {"package": plant_package, "linked": plant_linked, "foreign-file": plant_foreign_file,
          "world-writable": plant_world_writable, "unowned": plant_unowned, "root-path": plant_root_path,
          "open-log": plant_open_log, "second-root": plant_second_root}


class Job:
    def __init__(self, request, out):
        self.out, self.target, self.path = out, request["target"], request["path"]
        self.contents = {}
        for name in request["contents"]:
            with gzip.open("%s/%s.xml.gz" % (os.path.dirname(sys.argv[0]), name)) as f:
                self.contents[name] = f.read()
        self.devices, self.widened, self.missing = [], dict.fromkeys(self.contents, 0), set()
        self.corrections, self.links, self.dangling = request["corrections"], 0, set()
        self.packages, self.kernel = request["packages"], request["kernel"]

    def add(self, package):
        PACKAGES[self.packages](self, package)

    def existing(self, run):
        """Leaves out, and remembers, rules that the content does not have."""
        content, rules = self.contents[run["content"]], run["rules"] or []
        missing = {r for r in rules if b' id="%s"' % r.encode() not in content}
        self.missing |= missing
        return [r for r in rules if r not in missing]

    def evaluate(self, run):
        # Of what is not kept, the short form is enough.
        form = "--results-arf" if run["report"] else "--results"
        args = [OSCAP, "xccdf", "eval", "--skip-valid", "--profile", run["profile"], "--thin-results",
                form, "%s/%s.arf.xml" % (self.out, run["name"])]
        if run["report"]:
            args += ["--report", "%s/%s.html" % (self.out, run["name"])]
        for rule in run["rules"]:
            args += ["--rule", rule]
        began = time.monotonic()
        env = {"PATH": self.path, "LC_ALL": "C.UTF-8", "OSCAP_PROBE_ROOT": self.target}
        p = subprocess.run(args + [CONTENT % run["content"]], env=env, stdin=subprocess.DEVNULL, capture_output=True, check=False)
        return {"name": run["name"], "exit": p.returncode if p.returncode >= 0 else 128 - p.returncode,
                "seconds": round(time.monotonic() - began, 2), "stderr": p.stderr[:LIMIT].decode("utf-8", "replace")}


def main():
    with open(sys.argv[1]) as f:
        request = json.load(f)
    job = Job(request, sys.argv[2])
    for name in job.corrections:
        CORRECTIONS[name](job)
    for run in request["evaluations"] + [request["canary"]]:
        run["rules"] = job.existing(run)
    for name, content in job.contents.items():
        write(CONTENT % name, content, "wb")
    job.contents = {}
    VIEWS[request["view"]](job)
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        runs = list(pool.map(job.evaluate, request["evaluations"]))
    # Only now, and in the very same root: a canary in another one would prove nothing about this one.
    for name in request["plants"]:
        PLANTS[name](job)
    runs.append(job.evaluate(request["canary"]))
    with open(job.out + "/report.json", "w") as f:
        json.dump({"schema": 2, "devices": job.devices, "widened": job.widened,
                   "links": job.links, "dangling": sorted(job.dangling), "missing": sorted(r.removeprefix(PREFIX) for r in job.missing), "runs": runs}, f)


main()
