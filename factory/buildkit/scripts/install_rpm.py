"""Install the packages of a lock, and nothing else, into an empty root or into that of a parent, in one transaction of rpm.

usage: install_rpm.py PLAN ROOT

It runs in the toolbox; the packages' own scripts run in ROOT. The last line on stderr says why it failed. Exit 2: the
packages of the lock do not fit together. Exit 5: one is not what the lock names, or is not signed by a key of the definition.
"""
import json
import os
import subprocess
import sys
import tempfile

import rpm

import rpm_database
import rpm_root

WORK = tempfile.mkdtemp()
KEYS = os.path.join(WORK, "keys")  # rpm's database with the definition's keys, and no others


class Unverified(Exception):
    pass


class Unfit(Exception):
    pass


class Failed(Exception):
    pass


def main():
    with open(sys.argv[1]) as f:
        plan = json.load(f)
    root = os.path.realpath(sys.argv[2])
    os.umask(0o022)
    try:
        configure(plan)
        verify(plan)
        elements = read(plan, root)
        with rpm_root.devices(root):
            if plan["parent"]:
                rpm_database.begin(root, plan["database"])
            if elements:  # a child may only have accounts of its own
                install(elements, root)
            rpm_root.run(root, lambda: rpm_root.settle(plan))
            rpm_database.finish(root, plan["database"])
        rpm_root.date(root, plan["timestamp"])
    except Unverified as e:
        sys.exit(say(e, 5))
    except Unfit as e:
        sys.exit(say(e, 2))
    except (Failed, rpm_root.Failed, rpm_database.Failed) as e:
        sys.exit(say(e, 1))


def say(error, code):
    sys.stdout.flush()
    print(error, file=sys.stderr)
    return code


def configure(plan):
    """Say what the machine's and the distribution's own configuration of rpm would say otherwise."""
    for name, value in {
        "_dbpath": "/" + rpm_database.FOLDER,
        "_db_backend": "sqlite",
        "_keyring": "rpmdb",
        "_rpmlock_path": "%{_dbpath}/.rpm.lock",
        "_tmppath": "/var/tmp",
        "_install_langs": "all",
        "_excludedocs": "0",
        "_install_script_path": "/sbin:/bin:/usr/sbin:/usr/bin",
        "_netsharedpath": ":".join(plan["omit"]) or "%{nil}",
        "_transaction_color": "3" if plan["arch"] == "x86_64" else "0",
        "_prefer_color": "2",
        "_pkgverify_level": "none",  # verify has done it
        "__systemd_sysusers": "%{nil}",  # the releases' own rpm knows nothing of it: their packages make accounts in %pre
    }.items():
        rpm.addMacro(name, value)
    rpm.setVerbosity(rpm.RPMLOG_INFO)  # else what scripts print goes to /dev/null


def verify(plan):
    """Refuse packages that are damaged, or signed by nobody or by another key."""
    files = [p["file"] for p in plan["packages"]]
    os.mkdir(KEYS, 0o700)
    for key in plan["keys"]:
        done = rpmkeys("--import", key)
        if done.returncode != 0:
            raise Unverified(f"{os.path.basename(key)}: rpm does not take this key: {done.stdout.strip()}")
    said = rpmkeys("--checksig", *files).stdout.splitlines()
    for p in plan["packages"]:
        if f"{p['file']}: digests signatures OK" not in said:
            raise Unverified(f"{label(p)}: {reason(p['file'])}")


def rpmkeys(*args):
    return subprocess.run(["rpmkeys", "--define", f"_dbpath {KEYS}", "--define", "_keyring rpmdb", "--define", "_pkgverify_level all", *args],
                          env={**os.environ, "LC_ALL": "C"},
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def reason(file):
    """What is wrong with a package's signature or digests."""
    lines = [line.strip() for line in rpmkeys("--verbose", "--checksig", file).stdout.replace(file + ":", "").splitlines()]
    wrong = [line for line in lines if line and not line.endswith((": OK", ": NOTFOUND"))]
    return "; ".join(wrong) or ("it is not signed" if any(lines) else "it is no package")


def label(p):
    return f"{p['name']}-{p['version']}.{p['arch']}"


class Element:
    """A package in the transaction; it is the key by which rpm calls back."""

    def __init__(self, package, header):
        self.name, self.file, self.header = package["name"], package["file"], header


def read(plan, root):
    ts = rpm.TransactionSet(root)
    ts.setVSFlags(rpm.RPMVSF_MASK_NOSIGNATURES | rpm.RPMVSF_MASK_NODIGESTS)
    elements = []
    for p in plan["packages"]:
        with open(p["file"], "rb") as f:
            h = ts.hdrFromFdno(f)
        epoch = h[rpm.RPMTAG_EPOCH]
        evr = (f"{epoch}:" if epoch else "") + f"{h[rpm.RPMTAG_VERSION]}-{h[rpm.RPMTAG_RELEASE]}"
        arch = "src" if h.isSource() else h[rpm.RPMTAG_ARCH]
        if (h[rpm.RPMTAG_NAME], evr, arch) != (p["name"], p["version"], p["arch"]):
            raise Unverified(f"{label(p)}: the file is of {h[rpm.RPMTAG_NAME]}-{evr}.{arch}")
        elements.append(Element(p, h))
    return elements


def install(elements, root):
    ts = rpm.TransactionSet(root)
    ts.setVSFlags(rpm.RPMVSF_MASK_NOSIGNATURES | rpm.RPMVSF_MASK_NODIGESTS)
    ts.setFlags(rpm.RPMTRANS_FLAG_NOPLUGINS)
    # The lock says which architecture it is for; what is free is for the file system to say, when it is full.
    ts.setProbFilter(rpm.RPMPROB_FILTER_IGNOREARCH | rpm.RPMPROB_FILTER_IGNOREOS | rpm.RPMPROB_FILTER_DISKSPACE | rpm.RPMPROB_FILTER_DISKNODES)
    for e in elements:
        ts.addInstall(e.header, e, "i")
    if missing := ts.check():
        raise Unfit("the lock is not complete: " + "; ".join(sorted({unmet(m) for m in missing})))
    ts.order()
    with open(os.path.join(WORK, "scripts"), "w+b", buffering=0) as output:
        ts.scriptFd = output
        run = Run(output, len(elements))
        problems = ts.run(run, None)
        ts.closeDB()
    if run.failed:
        raise Failed("; ".join(run.failed))
    if problems is not None:
        raise Unfit("; ".join(str(p[0]) for p in problems) or "rpm: the transaction failed")


def unmet(problem):
    (name, version, release), (need, needed), _, _, sense = problem
    word = "conflicts with" if sense == rpm.RPMDEP_SENSE_CONFLICTS else "needs"
    return f"{name}-{version}-{release} {word} {need} {needed or ''}".strip()


SCRIPTS = {rpm.RPMTAG_PRETRANS: "%pretrans", rpm.RPMTAG_PREIN: "%pre", rpm.RPMTAG_POSTIN: "%post", rpm.RPMTAG_POSTTRANS: "%posttrans"}


class Run:
    """What rpm calls while it installs: opens packages, and notes scripts that fail, which rpm itself forgives."""

    def __init__(self, output, total):
        self.output, self.total, self.done, self.shown, self.failed, self.package = output, total, 0, 0, [], None

    def __call__(self, what, amount, total, key, _):
        if what == rpm.RPMCALLBACK_INST_OPEN_FILE:
            self.done += 1
            print(f"installing {key.name} ({self.done} of {self.total})", flush=True)
            self.package = open(key.file, "rb")
            return self.package.fileno()
        if what == rpm.RPMCALLBACK_INST_CLOSE_FILE:
            self.package.close()
        elif what in (rpm.RPMCALLBACK_SCRIPT_STOP, rpm.RPMCALLBACK_SCRIPT_ERROR):
            self.show()
            if what == rpm.RPMCALLBACK_SCRIPT_ERROR:
                self.failed.append(f"{getattr(key, 'name', key)}: {SCRIPTS.get(amount, 'trigger')} failed")
        elif what in (rpm.RPMCALLBACK_UNPACK_ERROR, rpm.RPMCALLBACK_CPIO_ERROR):
            self.failed.append(f"{getattr(key, 'name', key)}: it cannot be unpacked")
        return None

    def show(self):
        """Pass on what the last script printed."""
        self.output.seek(self.shown)
        text = self.output.read()
        self.shown += len(text)
        sys.stdout.buffer.write(text)
        sys.stdout.flush()


main()
