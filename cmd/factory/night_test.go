package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/factorytest"
)

const day = 24 * time.Hour

// A clock that is a day or more off makes nothing unsafe and nothing twice: what it decides is told.
func TestClockIsOff(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.release(t, "debian-12", time.Hour)
	d.release(t, "debian-13", 6*day)
	for _, c := range []struct {
		name   string
		move   time.Duration
		debian []string // what the plan says of each
	}{
		{"right", 0, []string{"debian-12 keep less than a day old; refresh due in 7 days", "debian-13 keep 6 days old; refresh due in 1 day"}},
		{"a day behind", -day, []string{"debian-12 keep made in the future by this clock", "debian-13 keep 5 days old"}},
		{"a day ahead", day, []string{"debian-12 keep 1 day old", "debian-13 rebuild 7 days old and a refresh is due after 7 days"}},
		{"ten years ahead", 3650 * day, []string{"debian-12 rebuild 3650 days old", "debian-13 rebuild a refresh is due"}},
		{"at the beginning of time", -20000 * day, []string{"debian-12 keep made in the future", "debian-13 keep made in the future"}},
	} {
		d.Move(c.move)
		if code := d.run(t, "plan"); code != 0 {
			t.Fatalf("%s: exit %d\n%s", c.name, code, &d.stderr)
		}
		lines := strings.Split(d.stdout.String(), "\n")
		for i, want := range c.debian {
			image, rest, _ := strings.Cut(want, " ")
			action, reason, _ := strings.Cut(rest, " ")
			if got := lines[i+1]; !strings.HasPrefix(got, image) || !strings.Contains(got, "  "+action+" ") || !strings.Contains(got, reason) {
				t.Errorf("%s: %q, want %q", c.name, got, want)
			}
		}
		d.Move(-c.move)
	}
}

func TestNightWithNothingToDo(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.release(t, "debian-12", time.Hour)
	d.release(t, "debian-13", time.Hour)
	must(t, d.command(t, nil).keyPair())                     // there must be one, to attest what is found in releases that are there
	for _, move := range []time.Duration{0, -day, 2 * day} { // the clock jumps between nights
		d.Move(move)
		if code := d.run(t, "nightly"); code != 0 || !strings.Contains(d.stderr.String(), "\n2 kept (debian-12, debian-13) in 0.0 s\n") {
			t.Errorf("exit %d\n%s%s", code, &d.stdout, &d.stderr)
		}
	}
	db, err := d.command(t, nil).store(t.Context())
	must(t, err)
	runs, err := db.Runs(t.Context(), 0)
	must(t, err)
	releases, err := db.Latest(t.Context(), "debian-12")
	must(t, err)
	if len(runs) != 3 || slices.ContainsFunc(runs, func(r factory.Run) bool { return r.State != factory.Succeeded || len(r.Jobs) != 2 || r.Finished == nil }) {
		t.Errorf("%+v", runs)
	}
	if releases.Run != "run-1" {
		t.Errorf("a night with nothing to do released %+v", releases)
	}
}

// An ended waiver is told once in a night, however many images have it.
func TestNightTellsEndedWaiversOnce(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.offspring(t)
	text := "image: debian-12\nwaivers:\n  - {id: CVE-2026-1001, reason: not reachable, by: linux, until: 2026-01-31}\n"
	must(t, os.WriteFile(filepath.Join(d.dir, "baseimages/debian-12/waivers.yaml"), []byte(text), 0o644))
	d.relock(t, nil)
	d.run(t, "nightly")
	const want = "baseimages/debian-12/waivers.yaml:3:5: debian-12, debian-12-app, debian-12-app-a, debian-12-bit: the waiver for CVE-2026-1001 ended on 2026-01-31"
	if got := d.stderr.String(); strings.Count(got, want) != 1 || strings.Count(got, "CVE-2026-1001 ended") != 1 {
		t.Errorf("%s", got)
	}
}

func TestReleasesAreLookedForInTheRegistry(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.release(t, "debian-12", time.Hour)
	gone := d.release(t, "debian-13", 2*time.Hour)
	gone.ID, gone.Created, gone.Tag.Hash = "later", d.Now(), "99999999" // recorded, and never pushed
	db, err := d.command(t, nil).store(t.Context())
	must(t, err)
	_, err = db.AddRelease(t.Context(), gone)
	must(t, err)
	if code := d.run(t, "plan"); code != 0 || !strings.Contains(d.stdout.String(), "debian-13  rebuild") || !strings.Contains(d.stdout.String(), "debian-12  keep") {
		t.Errorf("exit %d\n%s%s", code, &d.stdout, &d.stderr)
	}
}

func TestLeasedRecordsHowItEnded(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	c := d.command(t, nil)
	blocked := &factory.Problem{Kind: factory.ErrBlocked, What: "no"}
	for i, w := range []struct {
		name  string
		err   error
		exit  int
		state factory.RunState
		text  string
	}{
		{"well", nil, exitOK, factory.Succeeded, "done"},
		{"badly", blocked, exitBlocked, factory.Broken, "no"},
		{"interrupted", errInterrupted, exitInterrupted, factory.Interrupted, "interrupted"},
		{"with a verdict", &verdict{nil, factory.Succeeded, "2 kept"}, exitOK, factory.Succeeded, "2 kept"},
		{"with a bad verdict", &verdict{errors.Join(errPartial, blocked), factory.Partial, "1 failed"}, exitPartial, factory.Partial, "1 failed"},
	} {
		d.Move(time.Minute)
		var id string
		err := c.leased(t.Context(), "nightly", func(ctx context.Context, run string) error {
			id = run
			if other := d.command(t, nil).leased(ctx, "build", nil); !errors.Is(other, factory.ErrBusy) {
				t.Errorf("%s: the lease is not held: %v", w.name, other)
			}
			return w.err
		})
		if exitCode(err) != w.exit {
			t.Errorf("%s: exit %d of %v, want %d", w.name, exitCode(err), err, w.exit)
		}
		db, err := c.store(t.Context())
		must(t, err)
		runs, err := db.Runs(t.Context(), 0)
		must(t, err)
		if got := runs[0]; len(runs) != i+1 || got.ID != id || got.State != w.state || got.Verdict != w.text || got.Command != "nightly" || got.PID != os.Getpid() {
			t.Errorf("%s: %+v", w.name, runs)
		}
	}
}

// builder fails as often as it is told to.
type builder struct {
	errs  []error
	tries int
}

func (b *builder) Build(context.Context, factory.Locked) (factory.Built, error) {
	b.tries++
	if b.tries > len(b.errs) {
		return factory.Built{}, nil
	}
	return factory.Built{}, b.errs[b.tries-1]
}

func TestPatience(t *testing.T) {
	t.Parallel()
	down := &factory.Problem{Kind: factory.ErrUnavailable, What: "archive debian: down"}
	for _, c := range []struct {
		name   string
		errs   []error
		cancel time.Duration
		tries  int
		took   time.Duration
		want   error
	}{
		{"at once", nil, 0, 1, 0, nil},
		{"down for a moment", []error{down, down}, 0, 3, 8 * time.Second, nil},
		{"down for long", []error{down, down, down, down, down}, 0, 4, 26 * time.Second, factory.ErrUnavailable},
		{"what will not mend by itself", []error{factory.ErrUnverified}, 0, 1, 0, factory.ErrUnverified},
		{"given up meanwhile", []error{down, down, down}, 3 * time.Second, 2, 3 * time.Second, errInterrupted},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancelCause(t.Context())
				defer cancel(nil)
				if c.cancel > 0 {
					time.AfterFunc(c.cancel, func() { cancel(errInterrupted) })
				}
				var seen factorytest.Recorder
				b, began := &builder{errs: c.errs}, time.Now()
				_, err := patient{b, &app{events: seen.Events()}}.Build(ctx, factory.Locked{Job: factory.Job{Image: factory.Image{Name: "debian-12"}}})
				if !errors.Is(err, c.want) || b.tries != c.tries || time.Since(began) != c.took {
					t.Errorf("%v after %d tries in %v", err, b.tries, time.Since(began))
				}
				warned := seen.Messages(factory.Warned)
				if c.took > 0 && (len(warned) == 0 || !strings.Contains(warned[0], "archive debian: down; trying again in 2s")) {
					t.Errorf("%q", warned)
				}
			})
		})
	}
}

func TestProductionIsRefusedWithoutCommit(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	must(t, os.WriteFile(filepath.Join(d.dir, "baseimages", "debian-12", "tests.yaml"), []byte("use: [debian]\ncommands:\n  - {name: nothing, run: [/bin/true]}\n"), 0o644))
	if code := d.run(t, "nightly", "--env", "prod", "--dry-run"); code != exitPartial || !strings.Contains(d.stdout.String(), "not committed, so it can be built for dev only") {
		t.Errorf("exit %d\n%s", code, &d.stdout)
	}
}
