"""Reads the names of the packages in rpm's database, whatever form it has, without changing it.

Nothing here goes through rpm itself: it passes over headers that are damaged, and a package that is passed over would
count as absent. Whatever is wrong with a database is an error that says so.
"""
import base64
import os
import sqlite3
import stat
import struct
import subprocess
import threading
import time

LARGEST = 256 << 20  # bytes of a database
PATIENCE = 120  # seconds
NAME, STRING = 1000, 6  # a tag of rpm's headers and its type


def fact(ask):
    """The names, one a line, as accept.py hands over the content of a file."""
    forms = {"rpmdb.sqlite": sqlite_headers, "Packages": berkeley_headers}
    found = [f for f in forms if os.path.lexists(os.path.join(ask["folder"], f))]
    if len(found) != 1:
        return {"error": "holds both " + " and ".join(found) if found else "holds no package database"}
    path = os.path.join(ask["folder"], found[0])
    try:
        st = os.lstat(path)
        if not stat.S_ISREG(st.st_mode):
            raise ValueError("not a regular file")
        if st.st_size > LARGEST:
            raise ValueError("larger than %d MiB" % (LARGEST >> 20))
        names = [name(header) for header in forms[found[0]](path, ask)]
    except (OSError, ValueError, sqlite3.Error) as e:
        return {"error": "%s: %s" % (found[0], e)}
    return {"data": base64.b64encode(b"\n".join(names)).decode()}


def name(header):
    """The package's name in a header: two counts, the entries (tag, type, offset, count), the values."""
    if not isinstance(header, bytes) or len(header) < 8:
        raise ValueError("a header is damaged")
    entries, size = struct.unpack_from(">II", header)
    values = 8 + 16 * entries
    if len(header) != values + size:
        raise ValueError("a header is damaged")
    for at in range(8, values, 16):
        tag, kind, offset, _ = struct.unpack_from(">IIII", header, at)
        if (tag, kind) == (NAME, STRING):
            return header[values + offset:header.index(b"\0", values + offset)]
    raise ValueError("a package has no name")


def sqlite_headers(path, _):
    """The form of rpm since 4.16."""
    for journal in (path + "-wal", path + "-journal"):
        if os.path.lexists(journal) and os.lstat(journal).st_size:
            raise ValueError("%s holds changes that are not in it" % os.path.basename(journal))
    end = time.monotonic() + PATIENCE
    database = sqlite3.connect("file:%s?mode=ro&immutable=1" % path, uri=True)
    try:
        database.set_progress_handler(lambda: time.monotonic() > end, 10000)
        if database.execute("PRAGMA quick_check(1)").fetchall() != [("ok",)]:
            raise ValueError("is damaged")
        for (header,) in database.execute("SELECT blob FROM Packages"):
            yield header
    finally:
        database.close()


def berkeley_headers(path, ask):
    """The form of older releases. The dump is silent about most damage, so the database is verified and counted."""
    for _ in lines(ask["verify"] + [path]):
        pass
    number, count, expected = None, 0, None
    for line in lines(ask["dump"] + [path]):
        if line.startswith(b"h_nelem="):
            expected = int(line[8:])
        if not line.startswith(b" "):
            continue
        if number is None:
            number = line.strip()
            continue
        if number.strip(b"0"):  # record 0 is a counter
            yield bytes.fromhex(line.decode())
        number, count = None, count + 1
    if count != expected:
        raise ValueError("%d of %s records are there" % (count, expected))


def lines(args):
    """What a program of the toolbox prints. Its failure is a ValueError with its last words."""
    last = b""
    with subprocess.Popen(args, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        process.stdin.close()
        timer = threading.Timer(PATIENCE, process.kill)
        timer.start()
        try:
            for line in process.stdout:
                yield line
                last = line
            if process.wait() != 0:
                raise ValueError("exit %d: %s" % (process.returncode, last.decode("utf-8", "replace").strip()[:200]))
        finally:
            timer.cancel()
            process.kill()
