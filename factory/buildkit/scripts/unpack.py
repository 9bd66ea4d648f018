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
import posixpath
import re
import subprocess
import sys
import tarfile

PLAN, ROOT = sys.argv[1], os.path.realpath(sys.argv[2])
ADMIN = os.path.join(ROOT, "var/lib/dpkg")
STAGE = os.path.join(ROOT, ".unpack")  # on the same filesystem, so that a file moves to its place with a rename
CONTROL_FILES = ("preinst", "postinst", "prerm", "postrm", "config", "templates", "conffiles", "md5sums", "shlibs", "symbols", "triggers", "isinstallable")


def compile_globs(globs):
    # dpkg matches the whole path, and its * crosses slashes.
    return re.compile("|".join(fnmatch.translate(g) for g in globs)) if globs else None


def main():
    with open(PLAN) as f:
        plan = json.load(f)
    os.umask(0o022)
    os.mkdir(STAGE, 0o700)
    work = [(i, d, plan["omitPaths"], plan["keepPaths"]) for i, d in enumerate(plan["packages"])]
    # The largest first, so that no single one is left over at the end.
    work.sort(key=lambda w: -os.path.getsize(w[1]["file"]))
    with multiprocessing.Pool() as pool:
        unpacked = pool.map(unpack, work, chunksize=1)
    unpacked.sort(key=lambda u: u["name"])
    for d in ("info", "updates", "triggers", "alternatives", "parts"):
        os.makedirs(os.path.join(ADMIN, d))
    # Only unpacking is done in parallel: what becomes of a path that several packages have must not depend on who is faster.
    # base-files is the first, because it may bring the links of a merged /usr.
    ordered = sorted(unpacked, key=lambda u: u["name"] != "base-files")
    merge_usr(plan, ordered[0])
    place = Place()
    for u in ordered:
        place.folders_and_links(u)
    for u in ordered:
        place.files(u)
        os.rmdir(u["stage"])
    os.rmdir(STAGE)
    write_database(unpacked)


def merge_usr(plan, base):
    """Make the links of a merged /usr, unless base-files brings them."""
    if base["name"] != "base-files" or any(e.kind == "link" and e.path == "/bin" for e in base["entries"]):
        return
    dirs = ["bin", "sbin", "lib"]
    if plan["arch"] == "amd64":
        dirs += ["lib32", "lib64", "libx32"]
    for d in dirs:
        os.makedirs(os.path.join(ROOT, "usr", d), exist_ok=True)
        os.symlink("usr/" + d, os.path.join(ROOT, d))


class Entry:
    """What a package brings at a path, without its content: that lies in the file called staged."""

    __slots__ = ("kind", "path", "uid", "gid", "mode", "mtime", "to", "staged")

    def __init__(self, m, path):
        self.path, self.uid, self.gid, self.mode, self.mtime = path, m.uid, m.gid, m.mode, m.mtime
        self.to, self.staged = m.linkname, None
        if m.isdir():
            self.kind = "folder"
        elif m.issym():
            self.kind = "link"
        elif m.islnk():
            self.kind, self.to = "hard link", package_path(m.linkname)
        elif m.isreg():
            self.kind = "file"
        else:
            raise ValueError(f"{path}: a package may not bring a device or a pipe")


def package_path(name):
    path = "/" + ("" if name == "." else name.removeprefix("./").strip("/"))
    if posixpath.normpath(path) != path or "\n" in path:
        raise ValueError(f"{path!r}: a package may not bring such a path")
    return path


def unpack(job):
    """Read a package, with the content of its files in a folder of its own."""
    number, deb, omit, keep = job
    omit, keep = compile_globs(omit), compile_globs(keep)
    stage = os.path.join(STAGE, str(number))
    os.mkdir(stage)
    listed, entries = {}, []
    data = subprocess.run(["dpkg-deb", "--fsys-tarfile", deb["file"]], check=True, stdout=subprocess.PIPE).stdout
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:", encoding="utf-8") as tar:
        for m in tar:
            path = package_path(m.name)
            listed[path if path != "/" else "/."] = True
            if omit and not m.isdir() and omit.fullmatch(path) and not (keep and keep.fullmatch(path)):
                continue
            if omit and m.isdir() and omit.fullmatch(path + "/x") and not kept_below(path, keep):
                continue
            e = Entry(m, path)
            if e.kind == "file":
                e.staged = os.path.join(stage, str(len(entries)))
                write_file(tar, m, e.staged)
            entries.append(e)
    return {"name": deb["name"], "stage": stage, "list": list(listed), "entries": entries, "control": control(deb["file"])}


def write_file(tar, m, target):
    with tar.extractfile(m) as src, open(target, "xb") as dst:
        while chunk := src.read(1 << 20):
            dst.write(chunk)
    os.chown(target, m.uid, m.gid)
    os.chmod(target, m.mode)
    os.utime(target, (m.mtime, m.mtime))


def kept_below(path, keep):
    return keep is not None and (keep.fullmatch(path + "/x") or path.count("/") < 4)


class Place:
    """Puts entries in their places below ROOT, one after the other. Nothing replaces anything."""

    def __init__(self):
        self.known = {"/": ROOT}  # folders by the path that packages call them, which may lead over links
        self.stated = set()  # folders whose owner and mode a package has decided

    def folder(self, path):
        """The real folder of a path, made when it is missing."""
        real = self.known.get(path)
        if real is None:
            real = inside(os.path.join(self.folder(posixpath.dirname(path)), posixpath.basename(path)))
            os.makedirs(real, exist_ok=True)
            self.known[path] = real
        return real

    def target(self, path):
        return os.path.join(self.folder(posixpath.dirname(path)), posixpath.basename(path))

    def folders_and_links(self, u):
        for e in u["entries"]:
            if e.kind == "folder":
                # It may be a link that another package made (merged /usr): the link stays, and what it leads to. A folder
                # that is there keeps its owner and mode, as with dpkg.
                real = self.folder(e.path)
                if e.path == "/" or not os.path.islink(self.target(e.path)):
                    self.state(real, e)
            elif e.kind == "link":
                target = self.target(e.path)
                if os.path.islink(target) and os.readlink(target) == e.to:
                    continue
                os.symlink(e.to, target)
                os.chown(target, e.uid, e.gid, follow_symlinks=False)
                os.utime(target, (e.mtime, e.mtime), follow_symlinks=False)

    def state(self, real, e):
        if real not in self.stated:
            self.stated.add(real)
            os.chown(real, e.uid, e.gid)
            os.chmod(real, e.mode)

    def files(self, u):
        for e in u["entries"]:
            if e.kind == "file":
                target = self.target(e.path)
                if os.path.lexists(target):
                    raise FileExistsError(f"{u['name']}: {e.path} is there already")
                os.rename(e.staged, target)
            elif e.kind == "hard link":
                os.link(self.target(e.to), self.target(e.path), follow_symlinks=False)


def inside(path):
    real = os.path.realpath(path)
    if real != ROOT and not real.startswith(ROOT + "/"):
        raise ValueError(f"{path} leads out of the root, to {real}")
    return real


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
        with open(inside(os.path.join(ROOT, path.lstrip("/"))), "rb") as f:
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
    with open(path, "xb") as f:  # never through a link that a package brought
        f.write(data)
    os.chmod(path, mode)


main()
