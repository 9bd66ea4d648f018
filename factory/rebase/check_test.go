package rebase

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/imagefactory/imagefactory/factory"
)

var amd64 = factory.Platform{OS: "linux", Architecture: "amd64"}

const machine = "EM_X86_64 ELFCLASS64"

func dir(p string) factory.LayerFile {
	return factory.LayerFile{Path: p, Kind: factory.Directory, Mode: 0o755}
}

func file(p, text string) factory.LayerFile {
	f := factory.LayerFile{Path: p, Kind: factory.PlainFile, Mode: 0o644, Sum: factory.DigestOf([]byte(text))}
	if Keep(p) {
		f.Data = []byte(text)
	}
	return f
}

func link(p, to string) factory.LayerFile {
	return factory.LayerFile{Path: p, Kind: factory.SymLink, Mode: 0o777, Target: to}
}

func gone(p string) factory.LayerFile { return factory.LayerFile{Path: p, Kind: factory.Whiteout} }

func emptied(p string) factory.LayerFile {
	return factory.LayerFile{Path: p + "/.wh..wh..opq", Kind: factory.Emptied}
}

func with(f factory.LayerFile, e factory.ELF) factory.LayerFile {
	if e.Machine == "" && e.Broken == "" {
		e.Machine = machine
	}
	f.ELF = &e
	return f
}

func layer(files ...factory.LayerFile) factory.Content { return factory.Content{Files: files} }

func pkgs(all ...string) (list []factory.Package) {
	for _, p := range all {
		name, version, _ := strings.Cut(p, "=")
		list = append(list, factory.Package{Name: name, Version: version, Arch: "amd64"})
	}
	return list
}

func status(all ...string) string {
	var b strings.Builder
	for _, p := range all {
		head, more, _ := strings.Cut(p, "|")
		name, version, _ := strings.Cut(head, "=")
		fmt.Fprintf(&b, "Package: %s\nStatus: install ok installed\nArchitecture: amd64\nVersion: %s\n", name, version)
		if more != "" {
			b.WriteString(more + "\n")
		}
		b.WriteString("\n")
	}
	return b.String()
}

// base is a base with a version of libc and what belongs to it.
func base(version string, libc factory.ELF, more ...factory.LayerFile) []factory.Content {
	libc.Soname = "libc.so.6"
	files := []factory.LayerFile{dir("etc"), file("etc/libc.conf", version), link("lib", "usr/lib"), dir("usr"), dir("usr/lib"), with(file("usr/lib/libc.so.6", version), libc),
		with(file("usr/lib/ld.so", "loader"), factory.ELF{Soname: "ld.so"}), file("var/lib/dpkg/status", status("libc="+version))}
	return []factory.Content{layer(files...), layer(more...)}
}

func platform(own ...factory.LayerFile) Platform {
	return Platform{Platform: amd64, Format: factory.Deb, Old: base("1", factory.ELF{Defines: []string{"GLIBC_2.34"}}), New: base("2", factory.ELF{Defines: []string{"GLIBC_2.34", "GLIBC_2.38"}}),
		Own: []factory.Content{layer(own...)}, OldPackages: pkgs("libc=1"), NewPackages: pkgs("libc=2")}
}

// wrong are the rules that do not hold, with what they say.
func wrong(checks []factory.RebaseCheck) (all []string) {
	for _, c := range checks {
		if !c.OK {
			all = append(all, c.Rule+": "+c.Text)
		}
	}
	return all
}

var app = with(file("usr/bin/app", "app"), factory.ELF{Interpreter: "/lib/ld.so", Needed: []string{"libc.so.6"}, Wants: map[string][]string{"libc.so.6": {"GLIBC_2.34"}}})

// What needs nothing that is gone, and hides nothing that changed, passes; each fault is told by its own rule, all at once.
func TestCheck(t *testing.T) {
	t.Parallel()
	app.Mode = 0o755
	for _, c := range []struct {
		name string
		p    func() Platform
		want []string // beginnings of what is told
	}{
		{"nothing of its own", func() Platform { return platform() }, nil},
		{"a program", func() Platform { return platform(app, file("srv/data", "x")) }, nil},
		{"library gone", func() Platform {
			p := platform(app)
			p.New[0].Files = slices.DeleteFunc(p.New[0].Files, func(f factory.LayerFile) bool { return f.Path == "usr/lib/libc.so.6" })
			return p
		}, []string{"libraries: /usr/bin/app needs libc.so.6"}},
		{"library moved", func() Platform {
			p := platform(app)
			for i, f := range p.New[0].Files {
				if f.Path == "usr/lib/libc.so.6" {
					p.New[0].Files[i].Path = "opt/libc.so.6"
				}
			}
			return p
		}, []string{"libraries: "}},
		{"library of another machine", func() Platform {
			p := platform(app)
			p.New[0].Files[5].ELF.Machine = "EM_386 ELFCLASS32"
			return p
		}, []string{"libraries: "}},
		{"version gone", func() Platform {
			p := platform(app)
			p.New[0].Files[5].ELF.Defines = []string{"GLIBC_2.38"}
			return p
		}, []string{"versions: /usr/bin/app needs GLIBC_2.34 of libc.so.6"}},
		{"interpreter gone", func() Platform {
			p := platform(app)
			p.New[0].Files = slices.DeleteFunc(p.New[0].Files, func(f factory.LayerFile) bool { return f.Path == "usr/lib/ld.so" })
			return p
		}, []string{"interpreters: /usr/bin/app is started by /lib/ld.so"}},
		{"never had it", func() Platform {
			return platform(with(file("usr/bin/x", "x"), factory.ELF{Interpreter: "/lib/none", Needed: []string{"libnone.so"}, Wants: map[string][]string{"libnone.so": {"V1"}}}))
		}, nil},
		{"its own library", func() Platform {
			return platform(app, with(file("opt/libown.so.1", "own"), factory.ELF{Soname: "libown.so.1"}), with(file("opt/x", "x"), factory.ELF{Needed: []string{"libown.so.1"}}))
		}, nil},
		{"broken program", func() Platform {
			f := with(file("usr/bin/x", "x"), factory.ELF{Broken: "it is cut short"})
			f.Mode = 0o755
			return platform(f, with(file("srv/test-data", "y"), factory.ELF{Broken: "it is cut short"}))
		}, []string{"libraries: nobody can tell what /usr/bin/x needs: it is cut short"}},
		{"package removed", func() Platform { p := platform(); p.NewPackages = pkgs("other=1"); return p }, []string{"packages: package libc 1"}},
		{"packages unknown", func() Platform { p := platform(); p.OldPackages, p.NewPackages = nil, nil; return p }, []string{"packages: nobody knows"}},
		{"hides a file", func() Platform { return platform(file("etc/libc.conf", "mine")) }, []string{"files: it has a /etc/libc.conf of its own"}},
		{"has the new one already", func() Platform { return platform(file("etc/libc.conf", "2")) }, nil},
		{"takes a file away", func() Platform { return platform(gone("etc/libc.conf")) }, []string{"files: it takes /etc/libc.conf away"}},
		{"takes a folder away", func() Platform { return platform(gone("etc")) }, []string{"files: it takes /etc away, where the bases differ: /etc/libc.conf"}},
		{"empties a folder", func() Platform { return platform(dir("etc"), emptied("etc")) }, []string{"files: it empties /etc, where the bases differ"}},
		{"takes a folder away and brings it back", func() Platform { return platform(gone("etc"), dir("etc")) }, []string{"files: its own layers together hide /etc/libc.conf, where the bases differ"}},
		{"takes a folder away, and a layer above brings it back", func() Platform {
			p := platform(gone("etc"))
			p.Own = append(p.Own, layer(dir("etc")))
			return p
		}, []string{"files: its own layers together hide /etc/libc.conf, where the bases differ"}},
		{"a file for a folder, and a layer above brings that back", func() Platform {
			p := platform(file("etc", "x"))
			p.Own = append(p.Own, layer(dir("etc")))
			return p
		}, []string{"files: its own layers together hide /etc/libc.conf, where the bases differ"}},
		{"a link for a folder", func() Platform { return platform(link("etc", "srv")) }, []string{"files: it has a symlink in the place of /etc"}},
		{"takes away what is gone", func() Platform {
			p := platform(gone("etc/libc.conf"))
			p.New[0].Files = slices.DeleteFunc(p.New[0].Files, func(f factory.LayerFile) bool { return f.Path == "etc/libc.conf" })
			return p
		}, nil},
		{"hides what did not change", func() Platform { return platform(file("usr/lib/ld.so", "mine"), gone("usr/lib/none")) }, nil},
		{"database of its own that cannot be merged", func() Platform {
			p := platform(file("var/lib/rpm/rpmdb.sqlite", "own"))
			p.Format, p.Old, p.New = factory.RPM, append(p.Old, layer(file("var/lib/rpm/rpmdb.sqlite", "1"))), append(p.New, layer(file("var/lib/rpm/rpmdb.sqlite", "2")))
			return p
		}, []string{"database: its own layers change /var/lib/rpm/rpmdb.sqlite", "relations: its own layers install packages, and an rpm database"}},
		{"everything at once", func() Platform {
			p := platform(app, gone("etc/libc.conf"))
			p.NewPackages = pkgs("other=1")
			p.New[0].Files = slices.DeleteFunc(p.New[0].Files, func(f factory.LayerFile) bool { return f.ELF != nil })
			return p
		}, []string{"packages: ", "files: ", "libraries: ", "interpreters: "}},
	} {
		checks, _ := Check(c.p())
		got := wrong(checks)
		if len(got) != len(c.want) || OK(checks) != (len(c.want) == 0) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
			continue
		}
		for i := range got {
			if !strings.HasPrefix(got[i], c.want[i]) {
				t.Errorf("%s: %q, want %q", c.name, got[i], c.want[i])
			}
		}
	}
}

// An rpm image that leaves the database alone is nobody's trouble.
func TestRPM(t *testing.T) {
	t.Parallel()
	p := platform(app)
	p.Format = factory.RPM
	if checks, merged := Check(p); !OK(checks) || merged != nil {
		t.Errorf("%q, %v", wrong(checks), merged)
	}
}

// dpkg's database is merged: the new base's packages, and the image's own.
func TestStatus(t *testing.T) {
	t.Parallel()
	own := func(packages ...string) Platform {
		p := platform(file("var/lib/dpkg/status", status(packages...)))
		p.OwnPackages = pkgs("jq=1", "libc=1")
		return p
	}
	checks, merged := Check(own("jq=1|Depends: libc (>= 1), none | libc", "libc=1"))
	if !OK(checks) || len(merged) != 1 || string(merged[0].Data) != status("libc=2", "jq=1|Depends: libc (>= 1), none | libc") || merged[0].Sum != factory.DigestOf(merged[0].Data) {
		t.Fatalf("%q, %+v", wrong(checks), merged)
	}
	for _, c := range []struct {
		name, want string
		p          Platform
	}{
		{"exact", "relations: jq 1 depends on libc (= 1)", own("jq=1|Depends: libc (= 1)", "libc=1")},
		{"older", "relations: jq 1 depends on libc (<< 2)", own("jq=1|Pre-Depends: libc (<< 2)", "libc=1")},
		{"breaks", "relations: jq 1 does not work with libc (>= 2)", own("jq=1|Breaks: libc (>= 2)", "libc=1")},
		{"both changed", "database: /var/lib/dpkg/status cannot be merged: libc:amd64 differs", own("jq=1", "libc=3")},
		{"twice", "database: /var/lib/dpkg/status cannot be merged: jq:amd64 (twice)", own("jq=1", "jq=1", "libc=1")},
		{"not in the lock", "relations: vim:amd64 3 would be in the database and not in the lock", own("jq=1", "libc=1", "vim=3")},
		{"not in the database", "relations: jq:amd64 would be in the lock as 1", own("libc=1")},
	} {
		checks, _ := Check(c.p)
		if got := wrong(checks); len(got) == 0 || !strings.HasPrefix(got[0], c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
	silent := platform()
	silent.OwnPackages = pkgs("jq=1", "libc=1")
	if checks, _ := Check(silent); !strings.Contains(strings.Join(wrong(checks), ""), "its layers say nothing of them") {
		t.Errorf("%q", wrong(checks))
	}
	clash := own("jq=1", "libc=1")
	clash.NewPackages = pkgs("jq=2", "libc=2")
	if checks, _ := Check(clash); !strings.Contains(strings.Join(wrong(checks), ""), "the image brings jq 1 itself, the new base has 2") {
		t.Errorf("%q", wrong(checks))
	}
	// What did not hold before is none of ours, and what provides a package stands for it.
	if checks, _ := Check(own("jq=1|Depends: nothing, awk\nBreaks: libc (>= 1)\nProvides: awk", "libc=1")); !OK(checks) {
		t.Errorf("%q", wrong(checks))
	}
}

// Accounts, shells and modes are merged; the day of a password is not a difference.
func TestMerges(t *testing.T) {
	t.Parallel()
	check := func(p, was, is, own string) (string, string) {
		t.Helper()
		all := platform(file(p, own))
		all.Old, all.New = append(all.Old, layer(file(p, was))), append(all.New, layer(file(p, is)))
		checks, merged := Check(all)
		if len(merged) > 0 {
			return string(merged[0].Data), strings.Join(wrong(checks), "")
		}
		return "", strings.Join(wrong(checks), "")
	}
	for _, c := range []struct{ path, was, is, own, want, clash string }{
		{"etc/passwd", "root:0\n", "root:0\nnew:1\n", "root:0\napp:2\n", "root:0\nnew:1\napp:2\n", ""},
		{"etc/passwd", "root:0\na:1\n", "root:0\n", "root:0\na:1\napp:2\n", "root:0\napp:2\n", ""},
		{"etc/passwd", "root:0\n", "root:1\n", "root:2\n", "", "root differs"},
		{"etc/shadow", "root:*:1:\n", "root:*:2:\n", "root:*:3:\napp:!:3:\n", "root:*:2:\napp:!:3:\n", ""},
		{"etc/shadow", "root:*:1:\n", "root:*:2:\n", "root:x:3:\n", "", ""},
		{"etc/shells", "/bin/sh\n", "/bin/sh\n/bin/bash\n", "/bin/sh\n/bin/zsh\n", "/bin/sh\n/bin/bash\n/bin/zsh\n", ""},
		{"var/cache/debconf/config.dat", "Name: a\nValue: 1\n\n", "Name: a\nValue: 2\n\n", "Name: a\nValue: 1\n\nName: b\n\n", "Name: a\nValue: 2\n\nName: b\n\n", ""},
		{"etc/group", "a:1\n", "a:1\nb:2\n", "a:1\nb:2\n", "", ""},
	} {
		got, clash := check(c.path, c.was, c.is, c.own)
		if c.clash == "" && clash != "" || !strings.Contains(clash, c.clash) || c.clash == "" && got != c.want {
			t.Errorf("%s: %q, %q; want %q, %q", c.path, got, clash, c.want, c.clash)
		}
	}
	modes := platform(dir("srv"))
	private := dir("srv")
	private.Mode = 0o700
	modes.Old, modes.New = append(modes.Old, layer(dir("srv"))), append(modes.New, layer(private))
	if checks, merged := Check(modes); !OK(checks) || len(merged) != 1 || merged[0].Mode != 0o700 {
		t.Errorf("%q, %+v", wrong(checks), merged)
	}
	owned := file("etc/passwd", "x:1\n")
	owned.UID = 7
	other := file("etc/passwd", "root:0\n")
	other.UID = 8
	three := platform(owned)
	three.Old, three.New = append(three.Old, layer(file("etc/passwd", ""))), append(three.New, layer(other))
	if checks, _ := Check(three); !strings.Contains(strings.Join(wrong(checks), ""), "mode or owner of /etc/passwd differs") {
		t.Errorf("%q", wrong(checks))
	}
}

// cache writes an ld.so.cache as ldconfig does.
func cache(generator string, libraries ...string) string {
	head := make([]byte, loaderHeader)
	copy(head, loaderMagic)
	binary.LittleEndian.PutUint32(head[20:], uint32(len(libraries)))
	var entries, text []byte
	at := loaderHeader + loaderEntry*len(libraries)
	for _, l := range libraries {
		e := make([]byte, loaderEntry)
		binary.LittleEndian.PutUint32(e[4:], uint32(at+len(text)))
		text = append(text, l+"\x00"...)
		binary.LittleEndian.PutUint32(e[8:], uint32(at+len(text)))
		text = append(text, "/usr/lib/"+l+"\x00"...)
		entries = append(entries, e...)
	}
	return string(head) + string(entries) + string(text) + generator
}

// The loader's cache differs with every version of libc. What counts is which libraries it names.
func TestLoaderCache(t *testing.T) {
	t.Parallel()
	with := func(is string) Platform {
		p := platform(file(loaderFile, cache("v1", "libc.so.6", "libown.so.1")))
		p.Old, p.New = append(p.Old, layer(file(loaderFile, cache("v1", "libc.so.6")))), append(p.New, layer(file(loaderFile, is)))
		return p
	}
	if checks, merged := Check(with(cache("version 2", "libc.so.6"))); !OK(checks) || merged != nil {
		t.Errorf("%q, %v", wrong(checks), merged)
	}
	for _, is := range []string{cache("v2", "libc.so.6", "libnew.so.1"), "damaged", cache("", "x")[:60]} {
		if checks, _ := Check(with(is)); !strings.Contains(strings.Join(wrong(checks), ""), "files: it has a /etc/ld.so.cache of its own") {
			t.Errorf("%q", wrong(checks))
		}
	}
}

func FuzzLoaderCache(f *testing.F) {
	f.Add([]byte(cache("v1", "libc.so.6")))
	f.Add([]byte(loaderMagic))
	f.Fuzz(func(t *testing.T, b []byte) {
		if all, ok := loaderEntries(b); ok && len(all)*loaderEntry > len(b) {
			t.Errorf("%d entries of %d bytes", len(all), len(b))
		}
	})
}

func FuzzStatus(f *testing.F) {
	f.Add(status("libc=1"), status("libc=2"), status("jq=1|Depends: libc (>= 1) | x", "libc=1"))
	f.Add("", "\n\n\n", "Package\n: :\n\n")
	f.Fuzz(func(t *testing.T, was, is, own string) {
		merged, clash := merges[statusFile]([]byte(was), []byte(is), []byte(own))
		if again, _ := merges[statusFile]([]byte(was), []byte(is), merged); clash == "" && string(again) != string(merged) {
			t.Errorf("merged again it is %q, not %q", again, merged)
		}
		for _, p := range readStatus(merged) {
			_ = unmet(p, readStatus([]byte(was)), readStatus(merged))
		}
	})
}
