"""Collects facts about the image whose root filesystem this runs in; Go judges them.

Usage: accept.py TESTS RESULTS. Runs as root with the toolbox's Python, standard library and rpmdb.py only. Facts come first and commands
last, those of root at the very end, so that nothing that a command does can change what is said about the image.
Results are kept in memory, out of reach of the commands, and written when every process but this one is dead.
"""
import base64
import json
import os
import selectors
import signal
import stat
import subprocess
import sys
import time

KEEP = 64 << 10  # bytes kept of each stream of a command
READ = 32 << 20  # bytes read of a file
MANY = 1000  # paths listed
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
TYPES = {stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "symlink", stat.S_IFIFO: "fifo",
         stat.S_IFSOCK: "socket", stat.S_IFCHR: "device", stat.S_IFBLK: "device"}


def content(path):
    """The bytes of a regular file that is neither a link nor too large."""
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(fd, "rb") as f:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError("not a regular file")
        data = f.read(READ + 1)
    if len(data) > READ:
        raise OSError("larger than %d MiB" % (READ >> 20))
    return data


def fact_read(path):
    try:
        return {"data": base64.b64encode(content(path)).decode()}
    except (OSError, ValueError) as e:
        return {"error": str(e)}


def fact_file(test):
    try:
        st = os.lstat(test["path"])
    except (FileNotFoundError, NotADirectoryError):
        return {"exists": False}
    except (OSError, ValueError) as e:
        return {"error": str(e)}
    fact = {"exists": True, "type": TYPES.get(stat.S_IFMT(st.st_mode), "unknown"), "mode": stat.S_IMODE(st.st_mode),
            "uid": st.st_uid, "gid": st.st_gid}
    if test.get("contains"):
        try:
            fact["contains"] = test["contains"].encode() in content(test["path"])
        except (OSError, ValueError) as e:
            fact["error"] = str(e)
    return fact


def fact_setuid(skip):
    """Every file with a setuid or setgid bit. Folders tell the device; on an overlay files may show another."""
    found, errors, folders = [], [], ["/"]
    device = os.lstat("/").st_dev
    while folders:
        folder = folders.pop()
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    st = entry.stat(follow_symlinks=False)
                    if stat.S_ISDIR(st.st_mode):
                        if st.st_dev == device and entry.path not in skip:
                            folders.append(entry.path)
                    elif st.st_mode & (stat.S_ISUID | stat.S_ISGID) and not stat.S_ISLNK(st.st_mode):
                        found.append(entry.path)
        except OSError as e:
            errors.append(str(e))
    return {"paths": sorted(found)[:MANY], "more": max(0, len(found) - MANY), "errors": errors[:20]}


def entries(path, fields):
    """The lines of /etc/passwd or /etc/group, split."""
    try:
        lines = content(path).decode("utf-8", "surrogateescape").split("\n")
    except OSError:
        return []
    split = [line.split(":") for line in lines if not line.startswith("#")]
    return [e for e in split if len(e) == fields and e[2].isdecimal()]


def account(spec):
    """What a container runtime makes of an image's user: uid, gid, further groups and home folder."""
    user, _, group = (spec or "0").partition(":")
    passwd, groups = entries("/etc/passwd", 7), entries("/etc/group", 4)
    known = next((e for e in passwd if e[0] == user), None) or next((e for e in passwd if e[2] == user), None)
    if known is None and not user.isdecimal():
        raise ValueError("no user %r in /etc/passwd" % user)
    uid, gid, more, home = int(user) if known is None else int(known[2]), 0, [], "/"
    if known is not None:
        gid, home = int(known[3]), known[5] or "/"
        more = [int(g[2]) for g in groups if known[0] in g[3].split(",")] if not group else []
    if group:
        named = next((g for g in groups if g[0] == group), None)
        if named is None and not group.isdecimal():
            raise ValueError("no group %r in /etc/group" % group)
        gid = int(group) if named is None else int(named[2])
    return uid, gid, more, home


def kill_others(process):
    """Ends all that a command left behind."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass
    process.wait()
    if os.getpid() != 1:  # then there are processes that are not ours
        return
    try:
        os.kill(-1, signal.SIGKILL)
    except ProcessLookupError:
        pass
    try:
        while True:
            os.waitpid(-1, 0)
    except ChildProcessError:
        pass


def collect(process, deadline):
    """Reads both streams until the command ends or its time is over. Returns kept bytes, whether some were dropped, and whether it ended."""
    kept, dropped = {"stdout": b"", "stderr": b""}, False
    with selectors.DefaultSelector() as ready:
        ready.register(process.stdout, selectors.EVENT_READ, "stdout")
        ready.register(process.stderr, selectors.EVENT_READ, "stderr")
        while True:
            ended = process.poll() is not None
            left = deadline - time.monotonic()
            if left <= 0:
                return kept, dropped, ended
            events = ready.select(0 if ended else min(left, 0.05)) if ready.get_map() else []
            if not events:
                if ended:
                    return kept, dropped, True
                if not ready.get_map():
                    try:
                        process.wait(left)
                    except subprocess.TimeoutExpired:
                        pass
                continue
            for key, _ in events:
                data = os.read(key.fd, 64 << 10)
                if not data:
                    ready.unregister(key.fileobj)
                room = KEEP - len(kept[key.data])
                kept[key.data] += data[:room]
                dropped = dropped or len(data) > room


def run(test, image, who):
    uid, gid, groups, home = who
    env = {"PATH": PATH, "HOME": home}
    env.update(e.split("=", 1) for e in image["env"] if "=" in e)
    began = time.monotonic()
    process = subprocess.Popen(
        test["run"], user=uid, group=gid, extra_groups=groups, umask=0o022, cwd=image["workdir"] or "/", env=env,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
    process.stdin.close()
    kept, dropped, ended = collect(process, began + test["timeout"])
    seconds = time.monotonic() - began
    kill_others(process)
    code = process.returncode
    return {"ended": ended, "exit": max(code, 0), "signal": max(-code, 0), "dropped": dropped, "seconds": seconds,
            "stdout": base64.b64encode(kept["stdout"]).decode(), "stderr": base64.b64encode(kept["stderr"]).decode()}


def run_all(tests, image):
    """Runs every command, the ones of root after all others. Returns the results in the order given."""
    results, ready = [None] * len(tests), []
    for i, test in enumerate(tests):
        try:
            ready.append((i, account(test["user"] or image["user"])))
        except ValueError as e:
            results[i] = {"error": str(e)}
    for i, who in sorted(ready, key=lambda r: r[1][0] == 0):
        try:
            results[i] = run(tests[i], image, who)
        except (OSError, ValueError, OverflowError, subprocess.SubprocessError) as e:
            results[i] = {"error": str(e)}
    return results


def main():
    os.umask(0o077)
    # Changing the effective user makes this process one that cannot be traced, not even by root without CAP_SYS_PTRACE.
    os.seteuid(65534)
    os.seteuid(0)
    with open(sys.argv[1], "rb") as f:
        tests = json.load(f)
    folder, name = os.path.split(sys.argv[2])
    os.chmod(folder, 0o700)
    out = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    results = {
        "files": [fact_file(t) for t in tests["files"]],
        "read": {path: fact_read(path) for path in tests["read"]},
        "setuid": fact_setuid(set(tests["skip"])),
    }
    if "rpm" in tests:
        import rpmdb  # only there when it is asked for
        results["read"][tests["rpm"]["folder"]] = rpmdb.fact(tests["rpm"])
    results["commands"] = run_all(tests["commands"], tests)
    try:
        os.unlink(name, dir_fd=out)  # nobody but a command can have put it there
    except FileNotFoundError:
        pass
    fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=out)
    with os.fdopen(fd, "wb") as f:
        f.write(json.dumps(results).encode())


main()
