"""Run a command, keep what it prints and how it ends, and exit 0.

usage: run.py OUTPUT COMMAND...   (OUTPUT/.factory/{exit,stdout,stderr})
"""
import os
import subprocess
import sys
import threading

LIMIT = 8 << 20  # bytes kept of each stream


def copy(src, dst, path):
    kept = 0
    with open(path, "wb") as keep:
        while chunk := src.read1(65536):
            dst.write(chunk)
            dst.flush()
            if kept < LIMIT:
                keep.write(chunk[: LIMIT - kept])
                kept += len(chunk)


def main():
    meta = os.path.join(sys.argv[1], ".factory")
    os.mkdir(meta, 0o700)
    try:
        p = subprocess.Popen(sys.argv[2:], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    except OSError as e:
        code, out, err = 127, b"", f"{sys.argv[2]}: {e.strerror}\n".encode()
        for name, data in (("stdout", out), ("stderr", err)):
            with open(os.path.join(meta, name), "wb") as f:
                f.write(data)
    else:
        threads = [
            threading.Thread(target=copy, args=(p.stdout, sys.stdout.buffer, os.path.join(meta, "stdout"))),
            threading.Thread(target=copy, args=(p.stderr, sys.stderr.buffer, os.path.join(meta, "stderr"))),
        ]
        for t in threads:
            t.start()
        code = p.wait()
        for t in threads:
            t.join()
    with open(os.path.join(meta, "exit"), "w") as f:
        f.write(str(code if code >= 0 else 128 - code))


main()
