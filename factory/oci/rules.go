package oci

import (
	"archive/tar"
	"path"
	"slices"
	"strings"
)

// action is what a rule does with the paths that it matches.
type action int

const (
	drop     action = iota // the path and all below it go
	hollow                 // the directory stays, all below it goes
	scratch                // hollow, and the directory is everybody's: 1777
	quiet                  // directories below stay; a package's files stay, empty; other files go
	truncate               // the file stays, empty
)

// rule is one thing that does not belong into an image, or differs between two builds of the same.
type rule struct {
	pattern string // path.Match on the whole path; a pattern without a slash that starts with "*/" matches a last part anywhere
	do      action
	files   bool // only regular files
	unowned bool // only what no package ships; never where that is not known
	why     string
}

// rules is everything that Pack leaves out. Order does not matter but for the first match. Device nodes go wherever they are.
var rules = []rule{
	{"proc", hollow, false, false, "filled by the kernel"},
	{"sys", hollow, false, false, "filled by the kernel"},
	{"dev", hollow, false, false, "every runtime mounts its own"},
	{"run", hollow, false, false, "begins empty with every start"},
	{"tmp", scratch, false, false, "begins empty"},
	{"var/tmp", scratch, false, false, "begins empty"},

	{".dockerenv", drop, false, false, "mark of a container runtime"},
	{".toolbox", drop, false, false, "mount point of a build step"},
	{".play", drop, false, false, "mount point of a build step"},
	{".out", drop, false, false, "mount point of a build step"},
	{".accept", drop, false, false, "mount point of a build step"},
	{"root/.ansible*", drop, false, false, "left by Ansible"},
	{"etc/hostname", drop, true, false, "mount stub or the build machine's name; runtimes lay their own over it"},
	{"etc/hosts", drop, true, false, "mount stub or the build machine's names; runtimes lay their own over it"},
	{"etc/resolv.conf", drop, true, false, "mount stub or the build machine's resolver; runtimes lay their own over it"},

	{"etc/machine-id", truncate, true, false, "one per machine; empty asks systemd and D-Bus to make one, even below a read-only root"},
	{"var/lib/dbus/machine-id", drop, true, false, "one per machine"},
	{"etc/ssh/ssh_host_*", drop, true, false, "a host key that everybody has is none"},
	{"etc/ssl/private/ssl-cert-snakeoil.key", drop, true, false, "a private key that everybody has is none"},
	{"etc/ssl/certs/ssl-cert-snakeoil.pem", drop, true, false, "belongs to the key above"},
	{"var/lib/systemd/random-seed", drop, true, false, "a seed that everybody has is none"},
	{"var/lib/systemd/credential.secret", drop, true, false, "one per machine"},
	{"var/lib/urandom/random-seed", drop, true, false, "a seed that everybody has is none"},

	{"etc/passwd-", drop, false, false, "backup of the build"},
	{"etc/group-", drop, false, false, "backup of the build"},
	{"etc/shadow-", drop, false, false, "backup of the build"},
	{"etc/gshadow-", drop, false, false, "backup of the build"},
	{"etc/subuid-", drop, false, false, "backup of the build"},
	{"etc/subgid-", drop, false, false, "backup of the build"},
	{"etc/.pwd.lock", drop, false, false, "lock file of the build"},
	{"var/lib/dpkg/*-old", drop, false, false, "backup of the build"},
	{"var/lib/dpkg/lock", drop, false, false, "lock file of the build"},
	{"var/lib/dpkg/lock-frontend", drop, false, false, "lock file of the build"},
	{"var/lib/dpkg/triggers/Lock", drop, false, false, "lock file of the build"},
	{"var/lib/apt/daily_lock", drop, false, false, "lock file of the build"},
	{"var/cache/debconf/*-old", drop, false, false, "backup of the build"},

	{"var/lib/rpm/.rpm.lock", drop, false, false, "lock file of the build"},
	{"var/lib/rpm/.dbenv.lock", drop, false, false, "lock file of the build"},
	{"var/lib/rpm/__db.*", drop, false, false, "memory that processes of the build shared"},
	{"var/lib/rpm/*-wal", drop, false, false, "journal of the build; the database is complete without"},
	{"var/lib/rpm/*-shm", drop, false, false, "belongs to the journal above"},
	{"usr/lib/sysimage/rpm/.rpm.lock", drop, false, false, "lock file of the build"},
	{"usr/lib/sysimage/rpm/__db.*", drop, false, false, "memory that processes of the build shared"},
	{"usr/lib/sysimage/rpm/*-wal", drop, false, false, "journal of the build; the database is complete without"},
	{"usr/lib/sysimage/rpm/*-shm", drop, false, false, "belongs to the journal above"},
	{"var/lib/dnf/history.sqlite*", drop, false, false, "tells of the build, with its times"},
	{"var/lib/yum/history", quiet, false, false, "tells of the build, with its times"},

	{"var/log/dpkg.log", truncate, true, false, "hardening gives it a mode that dpkg keeps in child images; its lines tell of the build"},
	{"var/log/alternatives.log", truncate, true, false, "likewise"},
	{"var/log", quiet, false, false, "tells of the build, with its times"},
	{"var/lib/apt/lists", quiet, false, false, "what the archives offered that day; apt fetches it anew"},
	{"var/cache/apt", quiet, false, false, "holds times and paths of the build; apt makes it anew"},
	{"var/cache/dnf", quiet, false, false, "what the archives offered that day; dnf fetches it anew"},
	{"var/cache/libdnf5", quiet, false, false, "likewise"},
	{"var/cache/yum", quiet, false, false, "what the archives offered that day; yum fetches it anew"},
	{"var/cache/ldconfig/aux-cache", drop, false, false, "holds inode numbers and times"},
	{"var/cache/man", quiet, false, false, "an index with times; man-db makes it anew"},
	{"var/cache/fontconfig", quiet, false, false, "named after times; fontconfig makes it anew"},
	{"root/.cache", drop, false, false, "left by the build"},
	{"root/.*_history", drop, false, false, "left by the build"},
	{"root/.wget-hsts", drop, false, false, "left by the build"},
	{"*/__pycache__", drop, false, true, "compiled at installation; its bytes differ from run to run, Python does without"},
}

// matches reports whether the rule is about p.
func (r rule) matches(p string, n *inode, db *packages) bool {
	if r.files && n.kind != tar.TypeReg || r.unowned && (db == nil || db.owns(p)) {
		return false
	}
	if last, ok := strings.CutPrefix(r.pattern, "*/"); ok {
		return path.Base(p) == last
	}
	ok, _ := path.Match(r.pattern, p) // TestRules checks every pattern's syntax
	return ok
}

// stays reports whether the path is kept as an empty file, whatever becomes of its folder.
func stays(p string, n *inode, db *packages) bool {
	return slices.ContainsFunc(rules, func(r rule) bool { return r.do == truncate && r.matches(p, n, db) })
}

// clean applies the rules to a tree. Without package data (db nil) nothing counts as a package's file.
func (t *tree) clean(db *packages) {
	under := map[string]action{} // directories whose content goes, by what becomes of it
	for _, p := range t.sorted() {
		n := t.nodes[p]
		if stays(p, n, db) {
			t.empty(p, n)
			continue
		}
		if do, ok := under[parent(p)]; ok {
			t.apply(p, n, do, db, under)
			continue
		}
		if n.kind == tar.TypeChar {
			delete(t.nodes, p)
			continue
		}
		for _, r := range rules {
			if !r.matches(p, n, db) {
				continue
			}
			switch {
			case r.do == drop:
				delete(t.nodes, p)
				under[p] = drop
			case n.kind == tar.TypeDir: // a link such as /tmp -> /var/tmp is nothing to look into
				if r.do == scratch {
					n.mode = 0o1777
				}
				under[p] = r.do
			}
			break
		}
	}
}

// apply treats what lies below a directory that a rule matched.
func (t *tree) apply(p string, n *inode, do action, db *packages, under map[string]action) {
	shipped := db != nil && db.owns(p) && n.kind != tar.TypeChar
	switch {
	case do == quiet && n.kind == tar.TypeDir:
		under[p] = quiet
	case do == quiet && n.kind == tar.TypeReg && shipped:
		t.empty(p, n)
	case do == quiet && shipped:
	default:
		delete(t.nodes, p)
		under[p] = drop
	}
}

// empty takes a file's content, and not that of its hard links.
func (t *tree) empty(p string, n *inode) {
	c := *n
	c.size, c.data = 0, []byte{}
	t.nodes[p] = &c
}
