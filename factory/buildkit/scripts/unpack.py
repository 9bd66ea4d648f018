"""Unpack Debian packages into an empty root and write dpkg's database for them.

usage: unpack.py PLAN ROOT

Afterwards every package is "unpacked", exactly as after dpkg --unpack: files, list, control files, conffiles with
their sums, registered triggers. The packages' preinst scripts and dpkg --configure run later, inside the target.
"""
import fnmatch
import hashlib
import io
import json
import multiprocessing
import os
import re
import subprocess
import sys
import tarfile

PLAN, ROOT = sys.argv[1], sys.argv[2]
ADMIN = os.path.join(ROOT, "var/lib/dpkg")
CONTROL_FILES = ("preinst", "postinst", "prerm", "postrm", "config", "templates", "conffiles", "md5sums", "shlibs", "symbols", "triggers", "isinstallable")


def compile_globs(globs):
    # dpkg matches the whole path, and its * crosses slashes.
    return re.compile("|".join(fnmatch.translate(g) for g in globs)) if globs else None


def main():
    with open(PLAN) as f:
        plan = json.load(f)
    os.umask(0o022)
    debs = plan["packages"]
    merge_usr(plan)
    for d in ("info", "updates", "triggers", "alternatives", "parts"):
        os.makedirs(os.path.join(ADMIN, d), exist_ok=True)
    work = [(d, plan["omitPaths"], plan["keepPaths"]) for d in debs]
    # The largest first, so that no single one is left over at the end.
    work.sort(key=lambda w: -os.path.getsize(w[0]["file"]))
    with multiprocessing.Pool() as pool:
        unpacked = pool.map(unpack, work, chunksize=1)
    unpacked.sort(key=lambda u: u["name"])
    write_database(unpacked)


def merge_usr(plan):
    """Make the links of a merged /usr, unless base-files brings them."""
    base = next((d for d in plan["packages"] if d["name"] == "base-files"), None)
    names = members(base["file"]) if base else []
    if base is None or "./bin" in names:
        return
    dirs = ["bin", "sbin", "lib"]
    if plan["arch"] == "amd64":
        dirs += ["lib32", "lib64", "libx32"]
    for d in dirs:
        os.makedirs(os.path.join(ROOT, "usr", d), exist_ok=True)
        os.symlink("usr/" + d, os.path.join(ROOT, d))


def members(deb):
    with tarfile.open(fileobj=io.BytesIO(fsys(deb)), mode="r:") as tar:
        return [m.name for m in tar if m.issym()]


def fsys(deb):
    return subprocess.run(["dpkg-deb", "--fsys-tarfile", deb], check=True, stdout=subprocess.PIPE).stdout


def unpack(job):
    deb, omit, keep = job
    omit, keep = compile_globs(omit), compile_globs(keep)
    listed, modes = [], []
    seen = set()
    data = fsys(deb["file"])
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:", encoding="utf-8") as tar:
        for m in tar:
            path = "/" + m.name.removeprefix("./").strip("/")
            if path == "/":
                path = "/."
            if path not in seen:
                seen.add(path)
                listed.append(path)
            if omit and not m.isdir() and omit.fullmatch(path) and not (keep and keep.fullmatch(path)):
                continue
            if omit and m.isdir() and omit.fullmatch(path + "/x") and not kept_below(path, keep):
                continue
            extract(tar, m, path)
    return {"name": deb["name"], "list": listed, "control": control(deb["file"])}


def kept_below(path, keep):
    return keep is not None and (keep.fullmatch(path + "/x") or path.count("/") < 4)


def extract(tar, m, path):
    target = os.path.join(ROOT, path.lstrip("/")) if path != "/." else ROOT
    if m.isdir():
        # A directory of one package may be a link that another one made (merged /usr): the link stays.
        if os.path.isdir(target):
            if os.path.islink(target):
                return
        else:
            os.makedirs(target, exist_ok=True)
        os.chown(target, m.uid, m.gid)
        os.chmod(target, m.mode)
        return
    parent = os.path.dirname(target)
    os.makedirs(parent, exist_ok=True)
    if m.issym():
        if os.path.islink(target) and os.readlink(target) == m.linkname:
            return
        os.symlink(m.linkname, target)
        os.chown(target, m.uid, m.gid, follow_symlinks=False)
        os.utime(target, (m.mtime, m.mtime), follow_symlinks=False)
    elif m.islnk():
        os.link(os.path.join(ROOT, m.linkname.removeprefix("./").lstrip("/")), target)
    elif m.isreg():
        with tar.extractfile(m) as src, open(target, "xb") as dst:
            while chunk := src.read(1 << 20):
                dst.write(chunk)
        os.chown(target, m.uid, m.gid)
        os.chmod(target, m.mode)
        os.utime(target, (m.mtime, m.mtime))
    else:
        raise ValueError(f"{path}: a package may not bring a device or a pipe")


def control(deb):
    raw = subprocess.run(["dpkg-deb", "--ctrl-tarfile", deb], check=True, stdout=subprocess.PIPE).stdout
    files = {}
    with tarfile.open(fileobj=io.BytesIO(raw), mode="r:") as tar:
        for m in tar:
            if m.isreg():
                files[m.name.removeprefix("./")] = (tar.extractfile(m).read(), m.mode)
    return files


def field(stanza, name):
    m = re.search(rf"^{name}:[ \t]*(.*)$", stanza, re.M | re.I)
    return m.group(1).strip() if m else ""


def write_database(unpacked):
    status, interests = [], {}
    for u in unpacked:
        stanza = u["control"]["control"][0].decode("utf-8").strip("\n")
        multi = field(stanza, "Multi-Arch") == "same"
        qualified = u["name"] + (":" + field(stanza, "Architecture") if multi else "")
        info = os.path.join(ADMIN, "info", qualified)
        write(info + ".list", "".join(p + "\n" for p in u["list"]).encode())
        for name, (data, mode) in u["control"].items():
            if name in CONTROL_FILES:
                script = name in ("preinst", "postinst", "prerm", "postrm", "config")
                write(f"{info}.{name}", data, 0o755 if script else 0o644)
        status.append(stanza_of(u, stanza))
        if "triggers" in u["control"]:
            register(u["control"]["triggers"][0].decode(), qualified, interests)
    write(os.path.join(ADMIN, "status"), ("\n\n".join(status) + "\n").encode())
    write(os.path.join(ADMIN, "info/format"), b"1\n")
    files = []
    for name, who in sorted(interests.items()):
        if name.startswith("/"):
            files += [f"{name} {w}\n" for w in who]
        else:
            write(os.path.join(ADMIN, "triggers", name), "".join(w + "\n" for w in who).encode())
    write(os.path.join(ADMIN, "triggers/File"), "".join(files).encode())
    write(os.path.join(ADMIN, "triggers/Unincorp"), b"")
    write(os.path.join(ADMIN, "triggers/Lock"), b"", 0o600)


def stanza_of(u, stanza):
    """The status stanza of an unpacked package: its control file, a status and its conffiles' sums."""
    lines = stanza.split("\n")
    lines.insert(1, "Status: install ok unpacked")
    if "conffiles" in u["control"]:
        sums = []
        for line in u["control"]["conffiles"][0].decode().split("\n"):
            words = line.split()
            if not words or words[0] == "remove-on-upgrade":
                continue
            sums.append(f" {words[-1]} {md5(words[-1])}")
        if sums:
            lines.append("Conffiles:")
            lines += sums
    return "\n".join(lines)


def md5(path):
    try:
        with open(os.path.join(ROOT, path.lstrip("/")), "rb") as f:
            return hashlib.file_digest(f, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    except FileNotFoundError:
        return "newconffile"


def register(text, package, interests):
    for line in text.split("\n"):
        words = line.split("#")[0].split()
        if len(words) == 2 and words[0].startswith("interest"):
            suffix = "/noawait" if words[0] == "interest-noawait" else ""
            interests.setdefault(words[1], []).append(package + suffix)


def write(path, data, mode=0o644):
    with open(path, "wb") as f:
        f.write(data)
    os.chmod(path, mode)


main()
