package main

import (
	"encoding/json"
	"maps"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/imagefactory/imagefactory/factory"
)

// A monitor asks whether every image had a successful night of late.
func TestOverdue(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	status := func(want int, args ...string) (stdout, stderr string) {
		t.Helper()
		if code := d.run(t, append([]string{"status", "--max-age", "36h"}, args...)...); code != want {
			t.Errorf("%v: exit %d, want %d\n%s%s", args, code, want, &d.stdout, &d.stderr)
		}
		return d.stdout.String(), d.stderr.String()
	}
	_, text := status(exitBlocked)
	for _, want := range []string{"factory: 2 images without a successful night within 36h\n", "\nfactory:     debian-12 in dev: no night has ever looked at it with success\n", "→ factory runs says"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
	d.release(t, "debian-12", time.Hour)
	d.release(t, "debian-13", time.Hour)
	must(t, d.command(t, nil).keyPair())
	if code := d.run(t, "nightly"); code != exitOK {
		t.Fatalf("exit %d\n%s", code, &d.stderr)
	}
	d.Move(36 * time.Hour)
	if text, _ := status(exitOK, "--json"); !strings.Contains(text, `"overdue": []`) {
		t.Errorf("the monitor's question is not answered:\n%s", text)
	}
	if code := d.run(t, "status", "--json"); code != exitOK || strings.Contains(d.stdout.String(), "overdue") {
		t.Errorf("exit %d: nobody asked\n%s", code, &d.stdout)
	}
	status(exitOK, "--env", "prod") // where nothing is yet
	d.Move(time.Minute)
	must(t, os.WriteFile(d.dir+"/baseimages/debian-12/image.yaml", []byte("sumary: x\n"), 0o600))
	if code := d.run(t, "nightly"); code != exitPartial {
		t.Fatalf("exit %d\n%s", code, &d.stderr)
	}
	stdout, text := status(exitBlocked, "--json")
	var doc struct{ Overdue []overdue }
	must(t, json.Unmarshal([]byte(stdout), &doc))
	if len(doc.Overdue) != 1 || doc.Overdue[0].Image != "debian-12" || doc.Overdue[0].Looked == nil || !strings.Contains(doc.Overdue[0].Why, "; the newest one, 0 s ago, failed: ") || !strings.Contains(text, `"exit":3`) {
		t.Errorf("%+v\n%s", doc, text)
	}
	d.Move(-72 * time.Hour) // of the future nothing counts
	status(exitBlocked)
	if code := d.run(t, "status", "--max-age", "soon"); code != exitInvalid || !strings.Contains(d.stderr.String(), `--max-age "soon"`) {
		t.Errorf("exit %d\n%s", code, &d.stderr)
	}
}

// Images that are not set up are skipped by a night, and that is no look.
func TestSkippedIsNotLookedAt(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	now := d.Now()
	runs := []factory.Run{
		{Command: "build", Started: now, Jobs: []factory.RunJob{{Image: "a", Action: factory.Rebuild}}},
		{Command: "nightly", Started: now, Jobs: []factory.RunJob{{Image: "a", Action: factory.Skip}, {Image: "b", Action: factory.Fail}, {Image: "c", Action: factory.Rebuild}}},
		{Command: "nightly", Started: now.Add(-day), Jobs: []factory.RunJob{{Image: "a", Action: factory.Keep}, {Image: "b", Action: factory.Rebuild, Error: "no"}, {Image: "c", Action: factory.Keep}}},
		{Command: "nightly", Started: now.Add(-2 * day), Jobs: []factory.RunJob{{Image: "b", Action: factory.Rescan}}},
	}
	got := looks(runs, now, view{}.homes(factory.Dev))
	for image, want := range map[string]time.Duration{"a": day, "b": 2 * day, "c": 0} {
		if at := got[image].well; !at.Equal(now.Add(-want)) {
			t.Errorf("%s: looked at %v before", image, now.Sub(at))
		}
	}
	if got["b"].at != now || got["c"].failed != nil {
		t.Errorf("%+v", got)
	}
}

// An image that a night held back, or left to the next one, was not looked at: a monitor must not be told that all is well.
func TestWhoIsHeldBackWasNotLookedAt(t *testing.T) {
	t.Parallel()
	now := newDesk(t).Now()
	runs := []factory.Run{
		{Command: "nightly", Started: now, Jobs: []factory.RunJob{{Image: "a", Action: factory.Hold, Reason: "its last 2 tries failed"}, {Image: "b", Action: factory.Yield}}},
		{Command: "nightly", Started: now.Add(-day), Jobs: []factory.RunJob{{Image: "a", Action: factory.Rebuild, Error: "no"}, {Image: "b", Action: factory.Keep}}},
		{Command: "nightly", Started: now.Add(-3 * day), Jobs: []factory.RunJob{{Image: "a", Action: factory.Rebuild}}},
	}
	got := looks(runs, now, view{}.homes(factory.Dev))
	if a, b := got["a"], got["b"]; !a.well.Equal(now.Add(-3*day)) || a.at != now || !b.well.Equal(now.Add(-day)) || b.failed != nil {
		t.Errorf("%+v", got)
	}
	if why := got["a"].why(now); !strings.HasSuffix(why, "held it back: its last 2 tries failed") {
		t.Error(why)
	}
}

// A night counts for its own environment, and for what was promoted from there; one that did not note its environment counts for each.
func TestNightsOfAnEnvironment(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	now := d.Now()
	night := func(ago time.Duration, env factory.Env, images ...string) factory.Run {
		r := factory.Run{Command: "nightly", Env: env, Started: now.Add(-ago)}
		for _, image := range images {
			r.Jobs = append(r.Jobs, factory.RunJob{Image: image, Action: factory.Keep})
		}
		return r
	}
	runs := []factory.Run{night(time.Hour, factory.Dev, "a", "b"), night(2*time.Hour, factory.Prod, "a", "c"), night(3*time.Hour, "", "b", "c", "d")}
	runs[1].Jobs[1].Error = "no"
	v := view{Images: []imageView{{Image: "a", Env: factory.Prod, made: factory.Prod}, {Image: "b", Env: factory.Prod, made: factory.Dev}, {Image: "c", Env: factory.Staging, made: factory.Dev}}}
	for env, want := range map[factory.Env]map[string]look{
		factory.Dev:     {"a": {well: runs[0].Started}, "b": {well: runs[0].Started}, "c": {well: runs[2].Started, unsaid: true}, "d": {well: runs[2].Started, unsaid: true}},
		factory.Staging: {"b": {well: runs[2].Started, unsaid: true}, "c": {well: runs[2].Started, unsaid: true}, "d": {well: runs[2].Started, unsaid: true}},
		factory.Prod: {"a": {well: runs[1].Started}, "b": {well: runs[0].Started}, "c": {well: runs[2].Started, unsaid: true, failed: &runs[1].Jobs[1], at: runs[1].Started},
			"d": {well: runs[2].Started, unsaid: true}},
	} {
		got := looks(runs, now, v.homes(env))
		maps.DeleteFunc(got, func(_ string, l look) bool { return l == look{} })
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\n%+v\nwant\n%+v", env, got, want)
		}
	}
}

// What an older factory did counts, and the monitor is told on what that rests.
func TestNightOfAnUnknownEnvironment(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.release(t, "debian-12", time.Hour)
	d.release(t, "debian-13", time.Hour)
	db, err := d.command(t, nil).store(t.Context())
	must(t, err)
	for _, r := range []factory.Run{{ID: "old", Command: "nightly", Started: d.Now(), Jobs: []factory.RunJob{{Image: "debian-12", Action: factory.Keep}}},
		{ID: "new", Command: "nightly", Env: factory.Dev, Started: d.Now(), Jobs: []factory.RunJob{{Image: "debian-13", Action: factory.Keep}}}} {
		must(t, db.BeginRun(t.Context(), r))
	}
	if code := d.run(t, "status", "--max-age", "1h", "--json"); code != exitOK || !strings.Contains(d.stderr.String(), "taken for a night of dev, because it did not note its environment: the last one of debian-12\n") ||
		!strings.Contains(d.stdout.String(), `"unknownEnvironment": [`) {
		t.Errorf("exit %d\n%s%s", code, &d.stdout, &d.stderr)
	}
	d.Move(2 * time.Hour)
	if code := d.run(t, "status", "--max-age", "1h"); code != exitBlocked || !strings.Contains(d.stderr.String(), "debian-12 in dev: the last night that looked at it with success was 2 h ago, of which environment was not noted\n") ||
		!strings.Contains(d.stderr.String(), "debian-13 in dev: the last night that looked at it with success was 2 h ago\n") {
		t.Errorf("exit %d\n%s%s", code, &d.stdout, &d.stderr)
	}
	if code := d.run(t, "runs", "--json"); code != exitOK || strings.Count(d.stdout.String(), `"env": "dev"`) != 1 {
		t.Errorf("exit %d\n%s", code, &d.stdout)
	}
}
