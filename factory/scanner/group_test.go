package scanner

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/imagefactory/imagefactory/factory"
)

// second is a client whose database knows other things.
func second(t *testing.T) *Client {
	t.Helper()
	dir := t.TempDir()
	writeDatabase(dir, factory.ArchiveDatabase, today, []fakeAdvisory{{"openssl", "CVE-2026-1", "3.0.2", "Critical"}, {"bash", "CVE-2026-7", "6", "Low"}})
	c := closing(t, &Client{Program: program(t, "")})
	_, err := c.Open(t.Context(), dir, factory.Database{})
	must(t, err)
	return c
}

// renamed is a scanner under another name, with what it says of where it knows things from.
type renamed struct {
	Scanner
	name, data string
}

func (r renamed) rename(s factory.Scan) factory.Scan {
	if s.Scanner == "" {
		return s
	}
	s.Scanner = r.name
	for i := range s.Findings {
		s.Findings[i].Data = r.data
	}
	return s
}

func (r renamed) Scan(ctx context.Context, name string, a factory.Artifact) (factory.Scanned, error) {
	s, err := r.Scanner.Scan(ctx, name, a)
	s.Scan = r.rename(s.Scan)
	return s, err
}

func (r renamed) Match(ctx context.Context, sboms []factory.Document) (factory.Scan, error) {
	s, err := r.Scanner.Match(ctx, sboms)
	return r.rename(s), err
}

func TestGroup(t *testing.T) {
	t.Parallel()
	var seen watched
	g := Group{First: renamed{client(t), "trivy 0.74.0", "Debian Security Tracker"}, Others: []Scanner{renamed{second(t), "other 1.0", ""}}, Events: seen.add}
	a := artifact(t, map[factory.Platform][]fakePackage{amd64: {{"openssl", "3.0.0"}, {"bash", "5"}}})
	s, err := g.Scan(t.Context(), "debian-12", a)
	must(t, err)
	var said []string
	for _, f := range s.Scan.Findings {
		said = append(said, f.Vulnerability+" "+string(f.Severity)+" by "+f.Data)
	}
	want := "CVE-2026-1 critical by Debian Security Tracker (trivy 0.74.0); other 1.0\n" +
		"CVE-2026-2 low by Debian Security Tracker (trivy 0.74.0)\nCVE-2026-7 low by other 1.0"
	if got := strings.Join(said, "\n"); got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
	if s.Scan.Scanner != "trivy 0.74.0, other 1.0" || s.Scan.Database.Kind != factory.TrivyDatabase || s.Scan.Packages != 2 || len(s.Documents) != 2 {
		t.Errorf("%+v", s.Scan)
	}
	again, err := g.Match(t.Context(), s.Documents)
	if err != nil || keys(again) != keys(s.Scan) || again.Findings[0].Data != s.Scan.Findings[0].Data {
		t.Errorf("matched again: %s, %v", keys(again), err)
	}
	if seen.text(factory.Warned) != "" {
		t.Errorf("warnings %q", seen.text(factory.Warned))
	}
	alone, err := Group{First: g.First}.Match(t.Context(), s.Documents)
	if err != nil || alone.Findings[0].Data != "Debian Security Tracker" || alone.Scanner != "trivy 0.74.0" {
		t.Errorf("alone: %+v, %v", alone, err)
	}
}

func TestGroupWithOneThatFails(t *testing.T) {
	t.Parallel()
	broken := closing(t, &Client{Program: program(t, "exit")})
	docs := []factory.Document{sbom(fakePackage{"openssl", "3.0.0"})}
	first := client(t)
	var seen watched
	g := Group{First: first, Others: []Scanner{second(t), broken}, Events: seen.add}
	s, err := g.Match(t.Context(), docs)
	if err != nil || len(s.Findings) != 2 || s.Scanner != "fake 1.2, fake 1.2" {
		t.Errorf("%+v, %v", s, err)
	}
	if w := seen.text(factory.Warned); !strings.Contains(w, "match SBOMs: scanner 3 of 3 does not count: scanner: no vulnerability database") && !strings.Contains(w, "does not start") {
		t.Errorf("warnings %q", w)
	}
	g.Required = true
	if _, err := g.Match(t.Context(), docs); err == nil || !strings.Contains(err.Error(), "scanner 3 of 3: ") {
		t.Errorf("required: %v", err)
	}
	g = Group{First: broken, Others: []Scanner{first}}
	if _, err := g.Match(t.Context(), docs); err == nil {
		t.Error("the first one failed, and nobody noticed")
	}
	if _, err := g.Scan(t.Context(), "debian-12", artifact(t, map[factory.Platform][]fakePackage{amd64: {{"openssl", "3"}}})); !errors.Is(err, factory.ErrNotFound) {
		t.Errorf("scan: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := (Group{First: renamed{first, "a", ""}, Others: []Scanner{first}}).Match(ctx, docs); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
