package upstream

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/tests/standin"
)

const inBaseos = "archive redhat-ubi baseos: "

// Nothing that is not signed by a pinned key gets into a lock, and every such package is named at once.
func TestSolveBadSignatures(t *testing.T) {
	t.Parallel()
	n := newStandIn(t, standin.RHEL9, standin.Options{})
	n.try(n.Unsign("bash"))
	n.try(n.SignWithOther("grep"))
	lock, _, err := n.s.Solve(t.Context(), n.req)
	ps := factory.Problems(err)
	if len(ps) != 2 || !errors.Is(err, factory.ErrUnverified) || lock.Image != "" {
		t.Fatalf("%v", err)
	}
	if ps[0].What != inBaseos+"package bash-5.1.8-9.el9.x86_64 is not signed" || !strings.Contains(ps[1].What, "package grep-") || !strings.Contains(ps[1].What, " is signed by key ") || !strings.Contains(ps[1].What, "which the definition does not pin") || !strings.Contains(ps[1].Hint, "fingerprint") {
		t.Errorf("%v", err)
	}
}

// Between solve and fetch a package is changed, replaced by another that is signed, or gone.
func TestSolveChangedSince(t *testing.T) {
	t.Parallel()
	n := newStandIn(t, standin.AmazonLinux2, standin.Options{})
	const at = "archive amazonlinux core: package "
	n.try(n.Tamper("bash"))
	n.refused(factory.ErrUnverified, at+"bash-4.2.46-34.amzn2.x86_64: the file is not the one that its metadata names: ")
	n.try(n.Tamper("bash")) // as it was
	n.try(n.Withdraw("tzdata"))
	n.refused(factory.ErrUnavailable, at+"tzdata-2025b-1.amzn2.0.1.noarch: it is not there: Status code: 404 (the archive moved on while it was read")
}

func TestSolveMetadataSignature(t *testing.T) {
	t.Parallel()
	n := newStandIn(t, standin.AmazonLinux2, standin.Options{})
	n.try(n.SignMetadataWithOther())
	n.refused(factory.ErrUnverified, "archive amazonlinux core: repomd.xml: its signature does not hold")
	n.try(n.UnsignMetadata())
	n.refused(factory.ErrUnverified, "archive amazonlinux core: repomd.xml: it is not signed")
	n.req.Image.Archives[0].UnsignedMetadata = true
	if lock, _ := n.solve(); len(lock.Platforms[0].Packages) < 10 {
		t.Errorf("%+v", lock)
	}
	n.try(n.Replace("grep"))
	n.refused(factory.ErrUnverified, "archive amazonlinux core: package grep-")
}

// What an archive can do wrong, and how it is said.
func TestSolveArchiveFaults(t *testing.T) {
	t.Parallel()
	n := newStandIn(t, standin.AmazonLinux2, standin.Options{})
	const at = "archive amazonlinux core: "
	for _, c := range []struct {
		name, suffix string
		answer       http.HandlerFunc
		kind         error
		want         string
	}{
		{"list gone", "mirror.list", status(404), factory.ErrUnavailable, at + "mirror.list: the archive does not answer: 404 Not Found"},
		{"list cut", "mirror.list", cutOff, factory.ErrUnavailable, at + "mirror.list: the archive does not answer: "},
		{"list elsewhere", "mirror.list", text("http://elsewhere.invalid/2/core"), factory.ErrUnverified, at + "mirror.list: it names a repository that is not below the archive's URL (set archives: amazonlinux in factory.yaml"},
		{"list empty", "mirror.list", text("# nothing\n"), factory.ErrUnverified, at + "mirror.list: it names no repository"},
		{"repomd gone", "repomd.xml", status(404), factory.ErrUnavailable, at + "repomd.xml: it is not there"},
		{"forbidden", "repomd.xml", status(403), factory.ErrUnavailable, at + "repomd.xml: the archive does not let us in: Status code: 403 (it asks for a client certificate: set entitlements: amazonlinux"},
		{"repomd tampered", "repomd.xml", text("<repomd/>"), factory.ErrUnverified, at + "repomd.xml: its signature does not hold"},
		{"primary tampered", "primary.xml.gz", text("garbage"), factory.ErrUnverified, "primary.xml.gz: the file is not the one that its metadata names"},
		{"primary cut", "primary.xml.gz", cutOff, factory.ErrUnavailable, "primary.xml.gz: the archive does not answer"},
		{"package cut", "tzdata-2025b-1.amzn2.0.1.noarch.rpm", cutOff, factory.ErrUnavailable, at + "package tzdata-2025b-1.amzn2.0.1.noarch: the archive does not answer"},
	} {
		n.answer(c.suffix, c.answer)
		t.Run(c.name, func(t *testing.T) { n.t = t; n.refused(c.kind, c.want) })
	}
	n.t = t
	n.server.Close()
	n.refused(factory.ErrUnavailable, at+"mirror.list: the archive does not answer: connect: connection refused")
	n.s.Archives = nil
	n.refused(factory.ErrInvalid, "nothing says where archive amazonlinux is")
}

func text(s string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, s) }
}

// Every repository that has a fault is named, and the good one is not.
func TestSolveNamesEveryRepository(t *testing.T) {
	t.Parallel()
	n := newStandIn(t, standin.RHEL9, standin.Options{})
	n.answer("appstream/os/repodata/repomd.xml", status(500))
	_, _, err := n.s.Solve(t.Context(), n.req)
	if ps := factory.Problems(err); len(ps) != 1 || !strings.HasPrefix(ps[0].What, "archive redhat-ubi appstream: repomd.xml: the archive does not answer") {
		t.Errorf("%v", err)
	}
	n.server.Close()
	_, _, err = n.s.Solve(t.Context(), n.req)
	if ps := factory.Problems(err); len(ps) != 2 || !strings.HasPrefix(ps[0].Error(), inBaseos+"repomd.xml: the archive does not answer: Curl error (7)") || !strings.Contains(ps[1].What, "appstream") {
		t.Errorf("%v", err)
	}
}

// Metadata with weak checksums, or that lead elsewhere, are no use even where nobody signs them.
func TestSolveOddMetadata(t *testing.T) {
	t.Parallel()
	n := newStandIn(t, standin.RHEL9, standin.Options{UnsignedMetadata: true})
	dir := filepath.Join(n.Dir, "content/public/ubi/dist/ubi9/9/x86_64/baseos/os")
	for args, want := range map[string]string{
		"--checksum=sha1":                     inBaseos + "its checksums are weaker than sha256 (sha1)",
		"--baseurl=http://elsewhere.invalid/": "lies outside the archive",
	} {
		if out, err := exec.Command("createrepo_c", "-q", "--no-database", "--revision=1762754400", args, dir).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		n.refused(factory.ErrUnverified, want)
	}
	if out, err := exec.Command("createrepo_c", "-q", "--no-database", "--revision=1762754400", "--checksum=sha512", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	n.req.Image.Packages.Include = []string{"basesystem"}
	if lock, _ := n.solve(); named(lock, "basesystem").SHA256 == "" {
		t.Errorf("%+v", lock)
	}
	n.try(n.Unsign("setup"))
	n.refused(factory.ErrUnverified, inBaseos+"package setup-2.13.7-10.el9.noarch is not signed")
}

// An archive that shows an old state, with its old and good signature, is not believed.
func TestSolveRPMRefusesToGoBack(t *testing.T) {
	t.Parallel()
	n := newStandIn(t, standin.RHEL9, standin.Options{})
	before := filepath.Join(t.TempDir(), "before")
	if err := os.CopyFS(before, os.DirFS(n.Dir)); err != nil {
		t.Fatal(err)
	}
	n.try(n.SecurityUpdate())
	lock, _ := n.solve()
	stale := httptest.NewServer(http.FileServer(http.Dir(before)))
	defer stale.Close()
	n.req.Old, n.s.Archives = &lock, map[string]string{n.ID(): stale.URL}
	n.refused(factory.ErrUnverified, "its release of 2025-11-10T06:00:00Z is the newest that there is, and the lock is of 2025-11-11T06:00:00Z")
	fresh := lock
	fresh.Timestamp = standin.Published
	n.req.Old = &fresh
	n.refused(factory.ErrUnverified, "archive redhat-ubi: package openssl-libs went back from")
}

func TestExplainDNF(t *testing.T) {
	t.Parallel()
	n := &standIn{t: t, req: Request{Image: standInImage(t)}}
	n.s = Solver{Archives: map[string]string{"redhat-ubi": "http://archive.invalid"}, Now: func() time.Time { return day }}
	faults := func(text string) map[string][]byte { return map[string][]byte{"faults.json": []byte(text)} }
	for name, c := range map[string]struct {
		res  factory.StepResult
		kind error
		want string
	}{
		"disk":     {factory.StepResult{Exit: 12, Output: faults(`[{"kind":"disk"}]`)}, factory.ErrUnavailable, "there is no space left where dnf works"},
		"other":    {factory.StepResult{Exit: 10, Output: faults(`[{"kind":"sack","text":"http://a.invalid/x is odd"}]`)}, factory.ErrUnavailable, "dnf could not read the archives: (an address) is odd"},
		"changed":  {factory.StepResult{Exit: 12, Output: faults(`[{"kind":"changed","platform":"amd64","package":"a-1-1.x86_64"}]`)}, factory.ErrUnverified, "archive redhat-ubi baseos: package a-1-1.x86_64 is not the one"},
		"damaged":  {factory.StepResult{Exit: 12, Output: faults(`[{"kind":"signature","platform":"amd64","package":"a","text":"Payload SHA256 digest: BAD"}]`)}, factory.ErrUnverified, "package a is damaged"},
		"bad":      {factory.StepResult{Exit: 12, Output: faults(`[{"kind":"signature","platform":"amd64","package":"a","text":"V4 RSA/SHA256 Signature, key ID 0A1B2C3D: BAD"}]`)}, factory.ErrUnverified, "its signature by key 0a1b2c3d does not hold"},
		"key":      {factory.StepResult{Exit: 12, Output: faults(`[{"kind":"key","package":"00.asc","text":"error: too weak"},{"kind":"key","package":"07.asc"}]`)}, factory.ErrUnverified, "rpm does not accept the key in test.asc: error: too weak"},
		"no words": {factory.StepResult{Exit: 12, Output: faults(`[{"kind":"metadata","platform":"amd64","text":"odd"},{"kind":"download","platform":"amd64","package":"a","text":"odd"},{"kind":"download","text":"odd"}]`)}, factory.ErrUnavailable, "archive redhat-ubi baseos: repomd.xml: dnf could not read it: odd"},
		"renamed":  {factory.StepResult{Exit: 12, Output: faults(`[{"kind":"renamed","platform":"amd64","package":"a-2-1.x86_64","text":"a-1-1.x86_64"}]`)}, factory.ErrUnverified, "archive redhat-ubi baseos: its metadata call a package a-2-1.x86_64, and by its signed header it is a-1-1.x86_64"},
		"authorities": {factory.StepResult{Exit: 10, Output: faults(`[{"kind":"metadata","platform":"amd64","text":"Curl error (60): SSL peer certificate was not OK for archive.invalid"}]`)}, factory.ErrUnverified,
			"(the authorities of its certificate are not known here (ca in entitlements, or this machine's certificate store))"},
		"future": {factory.StepResult{Output: map[string][]byte{"repomd/amd64.0": []byte("<repomd><revision>2023.9</revision><data><timestamp>1606003201</timestamp></data></repomd>")}}, factory.ErrUnverified,
			"archive redhat-ubi baseos: repodata/repomd.xml is of 2020-11-22T00:00:01Z, which is in the future"},
		"no repomd": {factory.StepResult{}, factory.ErrUnverified, "archive redhat-ubi baseos has no repodata/repomd.xml"},
		"odd repomd": {factory.StepResult{Output: map[string][]byte{"repomd/amd64.0": []byte("<repomd><revision>one</revision></repomd>")}}, factory.ErrUnavailable,
			"archive redhat-ubi baseos: repodata/repomd.xml: neither its revision \"one\" nor its files"},
	} {
		t.Run(name, func(t *testing.T) {
			n.t, n.s.Runner = t, scripted{res: c.res}
			n.refused(c.kind, c.want)
		})
	}
	n.s.Runner = scripted{res: factory.StepResult{Exit: 1, Stderr: []byte("Traceback\nModuleNotFoundError: no dnf\n")}}
	if _, _, err := n.s.Solve(t.Context(), n.req); err == nil || !strings.HasSuffix(err.Error(), "the solver ended with 1: ModuleNotFoundError: no dnf") {
		t.Error(err)
	}
	n.s.Runner = scripted{err: factory.ErrBusy}
	if _, _, err := n.s.Solve(t.Context(), n.req); !errors.Is(err, factory.ErrBusy) {
		t.Error(err)
	}
}

func FuzzExplainDNF(f *testing.F) {
	f.Add(`[{"kind":"metadata","text":"Status code: 404 for http://a.invalid/repodata/repomd.xml (IP: 1.2.3.4)","platform":"amd64","repository":0}]`)
	f.Add(`[{"kind":"signature","platform":"amd64","repository":9,"text":"key ID x: NOKEY"},{"kind":"download","text":"Curl error (7)"}]`)
	f.Add(`[{"kind":"hidden","only":true},{"kind":"weak"},{"kind":"outside"},{"kind":"module"},{"kind":"solve","text":"Problem:\n - nothing provides x"}]`)
	y := yum{Archive: factory.Archive{ID: "a", Suite: "b"}, platform: factory.Platform{OS: "linux", Architecture: "amd64"}, root: "http://a.invalid"}
	f.Fuzz(func(t *testing.T, text string) {
		err := dnfFault{small("aa"), []yum{y}, nil}.explain(factory.StepResult{Exit: 10, Output: map[string][]byte{"faults.json": []byte(text)}})
		if err == nil || err.Error() == "" {
			t.Error("a failed step without an error")
		}
	})
}
