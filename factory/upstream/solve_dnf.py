"""solve_dnf.py IN OUT WORK SECRETS: lets dnf read repositories into an empty system of its own in WORK and decide what to install.

IN has request.json and keys/*.asc; SECRETS has ARCHIVE/{cert,key,ca}.pem of archives that ask for a client certificate.
OUT gets result.json, and of every repository what dnf verified: repomd/PLATFORM.N and updateinfo/PLATFORM.N; or faults.json.
Every package that the request does not say to have is fetched and checked before the result is written; what metadata say of one
is what its signed header says, or what the lock said when that was compared.
Exit: 10 metadata, 11 no solution, 12 packages.
"""
import glob
import json
import logging
import os
import re
import shutil
import sys
import xml.etree.ElementTree as xml

import dnf
import dnf.callback
import dnf.module.module_base
import hawkey

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import check_rpm  # noqa: E402: it lies beside this file

METADATA, SOLUTION, PACKAGES = 10, 11, 12
UPDATEINFO = (64 << 20) + 1  # bytes; one more than the factory reads
ROOM = 1 << 20  # bytes; with less there is no telling what else went wrong
STRONG = ("sha256", "sha384", "sha512")


class Faults(Exception):
    """What is wrong, for a person to read after the factory translated it."""

    def __init__(self, code, faults):
        super().__init__(code)
        self.code, self.faults = code, faults


def fault(kind, text="", **more):
    return dict(more, kind=kind, text=str(text))


class Words(logging.Handler):
    """Keeps what dnf says beside its exceptions: they lack the reasons."""

    def __init__(self):
        super().__init__(logging.WARNING)
        self.said = []
        logging.getLogger("dnf").addHandler(self)

    def emit(self, record):
        self.said.append(record.getMessage())

    def take(self, e):
        said, self.said = self.said + [str(e)], []
        return "\n".join(said)


class Refusals(dnf.callback.DownloadProgress):
    """Keeps why a package did not come: the exception does not say."""

    def __init__(self):
        super().__init__()
        self.why = {}

    def end(self, payload, status, msg):
        if status is not None and msg:
            self.why.setdefault(str(payload.pkg), str(msg))


class Platform:
    """The packages of one platform."""

    def __init__(self, request, platform, folders):
        self.request, self.name, self.repositories = request, platform["name"], platform["repositories"]
        self.machine = platform["machine"]
        self.keys, self.out, self.secrets = os.path.join(folders[0], "keys"), folders[1], folders[3]
        self.work, self.words = os.path.join(folders[2], self.name), Words()
        self.base = dnf.Base(self.configuration())
        self.base.conf.arch, self.base.conf.ignorearch = self.machine, True

    def configuration(self):
        """Looks at nothing but WORK: this machine's own configuration is never read."""
        conf = dnf.conf.Conf()
        for option, folder in (("installroot", "root"), ("cachedir", "cache"), ("persistdir", "state"), ("logdir", "log"), ("system_cachedir", "cache")):
            path = os.path.join(self.work, folder)
            os.makedirs(path, exist_ok=True)
            setattr(conf, option, path)
        conf.config_file_path, conf.reposdir, conf.varsdir, conf.pluginconfpath = "", [], [], []
        conf.plugins = conf.deltarpm = conf.zchunk = conf.install_weak_deps = conf.skip_if_unavailable = False
        conf.best = conf.obsoletes = conf.strict = conf.sslverify = True
        conf.timeout, conf.retries, conf.minrate, conf.max_parallel_downloads = 30, 2, 100, 8
        conf.releasever, conf.module_platform_id = self.request["releasever"], self.request["platformId"]
        if hasattr(conf, "optional_metadata_types"):
            conf.optional_metadata_types = ["filelists"]
        return conf

    def load(self):
        """Reads every repository, and leaves what dnf verified in OUT."""
        faults = []
        for i, r in enumerate(self.repositories):
            repo = self.repository(i, r)
            self.base.repos.add(repo)
            try:
                repo.load()
            except dnf.exceptions.RepoError as e:
                faults.append(self.at(i, "metadata", self.words.take(e)))
                continue
            faults += self.keep(i, repo)
        if faults:
            raise Faults(METADATA, faults)

    def repository(self, i, r):
        repo = dnf.repo.Repo(r["id"], self.base.conf)
        repo.baseurl, repo.cost = [r["url"]], 1000 + i
        repo.gpgcheck, repo.repo_gpgcheck = True, not r.get("unsigned", False)
        repo.gpgkey = ["file://" + name for name in sorted(glob.glob(os.path.join(self.keys, "*.asc")))]
        for option, file in (("sslclientcert", "cert.pem"), ("sslclientkey", "key.pem"), ("sslcacert", "ca.pem")):
            path = os.path.join(self.secrets, r["archive"], file)
            if file in r.get("secrets", []):
                setattr(repo, option, path)
        return repo

    def at(self, i, kind, text="", **more):
        return fault(kind, text, platform=self.name, repository=i, **more)

    def keep(self, i, repo):
        name = "%s.%d" % (self.name, i)
        repomd = os.path.join(repo._repo.getCachedir(), "repodata", "repomd.xml")
        shutil.copyfile(repomd, os.path.join(self.out, "repomd", name))
        updateinfo = repo.get_metadata_path("updateinfo")
        if updateinfo:
            with open(updateinfo, "rb") as file, open(os.path.join(self.out, "updateinfo", name), "wb") as copy:
                copy.write(file.read(UPDATEINFO))
        types = {e.get("type") for e in xml.parse(repomd).getroot().findall("{*}data/{*}checksum")}
        weak = sorted(str(t) for t in types if t not in STRONG)
        return [self.at(i, "weak", ", ".join(weak))] if weak or not types else []

    def solve(self):
        """Returns the packages that dnf would install."""
        try:
            self.base.fill_sack(load_system_repo=False)
        except dnf.exceptions.Error as e:
            raise Faults(METADATA, [fault("sack", e)])
        self.modules()
        sack = self.base.sack
        sack.add_excludes(sack.query(flags=hawkey.IGNORE_EXCLUDES).filter(arch__neq=[self.machine, "noarch"]))
        sack.add_excludes(sack.query().filter(name=self.request["exclude"]))
        for r in self.repositories:
            if r.get("only"):
                offered = sack.query().filter(reponame=r["id"])
                sack.add_excludes(offered.difference(offered.filter(name=r["only"])))
        faults = [f for name in self.request["include"] for f in self.want(name)]
        if faults:
            raise Faults(SOLUTION, faults)
        try:
            self.base.resolve()
        except dnf.exceptions.DepsolveError as e:
            raise Faults(SOLUTION, [fault("solve", e)])
        return sorted(self.base.transaction.install_set, key=lambda p: (p.name, p.arch))

    def modules(self):
        """Enables the streams that are asked for. Nobody's default counts: what a definition does not name does not exist."""
        modules = dnf.module.module_base.ModuleBase(self.base)
        for spec in self.request["modules"]:
            try:
                modules.enable([spec])
            except dnf.exceptions.Error as e:
                raise Faults(SOLUTION, [fault("module", self.words.take(e), package=spec)])
        container = self.base._moduleContainer
        if container is None:
            return
        every = {m.getName() for m in container.getModulePackages()}
        off = sorted(name for name in every if not container.getEnabledStream(name))
        if off:
            modules.disable(off)

    def want(self, name):
        newest = self.base.sack.query().filter(name=name).latest()
        if newest:
            instead = self.base.sack.query().filter(obsoletes=newest)
            # Of several into which it was split, those count that stand in for it.
            names = {p.name for p in instead.filter(provides=name) or instead or newest}
            for n in sorted(names):
                self.base.install(n, forms=[hawkey.FORM_NAME])
            return []
        hidden = self.base.sack.query(flags=hawkey.IGNORE_EXCLUDES).filter(name=name, arch=[self.machine, "noarch"])
        if not hidden:
            return [fault("unknown", package=name)]
        where = {p.reponame for p in hidden}
        return [fault("hidden", package=name, only=all(r.get("only") for r in self.repositories if r["id"] in where))]

    def offers(self, packages):
        """Describes packages as the factory wants them."""
        faults, all = [], []
        index = {r["id"]: i for i, r in enumerate(self.repositories)}
        for p in packages:
            i = index[p.reponame]
            path = check_rpm.inside(self.repositories[i], p.baseurl, p.location)
            kind, sum = p.chksum
            if path is None:
                faults.append(self.at(i, "outside", package=str(p)))
            if hawkey.chksum_name(kind) not in STRONG:
                faults.append(self.at(i, "weak", hawkey.chksum_name(kind), package=str(p)))
            source = p.sourcerpm and re.fullmatch(r"(.+)-([^-]+-[^-]+)\.(?:no)?src\.rpm", p.sourcerpm)
            all.append({
                "name": p.name, "version": ("%d:" % p.epoch if p.epoch else "") + p.version + "-" + p.release, "arch": p.arch,
                "source": source[1] if source else "", "sourceVersion": source[2] if source else "", "repository": i, "path": path,
                "size": p.downloadsize, "sha256": sum.hex() if hawkey.chksum_name(kind) == "sha256" else "",
            })
        if faults:
            raise Faults(PACKAGES, faults)
        return all

    def release(self, packages):
        """The version of the package that stands for the distribution itself."""
        found = self.base.sack.query().filter(pkg=packages, provides="system-release") if packages else []
        return min((p.version for p in found), default="")

    def replaced(self, packages):
        """The packages that were asked for, and that others of the solution obsolete."""
        there, by = {p.name for p in packages}, {}
        for name in set(self.request["include"]) - there:
            gone = self.base.sack.query().filter(name=name)
            for p in self.base.sack.query().filter(pkg=packages, obsoletes=gone) if packages else []:
                by.setdefault(name, p.name)
        return by

    def fetch(self, packages, offers, have):
        """Fetches the packages whose checksum is not in have, checks every byte, signature and name, and removes them again."""
        faults, files = [], {}
        for p, o in zip(packages, offers):
            if have.get(o["sha256"], self.known(o)) != self.known(o):
                faults.append(self.at(o["repository"], "renamed", have[o["sha256"]], package=self.known(o)))
        if faults:
            raise Faults(PACKAGES, faults)
        new = [(p, o) for p, o in zip(packages, offers) if not o["sha256"] or o["sha256"] not in have]
        refusals = Refusals()
        try:
            self.base.download_packages([p for p, _ in new], refusals)
        except dnf.exceptions.DownloadError as e:
            raise Faults(PACKAGES, self.lost(e, {str(p): o for p, o in new}, refusals.why))
        for p, o in new:
            kind, sum = p.chksum
            size, digests = check_rpm.digest(p.localPkg(), hawkey.chksum_name(kind), "sha256")
            if size != o["size"] or digests[0] != sum.hex():
                faults.append(self.at(o["repository"], "changed", package=str(p)))
                continue
            o["sha256"] = digests[1]
            files[p.localPkg()] = (p, o)
        try:
            for name, kind, text in check_rpm.signatures(files, self.keys, self.work):
                p, o = files[name]
                faults.append(self.at(o["repository"], kind, text, package=str(p)))
        except check_rpm.BadKey as e:
            raise Faults(PACKAGES, [fault("key", e.args[1], package=e.args[0])])
        if faults:
            raise Faults(PACKAGES, faults)
        for name, header in check_rpm.headers(files, self.work):
            p, o = files[name]
            if header != self.known(o):
                faults.append(self.at(o["repository"], "renamed", header, package=self.known(o)))
        if faults:
            raise Faults(PACKAGES, faults)
        have.update((o["sha256"], self.known(o)) for o in offers)
        for name in files:
            os.remove(name)

    @staticmethod
    def known(o):
        return "%s-%s.%s" % (o["name"], o["version"], o["arch"])

    def lost(self, e, offers, why):
        faults = []
        for what, texts in sorted(e.errmap.items(), key=lambda item: str(item[0])):
            name = str(what)
            more = {"platform": self.name, "repository": offers[name]["repository"], "package": name} if name in offers else {}
            faults.append(fault("download", why.get(name) or "\n".join(texts), **more))
        return faults


def lock(request, platforms):
    have, result = dict(request["have"]), []
    for p in platforms:
        p.load()
    for p in platforms:
        packages = p.solve()
        offers = p.offers(packages)
        p.fetch(packages, offers, have)
        result.append({"name": p.name, "release": p.release(packages), "replaced": p.replaced(packages), "packages": offers})
    return {"platforms": result}


def advisories(request, platforms):
    for p in platforms:
        p.load()
    return {"platforms": []}


def main(folders):
    with open(os.path.join(folders[0], "request.json"), encoding="utf-8") as file:
        request = json.load(file)
    for folder in ("repomd", "updateinfo"):
        os.makedirs(os.path.join(folders[1], folder), exist_ok=True)
    try:
        platforms = [Platform(request, p, folders) for p in request["platforms"]]
        code, name, answer = 0, "result.json", {"lock": lock, "advisories": advisories}[request["ask"]](request, platforms)
    except Faults as e:
        code, name, answer = e.code, "faults.json", e.faults
        if shutil.disk_usage(folders[2]).free < ROOM:
            answer = [fault("disk")]
    with open(os.path.join(folders[1], name), "w", encoding="utf-8") as file:
        json.dump(answer, file)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:5]))
