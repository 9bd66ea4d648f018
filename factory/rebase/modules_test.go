package rebase

import (
	"slices"
	"strings"
	"testing"

	"github.com/imagefactory/imagefactory/factory"
)

// Modules were installed for one minor version of their language: when the new base has another one, the image does not work any more.
func TestModules(t *testing.T) {
	t.Parallel()
	const pip, debian, venv = "usr/local/lib/python3.11/site-packages/a/__init__.py", "usr/lib/python3/dist-packages/b.py", "opt/venv/lib/python3.11/site-packages/c.py"
	const native, xs, pure = "usr/lib/python3/dist-packages/d.cpython-311-x86_64-linux-gnu.so", "usr/lib/x86_64-linux-gnu/perl5/5.36/E.pm", "usr/share/perl5/F.pm"
	old := []string{"usr/bin/python3.11", "usr/bin/perl5.36.0"}
	for _, c := range []struct {
		name       string
		new, own   []string
		old        []string
		want, fine string
	}{
		{"the same", old, []string{pip, debian, venv, native, xs, pure}, old, "", "6 files for Python and Perl"},
		{"a patch release of Perl", []string{"usr/bin/python3.11", "usr/bin/perl5.36.1"}, []string{pip, xs}, old, "", "2 files for Python and Perl"},
		{"another Python", []string{"usr/bin/python3.12", "usr/bin/perl5.36.0"}, []string{pip, xs}, old, "/" + pip + " was installed for python3.11, which is in the old base and not in the new one", ""},
		{"another Python, for any", []string{"usr/bin/python3.12", "usr/bin/perl5.36.0"}, []string{debian}, old, "/" + debian + " was installed for python3.11", ""},
		{"another Python, native", []string{"usr/bin/python3.12"}, []string{native}, old, "/" + native + " was installed for python3.11", ""},
		{"another Python, a folder of its own", []string{"usr/bin/python3.12"}, []string{venv}, old, "/" + venv + " was installed for python3.11", ""},
		{"both are there", []string{"usr/bin/python3.11", "usr/bin/python3.12", "usr/bin/perl5.36.0"}, []string{pip, debian}, old, "", "2 files"},
		{"modules for the new one alone", []string{"usr/bin/python3.12", "usr/bin/perl5.36.0"}, []string{strings.ReplaceAll(pip, "3.11", "3.12")}, old, "", "1 file "},
		{"another Perl", []string{"usr/bin/python3.11", "usr/bin/perl5.38.2"}, []string{xs, debian}, old, "/" + xs + " was installed for perl5.36", ""},
		{"another Perl, for any", []string{"usr/bin/perl5.38.2"}, []string{pure}, old, "/" + pure + " was installed for perl5.36", ""},
		{"a Python of its own", nil, []string{pip, "usr/bin/python3.11", "usr/bin/perl5.36.0"}, old, "", "1 file "},
		{"no modules", nil, []string{"srv/site-packages/x.py"}, old, "", "0 dynamically linked programs of its own"},
		{"never had any", nil, []string{pip}, nil, "", "1 file "},
	} {
		p := platform()
		for side, names := range map[*[]factory.Content][]string{&p.Old: c.old, &p.New: c.new, &p.Own: c.own} {
			for _, name := range names {
				*side = append(*side, layer(file(name, "x")))
			}
		}
		checks, _ := Check(p)
		got := checks[slices.IndexFunc(checks, func(c factory.RebaseCheck) bool { return c.Rule == RuleInterpreters })]
		if got.OK != (c.want == "") || !strings.HasPrefix(got.Text, c.want) || !strings.Contains(got.Text, c.fine) {
			t.Errorf("%s: %+v", c.name, got)
		}
	}
}

// Nobody sees what a program loads by name while it runs. So no public library may go.
func TestWithdrawnLibraries(t *testing.T) {
	t.Parallel()
	library := func(p, soname string) factory.LayerFile { return with(file(p, soname), factory.ELF{Soname: soname}) }
	for _, c := range []struct {
		path, soname string
		own          []factory.LayerFile
		refused      bool
	}{
		{"usr/lib/x86_64-linux-gnu/libdl-me.so.1.0", "libdl-me.so.1", []factory.LayerFile{app}, true},
		{"usr/lib64/libdl-me.so.1", "libdl-me.so.1", []factory.LayerFile{app}, true},
		{"usr/lib/libdl-me.so.1", "libdl-me.so.1", nil, false},                                                                     // nobody of its own could load it
		{"usr/lib/libdl-me.so.1", "libdl-me.so.1", []factory.LayerFile{app, library("opt/libdl-me.so.1", "libdl-me.so.1")}, false}, // it brings it itself
		{"usr/lib/service/libprivate.so.1", "libprivate.so.1", []factory.LayerFile{app}, false},
		{"usr/lib64/libprivate-2.35-63.so", "libprivate-2.35-63.so", []factory.LayerFile{app}, false},
	} {
		p := platform(c.own...)
		p.Old = append(p.Old, layer(library(c.path, c.soname)))
		checks, _ := Check(p)
		want := []string{"libraries: library " + c.soname + " is in the old base and not in the new one, and may be loaded by name"}
		if got := wrong(checks); c.refused && !slices.Equal(got, want) || !c.refused && len(got) > 0 {
			t.Errorf("%s, %d of its own: %q", c.path, len(c.own), got)
		}
	}
	// A base that went back: what it defines no more is missed by who wants it.
	back := platform(with(file("usr/bin/x", "x"), factory.ELF{Needed: []string{"libc.so.6"}, Wants: map[string][]string{"libc.so.6": {"GLIBC_2.38"}}}))
	back.Old, back.New = back.New, back.Old
	back.OldPackages, back.NewPackages = back.NewPackages, back.OldPackages
	checks, _ := Check(back)
	if got := wrong(checks); !slices.Equal(got, []string{"versions: /usr/bin/x needs GLIBC_2.38 of libc.so.6, which the new base's does not define"}) {
		t.Errorf("%q", got)
	}
}

// A package that only the old base had is refused, whether or not anything is known to use it.
func TestRemovedPackageOfTheBase(t *testing.T) {
	t.Parallel()
	p := platform(file("srv/app.py", "x"))
	p.OldPackages = append(p.OldPackages, pkgs("python3-yaml=6")...)
	checks, _ := Check(p)
	if got := wrong(checks); !slices.Equal(got, []string{"packages: package python3-yaml 6 is in the old base and not in the new one"}) {
		t.Errorf("%q", got)
	}
}
