"""rpm's database in the form that the release's own rpm reads, with the same bytes for the same packages."""
import os
import shutil
import sqlite3
import struct
import subprocess
import tempfile

import rpm

FOLDER = "var/lib/rpm"
PAGE = 4096  # bytes, of Berkeley DB's files


class Failed(Exception):
    pass


def within(root):
    folder = os.path.realpath(os.path.join(root, FOLDER))
    if not folder.startswith(root + "/"):
        raise Failed(f"/{FOLDER} leads out of the root, to {folder}")
    return folder


def begin(root, form):
    """Give the database of a parent the form that the toolbox's rpm writes."""
    folder = within(root)
    if not os.path.isfile(os.path.join(folder, "Packages" if form == "berkeley" else "rpmdb.sqlite")):
        raise Failed(f"the parent has no database of packages in /{FOLDER}")
    if form != "berkeley":
        return
    _, records = dumped(os.path.join(folder, "Packages"))
    headers = sorted((struct.unpack("<I", key)[0], blob) for key, blob in records)
    for path in files(folder):
        os.unlink(path)
    # rpm exchanges the whole folder, which cannot be done where the parent's files lie.
    work = os.path.join(tempfile.mkdtemp(), "rpm")
    os.mkdir(work)
    db = sqlite3.connect(os.path.join(work, "rpmdb.sqlite"))
    db.execute("CREATE TABLE 'Packages' (hnum INTEGER PRIMARY KEY AUTOINCREMENT, blob BLOB NOT NULL)")
    db.executemany("INSERT INTO Packages VALUES (?, ?)", [h for h in headers if h[0] > 0])
    db.commit()
    db.close()
    rpm.addMacro("_dbpath", work)
    ts = rpm.TransactionSet("/")
    ts.setVSFlags(rpm.RPMVSF_MASK_NOSIGNATURES | rpm.RPMVSF_MASK_NODIGESTS)
    if ts.rebuildDB() != 0:
        raise Failed(f"/{FOLDER}: rpm cannot continue the parent's database")
    ts.closeDB()
    rpm.delMacro("_dbpath")
    for name in os.listdir(work):
        shutil.copyfile(os.path.join(work, name), os.path.join(folder, name))


def finish(root, form):
    """Give the database, which the toolbox's rpm has written, its final form."""
    folder = within(root)
    path = os.path.join(folder, "rpmdb.sqlite")
    if form == "berkeley":
        berkeley(folder, path)
        rebuild(root)
        canonical(folder)
    else:
        compact(path)
    for name in os.listdir(folder):
        if name in (".rpm.lock", ".dbenv.lock") or name.startswith("__db.") or name.endswith(("-wal", "-shm", "-journal")):
            os.unlink(os.path.join(folder, name))


def compact(path):
    """Write a SQLite file anew, without journal, free pages and traces of how it came about."""
    fresh = path + ".new"
    db = sqlite3.connect(f"file:{path}?mode=rw", uri=True)
    db.execute("PRAGMA journal_mode = DELETE")
    db.execute("VACUUM INTO ?", (fresh,))
    db.close()
    os.chmod(fresh, 0o644)
    os.rename(fresh, path)


def berkeley(folder, path):
    """Write the packages into a file of Berkeley DB, as rpm before 4.16 keeps them: number -> header, 0 -> the highest number."""
    db = sqlite3.connect(f"file:{path}?mode=rw", uri=True)
    headers = db.execute("SELECT hnum, blob FROM Packages ORDER BY hnum").fetchall()
    db.close()
    os.unlink(path)
    pairs = [(0, struct.pack("<I", headers[-1][0]))] + headers
    load(os.path.join(folder, "Packages"), "hash", ((struct.pack("<I", number), blob) for number, blob in pairs))


def rebuild(root):
    """Have the root's own rpm, if it has one that runs, make its indexes."""
    program = "/usr/bin/rpmdb" if os.path.exists(os.path.join(root, "usr/bin/rpmdb")) else "/usr/bin/rpm"
    if not os.path.exists(root + program):
        print("the root has no rpm: its database has no indexes")
        return
    done = subprocess.run(["chroot", root, program, "--rebuilddb"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    print(done.stdout, end="")
    if done.returncode != 0:
        raise Failed(f"{program} --rebuilddb: exit {done.returncode}")


def canonical(folder):
    """Write every file of Berkeley DB anew: what a page says beside its records depends on how it came about."""
    for path in files(folder):
        kind, records = dumped(path)
        os.unlink(path)
        load(path, kind, records)


def files(folder):
    """The files of Berkeley DB that rpm keeps."""
    paths = [os.path.join(folder, name) for name in sorted(os.listdir(folder)) if name[0].isupper()]
    return [path for path in paths if os.path.isfile(path) and not os.path.islink(path)]


def dumped(path):
    """The kind and the records of a file."""
    dump = subprocess.run(["db5.3_dump", path], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if dump.returncode != 0:
        raise Failed(f"/{FOLDER}/{os.path.basename(path)}: {dump.stderr.strip()}")
    return parse(dump.stdout)


def parse(dump):
    """The kind and the records of a dump: lines of hex, key and value in turn, between a head and DATA=END."""
    head, _, rest = dump.partition("HEADER=END\n")
    fields = dict(line.split("=", 1) for line in head.splitlines())
    lines = [bytes.fromhex(line) for line in rest.splitlines() if line.startswith(" ")]
    return fields["type"], list(zip(lines[::2], lines[1::2], strict=True))


def load(path, kind, records):
    """Make a file of Berkeley DB that holds the records, and nothing that differs from one time to the next."""
    text = [f"VERSION=3\nformat=bytevalue\ntype={kind}\ndb_pagesize={PAGE}\nHEADER=END\n"]
    text += [f" {key.hex()}\n {value.hex()}\n" for key, value in records]
    done = subprocess.run(["db5.3_load", path], input="".join(text) + "DATA=END\n", stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        raise Failed(f"{os.path.basename(path)}: {done.stdout.strip()}")
    with open(path, "r+b") as f:
        data = bytearray(f.read())
        data[52:72] = bytes(20)  # the file's id, made of its inode and the time
        for at in range(0, len(data), PAGE):
            wipe(data, at)
        f.seek(0)
        f.write(data)
    os.chmod(path, 0o644)


def wipe(data, at):
    """Clear what a page does not use, which is memory of whoever wrote it."""
    items, free, kind = struct.unpack_from("<HHxB", data, at + 20)
    used = [(0, 26)]
    if kind in (8, 9):  # the first page
        used = [(0, 512)]
    elif kind == 7:  # a part of a long value; what is free elsewhere is how long here
        used = [(0, 26 + free)]
    elif kind in (3, 5, 13):
        places = struct.unpack_from(f"<{items}H", data, at + 26)
        used = [(0, 26 + 2 * items)]
        # An item of a bucket ends where the one before it begins; those of trees say how long they are.
        for place, end in zip(places, (PAGE, *places)):
            item = data[at + place:at + (end if kind == 13 else PAGE)]
            used += [(place + first, place + last) for first, last in parts(kind, item)]
    page = bytearray(PAGE)
    for begin, end in used:
        page[begin:end] = data[at + begin:at + end]
    data[at:at + PAGE] = page


def parts(kind, item):
    """The parts of an item that mean something."""
    if kind == 13:  # a bucket: kind, then the text
        return [(0, 1), (4, 12)] if item[0] == 3 else [(0, len(item))]
    length, form = struct.unpack_from("<HB", item)
    away = form & 0x7f == 3
    if kind == 5:  # a leaf: length, kind, then the text
        return [(2, 3), (4, 12)] if away else [(0, 3 + length)]
    text = [(14, 15), (16, 24)] if away else [(12, 12 + length)]
    return [(0, 3), (4, 12), *text]  # inner: also the page below and its number of records
