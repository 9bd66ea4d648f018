package main

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/definition"
)

// What the archive offers is the fix, or not, and why.
func TestJudgeOffer(t *testing.T) {
	t.Parallel()
	offer := func(version, source string, cves ...string) lockResult {
		r := lockResult{Lock: factory.Lock{Platforms: []factory.LockedPlatform{{Packages: []factory.Package{{Name: "other", Version: "1"}, {Name: "bash", Version: version, SourceVersion: source}}}}}}
		r.Change.Packages = []factory.PackageChange{{Name: "bash", CVEs: cves}}
		return r
	}
	for _, c := range []struct {
		name   string
		s      sufferer
		known  bool
		format factory.Format
		offer  lockResult
		fix    bool
		why    string
	}{
		{"fixed version", sufferer{Version: "5.1-1", Fixed: "5.1-2"}, true, factory.Deb, offer("5.1-2", ""), true, "the data names"},
		{"source version counts", sufferer{Version: "1:1-1", Fixed: "5.1-2"}, true, factory.Deb, offer("1:1-2", "5.1-2"), true, "the data names"},
		{"rebuild of the old source", sufferer{Version: "1:1-1", Fixed: "5.1-2"}, true, factory.Deb, offer("1:1-2", "5.1-1"), false, "bash 5.1-2 fixes it, and the archive offers 1:1-2"},
		{"older", sufferer{Version: "5.1-1", Fixed: "5.1-3"}, true, factory.Deb, offer("5.1-2", ""), false, "the archive offers 5.1-2"},
		{"rpm", sufferer{Version: "5.1-9.el9", Fixed: "5.1-10.el9"}, true, factory.RPM, offer("5.1-10.el9", "nonsense"), true, "the data names"},
		{"no fix known", sufferer{Version: "5.1-1", Why: "will_not_fix"}, true, factory.Deb, offer("5.1-2", ""), false, "no version is known to fix it (will_not_fix)"},
		{"the archive names it", sufferer{Version: "5.1-1"}, true, factory.Deb, offer("5.1-2", "", "CVE-2026-1"), true, "the archive says"},
		{"the archive names another", sufferer{Version: "5.1-1"}, true, factory.Deb, offer("5.1-2", "", "CVE-2026-2"), false, "no version is known"},
		{"unknown and newer", sufferer{Version: "5.1-1"}, false, factory.Deb, offer("5.1-2", ""), true, "no data knows"},
		{"unknown and the same", sufferer{Version: "5.1-1"}, false, factory.Deb, offer("5.1-1", ""), false, "no bash newer than 5.1-1"},
		{"gone", sufferer{Version: "5.1-1", Fixed: "9"}, true, factory.Deb, lockResult{}, true, "does not get the package any more"},
	} {
		c.s.Package = "bash"
		c.s.judge("CVE-2026-1", c.known, c.format, c.offer)
		if c.s.Fix != c.fix || !strings.Contains(c.s.Why, c.why) {
			t.Errorf("%s: %v, %q", c.name, c.s.Fix, c.s.Why)
		}
	}
}

// An image is ready when every package of it that is affected has a fix; environments that nobody asked for do not count.
func TestReadyAndWaiting(t *testing.T) {
	t.Parallel()
	e := emergency{emergencyOptions: emergencyOptions{Env: factory.Staging}, done: map[string]bool{"d": true}}
	e.told.Affected = []sufferer{
		{Image: "a", Env: factory.Dev, Fix: true}, {Image: "a", Env: factory.Staging, Fix: true}, {Image: "a", Env: factory.Prod},
		{Image: "b", Env: factory.Dev, Fix: true}, {Image: "b", Env: factory.Dev}, {Image: "b", Env: factory.Dev, Fix: true},
		{Image: "c", Env: factory.Prod, Fix: true}, {Image: "d", Env: factory.Dev, Fix: true},
	}
	if ready, waiting := e.ready(), e.waiting(); !slices.Equal(ready, []string{"a"}) || !slices.Equal(waiting, []string{"b"}) || !slices.Equal(e.elsewhere(), []string{"prod"}) {
		t.Errorf("ready %q, waiting %q, elsewhere %q", ready, waiting, e.elsewhere())
	}
	e.dropCurrent() // of what no data knows, who holds what the archive offers is not behind
	if len(e.told.Affected) != 6 {
		t.Errorf("%+v", e.told.Affected)
	}
}

// A night that is asked for the lease finishes nothing that it has not begun, and says so with an exit code of its own.
func TestNightlyYields(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.release(t, "debian-12", time.Hour)
	c := d.command(t, nil)
	must(t, c.keyPair()) // to attest what is found in the release
	db, err := c.store(t.Context())
	must(t, err)
	set, err := definition.Load(d.dir)
	must(t, err)
	jobs := []factory.Job{{Image: d.image(t, "debian-12"), Action: factory.Rescan, Reason: "nothing changed"}}
	for command, want := range map[string]string{"nightly": "emergency CVE-2026-1", "emergency": ""} {
		err = c.leased(t.Context(), command, func(ctx context.Context, run string) error {
			must(t, db.Want(ctx, leaseName, "emergency CVE-2026-1", time.Minute))
			out, err := c.nightWork(ctx, run, set, planned{jobs: jobs}, nightOptions{Command: command})
			if err != nil || out.Yielded != want {
				t.Errorf("%s yielded to %q, %v", command, out.Yielded, err)
			}
			return nightError(out)
		})
		if want == "" && err != nil || want != "" && exitCode(err) != exitBusy {
			t.Errorf("%s ended with %v", command, err)
		}
	}
	runs, err := db.Runs(t.Context(), 0)
	must(t, err)
	if failed := lastFailures(runs)["debian-12"]; failed != nil {
		t.Errorf("%+v", failed)
	}
}

// Who waits for the lease asks for it until it is there.
func TestWaitingAsksForTheLease(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	night, urgent := d.command(t, nil), d.command(t, nil)
	got := make(chan error, 1)
	ran := false
	must(t, night.leased(t.Context(), "nightly", func(ctx context.Context, _ string) error {
		db, err := night.store(ctx)
		must(t, err)
		go func() {
			got <- urgent.leasedPatiently(t.Context(), "emergency", "emergency CVE-2026-1", func(context.Context, string) error { ran = true; return nil })
		}()
		for tick := time.NewTicker(5 * time.Millisecond); ; <-tick.C {
			if to, err := db.Wanted(ctx, leaseName); err != nil || to == "emergency CVE-2026-1" {
				return err
			}
		}
	}))
	if err := <-got; err != nil || !ran {
		t.Errorf("ran %v, %v", ran, err)
	}
	cancelled, cancel := context.WithCancelCause(t.Context())
	must(t, night.leased(t.Context(), "nightly", func(ctx context.Context, _ string) error {
		cancel(errInterrupted)
		if err := urgent.leasedPatiently(cancelled, "emergency", "x", nil); !errors.Is(err, errInterrupted) && !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
		return nil
	}))
}
