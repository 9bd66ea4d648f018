package oci

import (
	"archive/tar"
	"errors"
	"strings"
	"testing"

	"github.com/imagefactory/imagefactory/factory"
)

func TestInstalledIsWhatTheLockSays(t *testing.T) {
	t.Parallel()
	replace := func(old, new string) func(string) string {
		return func(s string) string { return strings.Replace(s, old, new, 1) }
	}
	for name, c := range map[string]struct {
		status func(string) string
		says   string // empty = nothing is wrong
	}{
		"as locked": {func(s string) string { return s }, ""},
		"remains": {func(s string) string {
			return s + "Package: old\nStatus: deinstall ok config-files\nArchitecture: all\nVersion: 1\n"
		}, ""},
		"smuggled in": {func(s string) string {
			return s + "Package: evil\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1\n"
		}, "evil 1 is installed and not in the lock"},
		"state is not told": {func(s string) string { return s + "Package: evil\nVersion: 1\n" }, "evil 1 is installed and not in the lock"},
		"other version":     {replace("5.2.15-2+b2", "5.2.15-2+b1"), "bash is installed as 5.2.15-2+b1, the lock has 5.2.15-2+b2"},
		"other arch":        {replace("Architecture: amd64", "Architecture: i386"), "base-files 12.4+deb12u11 is in the lock and not installed"},
		"not there":         {replace("Package: dash\n", "Package: posh\n"), "dash 0.5.12-2 is in the lock and not installed; posh 0.5.12-2 is installed and not in the lock"},
		"removed":           {replace("install ok installed", "deinstall ok config-files"), "base-files 12.4+deb12u11 is in the lock and not installed"},
		"half way":          {replace("install ok installed", "install ok half-configured"), "base-files 12.4+deb12u11 is half-configured"},
		"no database":       {func(string) string { return "" }, "bash 5.2.15-2+b2 is in the lock and not installed"},
		"many": {func(s string) string {
			for _, n := range strings.Split("abcdefghijkl", "") {
				s += "Package: x" + n + "\nStatus: install ok installed\nVersion: 1\n\n"
			}
			return s
		}, "xj 1 is installed and not in the lock; and 2 more"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := debian().with(func(r *root) {
				r.edit("./var/lib/dpkg/status", func(h *tar.Header) { h.Gname = c.status(h.Gname) })
			})
			_, err := Packer{Exporter: streams{amd64: r.tar(t)}, Dir: t.TempDir()}.Pack(t.Context(), hardened(amd64))
			switch {
			case c.says == "" && err != nil:
				t.Error(err)
			case c.says != "" && (!errors.Is(err, factory.ErrUnverified) || !strings.Contains(err.Error(), c.says)):
				t.Errorf("got %v", err)
			}
		})
	}
}

// A lock without the platform knows none of its packages.
func TestPlatformThatIsNotLocked(t *testing.T) {
	t.Parallel()
	h := hardened(arm64)
	h.Lock = lock(amd64)
	_, err := Packer{Exporter: streams{arm64: debian().tar(t)}, Dir: t.TempDir()}.Pack(t.Context(), h)
	if !errors.Is(err, factory.ErrUnverified) {
		t.Errorf("got %v", err)
	}
}
