package scanner

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/imagefactory/imagefactory/factory"
)

// artifact writes an image in the fake's form, one file for each platform.
func artifact(t *testing.T, packages map[factory.Platform][]fakePackage) factory.Artifact {
	t.Helper()
	a := factory.Artifact{Layout: t.TempDir(), Digest: factory.DigestOf([]byte("index"))}
	for _, p := range []factory.Platform{amd64, arm64} {
		if packages[p] == nil {
			continue
		}
		b, err := json.Marshal(fakeSBOM{Name: "debian-12", Packages: packages[p]})
		must(t, err)
		d := factory.DigestOf(b)
		must(t, os.WriteFile(filepath.Join(a.Layout, d.Hex()), b, 0o600))
		a.Platforms = append(a.Platforms, factory.PlatformImage{Platform: p, Digest: d})
	}
	return a
}

func keys(s factory.Scan) string {
	var all []string
	for _, f := range s.Findings {
		all = append(all, fmt.Sprintf("%s %s %v", f.Key(), f.Severity, f.Platforms))
	}
	return strings.Join(all, ", ")
}

func TestScan(t *testing.T) {
	t.Parallel()
	c := closing(t, &Client{Program: program(t, ""), Now: func() time.Time { return today }})
	dir := testDatabase(t)
	known := factory.Database{Kind: factory.TrivyDatabase, Updated: today, Digest: factory.DigestOf([]byte("db")), Origin: "registry.example.com/db:2"}
	db, err := c.Open(t.Context(), dir, known)
	if err != nil || db.Digest != known.Digest || db.Origin != known.Origin || db.Schema != 2 {
		t.Fatalf("%+v, %v", db, err)
	}
	a := artifact(t, map[factory.Platform][]fakePackage{
		amd64: {{"openssl", "3.0.0"}, {"zlib", "1.2"}},
		arm64: {{"openssl", "3.0.1"}},
	})
	s, err := c.Scan(t.Context(), "debian-12", a)
	must(t, err)
	if got, want := keys(s.Scan), "CVE-2026-1 openssl high [linux/amd64 linux/arm64], CVE-2026-2 openssl low [linux/amd64], CVE-2026-3 zlib unknown [linux/amd64]"; got != want {
		t.Errorf("findings %s\nwant %s", got, want)
	}
	if s.Scan.Scanner != "fake 1.2" || s.Scan.Packages != 3 || s.Scan.Database != db || !s.Scan.At.Equal(today) {
		t.Errorf("%+v", s.Scan)
	}
	var docs []string
	for _, d := range s.Documents {
		docs = append(docs, fmt.Sprintf("%s %s %s", d.Kind, d.Name, d.MediaType))
		if d.Digest != factory.DigestOf(d.Data) || d.Platform.String() != d.Name {
			t.Errorf("document %+v", d)
		}
	}
	if got, want := strings.Join(docs, ", "), "cyclonedx linux/amd64 application/vnd.cyclonedx+json, spdx linux/amd64 application/spdx+json, "+
		"cyclonedx linux/arm64 application/vnd.cyclonedx+json, spdx linux/arm64 application/spdx+json"; got != want {
		t.Errorf("documents %s", got)
	}
	again, err := c.Match(t.Context(), s.Documents)
	if err != nil || keys(again) != keys(s.Scan) || again.Packages != 3 || again.Database != db {
		t.Errorf("matched again: %s, %v", keys(again), err)
	}
}

func TestHello(t *testing.T) {
	t.Parallel()
	c := closing(t, &Client{Program: program(t, "")})
	g, err := c.Hello(t.Context())
	if err != nil || g.Name != "fake" || len(g.Databases) != 1 {
		t.Errorf("%+v, %v", g, err)
	}
}

// Nothing of the factory's environment reaches the scanner, and nothing of it stays.
func TestTheScannerHasNothing(t *testing.T) {
	t.Parallel()
	temp := t.TempDir()
	var seen watched
	c := &Client{Program: program(t, ""), Temp: temp, Events: seen.add}
	_, err := c.Open(t.Context(), testDatabase(t), factory.Database{})
	must(t, err)
	_, err = c.Match(t.Context(), []factory.Document{sbom(fakePackage{Name: "!environment"})})
	entries, rerr := os.ReadDir(temp)
	must(t, rerr)
	if len(entries) != 1 {
		t.Fatalf("%d folders for temporary files", len(entries))
	}
	own := filepath.Join(temp, entries[0].Name())
	interfaces := 1 // a loopback that leads nowhere
	if note := seen.text(factory.Noted); note != "" {
		b, err := os.ReadFile("/proc/net/dev")
		must(t, err)
		interfaces = strings.Count(string(b), ":")
		if strings.Count(note, "network of its own is not allowed") != 1 {
			t.Errorf("note %q", note)
		}
	}
	if want := fmt.Sprintf(`env ["TMPDIR=%s"] dir %s interfaces %d`, own, own, interfaces); !strings.Contains(fmt.Sprint(err), want) {
		t.Errorf("%v, want %s", err, want)
	}
	must(t, c.Close())
	must(t, c.Close())
	if entries, err := os.ReadDir(temp); err != nil || len(entries) != 0 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
	if _, err := c.Match(t.Context(), []factory.Document{sbom()}); !errors.Is(err, errClosed) {
		t.Errorf("after Close: %v", err)
	}
}

func TestRequestsAtOnce(t *testing.T) {
	t.Parallel()
	c := client(t)
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			packages := []fakePackage{{"openssl", fmt.Sprintf("3.0.%d", i%3)}}
			if i == 0 { // is answered after another was
				packages = append(packages, fakePackage{Name: "!after"})
			}
			s, err := c.Match(t.Context(), []factory.Document{sbom(packages...)})
			if err != nil || len(s.Findings) != 2-i%3 {
				t.Errorf("%d: %s, %v", i, keys(s), err)
			}
		})
	}
	wg.Wait()
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	c := client(t)
	good := sbom(fakePackage{"openssl", "3.0.0"})
	swapped := good
	swapped.Data = sbom().Data
	huge := good
	huge.Data = make([]byte, MaxFrame/4*3+1)
	spdx := good
	spdx.Kind = factory.SPDX
	for name, tc := range map[string]struct {
		docs []factory.Document
		kind error
		says string
	}{
		"an SBOM of another image":  {[]factory.Document{swapped}, factory.ErrUnverified, "not what its digest says"},
		"an SBOM without end":       {[]factory.Document{huge}, factory.ErrInvalid, "more than a message can carry"},
		"no SBOM that can be read":  {[]factory.Document{spdx}, factory.ErrNotFound, "no SBOM in CycloneDX's form"},
		"not an SBOM":               {[]factory.Document{factory.NewDocument(factory.CycloneDX, "linux/amd64", amd64, CycloneDXType, []byte("<xml>"))}, factory.ErrInvalid, "this is no SBOM"},
		"nothing recognised":        {[]factory.Document{sbom(fakePackage{Name: "!nothing"})}, factory.ErrUnverified, "recognises no packages"},
		"a finding without a name":  {[]factory.Document{sbom(fakePackage{Name: "!anonymous"})}, factory.ErrUnverified, "a finding without"},
		"a fault, unavailable":      {[]factory.Document{sbom(fakePackage{"!fault", "unavailable"})}, factory.ErrUnavailable, "match SBOM linux/amd64: cannot read it (try something else)"},
		"a fault, not found":        {[]factory.Document{sbom(fakePackage{"!fault", "not found"})}, factory.ErrNotFound, "cannot read it"},
		"a fault of the second one": {[]factory.Document{good, sbom(fakePackage{"!fault", "invalid"})}, factory.ErrInvalid, "cannot read it"},
	} {
		if s, err := c.Match(t.Context(), tc.docs); !errors.Is(err, tc.kind) || !strings.Contains(fmt.Sprint(err), tc.says) || s.Scanner != "" {
			t.Errorf("%s: %+v, %v", name, s, err)
		}
	}
	// A fault that nobody expected, with a database that is good.
	if _, err := c.Match(t.Context(), []factory.Document{sbom(fakePackage{"!fault", ""})}); err == nil || errors.Is(err, factory.ErrUnverified) {
		t.Errorf("unexpected fault: %v", err)
	}
	if _, err := c.Scan(t.Context(), "debian-12", factory.Artifact{}); !errors.Is(err, factory.ErrInvalid) {
		t.Errorf("an image of nothing: %v", err)
	}
	if _, err := c.Scan(t.Context(), "debian-12", factory.Artifact{Layout: t.TempDir(), Platforms: []factory.PlatformImage{{Platform: amd64}}}); !errors.Is(err, factory.ErrNotFound) {
		t.Errorf("an image that is not there: %v", err)
	}
	bare := closing(t, &Client{Program: program(t, "")})
	if _, err := bare.Match(t.Context(), []factory.Document{good}); !errors.Is(err, factory.ErrNotFound) || !strings.Contains(err.Error(), "factory db update") {
		t.Errorf("without a database: %v", err)
	}
}

func TestBuildAndCheck(t *testing.T) {
	t.Parallel()
	c := closing(t, &Client{Program: program(t, "")})
	list := func(source string) []factory.Advisories {
		return []factory.Advisories{{Updated: today, List: []factory.Advisory{{Source: source, Vulnerability: "CVE-2026-9", Fixed: "2"}}}}
	}
	dir := t.TempDir()
	built, err := c.Build(t.Context(), dir, list("bash"))
	if err != nil || built.Kind != factory.ArchiveDatabase || built.Advisories != 1 {
		t.Fatalf("%+v, %v", built, err)
	}
	checked, err := c.Check(t.Context(), dir)
	if err != nil || checked.Kind != factory.ArchiveDatabase || !checked.Updated.Equal(today) {
		t.Errorf("%+v, %v", checked, err)
	}
	if _, err := c.Open(t.Context(), dir, factory.Database{Kind: factory.TrivyDatabase}); !errors.Is(err, factory.ErrUnverified) || !strings.Contains(err.Error(), "its record that it is trivy") {
		t.Errorf("opened as something else: %v", err)
	}
	if _, err := c.Open(t.Context(), dir, built); err != nil {
		t.Error(err)
	}
	if s, err := c.Match(t.Context(), []factory.Document{sbom(fakePackage{"bash", "1"})}); err != nil || len(s.Findings) != 1 {
		t.Errorf("%s, %v", keys(s), err)
	}
	if _, err := c.Build(t.Context(), t.TempDir(), list("")); !errors.Is(err, factory.ErrInvalid) {
		t.Errorf("a bad advisory: %v", err)
	}
	if _, err := c.Build(t.Context(), t.TempDir(), list("!exit")); !errors.Is(err, factory.ErrUnavailable) || !strings.Contains(err.Error(), "build a database: the scanner ended: exit 5") {
		t.Errorf("died of an advisory: %v", err)
	}
	if _, err := c.Check(t.Context(), t.TempDir()); !errors.Is(err, factory.ErrUnverified) || strings.Contains(err.Error(), "\x07") {
		t.Errorf("nothing to check: %v", err)
	}
}

// A context that ends frees the caller; the answer that comes later disturbs nobody.
func TestCancelled(t *testing.T) {
	t.Parallel()
	c := client(t)
	stopped := errors.New("stopped by the user")
	ctx, cancel := context.WithCancelCause(t.Context())
	done := make(chan error)
	go func() {
		_, err := c.Match(ctx, []factory.Document{sbom(fakePackage{Name: "!after"})})
		done <- err
	}()
	cancel(stopped)
	if err := <-done; !errors.Is(err, stopped) {
		t.Error(err)
	}
	for range 2 {
		if s, err := c.Match(t.Context(), []factory.Document{sbom(fakePackage{"zlib", "1"})}); err != nil || len(s.Findings) != 1 {
			t.Errorf("%s, %v", keys(s), err)
		}
	}
	if _, err := c.Check(ctx, t.TempDir()); !errors.Is(err, stopped) {
		t.Errorf("check: %v", err)
	}
}

// What the process boundary costs for an SBOM of a common size.
func BenchmarkMatch(b *testing.B) {
	dir := b.TempDir()
	writeDatabase(dir, factory.TrivyDatabase, today, []fakeAdvisory{{"openssl", "CVE-2026-1", "3.0.2", "High"}})
	c := &Client{Program: program(b, "")}
	defer c.Close()
	if _, err := c.Open(b.Context(), dir, factory.Database{}); err != nil {
		b.Fatal(err)
	}
	doc := sbom(fakePackage{"openssl", strings.Repeat("0", 200_000)})
	b.SetBytes(int64(len(doc.Data)))
	for b.Loop() {
		if _, err := c.Match(b.Context(), []factory.Document{doc}); err != nil {
			b.Fatal(err)
		}
	}
}
