package storetest

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/store"
)

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
	amd64 := factory.Platform{OS: "linux", Architecture: "amd64"}
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
	}
}

// run returns the beginning of a run.
func run(id string) factory.Run {
	return factory.Run{ID: id, Command: "nightly", Host: "build1", PID: 4711, Started: night, State: factory.Running}
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
