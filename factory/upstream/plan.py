"""Decide with apt's library what it would install for each image, as apt-get does where nothing has to be mended.

usage: plan.py IMAGES WORK OUT ARCH N...   (IMAGES/N/preferences, WORK/N.want -> OUT/N/ARCH.uris)

apt-get spends most of its time on what it would print. Here packages are read once for all images, and each is decided in a process of its
own. Nothing is written for an image where more than marking is to be done (a package that is not there, something broken, something that
was marked and turned out not to be needed), or where it matters in which order it is done. It is apt-get's then, as all images are where
there is no library.
"""
import os
import sys
import traceback

try:
    import apt_pkg
except ImportError:
    sys.exit(0)


def read(path):
    with open(path, encoding="utf-8") as f:
        return f.read()


def marked(cache, names):
    """Mark names and what they need; False where that is not all that is to be done."""
    state = apt_pkg.DepCache(cache)
    asked = []
    for name in names:
        if name not in cache or state.get_candidate_ver(cache[name]) is None:
            return False
        asked.append(cache[name])
    with apt_pkg.ActionGroup(state):
        for p in asked:
            state.mark_install(p, False)
        for p in asked:
            if state.is_inst_broken(p):
                state.mark_install(p, True)
    chosen = [p for p in cache.packages if state.marked_install(p)]
    whole = len(chosen) == state.inst_count and not (state.broken_count or state.del_count)
    return state if whole and not any(state.is_garbage(p) for p in chosen) else False


def decide(cache, names, target):
    """Write what apt would fetch, in the form of apt-get --print-uris."""
    state = marked(cache, names)
    if not state:
        return
    sources, fetcher = apt_pkg.SourceList(), apt_pkg.Acquire()
    sources.read_main_list()
    if not apt_pkg.PackageManager(state).get_archives(fetcher, sources, apt_pkg.PackageRecords(cache)) or len(fetcher.items) != state.inst_count:
        return
    with open(target, "w", encoding="utf-8") as f:
        f.writelines(sorted(f"'{i.desc_uri}' {os.path.basename(i.destfile)} {i.filesize}\n" for i in fetcher.items))


def together(cache, wanted, work, target):
    """Decide for each N of wanted, forwards and backwards, and keep what came out twice."""
    jobs = []
    for n, names in wanted.items():
        jobs.append(lambda n=n, names=names: decide(cache, names, f"{work}/{n}.forwards"))
        jobs.append(lambda n=n, names=names: decide(cache, names[::-1], f"{work}/{n}.backwards"))
    apart(jobs, os.cpu_count())
    for n in wanted:
        found = [f"{work}/{n}.{way}" for way in ("forwards", "backwards")]
        if all(map(os.path.exists, found)) and read(found[0]) == read(found[1]):
            with open(target(n), "w", encoding="utf-8") as f:
                f.write(read(found[0]))
        for name in filter(os.path.exists, found):
            os.remove(name)


def apart(jobs, width):
    """Run jobs in processes of their own, so many at once."""
    for i, job in enumerate(jobs):
        if i >= width:
            os.wait()
        if os.fork() == 0:
            try:
                job()
            except BaseException:  # apt-get says what it is
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(0)
    for _ in jobs[:width]:
        os.wait()


def main(images, work, out, arch, *numbers):
    apt_pkg.init()
    alike = {}
    for n in numbers:
        if not os.path.exists(f"{out}/{n}/exit"):
            alike.setdefault(read(f"{images}/{n}/preferences"), []).append(n)

    def pinned(members):
        apt_pkg.config.set("Dir::Etc::preferences", f"{images}/{members[0]}/preferences")
        wanted = {n: read(f"{work}/{n}.want").split() for n in members}
        together(apt_pkg.Cache(None), wanted, work, lambda n: f"{out}/{n}/{arch}.uris")

    apart([lambda m=m: pinned(m) for m in alike.values()], 1)


main(*sys.argv[1:])
