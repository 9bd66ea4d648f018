"""check_rpm.py: what solve_dnf.py checks of packages: where they lie, what bytes they have, who signed them, what they are."""
import glob
import hashlib
import os
import posixpath
import subprocess
import urllib.parse

import rpm


class BadKey(Exception):
    """A key that rpm does not accept: its file, and why."""


def inside(repository, base, location):
    """Returns the path below the archive's root, None when it is elsewhere."""
    root = repository["root"] + "/"
    base = (base or repository["url"]).rstrip("/") + "/"
    if not base.startswith(root) or location.startswith("/") or "://" in location:
        return None
    path = posixpath.normpath(base[len(root):] + urllib.parse.unquote(location))
    return None if path == ".." or path.startswith(("../", "/")) else path


def digest(name, *kinds):
    sums, size = [hashlib.new(kind) for kind in kinds], 0
    with open(name, "rb") as file:
        while block := file.read(1 << 20):
            size += len(block)
            for sum in sums:
                sum.update(block)
    return size, [sum.hexdigest() for sum in sums]


def signatures(files, keys, work):
    """Has rpm check packages with the pinned keys and no others; yields (file, kind, text) of what is wrong."""
    if not files:
        return
    rpmkeys = ["rpmkeys"]
    for macro in ("_dbpath " + work + "/rpm", "_keyringpath " + work + "/rpm/keys", "_keyring rpmdb", "_pkgverify_level all"):
        rpmkeys += ["--define", macro]
    for name in sorted(glob.glob(os.path.join(keys, "*.asc"))):
        done = subprocess.run(rpmkeys + ["--import", name], capture_output=True, text=True, errors="replace")
        if done.returncode:
            raise BadKey(os.path.basename(name), done.stdout + done.stderr)
    done = subprocess.run(rpmkeys + ["--checksig", "--verbose"] + list(files), stdout=subprocess.PIPE, text=True, errors="replace", env=dict(os.environ, LC_ALL="C"))
    said, current = {name: [] for name in files}, []
    for line in done.stdout.splitlines():
        if line.rstrip(":") in said and line.endswith(":"):
            current = said[line.rstrip(":")]
        else:
            current.append(line.strip())
    for name, lines in said.items():
        good = [l for l in lines if l.endswith(": OK")]
        bad = [l for l in lines if l not in good]
        if bad or not any("ignature" in l for l in good):
            yield name, "signature", "\n".join(bad)
    if done.returncode and not any(l for lines in said.values() for l in lines if not l.endswith(": OK")):
        raise RuntimeError("rpmkeys ended with %d" % done.returncode)


def headers(files, work):
    """Yields (file, name-[epoch:]version-release.arch) as the headers say; the signatures were checked before."""
    rpm.addMacro("_dbpath", work + "/rpm")
    ts = rpm.TransactionSet()
    ts.setKeyring(rpm.keyring())  # or it would look for this machine's
    ts.setVSFlags(rpm._RPMVSF_NOSIGNATURES | rpm._RPMVSF_NODIGESTS)
    for name in files:
        with open(name, "rb") as file:
            h = ts.hdrFromFdno(file.fileno())
        epoch = "%d:" % h["epoch"] if h["epoch"] else ""
        yield name, "%s-%s%s-%s.%s" % (h["name"], epoch, h["version"], h["release"], h["arch"])
