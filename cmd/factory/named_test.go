package main

import (
	"os"
	"strings"
	"testing"

	"github.com/imagefactory/imagefactory/factory"
)

// An image's name means its newest release, or the one that is in force in an environment; whatever is shown says which that is.
func TestReleasesByName(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	old, newer := d.release(t, "debian-12", 2*day), d.release(t, "debian-12", day)
	db, err := d.command(t, nil).store(t.Context())
	must(t, err)
	promoted := old.Tag
	promoted.Env = factory.Prod
	must(t, db.Promote(t.Context(), factory.Entry{ID: "e1", Release: old.ID, Image: old.Image, Repository: old.Repository, Digest: old.Digest, Env: factory.Prod, Tag: promoted, At: d.Now(), By: "me"}))
	for _, c := range []struct {
		args []string
		exit int
		want string // in what is written
	}{
		{[]string{"show", "debian-12"}, 0, newer.Tagged()},
		{[]string{"show", "debian-12", "--env", "prod"}, 0, old.Tagged()},
		{[]string{"show", "debian-12", "--env", "dev"}, 0, newer.Tagged()},
		{[]string{"sbom", "debian-12", "--env", "prod"}, 0, "CycloneDX"},
		{[]string{"compliance", "debian-12", "--env", "prod"}, 0, ""},
		{[]string{"reproduce", "debian-12", "--env", "staging"}, exitInvalid, "no release of debian-12 is in force in staging\nfactory:   → factory releases debian-12 lists"},
		{[]string{"show", "debian-12", "--env", "moon"}, exitInvalid, "moon"},
		{[]string{"show", old.Tag.String(), "--env", "prod"}, exitInvalid, "is one release already, so --env cannot choose one\nfactory:   → name the image, debian-12"},
		{[]string{"verify", "debian-99"}, exitInvalid, "or name it whole, as in registry.example.com/base/debian-12:"},
		{[]string{"verify", "debian-12", "--env", "staging"}, exitInvalid, "no release of debian-12 is in force in staging"},
	} {
		if code := d.run(t, c.args...); code != c.exit || !strings.Contains(d.stdout.String()+d.stderr.String(), c.want) {
			t.Errorf("%q: exit %d, want %q\n%s%s", c.args, code, c.want, &d.stdout, &d.stderr)
		}
	}
	c := d.command(t, nil)
	for ref, want := range map[string]string{"debian-12": newer.Ref(), old.Tag.String(): old.Ref(), old.Tagged(): old.Tagged(), "registry.example.com/x/y@sha256:0": "registry.example.com/x/y@sha256:0"} {
		where, taken, err := c.published(t.Context(), ref, "")
		if err != nil || where != want || strings.Contains(ref, "/") != (taken == "") || taken != "" && !strings.Contains(taken, string(newer.Digest)) && !strings.Contains(taken, string(old.Digest)) {
			t.Errorf("%s: %s, %q, %v", ref, where, taken, err)
		}
	}
}

// Where no database is, none is made, and what to type is said.
func TestVerifyByNameElsewhere(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	c := d.command(t, map[string]string{"database": t.TempDir() + "/none.db"})
	if _, _, err := c.published(t.Context(), "debian-12", ""); err == nil || !strings.Contains(err.Error(), `there is no database here that knows a release "debian-12" (name it whole, as in registry.example.com/base/debian-12:20261123-1a2b3c4d-prod, or say where the database is: --database)`) {
		t.Error(err)
	}
	if _, err := os.Stat(c.cfg.Database); !os.IsNotExist(err) {
		t.Errorf("a database was made: %v", err)
	}
}
