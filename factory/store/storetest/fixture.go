package storetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/store"
)

var amd64 = factory.Platform{OS: "linux", Architecture: "amd64"}

var night = time.Date(2026, 11, 23, 2, 0, 0, 123456000, time.UTC)

// clock is a clock that moves when it is told to.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

// setClock stops the store's time at night.
func setClock(s *store.Store) *clock {
	c := &clock{now: night}
	s.Now = c.Now
	return c
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// Release returns a release in which every field says something. It is the nth of its image, a day after the one before.
func Release(image string, n int) factory.Release {
	created := night.AddDate(0, 0, n)
	name := fmt.Sprintf("%s %d", image, n)
	database := Database(factory.TrivyDatabase, n)
	return factory.Release{
		ID: fmt.Sprintf("r%s%02d", factory.DigestOf([]byte(image)).Hex()[:4], n), Image: image, Owner: "team-base",
		Repository: "registry.invalid:5000/base/" + image, Digest: factory.DigestOf([]byte(name)),
		Tag:    factory.Tag{Date: factory.DateOf(created), Hash: fmt.Sprintf("%08x", n+1), Env: factory.Prod},
		Source: factory.Source{Commit: strings.Repeat("a", 40), Hash: fmt.Sprintf("%08x", n+1), Inputs: factory.DigestOf([]byte("inputs"))},
		Reason: "openssl 3.0.1 -> 3.0.2", Created: created, Run: "run-1", Supersedes: "r-before",
		Artifact: factory.Artifact{Digest: factory.DigestOf([]byte(name)), Platforms: []factory.PlatformImage{{Platform: amd64, Size: 1 << 40,
			Layers: []factory.Layer{{Name: "base", Digest: factory.DigestOf([]byte("layer")), Size: 7}}}}},
		Lock: factory.Lock{Schema: factory.LockSchema, Image: image, Definition: factory.DigestOf([]byte("definition")), Timestamp: night.Truncate(time.Second),
			Tools: map[string]factory.Digest{"toolbox": factory.DigestOf([]byte("toolbox"))},
			Platforms: []factory.LockedPlatform{{Platform: amd64, Packages: []factory.Package{
				{Name: "bash", Version: "5.2.15-2+b7", Arch: "amd64", Archive: "debian", Path: "pool/main/b/bash.deb", Size: 1, SHA256: factory.DigestOf([]byte("bash"))}}}}},
		Controls:   []factory.ControlOutcome{{Control: "5.4.1.1", Title: "password expiration", Platform: amd64, Outcome: factory.Exempt, Reason: "no passwords", Until: factory.DateOf(created)}},
		Tests:      []factory.TestResult{{Name: "command: 'quoted' \"twice\" ? \\ \x00", Platform: amd64, Passed: true, Seconds: 0.1}},
		Signatures: []factory.Signature{{Subject: factory.DigestOf([]byte(name)), Payload: []byte{0, 1, 0xff}, Base64: "c2ln"}},
		Steps:      []factory.StepTime{{Step: factory.StepBuild, Seconds: 12.25}},
		Inputs:     []byte("tar of " + image),
		Compliance: factory.Compliance{Benchmark: "DEBIAN-12", Content: "content 0.1", Method: []string{"one sentence"}, Evaluations: []factory.Evaluation{
			{View: factory.ContainerView, Level: 2, Platform: amd64, Rules: []factory.RuleOutcome{{Rule: "accounts_tmout", Result: factory.RulePass, Controls: []string{"5.4.3"}}}}}},
		Scan: Scan(n, Finding("CVE-2026-1", "bash", "5.2.15-3")),
		Decision: factory.Decision{Image: image, Env: factory.Prod, Digest: factory.DigestOf([]byte(name)), At: created, Pass: true, Database: database,
			Reasons: []factory.Reason{{Rule: "vulnerability", Subject: "CVE-2026-1 bash", Severity: factory.High, Deadline: factory.DateOf(created)}}},
		Documents: []factory.Document{factory.NewDocument(factory.ARF, "linux/amd64 container level 2", amd64, "application/xml", []byte("<arf/>")),
			factory.NewDocument(factory.CycloneDX, "linux/amd64", amd64, "application/json", []byte("{}"))},
	}
}

// Database is vulnerability data of a kind, of the nth day.
func Database(kind factory.DatabaseKind, n int) factory.Database {
	return factory.Database{Kind: kind, Schema: 2, Updated: night.AddDate(0, 0, n).Add(-time.Hour), Digest: factory.DigestOf(nil)}
}

// Scan returns what a scanner found with that day's data on the nth day.
func Scan(n int, findings ...factory.Finding) factory.Scan {
	return factory.Scan{Scanner: "trivy 0.74.0", Database: Database(factory.TrivyDatabase, n), At: day(n), Packages: 96, Findings: findings}
}

// day is the instant of the nth day's scan.
func day(n int) time.Time { return night.AddDate(0, 0, n).Add(-time.Minute) }

// Finding returns a vulnerability of high severity in version 1 of a package, with or without a fix.
func Finding(id, pkg, fixed string) factory.Finding {
	return factory.Finding{Vulnerability: id, Package: pkg, Version: "1", Fixed: fixed, Severity: factory.High, Title: "a \x00 b", Purl: "pkg:deb/debian/" + pkg + "@1?arch=amd64",
		Platforms: []factory.Platform{amd64}, Published: night.AddDate(0, -1, 0)}
}

// Add adds a release, without telling which one stands.
func Add(ctx context.Context, s *store.Store, r factory.Release) error {
	_, err := s.AddRelease(ctx, r)
	return err
}

// add adds a release that is new, or the same again.
func add(t *testing.T, s *store.Store, r factory.Release) {
	t.Helper()
	got, err := s.AddRelease(t.Context(), r)
	must(t, err)
	if got.ID != r.ID {
		t.Fatalf("%s stands for %s", got.ID, r.ID)
	}
}

// run returns the beginning of a run.
func run(id string) factory.Run {
	return factory.Run{ID: id, Command: "nightly", Env: factory.Prod, Host: "build1", PID: 4711, Started: night, State: factory.Running}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// refused checks that err is a Problem of a kind that says all of the words.
func refused(t *testing.T, err, kind error, words ...string) {
	t.Helper()
	if !errors.Is(err, kind) || len(factory.Problems(err)) == 0 {
		t.Fatalf("error %v, want a problem that is %v", err, kind)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("error %q does not say %q", err, w)
		}
	}
}
