"""What a root has besides its packages: devices while scripts run, the definition's accounts, the omitted folders."""
import contextlib
import os
import stat
import sys

# name: minor number of the memory devices
DEVICES = {"null": 3, "zero": 5, "full": 7, "random": 8, "urandom": 9}


class Failed(Exception):
    pass


@contextlib.contextmanager
def devices(root):
    """The devices that scripts take for granted; they are gone afterwards. There is no /proc: nothing here may mount."""
    folder = os.path.join(root, "dev")
    with contextlib.suppress(FileExistsError):  # that of a parent has it, empty
        os.mkdir(folder, 0o755)
    for name, minor in DEVICES.items():
        os.mknod(os.path.join(folder, name), 0o666 | stat.S_IFCHR, os.makedev(1, minor))
        os.chmod(os.path.join(folder, name), 0o666)
    yield
    for name in DEVICES:
        path = os.path.join(folder, name)
        with contextlib.suppress(FileNotFoundError):
            if stat.S_ISCHR(os.lstat(path).st_mode):
                os.unlink(path)


def run(root, work):
    """Do the work with root as /, so that no link in it leads out."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.chroot(root)
            os.chdir("/")
            work()
            code = 0
        except (Failed, OSError) as e:
            print(e, file=sys.stderr)
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    if os.waitpid(child, 0)[1] != 0:
        raise Failed("the accounts and settings of the definition could not be made")


def settle(plan):
    if plan["omit"]:
        os.makedirs("/etc/rpm", exist_ok=True)
        # rpm reads /etc/rpm/macros.*; what is shared over the network it does not install.
        write(plan, "/etc/rpm/macros.factory", "# What this image leaves out of every package, its children leave out too.\n%_netsharedpath " + ":".join(plan["omit"]) + "\n")
    for user in plan["users"]:
        if not (plan["parent"] and there(user)):
            add_account(user, plan["timestamp"] // 86400)


def there(user):
    """Whether the parent has the account."""
    return any(a[:1] + a[2:4] == [user["name"], str(user["uid"]), str(user["gid"])] for a in entries("/etc/passwd"))


def write(plan, path, text):
    if plan["parent"] and os.path.isfile(path):
        with open(path) as f:
            if f.read() == text:
                return
        os.unlink(path)
    with open(path, "x") as f:
        f.write(text)


def add_account(user, day):
    """What groupadd and useradd would write; the image may have neither."""
    name, uid, gid, home = user["name"], str(user["uid"]), str(user["gid"]), user["home"]
    accounts, groups = entries("/etc/passwd"), entries("/etc/group")
    if any(a[0] == name or a[2] == uid for a in accounts):
        raise Failed(f"account {name}: its name or its number {uid} is taken by a package's account")
    if not any(g[2] == gid for g in groups):
        if any(g[0] == name for g in groups):
            raise Failed(f"account {name}: a package's group has its name, and not the number {gid}")
        append("/etc/group", f"{name}:x:{gid}:")
        append("/etc/gshadow", f"{name}:!::", only_if_there=True)
    append("/etc/passwd", f"{name}:x:{uid}:{gid}::{home}:{user['shell']}")
    append("/etc/shadow", f"{name}:!!:{day}:0:99999:7:::", only_if_there=True)
    if not os.path.lexists(home):
        os.makedirs(os.path.dirname(home), exist_ok=True)
        os.mkdir(home, 0o750)
        os.chown(home, user["uid"], user["gid"])


def entries(path):
    try:
        with open(path) as f:
            return [line.split(":") + [""] * 3 for line in f.read().splitlines()]
    except FileNotFoundError:
        return []


def append(path, line, only_if_there=False):
    if only_if_there and not os.path.exists(path):
        return
    with open(path, "a+") as f:
        f.seek(0)
        text = f.read()
        f.write(("\n" if text and not text.endswith("\n") else "") + line + "\n")


def date(root, timestamp):
    """Give all that the build itself made the lock's time."""
    for folder, names, files in os.walk(root, topdown=False):
        for name in files + names:
            set_back(os.path.join(folder, name), timestamp)
    set_back(root, timestamp)


def set_back(path, timestamp):
    if os.lstat(path).st_mtime > timestamp:
        os.utime(path, (timestamp, timestamp), follow_symlinks=False)
