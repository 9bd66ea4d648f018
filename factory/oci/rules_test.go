package oci

import (
	"archive/tar"
	"maps"
	"path"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestRules(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, r := range rules {
		if _, err := path.Match(r.pattern, "x"); err != nil || r.why == "" || seen[r.pattern] || strings.HasPrefix(r.pattern, "/") {
			t.Errorf("rule %+v: %v", r, err)
		}
		seen[r.pattern] = true
	}
}

// Everything that a build leaves, and what of it stays.
func TestClean(t *testing.T) {
	t.Parallel()
	r := debian()
	before := pack(t, r)
	gone := []string{
		"proc/1/stat", "sys/kernel", "dev/pts/0", "run/lock/x", "run/.containerenv", "tmp/deep/er", "tmp/.hidden", "var/tmp/x", ".dockerenv", ".toolbox/bin/x", ".play/p", ".out/o", ".accept/a",
		"root/.ansible/tmp/x", "root/.ansible_async/x", "root/.cache/x", "root/.bash_history", "etc/hostname", "etc/hosts", "etc/resolv.conf", "var/lib/dbus/machine-id",
		"etc/ssh/ssh_host_rsa_key", "etc/ssh/ssh_host_rsa_key.pub", "etc/ssl/private/ssl-cert-snakeoil.key", "var/lib/systemd/random-seed", "etc/passwd-", "etc/group-", "etc/shadow-", "etc/gshadow-",
		"etc/subuid-", "etc/subgid-", "etc/.pwd.lock", "var/lib/dpkg/status-old", "var/lib/dpkg/lock", "var/lib/dpkg/lock-frontend", "var/lib/dpkg/triggers/Lock", "var/cache/debconf/config.dat-old",
		"var/log/apt/history.log", "var/log/apt/term.log", "var/log/btmp", "var/lib/apt/lists/example.invalid_InRelease", "var/lib/apt/lists/auxfiles/x", "var/cache/apt/pkgcache.bin", "var/cache/apt/archives/a.deb",
		"var/cache/ldconfig/aux-cache", "var/cache/man/index.db", "usr/lib/python3/__pycache__/a.cpython-311.pyc",
	}
	stays := map[string]string{
		"proc": "5 0755", "sys": "5 0755", "dev": "5 0755", "run": "5 0755", "tmp": "5 1777", "var/tmp": "5 1777", "var/log/apt": "5 0755", "var/log/apt/owned.log": "0 0644", "var/log/README": "2 0777", "var/log/dpkg.log": "0 0644",
		"var/lib/apt/lists/partial": "5 0755", "var/lib/apt/lists/auxfiles": "5 0755", "var/cache/apt/archives": "5 0755", "var/cache/ldconfig": "5 0755", "etc/ssh": "5 0755",
		"etc/machine-id": "0 0644", "etc/ld.so.cache": "0 0644", "usr/lib/python3": "5 0755", "var/lib/dpkg/triggers": "5 0755", "var/cache/debconf": "5 0755", "var/cache/debconf/config.dat": "0 0644",
		"root/.ssh": "5 0755", "var/cache/man": "5 0755", "pipe": "6 0644",
	}
	dirs := map[string]bool{"root/.ssh": true, "var/lib/apt/lists/partial": true, "var/cache/apt/archives/partial": true}
	for _, p := range append(slices.Clone(gone), slices.Collect(maps.Keys(stays))...) {
		for d := path.Dir(p); d != "."; d = path.Dir(d) {
			dirs[d] = true
		}
	}
	for p, s := range stays {
		if strings.HasPrefix(s, "5") {
			dirs[p] = true
		}
	}
	for d := range dirs {
		r.dirs(d + "/")
	}
	for _, p := range gone {
		r.file(p, "of the build", built)
	}
	for _, p := range []string{"var/log/apt/owned.log", "var/log/dpkg.log", "etc/machine-id", "etc/ld.so.cache", "var/cache/debconf/config.dat"} {
		r.file(p, "text", built)
	}
	r.symlink("var/log/README", "../../usr/share/doc/README")
	r.symlink("var/log/unowned", "x")
	r.add(tar.Header{Name: "dev/null", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3, Mode: 0o666}, "")
	r.add(tar.Header{Name: "srv/disk", Typeflag: tar.TypeBlock, Devmajor: 8, Mode: 0o666}, "")
	r.add(tar.Header{Name: "pipe", Typeflag: tar.TypeFifo}, "")
	r.edit("./var/lib/dpkg/info/base-files.list", func(h *tar.Header) {
		h.Gname += "/var/log/apt/owned.log\n/var/log/README\n"
	})
	all := flat(t, pack(t, r))
	for _, p := range append(gone, "dev/null", "srv/disk", "var/log/unowned", "usr/lib/python3/__pycache__", "tmp/deep", "root/.ansible", ".toolbox") {
		if s, ok := all[p]; ok {
			t.Errorf("%s is still there: %s", p, s)
		}
	}
	for p, want := range stays {
		if !strings.HasPrefix(all[p], want+" ") {
			t.Errorf("%s is %q, want %s", p, all[p], want)
		}
	}
	for _, p := range []string{"etc/machine-id", "var/log/apt/owned.log"} {
		if !strings.HasSuffix(all[p], "02:00:00 ") {
			t.Errorf("%s is not empty: %q", p, all[p])
		}
	}
	// And nothing else: the rest is the tree as it was.
	for p, s := range flat(t, before) {
		if p != "var/lib/dpkg/info/base-files.list" && all[p] != s && !(strings.HasPrefix(s, "5") && strings.HasPrefix(all[p], "5 0755")) {
			t.Errorf("%s is %q, was %q", p, all[p], s)
		}
	}
}

// What a package ships stays, even if a rule would have it.
func TestOwnedBytecodeStays(t *testing.T) {
	t.Parallel()
	r := debian()
	r.file("usr/lib/x/__pycache__/a.pyc", "shipped", made)
	r.edit("./var/lib/dpkg/info/base-files.list", func(h *tar.Header) { h.Gname += "/usr/lib/x/__pycache__\n/usr/lib/x/__pycache__/a.pyc\n" })
	if s := flat(t, pack(t, r))["usr/lib/x/__pycache__/a.pyc"]; !strings.HasSuffix(s, "shipped") {
		t.Errorf("got %q", s)
	}
}

func TestRunsThatAreLinks(t *testing.T) {
	t.Parallel()
	r := debian()
	r.symlink("tmp", "var/tmp")
	r.symlink("etc/resolv.conf", "../run/systemd/resolve/stub-resolv.conf")
	r.file("etc/machine-id", "id", built)
	r.hardlink("usr/keep", "etc/machine-id")
	all := flat(t, pack(t, r))
	for p, want := range map[string]string{
		"tmp": "-> var/tmp ", "etc/resolv.conf": "-> ../run/systemd/resolve/stub-resolv.conf ", "etc/machine-id": "02:00:00 ", "usr/keep": "02:00:00 id",
	} {
		if !strings.HasSuffix(all[p], want) {
			t.Errorf("%s is %q", p, all[p])
		}
	}
}

func TestSetLastChange(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 2, 23, 0, 0, 0, time.UTC)
	for in, want := range map[string]string{
		"":                                "",
		"root:*:1:0:99999:7:::":           "root:*:20455:0:99999:7:::",
		"a:!:99999:::::: \n":              "a:!:20455:::::: \n",
		"a:!:0:::::: ":                    "a:!:0:::::: ",
		"a:!:::::::":                      "a:!:::::::",
		"a:!:x:::::: ":                    "a:!:x:::::: ",
		"a:!:-5:::::: ":                   "a:!:-5:::::: ",
		"too:few:5":                       "too:few:5",
		"\n\nroot:*:20780:0:99999:7:::\n": "\n\nroot:*:20455:0:99999:7:::\n",
	} {
		if got := string(setLastChange([]byte(in), at)); got != want {
			t.Errorf("%q becomes %q, want %q", in, got, want)
		}
	}
}
