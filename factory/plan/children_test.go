package plan_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/plan"
)

const day = 24 * time.Hour

var rules = plan.Rules{Now: now, MaxAge: week, Env: factory.Dev}

// kin is what there is to know about an image that was released yesterday, on a parent unless that is empty, and did not change.
func kin(name, from string) plan.Input {
	img := image(name)
	img.From = from
	i := plan.Input{Image: img, Source: factory.Source{Inputs: "sha256:old", Commit: "c"}, Last: release(day, lock("bash 5.2")), Lock: lock("bash 5.2")}
	if from != "" {
		i.Parent = base(from, "sha256:p1")
		i.Last.Parent = base(from, "sha256:p1")
	}
	return i
}

func base(name string, digest factory.Digest) *factory.Base {
	return &factory.Base{Image: name, Release: "r-" + name, Digest: digest, Tag: factory.Tag{Date: factory.DateOf(now), Hash: "1a2b3c4d", Env: factory.Dev}}
}

func told(jobs []factory.Job) (all []string) {
	for _, j := range jobs {
		all = append(all, fmt.Sprintf("%d %s %s: %s", j.Wave, j.Image.Name, j.Action, j.Reason))
	}
	return all
}

func TestWaves(t *testing.T) {
	t.Parallel()
	down := errors.New("archive debian: down")
	moved := func(i *plan.Input) { i.Source.Inputs = "sha256:new" }
	for _, c := range []struct {
		name  string
		edit  func(a, b, c *plan.Input)
		force []string
		want  []string // of a, its child b, and its child c
	}{
		{"nothing", func(a, b, c *plan.Input) {}, nil, []string{"0 a keep: nothing changed", "1 b keep: nothing changed", "2 c keep: nothing changed"}},
		{"the child alone", func(a, b, c *plan.Input) { moved(b) }, nil,
			[]string{"0 a keep", "1 b rebuild: definition changed", "2 c rebuild: after b, which it is built on; kept when that comes out as it is"}},
		{"all", func(a, b, c *plan.Input) { moved(a); moved(b); moved(c) }, nil,
			[]string{"0 a rebuild: definition changed", "1 b rebuild: definition changed; after a", "2 c rebuild: definition changed; after b"}},
		{"parent refreshed", func(a, b, c *plan.Input) { a.Last.Created = now.Add(-week) }, nil,
			[]string{"0 a rebuild: nothing changed, but", "1 b rebuild: after a, which it is built on; kept", "2 c rebuild: after b, which it is built on; kept"}},
		{"both fail", func(a, b, c *plan.Input) { a.Err = down; b.Err = errors.New("lock b: no python4") }, nil,
			[]string{"0 a fail: archive debian: down", "1 b fail: lock b: no python4; and a, which it is built on, cannot be made: archive debian: down", "2 c hold: b, which it is built on, cannot be made: lock b: no python4; and a, which"}},
		{"parent held back, child fails", func(a, b, c *plan.Input) { moved(b); b.Tries = failed(now.Add(-2*time.Hour), *b); c.Err = down }, nil,
			[]string{"0 a keep", "1 b hold", "2 c fail: archive debian: down; and b, which it is built on, is held back itself"}},
		{"derived alone", func(a, b, c *plan.Input) { b.Err, b.Derived = down, true }, nil,
			[]string{"0 a keep", "1 b fail: archive debian: down", "2 c hold"}},
		{"parent fails", func(a, b, c *plan.Input) { a.Err = down; b.Err, b.Derived = down, true }, nil,
			[]string{"0 a fail: archive debian: down", "1 b hold: a, which it is built on, cannot be made: archive debian: down", "2 c hold: b, which it is built on, is held back itself"}},
		{"child fails", func(a, b, c *plan.Input) { moved(a); b.Err = down }, nil,
			[]string{"0 a rebuild", "1 b fail: archive debian: down", "2 c hold: b, which it is built on, cannot be made: archive debian: down"}},
		{"not set up", func(a, b, c *plan.Input) { a.Unset, a.Last, b.Unset, b.Last = "x", nil, "x", nil; c.Parent = nil }, nil,
			[]string{"0 a skip", "1 b skip", "2 c hold: b, which it is built on, is not set up here"}},
		{"parent moved", func(a, b, c *plan.Input) { b.Last.Parent.Digest = "sha256:p0" }, nil,
			[]string{"0 a keep", "1 b rebuild: a, which it is built on, is 20261123-1a2b3c4d-dev now", "2 c rebuild: after b"}},
		{"not a child before", func(a, b, c *plan.Input) { c.Last.Parent = nil }, nil,
			[]string{"0 a keep", "1 b keep", "2 c rebuild: b, which it is built on, is 20261123-1a2b3c4d-dev now"}},
		{"asked for", func(a, b, c *plan.Input) {}, []string{"a", "b"},
			[]string{"0 a rebuild: asked for", "1 b rebuild: asked for; after a", "2 c rebuild: after b"}},
		{"failed before, parent new", func(a, b, c *plan.Input) { moved(a); moved(b); b.Tries = failed(now.Add(-2*time.Hour), *b) }, nil,
			[]string{"0 a rebuild", "1 b rebuild: after a, which it is built on; held back when that comes out as it is", "2 c rebuild: after b"}},
		{"failed before", func(a, b, c *plan.Input) { moved(b); b.Tries = failed(now.Add(-2*time.Hour), *b) }, nil,
			[]string{"0 a keep", "1 b hold: its last try failed, and nothing changed since: the next one is on 2026-11-24; at once: factory build b", "2 c hold: b, which it is built on, is held back itself"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, b, last := kin("a", ""), kin("b", "a"), kin("c", "b")
			c.edit(&a, &b, &last)
			r := rules
			r.Force = c.force
			got := told(r.Make([]plan.Input{last, b, a}))
			for i, want := range c.want {
				if !strings.HasPrefix(got[i], want) {
					t.Errorf("got  %s\nwant %s", got[i], want)
				}
			}
		})
	}
}

// failed are tries of the image as it is, that failed; the last one first.
func failed(last time.Time, i plan.Input, before ...time.Duration) []factory.Run {
	basis := factory.Job{Image: i.Image, Source: i.Source, Parent: i.Parent}.Basis()
	runs := []factory.Run{{State: factory.Partial, Started: last, Jobs: []factory.RunJob{{Image: i.Image.Name, Error: "test: no", Basis: basis}}}}
	for _, d := range before {
		r := runs[0]
		r.Started = last.Add(-d)
		runs = append(runs, r)
	}
	return runs
}

func TestBackOff(t *testing.T) {
	t.Parallel()
	b := kin("b", "a")
	b.Source.Inputs = "sha256:new"
	other := b
	other.Source.Inputs = "sha256:other"
	elsewhere := b
	elsewhere.Parent = base("a", "sha256:p2")
	root := b
	root.Image.From, root.Parent = "", nil
	outage := func(last time.Time) []factory.Run { // what the image was made from is not kept then
		runs := failed(last, b)
		runs[0].Jobs[0].Basis = ""
		return runs
	}
	interrupted := failed(now, b)
	interrupted[0].State = factory.Interrupted
	for _, c := range []struct {
		name  string
		in    plan.Input
		tries []factory.Run
		force []string
		next  string // empty = now
	}{
		{name: "never tried", in: b},
		{name: "an hour ago", in: b, tries: failed(now.Add(-time.Hour), b), next: "2026-11-24"},
		{name: "yesterday", in: b, tries: failed(now.Add(-day), b)},
		{name: "twice, yesterday", in: b, tries: failed(now.Add(-day), b, day), next: "2026-11-24"},
		{name: "twice, two days ago", in: b, tries: failed(now.Add(-2*day), b, day)},
		{name: "three times, yesterday", in: b, tries: failed(now.Add(-day), b, day, 2*day), next: "2026-11-26"},
		{name: "four times", in: b, tries: failed(now.Add(-day), b, day, 2*day, 3*day), next: "2026-11-29"},
		{name: "for a year", in: b, tries: failed(now.Add(-6*day), b, make([]time.Duration, 100)...), next: "2026-11-24"},
		{name: "for a year, a week ago", in: b, tries: failed(now.Add(-7*day), b, make([]time.Duration, 100)...)},
		{name: "with other inputs", in: b, tries: failed(now, other)},
		{name: "with other inputs in between", in: b, tries: append(failed(now.Add(-time.Hour), b), append(failed(now.Add(-day), other), failed(now.Add(-2*day), b)...)...), next: "2026-11-24"},
		{name: "on another parent", in: elsewhere, tries: failed(now, b)},
		{name: "well in between", in: b, tries: append([]factory.Run{{Jobs: []factory.RunJob{{Image: "b"}}}}, failed(now, b)...)},
		{name: "interrupted", in: b, tries: interrupted},
		{name: "outages alone", in: b, tries: slices.Concat(outage(now), outage(now.Add(-day)), outage(now.Add(-2*day)))},
		{name: "an outage since, yesterday", in: b, tries: append(outage(now.Add(-time.Hour)), failed(now.Add(-day), b)...)},
		{name: "an outage in between", in: b, tries: slices.Concat(failed(now.Add(-day), b), outage(now.Add(-2*day)), failed(now.Add(-3*day), b)), next: "2026-11-24"},
		{name: "in the future", in: b, tries: failed(now.Add(day), b)},
		{name: "asked for", in: b, tries: failed(now, b), force: []string{"b"}},
		{name: "no child", in: root, tries: failed(now, root)},
	} {
		c.in.Tries = c.tries
		r := rules
		r.Force = c.force
		j := r.Make([]plan.Input{c.in})[0]
		if c.next == "" && j.Action != factory.Rebuild || c.next != "" && (j.Action != factory.Hold || !strings.Contains(j.Reason, "the next one is on "+c.next+"; at once: factory build b")) {
			t.Errorf("%s: %s: %s, want the next on %q", c.name, j.Action, j.Reason, c.next)
		}
	}
}

func TestAgain(t *testing.T) {
	t.Parallel()
	a, b := kin("a", ""), kin("b", "a")
	a.Last.Created = now.Add(-week)
	planned := rules.Make([]plan.Input{a, b})[1]
	if j := rules.Again(b, planned); j.Action != factory.Keep || j.Wave != 1 || j.Parent == nil || j.Parent.Digest != "sha256:p1" {
		t.Errorf("the parent came out as it was: %+v", j)
	}
	b.Parent = base("a", "sha256:p2")
	if j := rules.Again(b, planned); j.Action != factory.Rebuild || j.Parent.Digest != "sha256:p2" || !strings.HasPrefix(j.Reason, "a, which it is built on, is ") || j.Supersedes != "r1" {
		t.Errorf("the parent is new: %+v", j)
	}
}

// Whatever the graph is, nobody comes before what it is built on, and a circle ends.
func TestCircle(t *testing.T) {
	t.Parallel()
	jobs := rules.Make([]plan.Input{kin("a", "b"), kin("b", "a"), kin("c", "c")})
	if len(jobs) != 3 {
		t.Error(told(jobs))
	}
}

// A thousand images, six deep.
func BenchmarkMake(b *testing.B) {
	var in []plan.Input
	for i := range 1000 {
		from := ""
		if i%6 > 0 {
			from = fmt.Sprintf("image-%d", i-1)
		}
		in = append(in, kin(fmt.Sprintf("image-%d", i), from))
	}
	for b.Loop() {
		if jobs := rules.Make(in); len(jobs) != 1000 {
			b.Fatal(len(jobs))
		}
	}
}
