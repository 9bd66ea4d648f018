package standin

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ProtonMail/go-crypto/openpgp"

	"github.com/imagefactory/imagefactory/factory"
)

// rpmkeys is the judge of packages: a database with the archive's key.
func rpmkeys(t *testing.T, a *Archive) func(name string) (string, bool) {
	t.Helper()
	needs(t, false, "rpmkeys")
	work := t.TempDir()
	key := filepath.Join(work, "key.asc")
	must(t, os.WriteFile(key, []byte(a.Key().Armored()), 0o600))
	if out, err := exec.Command("rpmkeys", "--dbpath", work, "--import", key).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return func(name string) (string, bool) {
		t.Helper()
		out, err := exec.Command("rpmkeys", "--dbpath", work, "--checksig", "--verbose", one(t, a, name).File).CombinedOutput()
		return string(out), err == nil
	}
}

func one(t *testing.T, a *Archive, name string) File {
	t.Helper()
	f, err := a.Files(name)
	if err != nil || len(f) != 1 {
		t.Fatalf("%s: %v, %v", name, f, err)
	}
	return f[0]
}

// intact reports whether a file is what the metadata say.
func intact(t *testing.T, f File) bool {
	t.Helper()
	b, err := os.ReadFile(f.File)
	must(t, err)
	return factory.DigestOf(b) == f.SHA256 && int64(len(b)) == f.Size
}

// TestPackagesThatAreRefused does to a package what a broken or hostile archive may, and asks rpm what it thinks.
func TestPackagesThatAreRefused(t *testing.T) {
	t.Parallel()
	for _, r := range []Release{RHEL9, AmazonLinux2023} {
		t.Run(string(r), func(t *testing.T) {
			t.Parallel()
			a := make1(t, r, Options{})
			check := rpmkeys(t, a)
			for _, test := range []struct {
				name, says       string
				change           func(string) error
				accepted, intact bool
			}{
				{"bash", "Header V4 RSA/SHA256 Signature, key ID " + strings.ToLower(a.Key().Fingerprint()[32:]) + ": OK", func(string) error { return nil }, true, true},
				{"grep", "NOKEY", a.SignWithOther, false, true},
				{"sed", "Payload SHA256 digest: BAD", a.Tamper, false, false},
				{"gawk", "Signature", a.Replace, true, false},
			} {
				before := one(t, a, test.name)
				must(t, test.change(test.name))
				out, ok := check(test.name)
				f := one(t, a, test.name)
				if ok != test.accepted || !strings.Contains(out, test.says) || intact(t, f) != test.intact {
					t.Errorf("%s: accepted %v, intact %v\n%s", test.name, ok, intact(t, f), out)
				}
				if f.Version != before.Version || !test.intact && f.Package != before.Package {
					t.Errorf("%s: %+v, before %+v", test.name, f, before)
				}
			}
			must(t, a.Unsign("tzdata")) // rpm itself accepts that: nothing is signed, so nothing is wrong
			if out, _ := check("tzdata"); strings.Contains(out, "Signature") || !intact(t, one(t, a, "tzdata")) {
				t.Errorf("unsigned tzdata: %s", out)
			}
			must(t, a.Withdraw("zlib"))
			if _, err := os.Stat(one(t, a, "zlib").File); err == nil {
				t.Error("zlib was withdrawn, and is there")
			}
			must(t, a.Obsolete()) // and the metadata can be made anew all the same
			if intact(t, one(t, a, "sed")) {
				t.Error("sed was tampered with, and is intact after the next change")
			}
		})
	}
}

// signatures counts the repositories whose metadata the key has signed, and those that anybody has.
func signatures(t *testing.T, a *Archive, key *Key) (good, any int) {
	t.Helper()
	ring, err := openpgp.ReadArmoredKeyRing(strings.NewReader(key.Armored()))
	must(t, err)
	for _, repo := range a.repos {
		text, err := os.ReadFile(a.on(repo.folder + "/repodata/repomd.xml"))
		must(t, err)
		sig, err := os.ReadFile(a.on(repo.folder + "/repodata/repomd.xml.asc"))
		if err != nil {
			continue
		}
		any++
		if _, err := openpgp.CheckArmoredDetachedSignature(ring, bytes.NewReader(text), bytes.NewReader(sig), nil); err == nil {
			good++
		}
	}
	return good, any
}

func TestSignedMetadata(t *testing.T) {
	t.Parallel()
	a := make1(t, RHEL9, Options{})
	state := func(want, signed int) {
		t.Helper()
		if good, any := signatures(t, a, a.Key()); good != want || any != signed {
			t.Errorf("%d good signatures of %d, want %d of %d", good, any, want, signed)
		}
	}
	state(2, 2)
	must(t, a.SecurityUpdate())
	state(2, 2)
	must(t, a.SignMetadataWithOther())
	state(0, 2)
	must(t, a.UnsignMetadata())
	state(0, 0)
	must(t, a.UnsignMetadata())
	must(t, a.Obsolete())
	state(0, 0)

	a = make1(t, AmazonLinux2, Options{UnsignedMetadata: true})
	state(0, 0)
	if !a.Image().Archives[0].UnsignedMetadata {
		t.Error("the definition does not say that the metadata are unsigned")
	}
}

// TestDnfRefuses: what rpm lets pass dnf does not, nor metadata that are not signed as they should be.
func TestDnfRefuses(t *testing.T) {
	t.Parallel()
	needs(t, true, "dnf")
	a := make1(t, AmazonLinux2, Options{})
	c := newClient(t, a)
	must(t, a.Unsign("tzdata"))
	if out, err := c.run("install", "--downloadonly", "tzdata"); err == nil || !strings.Contains(out, "is not signed") {
		t.Errorf("unsigned package: %v: %s", err, out)
	}
	must(t, a.SignMetadataWithOther())
	if out, err := c.run("repoquery", "tzdata"); err == nil || !strings.Contains(out, "GPG verification") && !strings.Contains(out, "signature") {
		t.Errorf("metadata signed by nobody: %v: %s", err, out)
	}
}
